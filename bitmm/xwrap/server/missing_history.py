"""Keys whose order or send the journals may have lost (`Store.history_gap`): their exchanges are asked first.

What the exchange has under one of the client ids of a key becomes the key's row, and where it cannot say, nothing is
sent. A key that was begun after the loss was noticed needs no look. The paper exchange needs none: its books stand in
the same data base, so what the journal lost did not happen there either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, TypeVar

from ..exchanges.base import Exchange
from ..exchanges.conditions import with_reason
from ..exchanges.errors import Busy, ExchangeError, NotListedYet, Refused, Unsupported
from ..exchanges.models import NewOrder, NewTransfer, NewWithdrawal, OrderRef, OrderState, Withdrawal
from .client_ids import ClientIds
from .db.history import HistoryGap
from .db.journal import Journal
from .db.records import Registration, time_text
from .db.store import Store
from .lookups import CLOCK_SKEW, LISTING_SECONDS, may_be_that_send, same_details
from .order_views import key_reused, order_columns, withdrawal_columns, withdrawal_intent
from .problems import Problem
from .registry import ExchangeRegistry

__all__ = ["MissingHistory"]

_log = logging.getLogger(__name__)

#: After so many lists that could not be had, each order is looked up.
_MOST_FAILURES = 3
#: A list of sends may end after so many, or with those of so many days, unless it goes on to older ones: the exchanges
#: list the newest ones of a page, or of some time (Binance 90 days). No shorter one is known.
_SHORTEST_LIST, _SHORTEST_TIME = 10, timedelta(days=30)
#: Seconds after which a caller may repeat a key whose order may not be listed yet.
_LISTING_LAG = 5.0

Row = dict[str, Any]
_T = TypeVar("_T")


@dataclass(slots=True)
class _KeptOrders:
    """What an exchange said about one registration, for as long as the gap is this one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    gap: HistoryGap | None = None
    #: Every request from before the loss has been executed, or never will be.
    is_over: bool = False
    #: All orders since the gap by client id, listed after that.
    orders: dict[str | None, OrderState] | None = None
    #: How often the list could not be had in a row. One that is too long costs more calls than the key has.
    failures: int = 0

    def list_orders(self, exchange: Exchange, gap: HistoryGap) -> dict[str | None, OrderState]:
        """Return all orders since the gap by client id. Raises Unsupported where each order must be looked up."""
        if self.orders is not None:
            return self.orders
        if self.failures >= _MOST_FAILURES:
            raise Unsupported(f"{exchange.name}'s list of orders is too long")
        try:
            orders = {state.client_id: state for state in exchange.orders_since(gap.since)}
        except Refused:
            self.failures += 1
            raise
        if self.is_over:
            self.orders = orders
        return orders


@dataclass(slots=True)
class _Search:
    """What is known of a key whose order is looked up id by id, which may take more than one call.

    All of it was found out when no more requests from before the loss could arrive.
    """

    #: The client ids that the exchange has not, and will not have.
    absent: set[str] = field(default_factory=set)
    #: When an order was first missed that may only not be listed yet.
    missed_since: datetime | None = None


class MissingHistory:
    """Looks up what the journals may have lost.

    `arrival_seconds`: within this time after a loss every call from before it has sent its request, and the request has
    arrived; an exchange that takes older ones adds its `valid_seconds`.
    """

    def __init__(
        self, store: Store, registry: ExchangeRegistry, client_ids: ClientIds, *, arrival_seconds: float
    ) -> None:
        self._store = store
        self._registry = registry
        self._client_ids = client_ids
        self._arrival_seconds = arrival_seconds
        self._kept: dict[int, _KeptOrders] = defaultdict(_KeptOrders)
        self._searches: dict[tuple[HistoryGap, int, str], _Search] = defaultdict(_Search)

    def find(
        self,
        exchange: Exchange,
        registration: Registration,
        request: NewOrder | NewWithdrawal,
        key: str,
        row: Row | None,
    ) -> Row | None:
        """Return the columns of what was executed with a key before; None: certainly nothing.

        `row`: what the journal has under the key. Raises Problem 503 `history_missing` where the exchange cannot say,
        and 422 `key_reused` for what was made with other parameters.
        """
        gap = self._gap(row)
        if gap is None or exchange.in_process:
            return None
        with _refusing(exchange):
            _check_account(exchange, registration, gap)
            if isinstance(request, NewOrder):
                found = self._find_order(exchange, registration, request, key, gap)
            else:
                found = self._find_send(exchange, registration, request, key, gap)
        if found is not None:
            _log.warning("%s has what the journal lost of the key %s: %s", exchange.name, key, found["status"])
        return found

    def check_key(self, registration: Registration, journal: Journal, key: str, row: Row | None) -> None:
        """Raise Problem 504 `outcome_unknown` when something may have been executed with a key that is asked about.

        `row`: what the journal has under the key.
        """
        gap = self._gap(row)
        if gap is None:
            return
        try:
            with self._registry.open(registration) as exchange:
                if exchange.in_process:
                    return
                _check_account(exchange, registration, gap)
                if self._never_executed(exchange, registration, journal, key, gap):
                    return
        except (ExchangeError, Problem) as error:
            _log.info("%s cannot say whether the key %s was executed: %s", registration.exchange, key, error)
        raise Problem(
            504,
            "outcome_unknown",
            "orders are missing in the server's journal, and this key may have been executed; make the same call with"
            " the same key, which finds out and executes nothing twice",
            may_have_executed=True,
        )

    def _never_executed(
        self, exchange: Exchange, registration: Registration, journal: Journal, key: str, gap: HistoryGap
    ) -> bool:
        """Return whether the exchange has nothing under a key, and never will have. Raises Unsupported.

        Without the order's market, an order can be found in a list only.
        """
        if journal is self._store.withdrawals:
            return self._newest_send(exchange, registration, key, gap) is None
        is_over = self._is_over(exchange, registration, gap)
        orders = self._orders(exchange, registration, gap)
        return is_over and self._newest_attempt(journal.name, registration, key, orders.get) is None

    def _gap(self, row: Row | None) -> HistoryGap | None:
        """Return what may be missing under a key; None for a row that was begun after that was noticed."""
        gap = self._store.history.gap()
        if gap is None or row is None:
            return gap
        # A row whose time has not come yet is from before the clock was set back.
        is_later = gap.noticed < datetime.fromisoformat(row["created"]) <= datetime.now(UTC)
        return None if is_later else gap

    def _arrival(self, exchange: Exchange, gap: HistoryGap) -> datetime:
        """Return when every request from before the loss has arrived."""
        return gap.noticed + timedelta(seconds=self._arrival_seconds + exchange.valid_seconds)

    def _kept_orders(self, registration: Registration, gap: HistoryGap) -> _KeptOrders:
        kept = self._kept[registration.id]
        with kept.lock:
            if kept.gap != gap:
                kept.gap, kept.is_over, kept.orders, kept.failures = gap, False, None, 0
        return kept

    def _is_over(self, exchange: Exchange, registration: Registration, gap: HistoryGap) -> bool:
        """Return whether no request from before the loss can arrive any more: by the time, or by the exchange."""
        kept = self._kept_orders(registration, gap)
        with kept.lock:
            if not kept.is_over:
                has_arrived = datetime.now(UTC) >= self._arrival(exchange, gap)
                # A nonce of this key proves nothing about the requests of another one.
                is_of_key = registration.key_since is None or registration.key_since < time_text(gap.since)
                kept.is_over = has_arrived or (is_of_key and exchange.confirm_no_older_request_pending())
                if kept.is_over and not has_arrived:
                    # What arrived just before may not be listed at once.
                    time.sleep(LISTING_SECONDS)
            return kept.is_over

    def _orders(self, exchange: Exchange, registration: Registration, gap: HistoryGap) -> dict[str | None, OrderState]:
        """Return all orders since the gap by client id; they are listed once when no more can come. Raises Unsupported.

        Of many callers at once one lists them, and the others wait for it.
        """
        kept = self._kept_orders(registration, gap)
        with kept.lock:
            return kept.list_orders(exchange, gap)

    def _find_order(
        self, exchange: Exchange, registration: Registration, order: NewOrder, key: str, gap: HistoryGap
    ) -> Row | None:
        is_over = self._is_over(exchange, registration, gap)

        def find(id: str) -> OrderState | None:
            try:
                return self._orders(exchange, registration, gap).get(id)
            except Unsupported:
                if exchange.order_lookup != "all":
                    raise
            ref = OrderRef(
                *(order.side, order.currency, order.asset, id),
                amount=order.amount,
                price=order.price,
                stop=order.stop,
                not_before=gap.since,
            )
            if not is_over:
                return exchange.find(ref)
            return self._find_for_good(exchange, ref, self._searches[gap, registration.id, key], gap)

        found = self._newest_attempt("orders", registration, key, find)
        if found is None and not is_over:
            raise self._too_early(exchange, gap)
        self._searches.pop((gap, registration.id, key), None)
        if found is None:
            return None
        state, columns = found
        if _is_other_order(state, order):
            raise key_reused()
        return columns | order_columns(with_reason(state, order.time_in_force)) | _created(state.created)

    def _find_for_good(self, exchange: Exchange, ref: OrderRef, search: _Search, gap: HistoryGap) -> OrderState | None:
        """Return the order of `ref`; None: it is not there, and will not be. Raises NotListedYet."""
        if ref.client_id in search.absent:
            return None
        # A market order is over as soon as it has arrived; one that rests may be over since a moment ago only.
        missed_since = search.missed_since or (None if _may_rest(ref) else self._arrival(exchange, gap))
        try:
            state = exchange.find(replace(ref, missed_since=missed_since))
        except NotListedYet:
            search.missed_since = search.missed_since or datetime.now(UTC)
            raise
        if state is None:
            search.absent.add(ref.client_id)
        return state

    def _find_send(
        self, exchange: Exchange, registration: Registration, send: NewWithdrawal, key: str, gap: HistoryGap
    ) -> Row | None:
        try:
            found = self._newest_send(exchange, registration, key, gap)
        except Unsupported:
            if isinstance(send, NewTransfer):
                # No list of sends has transfers.
                raise
            return self._match_send(exchange, send, gap)
        if found is None:
            return None
        state, columns = found
        if not same_details(state, withdrawal_intent(send)):
            raise key_reused()
        return columns | withdrawal_columns(state) | _created(state.created)

    def _newest_send(
        self, exchange: Exchange, registration: Registration, key: str, gap: HistoryGap
    ) -> tuple[Withdrawal, Row] | None:
        """Return the send that the exchange has under a key, as `_newest_attempt` does. Raises Unsupported."""
        until = self._arrival(exchange, gap)
        return self._newest_attempt(
            "withdrawals", registration, key, lambda id: exchange.find_withdrawal(id, gap.since, until)
        )

    def _newest_attempt(
        self, journal: str, registration: Registration, key: str, find: Callable[[str], _T | None]
    ) -> tuple[_T, Row] | None:
        """Return what `find` finds under the id of the latest attempt, and the columns of that attempt.

        An earlier one was certainly not executed. Raises NotListedYet when it was raised, and nothing was found.
        """
        lag: NotListedYet | None = None
        for attempt, id in reversed(list(enumerate(self._client_ids.of(journal, registration.id, key)))):
            try:
                if (found := find(id)) is not None:
                    return found, {"attempt": attempt, "client_id": id}
            except NotListedYet as error:
                lag = error
        if lag is not None:
            raise lag
        return None

    def _match_send(self, exchange: Exchange, send: NewWithdrawal, gap: HistoryGap) -> Row | None:
        """Return "unknown" when the exchange has a send like this one that is no row of the journal; None when none.

        It has no id of ours, so only its owner can say whether it is this one. Raises Unsupported where the exchange's
        list may not reach back to the loss.
        """
        intent = withdrawal_intent(send)
        sends = exchange.withdrawals(send.asset)
        since, until = gap.since - CLOCK_SKEW, datetime.now(UTC)
        rows = self._store.withdrawals.similar(exchange.id, {"id": 0, **intent}, since, until)
        known = {row["exchange_withdrawal_id"] for row in rows}
        for one in sends:
            if one.id not in known and may_be_that_send(one, intent) and (one.created is None or one.created >= since):
                return {"status": "unknown"}
        if until < self._arrival(exchange, gap):
            raise self._too_early(exchange, gap)
        reaches_back = any(one.created is not None and one.created < since for one in sends)
        if not reaches_back and (len(sends) >= _SHORTEST_LIST or until - since > _SHORTEST_TIME):
            raise Unsupported(f"{exchange.name} may list no sends of so long ago")
        return None

    def _too_early(self, exchange: Exchange, gap: HistoryGap) -> Busy:
        """Return why it is not known yet whether something was executed."""
        seconds = (self._arrival(exchange, gap) - datetime.now(UTC)).total_seconds()
        return Busy("requests from before the loss may still arrive", retry_after=max(1.0, seconds))


def _check_account(exchange: Exchange, registration: Registration, gap: HistoryGap) -> None:
    """Raise Unsupported when the key may be of another account than what was lost."""
    if registration.account_since is not None and registration.account_since >= time_text(gap.since):
        raise Unsupported(f"{exchange.name} was left for another account there since then")


@contextmanager
def _refusing(exchange: Exchange) -> Iterator[None]:
    """Around a look-up: turn what the exchange raises into the Problem of a key that cannot be told."""
    try:
        yield
    except ExchangeError as error:
        pause = error.retry_after if isinstance(error, Busy) else _LISTING_LAG
        raise Problem(
            503,
            "history_missing",
            f"nothing was sent: orders are missing in the server's journal, and {exchange.name} could not say whether"
            f" this key was executed before ({error.reason[:300]}); repeat the call with the same key, or let the"
            " administrator look at the exchange, and then say: xwrap history accept",
            retryable=True,
            may_have_executed=True,
            headers={"Retry-After": str(ceil(pause))},
        ) from error


def _may_rest(ref: OrderRef) -> bool:
    return ref.price is not None or ref.stop is not None


def _is_other_order(state: OrderState, order: NewOrder) -> bool:
    """Return whether the exchange's order differs in something that both say."""
    names = ("side", "currency", "asset", "amount", "price", "stop")
    pairs = ((getattr(state, name), getattr(order, name)) for name in names)
    return any(theirs != ours for theirs, ours in pairs if theirs is not None and ours is not None)


def _created(time: datetime | None) -> Row:
    return {} if time is None else {"created": time_text(time)}
