"""Transfers between two registrations of one account: what is found out before one is sent like any other send, and
when its outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ..exchanges.account_history import LedgerEntry
from ..exchanges.base import Exchange
from ..exchanges.errors import Busy, ExchangeError, Refused, Unsupported
from ..exchanges.models import NewTransfer
from ..money import exact
from .db.records import Caller, Registration
from .db.store import Store
from .lookups import CLOCK_SKEW, LONGEST_ARRIVAL
from .params import bad_field
from .policy import check_registration
from .problems import Problem
from .rate_limiter import Priority
from .registry import ExchangeRegistry

__all__ = ["find_in_ledgers", "with_account"]

#: For so long a transfer is looked for: what was not recognised by then will not be, and the ledgers since then grow.
_LOOKED_FOR = timedelta(days=7)
#: What was certainly not moved.
_NOT_MOVED = ("rejected", "failed")


def with_account(
    store: Store, registry: ExchangeRegistry, caller: Caller, source: Registration, transfer: NewTransfer
) -> NewTransfer:
    """Return a transfer with what the exchange calls the account of the registration that it goes to.

    Raises Problem, and what the exchange raises.
    """
    target = _find_target(store, caller, transfer.to_registration)
    if target.id == source.id:
        raise bad_field("to", "is the registration that it comes from; name another one")
    if target.exchange != source.exchange:
        raise bad_field(
            "to",
            f"is a registration at {target.exchange}, and a transfer stays at {source.exchange}; send to an address",
        )
    try:
        with registry.open(target) as exchange:
            return replace(transfer, address=exchange.transfer_account())
    except (Busy, Unsupported):
        raise
    except ExchangeError as error:
        words = f"what the account of registration {target.id} is called cannot be asked: {error.reason}"
        raise Refused(words, code=error.code, retryable=error.retryable) from error


def _find_target(store: Store, caller: Caller, id: int) -> Registration:
    """Return a registration of the account that calls.

    Raises Problem 404, which looks the same for another account's registration and for none, and 403 for one that the
    credential of the caller was not given.
    """
    account = store.accounts.find(caller.account.name, id)
    if account is None or account.registration is None:
        raise Problem(404, "not_found", "'to' names no registration of this account; list_backends() has its own")
    check_registration(caller, account.registration)
    return account.registration


def find_in_ledgers(
    store: Store, registry: ExchangeRegistry, exchange: Exchange, row: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the columns of the transfer of a row, which the ledgers of both accounts have; `exchange`: of the first.

    Raises Unsupported when one of them has not exactly one transfer of this amount at this time, or when it may be
    another row's: then nobody can say whether this one was moved.
    """
    unknown = Unsupported(f"{exchange.name} cannot say whether this was moved")
    target = store.registrations.get(row["to_registration"])
    if exchange.transfer_entry is None or target is None or not target.can_see(row):
        raise unknown
    created, updated = (datetime.fromisoformat(row[name]) for name in ("created", "updated"))
    if datetime.now(UTC) - created > _LOOKED_FOR:
        raise unknown
    since, until = created - CLOCK_SKEW, min(updated, created + LONGEST_ARRIVAL) + CLOCK_SKEW
    amount = exact(row["amount"])
    given = _only(_transfers(exchange, row["asset"], since, until), amount.copy_negate())
    if given is None:
        raise unknown
    with registry.open(target, Priority.RECONCILE) as other:
        taken = _only(_transfers(other, row["asset"], since, until), amount)
    # The others are read last, so that each one that the exchange has listed is among them.
    others = store.withdrawals.other_transfers(exchange.id, row, since - LONGEST_ARRIVAL, until)
    alike = [other for other in others if exact(other["amount"]) == amount and other["status"] not in _NOT_MOVED]
    if taken is None or alike:
        raise unknown
    return {"exchange_withdrawal_id": given.reference, "status": "done"}


def _only(entries: Iterable[LedgerEntry], amount: Decimal) -> LedgerEntry | None:
    """Return the only entry of an amount; None when there is none, or another one that may be of it."""
    alike = [entry for entry in entries if entry.amount in (None, amount)]
    return alike[0] if len(alike) == 1 and alike[0].amount is not None else None


def _transfers(exchange: Exchange, asset: str, since: datetime, until: datetime) -> Iterator[LedgerEntry]:
    """Yield the transfers of an asset that the ledger of an account has in a time. Raises Unsupported."""
    cursor: str | None = None
    seen = set()
    while True:
        page = exchange.ledger_page(since, cursor)
        for entry in page.rows:
            is_one = entry.description == exchange.transfer_entry and entry.asset == asset
            if is_one and since <= entry.time <= until and entry.id not in seen:
                seen.add(entry.id)
                yield entry
        cursor = page.next
        if cursor is None or (page.rows and page.rows[-1].time > until):
            return
