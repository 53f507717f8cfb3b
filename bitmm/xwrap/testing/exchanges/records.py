"""What a local exchange trades with: pairs, accounts, orders, fills and transfers, and why it refuses one."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any, NamedTuple

__all__ = ["ZERO", "Account", "Fill", "Order", "Pair", "Reject", "Take", "Transfer", "fits", "pair", "places"]

ZERO = Decimal(0)


class Reject(Exception):
    """Why the core refused: insufficient_funds, unknown_pair, amount_min, cost_min, amount_places, price_places,
    no_liquidity, post_only, order_not_found, order_not_open. A venue answers it as its exchange does.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Pair:
    """One market and its rules. `asks` and `bids` are standing offers (price, amount), which no order uses up."""

    asset: str
    currency: str
    asks: list[tuple[Decimal, Decimal]]
    bids: list[tuple[Decimal, Decimal]]
    price_places: int = 2
    amount_places: int = 8
    #: Money is booked with this many decimals.
    cost_places: int = 4
    amount_min: Decimal = Decimal("0.0001")
    cost_min: Decimal = Decimal("0.5")
    fee: Decimal = Decimal("0.0026")

    @property
    def name(self) -> str:
        return f"{self.asset}/{self.currency}"


def pair(asset: str, currency: str, ask: str, bid: str, **rules: Any) -> Pair:
    """Return a pair with three standing offers on each side, 0.1 % apart: 1, 2 and 5 units of the asset."""
    made = Pair(asset, currency, [], [], **rules)
    step = Decimal(1).scaleb(-made.price_places)
    for offers, best, away in ((made.asks, Decimal(ask), 1), (made.bids, Decimal(bid), -1)):
        for level, amount in enumerate((1, 2, 5)):
            price = (best * (1000 + away * level) / 1000).quantize(step)
            offers.append((price, Decimal(amount)))
    return made


@dataclass
class Account:
    """The owner of a key. `permissions` are named as the exchange does; `nonce` is the highest (or last) one seen."""

    key: str
    secret: str
    permissions: set[str]
    balances: dict[str, Decimal]
    nonce: int = 0
    nonces: dict[Any, float] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Fill:
    id: str
    order: Order
    price: Decimal
    amount: Decimal
    cost: Decimal
    fee: Decimal
    fee_currency: str
    maker: bool
    time: float


@dataclass
class Order:
    """`status` is open, filled or canceled; a market order that the book cannot fill ends canceled, partly filled.

    `amount` is None for an order by `cost`. `details` has room for what only one protocol has.
    """

    id: str
    client_id: str | None
    account: Account
    pair: Pair
    side: str
    amount: Decimal | None
    price: Decimal | None
    cost: Decimal | None
    time: float
    status: str = "open"
    closed: float | None = None
    fills: list[Fill] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    #: When it is canceled by itself, in Unix seconds, and whether it was.
    expires: float | None = None
    is_expired: bool = False
    #: The price that it waits for; None: for none, or it was reached.
    stop: Decimal | None = None

    @property
    def limit_price(self) -> Decimal:
        """The price of a limit order. A market order has none, and never rests in the book."""
        if self.price is None:
            raise ValueError("a market order has no limit price")
        return self.price

    @property
    def is_in_book(self) -> bool:
        """Whether it is a limit order that others can take."""
        return self.price is not None and self.stop is None

    @property
    def filled(self) -> Decimal:
        return sum((fill.amount for fill in self.fills), ZERO)

    @property
    def spent(self) -> Decimal:
        return sum((fill.cost for fill in self.fills), ZERO)

    @property
    def fee(self) -> Decimal:
        return sum((fill.fee for fill in self.fills), ZERO)

    @property
    def average(self) -> Decimal | None:
        return self.spent / self.filled if self.fills else None

    @property
    def left(self) -> Decimal:
        return ZERO if self.amount is None else self.amount - self.filled


@dataclass
class Transfer:
    """A withdrawal or a deposit; `amount` is what left or reached the account, `fee` included."""

    id: str
    account: Account
    asset: str
    amount: Decimal
    fee: Decimal
    address: str
    tag: str | None
    network: str | None
    client_id: str | None
    time: float
    status: str = "pending"
    txid: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Take(NamedTuple):
    """A part of an order that the book can fill: by a standing offer, or by the resting order of another account."""

    price: Decimal
    amount: Decimal
    rest: Order | None


def places(amount: Decimal, digits: int) -> str:
    """`amount` as text with exactly `digits` decimals, cut (exchanges show what was booked, not more)."""
    return f"{amount.quantize(Decimal(1).scaleb(-digits), ROUND_DOWN):f}"


def fits(amount: Decimal, digits: int) -> bool:
    """Whether `amount` has at most `digits` decimals."""
    return len(f"{amount:f}".partition(".")[2].rstrip("0")) <= digits
