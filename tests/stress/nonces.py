"""Signed calls of one key from several server processes, through a restart that sets the clock back an hour.

    python -m tests.stress.nonces [--calls 20000] [--processes 4] [--threads 8]

The servers share a PostgreSQL (see tests/support/databases.py); the local Kraken checks each signature and nonce, and
its word counts. Kraken's limit of calls is lifted on both sides: within it, so many calls would take 16 hours.
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid
from collections import Counter
from decimal import Decimal

import requests

from tests.stress.processes import CountingKraken, ServerGroup, postgres, start_servers

ORDER = {"currency": "EUR", "asset": "BTC", "amount": "0.001"}


def run(url: str | None, *, calls: int, processes: int = 4, threads: int = 8) -> Counter[str]:
    """Make at least `calls` signed calls; return what the venue and the bots counted."""
    counts: Counter[str] = Counter()
    balances = {"BTC": Decimal(10**6), "EUR": Decimal(10**9)}
    with (
        CountingKraken(balances=balances) as venue,
        start_servers(venue, processes=processes, url=url, XWRAP_EXCHANGE_LIMIT_KRAKEN="none") as (servers, id),
    ):
        for part, set_back in ((calls // 2, 0), (calls, 3600)):
            if set_back:
                servers.stop()
                servers.start(set_back)
            bots = [
                threading.Thread(target=_bot, args=(servers, number, id, venue, part, counts))
                for number in range(servers.count * threads)
            ]
            for bot in bots:
                bot.start()
            for bot in bots:
                bot.join()
        counts.update({f"venue: {name}": count for name, count in venue.counts.items()})
        counts["venue: orders executed"] = len(venue.ledger())
    return counts


def _bot(servers: ServerGroup, number: int, id: int, venue: CountingKraken, until: int, counts: Counter[str]) -> None:
    """One read, one read, one order, and so on; a call that is turned away is made again."""
    session = requests.Session()
    session.auth = servers.auth
    base = f"{servers.urls[number % servers.count]}/exchanges/{id}"
    turn = 0
    while venue.counts["signed"] < until:
        turn += 1
        if turn % 3:
            answer = session.get(f"{base}/balance", timeout=30)
        else:
            answer = session.post(f"{base}/buy", data=ORDER, headers={"Idempotency-Key": uuid.uuid4().hex}, timeout=30)
        word = str(answer.status_code) if answer.ok else f"{answer.status_code} {answer.json()['code']}"
        counts[f"bots: {word}"] += 1
        if answer.status_code == 429:
            time.sleep(int(answer.headers["Retry-After"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.nonces", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    with postgres() as url:
        before = time.monotonic()
        counts = run(url, calls=options.calls, processes=options.processes, threads=options.threads)
        seconds = time.monotonic() - before
    print(f"{counts['venue: signed']} signed calls in {seconds:.0f} s, rejected {counts['venue: nonce refused']}")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")


if __name__ == "__main__":
    main()
