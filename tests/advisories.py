"""Known vulnerabilities of what the deployment image installs.

    python -m tests.advisories

asks with pip-audit for the advisories of every version in the lock file, prints what is known, and ends with status 1
when there is something. Where the advisories cannot be reached it says so and ends with 0: nothing was found out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOCK_FILE = Path(__file__).parents[1] / "bitmm/xwrap/server/deploy/requirements.txt"


def report(packages: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """The lines to print and the exit status, of what pip-audit found out about each package."""
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    if len(unknown) == len(packages):
        return ["skipped: the advisories cannot be reached from here; nothing was found out"], 0
    status = 1 if lines or unknown else 0
    lines += [f"{name}: nothing could be found out" for name in unknown]
    return [*lines, f"{len(packages) - len(unknown)} of {len(packages)} packages were looked up"], status


def look_up(lock_file: Path) -> list[dict[str, Any]]:
    """What pip-audit says of each package in a lock file; [] when it reaches nothing."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock_file), "--disable-pip", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        if "ConnectionError" in done.stderr or "Timeout" in done.stderr:
            return []
        raise SystemExit(done.stderr)
    packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return packages


if __name__ == "__main__":
    found, exit_status = report(look_up(LOCK_FILE))
    print("\n".join(found))
    sys.exit(exit_status)
