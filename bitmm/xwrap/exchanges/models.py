"""The records that adapters take and return.

Amounts are Decimal and exact, times are aware datetimes. `amount` counts units of the asset, `price` is currency per
unit of the asset, `cost` is currency. Currencies and assets have their common upper-case names ("USD", "BTC").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, Literal, TypeVar

__all__ = [
    "ORDER_CONDITIONS",
    "ORDER_FIELDS",
    "WITHDRAWAL_FIELDS",
    "Candle",
    "Deposit",
    "DepositAddress",
    "Estimate",
    "Fees",
    "Fill",
    "Funds",
    "HistoryPage",
    "Level",
    "Market",
    "NewOrder",
    "NewTransfer",
    "NewWithdrawal",
    "OrderBook",
    "OrderRef",
    "OrderState",
    "Rate",
    "Side",
    "Status",
    "Ticker",
    "TimeInForce",
    "Trade",
    "TransferState",
    "Withdrawal",
]

_T = TypeVar("_T")

Side = Literal["buy", "sell"]
#: How long a limit order is in force; see `exchanges.conditions`.
TimeInForce = Literal["GTC", "IOC", "FOK", "GTD"]
#: Where an order can be. "closed": it is over, and its exchange does not say how. "unknown" is an answer, too: it is
#: not known yet whether it was executed.
Status = Literal["open", "filled", "partly_filled", "canceled", "closed", "rejected", "unknown"]


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of the asset costs (`buy`, the best ask) and brings (`sell`, the best bid) now, in the currency."""

    buy: Decimal
    sell: Decimal
    time: datetime


#: One line of an order book: a price, and what is offered at it in units of the asset.
Level = tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The offers of others, best first: `bids` at falling prices, `asks` at rising ones; each price once, amounts > 0.

    `time`: when it was asked for, or the exchange's own time of it.
    """

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    time: datetime


@dataclass(frozen=True, slots=True)
class Ticker:
    """A market now, and in the last 24 hours: the `last` price, `high`, `low`, and the `volume` in units of the asset.

    `bid` and `ask`: the best prices now. None: the exchange does not say. `time`: as for an OrderBook.
    """

    last: Decimal | None
    high: Decimal | None
    low: Decimal | None
    volume: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    time: datetime


@dataclass(frozen=True, slots=True)
class Candle:
    """The prices of one interval, which begins at `time`; `volume` counts the asset."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade of a market, of whomever. `side`: of the one who took an offer that was there; None: not told."""

    id: str | None
    side: Side | None
    amount: Decimal
    price: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class Fees:
    """What a trade costs, as fractions of its value (0.0026 is 0.26 %): `maker` for an order that rests, else `taker`.

    `source`: "account", those of the key's account now, or "published", those of an account without any volume.
    """

    maker: Decimal
    taker: Decimal
    source: Literal["account", "published"]


@dataclass(frozen=True, slots=True)
class Funds:
    """What is owned of one currency or asset: `available` to orders, `held` by open orders, and `earning`: staked or
    lent, so that it must be taken back before it can be traded. None: the exchange does not say.
    """

    total: Decimal | None
    available: Decimal | None
    held: Decimal | None
    earning: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """One pair and its rules: steps and smallest amount and cost. None: no such rule, or the exchange names none.

    `maker_fee`, `taker_fee`: the published ones, as in `Fees`; None: the list of markets does not tell them.
    """

    currency: str
    asset: str
    price_step: Decimal | None = None
    amount_step: Decimal | None = None
    amount_min: Decimal | None = None
    cost_min: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to place. Either `amount` (of the asset) or `cost` is given: what a market order is to spend or, where
    the exchange has that, what a market sell is to bring, in the currency and without the fee.

    With `price` it is a limit order, without one a market order. `client_id` is ours: 32 lower-case hexadecimal digits
    of a UUID; an adapter turns it into what its exchange takes, always in the same way, so that `find` works.

    A limit order may have conditions: `post_only` (it is refused when it would be executed at once), `time_in_force`
    (None: the exchange's own, until it is canceled) and, with GTD, `expires`, a whole second.

    An order with a `stop` waits at its exchange: it begins when the market's price falls to it (a sell) or rises to it
    (a buy), and is then the market order, or with `price` the limit order, that it would be without.
    """

    side: Side
    currency: str
    asset: str
    client_id: str
    amount: Decimal | None = None
    price: Decimal | None = None
    cost: Decimal | None = None
    post_only: bool = False
    time_in_force: TimeInForce | None = None
    expires: datetime | None = None
    stop: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an order would cost, or bring, if it were executed now, as far as the exchange says it; None: it does not.

    `price` is the best one of a unit of the asset now, `average` the mean one of the whole order, and `slippage` the
    part of the best price by which that of what is executed at once is worse. `spent` counts the currency, without the
    fee. `amount`: of an order for a cost, about so much of the asset changes hands.
    """

    price: Decimal | None
    spent: Decimal | None
    fee: Decimal | None = None
    fee_currency: str | None = None
    average: Decimal | None = None
    slippage: Decimal | None = None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderRef:
    """What is known of an order that was placed, or may have been.

    `missed_since`: when the first question was answered that did not find it, although it must have arrived before if
    it was sent at all; None: there was no such question. An order that may have rested in the book until a moment
    before that answer is proved to be missing by a second question only.

    `not_before`: where `created` is not known, it was not created before this time.

    `is_over`: its exchange said that it is not open, by taking its cancel or by refusing it for that; so that it is not
    listed as open is no matter of its age.
    """

    side: Side
    currency: str
    asset: str
    client_id: str
    exchange_order_id: str | None = None
    created: datetime | None = None
    amount: Decimal | None = None
    price: Decimal | None = None
    missed_since: datetime | None = None
    not_before: datetime | None = None
    is_over: bool = False
    time_in_force: TimeInForce | None = None
    stop: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as its exchange shows it now. None: the exchange does not say, and nothing is invented.

    `filled` counts the asset, `average` is the mean price of the fills, `spent` is the currency paid (or got, for a
    sell) without the fee, `fee` counts `fee_currency`. `reason`: why it is rejected, expired, or "closed",
    in words. `stop`: the price at which it begins, or has begun.
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
    reason: str | None = None
    stop: Decimal | None = None


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
class HistoryPage(Generic[_T]):
    """A part of a long list. `next`: the cursor of the part that follows, which may be an empty one; None: the end."""

    rows: list[_T]
    next: str | None


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
class NewTransfer(NewWithdrawal):
    """A transfer to another account of the same owner at the exchange, which needs no address outside of it.

    `address` is what the exchange calls that account (`transfer_account`); `to_registration` is the id of the
    registration here that has a key of it.
    """

    to_registration: int = 0


@dataclass(frozen=True, slots=True)
class TransferState:
    """A transfer as its exchange took it. `id`: the exchange's; None: it tells none."""

    id: str | None
    status: Literal["pending", "done"]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A send as its exchange shows it now."""

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


#: What a caller sees of an order and of a send, in the order of the JSON. The records here have most of it; the server
#: adds its own id, the key, the type and the times. The journal's columns and every other list of names follow.
ORDER_FIELDS = (
    "id",
    "key",
    "exchange_order_id",
    "side",
    "type",
    "currency",
    "asset",
    "amount",
    "price",
    "cost",
    "status",
    "filled",
    "average",
    "spent",
    "fee",
    "fee_currency",
    "reason",
    "created",
    "updated",
)
#: What a caller sees besides of an order that was placed with it; it is not there in any other order.
ORDER_CONDITIONS = ("post_only", "time_in_force", "expires", "stop")
WITHDRAWAL_FIELDS = (
    "id",
    "key",
    "asset",
    "amount",
    "fee",
    "address",
    "tag",
    "network",
    "txid",
    "status",
    "created",
)
