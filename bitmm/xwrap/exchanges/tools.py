"""What the adapters share: asking once, reading an answer, following an order, the rules of a market."""

from __future__ import annotations

import decimal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

from ..errors import APIError, OutcomeUnknown
from ..money import EXACT, number, plain
from .base import Busy, ExchangeError, Market, NewOrder, OrderState, Refused, Unknown

if TYPE_CHECKING:
    from ..transport import Request, Response, Transport


def ask(transport: Transport, request: Request, name: str, *, mutates: bool) -> Response:
    """Send `request` once to the exchange called `name`; whatever the status, the answer is for the adapter to read.

    `mutates`: the request places, cancels or sends. Raises Unknown when such a request may have arrived and no answer
    came back, and Refused with code exchange_unavailable when nothing was executed (a read executes nothing).
    """
    try:
        return transport.send(request)
    except OutcomeUnknown as error:
        if mutates:
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
def understood(name: str, *, mutates: bool = False) -> Iterator[None]:
    """Around the reading of a good answer of the exchange called `name`: what does not fit is not believed.

    A missing field, a number that is none, another order than the one asked for: KeyError, TypeError, ValueError and
    their like become Unknown when the request `mutates` something, and Refused with code exchange_unavailable when not.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        words = f"{name}'s answer cannot be understood ({type(error).__name__}: {str(error)[:100]})"
        raise no_outcome(words, mutates=mutates) from error


def no_outcome(words: str, *, mutates: bool) -> ExchangeError:
    """What an answer is that tells no outcome: Unknown when the request `mutates` something, else a refused read."""
    if mutates:
        return Unknown(f"{words}; the outcome is unknown")
    return Refused(words, code="exchange_unavailable", retryable=True)


def retry_after(answer: Response, *, seconds: float) -> float:
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
    return decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN, traps=[]).divide(cost, amount) if amount else None


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
