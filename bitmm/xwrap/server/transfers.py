"""Transfers between two registrations of one account: what is found out before one is sent like any other send."""

from __future__ import annotations

from dataclasses import replace

from ..exchanges.errors import Busy, ExchangeError, Refused, Unsupported
from ..exchanges.models import NewTransfer
from .db.records import Caller, Registration
from .db.store import Store
from .params import bad_field
from .policy import check_registration
from .problems import Problem
from .registry import ExchangeRegistry

__all__ = ["with_account"]


def with_account(
    store: Store,
    registry: ExchangeRegistry,
    caller: Caller,
    source: Registration,
    transfer: NewTransfer,
    key: str | None,
) -> NewTransfer:
    """Return a transfer with what the exchange calls the account of the registration that it goes to.

    Of a repeat that is not asked: its key has a row. Raises Problem, and what the exchange raises.
    """
    known = None if key is None else store.withdrawals.by_key(source.id, key)
    if known is not None and not known["released"]:
        return transfer
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
