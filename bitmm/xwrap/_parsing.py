"""What servers answer: each function takes a decoded JSON document and returns the record that it is named after.

It raises ValueError when the document is not one. Fields that are not known here stay in the record.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

from .money import parse_decimal
from .types import (
    Balance,
    Deposit,
    DepositAddress,
    Exchange,
    ExchangeRate,
    Fill,
    Funds,
    Market,
    Order,
    Rate,
    Withdrawal,
)

_R = TypeVar("_R")


class Record(Generic[_R]):
    """Parses one kind of record: an object that has the `required` fields, whose amounts become Decimal.

    `amounts` are the fields that `kind` annotates with Decimal, in its order; each may be None.
    """

    def __init__(self, kind: type[_R], *required: str) -> None:
        fields = kind.__annotations__
        self.amounts = tuple(name for name, hint in fields.items() if hint in (Decimal, Decimal | None))
        self._required = required

    def __call__(self, document: Any) -> _R:
        """Return the record in `document`."""
        record = dict(_object(document, *self._required))
        for name in self.amounts:
            if record.get(name) is not None:
                record[name] = parse_decimal(record[name])
        return cast("_R", record)


order = Record(Order)
fill = Record(Fill, "amount", "price")
market = Record(Market, "currency", "asset")
withdrawal = Record(Withdrawal, "asset", "amount")
deposit = Record(Deposit, "asset", "amount")
_funds = Record(Funds, "total", "available", "held")


def anything(document: Any) -> Any:
    """Return the document as it is."""
    return document


def orders(document: Any) -> list[Order]:
    return [order(row) for row in _list(document)]


def canceled(document: Any) -> int:
    """Return how many orders were canceled."""
    return _whole(_object(document, "canceled")["canceled"])


def accepted(document: Any) -> bool:
    """Return True for a send: its record, or `true` from a server of 2013."""
    if document is not True:
        _object(document)
    return True


def exchanges(document: Any) -> list[Exchange]:
    return cast("list[Exchange]", [_object(row, "id", "name", "description") for row in _list(document)])


def rate(document: Any) -> Rate:
    row = _object(document, "buy", "sell")
    return {"buy": parse_decimal(row["buy"]), "sell": parse_decimal(row["sell"])}


def exchange_rates(document: Any) -> list[ExchangeRate]:
    rows = [_object(row, "exchange", "buy", "sell") for row in _list(document)]
    return cast("list[ExchangeRate]", [{**row, **rate(row)} for row in rows])


def amounts(document: Any) -> dict[str, Decimal]:
    """Return amounts by currency or asset."""
    return {name: parse_decimal(amount) for name, amount in _object(document).items()}


def balances(document: Any) -> list[Balance]:
    rows = [_object(row, "id", "exchange", "balance") for row in _list(document)]
    return cast("list[Balance]", [{**row, "id": _whole(row["id"]), "balance": amounts(row["balance"])} for row in rows])


def registration(document: Any) -> dict[str, Any]:
    """Return a registration with all its fields, as they came."""
    row = _object(document, "id", "exchange")
    _whole(row["id"])
    return row


def registrations(document: Any) -> list[dict[str, Any]]:
    return [registration(row) for row in _list(document)]


def funds(document: Any) -> dict[str, Funds]:
    """Return the funds by currency or asset."""
    return {name: _funds(row) for name, row in _object(document).items()}


def markets(document: Any) -> list[Market]:
    return [market(row) for row in _list(document)]


def fills(document: Any) -> list[Fill]:
    return [fill(row) for row in _list(document)]


def deposits(document: Any) -> list[Deposit]:
    return [deposit(row) for row in _list(document)]


def withdrawals(document: Any) -> list[Withdrawal]:
    return [withdrawal(row) for row in _list(document)]


def deposit_address(document: Any) -> DepositAddress:
    return cast("DepositAddress", _object(document, "asset", "address", "tag", "network"))


def address(document: Any) -> str:
    if not isinstance(document, str) or not document:
        raise ValueError("it is not an address")
    return document


def _list(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise ValueError("it is not a list")  # noqa: TRY004 - one error for a bad document
    return document


def _object(document: Any, *fields: str) -> dict[str, Any]:
    """Return the document, which must be an object with these fields."""
    if not isinstance(document, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - one error for a bad document
    for field in fields:
        if field not in document:
            raise ValueError(f"{field!r} is missing")
    return document


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("an id is not a whole number")
