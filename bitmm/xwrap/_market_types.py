"""What the client returns about markets, as typed dicts; see `types`."""

# Without `from __future__ import annotations`: which fields are amounts is read from the annotations, at import.
from decimal import Decimal
from typing import Literal, NotRequired, TypedDict

__all__ = [
    "BackendValue",
    "Candle",
    "Fees",
    "Level",
    "Market",
    "Offer",
    "OrderBook",
    "Ticker",
    "Trade",
    "Value",
]

#: A price, and how many units of the asset are offered at it.
Level = tuple[Decimal, Decimal]


class Market(TypedDict):
    """One pair and its rules.

    `price_step`: prices are multiples of it. `amount_step`, `amount_min`: amounts are multiples of the one and at least
    the other, in units of the asset. `cost_min`: amount times price is at least this, in units of the currency.
    `maker_fee`, `taker_fee`: the published fees as in `Fees`; an older server sends none.
    """

    currency: str
    asset: str
    price_step: Decimal | None
    amount_step: Decimal | None
    amount_min: Decimal | None
    cost_min: Decimal | None
    maker_fee: NotRequired[Decimal | None]
    taker_fee: NotRequired[Decimal | None]


class Offer(TypedDict):
    """What a market order would cost, or bring, at one registration; None: it is not known, and `reason` says why.

    `id`: the registration's. `amount`: units of the asset. `average`: the mean price. `spent`: units of the currency
    paid, or got, without the fee; `total`: paid with the fee, or got after it. `fee_source`: as in `Fees`. `reason`:
    why the order would not be executed there, with what is there instead in the other fields; None: it would.
    """

    id: int
    exchange: str
    amount: Decimal | None
    average: Decimal | None
    spent: Decimal | None
    fee: Decimal | None
    fee_source: Literal["account", "published"] | None
    total: Decimal | None
    reason: str | None


class BackendValue(TypedDict):
    """What one registration is worth. None: its exchange failed, and `error` says why."""

    id: int
    exchange: str
    total: Decimal | None
    not_priced: dict[str, Decimal | None]
    error: NotRequired[str]


class Value(TypedDict):
    """What an account is worth: the `total` in units of `currency`, without fees; the exact sum of those of `backends`.

    `not_priced`: amounts by currency or asset that it does not have, because no market of their exchange prices them;
    None where the exchange tells no amount.
    """

    currency: str
    total: Decimal
    not_priced: dict[str, Decimal | None]
    backends: list[BackendValue]


class OrderBook(TypedDict):
    """The offers of others: `bids` with the highest price first, `asks` with the lowest one first."""

    bids: list[Level]
    asks: list[Level]
    time: str


class Ticker(TypedDict):
    """The last price, the figures of 24 hours and the best prices now; `volume` counts units of the asset."""

    last: Decimal | None
    high: Decimal | None
    low: Decimal | None
    volume: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    time: str


class Candle(TypedDict):
    """The prices of the interval that begins at `time`; `volume` counts units of the asset."""

    time: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Trade(TypedDict):
    """One trade of a market, of whomever. `side`: of the one who took an offer that was there, where it is told."""

    id: str | None
    side: Literal["buy", "sell"] | None
    amount: Decimal
    price: Decimal
    time: str


class Fees(TypedDict):
    """What a trade costs, as fractions of its value: 0.0026 is 0.26 %.

    `maker`: of an order that rests in the book; `taker`: of one that is executed at once. `source`: "account", those of
    the account of the exchange key now, or "published", those of an account without any volume.
    """

    maker: Decimal
    taker: Decimal
    source: Literal["account", "published"]
