"""Whether time tells what a login that failed stands for: an account, a credential, nothing.

    python -m tests.stress.login_times [--tries 2000] [--answers 300]

Each try is a login at the authenticator of a real data base; the kinds take turns. What limits the tries is left out,
and so is HTTP, which adds the same to all. Without the pause before the answer, the medians of what has a password
hashed must be within 5 % of each other; with it, those of all kinds within 2 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bitmm.xwrap.server.auth import Authenticator, UnprovenLogin
from bitmm.xwrap.server.credential_passwords import make_password
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.login_failures import LoginFailures
from bitmm.xwrap.server.login_throttle import LoginThrottle, PacedAnswers, Try
from bitmm.xwrap.server.passwords import Secret, hash_password
from bitmm.xwrap.server.problems import Problem
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.server.threads import ThreadPools

MOST_DIFFERENCE, MOST_MILLISECONDS = 0.05, 2.0
#: By what a try is: the user name, and whether its password was tried before.
HASHED = {"wrong password": ("ann", False), "unknown user": ("nobody", False), "switched off": ("bob", False)}
KINDS = HASHED | {
    "wrong password again": ("ann", True),
    "unknown user again": ("nobody", True),
    "switched off again": ("bob", True),
    "wrong password of a credential": ("ann/bot1", False),
    "unknown credential": ("ann/bot2", False),
    "credential of an unknown user": ("nobody/bot1", False),
}


class NoThrottle(LoginThrottle):
    """Lets every try pass."""

    def count_try(self, name: str, address: str, _digest: bytes, _waiting: int) -> Try:
        return Try((name, address), [])

    def count_answer(self, name: str, address: str) -> None:
        """Count nothing."""


class NoPause(PacedAnswers):
    """Answers at once."""

    def delay_to_step(self, _began: float) -> float:
        """Return no time at all."""
        return 0.0


async def measure(authenticator: Authenticator, kinds: dict[str, tuple[str, bool]], tries: int) -> dict[str, float]:
    """Return the median milliseconds of each kind of try."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(tries):
        for kind, (name, again) in kinds.items():
            password = "guess again" if again else f"guess {number}"
            header = Secret("Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())
            began = time.perf_counter()
            try:
                authenticator.recognize([header], "127.0.0.1")
            except UnprovenLogin as login:
                try:
                    await authenticator.prove(login)
                except Problem as problem:
                    # As its connection holds the answer back.
                    await asyncio.sleep(problem.delay)
                    times[kind].append((time.perf_counter() - began) * 1000)
    return {kind: statistics.median(one) for kind, one in times.items()}


def _add_logins(store: Store) -> None:
    ann = store.accounts.add("ann", hash_password("right password"))
    store.accounts.set_active(store.accounts.add("bob", hash_password("right password")), active=False)
    store.credentials.add({"account_id": ann, "name": "bot1", "scope": "read"}, make_password(), "ann/bot1")


def _spread(medians: dict[str, float], tries: int) -> tuple[float, float]:
    """Print the medians, and return the least and the greatest."""
    for kind, median in medians.items():
        print(f"{kind}: {median:.3f} ms (median of {tries})")
    return min(medians.values()), max(medians.values())


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.login_times", description=__doc__)
    parser.add_argument("--tries", type=int, default=2000, help="of each kind, without the pause before the answer")
    parser.add_argument("--answers", type=int, default=300, help="of each kind, with it")
    return parser.parse_args(arguments)


def main() -> None:
    options = _parse(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "xwrap.sqlite3")
        store.prepare()
        _add_logins(store)
        threads = ThreadPools(Settings.read({}, data=Path(folder)))
        authenticator = Authenticator(store, threads, LoginFailures(store), 300.0)
        authenticator._throttle = NoThrottle()
        answers, authenticator._answers = authenticator._answers, NoPause()
        print("what a hash takes, before the pause:")
        least, greatest = _spread(asyncio.run(measure(authenticator, HASHED, options.tries)), options.tries)
        hashes_differ = greatest / least - 1
        print(f"they differ by {hashes_differ:.2%}")
        authenticator._answers = answers
        print("what an attacker sees:")
        least, greatest = _spread(asyncio.run(measure(authenticator, KINDS, options.answers)), options.answers)
        print(f"they differ by {greatest - least:.3f} ms")
        threads.close()
        store.close()
    sys.exit(hashes_differ >= MOST_DIFFERENCE or greatest - least >= MOST_MILLISECONDS)


if __name__ == "__main__":
    main()
