"""What Mt.Gox tells of its market, read into our records: offers, the figures of a day, trades of everybody.

Sources: the Bitcoin Wiki, MtGox/API/HTTP/v0 and v1 (revisions of 2012), and the recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ...models import Side, Ticker, Trade
from ...parsing import list_of_rows, readable_rows, time_from_microseconds, time_from_seconds
from .parsing import from_units

__all__ = ["ticker_from_document", "trades_from_rows"]

#: "bid": the buyer took an offer. Trades of the first years have an empty one.
_SIDES: dict[object, Side] = {"bid": "buy", "ask": "sell"}


def ticker_from_document(ticker: Mapping[str, Any], currency: str, amount: Callable[[Any, str], Decimal]) -> Ticker:
    """Return the figures of a day; `amount` reads one of them in a currency, and a figure that is absent is None.

    The last price is "last_local": "last" may be that of a trade in another currency, converted (v1, "Multi Currency
    Ticker"). Raises ValueError when the bid is above the ask.
    """

    def read(name: str, unit: str) -> Decimal | None:
        value = ticker.get(name)
        return None if value is None else amount(value, unit)

    last, high, low, bid, ask = (read(name, currency) for name in ("last_local", "high", "low", "buy", "sell"))
    if bid is not None and ask is not None and bid > ask:
        raise ValueError("the bid is above the ask")
    now = ticker.get("now")
    time = datetime.now(UTC) if now is None else time_from_microseconds(now)
    return Ticker(last, high, low, read("vol", "BTC"), bid, ask, time)


def trades_from_rows(name: str, rows: Any, currency: str, limit: int) -> list[Trade]:
    """Return the trades in a currency, newest first; `name`: the exchange's.

    A trade between two currencies stands in the list of both. It is that of the buyer's, where "primary" is "Y" (v1,
    "Multi currency trades"); older answers do not have the field.
    """
    listed = [row for row in list_of_rows(rows) if not _is_of_another(row, currency)]
    trades = readable_rows(name, listed, lambda row: _trade_from_row(row, currency))
    return sorted(trades, key=lambda trade: (trade.time, int(trade.id or 0)), reverse=True)[:limit]


def _is_of_another(row: Any, currency: str) -> bool:
    """Return whether a row is no trade of this currency's market; one that cannot be read may be one."""
    if not isinstance(row, Mapping):
        return False
    return bool(row.get("price_currency", currency) != currency or row.get("primary") == "N")


def _trade_from_row(row: Mapping[str, Any], currency: str) -> Trade:
    return Trade(
        id=str(int(row["tid"])),
        side=_SIDES.get(row.get("trade_type")),
        amount=from_units(row["amount_int"], "BTC"),
        price=from_units(row["price_int"], currency),
        time=time_from_seconds(row["date"]),
    )
