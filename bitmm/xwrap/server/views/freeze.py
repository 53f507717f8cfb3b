"""What stops trading: the freeze of an account, and the dead man's switches of its registrations."""

from __future__ import annotations

from typing import Any

from ..context import RequestContext
from ..db.safety import Switch
from ..deadman import LONGEST, SHORTEST
from ..params import bad_field
from ..policy import may_use


def freeze(context: RequestContext) -> dict[str, Any]:
    """POST /freeze: a second time is no error. The freeze stands before a cancel is tried."""
    cancel_orders = context.params.pop_bool("cancel_orders", default=False)
    context.params.finish()
    store, account = context.services.store, context.account.id
    given = None if context.caller.credential is None else context.caller.credential.exchanges

    def work() -> tuple[str, list[Switch]]:
        since, is_new = store.safety.freeze(account)
        switches = store.safety.request_cancels(account, given) if cancel_orders else []
        if is_new:
            store.notices.add("account.frozen", {"since": since, "by": context.caller.name}, account=account)
        if is_new or cancel_orders:
            details = {"cancel_orders": str(cancel_orders).lower()}
            store.audit.add(context.caller, "freeze", f"account {context.account.name}", details)
        return since, switches

    since, switches = store.atomic(work)
    return {"frozen": since, "canceled": context.services.deadman.cancel_now(switches)}


def unfreeze(context: RequestContext) -> dict[str, Any]:
    """DELETE /freeze: of an account that is not frozen it is no error."""
    context.params.finish()
    store = context.services.store

    def work() -> None:
        if store.safety.unfreeze(context.account.id):
            store.audit.add(context.caller, "unfreeze", f"account {context.account.name}")

    context.write(work)
    return {"frozen": None}


def set_deadman(context: RequestContext) -> dict[str, Any]:
    """PUT /exchanges/ID/deadman"""
    seconds = _pop_seconds(context)
    return context.services.deadman.set(context.caller, context.registration(), seconds)


def set_each_deadman(context: RequestContext) -> list[dict[str, Any]]:
    """PUT /deadman: the switch of each registration that is enabled, and that the caller was given."""
    seconds = _pop_seconds(context)
    rows = context.services.store.registrations.of_account(context.account.id, active_only=True)
    registrations = [row for row in rows if may_use(context.caller, row)]
    return context.services.deadman.set_each(context.caller, registrations, seconds)


def _pop_seconds(context: RequestContext) -> int:
    text = context.params.pop_text("seconds", limit=18)
    context.params.finish()
    if text.isascii() and text.isdigit() and (int(text) == 0 or SHORTEST <= int(text) <= LONGEST):
        return int(text)
    raise bad_field("seconds", f"is '{text}'; it must be 0 (off) or a whole number from {SHORTEST} to {LONGEST}")
