"""Orders and withdrawals in their three shapes: what an exchange reports, a row of the journal, the answer to a caller.

Pure functions. Which fields there are is said by `exchanges.models` alone; every list of names here follows from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..exchanges.models import (
    ORDER_CONDITIONS,
    ORDER_FIELDS,
    WITHDRAWAL_FIELDS,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    TransferState,
    Withdrawal,
)
from ..money import exact, plain
from .best import Offer
from .db.records import in_use
from .db.row_json import row_to_json
from .encoding import encode
from .problems import Problem

__all__ = [
    "REPLAYED",
    "StoredAnswer",
    "archived_order",
    "check_key",
    "check_not_archived",
    "check_repeat",
    "foreign_order_to_json",
    "kept_refusal_columns",
    "key_answer",
    "key_reused",
    "offer_to_json",
    "order_columns",
    "order_intent",
    "order_ref",
    "rate_to_json",
    "refusal_answer",
    "refusal_columns",
    "repeated_answer",
    "success_answer",
    "transfer_columns",
    "unproved_refusal_columns",
    "value_to_json",
    "withdrawal_columns",
    "withdrawal_intent",
]

Row = Mapping[str, Any]

#: The header of an answer to a key that was used before.
REPLAYED = {"Idempotent-Replayed": "true"}


def _shared(public: Iterable[str], record: type[Any], *, without: type[Any] | None = None) -> list[str]:
    """Return the public fields that a record has, but not those of the record `without`, ids or times."""
    names = {one.name for one in fields(record)} - {"id", "created"}
    if without is not None:
        names -= {one.name for one in fields(without)}
    return [name for name in public if name in names]


_ORDER_INTENT = _shared(ORDER_FIELDS, NewOrder)
_ORDER_OUTCOME = _shared(ORDER_FIELDS, OrderState, without=NewOrder)
_WITHDRAWAL_INTENT = _shared(WITHDRAWAL_FIELDS, NewWithdrawal)
_WITHDRAWAL_OUTCOME = _shared(WITHDRAWAL_FIELDS, Withdrawal, without=NewWithdrawal)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer to a caller: `text` is JSON, the same bytes for the same row each time."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


def order_intent(order: NewOrder) -> dict[str, Any]:
    """Return the columns of an order that are written before its exchange hears of it; of conditions the given ones."""
    conditions = {name: value_to_json(value) for name in ORDER_CONDITIONS if (value := getattr(order, name))}
    return {"type": _order_type(order.price)} | _columns(order, _ORDER_INTENT) | conditions


def withdrawal_intent(withdrawal: NewWithdrawal) -> dict[str, Any]:
    """Return the columns of a send that are written before its exchange hears of it; of a transfer, where it goes."""
    columns = _columns(withdrawal, _WITHDRAWAL_INTENT)
    if isinstance(withdrawal, NewTransfer):
        columns["to_registration"] = withdrawal.to_registration
    return columns


def order_columns(state: OrderState) -> dict[str, Any]:
    """Return the columns of an order that its exchange reports."""
    return _columns(state, _ORDER_OUTCOME)


def withdrawal_columns(withdrawal: Withdrawal) -> dict[str, Any]:
    """Return the columns of a withdrawal that its exchange reports."""
    return {"exchange_withdrawal_id": withdrawal.id} | _columns(withdrawal, _WITHDRAWAL_OUTCOME)


def transfer_columns(state: TransferState) -> dict[str, Any]:
    """Return the columns of a transfer that its exchange reports."""
    return {"exchange_withdrawal_id": state.id, "status": state.status}


def order_ref(row: Row) -> OrderRef:
    """Return what an exchange needs to know to find the order of a row."""
    return OrderRef(
        side=row["side"],
        currency=row["currency"],
        asset=row["asset"],
        client_id=row["client_id"],
        exchange_order_id=row["exchange_order_id"],
        created=datetime.fromisoformat(row["created"]),
        amount=exact(row["amount"]) if row["amount"] else None,
        price=exact(row["price"]) if row["price"] else None,
        time_in_force=row["time_in_force"],
        stop=exact(row["stop"]) if row["stop"] else None,
    )


def foreign_order_to_json(state: OrderState) -> dict[str, Any]:
    """Return the public fields of an order that was not placed here: it has no id, and what is not known is null."""
    shown = {name: value_to_json(getattr(state, name, None)) for name in ORDER_FIELDS}
    if state.stop is not None:
        shown["stop"] = value_to_json(state.stop)
    return shown | {"type": _order_type(state.price)}


def value_to_json(value: Any) -> Any:
    """Return a value of an exchange's record as a caller gets it: an amount in plain digits, a time in ISO 8601."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value


def rate_to_json(rate: Rate) -> dict[str, str]:
    """Return a rate as a caller gets it."""
    time = rate.time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"buy": plain(rate.buy), "sell": plain(rate.sell), "time": time}


def offer_to_json(each: Offer, fee_source: str | None) -> dict[str, Any]:
    """Return what an order would cost or bring at one place, as a caller gets it, without the place."""
    return {
        "amount": value_to_json(each.amount),
        "average": value_to_json(each.average),
        "spent": value_to_json(each.spent),
        "fee": value_to_json(each.fee),
        "fee_source": fee_source,
        "total": value_to_json(each.total),
        "reason": each.reason,
    }


def success_answer(row: Row, names: Iterable[str]) -> StoredAnswer:
    """Return the answer of what was executed, or may have been (202)."""
    return StoredAnswer(202 if row["status"] == "unknown" else 200, _to_json_text(row_to_json(row, names)))


def refusal_answer(row: Row, problem: Problem) -> StoredAnswer:
    """Return the answer of what was refused by its exchange."""
    return StoredAnswer(problem.status, _to_json_text(problem.body | {"key": row["key"]}), problem.headers)


def unproved_refusal_columns(row: Row, problem: Problem) -> dict[str, Any]:
    """Return the columns of what its exchange refused without proof: unknown, and the refusal is kept."""
    answer = refusal_answer(row, problem)
    return {"status": "unknown", "answer_status": answer.status, "answer": answer.text}


def refusal_columns(row: Row, problem: Problem) -> dict[str, Any]:
    """Return the columns of what was refused: with its answer, and for an order why it is rejected.

    The key of a refusal that is retryable may be used again.
    """
    return kept_refusal_columns({**row, **unproved_refusal_columns(row, problem)})


def kept_refusal_columns(row: Row) -> dict[str, Any]:
    """Return the columns of a row that its exchange refused without proof, once it is proved: see `refusal_columns`."""
    refusal = json.loads(row["answer"])
    columns = {"status": "rejected", "released": refusal["retryable"]}
    columns |= {name: row[name] for name in ("answer_status", "answer")}
    return columns | ({"reason": refusal["detail"]} if "reason" in row else {})


def check_not_archived(row: Row) -> None:
    """Raise Problem 410 for a key whose order was archived: what is left of it is no answer."""
    if "archive" in row:
        raise archived_order(row, may_have_executed=True)


def archived_order(row: Row, *, may_have_executed: bool) -> Problem:
    """Return the problem of an order that was archived, of which this is left.

    `may_have_executed`: it is asked for by the key of the call that placed it.
    """
    words = f"order {row['id']} was placed at {row['created']}, is {row['status']}, and was moved to an archive"
    return Problem(
        410,
        "order_archived",
        f"{words} of the server's administrator ({row['archive']}); nothing was sent now",
        may_have_executed=may_have_executed,
    )


def check_repeat(row: Row, fingerprint: str) -> None:
    """Raise Problem 422 for a repeat with other parameters than its key's row, 409 while the first call runs, and 410
    for an order that was archived.
    """
    check_not_archived(row)
    if row["fingerprint"] != fingerprint:
        raise key_reused()
    if row["status"] == "running":
        raise _still_running()


def repeated_answer(row: Row, names: Iterable[str]) -> StoredAnswer:
    """Return the answer to a repeat under the same key: always the same bytes once the row is final."""
    answer = _kept_refusal(row) or success_answer(row, names)
    return replace(answer, headers=REPLAYED)


def check_key(row: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the journal has under the key that a caller asks about.

    Raises Problem 404 `no_such_key` when nothing was executed with it, 409 while the call is running, and 410 for an
    order that was archived.
    """
    used = in_use(row)
    if used is None:
        raise Problem(404, "no_such_key", "nothing was executed with this key")
    check_not_archived(used)
    if used["status"] == "running":
        raise _still_running()
    return used


def key_answer(row: Row, names: Iterable[str]) -> StoredAnswer:
    """Return what became of the call with a key, whose row this is; a refusal has its `error`."""
    if refusal := _kept_refusal(row):
        return StoredAnswer(200, _to_json_text(row_to_json(row, names) | {"error": json.loads(refusal.text)}))
    return success_answer(row, names)


def key_reused() -> Problem:
    """Return the problem of a key that comes with other parameters than before."""
    return Problem(
        422,
        "key_reused",
        "this Idempotency-Key was used with other parameters; nothing was sent; a new order needs a new key",
    )


def _kept_refusal(row: Row) -> StoredAnswer | None:
    """Return the answer that is kept of a refusal; None for what was executed, may have been, or still may be.

    An order that its exchange took and rejected later has none.
    """
    if row["status"] != "rejected" or row["answer"] is None:
        return None
    return StoredAnswer(row["answer_status"], row["answer"])


def _columns(record: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a record as the journal keeps them: amounts are text in plain digits."""
    values = {name: getattr(record, name) for name in names}
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _order_type(price: Decimal | None) -> str:
    return "market" if price is None else "limit"


def _still_running() -> Problem:
    return Problem(
        409,
        "still_running",
        "the call with this key is still running; ask again",
        retryable=True,
        may_have_executed=True,
        headers={"Retry-After": "1"},
    )


def _to_json_text(document: Mapping[str, Any]) -> str:
    return encode(document).decode()
