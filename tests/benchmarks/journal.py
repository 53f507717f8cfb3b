"""What a full journal costs: the median time of a call with it against the median without, in one interleaved run.

    python -m tests.benchmarks.journal [--orders 1000000] [--accounts 10000] [--rounds 40] [--calls 25]

Two servers, one on a data base with so many orders of so many other accounts, in the journal and in the paper
exchange's book, one on a data base without. The account that calls has 100 orders of its own in both, ten of them open,
scattered among all the others where there are others. "older" are its orders from before the ones that are measured.
Exits with 1 when the median of a call, each taken inside a round, is more than 1.2 of the other one.

Medians hide what the reconciler does now and then: its own questions are measured too, on the same two data bases, with
the same limit. The means are printed without one: a single stall of a busy machine can decide them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from decimal import Decimal
from functools import partial
from pathlib import Path

from bitmm.xwrap.server.db.price_keys import price_key
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from tests.benchmarks.server import SERVE, add_account, load, process, request

LIMIT = 1.2
#: The registration that calls, how many orders it has at first, and how many of them are open.
CALLER, OWN, OPEN = 1, 100, 10
MOMENT = "2026-11-26T00:00:00.000000Z"
#: From `type` to `fee_currency`, of an order that is filled and of one that waits for a price that never comes.
FILLED = ("market", None, "filled", "0.00000001", "99000.01", "0.01", "0.01", "USD")
WAITS = ("limit", "1.00", "open", "0", None, None, None, None)


def fill(path: Path, orders: int, accounts: int) -> int:
    """Give `accounts` a paper registration each, spread `orders` filled ones over them, and scatter the caller's own
    ones among these; the id of its newest.
    """
    ids = range(2, accounts + 2)
    owners = [*itertools.islice(itertools.cycle(ids), orders), *[CALLER] * OWN]
    random.Random(1).shuffle(owners)
    mine = [n for n, owner in enumerate(owners, 1) if owner == CALLER]
    opened = set(mine[:: OWN // OPEN])
    keys = {n: f"own-{at}" for at, n in enumerate(mine)}
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO accounts (id, name, password_hash, active, created) VALUES (?, 'other-' || ?, 'x', 1, ?)",
            ((i, i, MOMENT) for i in ids),
        )
        connection.executemany(
            "INSERT INTO registrations (id, account_id, exchange, username, label, apikey_hint, sealed_apikey,"
            " sealed_apisecret, sealed_more, created) VALUES (?, ?, 'paper', '', '', '', '', '', '', ?)",
            ((i, i, MOMENT) for i in ids),
        )
        for name in ("USD", "BTC"):
            insert = "INSERT INTO paper_balances (registration_id, currency, total) VALUES (?, ?, '1.00000000')"
            connection.executemany(insert, ((i, name) for i in ids))
        connection.executemany(
            "INSERT INTO orders (id, registration_id, key, fingerprint, client_id, side, currency, asset, amount,"
            " exchange_order_id, created, updated, type, price, status, filled, average, spent,"
            " fee, fee_currency) VALUES (?, ?, ?, ?, ?, 'buy', 'USD', 'BTC', '0.00000001', ?, ?, ?,"
            " ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (n, i, key, key * 2, uuid.uuid4().hex, str(n), MOMENT, MOMENT, *rest)
                for n, i in enumerate(owners, 1)
                for key, rest in [(keys.get(n) or uuid.uuid4().hex, WAITS if n in opened else FILLED)]
            ),
        )
        connection.executemany(
            "INSERT INTO paper_orders (id, registration_id, client_id, side, currency, asset, amount, price, status,"
            " held, average, spent, fee, checked, created, price_key)"
            " SELECT id, registration_id, client_id, side, currency, asset, amount, price,"
            " status, CASE status WHEN 'open' THEN '0.01' ELSE '0' END, average, spent, fee, 0, created,"
            " CASE status WHEN 'open' THEN ? END FROM orders WHERE id = ?",
            ((price_key(Decimal(1)), n) for n in range(1, len(owners) + 1)),
        )
        connection.execute("INSERT INTO paper_markets VALUES (?, 'USD', 'BTC', ?, 0, 0)", (CALLER, len(opened)))
        held = str(Decimal("0.01") * len(opened))
        connection.execute("INSERT INTO paper_balances VALUES (?, 'USD', '200000', ?)", (CALLER, held))
        connection.executemany(
            "INSERT INTO paper_entries (registration_id, kind, reference, currency, amount, created)"
            " VALUES (?, 'buy', 'order ' || ?, ?, '0.01', ?)",
            ((i, n, name, MOMENT) for n, i in enumerate(owners, 1) for name in ("USD", "BTC", "USD")),
        )
        connection.commit()
    return mine[-1]


def prepare(folder: Path) -> None:
    """Data with the account that calls and its registration, the first of all."""
    add_account(folder)
    with process(*SERVE, str(folder)) as (url, _):
        asyncio.run(load(url, request("POST", "/exchanges/", "exchange=paper"), 60, 1, 1))


def seconds(url: str, message: bytes, calls: int) -> list[float]:
    """What each of so many calls over one connection took."""
    times: list[float] = []
    asyncio.run(load(url, message, 3600, 1, calls, times))
    return times


def calls_of(url: str, newest: int, count: int) -> dict[str, Callable[[], list[float]]]:
    """What a caller does, by its name; each gives the seconds of `count` calls."""
    form = "currency=USD&asset=BTC&amount=0.00000001"
    calls = {
        "buy": ("POST", "buy", form),
        "balance": ("GET", "balance", ""),
        "orders": ("GET", "orders/", ""),
        "older": ("GET", f"orders/?before={newest}", ""),
        "open": ("GET", "orders/?status=open", ""),
        "by key": ("GET", f"orders/?key=own-{OWN // 2}", ""),
    }
    return {
        name: partial(seconds, url, request(method, f"/exchanges/{CALLER}/{path}", form), count)
        for name, (method, path, form) in calls.items()
    }


def questions_of(store: Store, count: int) -> dict[str, Callable[[], list[float]]]:
    """What the reconciler asks a journal, by its name; each gives the seconds of `count` questions."""
    asks: dict[str, Callable[[], object]] = {
        "names of unknown attempts": store.orders.attempts.names,
        "unknown attempts": lambda: store.orders.attempts.at("paper"),
        "mark_abandoned": lambda: store.orders.mark_abandoned(now(86400)),
    }

    def timed(ask: Callable[[], object]) -> list[float]:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        return times

    return {name: partial(timed, ask) for name, ask in asks.items()}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=25)
    options = parser.parse_args()
    os.environ["XWRAP_EXCHANGES"] = "paper"
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        work = {}
        for name, orders, accounts in (("full", options.orders, options.accounts), ("empty", 0, 0)):
            folder = Path(made) / name
            prepare(folder)
            began = time.monotonic()
            newest = fill(folder / "xwrap.sqlite3", orders, accounts)
            print(f"{name}: {orders} orders of {accounts} others made in {time.monotonic() - began:.0f} s")
            url, _ = stack.enter_context(process(*SERVE, str(folder)))
            store = stack.enter_context(closing(Store(folder / "xwrap.sqlite3")))
            work[name] = calls_of(url, newest, options.calls) | questions_of(store, options.calls)
        return measure(work, options.rounds) > LIMIT


def measure(work: dict[str, dict[str, Callable[[], list[float]]]], rounds: int) -> float:
    """Print a row for each call and question; the worst ratio of medians."""
    taken = {(what, name): [] for name, calls in work.items() for what in calls}
    for what, name in taken:
        work[name][what]()  # the first time is another one: statements are written, pages are read
    for _ in range(rounds):
        for what, name in random.sample(list(taken), len(taken)):
            taken[what, name].append(work[name][what]())
    worst = 0.0
    print(f"{'':10}{'full, us':>10}{'empty, us':>11}{'ratio':>8}{'means, us':>12}{'':>9}{'ratio':>8}")
    for what in work["full"]:
        full, empty = taken[what, "full"], taken[what, "empty"]
        medians = [[statistics.median(times) for times in side] for side in (full, empty)]
        ratio = statistics.median(one / other for one, other in zip(*medians, strict=True))
        worst = max(worst, ratio)
        middle = [statistics.median(side) * 1e6 for side in medians]
        means = [statistics.fmean(itertools.chain(*side)) * 1e6 for side in (full, empty)]
        print(f"{what:10}{middle[0]:10.0f}{middle[1]:11.0f}{ratio:8.2f}", end="")
        print(f"{means[0]:12.0f}{means[1]:9.0f}{means[0] / means[1]:8.2f}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
