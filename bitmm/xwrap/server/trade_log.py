"""The lines of the log about orders and sends: one for each, when its outcome is committed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..exchanges.models import NewOrder, NewWithdrawal
from ..money import plain
from .call_log import log_outcome, log_with, note

__all__ = ["log_cancel", "log_cancel_all", "log_committed", "log_reconciled", "log_row", "note_request"]

_log = logging.getLogger(__name__)

#: What a line has of a row, as far as the row has it. Addresses are in the audit alone.
_FIELDS = (
    *("key", "side", "type", "amount", "price", "stop", "cost", "replaces", "asset", "to_registration", "status"),
    *("exchange_order_id", "exchange_withdrawal_id"),
)
Row = Mapping[str, Any]


def note_request(request: NewOrder | NewWithdrawal) -> None:
    """Give all lines of this call what is ordered or sent: also the one that says that it was refused."""
    if isinstance(request, NewOrder):
        amounts = {name: getattr(request, name) for name in ("amount", "price", "stop", "cost")}
        shown = {name: plain(amount) for name, amount in amounts.items() if amount is not None}
        note(side=request.side, pair=f"{request.asset}/{request.currency}", **shown)
    else:
        note(asset=request.asset, amount=plain(request.amount))


def log_committed(row: Row) -> None:
    """Log that an intent is on the disk; its exchange hears of it next."""
    log_with(_log, logging.DEBUG, f"{_name(row)} is committed, and was not sent yet", **_fields(row))


def log_row(row: Row, code: str | None) -> None:
    """Log what became of an order or a send in its call. `code`: why it was refused."""
    is_unknown = row["status"] == "unknown"
    sentence = f"{_name(row)} may have been executed: its outcome is unknown" if is_unknown else _sentence(row)
    log_outcome(_log, logging.WARNING if is_unknown else logging.INFO, sentence, **_fields(row), code=code)


def log_cancel(row: Row) -> None:
    """Log what an order is after its cancel."""
    log_outcome(_log, logging.INFO, f"after its cancel {_sentence(row)}", **_fields(row))


def log_cancel_all(count: int) -> None:
    """Log that the open orders of a registration were canceled."""
    log_outcome(_log, logging.INFO, "all open orders were canceled", canceled=count)


def log_reconciled(exchange: str, row: Row, status: str) -> None:
    """Log what became of an order or a send whose outcome was unknown."""
    age = datetime.now(UTC) - datetime.fromisoformat(row["created"])
    sentence = f"{exchange} says what became of {_name(row)}: {status}"
    seconds = round(age.total_seconds(), 1)
    fields = _fields(row) | {"status": status, "unknown_seconds": seconds}
    log_with(_log, logging.WARNING, sentence, exchange=exchange, registration=row["registration_id"], **fields)


def _sentence(row: Row) -> str:
    return f"{_name(row)} is {row['status']}"


def _name(row: Row) -> str:
    return f"order {row['id']}" if "side" in row else f"send {row['id']}"


def _fields(row: Row) -> dict[str, Any]:
    fields = {name: row[name] for name in _FIELDS if row.get(name) is not None}
    if "side" in row:
        del fields["asset"]
        return {"order": row["id"], "pair": f"{row['asset']}/{row['currency']}", **fields}
    return {"send": row["id"], **fields}
