"""One odd row hides no other in a list that ccxt reads: it reads all rows of an answer in one go, or none."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ..http import PARSING_ERRORS
from ..parsing import readable_rows, required_text

__all__ = ["ReadableRows", "is_odd"]

#: What the exchanges call the id of an order in their own rows.
_ID_NAMES = ("id", "orderId", "order_id", "orderID", "ordId", "uuid", "oid", "orderNumber", "order_no", "orderNo")
#: Fields of an answer whose lists are none of rows.
_NO_ROWS = {"error", "errors", "message", "messages", "warnings"}
#: The mark of an order that was not understood, in ccxt's unified form of it.
_ODD = "odd"


def is_odd(row: Mapping[str, Any]) -> bool:
    """Return whether only the id of this unified order is known, because its row was not understood."""
    return bool(row.get(_ODD))


class ReadableRows:
    """Before a class of ccxt among the bases of ours: how it reads lists, when it cannot read one as a whole.

    A market, a currency or a fill that it cannot read is left out. An order or a transfer is left out nowhere, since a
    look-up would take it for one that is not there: of an order its id alone is told. Raises ValueError when that
    cannot be read either.
    """

    def parse_markets(self, markets: Any) -> Any:
        """Return the markets that can be read."""
        return self._parse(super().parse_markets, markets, self._ccxt.parse_market)  # type: ignore[misc]  # ccxt's

    def parse_currencies(self, currencies: Any) -> Any:
        """Return the currencies that can be read."""
        parse = super().parse_currencies  # type: ignore[misc]  # ccxt's
        # Some classes, as Bitstamp's, read them from other rows, and no single currency.
        return self._parse(parse, currencies, lambda row: parse([row]))

    def parse_trades(self, trades: Any, market: Any = None, *rest: Any, **named: Any) -> Any:
        """Return the fills, or the trades of everybody, that can be read.

        ccxt sorts them by time, and cannot where only some have one; an id may be missing, as trades of everybody often
        have none. Those in the row of an order may have neither, as at Coins.ph; they are not sorted. ccxt adds them up
        where the order has no sums of its own, so it gets all of them, or none when one cannot be read. They hide no
        order.
        """
        if sys._getframe(1).f_code.co_name == "safe_order":  # noqa: SLF001 - the documented way to the caller's frame
            with suppress(importlib.import_module("ccxt").BaseError, *PARSING_ERRORS):
                return [self._ccxt.parse_trade(row, market) for row in self._ccxt.to_array(trades)]
            return []

        def read(row: Any) -> None:
            fill = self._ccxt.parse_trade(row, market)
            if fill["timestamp"] is None:
                raise ValueError("a fill without time")

        return self._parse(super().parse_trades, trades, read, market, *rest, **named)  # type: ignore[misc]  # ccxt's

    def parse_transactions(self, transactions: Any, currency: Any = None, *rest: Any, **named: Any) -> Any:
        """Return all transfers; of one that cannot be read only that it is odd."""
        readable: list[Any] = []
        rows = self._ccxt.to_array(transactions)
        for row in rows:
            with suppress(*PARSING_ERRORS):
                _read(lambda row: self._ccxt.parse_transaction(row, currency), row)
                readable.append(row)
        parsed = super().parse_transactions(readable, currency, *rest, **named)  # type: ignore[misc]  # ccxt's
        return [*parsed, *[{_ODD: True}] * (len(rows) - len(readable))]

    def parse_orders(self, orders: Any, market: Any = None, *rest: Any, **named: Any) -> Any:
        """Return all orders; of one that cannot be read the id, and that it is odd."""
        if isinstance(orders, dict):
            orders = [
                {"id": id, **row} if isinstance(row, dict) else {"id": id, _ODD: row} for id, row in orders.items()
            ]
        readable, odd = [], []
        for row in orders or []:
            try:
                if _ODD in row:
                    raise ValueError("not a row")
                _read(partial(self._ccxt.parse_order, market=market), row)
                readable.append(row)
            except PARSING_ERRORS:
                odd.append({"id": _id_of_order(row), "symbol": None, _ODD: True})
        parsed = super().parse_orders(readable, market, *rest, **named)  # type: ignore[misc]  # as above
        return [*parsed, *odd]

    def listed(self, method: str, *arguments: Any) -> Any:
        """Return the rows of the unified list `method`, where a row that is not in it proves something: that an order
        is over, that there is none to cancel, or that nothing was sent.

        Raises ValueError for an answer that has no list: ccxt takes it for an empty one.
        """
        ccxt = self._ccxt
        ccxt.last_answer = (0, None)  # it is kept from now on (`LookupCalls`)
        try:
            rows = getattr(ccxt, method)(*arguments)
            if not rows and (ccxt.last_answer[1] == {} or not _has_list(ccxt.last_answer[1])):
                raise ValueError("no list")
        finally:
            ccxt.last_answer = None
        return rows

    @property
    def _ccxt(self) -> Any:
        return self

    def _parse(self, parse: Callable[..., Any], rows: Any, read: Callable[[Any], Any], *rest: Any, **named: Any) -> Any:
        """Return what ccxt's `parse` makes of the exchange's rows; when it cannot, of those that `read` understands.

        Raises ValueError when there is none.
        """
        try:
            return parse(rows, *rest, **named)
        except (importlib.import_module("ccxt").BaseError, *PARSING_ERRORS):

            def row_if_read(row: Any) -> Any:
                _read(read, row)
                return row

            readable = readable_rows(f"{self._ccxt.name} (ccxt)", self._ccxt.to_array(rows), row_if_read)
            return parse(readable, *rest, **named)


def _read(read: Callable[[Any], Any], row: Any) -> None:
    """Raise one of PARSING_ERRORS when `read` does not understand the row: ccxt has errors of its own for that."""
    try:
        read(row)
    except importlib.import_module("ccxt").BaseError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _has_list(document: Any) -> bool:
    """Return whether a document is, or has somewhere inside, a list or an object without fields."""
    if isinstance(document, dict) and document:
        return any(_has_list(value) for name, value in document.items() if name not in _NO_ROWS)
    return isinstance(document, (dict, list))


def _id_of_order(row: Any) -> str:
    if not isinstance(row, dict):
        raise ValueError("an order that is no row")  # noqa: TRY004 - one error for a bad row
    id = next((row[name] for name in _ID_NAMES if row.get(name) not in (None, "")), None)
    return required_text(str(id) if isinstance(id, int) else id)
