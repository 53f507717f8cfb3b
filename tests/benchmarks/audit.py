"""What a row of the audit costs: the time of an intent with and without it, alone and from several writers.

`python -m tests.benchmarks.audit [--postgres]`; on PostgreSQL each writer has a Store of its own, as a server process
has. The PostgreSQL that is started for tests does not bring commits to the disk; XWRAP_TEST_DATABASE_URL names another.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from bitmm.xwrap.server.db.records import Account, Caller
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.trade_audit import add_intent
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, new_database, server, sql

SECONDS = 4.0


def run(stores: list[Store], registration: int, *, with_audit: bool, name: str) -> float:
    """Return how many intents a second the writers commit, each of them into the store that is its own."""
    caller = Caller(Account(1, "ann", "x", active=True), None, "192.0.2.7")
    end = time.monotonic() + SECONDS
    counts = [0] * len(stores)

    def write(number: int) -> None:
        store = stores[number]
        while time.monotonic() < end:
            key = f"{name}-{number}-{counts[number]}"

            def work(key: str = key) -> None:
                row = store.orders.begin(registration, key, "f", ORDER, CLIENT_IDS).row
                if with_audit:
                    add_intent(store.audit, caller, row)

            store.atomic(work)
            counts[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def measure(where: Path | str, stores: list[Store]) -> None:
    """Print the figures of one data base."""
    registration = add_registration(stores[0])
    for writers in (1, 8):
        used = stores[:writers]
        rates = {with_audit: [] for with_audit in (False, True)}
        for number in range(3):
            for with_audit, seen in rates.items():
                seen.append(run(used, registration, with_audit=with_audit, name=f"{writers}-{number}-{with_audit}"))
        bare, audited = (sorted(rates[with_audit])[1] for with_audit in (False, True))
        print(
            f"{writers} writers: {bare:.0f} intents a second, {audited:.0f} with the audit; "
            f"{1000 * writers * (1 / audited - 1 / bare):+.2f} ms each"
        )
    began = time.monotonic()
    rows = stores[0].audit.verify().rows
    seconds = time.monotonic() - began
    [(size,)] = sql(
        where, "SELECT avg(length(who || address || what || subject || details || previous || hash)) FROM audit_log"
    )
    print(f"verify: {rows / seconds:.0f} rows a second; a row has {float(size):.0f} bytes of text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", action="store_true")
    with ExitStack() as stack:
        if parser.parse_args().postgres:
            url = stack.enter_context(server())
            where: Path | str = new_database(url)
            print(f"fsync is {sql(where, 'SHOW fsync')[0][0]}")
        else:
            where = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "xwrap.sqlite3"
        stores = [Store(where)]
        stores[0].prepare()
        # On SQLite the threads of one server share its one writer.
        stores += [Store(where) if isinstance(where, str) else stores[0] for _ in range(7)]
        measure(where, stores)
        for store in dict.fromkeys(stores):
            store.close()


if __name__ == "__main__":
    main()
