"""What a caller may do. It is checked before a call, and again in the transaction that commits an intent.

So what was committed before that transaction counts, in every server process: a key that was disabled, an account that
was switched off or frozen, a credential that was revoked, an address that was taken from the allow-list. What was
committed after it counts, too, as long as the request waits for its turn at the exchange: `confirm` is the last look
before it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused
from ..exchanges.models import NewOrder, NewWithdrawal
from ..money import plain
from .allow_list import check_place, check_send, guarded_send
from .db.records import Account, Caller, Registration, Scope
from .db.store import Store
from .freeze import check_frozen
from .limits import check_limits, check_live, limit_value
from .problems import Problem
from .quotas import Quotas
from .trade_audit import add_intent

__all__ = [
    "Admission",
    "KeyReplacedError",
    "LastLook",
    "Policy",
    "Stopped",
    "check_enabled",
    "check_login",
    "check_registration",
    "check_scope",
    "includes",
    "may_use",
    "out_of_scope",
]

_SCOPES: tuple[Scope, ...] = ("read", "trade", "send", "owner")


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may be carried out, if `check` still passes in the transaction that commits its intent."""

    #: What the row of the intent has of who placed it.
    columns: Mapping[str, Any]
    #: Raises Problem. It is run within a write, and only reads and locks.
    check: Callable[[], None]
    #: Counts it for the quota, and writes into the audit who placed it. It is run last in the same write, with the row
    #: of the intent.
    record: Callable[[dict[str, Any]], None]


class Stopped(Refused):
    """A request was stopped here after its intent was committed, and before it was sent.

    It is a Refused because an adapter that asks more than once for one order knows what that means.
    """


class KeyReplacedError(Exception):
    """The key of a registration was replaced after it was opened for a call: that begins anew with the `registration`
    as it is now.

    So no order leaves with the key before, once its replacement was answered, except one that was committed before.
    """

    def __init__(self, registration: Registration) -> None:
        super().__init__(registration.id)
        self.registration = registration


class Policy:
    """Says which orders and sends a caller may place."""

    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas

    def admit(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        request: NewOrder | NewWithdrawal,
    ) -> Admission:
        """Return the admission of an order or a send. Raises Problem for one that may not be placed.

        `request` has the exchange's names of currencies and assets.
        """
        check_enabled(registration)
        value = limit_value(caller, exchange, request)
        guarded = guarded_send(exchange, request)
        if guarded is not None:
            check_send(self._store.addresses, registration, guarded)
        columns = {
            "credential_id": None if caller.credential is None else caller.credential.id,
            "limit_value": None if value is None else plain(value),
        }
        return Admission(
            columns,
            partial(self._check, caller, registration, value, guarded),
            partial(self._record, caller),
        )

    def admit_executed(self, caller: Caller) -> Admission:
        """Return the admission of what its exchange was found to have executed before, when the journal was lost."""
        return Admission({}, partial(self._lock_account, caller), partial(self._record, caller))

    def _lock_account(self, caller: Caller) -> None:
        """Let the next write that counts what this account placed wait until this one ends."""
        self._store.accounts.locked(caller.account.id)

    def _record(self, caller: Caller, row: dict[str, Any]) -> None:
        """Count a row that was begun, and write into the audit who placed it; within the write that begins it."""
        self._store.usage.add_placed(caller.account.id, row["created"])
        add_intent(self._store.audit, caller, row)

    def _check(
        self, caller: Caller, registration: Registration, value: Decimal | None, guarded: NewWithdrawal | None
    ) -> None:
        # The next one of this account waits here until this one is counted.
        credential = None if caller.credential is None else caller.credential.id
        locked = self._store.admissions.lock(caller.account.id, registration.id, credential)
        now = _check_state(caller, locked.account, locked.registration)
        if now.key_since != registration.key_since:
            raise KeyReplacedError(now)
        self._quotas.check_order(locked.placed)
        if credential is not None:
            check_limits(self._store, caller.name, check_live(locked.credential), value)
        if guarded is not None:
            check_send(self._store.addresses, now, guarded, lock=True)

    def confirm(self, caller: Caller, registration: Registration, send: NewWithdrawal | None = None) -> None:
        """Raise Stopped for a request that may not leave any more, though its intent was committed.

        `send`: a guarded send whose intent was committed, and with it its amount counted: only whether it may go to its
        address is asked again.
        """
        try:
            account = self._store.accounts.find(caller.account.name, registration.id)
            now = _check_state(caller, account, None if account is None else account.registration)
            if send is not None:
                check_place(self._store.addresses, now, send)
            if caller.credential is not None:
                check_live(self._store.credentials.get(caller.credential.id))
        except Problem as problem:
            raise Stopped(str(problem), code=problem.code, details=problem.more) from problem


@dataclass(slots=True)
class LastLook:
    """Raises Stopped, when it is called, for a request that may not leave any more (see `Policy.confirm`)."""

    policy: Policy
    caller: Caller
    registration: Registration
    #: Set when the intent of a guarded send was committed; what is asked of the exchange before that is no send.
    send: NewWithdrawal | None = None

    def __call__(self) -> None:
        self.policy.confirm(self.caller, self.registration, self.send)


def check_login(store: Store, caller: Caller) -> None:
    """Raise Problem 401 when the caller would not be logged in any more; within a write, it holds until that ends.

    A call that waited, for a thread or for its exchange, would else change something after the new password was set,
    with which the owner ends whatever the one before may do.
    """
    _check_account(caller, store.accounts.locked(caller.account.id), "nothing was changed")
    if caller.credential is not None:
        check_live(store.credentials.get(caller.credential.id))


def _check_account(caller: Caller, account: Account | None, nothing: str) -> Account:
    if account is None or not account.active:
        raise Problem(401, "not_authenticated", f"this account is switched off; {nothing}")
    if caller.credential is None and account.password_hash != caller.account.password_hash:
        raise Problem(401, "not_authenticated", f"the password of this account was changed; {nothing}")
    return account


def _check_state(caller: Caller, account: Account | None, registration: Registration | None) -> Registration:
    """Return the registration. Raises Problem when the caller may send nothing for it, as it and its account are now.

    What was called with a password before waits in vain, so that a new password ends it, too.
    """
    account = _check_account(caller, account, "nothing was sent")
    if registration is None:
        raise Problem(404, "not_found", "this registration was deleted; nothing was sent")
    check_frozen(account)
    check_enabled(registration)
    return registration


def check_scope(caller: Caller, needs: Scope) -> None:
    """Raise Problem 403 for a credential that may not make a call which needs this scope."""
    if caller.credential is not None and not includes(caller.credential.scope, needs):
        raise out_of_scope(caller, needs)


def includes(scope: Scope, needs: Scope) -> bool:
    """Return whether a scope is the one that is needed, or more."""
    return _SCOPES.index(scope) >= _SCOPES.index(needs)


def out_of_scope(caller: Caller, needs: Scope) -> Problem:
    """Return the problem of a call that needs more than the credential of the caller may do."""
    own = caller.credential.scope if caller.credential else "owner"
    if needs == "owner":
        return Problem(403, "out_of_scope", f"'{caller.name}' may not do this; it needs the account's own password")
    return Problem(
        403, "out_of_scope", f"'{caller.name}' may only {own}; this call needs a credential that may {needs}"
    )


def may_use(caller: Caller, registration: Registration) -> bool:
    """Return whether the caller was given this registration of the account; its own password is given all of them."""
    given = None if caller.credential is None else caller.credential.exchanges
    return given is None or registration.id in given


def check_registration(caller: Caller, registration: Registration) -> None:
    """Raise Problem 403 for a registration of the account that the credential of the caller was not given."""
    if not may_use(caller, registration):
        raise Problem(
            403, "out_of_scope", f"'{caller.name}' was not given this registration; list_backends() has its own"
        )


def check_enabled(registration: Registration) -> None:
    """Raise Problem 403 for a registration that is switched off."""
    if not registration.enabled:
        raise Problem(403, "registration_disabled", "this registration is switched off; nothing was sent")
