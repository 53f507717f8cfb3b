"""Many orders in one call, each under its own key: all intents are committed before an exchange elsewhere hears of one.

Each order is what it would be in a call of its own: its intent, its place in the limits, its outcome, and its repeat.
One that is refused, or whose outcome is unknown, hides no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError
from ..exchanges.models import NewOrder
from .db.records import Caller, Registration
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
        before = {key: row for key, row in rows.items() if row is not None and not row["released"]}
        as_now = dict(zip(before, self._repeats.orders_as_now(registration, list(before.values())), strict=True))
        answer_known = partial(self._repeats.answer_known, registration, is_as_now=True)
        answers = {key: _answer(key, partial(answer_known, orders[key], row)) for key, row in as_now.items()}
        unplaced = {key: _Unplaced(order, rows[key]) for key, order in orders.items() if key not in before}
        if unplaced:
            try:
                answers |= self._place_new(caller, registration, unplaced)
            except (ExchangeError, Problem) as error:
                if not answers:
                    raise
                # The others are repeats, which are answered whatever may be sent now.
                answers |= {key: _refusal(key, error) for key in unplaced}
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
            answers, begun = place(caller, registration, exchange, unplaced, confirm)
        for key, one in begun.items():
            answers[key] = _answer(key, partial(self._repeats.answer, registration, one.request, one.row))
        return answers

    def _place_each(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        unplaced: Mapping[str, _Unplaced],
        confirm: LastLook,
    ) -> tuple[dict[str, StoredAnswer], dict[str, Begun]]:
        """Place orders at an exchange of this process, each with its outcome in a commit of its own.

        Return their answers, and those whose keys have rows by now.
        """
        answers: dict[str, StoredAnswer] = {}
        begun: dict[str, Begun] = {}
        for key, one in unplaced.items():
            try:
                answer = self._intents.execute(caller, registration, exchange, one.order, key, one.known, confirm)
                if isinstance(answer, Begun):
                    begun[key] = answer
                else:
                    answers[key] = answer
            except (ExchangeError, Problem) as error:
                answers[key] = _refusal(key, error)
            except KeyReplacedError:
                if not answers:
                    raise
                answers[key] = _refusal(key, _key_replaced())
            except Exception:
                if not answers:
                    raise
                # The orders before it are answered.
                _log.exception("the order with the key %s failed", key)
                answers[key] = _refusal(key, not_committed())
        return answers, begun

    def _place_together(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        unplaced: Mapping[str, _Unplaced],
        _confirm: LastLook,
    ) -> tuple[dict[str, StoredAnswer], dict[str, Begun]]:
        """Place orders at an exchange elsewhere, after the intents of all of them were committed.

        Return their answers, and those whose keys have rows by now.
        """
        begun, answers = self._begin(caller, registration, exchange, unplaced)
        new = {key: one for key, one in begun.items() if one.is_new}
        together = {key: one for key, one in new.items() if one.found is None}
        finish = dict(zip(together, self._intents.carry_out_many(exchange, list(together.values())), strict=True))
        for key, one in new.items():
            answers[key] = _answer(key, finish.get(key, partial(self._intents.carry_out, exchange, one)))
        return answers, {key: one for key, one in begun.items() if not one.is_new}

    def _begin(
        self, caller: Caller, registration: Registration, exchange: Exchange, unplaced: Mapping[str, _Unplaced]
    ) -> tuple[dict[str, Begun], dict[str, StoredAnswer]]:
        """Commit the intents of the orders that may be placed; return these, and the answers to the others."""
        begun: dict[str, Begun] = {}
        answers: dict[str, StoredAnswer] = {}
        try:
            for key, one in unplaced.items():
                try:
                    begun[key] = self._intents.begin(caller, registration, exchange, one.order, key, one.known)
                except (ExchangeError, Problem) as error:
                    answers[key] = _refusal(key, error)
                except KeyReplacedError:
                    if not any(other.is_new for other in begun.values()):
                        raise
                    # The others were committed before, and leave with the key as it was then.
                    answers[key] = _refusal(key, _key_replaced())
        except Exception:
            # The data base failed: nothing is sent, and what was committed is found not to be placed.
            for other in begun.values():
                if other.is_new:
                    self._intents.give_up(other)
            raise
        return begun, answers


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
