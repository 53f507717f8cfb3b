"""Whether an unknown user, a wrong password and an account that is switched off can be told apart by time.

    python -m tests.stress.login_times [--tries 2000]

Each try is a login at the authenticator of a real data base, with a password of its own; the kinds take turns. What
limits the tries is left out, and so is HTTP, which adds the same to all. The medians must be within 5 % of each other.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bitmm.xwrap.server.auth import Authenticator, UnprovenLogin
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.login_failures import LoginFailures
from bitmm.xwrap.server.login_throttle import LoginThrottle, Try
from bitmm.xwrap.server.passwords import Secret, hash_password
from bitmm.xwrap.server.problems import Problem
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.server.threads import ThreadPools

MOST_DIFFERENCE = 0.05


class NoThrottle(LoginThrottle):
    """Lets every try pass."""

    def count_try(self, name: str, address: str, _digest: bytes, _waiting: int) -> Try:
        return Try((name, address), [])

    def count_answer(self, name: str, address: str) -> None:
        """Count nothing."""


async def measure(authenticator: Authenticator, tries: int) -> dict[str, float]:
    """Return the median seconds of each kind of try."""
    seconds: dict[str, list[float]] = {"wrong password": [], "unknown user": [], "switched off": []}
    names = {"wrong password": "ann", "unknown user": "nobody", "switched off": "bob"}
    for number in range(tries):
        for kind, name in names.items():
            header = Secret("Basic " + base64.b64encode(f"{name}:guess {number}".encode()).decode())
            began = time.perf_counter()
            try:
                authenticator.recognize([header], "127.0.0.1")
            except UnprovenLogin as login:
                try:
                    await authenticator.prove(login)
                except Problem:
                    seconds[kind].append(time.perf_counter() - began)
    return {kind: statistics.median(times) for kind, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.login_times", description=__doc__)
    parser.add_argument("--tries", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "xwrap.sqlite3")
        store.prepare()
        store.accounts.add("ann", hash_password("right password"))
        store.accounts.set_active(store.accounts.add("bob", hash_password("right password")), active=False)
        threads = ThreadPools(Settings.read({}, data=Path(folder)))
        authenticator = Authenticator(store, threads, LoginFailures(store), 300.0)
        authenticator._throttle = NoThrottle()
        medians = asyncio.run(measure(authenticator, options.tries))
        threads.close()
        store.close()
    for kind, median in medians.items():
        print(f"{kind}: {median * 1000:.3f} ms (median of {options.tries})")
    difference = max(medians.values()) / min(medians.values()) - 1
    print(f"they differ by {difference:.2%}")
    sys.exit(difference >= MOST_DIFFERENCE)


if __name__ == "__main__":
    main()
