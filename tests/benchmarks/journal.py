"""What a full journal costs: the median time of a call with it against the median without, in one interleaved run.

    python -m tests.benchmarks.journal [--orders 1000000] [--accounts 10000] [--rounds 40] [--calls 25]

Two servers, one on a data base with so many orders of so many other accounts, in the journal and in the paper
exchange's book, one on a data base without. The account that calls is new in both and has orders of its own only from
the calls that are measured, as many in the one as in the other.
Exits with 1 when the median of a call, each taken inside a round, is more than 1.2 of the other one.
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
from contextlib import ExitStack, closing
from pathlib import Path

from bitmm.xwrap.server.store import Store, now
from tests.benchmarks.server import SERVE, add_account, load, process, request

LIMIT = 1.2
MOMENT = "2026-11-26T00:00:00.000000Z"
ANSWER = (
    '{"id":%d,"key":"%s","exchange_order_id":"%d","side":"buy","type":"market","currency":"USD","asset":"BTC",'
    '"amount":"0.00000001","price":null,"cost":null,"status":"filled","filled":"0.00000001","average":"99000.01",'
    '"spent":"0.01","fee":"0.01","fee_currency":"USD","created":"' + MOMENT + '","updated":"' + MOMENT + '"}'
)


def fill(path: Path, orders: int, accounts: int) -> None:
    """Give `accounts` a paper registration each, and spread `orders` filled ones over them."""
    ids = range(2, accounts + 2)
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO accounts VALUES (?, 'other-' || ?, 'x', 1, ?)", ((i, i, MOMENT) for i in ids)
        )
        connection.executemany(
            "INSERT INTO registrations (id, account_id, exchange, username, label, apikey_hint, sealed_apikey,"
            " sealed_apisecret, sealed_more, created) VALUES (?, ?, 'paper', '', '', '', '', '', '', ?)",
            ((i, i, MOMENT) for i in ids),
        )
        for name in ("USD", "BTC"):
            connection.executemany("INSERT INTO paper_balances VALUES (?, ?, '1.00000000')", ((i, name) for i in ids))
        numbered = list(zip(range(orders), itertools.cycle(ids), strict=False))
        random.Random(1).shuffle(numbered)
        connection.executemany(
            "INSERT INTO orders (id, registration_id, key, fingerprint, client_id, side, type, currency, asset, amount,"
            " exchange_order_id, status, filled, average, spent, fee, fee_currency, created, updated, answer_status,"
            " answer) VALUES (?, ?, ?, ?, ?, 'buy', 'market', 'USD', 'BTC', '0.00000001', ?, 'filled', '0.00000001',"
            " '99000.01', '0.01', '0.01', 'USD', ?, ?, 200, ?)",
            (
                (n, i, key := uuid.uuid4().hex, key * 2, uuid.uuid4().hex, str(n), MOMENT, MOMENT, ANSWER % (n, key, n))
                for n, (_, i) in enumerate(numbered, 1)
            ),
        )
        connection.executemany(
            "INSERT INTO paper_orders SELECT id, registration_id, client_id, side, currency, asset, amount, price,"
            " status, '0', average, spent, fee, 0, created FROM orders WHERE id = ?",
            ((n,) for n in range(1, orders + 1)),
        )
        connection.executemany(
            "INSERT INTO paper_entries (registration_id, kind, reference, currency, amount, created)"
            " VALUES (?, 'buy', 'order ' || ?, ?, '0.01', ?)",
            ((i, n, name, MOMENT) for n, (_, i) in enumerate(numbered, 1) for name in ("USD", "BTC", "USD")),
        )
        connection.commit()


def serve(stack: ExitStack, folder: Path) -> str:
    """The URL of a server on this data, whose account `ann` gets a registration."""
    url, _ = stack.enter_context(process(*SERVE, str(folder)))
    asyncio.run(load(url, request("POST", "/exchanges/", "exchange=paper"), 0.001, 1))
    return url


def median_seconds(url: str, message: bytes, calls: int) -> float:
    """Of so many calls over one connection."""
    times: list[float] = []
    asyncio.run(load(url, message, 3600, 1, calls, times))
    return statistics.median(times)


def settler_costs(path: Path) -> str:
    """How long the settler's questions to a full journal take."""
    store = Store(path)
    told = []
    for what, ask in (
        ("unsettled", lambda: store.orders.unsettled("paper")),
        ("orphan", lambda: store.orders.orphan(now(86400))),
        ("count_unknown", store.orders.count_unknown),
    ):
        began = time.perf_counter()
        ask()
        told.append(f"{what} {(time.perf_counter() - began) * 1000:.1f} ms")
    store.close()
    return ", ".join(told)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=25)
    options = parser.parse_args()
    os.environ["XWRAP_EXCHANGES"] = "paper"
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folders = {name: Path(made) / name for name in ("full", "empty")}
        for folder in folders.values():
            add_account(folder)
        began = time.monotonic()
        fill(folders["full"] / "xwrap.sqlite3", options.orders, options.accounts)
        print(f"{options.orders} orders of {options.accounts} accounts made in {time.monotonic() - began:.0f} s")
        urls = {name: serve(stack, folder) for name, folder in folders.items()}
        ids = {"full": options.accounts + 2, "empty": 1}
        worst = measure(urls, ids, options)
        print(settler_costs(folders["full"] / "xwrap.sqlite3"))
    return worst > LIMIT


def measure(urls: dict[str, str], ids: dict[str, int], options: argparse.Namespace) -> float:
    """Print a row for each call; the worst ratio."""
    order = "currency=USD&asset=BTC&amount=0.00000001"
    calls = {"buy": ("POST", "buy", order), "balance": ("GET", "balance", ""), "orders": ("GET", "orders/", "")}
    medians = {(call, name): [] for call in calls for name in urls}
    for _ in range(options.rounds):
        for call, name in random.sample(list(medians), len(medians)):
            method, path, form = calls[call]
            message = request(method, f"/exchanges/{ids[name]}/{path}", form)
            medians[call, name].append(median_seconds(urls[name], message, options.calls))
    worst = 0.0
    print(f"{'call':10}{'full, us':>10}{'empty, us':>11}{'ratio':>8}")
    for call in calls:
        full, empty = medians[call, "full"], medians[call, "empty"]
        ratio = statistics.median(one / other for one, other in zip(full, empty, strict=True))
        worst = max(worst, ratio)
        print(f"{call:10}{statistics.median(full) * 1e6:10.0f}{statistics.median(empty) * 1e6:11.0f}{ratio:8.2f}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
