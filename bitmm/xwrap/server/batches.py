"""Many orders in one call, each under its own key: all intents are committed before an exchange elsewhere hears of one.

Each order is what it would be in a call of its own: its intent, its place in the limits, its outcome, and its repeat.
One that is refused, or whose outcome is unknown, hides no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError
from ..exchanges.models import NewOrder
from .db.records import Caller, Registration, in_use
from .db.store import Store
from .freeze import check_frozen
from .intents import Begun, Intents, not_committed
from .order_views import StoredAnswer, refusal_answer
from .policy import KeyReplacedError, LastLook, Policy, check_enabled
from .problems import Problem, from_exchange, too_busy
from .rate_limiter import Priority
from .registry import ExchangeRegistry
from .repeats import Repeats

__all__ = ["BatchService"]

_log = logging.getLogger(__name__)

Row = dict[str, Any]


class _Unplaced(NamedTuple):
    """An order whose key has no row that answers it; `known` is a released one, from which it begins anew."""

    order: NewOrder
    known: Row | None


@dataclass(slots=True)
class _Placed:
    """What became of orders, by their keys."""

    answers: dict[str, StoredAnswer] = field(default_factory=dict)
    #: Those whose keys have rows of the journal by now.
    begun: dict[str, Begun] = field(default_factory=dict)
    #: Why others were refused, or that it is not known what became of them.
    refused: dict[str, ExchangeError | Problem] = field(default_factory=dict)


class BatchService:
    """Places many orders at once."""

    def __init__(
        self, store: Store, registry: ExchangeRegistry, policy: Policy, intents: Intents, repeats: Repeats
    ) -> None:
        self._store = store
        self._registry = registry
        self._policy = policy
        self._intents = intents
        self._repeats = repeats

    def place_many(
        self, caller: Caller, registration: Registration, orders: Mapping[str, NewOrder]
    ) -> list[StoredAnswer]:
        """Place the orders, which are given by their keys; return the answer to each one, in their order.

        Raises Problem when none of them could be begun for the same reason: nothing was sent, and no key is used.
        """
        return self._intents.with_key(registration, lambda current: self._place_many(caller, current, orders))

    def _place_many(
        self, caller: Caller, registration: Registration, orders: Mapping[str, NewOrder]
    ) -> list[StoredAnswer]:
        rows = {key: self._store.orders.by_key(registration.id, key) for key in orders}
        before = {key: used for key, row in rows.items() if (used := in_use(row))}
        as_now = dict(zip(before, self._repeats.orders_as_now(registration, list(before.values())), strict=True))
        answer_known = partial(self._repeats.answer_known, registration, is_as_now=True)
        answers = {key: _answer(key, partial(answer_known, orders[key], row)) for key, row in as_now.items()}
        unplaced = {key: _Unplaced(order, rows[key]) for key, order in orders.items() if key not in before}
        if unplaced:
            try:
                answers |= self._place_new(caller, registration, unplaced)
            except (ExchangeError, Problem) as error:
                refused = {key: self._begun_meanwhile(registration, key, unplaced[key], error) for key in unplaced}
                if not answers and not any(refused.values()):
                    raise
                # What was begun before is answered whatever may be sent now.
                answers |= {key: answer or _refusal(key, error) for key, answer in refused.items()}
        return [answers[key] for key in orders]

    def _place_new(
        self, caller: Caller, registration: Registration, unplaced: Mapping[str, _Unplaced]
    ) -> dict[str, StoredAnswer]:
        """Return the answers by their keys. Raises Problem or ExchangeError only while no intent is committed."""
        check_enabled(registration)
        check_frozen(caller.account)
        confirm = LastLook(self._policy, caller, registration)
        with self._registry.open(registration, Priority.ORDER, check=confirm) as exchange:
            place = self._place_each if exchange.in_process else self._place_together
            placed = place(caller, registration, exchange, unplaced, confirm)
        answers = placed.answers
        for key, one in placed.begun.items():
            answers[key] = _answer(key, partial(self._repeats.answer, registration, one.request, one.row))
        for key, error in placed.refused.items():
            answers[key] = self._begun_meanwhile(registration, key, unplaced[key], error) or _refusal(key, error)
        return answers

    def _begun_meanwhile(
        self, registration: Registration, key: str, one: _Unplaced, refusal: ExchangeError | Problem
    ) -> StoredAnswer | None:
        """Return the answer to an order that was refused, from the row that its key has by now; None: it has none."""
        row = self._repeats.begun_meanwhile(self._store.orders, registration, key, refusal)
        return None if row is None else _answer(key, partial(self._repeats.answer_known, registration, one.order, row))

    def _place_each(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        unplaced: Mapping[str, _Unplaced],
        confirm: LastLook,
    ) -> _Placed:
        """Place orders at an exchange of this process, each with its outcome in a commit of its own."""
        placed = _Placed()
        for key, one in unplaced.items():
            try:
                answer = self._intents.execute(caller, registration, exchange, one.order, key, one.known, confirm)
                if isinstance(answer, Begun):
                    placed.begun[key] = answer
                else:
                    placed.answers[key] = answer
            except (ExchangeError, Problem) as error:
                placed.refused[key] = error
            except KeyReplacedError:
                if not placed.answers and not placed.refused:
                    raise
                placed.refused[key] = _key_replaced()
            except Exception:
                if not placed.answers and not placed.refused:
                    raise
                # The orders before it are answered.
                _log.exception("the order with the key %s failed", key)
                placed.refused[key] = not_committed()
        return placed

    def _place_together(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        unplaced: Mapping[str, _Unplaced],
        _confirm: LastLook,
    ) -> _Placed:
        """Place orders at an exchange elsewhere, after the intents of all of them were committed."""
        placed = self._begin(caller, registration, exchange, unplaced)
        new = {key: one for key, one in placed.begun.items() if one.is_new}
        together = {key: one for key, one in new.items() if one.found is None}
        finish = dict(zip(together, self._intents.carry_out_many(exchange, list(together.values())), strict=True))
        for key, one in new.items():
            placed.answers[key] = _answer(key, finish.get(key, partial(self._intents.carry_out, exchange, one)))
            del placed.begun[key]
        return placed

    def _begin(
        self, caller: Caller, registration: Registration, exchange: Exchange, unplaced: Mapping[str, _Unplaced]
    ) -> _Placed:
        """Commit the intents of the orders that may be placed."""
        placed = _Placed()
        try:
            for key, one in unplaced.items():
                try:
                    placed.begun[key] = self._intents.begin(caller, registration, exchange, one.order, key, one.known)
                except (ExchangeError, Problem) as error:
                    placed.refused[key] = error
                except KeyReplacedError:
                    if not any(other.is_new for other in placed.begun.values()):
                        raise
                    # The others were committed before, and leave with the key as it was then.
                    placed.refused[key] = _key_replaced()
        except Exception:
            # The data base failed: nothing is sent, and what was committed is found not to be placed.
            for other in placed.begun.values():
                if other.is_new:
                    self._intents.give_up(other)
            raise
        return placed


def _answer(key: str, call: Callable[[], StoredAnswer]) -> StoredAnswer:
    """Return what `call` answers for the order with this key; a failure is its answer, and ends no other order."""
    try:
        return call()
    except (ExchangeError, Problem) as error:
        return _refusal(key, error)
    except Exception:
        _log.exception("the call with the key %s failed", key)
        return _refusal(key, not_committed())


def _key_replaced() -> Problem:
    return too_busy("server_busy", "the key was replaced meanwhile; this order was not sent; try again")


def _refusal(key: str, error: ExchangeError | Problem) -> StoredAnswer:
    problem = error if isinstance(error, Problem) else from_exchange(error)
    return refusal_answer({"key": key}, problem)
