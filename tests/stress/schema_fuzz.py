"""Every route, called with what openapi.yaml allows and with what it does not, one call after another.

    python -m tests.stress.schema_fuzz [--requests 20000] [--seed N] [--scope read ...]

schemathesis makes the requests from the document, and follows what the answers give from call to call. It runs with a
credential of each scope and with the account's own password, each against a server process of its own with the shipped
settings. Looked for: a status of 500 or above; a status, type, header or body that the document does not have; an
answer to a caller who has not logged in; a thing that is there after it was deleted; a request that the document
forbids and the server takes, or that it allows and the server calls malformed.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.support.command import serve, url_of, xwrap

DOCUMENT = Path(__file__).parents[2] / "bitmm/xwrap/server/openapi.yaml"
CONFIG = Path(__file__).with_suffix(".toml")
SCOPES = ("read", "trade", "send", "owner")
#: By the hooks and by `_answers`.
ALSO_MADE_HERE = {("DELETE", "/freeze"), ("GET", "/metrics")}


@dataclass
class Found:
    """What was found with one scope: how many answers of each status the server gave, and the reports of failures."""

    scope: str
    statuses: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    reports: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.statuses.total()

    @property
    def server_errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status >= "500")

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.scope:>6}: {self.requests} requests, {self.failures} failures; {statuses}"


def fuzz(
    scope: str, *, at_least: int, examples: int, seed: int, phases: str = "examples,coverage,fuzzing,stateful"
) -> Found:
    """Run schemathesis with one scope again and again, until the server answered so many requests.

    `examples` is how many a run makes for each route; the phases named coverage and stateful make more. What the
    server refuses before it looks for the route is not counted.
    """
    found = Found(scope)
    with tempfile.TemporaryDirectory() as folder:
        password = xwrap("account", "add", "ann", "--generate", "--data", folder).stdout.strip()
        # Each call comes from another address, as the hooks say.
        with serve("--port", 0, "--data", folder, XWRAP_PROXIES="127.0.0.1") as (_, lines):
            url, owner = url_of(lines), ("ann", password)
            requests.post(f"{url}/exchanges/", {"exchange": "paper"}, auth=owner, timeout=30).raise_for_status()
            login = owner if scope == "owner" else _credential(url, owner, scope)
            before = _answers(url)
            command = [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", str(DOCUMENT)),
                *("--url", url, "--auth", ":".join(login), "--phases", phases, "--max-examples", str(examples)),
            ]
            environ = os.environ | {
                "FUZZ_OWNER": ":".join(owner),
                "SCHEMATHESIS_HOOKS": "tests.stress.schema_fuzz_hooks",
                "PYTHONPATH": os.pathsep.join(sys.path),
            }
            while found.requests < at_least:
                run = [*command, "--no-color", "--seed", str(seed)]
                done = subprocess.run(run, cwd=folder, capture_output=True, text=True, env=environ, check=False)
                found.statuses = _answers(url) - before
                if done.returncode:
                    found.failures += len(re.findall(r"^- ", done.stdout, re.MULTILINE)) or 1
                    found.reports.append(done.stdout + done.stderr)
                seed += 1
    return found


def _answers(url: str) -> Counter[str]:
    """How many answers of each status the server has given; those to the calls that are also made here do not count."""
    text = requests.get(f"{url}/metrics", timeout=30).text
    lines = re.findall(r'^xwrap_calls_total\{method="(\w+)",path="(.*)",status="(\d+)"\} (\S+)$', text, re.MULTILINE)
    answers: Counter[str] = Counter()
    for method, path, status, count in lines:
        if (method, path) not in ALSO_MADE_HERE or status >= "500":
            answers[status] += int(float(count))
    return answers


def _credential(url: str, owner: tuple[str, str], scope: str) -> tuple[str, str]:
    answer = requests.post(f"{url}/credentials/", {"name": f"fuzz-{scope}", "scope": scope}, auth=owner, timeout=30)
    answer.raise_for_status()
    return answer.json()["username"], answer.json()["password"]


def main() -> int:
    """Run it, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--scope", choices=SCOPES, action="append")
    options = parser.parse_args()
    scopes = options.scope or SCOPES
    print(f"seed {options.seed}")
    each, every = options.requests // len(scopes), []
    for scope in scopes:
        begun = time.monotonic()
        found = fuzz(scope, at_least=each, examples=max(2, each // 100), seed=options.seed)
        print(f"{found}; {time.monotonic() - begun:.0f} s", flush=True)
        print(*found.reports, sep="\n")
        every.append(found)
    failures, errors = (sum(getattr(found, name) for found in every) for name in ("failures", "server_errors"))
    print(f"{sum(found.requests for found in every)} requests: {errors} of status 5xx, {failures} failures")
    return 1 if failures or errors else 0


if __name__ == "__main__":
    sys.exit(main())
