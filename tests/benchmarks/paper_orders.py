"""What open orders on paper cost: calls of their own registration, and those of another account beside it.

    python -m tests.benchmarks.paper_orders [--sizes 0 10 1000 10000 100000] [--rounds 60] [--neighbours 10]

First, within one process, the CPU time of a buy, a limit order with its cancel, a balance, an order that is read and
the first balance of a new minute, with so many open orders, each size once in each round. With none there is no market
to look at, so the ratios are to the smallest number above that, and those of a buy and a limit order to none, too. Then
a server process: one account places orders on a connection, with none and with 10,000 open orders, in turn, while
another account measures how long its own take, and the CPU time of an order. The open orders are made in the data base.
Ends with 1 when a ratio of medians is above 1.25.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from bitmm.xwrap.exchanges.paper import Paper, PaperConfig, Prices
from bitmm.xwrap.server.db.store import Store
from tests.benchmarks.ratios import ratio_of
from tests.benchmarks.server import ORDER, ORDER_QUOTA, PASSWORD, SERVE, add_account, cpu, load, process, request
from tests.support.paper_rows import open_many

LIMIT = 1.25
#: So many orders are open of the account that is not measured.
BESIDE = 10_000
FUNDS = {"USD": Decimal(10**9), "BTC": Decimal(1000)}


@dataclass
class Caller:
    """A registration with open orders, at a clock of its own."""

    paper: Paper
    now: float
    calls: int = 0

    def buy(self, price: str | None = None) -> NewOrder:
        self.calls += 1
        limit = None if price is None else Decimal(price)
        order = NewOrder("buy", "USD", "BTC", f"c{self.calls}", amount=Decimal("0.00000001"), price=limit)
        self.paper.place(order)
        return order

    def limit_and_cancel(self) -> None:
        order = self.buy("1.00")
        self.paper.cancel(OrderRef("buy", "USD", "BTC", order.client_id))

    def minute(self) -> None:
        self.now += 60
        self.paper.funds()


CALLS: dict[str, Callable[[Caller], object]] = {
    "buy": Caller.buy,
    "limit and cancel": Caller.limit_and_cancel,
    "balance": lambda caller: caller.paper.balance(),
    "order": lambda caller: caller.paper.find(OrderRef("buy", "USD", "BTC", "c1")),
    "new minute": Caller.minute,
}

#: Calls that cost as much when no order is open.
PLACES = ("buy", "limit and cancel")


def open_caller(store: Store, size: int) -> Caller:
    """Return a registration with so many open orders."""
    values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
    id = store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
    caller = Caller(None, 1_736_208_060.0)  # type: ignore[arg-type] - its paper needs its clock
    config = PaperConfig(Prices.load(), FUNDS, store.paper_ledger, lambda: caller.now, most_open=10**6)
    caller.paper = Paper(ExchangeContext(None, registration=id), config)  # type: ignore[arg-type] - it has no network
    caller.buy("1.00" if size else None)
    if size > 1:
        open_many(store.where, id, size - 1, caller.now)
    return caller


def measure_growth(sizes: Sequence[int], rounds: int) -> float:
    """Print the CPU time of each call at each size, and return the greatest ratio of medians."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "xwrap.sqlite3")
        store.prepare()
        store.accounts.add("ann", "x")
        callers = {size: open_caller(store, size) for size in sizes}
        took: dict[tuple[str, int], list[float]] = {(name, size): [] for name in CALLS for size in sizes}
        for _ in range(rounds):
            for name, size in random.sample(list(took), len(took)):
                began = time.process_time()
                CALLS[name](callers[size])
                took[name, size].append(time.process_time() - began)
        store.close()
    smallest = min(filter(None, sizes))
    print(f"{rounds} rounds; CPU in microseconds (median), and its ratio to that with {smallest} open orders\n")
    print(f"| call | {' | '.join(f'{size:,} open' for size in sizes)} |\n|{'---|' * (len(sizes) + 1)}")
    worst = 0.0
    for name in CALLS:
        medians = {size: statistics.median(took[name, size]) for size in sizes}
        most = max(median for size, median in medians.items() if size)
        base = min(medians.values()) if name in PLACES else medians[smallest]
        worst = max(worst, most / base)
        cells = [f"{median * 1e6:.0f} ({median / medians[smallest]:.2f})" for median in medians.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    return worst


def as_bob(message: bytes) -> bytes:
    """Return a request of the other account."""
    ann, bob = (base64.b64encode(f"{name}:{PASSWORD}".encode()) for name in ("ann", "bob"))
    return message.replace(ann, bob)


def measure_neighbour(rounds: int) -> float:
    """Print what another account's order takes beside one with none and with many open orders; return their ratio."""
    os.environ.update(XWRAP_EXCHANGES="paper", XWRAP_QUOTA_ORDERS=str(ORDER_QUOTA), XWRAP_QUOTA_OPEN_ORDERS="100000")
    limit = f"{ORDER}&price=1"
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        add_account(folder)
        add_account(folder, name="bob")
        url, pid = stack.enter_context(process(*SERVE, folder))
        register = request("POST", "/exchanges/", "exchange=paper")
        for message in (register, register, as_bob(register), request("POST", "/exchanges/2/buy", limit)):
            asyncio.run(load(url, message, 60, 1, most=1))
        open_many(Path(folder) / "xwrap.sqlite3", 2, BESIDE - 1, time.time())
        mine = as_bob(request("POST", "/exchanges/3/buy", ORDER))
        latencies: dict[int, list[float]] = {1: [], 2: []}
        costs: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for id in random.sample((1, 2), 2):
                latency, cost = _beside(url, pid, request("POST", f"/exchanges/{id}/buy", ORDER), mine)
                latencies[id].append(latency)
                costs[id].append(cost)
    ratio, cost_ratio = (ratio_of(seen[2], seen[1]) for seen in (latencies, costs))
    for id, count in ((1, 0), (2, BESIDE)):
        ms, us = statistics.median(latencies[id]) * 1e3, statistics.median(costs[id]) * 1e6
        print(f"beside an account with {count:,} open orders: an order takes {ms:.1f} ms; CPU {us:.0f} us an order")
    print(f"ratios: of the time {ratio}, of the CPU {cost_ratio}")
    return max(ratio.median, cost_ratio.median)


def _beside(url: str, pid: int, his: bytes, mine: bytes) -> tuple[float, float]:
    """Return the median seconds of an order of mine while he places orders, and the server's CPU for an order."""
    times: list[float] = []
    counts: list[int] = []
    before = cpu(pid)
    noise = threading.Thread(target=lambda: counts.append(asyncio.run(load(url, his, 1.0, 1))))
    noise.start()
    counts.append(asyncio.run(load(url, mine, 1.0, 1, times=times)))
    noise.join()
    return statistics.median(times), (cpu(pid) - before) / sum(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 10, 1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--neighbours", type=int, default=10, help="rounds with another account; 0 for none")
    options = parser.parse_args()
    worst = measure_growth(options.sizes, options.rounds)
    if options.neighbours:
        print()
        worst = max(worst, measure_neighbour(options.neighbours))
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
