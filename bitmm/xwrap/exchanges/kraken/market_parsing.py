"""Kraken's rows of prices, candles, trades and fees, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ...money import parse_unsigned
from ..models import Candle, Fees, Side, Ticker, Trade
from ..parsing import id_from_number, optional, time_from_seconds
from .names import fraction_of
from .parsing import only_entry

__all__ = ["candle_from_row", "fees_from_row", "listed_rows", "ticker_from_row", "trade_from_row"]

_SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}


def listed_rows(result: Mapping[str, Any]) -> Any:
    """Return the rows of an answer to OHLC or Trades, which has `last` beside the one pair."""
    return only_entry({key: rows for key, rows in result.items() if key != "last"})


def ticker_from_row(row: Mapping[str, Any], time: datetime) -> Ticker:
    """Return the figures of a pair in the answer to Ticker; of two, the second is that of the last 24 hours.

    "Get Ticker Information": `c` is the last price and its amount, `v`, `l` and `h` are [today, last 24 hours].
    """
    return Ticker(
        last=parse_unsigned(row["c"][0]),
        high=parse_unsigned(row["h"][1]),
        low=parse_unsigned(row["l"][1]),
        volume=parse_unsigned(row["v"][1]),
        bid=parse_unsigned(row["b"][0]),
        ask=parse_unsigned(row["a"][0]),
        time=time,
    )


def candle_from_row(row: Sequence[Any]) -> Candle:
    """Return a row of OHLC: time, open, high, low, close, the mean price, volume, the number of trades."""
    start, open, high, low, close, _, volume = row[:7]
    return Candle(time_from_seconds(start), *(parse_unsigned(number) for number in (open, high, low, close, volume)))


def trade_from_row(row: Sequence[Any]) -> Trade:
    """Return a row of Trades: price, amount, time, side, order type, a text and, since 2023, the trade's number."""
    return Trade(
        id=optional(id_from_number, row[6] if len(row) > 6 else None),
        side=_SIDES[row[3]],
        amount=parse_unsigned(row[1]),
        price=parse_unsigned(row[0]),
        time=time_from_seconds(row[2]),
    )


def fees_from_row(result: Mapping[str, Any]) -> Fees:
    """Return the account's fees of the one pair that TradeVolume was asked for; they are percentages.

    "Get Trade Volume": a pair whose makers pay what takers do is in `fees` only.
    """
    taker = fraction_of(only_entry(result["fees"])["fee"])
    makers = result.get("fees_maker")
    return Fees(fraction_of(only_entry(makers)["fee"]) if makers else taker, taker, "account")
