"""What a big answer costs: `python -m tests.benchmarks.big_answers` (a few seconds).

CPU time of decoding and parsing a list of 500 orders and one of 500 markets, per row, as a ratio to `json.loads` with
`parse_float=Decimal` and a Decimal for each amount that is text, which checks nothing. A round is one of each; the
median over the rounds is printed. The exit status is 1 when a limit is exceeded.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bitmm.xwrap import _market_parsing as market_parsing
from bitmm.xwrap import _parsing as parsing
from bitmm.xwrap.money import decode
from tests.benchmarks.client import ORDER

ROWS = 500
ROUNDS = 100
#: 1.47 and 1.57 were reached, of 2.6 and 3.2 before (2026-11-28).
LIMITS = {"orders": 1.7, "markets": 1.8}
CONDITIONS = {"reason": None, "post_only": None, "time_in_force": None, "expires": None, "stop": None, "replaces": None}
MARKET = {"currency": "USD", "asset": "BTC", "price_step": "0.10", "amount_step": "0.00000001", "amount_min": "0.0001"}
MARKET |= {"cost_min": "5", "maker_fee": "0.0025", "taker_fee": "0.0040"}
KINDS: dict[str, tuple[dict[str, Any], Callable[[Any], object]]] = {
    "orders": (ORDER | CONDITIONS | {"key": "0123456789abcdef" * 2, "updated": ORDER["created"]}, parsing.orders),
    "markets": (MARKET, market_parsing.markets),
}


def unchecked(text: str) -> list[dict[str, Any]]:
    """Return the rows of a list, with a Decimal for each text that begins with a digit and is no time."""
    rows: list[dict[str, Any]] = json.loads(text, parse_float=Decimal)
    names = [name for name, value in rows[0].items() if isinstance(value, str) and value.replace(".", "").isdecimal()]
    for row in rows:
        for name in names:
            row[name] = Decimal(row[name])
    return rows


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    bad = False
    for kind, (row, parse) in KINDS.items():
        text = json.dumps([{**row, "id": number} for number in range(ROWS, 0, -1)])
        pairs = [
            (seconds(lambda: parse(decode(text))), seconds(lambda: unchecked(text)))  # noqa: B023 - called at once
            for _ in range(ROUNDS)
        ]
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        us = statistics.median(ours for ours, _ in pairs) / ROWS * 1e6
        bad |= ratio > LIMITS[kind]
        print(f"{kind}: {us:.1f} us a row, {ratio:.2f} of json.loads with Decimals (limit {LIMITS[kind]})")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
