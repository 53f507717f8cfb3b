"""What every exchange can be asked, in our words, and what it may answer.

An exchange is a class with the verbs of `Exchange`; it overrides those it can do. The docstrings here are the
contract, and
`contract.py` holds every exchange to it. All amounts are Decimal and exact; `amount` counts units of the asset,
`price` is currency per unit of the asset, `cost` is currency. Currencies and assets have their common upper-case names
("USD", "BTC").
"""

from __future__ import annotations

import decimal
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from ..errors import APIError, OutcomeUnknown
from ..money import EXACT, number, plain

if TYPE_CHECKING:
    from ..transport import Answer, Request, Transport
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
    about: str
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
class Limit:
    """A counter that an exchange keeps: a call raises it by its cost, time lowers it by `refill` a second, down to 0.

    A call that would raise it above `capacity` is refused. `costs`: by the name that the adapter gives the call; 1 for
    every other.
    """

    capacity: float
    refill: float
    costs: Mapping[str, float] = field(default_factory=dict)


class Turn(Protocol):
    """`with turn(name, signed=...)`: the place of one request in the lane of its key, or of our address.

    A request is made (with its nonce and its time), sent and answered inside; the wait is before. Turns are not nested.
    Raises Busy when the wait would be too long; a Busy of the exchange raised inside makes everybody wait.
    """

    def __call__(self, call: str, *, signed: bool) -> AbstractContextManager[object]: ...


def at_once(call: str, *, signed: bool) -> AbstractContextManager[object]:  # noqa: ARG001 - every call is treated alike
    """The turn where nobody else uses the key: no wait."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Access:
    """One registration's way to its exchange; `registration` 0 with empty credentials is for public calls.

    `url` is the administrator's base URL, None for the exchange's own. `nonce` gives strictly rising integers for this
    key, at least the microseconds since 1970. Every request is sent in a `turn`. `paper` is what the paper exchange
    stands on.
    """

    transport: Transport
    credentials: Credentials = Credentials()
    registration: int = 0
    url: str | None = None
    nonce: Callable[[], int] | None = None
    turn: Turn = at_once
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
    status: ClassVar[Literal["open", "closed", "paper"]] = "open"
    #: What a registration needs; the server refuses a registration without the required fields.
    form: ClassVar[tuple[Field, ...]] = ()
    #: Which orders `find` sees: "all" (open and closed), "open" ones only, or "none" (it cannot look up by our id).
    finds: ClassVar[Literal["all", "open", "none"]] = "none"
    #: It has no address of its own: the administrator must say where it is.
    needs_url: ClassVar[bool] = False
    #: Calls of one key must arrive in the order of their nonces.
    ordered: ClassVar[bool] = False
    #: The counter that the exchange keeps for each key, of signed calls; None: it counts those by address too.
    per_key: ClassVar[Limit | None] = None
    #: The counter that the exchange keeps for each address that calls; None: no limit is known.
    per_address: ClassVar[Limit | None] = None

    def __init__(self, access: Access) -> None:
        self.access = access

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


VERBS = (
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
    "deposits",
    "withdrawals",
    "permissions",
)


def can(exchange: type[Exchange]) -> list[str]:
    """The verbs that an exchange's class has, in the order of `VERBS`."""
    return [verb for verb in VERBS if getattr(exchange, verb) is not getattr(Exchange, verb)]


# --- what adapters share ----------------------------------------------------------------------------------------------


def ask(transport: Transport, request: Request, name: str, *, moves: bool) -> Answer:
    """Send `request` once to the exchange called `name`; whatever the status, the answer is for the adapter to read.

    `moves`: the request places, cancels or sends. Raises Unknown when such a request may have arrived and no answer
    came back, and Refused with code exchange_unavailable when nothing was executed (a read executes nothing).
    """
    try:
        return transport.send(request)
    except OutcomeUnknown as error:
        if moves:
            raise Unknown(f"no answer from {name}, the outcome is unknown: {error}") from error
        raise Refused(f"no answer from {name}: {error}", code="exchange_unavailable", retryable=True) from error
    except APIError as error:
        raise Refused(f"{name} cannot be reached: {error}", code="exchange_unavailable", retryable=True) from error


def until_final(
    read: Callable[[], OrderState], *, seconds: float = 4.0, sleep: Callable[[float], None] = time.sleep
) -> OrderState:
    """Read a market order until it is no longer open, for at most `seconds`; the last state that was read."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while (state := read()).status == "open" and time.monotonic() + pause < deadline:
        sleep(pause)
        pause = min(2 * pause, 1.0)
    return state


def followed(placed: OrderState, read: Callable[[], OrderState]) -> OrderState:
    """The market order `placed`, read until it is final, or for a few seconds.

    It stands, so a state that cannot be read changes nothing; a rate limit ends the reading.
    """

    def attempt() -> OrderState:
        try:
            return read()
        except Busy:
            raise
        except Refused:
            return placed

    try:
        return until_final(attempt)
    except Busy:
        return placed


@contextmanager
def understood(name: str, *, moves: bool = False) -> Iterator[None]:
    """Around the reading of a good answer of the exchange called `name`: what does not fit is not believed.

    A missing field, a number that is none, another order than the one asked for: KeyError, TypeError, ValueError and
    their like become Unknown when the request `moves` something, and Refused with code exchange_unavailable when not.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        words = f"{name}'s answer cannot be understood ({type(error).__name__}: {str(error)[:100]})"
        raise no_outcome(words, moves=moves) from error


def no_outcome(words: str, *, moves: bool) -> ExchangeError:
    """What an answer is that tells no outcome: Unknown when the request `moves` something, else a refused read."""
    if moves:
        return Unknown(f"{words}; the outcome is unknown")
    return Refused(words, code="exchange_unavailable", retryable=True)


def retry_after(answer: Answer, *, seconds: float) -> float:
    """The seconds that an answer's Retry-After asks to wait, ten minutes at most; `seconds` when it asks for none."""
    given = answer.headers.get("Retry-After", "")
    return min(float(given), 600.0) if given.isascii() and given.isdigit() else seconds


def no_such_market(name: str, currency: str, asset: str, offered: Iterable[tuple[str, str]]) -> Refused:
    """The refusal of a pair that is not among `offered` (currency, asset); it says what is offered instead."""
    currencies = sorted(money for money, thing in offered if thing == asset)
    instead = f"{asset} is traded there in {', '.join(currencies)}" if currencies else f"{asset} is not traded there"
    return Refused(f"{name} has no market {asset}/{currency}; {instead}", code="unknown_market")


def unsigned(value: object) -> Decimal:
    """The amount in a decoded document, which is never below zero. Raises ValueError when it is, or is no number."""
    amount = number(value)
    if amount < 0:
        raise ValueError("a negative amount")
    return amount


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def mean(cost: Decimal, amount: Decimal) -> Decimal | None:
    """The mean price of `amount` units that cost `cost`, to 28 digits; None of nothing."""
    return decimal.Context(prec=28).divide(cost, amount) if amount else None


def check(order: NewOrder, market: Market) -> None:
    """Refuse an order that makes no sense or breaks the rules of its market; nothing is rounded.

    The refusal's `details`: the `field`, its `value`, the `rule` (amount_step, price_step, amount_min or cost_min), the
    rule's `limit` and the `nearest` allowed value; the code is the rule's name.
    """
    if (order.amount is None) == (order.cost is None):
        raise Refused("an order has either an amount or a cost", code="invalid_amount")
    if order.cost is not None and (order.side == "sell" or order.price is not None):
        raise Refused("a cost is for market buys only", code="unsupported")
    for name, value, step in (("amount", order.amount, market.amount_step), ("price", order.price, market.price_step)):
        if value is not None and step and _WIDE.remainder(value, step):
            nearest = _WIDE.multiply(_WIDE.quantize(_WIDE.divide(value, step), Decimal(1)), step) or step
            raise _broken(name, value, f"{name}_step", step, nearest, "is no multiple of")
    cost = order.cost
    if order.amount is not None and order.price is not None:
        cost = EXACT.multiply(order.amount, order.price)
    for name, value, least in (("amount", order.amount, market.amount_min), ("cost", cost, market.cost_min)):
        if value is not None and least is not None and value < least:
            raise _broken(name, value, f"{name}_min", least, least, "is less than")


#: For finding the nearest allowed value; what is sent is never rounded.
_WIDE = decimal.Context(prec=250, traps=[])


def _broken(name: str, value: Decimal, rule: str, limit: Decimal, nearest: Decimal, words: str) -> Refused:
    return Refused(
        f"the {name} {plain(value)} {words} {plain(limit)}; the nearest allowed is {plain(nearest)}",
        code=rule,
        details={
            "field": name,
            "value": plain(value),
            "rule": rule,
            "limit": plain(limit),
            "nearest": plain(nearest),
        },
    )


@dataclass(slots=True)
class _Kept:
    answer: Any = None
    until: float = float("-inf")
    asking: threading.Lock = field(default_factory=threading.Lock)


class Memory:
    """Answers kept for `seconds`, with one question in flight per key: for exchanges that forbid to ask more often.

    A failure is not kept. Everybody who asks gets the same object. `clock` gives seconds that never go back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._all: dict[Hashable, _Kept] = {}

    def get(self, key: Hashable, fetch: Callable[[], Any]) -> Any:
        """The answer for `key`; from `fetch` when there is none or it is too old."""
        with self._lock:
            now = self._clock()
            for old in [name for name, kept in self._all.items() if kept.until <= now and not kept.asking.locked()]:
                del self._all[old]
            kept = self._all.setdefault(key, _Kept())
        with kept.asking:
            if kept.until <= self._clock():
                kept.answer = fetch()
                kept.until = self._clock() + self._seconds
            return kept.answer

    def forget(self, key: Hashable) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._all.pop(key, None)
