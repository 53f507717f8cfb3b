"""Many bots with one key against a Kraken that counts calls, and cancels while a thousand reads are queued.

    python -m tests.stress.rate_limits [--seconds 60] [--bots 50] [--reads 1000] [--processes 4]

The local Kraken counts as it does for a Starter (at most 15, falling by 0.33 a second) and refuses what is above; its
word counts. First the bots trade with the real client, then every reader asks for the balance again and again, coming
back when it was told to, while orders are canceled one after another.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlsplit

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import RateLimited
from tests.stress.processes import CountingKraken, ServerGroup, postgres, start_servers

PRICE, AMOUNT = Decimal(1000), Decimal("0.001")


@dataclass
class Figures:
    """What the venue counted, what the callers were answered, and each cancel's seconds to the venue and back."""

    venue: Counter[str] = field(default_factory=Counter)
    bots: Counter[str] = field(default_factory=Counter)
    readers: Counter[str] = field(default_factory=Counter)
    cancels: list[tuple[float, float]] = field(default_factory=list)


class TimedKraken(CountingKraken):
    """A venue that remembers when it was last asked to cancel."""

    canceled = 0.0

    def private_CancelOrder(self, account, given):
        self.canceled = time.monotonic()
        return super().private_CancelOrder(account, given)


def run(
    url: str | None, *, seconds: float, bots: int, reads: int, cancels: int = 5, processes: int = 4, every: float = 3.5
) -> Figures:
    """Trade for `seconds` with `bots` threads, then cancel one order `every` so many seconds among `reads` readers."""
    figures = Figures()
    with TimedKraken() as venue, start_servers(venue, processes=processes, url=url) as (servers, id):
        venue.counter_max = 15
        backends = [
            Backend(id, *servers.auth, servers.urls[number % servers.count], timeout=8) for number in range(bots)
        ]
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_trade, args=(number, backend, until, figures.bots))
            for number, backend in enumerate(backends)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        placed = [backends[0].buy("EUR", "BTC", AMOUNT, price=PRICE)["id"] for _ in range(cancels)]
        with _reading(servers, id, reads, figures.readers):
            for number, order in enumerate(placed):
                before = time.monotonic()
                backends[number % bots].cancel(order)
                figures.cancels.append((venue.canceled - before, time.monotonic() - before))
                time.sleep(every)
        figures.venue = venue.counts
    return figures


def _trade(number: int, backend: Backend, until: float, counts: Counter[str]) -> None:
    """Look at the balance, or place an order and cancel it."""
    dice = random.Random(number)
    while time.monotonic() < until:
        try:
            if dice.random() < 0.5:
                backend.balance()
                counts["balances"] += 1
            else:
                backend.cancel(backend.buy("EUR", "BTC", AMOUNT, price=PRICE)["id"])
                counts["orders placed and canceled"] += 1
        except RateLimited as refusal:
            counts["turned away"] += 1
            time.sleep(min(refusal.retry_after or 1, max(0.0, until - time.monotonic())))


@contextmanager
def _reading(servers: ServerGroup, id: int, count: int, counts: Counter[str]) -> Iterator[None]:
    """So many readers at work; the block begins when each of them has had its first answer."""
    stop, asked, stopped = threading.Event(), threading.Event(), asyncio.Event()
    credentials = base64.b64encode(":".join(servers.auth).encode()).decode()

    async def read(url: str, number: int) -> None:
        host, port = urlsplit(url).hostname, urlsplit(url).port
        request = (
            f"GET /exchanges/{id}/balance HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Basic {credentials}\r\n\r\n"
        )
        # One address may not have so many connections.
        reader, writer = await asyncio.open_connection(host, port, local_addr=(f"127.0.0.{2 + number % 100}", 0))
        while not stop.is_set():
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]))
            counts[head.split()[1]] += 1
            if counts.total() >= count:
                asked.set()
            after = re.search(r"retry-after: (\d+)", head, re.IGNORECASE)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), int(after[1]) if after else 0)
        writer.close()
        await writer.wait_closed()

    async def everyone() -> None:
        asyncio.ensure_future(asyncio.to_thread(stop.wait)).add_done_callback(lambda _: stopped.set())
        await asyncio.gather(*(read(servers.urls[number % servers.count], number) for number in range(count)))

    thread = threading.Thread(target=lambda: asyncio.run(everyone()))
    thread.start()
    try:
        asked.wait(60)
        yield
    finally:
        stop.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.rate_limits", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bots", type=int, default=50)
    parser.add_argument("--reads", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    with postgres() as url:
        figures = run(
            url, seconds=options.seconds, bots=options.bots, reads=options.reads, cancels=8, processes=options.processes
        )
    print(f"limit answers from the venue: {figures.venue['limit refused']} to {figures.venue['signed']} signed calls")
    print(f"{options.bots} bots: {dict(figures.bots)}")
    print(f"{options.reads} readers: {dict(figures.readers)} (answers by status)")
    there, back = zip(*figures.cancels, strict=True)
    print(
        f"{len(there)} cancels: at the venue after {max(there):.3f} s at most, answered after {max(back):.3f} s at most"
    )
    print(f"at the venue: {dict(figures.venue)}")


if __name__ == "__main__":
    main()
