"""What becomes of an order at a look: what it takes at once, and what rests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from ...money import EXACT, mean, total
from ..conditions import ends_at_once, would_take
from ..errors import Refused
from ..fillings import fill_cost
from ..models import Estimate, Level, NewOrder
from ..rules import check
from .executions import Execution
from .looks import Look, taken_of

__all__ = ["BOOK_ENDED", "Plan", "estimate", "plan_order"]

_ZERO = Decimal(0)
#: Why the rest of a market order is canceled: what others offer beyond the listed prices is not known.
BOOK_ENDED = "the order book listed no more"


@dataclass(frozen=True, slots=True)
class Plan:
    """`amount` units are ordered in all, `parts` of them are taken at once, `rest` is left; `waits`: for its stop.

    `reason`: why the rest is canceled; None: there is none, or it rests.
    """

    amount: Decimal
    parts: tuple[Level, ...]
    rest: Decimal
    waits: bool
    reason: str | None


def plan_order(name: str, order: NewOrder, look: Look) -> Plan:
    """Return what becomes of an order at the paper exchange, called `name`.

    Raises Refused for one that breaks the rules of the market, or that is to rest and would be executed.
    """
    waits = order.stop is not None and not look.reaches_stop(order.side, order.stop)
    levels = () if waits else look.offers(order.side, order.price)
    amount, is_short = order.amount, False
    if order.cost is not None and order.amount is None:
        amount = fill_cost(levels, order.cost, look.market.amount_step).amount
        is_short = total(EXACT.multiply(*level) for level in levels) < order.cost
    _check_rules(order, amount, look)
    wanted = amount or _ZERO
    parts = taken_of(levels, wanted)
    if order.post_only and parts:
        raise would_take(name)
    rest = EXACT.subtract(wanted, total(part for _, part in parts))
    if order.time_in_force == "FOK" and rest:
        parts, rest = (), wanted
    reason = None
    if order.price is None and not waits and (rest or is_short):
        reason = BOOK_ENDED
    elif rest and ends_at_once(order):
        what = "what was not filled at once was canceled" if parts else "nobody takes it at this price now"
        reason = f"{order.time_in_force}: {what}"
    return Plan(wanted, parts, rest, waits, reason)


def estimate(order: NewOrder, look: Look, plan: Plan) -> Estimate:
    """Return what an order costs: what it takes at once now, and the rest later at its limit or its stop.

    Raises Refused `book_exhausted` when the book lists less than a market order wants.
    """
    if plan.reason == BOOK_ENDED:
        raise Refused(
            "the order book lists less than is wanted, and the rest would be canceled; give a price, or order less",
            code="book_exhausted",
            details={"field": "amount" if order.cost is None else "cost"},
        )
    taken = Execution(order.side, look.money_step).and_parts(plan.parts, look.taker)
    price = plan.parts[0][0] if plan.parts else order.price or order.stop or look.best(order.side)
    rest = () if plan.reason is not None or not plan.rest else ((order.price or order.stop or price, plan.rest),)
    whole = taken.and_parts(rest, look.taker if plan.waits else look.maker)
    worse = abs(EXACT.subtract(taken.average or price, price))
    return Estimate(
        price=price,
        spent=whole.spent,
        fee=whole.fee,
        fee_currency=order.currency,
        average=whole.average or price,
        slippage=mean(worse, price),
        amount=None if order.cost is None else plan.amount,
    )


def _check_rules(order: NewOrder, amount: Decimal | None, look: Look) -> None:
    """Raise Refused for an order that breaks the rules of its market, or is for nothing."""
    market = look.market
    check(order, market)
    if order.cost is not None:
        check(replace(order, amount=amount, cost=None), market)
    if amount is None or amount <= 0:
        raise Refused("the amount is not above zero", code="invalid_amount", details={"field": "amount"})
    if order.price is None and order.cost is None:
        # A limit order was measured by its limit.
        worth = EXACT.multiply(amount, order.stop or look.best(order.side))
        check(replace(order, amount=None, cost=worth, stop=None), market)
