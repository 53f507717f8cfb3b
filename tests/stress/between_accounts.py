"""What an account can learn about another one: every call with every foreign id, and how long the answers take.

    python -m tests.stress.between_accounts [--pairs 300] [--postgres]

Two accounts reach for each other with each of the four scopes. It prints the calls, what was read, changed or answered
differently from an absent id, and the medians of the times for foreign and for absent ids, taken in turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings
from tests.conftest import Server
from tests.support.databases import new_database
from tests.support.databases import server as postgres_server
from tests.support.two_accounts import SCOPES, Call, Party, absent_is_taken, calls, compared, owned_rows, reaches

#: Medians of foreign and absent ids differ by less, in milliseconds.
MOST_DIFFERENT = 2.0
#: These change the account that calls; `tests/integration/test_between_accounts.py` makes them.
OWN = {("POST", "/freeze"), ("DELETE", "/freeze"), ("PATCH", "/account")}


@contextmanager
def _server(*, postgres: bool) -> Iterator[Server]:
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-accounts-")))
        database = new_database(stack.enter_context(postgres_server())) if postgres else None
        settings = Settings.read({}, data=data, port=0, exchanges=("paper",), database_url=database)
        url = stack.enter_context(run_in_background(settings))
        yield Server(url, data, database or data / "xwrap.sqlite3")


def _reach(server: Server, own: Party, other: Party) -> tuple[int, int, int, int]:
    """Return how many calls were made, and how many read, changed, or told something about `other`."""
    made = read = different = 0
    # What only a frozen account could lose is its freeze.
    requests.post(f"{server.url}/freeze", auth=other.auth, timeout=30).raise_for_status()
    before = owned_rows(server, other.name)
    for scope in SCOPES:
        with requests.Session() as session:
            session.auth = own.logins[scope]
            for call in calls(own, other):
                if (call.method, call.route) in OWN:
                    continue
                answer = call.send(session, server.url)
                made += 1
                read += bool(reaches(answer, call, other)) or (call.is_foreign and answer.ok)
                if call.absent is not None:
                    absent = call.send(session, server.url, absent=True)
                    made += 1
                    different += compared(answer, call) != compared(absent, call, absent=True)
    changed = owned_rows(server, other.name) != before
    requests.delete(f"{server.url}/freeze", auth=other.auth, timeout=30).raise_for_status()
    taken = absent_is_taken(server)
    assert not taken, f"the absent id is no longer absent in {taken}"
    return made, read, changed, different


def _times(server: Server, own: Party, other: Party, pairs: int) -> list[tuple[float, float, str]]:
    """Return the medians for a foreign and for an absent id in milliseconds, of each route with an id."""
    plain: dict[tuple[str, str], Call] = {}
    for call in calls(own, other):
        if call.absent is not None and (call.method, call.route) not in OWN:
            plain.setdefault((call.method, call.route), call)
    rows = []
    with requests.Session() as session:
        session.auth = own.auth
        for (method, route), call in plain.items():
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(2 * pairs):
                began = time.perf_counter()
                call.send(session, server.url, absent=bool(number % 2))
                times[number % 2].append((time.perf_counter() - began) * 1000)
            rows.append((statistics.median(times[0]), statistics.median(times[1]), f"{method} {route}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.between_accounts", description=__doc__)
    parser.add_argument("--pairs", type=int, default=300, help="calls of each route with a foreign and an absent id")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL; see tests/support/databases.py")
    options = parser.parse_args()
    with _server(postgres=options.postgres) as server:
        ann, bob = Party(server, "ann", "anns", "0.01234567"), Party(server, "bob", "bobs", "0.07654321")
        figures = [sum(both) for both in zip(_reach(server, ann, bob), _reach(server, bob, ann), strict=True)]
        made, read, changed, different = figures
        print(f"{made} calls of 2 accounts with 4 scopes each to what is the other's:")
        print(f"read {read}, changed {changed}, answered differently from what nobody has {different}")
        rows = sorted(_times(server, ann, bob, options.pairs), key=lambda row: abs(row[0] - row[1]))
    for foreign, absent, route in rows[-3:]:
        print(f"{route}: median {foreign:.3f} ms for a foreign id, {absent:.3f} ms for an absent one")
    most = max(abs(foreign - absent) for foreign, absent, _ in rows)
    print(f"largest difference of the medians of {len(rows)} routes: {most:.3f} ms, of {options.pairs} pairs each")
    sys.exit(bool(read or changed or different or most >= MOST_DIFFERENT))


if __name__ == "__main__":
    main()
