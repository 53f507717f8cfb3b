"""What every exchange can be asked, in our words, and what it may answer.

An exchange is a class with the verbs of `Exchange`; it overrides those it can do. The docstrings here are the
contract, and
`contract.py` holds every exchange to it. All amounts are Decimal and exact; `amount` counts units of the asset,
`price` is currency per unit of the asset, `cost` is currency. Currencies and assets have their common upper-case names
("USD", "BTC").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from .cache import TTLCache

if TYPE_CHECKING:
    from ..transport import Transport
    from .paper import Ground

Side = Literal["buy", "sell"]
#: Where an order can be. "unknown" is an answer too: nobody can say yet whether it was executed.
Status = Literal["open", "filled", "partly_filled", "canceled", "rejected", "unknown"]

# --- failures: every one is of these kinds ----------------------------------------------------------------------------


class ExchangeError(Exception):
    """Why an exchange did not do what it was asked. `str(error)` is fit to show a person and holds no secret.

    `code` is one of ours (insufficient_funds, invalid_amount, unknown_market, ...). The exchange's own words are in
    `words`; they are shown, bounded, and never guessed into something nicer.
    """

    def __init__(self, words: str, *, code: str = "exchange_refused", retryable: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.code = code
        self.retryable = retryable


class Refused(ExchangeError):
    """Certainly not executed. `details` may name the violated rule and the nearest allowed value, as text."""

    def __init__(
        self,
        words: str,
        *,
        code: str = "exchange_refused",
        retryable: bool = False,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(words, code=code, retryable=retryable)
        self.details = dict(details or {})


class Unsupported(Refused):
    """This exchange has no such call."""

    def __init__(self, words: str) -> None:
        super().__init__(words, code="unsupported")


class Busy(Refused):
    """A rate limit; certainly not executed. `retry_after`: seconds to wait."""

    def __init__(self, words: str, *, retry_after: float) -> None:
        super().__init__(words, code="rate_limited", retryable=True)
        self.retry_after = retry_after


class Unknown(ExchangeError):
    """It may have been executed: the answer was lost, late, or not to be understood."""

    def __init__(self, words: str) -> None:
        super().__init__(words, code="outcome_unknown")


# --- records ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of the asset costs (`buy`, the best ask) and brings (`sell`, the best bid) now, in the currency."""

    buy: Decimal
    sell: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class Funds:
    """What is owned of one currency or asset. None: the exchange does not tell."""

    total: Decimal | None
    available: Decimal | None
    held: Decimal | None


@dataclass(frozen=True, slots=True)
class Market:
    """One pair and its rules; None: no such rule, or not told."""

    currency: str
    asset: str
    price_step: Decimal | None = None
    amount_step: Decimal | None = None
    amount_min: Decimal | None = None
    cost_min: Decimal | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to place. Either `amount` (of the asset) or `cost` (of the currency, buys only) is given.

    With `price` it is a limit order, without one a market order. `client_id` is ours: 32 lower-case hexadecimal digits
    of a UUID; an adapter turns it into what its exchange takes, always in the same way, so that `find` works.
    """

    side: Side
    currency: str
    asset: str
    client_id: str
    amount: Decimal | None = None
    price: Decimal | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderRef:
    """What is known of an order that was placed, or may have been."""

    side: Side
    currency: str
    asset: str
    client_id: str
    exchange_order_id: str | None = None
    created: datetime | None = None
    amount: Decimal | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as its exchange tells it now. None: not told, never invented.

    `filled` counts the asset, `average` is the mean price of the fills, `spent` is the currency paid (or got, for a
    sell) without the fee, `fee` counts `fee_currency`.
    """

    exchange_order_id: str
    status: Status
    side: Side | None = None
    currency: str | None = None
    asset: str | None = None
    amount: Decimal | None = None
    price: Decimal | None = None
    filled: Decimal | None = None
    average: Decimal | None = None
    spent: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    client_id: str | None = None
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of an order (or of a part of it)."""

    id: str
    exchange_order_id: str | None
    side: Side
    currency: str
    asset: str
    amount: Decimal
    price: Decimal
    fee: Decimal | None
    fee_currency: str | None
    time: datetime


@dataclass(frozen=True, slots=True)
class NewWithdrawal:
    """A send: `amount` units of `asset` to `address`; `tag` (memo, destination tag) is never dropped."""

    asset: str
    amount: Decimal
    address: str
    client_id: str
    tag: str | None = None
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A send as its exchange tells it now."""

    id: str
    asset: str
    amount: Decimal | None
    status: Literal["pending", "done", "failed", "unknown"]
    address: str | None = None
    tag: str | None = None
    network: str | None = None
    fee: Decimal | None = None
    txid: str | None = None
    created: datetime | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Deposit:
    """Something that came in."""

    id: str
    asset: str
    amount: Decimal
    status: Literal["pending", "done", "failed"]
    address: str | None = None
    tag: str | None = None
    network: str | None = None
    txid: str | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class DepositAddress:
    """Where to send `asset` to; with a `tag`, both are needed or the money is lost."""

    asset: str
    address: str
    tag: str | None = None
    network: str | None = None


# --- how an exchange is reached ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a registration at this exchange needs, besides the exchange's name."""

    name: str
    help: str
    required: bool = True
    secret: bool = False


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
    every other.
    """

    capacity: float
    refill: float
    costs: Mapping[str, float] = field(default_factory=dict)


class Throttle(Protocol):
    """`with throttle(name, signed=...)` waits until the exchange's limits allow one more request, and counts it.

    A request is made (with its nonce and its time), sent and answered inside; the wait is before. They are not nested.
    Raises Busy when the wait would be too long; a Busy of the exchange raised inside makes everybody wait.
    """

    def __call__(self, call: str, *, signed: bool) -> AbstractContextManager[object]: ...


def no_throttle(call: str, *, signed: bool) -> AbstractContextManager[object]:  # noqa: ARG001 - every call is treated alike
    """The throttle where nobody else uses the key: no wait."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """One registration's way to its exchange; `registration` 0 with empty credentials is for public calls.

    `url` is the administrator's base URL, None for the exchange's own. `nonce` gives strictly rising integers for this
    key, at least the microseconds since 1970. Every request is sent under a `throttle`. `cache` is shared by all that
    use the exchange. `paper` is what the paper exchange stands on.
    """

    transport: Transport
    credentials: Credentials = Credentials()
    registration: int = 0
    url: str | None = None
    nonce: Callable[[], int] | None = None
    throttle: Throttle = no_throttle
    cache: TTLCache = field(default_factory=TTLCache)
    paper: Ground | None = None


# --- the contract -----------------------------------------------------------------------------------------------------


class Exchange:
    """The verbs. A class overrides those that its exchange has; the others raise Unsupported.

    Raises Refused, Busy or Unknown and nothing else; reads never raise Unknown (a read executes nothing).
    """

    id: ClassVar[str]
    name: ClassVar[str]
    description: ClassVar[str]
    #: open: it trades. closed: it is history. paper: no real money.
    lifecycle: ClassVar[Literal["open", "closed", "paper"]] = "open"
    #: What a registration needs; the server refuses a registration without the required fields.
    form: ClassVar[tuple[Field, ...]] = ()
    #: Which orders `find` sees: "all" (open and closed), "open" ones only, or "none" (it cannot look up by our id).
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "none"
    #: For how many seconds after it was signed a request may still be taken, however late it arrives; 0 where that is
    #: less than a call may take, or where a later nonce of the key ends it.
    valid_seconds: ClassVar[float] = 0.0
    #: It has no address of its own: the administrator must say where it is.
    requires_url: ClassVar[bool] = False
    #: It keeps its books in the server's own data base, so what it does and what the server writes about it are one.
    in_process: ClassVar[bool] = False
    #: Calls of one key must arrive in the order of their nonces.
    ordered: ClassVar[bool] = False
    #: The counter that the exchange keeps for each key, of signed calls; None: it counts those by address too.
    per_key: ClassVar[RateLimit | None] = None
    #: The counter that the exchange keeps for each address that calls; None: no limit is known.
    per_address: ClassVar[RateLimit | None] = None

    def __init__(self, context: ExchangeContext) -> None:
        self.context = context

    def rate(self, currency: str, asset: str) -> Rate:
        """The current prices of one unit of `asset` in `currency`; needs no credentials."""
        raise self._lacks("rate")

    def markets(self) -> list[Market]:
        """Every pair that can be traded, with its rules; needs no credentials."""
        raise self._lacks("markets")

    def funds(self) -> dict[str, Funds]:
        """What is owned, by currency or asset, open orders included in `total`."""
        raise self._lacks("funds")

    def balance(self) -> dict[str, Decimal]:
        """The totals of `funds`: what is owned, open orders included."""
        return {name: funds.total for name, funds in self.funds().items() if funds.total is not None}

    def place(self, order: NewOrder) -> OrderState:
        """Place `order` with one request; a market order is read until it is final, or for a few seconds.

        Raises Unknown when it may have been placed; it is never sent twice.
        """
        raise self._lacks("place")

    def order(self, ref: OrderRef) -> OrderState:
        """The state of an order with a known `exchange_order_id`."""
        raise self._lacks("order")

    def find(self, ref: OrderRef) -> OrderState | None:
        """The order that carries `ref.client_id`, created not long before `ref.created`; None: certainly not there."""
        raise self._lacks("find")

    def open_orders(self) -> list[OrderState]:
        """All open orders of this key, ours or not."""
        raise self._lacks("open_orders")

    def cancel(self, ref: OrderRef) -> None:
        """Ask the exchange to cancel an order; it may be filled before. Refused with `order_not_open` when it is
        over.
        """
        raise self._lacks("cancel")

    def cancel_all(self) -> int:
        """Cancel every open order of this key, ours or not; how many."""
        raise self._lacks("cancel_all")

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """The latest executions of one pair, newest first."""
        raise self._lacks("fills")

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """Where to send `asset` to."""
        raise self._lacks("deposit_address")

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send `withdrawal` with one request. Raises Unknown when it may have been sent; it is never sent twice."""
        raise self._lacks("withdraw")

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        """The send that carries `client_id`; None: certainly not there. If it was sent at all, then between `since` and
        `until`, which may lie ahead.
        """
        raise self._lacks("find_withdrawal")

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """What came in, newest first."""
        raise self._lacks("deposits")

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        """What was sent, newest first."""
        raise self._lacks("withdrawals")

    def permissions(self) -> frozenset[str]:
        """What this key may do: a subset of read, trade, send."""
        raise self._lacks("permissions")

    def _lacks(self, verb: str) -> Unsupported:
        return Unsupported(f"{self.name} has no call for '{verb}'")


OPERATIONS = (
    "rate",
    "markets",
    "funds",
    "place",
    "order",
    "find",
    "open_orders",
    "cancel",
    "cancel_all",
    "fills",
    "deposit_address",
    "withdraw",
    "find_withdrawal",
    "deposits",
    "withdrawals",
    "permissions",
)


def supports(exchange: type[Exchange]) -> list[str]:
    """The verbs that an exchange's class has, in the order of `OPERATIONS`."""
    return [verb for verb in OPERATIONS if getattr(exchange, verb) is not getattr(Exchange, verb)]
