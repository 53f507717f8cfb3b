"""Reading the numbers of ccxt exactly: what replaces its own functions, and the self-test."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from ...money import parse_decimal, total
from ..errors import Refused

__all__ = ["EXACT_OVERRIDES", "check_exactness"]


def _read_json(text: str) -> Any:
    """Return JSON decoded with its fractions as text: ccxt 4.5.90, and 4.5.64 beside orjson, would read floats."""
    return json.loads(text, parse_float=str)


def _read_level(self: Any, level: Any, price: Any = 0, amount: Any = 1, _count: Any = 2) -> list[Decimal]:
    """Return price and amount of a level of an order book as numbers, for ccxt sorts the levels; its own are floats."""
    return [parse_decimal(self.safe_string(level, key)) for key in (price, amount)]


#: What our subclass of a class of ccxt has instead of its own. Decimal as number type loses the fees (4.5.90).
EXACT_OVERRIDES = {
    "number": str,
    "on_json_response": staticmethod(_read_json),
    "parse_order_book_bid_ask": _read_level,
}

_DIGITS = ("0.12345678901234567890", "12345678901234567.123456789", "9007199254740993", "0.00000001")


def check_exactness(library: Any, sample: Any) -> None:
    """Raise Refused `inexact` when a class loses a digit of a JSON text or a JSON number in ccxt's own functions."""
    rows = sample.parse_json(f'{{"texts": [{", ".join(map(json.dumps, _DIGITS))}], "numbers": [{", ".join(_DIGITS)}]}}')
    want = [Decimal(digits) for digits in _DIGITS]
    for source in rows["texts"], rows["numbers"]:
        texts = [sample.safe_string(source, place) for place in range(len(want))]
        first, last, whole, small = texts
        ticker = sample.safe_ticker({"bid": first, "ask": last, "last": whole, "info": {}})
        funds = sample.safe_balance({"info": {}, "BTC": {"free": first, "used": last}})["BTC"]
        fee = sample.safe_trade({"fee": {"cost": small, "currency": "BTC"}, "amount": first, "price": last, "info": {}})
        book = library.Exchange.parse_order_book(
            sample, {"bids": [[source[0], "1"], [source[1], "1"]], "asks": []}, "A/B"
        )
        candle = library.Exchange.parse_ohlcv(sample, [1_700_000_000_000, *source, source[0]])
        got = [
            ([sample.safe_number(source, place) for place in range(len(want))], want),
            ([ticker["bid"], ticker["ask"]], want[:2]),
            ([funds["free"], funds["used"], funds["total"]], [*want[:2], total(want[:2])]),
            ([fee["fee"]["cost"], fee["amount"], fee["price"]], [want[3], *want[:2]]),
            ([level[0] for level in book["bids"]], [want[1], want[0]]),
            (candle[1:], [*want, want[0]]),
            # Of the fees of an account and of a market.
            ([sample.parse_number(text) for text in texts], want),
        ]
        for values, wanted in got:
            # A float that happens to be exact is still a float.
            if any(not isinstance(value, (str, Decimal)) for value in values) or list(map(Decimal, values)) != wanted:
                raise Refused(f"ccxt's class {sample.id} loses digits and is not used", code="inexact")
