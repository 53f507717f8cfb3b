"""The paper exchange of a test: its price and its clock are what the test says, and it fails where that is planned."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Self

from ..errors import InvalidRequest
from ..exchanges.base import ExchangeContext
from ..exchanges.errors import Refused
from ..exchanges.models import (
    Funds,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    TransferState,
    Withdrawal,
)
from ..exchanges.paper import Balance, Paper, PaperConfig
from ..exchanges.paper.matching import Quote
from ..money import EXACT, above_zero, plain
from ..types import Amount
from .faults import Faults, PlannedFault

__all__ = ["START_PRICE", "FaultyPaper", "PaperControl"]

#: What a bitcoin costs, and brings, until a test says otherwise.
START_PRICE = Decimal(100_000)
#: So many minutes are looked back at most: a year.
_PERIOD = 366 * 1440


class PaperControl:
    """The price, the clock and the money of the paper exchange, for one test.

    The clock stands still until the test moves it; it begins at the time at which the test does. Each new price begins
    a new minute, because a price holds for a minute. Orders that are reached are filled before `price` and `advance`
    return, in every registration of the test's account.
    """

    def __init__(
        self, now: int, read_orders: Callable[[], None], set_balances: Callable[[Mapping[str, Decimal]], None]
    ) -> None:
        """`now`: Unix seconds, whole ones, which exchanges take. `read_orders` lets the server see its open orders."""
        self._read_orders, self._set_balances = read_orders, set_balances
        self._lock = threading.Lock()
        self._now = now
        #: From which minute on which quote holds; the first one for all time before, too.
        self._minutes = [now // 60]
        self._quotes = [Quote(START_PRICE, START_PRICE)]

    @property
    def now(self) -> datetime:
        """Return the time at the exchange."""
        return datetime.fromtimestamp(self._now, UTC)

    def price(self, price: Amount | None = None, *, bid: Amount | None = None, ask: Amount | None = None) -> None:
        """Let a bitcoin cost and bring `price` US dollars from now on, or cost `ask` and bring `bid`.

        Resting orders that it reaches are filled at their own price. Raises InvalidRequest for a float.
        """
        if (price is None) == (bid is None and ask is None) or (bid is None) != (ask is None):
            raise InvalidRequest("give a price, or both bid and ask", code="invalid_price")
        if price is not None:
            bid = ask = above_zero(price, "price")
        quote = Quote(Decimal(above_zero(ask or "", "ask")), Decimal(above_zero(bid or "", "bid")))
        if quote.bid > quote.ask:
            raise InvalidRequest(f"the bid {quote.bid} is above the ask {quote.ask}", code="invalid_price")
        with self._lock:
            minute = self._now // 60 + 1
            self._now = minute * 60
            self._minutes.append(minute)
            self._quotes.append(quote)
        self._read_orders()

    def advance(self, *, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0) -> None:
        """Let the exchange's clock go on: orders expire, and candles end, at the price of now."""
        time = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if time <= timedelta():
            raise ValueError("the clock only goes on; say by how many days, hours, minutes or seconds")
        with self._lock:
            self._now += time // timedelta(seconds=1)
        self._read_orders()

    def fund(self, **balances: Amount) -> None:
        """Let the backend own exactly so much: `fund(USD="1000", BTC=0)`; what is not named stays as it is.

        Raises InvalidRequest for a float, for a currency that there is not, and for less than open orders hold.
        """
        self._set_balances({name: _not_below_zero(amount, name) for name, amount in balances.items()})

    def clock(self) -> float:
        """Return the time at the exchange, in Unix seconds."""
        return self._now

    @property
    def period(self) -> int:
        """Return after how many minutes each price has been looked at."""
        return _PERIOD

    def quote(self, minute: int) -> Quote:
        """Return what a bitcoin costs and brings in this minute."""
        with self._lock:
            return self._quotes[max(bisect_right(self._minutes, minute) - 1, 0)]

    def between(self, first: int, end: int) -> tuple[Decimal, ...]:
        """Return the prices of the minutes from `first` to before `end`: those between bid and ask."""
        quotes = [self.quote(minute) for minute in range(first, end)]
        return tuple(EXACT.divide(EXACT.add(quote.bid, quote.ask), Decimal(2)) for quote in quotes)


class FaultyPaper(Paper):
    """The paper exchange with the faults of a test, at the registrations of its account alone."""

    def __init__(
        self, context: ExchangeContext, config: PaperConfig, faults: Faults, is_own: Callable[[int], bool]
    ) -> None:
        """`is_own` returns whether the registration of this id is one of the test's account."""
        super().__init__(context, config)
        self._faults, self._is_own = faults, is_own

    def with_context(self, context: ExchangeContext) -> Self:
        return type(self)(context, self._config, self._faults, self._is_own)

    def place(self, order: NewOrder) -> OrderState:
        fault = self._pop_fault(order.side, client_id=order.client_id)
        if fault is None:
            return super().place(order)
        if fault.kind == "unknown" and fault.executed:
            super().place(order)
        raise fault.make_error()

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        fault = self._pop_fault("send_to_address", client_id=withdrawal.client_id)
        if fault is None:
            return super().withdraw(withdrawal)
        if fault.kind == "unknown" and fault.executed:
            super().withdraw(withdrawal)
        raise fault.make_error()

    def transfer(self, transfer: NewTransfer) -> TransferState:
        self._fail_if_planned("transfer")
        return super().transfer(transfer)

    def cancel(self, ref: OrderRef) -> None:
        self._fail_if_planned("cancel")
        super().cancel(ref)

    def cancel_all(self) -> int:
        self._fail_if_planned("cancel_all")
        return super().cancel_all()

    def funds(self) -> dict[str, Funds]:
        self._fail_if_planned("balance", "funds")
        return super().funds()

    def rate(self, currency: str, asset: str) -> Rate:
        self._fail_if_planned("exchange_rate")
        return super().rate(currency, asset)

    def find(self, ref: OrderRef) -> OrderState | None:
        self._check_answers(ref.client_id)
        return super().find(ref)

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        self._check_answers(client_id)
        return super().find_withdrawal(client_id, since, until)

    def set_balances(self, balances: Mapping[str, Decimal]) -> None:
        """Let the registration own so much. Raises InvalidRequest, and then nothing is changed."""
        known = self._opening()
        for name in balances:
            if name not in known:
                raise InvalidRequest(f"the paper exchange has no {name}, but {', '.join(known)}", code="unknown_asset")
        funds = super().funds()
        for name, amount in balances.items():
            held = funds[name].held or Decimal(0)
            if amount < held:
                words = f"open orders hold {plain(held)} {name}, so it cannot be {plain(amount)}"
                raise InvalidRequest(f"{words}; cancel them first", code="invalid_amount")
        with self._transaction() as transaction:
            for name, amount in balances.items():
                difference = EXACT.subtract(amount, transaction.balances.get(name, Balance()).total)
                transaction.post_entry("opening", None, name, difference)

    def _pop_fault(self, *calls: str, client_id: str | None = None) -> PlannedFault | None:
        registration = self.context.registration
        # What is asked without a login has no registration.
        if registration and not self._is_own(registration):
            return None
        return self._faults.pop_for_exchange(*calls, client_id=client_id)

    def _fail_if_planned(self, *calls: str) -> None:
        if fault := self._pop_fault(*calls):
            raise fault.make_error()

    def _check_answers(self, client_id: str) -> None:
        if self._faults.is_hidden(client_id):
            raise Refused("the paper exchange does not answer, until faults.resolve()", code="exchange_unavailable")


def _not_below_zero(amount: Amount, name: str) -> Decimal:
    number = Decimal(plain(amount, name))
    if number < 0:
        raise InvalidRequest(f"{name} is {amount}; it must not be below zero", code="invalid_amount")
    return number
