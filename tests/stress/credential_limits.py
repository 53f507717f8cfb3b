"""A credential's limit of a day, used up by many threads at several server processes, through a restart.

    python -m tests.stress.credential_limits [--orders 400] [--processes 2] [--threads 8]

The servers share a PostgreSQL (see tests/support/databases.py). Each bot places limit buys far below the price, of 1, 2
or 3 EUR, until there is no room for the smallest one; in the middle the servers are started anew. Then one order of
exactly what is left must be taken, and one of the last digit more refused. The local Kraken's word counts.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import requests

from tests.stress.processes import CountingKraken, ServerGroup, postgres, start_servers

#: In EUR, and no sum of the bots' orders: what is left is above Kraken's smallest order.
LIMIT = Decimal("60.50001")
PRICE = Decimal(1000)


def run(url: str | None, *, orders: int, processes: int = 2, threads: int = 8) -> Counter[str]:
    """Return what the bots were answered, and what the venue has got."""
    counts: Counter[str] = Counter()
    with (
        CountingKraken(balances={"EUR": Decimal(10**6), "BTC": Decimal(0)}) as venue,
        start_servers(venue, processes=processes, url=url, XWRAP_EXCHANGE_LIMIT_KRAKEN="none") as (servers, id),
    ):
        form = {"name": "bot1", "scope": "trade", "per_day": str(LIMIT), "currency": "EUR"}
        made = requests.post(f"{servers.urls[0]}/credentials/", data=form, auth=servers.auth, timeout=30).json()
        auth = made["username"], made["password"]
        for part in range(2):
            if part:
                servers.stop()
                servers.start()
            with ThreadPoolExecutor(servers.count * threads) as pool:
                # The first part leaves room for the second one.
                sizes = [random.choice((1, 2, 3)) for _ in range(10 if part == 0 else orders)]
                for answer in pool.map(
                    lambda job: _buy(servers, job[0], id, auth, Decimal(job[1]) / PRICE), enumerate(sizes)
                ):
                    counts[answer] += 1
        left = LIMIT - _value(venue)
        counts["the last one: " + _buy(servers, 0, id, auth, left / PRICE)] += 1
        counts["one digit more: " + _buy(servers, 1, id, auth, Decimal("0.0001"), Decimal("0.1"))] += 1
        counts["venue: hundred-thousandths of a EUR"] = int(_value(venue) * 100_000)
        counts["venue: orders"] = len(venue.orders)
    return counts


def _value(venue: CountingKraken) -> Decimal:
    return sum((order.limit_price * order.amount for order in venue.orders.values()), Decimal(0))


def _buy(
    servers: ServerGroup, number: int, id: int, auth: tuple[str, str], amount: Decimal, price: Decimal = PRICE
) -> str:
    form = {"currency": "EUR", "asset": "BTC", "amount": f"{amount:f}", "price": f"{price:f}"}
    url = f"{servers.urls[number % servers.count]}/exchanges/{id}/buy"
    answer = requests.post(url, data=form, auth=auth, timeout=60)
    return f"{answer.status_code} {answer.json().get('code', '')}".strip()


def good(counts: Counter[str]) -> bool:
    """Return whether exactly the limit was placed."""
    return (
        counts["venue: hundred-thousandths of a EUR"] == int(LIMIT * 100_000)
        and counts["venue: orders"] == counts["200"] + 1
        and counts["403 limit_exceeded"] > 0
        and counts["the last one: 200"] == 1
        and counts["one digit more: 403 limit_exceeded"] == 1
    )


def main() -> int:
    """Run it, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    given = parser.parse_args()
    with postgres() as url:
        counts = run(url, orders=given.orders, processes=given.processes, threads=given.threads)
    for name, count in sorted(counts.items()):
        print(f"{count:>10}  {name}")
    print("good" if good(counts) else "NOT GOOD")
    return 0 if good(counts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
