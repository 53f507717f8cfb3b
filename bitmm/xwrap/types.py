"""What the client returns, as typed dicts, and the kinds of values in them.

Amounts are Decimal with exactly the digits that the server sent. `amount` counts units of the asset on every exchange;
prices are in units of the currency for one unit of the asset. Times are ISO 8601 text in UTC. None means not known, or
no such rule; a server may send more fields than stand here.
"""

# Without `from __future__ import annotations`: which fields are amounts is read from the annotations, at import.
from decimal import Decimal
from typing import Literal, NotRequired, TypedDict

from ._history_types import EntryKind, LedgerEntry
from ._market_types import BackendValue, Candle, Fees, Level, Market, Offer, OrderBook, Ticker, Trade, Value

__all__ = [
    "Account",
    "AllowedAddress",
    "Amount",
    "AuditRow",
    "BackendValue",
    "Balance",
    "CanceledOrders",
    "Candle",
    "Credential",
    "DeadMansSwitch",
    "Deposit",
    "DepositAddress",
    "EntryKind",
    "Exchange",
    "ExchangeRate",
    "Fees",
    "Fill",
    "FormField",
    "Freeze",
    "Funds",
    "LedgerEntry",
    "Level",
    "Market",
    "NewCredential",
    "Offer",
    "Order",
    "OrderBook",
    "OrderStatus",
    "OrderType",
    "Rate",
    "Refusal",
    "Side",
    "Ticker",
    "TimeInForce",
    "Trade",
    "Value",
    "Withdrawal",
    "WithdrawalStatus",
]

#: What callers may pass as an amount; text is decimal text, such as "0.1".
Amount = Decimal | int | str

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit"]
#: How long a limit order is in force: see `Backend.buy`.
TimeInForce = Literal["GTC", "IOC", "FOK", "GTD"]
#: canceled, rejected and filled orders are final, and so is one that was partly_filled before it was canceled. One that
#: is closed is over too: its exchange does not say whether it was filled or canceled.
OrderStatus = Literal["open", "filled", "partly_filled", "canceled", "closed", "rejected", "unknown"]
WithdrawalStatus = Literal["pending", "done", "failed", "rejected", "unknown"]


class FormField(TypedDict):
    """One thing that a registration at an exchange wants; `help` says what it is.

    `name`: what `create_backend` takes it as; `username`, `apikey` and `apisecret` are its `uname`, `key` and `secret`.
    """

    name: str
    help: str
    required: bool
    secret: bool


class Exchange(TypedDict):
    """An exchange that the server offers: `id` is what `create_backend` takes, and `form` what it wants there.

    `status`: whether it trades, is history, or has no real money. `available`: whether it can be asked now; one without
    an address of its own cannot, before the administrator names it. `can`: the operations that it supports. A server of
    2013 sends an id, a name and a description.
    """

    id: str
    name: str
    description: str
    status: NotRequired[Literal["open", "closed", "paper"]]
    available: NotRequired[bool]
    can: NotRequired[list[str]]
    form: NotRequired[list[FormField]]


class Rate(TypedDict):
    """What one unit of the asset costs you (`buy`) and brings you (`sell`) now, in units of the currency.

    `time`: when it was asked; a server of 2013 sends none.
    """

    buy: Decimal
    sell: Decimal
    time: NotRequired[str]


class ExchangeRate(Rate):
    """The rate at one exchange. `exchange`: its id. `id`: the row's, which is the exchange's again.

    Where an amount was asked for, also what an order of that size would cost, or bring, by the order book and the
    published fees, as in an `Offer`.
    """

    id: NotRequired[str]
    exchange: str
    amount: NotRequired[Decimal]
    average: NotRequired[Decimal | None]
    spent: NotRequired[Decimal]
    fee: NotRequired[Decimal | None]
    fee_source: NotRequired[Literal["published"] | None]
    total: NotRequired[Decimal | None]
    reason: NotRequired[str | None]


class _Balance(TypedDict):
    id: int
    exchange: str
    balance: dict[str, Decimal]


class Balance(_Balance, total=False):
    """The balance of one registration: units by currency or asset, open orders included.

    `id`: the registration's. `exchange`: the exchange's id. Where the exchange failed, `balance` is empty and `error`
    says why.
    """

    error: str


class Refusal(TypedDict, total=False):
    """Why an order or a send was refused: what was answered to it, as the fields of an `APIError`.

    `detail`: the words. `field`, `value`: what was wrong, if it was one field. `rule`, `limit`, `nearest`: the market's
    rule that it broke, and the nearest value that is allowed, in plain digits.
    """

    detail: str
    code: str
    retryable: bool
    may_have_executed: bool
    key: str
    field: str
    value: str
    rule: str
    limit: str
    nearest: str


class Order(TypedDict):
    """An order as the server knows it; one of 2013 leaves out what it does not know.

    `id`: the server's own. `key`: its idempotency key. In an order that was placed elsewhere only `exchange_order_id`
    is certain; all else, `id` and `key` first, may be None. So may all that is not known before it is placed in the
    answer to a dry run, which alone has `dry_run`, `slippage` and `remaining`. There `average`, `spent` and `fee` are
    estimates by the order book and the fees now, and a market order's `price` is the best one, or its stop; None where
    the exchange does not say. `slippage`: the part of the best price by which the mean one is worse. `remaining`: of
    the currency of a buy, after the fee, or of the asset of a sell.

    `amount` and `filled`: units of the asset. `price`: the limit, None for a market order. `cost`: units of the
    currency to spend, or for a sell to get, where that was asked for. `average`: the mean price of what was filled.
    `spent`: units of the currency paid (got, for a sell), without the fee. `fee`: units of `fee_currency`. `reason`:
    why it was rejected or expired, or what is known of one that is closed. `created`, `updated`: times. `error`: only
    where a refused one is asked for by its key. `post_only`, `time_in_force`, `expires`, `stop`: only where the order
    was placed with them. `replaces`: only after `amend`, the id of the order whose place it takes.
    """

    id: int
    key: str
    exchange_order_id: str | None
    side: Side
    type: OrderType
    currency: str
    asset: str
    amount: Decimal | None
    price: Decimal | None
    cost: Decimal | None
    status: OrderStatus
    filled: Decimal | None
    average: Decimal | None
    spent: Decimal | None
    fee: Decimal | None
    fee_currency: str | None
    reason: str | None
    created: str
    updated: str
    post_only: NotRequired[Literal[True]]
    time_in_force: NotRequired[TimeInForce]
    expires: NotRequired[str]
    stop: NotRequired[Decimal]
    replaces: NotRequired[int]
    slippage: NotRequired[Decimal | None]
    remaining: NotRequired[Decimal | None]
    dry_run: NotRequired[Literal[True]]
    error: NotRequired[Refusal]


class Funds(TypedDict):
    """Units of one currency or asset at the exchange: all, those free to use, and those held by open orders.

    `earning`: those that are staked or lent, and must be taken back before they can be traded.
    """

    total: Decimal | None
    available: Decimal | None
    held: Decimal | None
    earning: Decimal | None


class Fill(TypedDict):
    """One execution of an order, or of a part of it.

    `id`: the exchange's. `amount`: units of the asset. `price`: for one unit. `fee`: units of `fee_currency`.
    """

    id: str
    exchange_order_id: str | None
    side: Side
    currency: str
    asset: str
    amount: Decimal
    price: Decimal
    fee: Decimal | None
    fee_currency: str | None
    time: str


class Withdrawal(TypedDict):
    """A send as the server knows it.

    `id`: the server's own. `key`: its idempotency key. `amount` and `fee`: units of the asset. `txid`: the transaction
    in the asset's network. `created`: a time. `error`: only where a refused one is asked for by its key. `to`: only of
    a transfer, the registration that gets it; `address` is then what the exchange calls the account there.
    """

    id: int
    key: str
    asset: str
    amount: Decimal
    fee: Decimal | None
    address: str
    to: NotRequired[int]
    tag: str | None
    network: str | None
    txid: str | None
    status: WithdrawalStatus
    created: str
    error: NotRequired[Refusal]


class DepositAddress(TypedDict):
    """Where to send `asset` to; with a `tag`, both are needed or the money is lost."""

    asset: str
    address: str
    tag: str | None
    network: str | None


class Deposit(TypedDict):
    """Something that came in. `id`: the exchange's. `amount`: units of the asset. `txid`: as in a withdrawal."""

    id: str
    asset: str
    amount: Decimal
    status: Literal["pending", "done", "failed"]
    address: str | None
    tag: str | None
    network: str | None
    txid: str | None
    time: str | None


class AllowedAddress(TypedDict):
    """An address that sends of an account may go to: with this tag and over this network, and none where that is None.

    `id`: the server's own. `per_send`: the most that one send may be, `per_day`: the most within any 24 hours, in units
    of the asset; None: without a limit. `usable_from`: before that time nothing is sent to it. `removed`: when it was
    taken from the list.
    """

    id: int
    asset: str
    address: str
    network: str | None
    tag: str | None
    label: str
    per_send: Decimal | None
    per_day: Decimal | None
    created: str
    usable_from: str
    removed: str | None


class Account(TypedDict):
    """The account that calls, and what the caller may do: "read", "trade", "send", or "owner" with its own password.

    `username`: of the account itself, or of a credential like "ann/bot1". `frozen`: since when neither an order nor a
    send leaves. `created` and `frozen` are times in ISO 8601, UTC.
    """

    id: int
    name: str
    username: str
    scope: Literal["read", "trade", "send", "owner"]
    frozen: str | None
    created: str


class Credential(TypedDict):
    """A named password of an account, which logs in as `username` and may do less than the account's own.

    `exchanges`: ids of registrations, `pairs`: as "BTC/USD"; None: all. `per_order` and `per_day`: the most that one
    order or send may count, and all of any 24 hours together, in units of `currency`; `used`: what is used of that. It
    may do nothing from `expires` on. `last_used`: within a minute. `revoked`: when it was; None: it was not.
    """

    name: str
    scope: Literal["read", "trade", "send"]
    exchanges: list[int] | None
    pairs: list[str] | None
    per_order: Decimal | None
    per_day: Decimal | None
    currency: str | None
    expires: str | None
    created: str
    last_used: str | None
    revoked: str | None
    used: Decimal | None


class NewCredential(Credential):
    """A credential that was just made. The `password` is told only here: keep it, and do not print the record."""

    username: str
    password: str


class AuditRow(TypedDict):
    """What was done with an account, by whom, when and from where.

    `id`: the server's own. `time`: a time. `who`: the user name of the caller, "administrator" or "server". `address`:
    the IP address of the caller. `what`: as "order.buy" or "key.replace". `subject`: what it was done to, as "order 7".
    """

    id: int
    time: str
    who: str
    address: str
    what: str
    subject: str
    details: dict[str, str]


class CanceledOrders(TypedDict):
    """What became of the orders of one registration when its account was frozen.

    `canceled`: how many orders; None: not done yet, the `error` says why, and the server tries it until it worked.
    """

    id: int
    exchange: str
    canceled: int | None
    error: NotRequired[str]


class Freeze(TypedDict):
    """Since when an account is `frozen`; with a row for each registration whose orders were to be canceled."""

    frozen: str
    canceled: list[CanceledOrders]


class DeadMansSwitch(TypedDict):
    """The switch of a registration: all its orders are canceled at `deadman_at`, unless it is renewed before.

    None: it is off. `at_exchange`: the exchange's own timer is set as well.
    """

    id: int
    exchange: str
    deadman_seconds: int | None
    deadman_at: str | None
    at_exchange: bool
