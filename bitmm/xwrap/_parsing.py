"""What servers answer: each function takes a decoded JSON document and returns the record that it is named after.

It raises ValueError when the document is not one. Fields that are not known here stay in the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._addresses import same_address
from ._names import is_name_of
from ._records import Record, list_of, object_with, whole_number
from .money import parse_decimal, parse_decimals

if TYPE_CHECKING:
    from .types import (
        Account,
        AllowedAddress,
        AuditRow,
        Balance,
        Credential,
        DeadMansSwitch,
        Deposit,
        DepositAddress,
        Exchange,
        ExchangeRate,
        Fill,
        Freeze,
        Funds,
        NewCredential,
        Order,
        Rate,
        Withdrawal,
    )

_H = TypeVar("_H", bound=Mapping[str, object])

#: The conditions of an order, which its record has where they were given.
CONDITIONS = ("post_only", "time_in_force", "expires", "stop")


#: The fields whose text a server may write otherwise, as BTC for btc and XBT.
_NAMES = ("currency", "asset")


order: Record[Order] = Record("Order", "id", statuses="OrderStatus")
_order_placed_elsewhere: Record[Order] = Record("Order", "exchange_order_id", statuses="OrderStatus")
_order_not_placed: Record[Order] = Record("Order", "dry_run")
fill: Record[Fill] = Record("Fill", "amount", "price")
withdrawal: Record[Withdrawal] = Record("Withdrawal", "id", "asset", "amount", statuses="WithdrawalStatus")
deposit: Record[Deposit] = Record("Deposit", "asset", "amount")
account: Record[Account] = Record("Account", "id", "name", "username", "scope", "frozen", "created")
allowed_address: Record[AllowedAddress] = Record("AllowedAddress", "id", "asset", "address", "usable_from")
credential: Record[Credential] = Record("Credential", "name", "scope", "created")
_new_credential: Record[NewCredential] = Record("NewCredential", "name", "scope", "created", "username", "password")
_audit_row: Record[AuditRow] = Record("AuditRow", "id", "time", "who", "address", "what", "subject", "details")
_funds: Record[Funds] = Record("Funds", "total", "available", "held")
_exchange_rate: Record[ExchangeRate] = Record("ExchangeRate", "exchange", "buy", "sell")


def check_same(record: Mapping[str, Any], expected: Mapping[str, object]) -> None:
    """Raise ValueError when a field of `record` is there and is not the expected one, or an expected condition is not
    there: a server that does not know conditions places an order without them.

    Such a record is the answer to another question. Amounts may come in other digits, names of currencies and assets in
    another case, an address in another spelling of the same one; all else is the same to the letter.
    """
    for name, value in expected.items():
        answered = record.get(name)
        if answered == value or (name not in record and name not in (*CONDITIONS, "to")):
            continue
        is_amount = isinstance(value, str) and name in order.amounts
        same = parse_decimal(answered) == Decimal(str(value)) if is_amount else _is_same_text(name, answered, value)
        if not same:
            raise ValueError(f"its {name!r} is not what was asked for")


def _is_same_text(name: str, answered: object, asked: object) -> bool:
    """Return whether a text was answered as it was asked for, in the spellings that servers may have."""
    if name in ("post_only", "to"):
        return json.dumps(answered) == asked
    if not isinstance(asked, str) or not isinstance(answered, str):
        return False
    if name == "address":
        return same_address(answered, asked)
    compare = {**dict.fromkeys(_NAMES, is_name_of), "exchange": _is_exchange_asked_for, "expires": _is_same_time}
    return name in compare and compare[name](asked, answered)


def _is_exchange_asked_for(asked: str, answered: str) -> bool:
    return is_same_exchange(answered, asked)


def _is_same_time(asked: str, answered: str) -> bool:
    """Return whether two texts in ISO 8601 are the same time; one without a zone is in UTC, as servers take it."""
    times = [datetime.fromisoformat(text) for text in (asked, answered)]
    return len({time if time.tzinfo else time.replace(tzinfo=UTC) for time in times}) == 1


def is_same_exchange(id: str, name: str) -> bool:
    """Return whether the exchange `id` may be called `name`: in any case, with or without marks as in "Mt.Gox"."""
    return _letters(id) == _letters(name)


def those_asked_for(rows: list[dict[str, Any]], exchange: str | None, active_only: bool) -> list[dict[str, Any]]:
    """Return the registrations at this exchange (None: at any), and if only active ones are wanted those not disabled.

    A server that does not know these parameters answers all registrations.
    """
    here = [row for row in rows if exchange is None or is_same_exchange(row["exchange"], exchange)]
    return [row for row in here if not (active_only and row.get("enabled") is False)]


def anything(document: Any) -> Any:
    """Return the document as it is."""
    return document


def orders(document: Any) -> list[Order]:
    return order.each(list_of(document), _listed_order)


def _listed_order(row: Any) -> Order:
    """Return an order of a list; one that was placed elsewhere has the exchange's id alone."""
    if object_with(row, "id")["id"] is not None:
        return order(row)
    _text(object_with(row, "exchange_order_id")["exchange_order_id"], "id")
    return _order_placed_elsewhere(row)


def page_below(document: Any, *, parse: Callable[[Any], list[_H]], before: int | None) -> list[_H]:
    """Return one page of a history, newest first, whose ids are below `before`: a page that came again has no end."""
    rows = parse(document)
    ids = [whole_number(row["id"]) for row in rows]
    if any(id >= higher for higher, id in pairwise(ids if before is None else [before, *ids])):
        raise ValueError("its ids do not fall")
    return rows


def changes(document: Any, *, name: str, parse: Callable[[Any], list[_H]]) -> tuple[list[_H], str]:
    """Return what changed, which stands under this `name`, and the cursor after it."""
    page = object_with(document, name, "cursor")
    return parse(page[name]), _text(page["cursor"], "cursor")


def page_after(
    document: Any,
    *,
    name: str,
    parse: Callable[[Any], list[_H]],
    cursor: str | None,
    expected: Mapping[str, object],
) -> tuple[list[_H], str | None]:
    """Return one page of a history and the cursor of the next one, None at the end; a page never leads to itself.

    Its records have the `expected` fields.
    """
    page = object_with(document, name, "next")
    next = page["next"]
    if next is not None:
        _text(next, "cursor")
        if next == cursor:
            raise ValueError("its next page is itself")
    rows = parse(page[name])
    for row in rows:
        check_same(row, expected)
    return rows, next


def order_not_placed(document: Any) -> Order:
    """Return the order of a dry run; a server that does not know dry runs places the order."""
    if object_with(document).get("dry_run") is not True:
        raise ValueError("it does not say that it is one of a dry run")
    return _order_not_placed(document)


def canceled(document: Any) -> int:
    """Return how many orders were canceled."""
    count = whole_number(object_with(document, "canceled")["canceled"])
    if count < 0:
        raise ValueError("a count is below zero")
    return count


def accepted(document: Any) -> bool:
    """Return True for a send that is done or on its way: its record, or `true` from a server of 2013."""
    if document is not True:
        _text(object_with(document, "address")["address"], "address")
        if withdrawal(document)["status"] not in ("pending", "done"):
            raise ValueError("it is not one of a send that was accepted")
    return True


def exchanges(document: Any) -> list[Exchange]:
    return cast("list[Exchange]", [object_with(row, "id", "name", "description") for row in list_of(document)])


def rate(document: Any) -> Rate:
    row = object_with(document, "buy", "sell")
    return cast("Rate", {**row, "buy": parse_decimal(row["buy"]), "sell": parse_decimal(row["sell"])})


def exchange_rates(document: Any) -> list[ExchangeRate]:
    rows = [cast("dict[str, Any]", _exchange_rate(row)) for row in list_of(document)]
    return cast("list[ExchangeRate]", [rate(row) for row in rows])


def ranked_rates(document: Any) -> list[ExchangeRate]:
    """Return rates for an amount; a server that knows no amounts answers without what an order would cost."""
    rates = exchange_rates(document)
    if any("total" not in row for row in rates):
        raise ValueError("it does not say what the amount costs")
    return rates


def amounts(document: Any) -> dict[str, Decimal]:
    """Return amounts by currency or asset."""
    row = object_with(document)
    return dict(zip(row, parse_decimals(list(row.values())), strict=True))


def balances(document: Any) -> list[Balance]:
    rows = [object_with(row, "id", "exchange", "balance") for row in list_of(document)]
    return cast(
        "list[Balance]", [{**row, "id": whole_number(row["id"]), "balance": amounts(row["balance"])} for row in rows]
    )


def registration(document: Any) -> dict[str, Any]:
    """Return a registration with all its fields, as they came."""
    row = object_with(document, "id", "exchange")
    whole_number(row["id"])
    _text(row["exchange"], "exchange")
    return row


def permissions(document: Any) -> list[str]:
    """Return what a key may do."""
    rows = list_of(document)
    for row in rows:
        _text(row, "permission")
    return rows


def deleted(document: Any) -> None:
    """Return nothing, of an answer that says that something is deleted."""
    if object_with(document, "deleted")["deleted"] is not True:
        raise ValueError("it does not say that it is deleted")


def registrations(document: Any) -> list[dict[str, Any]]:
    return [registration(row) for row in list_of(document)]


def funds(document: Any) -> dict[str, Funds]:
    """Return the funds by currency or asset; a server of before knows nothing of what earns."""
    return {name: _funds({"earning": None, **object_with(row)}) for name, row in object_with(document).items()}


def fills(document: Any) -> list[Fill]:
    return fill.each(list_of(document))


def deposits(document: Any) -> list[Deposit]:
    return deposit.each(list_of(document))


def withdrawals(document: Any) -> list[Withdrawal]:
    return withdrawal.each(list_of(document))


def freeze(document: Any) -> Freeze:
    row = object_with(document, "frozen", "canceled")
    _text(row["frozen"], "time")
    for one in list_of(row["canceled"]):
        whole_number(object_with(one, "id", "exchange", "canceled")["id"])
    return cast("Freeze", row)


def unfrozen(document: Any) -> None:
    """Return nothing, for an account that is not frozen."""
    if object_with(document, "frozen")["frozen"] is not None:
        raise ValueError("it is still frozen")


def deadman(document: Any) -> DeadMansSwitch:
    return cast("DeadMansSwitch", object_with(document, "id", "exchange", "deadman_seconds", "deadman_at"))


def deposit_address(document: Any) -> DepositAddress:
    row = object_with(document, "asset", "address", "tag", "network")
    address(row["address"])
    if row["tag"] is not None:
        _text(row["tag"], "tag")
    return cast("DepositAddress", row)


def allowed_addresses(document: Any) -> list[AllowedAddress]:
    return [allowed_address(row) for row in list_of(document)]


def credentials(document: Any) -> list[Credential]:
    return [credential(row) for row in list_of(document)]


def new_credential(document: Any) -> NewCredential:
    row = _new_credential(document)
    _text(row["username"], "user name")
    _text(row["password"], "password")
    return row


def audit(document: Any) -> list[AuditRow]:
    """Return rows of the audit; their details are texts."""
    rows = [_audit_row(row) for row in list_of(document)]
    if any(not all(isinstance(text, str) for text in object_with(row["details"]).values()) for row in rows):
        raise ValueError("a detail is not text")
    return rows


def address(document: Any) -> str:
    """Return an address: text without white space, which words about an error have."""
    if not isinstance(document, str) or not document.isprintable() or document.split() != [document]:
        raise ValueError("it is not an address")
    return document


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"an {name} is not text")
    return value


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
