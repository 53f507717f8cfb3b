"""The rows of the audit about orders and sends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .db.audit import AuditStore
from .db.errors import UNUSABLE
from .db.records import Caller, Registration

__all__ = ["add_cancel", "add_intent"]

_log = logging.getLogger(__name__)

#: What a row of the audit has of an order or a send, as far as that has it.
_DETAILS = ("amount", "price", "stop", "cost", "replaces", "asset", "address", "tag", "network", "key")


def add_intent(audit: AuditStore, caller: Caller, row: Mapping[str, Any]) -> None:
    """Write who placed the order, or made the send, of a row of a journal; within the write that adds the row."""
    details = {name: str(row[name]) for name in _DETAILS if row.get(name) is not None}
    details["registration"] = str(row["registration_id"])
    if "side" in row:
        del details["asset"]
        details["pair"] = f"{row['asset']}/{row['currency']}"
        audit.add(caller, f"order.{row['side']}", f"order {row['id']}", details)
    elif row.get("to_registration") is not None:
        details["to"] = str(row["to_registration"])
        audit.add(caller, "transfer", f"send {row['id']}", details)
    else:
        audit.add(caller, "send", f"send {row['id']}", details)


def add_cancel(audit: AuditStore, caller: Caller, registration: Registration, order: int | None = None) -> None:
    """Write who had an order, or all of a registration, canceled. No cancel fails because that cannot be written."""
    try:
        if order is None:
            audit.add(caller, "order.cancel_all", f"registration {registration.id}")
        else:
            audit.add(caller, "order.cancel", f"order {order}", {"registration": str(registration.id)})
    except UNUSABLE:
        _log.exception("that %s canceled orders of registration %d could not be written", caller.name, registration.id)
