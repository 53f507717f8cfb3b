"""The contract: what every exchange can be asked, in our words, and what it may answer.

An exchange is a class with the verbs of `Exchange`; it overrides those that it has. The docstrings here are the
contract, and `testing/exchange_contract.py` holds every exchange to it. `models.py` has the records, `errors.py` the
failures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar

from .._names import common_name
from ..money import EXACT
from .account_history import AccountHistory
from .batches import Found, Outcome, place_each, read_each
from .cache import TTLCache
from .conditions import check_offered
from .errors import Refused
from .http import parsing_errors
from .models import (
    Deposit,
    DepositAddress,
    Estimate,
    Fill,
    Funds,
    HistoryPage,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Withdrawal,
)
from .rules import find_market, market_closed
from .transfers import Transfers

if TYPE_CHECKING:
    from ..transport import Transport

__all__ = ["Credentials", "Exchange", "ExchangeContext", "Field", "RateLimit", "Throttle", "no_throttle"]

_T = TypeVar("_T")

#: Seconds for which an exchange's list of its markets or assets is not asked for again.
_LISTING_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a registration at this exchange needs, besides the exchange's name.

    It is sent to the server, and kept, under its `name`; `also` are other names under which it is taken.
    """

    name: str
    help: str
    required: bool = True
    secret: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """The exchange's keys of one registration, opened for one call. The repr shows none of them."""

    username: str = ""
    apikey: str = field(default="", repr=False)
    apisecret: str = field(default="", repr=False)
    more: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A counter that an exchange keeps: a call raises it by its cost, time lowers it by `refill` a second, down to 0.

    A call that would raise it above `capacity` is refused. `costs`: by the name that the adapter gives the call; 1 for
    every other. `polls`: the calls that look again and again what became of an order. Like all reads they leave a part
    of the capacity to what cannot wait, also when they belong to the placing of an order.
    """

    capacity: float
    refill: float
    costs: Mapping[str, float] = field(default_factory=dict)
    polls: frozenset[str] = frozenset()


class Throttle(Protocol):
    """Waits, in `with throttle(call, signed=...)`, until the exchange's limits allow one more request, and counts it.

    A request is made (with its nonce and its time), sent and its answer read inside; the wait is before. Throttles are
    not nested. Raises Busy when the wait would be too long; a Busy raised inside, also as the refusal of an Unknown,
    makes all users of the key wait. A signed call that ends without an error was accepted: so was the key's secret.
    """

    def __call__(self, call: str, *, signed: bool) -> AbstractContextManager[object]: ...


def no_throttle(call: str, *, signed: bool) -> AbstractContextManager[object]:  # noqa: ARG001 - every call is treated alike
    """Wait for nothing: the throttle of a program that is the only one with its key."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """One registration's way to its exchange; `registration` 0 with empty credentials is for public calls.

    `url` is the administrator's base URL, None for the exchange's own. `nonce` gives strictly rising integers for this
    key, at least the microseconds since 1970. Every request is sent under a `throttle`. `cache` is shared by all that
    use the exchange.
    """

    transport: Transport
    credentials: Credentials = Credentials()
    registration: int = 0
    url: str | None = None
    nonce: Callable[[], int] | None = None
    throttle: Throttle = no_throttle
    cache: TTLCache = field(default_factory=TTLCache)


class Exchange(AccountHistory, Transfers):
    """An exchange in our verbs. A class overrides those that its exchange has; the others raise Unsupported.

    They raise Refused, Busy or Unknown and nothing else; reads never raise Unknown (a read executes nothing).
    """

    id: ClassVar[str]
    description: ClassVar[str]
    #: open: it trades. closed: it is history. paper: no real money.
    lifecycle: ClassVar[Literal["open", "closed", "paper"]] = "open"
    #: What a registration needs; the server refuses a registration without the required fields.
    form: ClassVar[tuple[Field, ...]] = ()
    #: Which orders `find` sees: "all" (open and closed), "open" ones only, or "none" (it cannot look up by our id).
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "none"
    #: `order` tells how an order ended. False: the exchange tells of open orders alone, and any other one is "closed",
    #: with a `reason`, unless its fills say more.
    reads_closed_orders: ClassVar[bool] = True
    #: It lists the open orders of one market at a time: `open_orders_in` asks for those of the markets it is given.
    lists_one_market: ClassVar[bool] = False
    #: The conditions of orders that it has itself: of "post_only", "GTC", "IOC", "FOK", "GTD", for limit orders, and of
    #: "stop", for these and market orders.
    order_conditions: ClassVar[frozenset[str]] = frozenset()
    #: It takes market sells for a `cost`, which is what they are to bring.
    sells_by_cost: ClassVar[bool] = False
    #: For how many seconds after it was signed a request may still be taken, however late it arrives; 0 where that is
    #: less than a call may take, or where a later nonce of the key ends it.
    valid_seconds: ClassVar[float] = 0.0
    #: It has no address of its own: the administrator must say where it is.
    requires_url: ClassVar[bool] = False
    #: It keeps its books in the server's own data base, so what it does and what the server writes about it are one.
    in_process: ClassVar[bool] = False
    #: None of its calls waits for anything but the server's own data base.
    answers_at_once: ClassVar[bool] = False
    #: Calls of one key must arrive in the order of their nonces.
    ordered: ClassVar[bool] = False
    #: The counter that the exchange keeps for each key, of signed calls; None: it counts those by address too.
    per_key: ClassVar[RateLimit | None] = None
    #: The counter that the exchange keeps for each address that calls; None: no limit is known.
    per_address: ClassVar[RateLimit | None] = None

    def __init__(self, context: ExchangeContext) -> None:
        self.context = context

    def with_context(self, context: ExchangeContext) -> Self:
        """Return this exchange in another context; a class whose constructor takes more than a context overrides it."""
        return type(self)(context)

    def common_pair(self, currency: str, asset: str) -> tuple[str, str]:
        """Return the common names of a pair that a caller wrote in any case, or by this exchange's own spelling.

        The other methods take common names. An exchange overrides this where not all of them are upper-case.
        """
        return common_name(currency), common_name(asset)

    def common_asset(self, asset: str) -> str:
        """Return the common name of what a caller deposits or sends; see `common_pair`."""
        return common_name(asset)

    def funds(self) -> dict[str, Funds]:
        """Return what is owned, by currency or asset, open orders included in `total`."""
        raise self._lacks("funds")

    def balance(self) -> dict[str, Decimal]:
        """Return the totals of `funds`: what is owned, open orders included."""
        return {name: funds.total for name, funds in self.funds().items() if funds.total is not None}

    def estimate(self, order: NewOrder) -> Estimate:
        """Return what `order` would cost at its limit, at its stop, or else at the best price now; a large one may cost
        more.

        An exchange that says what its fee would be overrides it. Raises Unsupported where there is no rate.
        """
        price = order.price or order.stop
        if price is None:
            rate = self.rate(order.currency, order.asset)
            price = rate.buy if order.side == "buy" else rate.sell
        spent = EXACT.multiply(order.amount, price) if order.amount is not None else order.cost
        return Estimate(price, spent)

    def check_kind(self, order: NewOrder) -> None:
        """Raise Refused when the exchange takes no order of this kind (market, limit, for a cost, a sell for a cost) or
        with these conditions, and send nothing.

        `place` refuses such an order in the same way; a dry run asks here.
        """
        if type(self).place is Exchange.place:
            raise self._lacks("place")
        check_offered(self.name, order, self.order_conditions)
        if order.cost is not None and order.side == "sell" and not self.sells_by_cost:
            words = f"{self.name} takes no sells for a cost; give the amount that is to be sold; nothing was sent"
            raise Refused(words, code="unsupported", details={"field": "cost"})

    def prepare(self, order: NewOrder) -> None:
        """Ask for what `place` needs to know, right before it; where books are kept `in_process`, `place` is a part of
        a transaction, in which nothing else is waited for and which may be run once more. Raises what it would raise.
        """

    def place(self, order: NewOrder) -> OrderState:
        """Place `order` with one request and return its state.

        A market order, and one that ends at once (IOC, FOK), is read until it is final, or for a few seconds; one that
        waits for its stop is open. Raises
        Refused `would_take` for a post-only order that would be executed at once, and nothing was executed then.
        Raises Unknown when it may have been placed; it is never sent twice.
        """
        raise self._lacks("place")

    def place_many(self, orders: Sequence[NewOrder]) -> list[Outcome]:
        """Place `orders`, and return for each one, in their order, its state or the error that `place` would raise.

        One that is refused stops no other. An exchange that takes many with one request overrides it; here they are
        placed one after the other.
        """
        return place_each(self.place, orders)

    def order(self, ref: OrderRef) -> OrderState:
        """Return the state of an order with a known `exchange_order_id`. Raises Refused `order_not_found`.

        Raises NotListedYet when it is not there now, and what is listed may lag behind.
        """
        raise self._lacks("order")

    def find(self, ref: OrderRef) -> OrderState | None:
        """Return the order with `ref.client_id`, created not long before `ref.created`; None: certainly not there.

        Raises NotListedYet when it is not there now, and what is listed may lag behind; see `OrderRef.missed_since`.
        """
        raise self._lacks("find")

    def find_many(self, refs: Sequence[OrderRef]) -> list[Found]:
        """Return for each of `refs`, in their order, what `find` would return or raise, with fewer calls for all.

        Raises what a call raises that serves all of them, and Unsupported where there is no such call.
        """
        raise self._lacks("find_many")

    def read_orders(self, refs: Sequence[OrderRef]) -> dict[str, OrderState]:
        """Return the states of orders whose `exchange_order_id` is known, by that id.

        An order that cannot be read is missing in it. Raises Busy when none of them could be read for a rate limit.
        """
        return read_each(self.order, refs)

    def orders_since(self, since: datetime, *, wanted: int | None = None) -> list[OrderState]:
        """Return every order of this key since `since`, and perhaps older ones, open or over, as it is now.

        Raises Unsupported where that may not be all, or takes more calls than to `find` so many as are `wanted`.
        """
        raise self._lacks("orders_since")

    def confirm_no_older_request_pending(self) -> bool:
        """Return whether no request of this key that was made before this call can still be executed.

        Where nonces must rise, a call that the exchange accepts with a newer one proves that. False: nothing is proved.
        """
        return False

    def open_orders(self) -> list[OrderState]:
        """Return all open orders of this key, ours or not."""
        raise self._lacks("open_orders")

    def open_orders_in(self, pairs: Iterable[tuple[str, str]]) -> list[OrderState]:
        """Return `open_orders`; where the exchange `lists_one_market` only, those of `pairs` (currency, asset)."""
        return self.open_orders()

    def amend(self, ref: OrderRef, order: NewOrder) -> OrderState:
        """Give an open order the price and the amount (in all) of `order`, in place and with one request; return it.

        It stays the same order, with its ids. Raises Refused `order_not_open` when it is over, and Unknown when it may
        have been done; it is never sent twice.
        """
        raise self._lacks("amend")

    def find_amendment(self, ref: OrderRef) -> OrderState | None:
        """Return an order as it is now, if its last amendment gave it the amount and the price of `ref`; None: it did
        not, so far.
        """
        raise self._lacks("find_amendment")

    def cancel(self, ref: OrderRef) -> None:
        """Ask the exchange to cancel an order, which may be filled before. Raises Refused `order_not_open` when it is
        over.
        """
        raise self._lacks("cancel")

    def cancel_all(self) -> int:
        """Cancel every open order of this key, ours or not, and return how many."""
        raise self._lacks("cancel_all")

    def deadman(self, seconds: int) -> None:
        """Have the exchange itself cancel every open order of this key when so many seconds have passed, unless this is
        called again before; 0 calls that off. Orders that are placed after this call are canceled, too.
        """
        raise self._lacks("deadman")

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """Return the latest executions of one pair, newest first."""
        raise self._lacks("fills")

    def fills_page(self, currency: str, asset: str, cursor: str | None = None) -> HistoryPage[Fill]:
        """Return a part of all executions of one pair, newest first: the latest, or those where the `cursor` leads.

        What is executed between two pages may let rows come again; it leaves none out. Raises Refused for a cursor that
        is none of this exchange.
        """
        raise self._lacks("fills_page")

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """Return where to send `asset` to. Raises Refused `network_required` when there are several networks."""
        raise self._lacks("deposit_address")

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send `withdrawal` with one request and return its state. Raises Unknown when it may have been sent.

        It is never sent twice.
        """
        raise self._lacks("withdraw")

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        """Return the send that carries `client_id`; None: certainly not there.

        If it was sent at all, then between `since` and `until`, which may lie ahead.
        """
        raise self._lacks("find_withdrawal")

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """Return what came in, newest first."""
        raise self._lacks("deposits")

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        """Return what was sent, newest first.

        A send that cannot be understood is among them, without an id: what is not listed may be sent again.
        """
        raise self._lacks("withdrawals")

    def permissions(self) -> frozenset[str]:
        """Return what this key may do: a subset of read, trade, send."""
        raise self._lacks("permissions")

    def account_id(self) -> str:
        """Return what the exchange calls the account of this key: the same for each key of it, another for any other.

        An exchange that does not tell, or whose answer has none, raises Unsupported.
        """
        raise self._lacks("account_id")

    def _cached(self, key: str, fetch: Callable[[], Any], parse: Callable[[Any], _T]) -> _T:
        """Return what `parse` makes of the answer to `fetch()`: a list that hardly changes, at most an hour old.

        It is shared by all that use this exchange, under `key`. An answer that does not fit is a refused read.
        """

        def fetch_and_parse() -> _T:
            answer = fetch()
            with parsing_errors(self.name):
                return parse(answer)

        parsed: _T = self.context.cache.get_or_fetch(key, fetch_and_parse, seconds=_LISTING_SECONDS)
        return parsed

    def _open_market(self, currency: str, asset: str, markets: Mapping[tuple[str, str], _T | None], listing: str) -> _T:
        """Return what `markets` has for a pair, by (currency, asset); None stands for one that takes no new orders.

        Raises Refused for such a one; the list, cached under `listing`, is then asked for anew the next time. Raises
        Refused `unknown_market` for a pair that is not there.
        """
        market = find_market(self.name, currency, asset, markets)
        if market is None:
            self.context.cache.invalidate(listing)
            raise market_closed(self.name, currency, asset)
        return market
