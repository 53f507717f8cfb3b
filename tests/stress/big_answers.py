"""The quick way through lists in answers against the strict one: the same text, decoded and parsed both ways.

A text is made from a seed: a list of records of one kind, an order book or amounts by currency. It has odd values, more
fields or fewer, keys named twice, deep nesting, escapes, and changes of its characters. The quick way is that of a long
list; the strict one decodes with a look at each pair of a key and a value, and parses one row after the other. Values
must be the same to the digit and the type, in the same order, and so must the words of a refusal, also in a program
whose decimal context has three digits and no traps.

`--break NAME` breaks the quick way on purpose and prints the first texts that find it.
"""

from __future__ import annotations

import argparse
import decimal
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bitmm.xwrap import _market_parsing as market_parsing
from bitmm.xwrap import _parsing as parsing
from bitmm.xwrap import _records, money
from bitmm.xwrap._records import Record, list_of, object_with

TIME = "2026-11-27T10:00:00.123456Z"
ORDER = {
    "id": 41,
    "key": "0123456789abcdef",
    "exchange_order_id": "X1",
    "side": "buy",
    "type": "limit",
    "currency": "USD",
    "asset": "BTC",
    "amount": "0.10",
    "price": "64251.1",
    "cost": None,
    "status": "filled",
    "filled": "0.10",
    "fee": "-0.00000001",
    "reason": None,
    "created": TIME,
}
SEND = {"id": 9, "asset": "BTC", "amount": "0.1", "fee": None, "address": "1Kx", "tag": None, "status": "done"}
FILL = {"id": "F1", "side": "buy", "amount": "0.1", "price": "100", "fee": None, "time": TIME}
DEPOSIT = {"id": "D1", "asset": "BTC", "amount": "0.1", "status": "done", "time": TIME}
MARKET = {"currency": "USD", "asset": "BTC", "price_step": "0.10", "amount_step": "0.00000001", "cost_min": None}
CANDLE = {"time": TIME, "open": "1", "high": "3", "low": "0.5", "close": "2", "volume": "0"}
TRADE = {"id": "T1", "side": "sell", "amount": "0.1", "price": "100", "time": TIME}


class Kind(NamedTuple):
    """A row that is right, how a list of such rows is parsed, and how one row is."""

    row: Any
    parse: Callable[[Any], Any]
    strict: Callable[[Any], Any]


KINDS = {
    "orders": Kind(ORDER, parsing.orders, parsing._listed_order),
    "withdrawals": Kind(SEND, parsing.withdrawals, parsing.withdrawal),
    "fills": Kind(FILL, parsing.fills, parsing.fill),
    "deposits": Kind(DEPOSIT, parsing.deposits, parsing.deposit),
    "markets": Kind(MARKET, market_parsing.markets, market_parsing.market),
    "candles": Kind(CANDLE, market_parsing.candles, market_parsing._candle),
    "trades": Kind(TRADE, market_parsing.trades, market_parsing._trade),
    "levels": Kind(["64251.1", "0.10"], market_parsing._levels, market_parsing._level),
}

AMOUNTS = [
    *("0", "-0.0", "00.10", "1.", ".5", ".", "-", "", "--1", "1-2", "1.2.3", "+1", "-.5", "1e5", "1E-8", "1e999", "1e"),
    *("NaN", "sNaN", "Infinity", "-inf", "1_000", "1,5", " 1", "1\n", "0x1", "\u0661", "\uff11.5", "\u00b2", "abc"),
    *("9" * 40, "9" * 41, "9" * 100, "9" * 101, "0." + "1" * 98, "0." + "1" * 99, "0" * 101 + "1", "1" * 201),
]
#: What stands for a value: further amounts, and what is none. Each is text of JSON.
VALUES = [
    *map(json.dumps, AMOUNTS),
    *("null", "true", "false", "0", "41", "-1", "0.5", "-0.50", "1e3", "1E400", "NaN", "Infinity", "-Infinity"),
    *("9" * 100, "9" * 101, "-" + "9" * 100, "0." + "9" * 101, "[]", "{}", '["a"]', '{"a": "1"}', '{"a": 1, "a": 1}'),
    *('"buy"', '"open"', '"unknown"', '"banana"', '"gone, or filled"', '"[{,"', '"\\""', '":"', '" : "', '"\\u002c"'),
    *('"\\u005b"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\\\u"', '"\u00fc"', '"\U0001f600"'),
    *("[" * depth + "]" * depth for depth in (90, 97, 98, 99, 100, 101)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (97, 98, 99, 2000)),
]
CHARACTERS = ',:[]{}"\\ -.01eE+\t\u0661tn'


def pairs_of(drawn: random.Random, row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the keys and the values of a row, as text of JSON, with up to three changes."""
    pairs = [(json.dumps(name), json.dumps(value)) for name, value in row.items()]
    for _ in range(drawn.choice([0, 0, 0, 0, 1, 1, 2, 3])):
        where = drawn.randrange(len(pairs)) if pairs else 0
        match drawn.randrange(12):
            case 0 if pairs:
                pairs.pop(where)
            case 1:
                pairs.insert(where, (drawn.choice(['"news"', '"stop"', '"maker_fee"', '"a,b"']), drawn.choice(VALUES)))
            case 2 if pairs:
                pairs.insert(drawn.randrange(len(pairs)), (pairs[where][0], drawn.choice(VALUES)))
            case 3 if pairs:
                # The name is spelled with an escape, so that it is the same only for who decodes it.
                name = json.loads(pairs[where][0])
                pairs.append((f'"\\u{ord(name[0]):04x}{name[1:]}"', drawn.choice(VALUES)))
            case _ if pairs:
                pairs[where] = (pairs[where][0], drawn.choice(VALUES))
    return pairs


def text_of_row(drawn: random.Random, row: Any) -> str:
    if drawn.random() < 0.01:
        return drawn.choice(VALUES)
    comma, colon = drawn.choice([(",", ":"), (", ", ": "), (" ,\n", " : ")])
    if isinstance(row, list):
        items = [drawn.choice(VALUES) if drawn.random() < 0.1 else json.dumps(item) for item in row]
        return f"[{comma.join(items[: drawn.choice([2] * 20 + [1])] + drawn.choice([[]] * 20 + [['1']]))}]"
    return "{" + comma.join(f"{name}{colon}{value}" for name, value in pairs_of(drawn, row)) + "}"


def changed(drawn: random.Random, text: str) -> str:
    """Return the text with a character changed, removed or put in, or a part of it doubled."""
    where = drawn.randrange(len(text) + 1)
    match drawn.randrange(4):
        case 0:
            return text[:where] + drawn.choice(CHARACTERS) + text[where + 1 :]
        case 1:
            return text[:where] + text[where + drawn.choice([1, 2, 9]) :]
        case 2:
            return text[:where] + drawn.choice(CHARACTERS) + text[where:]
        case _:
            return text[:where] + text[max(0, where - 20) :]


def make(seed: int) -> tuple[str, str]:
    """Return the kind of the list of this seed, and its text."""
    drawn = random.Random(seed)
    name = drawn.choice([*KINDS, "orders", "markets"])
    rows = [text_of_row(drawn, KINDS[name].row) for _ in range(drawn.choice([0, 1, 2, 3, 5]))]
    text = drawn.choice(["[%s]"] * 20 + ['{"a": [%s]}', "%s"]) % ", ".join(rows)
    return name, changed(drawn, text) if drawn.random() < 0.1 else text


def quickly(name: str, text: str) -> Any:
    return KINDS[name].parse(money.decode(text))


def strictly(name: str, text: str) -> Any:
    return [KINDS[name].strict(row) for row in list_of(money.decode(text))]


def amounts_quickly(_name: str, text: str) -> Any:
    """Return the amounts of the first row, as if it were a balance."""
    return parsing.amounts(list_of(money.decode(text))[0])


def amounts_strictly(_name: str, text: str) -> Any:
    row = object_with(list_of(money.decode(text))[0])
    return {name: money.parse_decimal(amount) for name, amount in row.items()}


def outcome(way: Callable[[str, str], Any], name: str, text: str) -> str:
    """Return the value, with all that can be seen of it, or the refusal, both as text."""
    try:
        return repr(way(name, text))
    except Exception as error:  # Any other one than ValueError counts as well.
        return f"{type(error).__name__}: {error}"


class Everything(frozenset[Any]):
    """A set that has everything."""

    def issuperset(self, _others: object) -> bool:
        return True


@contextmanager
def broken(name: str | None) -> Iterator[None]:
    """Break the quick way in one way."""
    before = {"_is_complete": money._is_complete, "EXACT": money.EXACT}
    if name == "pairs":
        money._is_complete = lambda *_: True
    elif name == "escapes":
        money._is_complete = lambda document, text, _: before["_is_complete"](document, text, False)  # type: ignore[operator]
    elif name == "digits":
        money.max = lambda _: 0  # type: ignore[attr-defined]
    elif name == "numbers":
        money.EXACT = decimal.Context(traps=[])
    elif name == "statuses":
        _records.frozenset = Everything  # type: ignore[attr-defined]
    try:
        yield
    finally:
        vars(money).pop("max", None)
        vars(_records).pop("frozenset", None)
        vars(money).update(before)


class Found(NamedTuple):
    """How many texts were read, how many of them the quick way alone, and the first seeds with a difference."""

    texts: int
    quick: int
    differences: list[tuple[int, str, str]]


@contextmanager
def counting() -> Iterator[list[None]]:
    """Give a list that gets an item for each text that is decoded, and each row that is parsed, the strict way."""
    used: list[None] = []
    parse, strict = Record.__call__, money._DECODER

    def counted(self: Record[Any], document: Any) -> Any:
        used.append(None)
        return parse(self, document)

    class Counted:
        def decode(self, text: str) -> Any:
            used.append(None)
            return strict.decode(text)

    Record.__call__, money._DECODER = counted, Counted()  # type: ignore[method-assign, assignment]
    try:
        yield used
    finally:
        Record.__call__, money._DECODER = parse, strict  # type: ignore[method-assign]


@contextmanager
def long_from(characters: int, rows: int) -> Iterator[None]:
    """Let lists count as long that have so many characters and rows."""
    before = money._LONG, _records._FEW
    money._LONG, _records._FEW = characters, rows
    try:
        yield
    finally:
        money._LONG, _records._FEW = before


def compare(first: int, count: int) -> Found:
    """Read the texts of these seeds both ways."""
    quick, differences = 0, []
    for seed in range(first, first + count):
        name, text = make(seed)
        ways = (quickly, strictly) if seed % 10 else (amounts_quickly, amounts_strictly)
        with decimal.localcontext(decimal.Context(prec=3, traps=[]) if seed % 2 else None):
            with counting() as used, long_from(0, 0):
                is_ = outcome(ways[0], name, text)
            with long_from(len(text) + 1, 0):
                must_be = outcome(ways[1], name, text)
        quick += not used
        if is_ != must_be:
            differences.append((seed, is_, must_be))
    return Found(count, quick, differences)


def main() -> int:
    """Compare, print the figures, and return 1 when there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--break", dest="breakage", choices=["pairs", "escapes", "digits", "numbers", "statuses"])
    options = parser.parse_args()
    start = time.monotonic()
    with broken(options.breakage):
        found = compare(options.seed, options.texts)
    print(
        f"{found.texts} texts, {found.quick} read the quick way alone, {time.monotonic() - start:.0f} s: "
        f"{len(found.differences)} differences"
    )
    for seed, is_, must_be in found.differences[:5]:
        print(f"seed {seed}: {make(seed)}\n  is      {is_}\n  must be {must_be}")
    return int(bool(found.differences))


if __name__ == "__main__":
    sys.exit(main())
