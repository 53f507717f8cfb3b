"""What the paper exchange trades at: looks at a market, and the source that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, Self

from ...money import EXACT
from ..models import Level, Market, Side

__all__ = ["Look", "LookSource", "PriceRange", "taken_of"]


@dataclass(frozen=True, slots=True)
class Look:
    """A market at one `time` (Unix seconds): its rules and fees, and what was offered on both sides, best first.

    `money_step`: the amounts of the currency that are posted are multiples of it.
    """

    time: float
    market: Market
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    money_step: Decimal

    @property
    def maker(self) -> Decimal:
        """Return the part of its value that an order pays which rested."""
        return self.market.maker_fee or Decimal(0)

    @property
    def taker(self) -> Decimal:
        """Return the part of its value that an order pays which takes what is offered."""
        return self.market.taker_fee or Decimal(0)

    @property
    def highest_fee(self) -> Decimal:
        """Return the part of its value that an order may have to pay, which is held until then."""
        return max(self.maker, self.taker)

    def best(self, side: Side) -> Decimal:
        """Return the price at which a market order begins."""
        return (self.asks if side == "buy" else self.bids)[0][0]

    def offers(self, side: Side, limit: Decimal | None = None) -> tuple[Level, ...]:
        """Return what an order can take, best first: all that is offered, or with a limit what is not worse."""
        levels = self.asks if side == "buy" else self.bids
        if limit is None:
            return levels
        return tuple(level for level in levels if (level[0] <= limit if side == "buy" else level[0] >= limit))

    def reaches_stop(self, side: Side, stop: Decimal) -> bool:
        """Return whether an order with this stop begins: a buy, as the ask has risen to it; a sell, as the bid fell."""
        return self.best(side) >= stop if side == "buy" else self.best(side) <= stop


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The extremes of the best prices at some looks: none of them reached an order whose price is beyond these."""

    lowest_ask: Decimal
    highest_ask: Decimal
    lowest_bid: Decimal
    highest_bid: Decimal

    @classmethod
    def of(cls, looks: Sequence[Look]) -> Self:
        """Return the range of one look or more."""
        asks, bids = [look.best("buy") for look in looks], [look.best("sell") for look in looks]
        return cls(min(asks), max(asks), min(bids), max(bids))


class LookSource(Protocol):
    """Where the prices of the paper exchange come from."""

    @property
    def seconds(self) -> float:
        """Return the least time between two looks that an order is held against, whoever looks: what stands there is
        counted once.
        """
        ...

    def look(self, currency: str, asset: str) -> Look:
        """Return a market as it is now; another exchange may be asked for it. Raises Refused while there is none."""
        ...

    def looks_since(self, currency: str, asset: str, minute: int) -> Iterable[Look]:
        """Return what is known of a market since a minute (since 1970), oldest first. Nothing is asked for it."""
        ...

    def pause(self, currency: str, asset: str) -> str | None:
        """Return in words why no order of a market is filled now; None: nothing is known that prevents it."""
        ...


def taken_of(levels: Iterable[Level], amount: Decimal) -> tuple[Level, ...]:
    """Return what an order for `amount` takes of `levels`, best first: all of it, or as much as is listed."""
    taken, left = [], amount
    for price, offered in levels:
        if not left:
            break
        part = min(left, offered)
        taken.append((price, part))
        left = EXACT.subtract(left, part)
    return tuple(taken)
