"""A project of somebody else: the wheel in a fresh environment, and the tests of the README's bot, timed.

pip asks its registry for what the extra needs; nothing else here uses the network.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.bot_sample import write_sample

ROOT = Path(__file__).parents[2]
#: Seconds within which the tests of the bot run, on a machine that does nothing else.
MOST_SECONDS = 10.0


def run(*command: object, folder: Path) -> str:
    """Run a command in a folder, show it, and return what it printed. Ends this program when it fails."""
    print("$", *command, flush=True)
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    return done.stdout


def processor_seconds() -> float:
    """Return the seconds that all commands so far were busy: on a machine with other work they last longer."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Build, install, run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help="the most that the bot's tests may take")
    most = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="bot-project-") as name:
        folder = Path(name)
        project = folder / "project"
        project.mkdir()
        write_sample(project)
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, folder=folder)
        (wheel,) = folder.glob("bitmm-*.whl")
        run(sys.executable, "-m", "venv", folder / "env", folder=folder)
        python = folder / "env/bin/python"
        run(python, "-m", "pip", "install", "-q", f"bitmm[testing] @ {wheel.as_uri()}", "pytest-xdist", folder=folder)
        seconds = []
        busy = processor_seconds()
        # The first run compiles what pytest rewrites; it is shown, and not counted.
        for options in ((), (), ("-n", 2), ("-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error")):
            began = time.monotonic()
            print(run(python, "-m", "pytest", *options, folder=project))
            seconds.append(time.monotonic() - began)
            before, busy = busy, processor_seconds()
            print(f"{seconds[-1]:.1f} s in all, {busy - before:.1f} s of a processor\n")
        if max(seconds[1:]) > most:
            sys.exit(f"the tests took up to {max(seconds[1:]):.1f} s, more than {most}")


if __name__ == "__main__":
    main()
