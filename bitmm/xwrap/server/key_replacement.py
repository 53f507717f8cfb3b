"""A registration gets another key: its journal, its open orders and its idempotency keys stay.

They are asked about with the new key from then on. At another account of the exchange they would not be found, and
what is not found is taken for not placed or over. So the new key must be one of the same account: the exchange says so
itself, or shows with it an order of this registration. Where neither is known, nothing may be open or unknown; what the
owner leaves behind all the same is not asked about any more (see `Registration.can_see`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..exchanges.base import Credentials, Exchange
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import OrderState
from .db.journal import Unfinished
from .db.records import Registration, now
from .db.store import Store
from .key_checks import check_permissions, key_hint, not_tried, try_key
from .order_views import order_ref
from .problems import Problem, from_exchange, too_busy
from .registry import ExchangeRegistry
from .vault import VaultError

__all__ = ["NewKey", "check_finished", "prepare_key", "replacement_columns", "unfinished"]

#: How many orders of the registration are looked up with the new key.
_MOST_LOOKS = 5
_FINAL = ("filled", "partly_filled", "canceled")
#: What an exchange says of an order that it has. It may call one that it does not find "closed" or "canceled".
_SHOWN = {"open", "filled", "partly_filled"}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that its exchange accepted."""

    credentials: Credentials
    permissions: list[str] | None
    account_id: str | None
    #: It is of the account of the key before; None: that cannot be told.
    is_same_account: bool | None


def prepare_key(
    store: Store, registry: ExchangeRegistry, registration: Registration, credentials: Credentials, *, allow_send: bool
) -> NewKey:
    """Ask the exchange about a key that is to replace that of a registration. Raises Problem as a registration does."""
    id = registration.exchange
    facts = try_key(registry, id, credentials, registration.account_id)
    check_permissions(registry.kind(id), facts.permissions, allow_send=allow_send)
    if registry.is_same_key(registration, id, credentials):
        return NewKey(credentials, facts.permissions, facts.account_id, is_same_account=True)
    is_same = None
    if facts.account_id is not None:
        before = registration.exchange_account or _account_id(registry, registration)
        is_same = None if before is None else before == facts.account_id
    if is_same is None:
        is_same = _shows_an_order(store, registry, registration, credentials) or None
    return NewKey(credentials, facts.permissions, facts.account_id, is_same)


def replacement_columns(
    store: Store,
    registry: ExchangeRegistry,
    registration: Registration,
    seen: Registration,
    key: NewKey,
    *,
    other_account: bool,
    force: bool,
) -> dict[str, Any]:
    """Return the columns of a `locked` registration with its new key. Raises Problem where that would be unsafe.

    `seen`: the registration as it was when the key was prepared.
    """
    if (registration.key_since, registration.account_since) != (seen.key_since, seen.account_since):
        raise too_busy("server_busy", "the key was replaced by another call meanwhile; nothing was changed; try again")
    name = registry.kind(registration.exchange).name
    if key.is_same_account is False and not other_account:
        raise Problem(
            409,
            "other_account",
            f"{name} says that this key is of another account there than the one before; register it as a key of its"
            " own, or say other_account=true if this registration is to go on at that account",
            field="apikey",
        )
    left = unfinished(store, registration)
    if not key.is_same_account:
        why = (
            f"this key is of another account at {name}"
            if key.is_same_account is False
            else f"{name} shows no order of this registration with this key, which may be of another account"
        )
        check_finished(left, f"nothing was changed, because {why}", force=force)
    since = max(now(), left.began)
    return {
        "username": key.credentials.username,
        "apikey_hint": key_hint(key.credentials.apikey),
        "permissions": None if key.permissions is None else json.dumps(key.permissions),
        "exchange_account": key.account_id,
        "proven": registry.is_proven(registration.exchange, key.credentials),
        "key_since": since,
        "key_refused": None,
        "account_since": registration.account_since if key.is_same_account else since,
        **registry.seal(registration.account_id, registration.id, key.credentials),
    }


def unfinished(store: Store, registration: Registration) -> Unfinished:
    """Return how many orders and sends of a registration are not final."""
    orders, sends = (journal.unfinished(registration.id) for journal in (store.orders, store.withdrawals))
    return Unfinished(orders.unknown + sends.unknown, orders.open + sends.open, max(orders.began, sends.began))


def check_finished(left: Unfinished, why: str, *, force: bool) -> None:
    """Raise Problem 409 `orders_unfinished` when orders or sends are not final, unless their owner lets them be."""
    counts = {"open": left.open, "running or unknown": left.unknown}
    facts = " and ".join(f"{count} {word}" for word, count in counts.items() if count)
    if not facts or force:
        return
    raise Problem(
        409,
        "orders_unfinished",
        f"{why}, and of its orders and sends {facts}; cancel what is open and wait until the rest is known, or say"
        " force=true: then they are not asked about any more",
    )


def _account_id(registry: ExchangeRegistry, registration: Registration) -> str | None:
    """Return the exchange's name of the account of the key that is kept; None where it does not tell (now)."""
    try:
        with registry.open(registration) as exchange:
            return exchange.account_id()
    except (ExchangeError, Problem, VaultError):
        return None


def _shows_an_order(
    store: Store, registry: ExchangeRegistry, registration: Registration, credentials: Credentials
) -> bool:
    """Return whether the exchange shows, with a new key, an order of the registration: no other account sees that.

    Raises Problem when it cannot be asked now.
    """
    rows = [
        row
        for statuses in (("open",), _FINAL)
        for row in store.orders.rows(registration.id, statuses, _MOST_LOOKS, None)
        if row["exchange_order_id"] is not None and registration.can_see(row)
    ]
    if not rows:
        return False
    try:
        with registry.exchange(registration.exchange, credentials, account=registration.account_id) as exchange:
            return any(_shows(exchange, row) for row in rows[:_MOST_LOOKS])
    except ExchangeError as error:
        raise not_tried(error) if error.retryable else from_exchange(error) from error


def _shows(exchange: Exchange, row: dict[str, Any]) -> bool:
    try:
        state = exchange.order(order_ref(row))
    except Refused as error:
        if error.retryable:
            raise
        return False
    return state.status in _SHOWN and _is_of_row(state, row)


def _is_of_row(state: OrderState, row: dict[str, Any]) -> bool:
    """Return whether what an exchange shows differs in nothing from the row, so far as it says."""
    names = ("exchange_order_id", "client_id", "side", "currency", "asset")
    pairs = ((getattr(state, name), row[name]) for name in names)
    return all(theirs in (None, ours) for theirs, ours in pairs)
