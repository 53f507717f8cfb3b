"""The rows of ccxt, read: markets, orders, fills and transfers.

What does not fit raises ValueError, TypeError or KeyError: see `http.parsing_errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from ..._addresses import same_address
from ...money import EXACT, mean, parse_decimal, total
from ..http import PARSING_ERRORS
from ..models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Side,
    Status,
    Withdrawal,
)
from ..orders import listed_order
from ..parsing import (
    address_and_tag,
    consistent_funds,
    optional,
    optional_amount,
    readable_rows,
    required_text,
    step_from_places,
    time_from_milliseconds,
)
from ..rules import network_required
from .client_ids import our_id
from .rows import is_odd

__all__ = [
    "check_same_withdrawal",
    "choose_network",
    "closed_pairs",
    "deposit_address_from_row",
    "deposit_from_row",
    "fill_from_row",
    "funds_from_rows",
    "is_spot_symbol",
    "open_orders_from_rows",
    "order_from_remaining",
    "order_from_row",
    "order_with_fills",
    "spot_markets",
    "symbol_of",
    "withdrawal_from_row",
]

_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_DEPOSIT_STATUSES: dict[str, Literal["pending", "done", "failed"]] = {
    "ok": "done",
    "failed": "failed",
    "canceled": "failed",
}
_WITHDRAWAL_STATUSES: dict[str, Literal["pending", "done", "failed"]] = {**_DEPOSIT_STATUSES, "pending": "pending"}
_OVER = {"closed", "canceled", "expired", "rejected"}

#: ccxt's precisionMode: the number of decimals, or the size of a step. Significant digits (3) are no step.
_DECIMALS, _STEPS = 2, 4


def spot_markets(ccxt: Any) -> dict[tuple[str, str], Market]:
    """Return the spot markets, by (currency, asset), of a ccxt object that has loaded its markets."""

    def market_from_row(row: Mapping[str, Any]) -> Market:
        return Market(
            currency=row["quote"],
            asset=row["base"],
            price_step=_step(row["precision"].get("price"), ccxt.precisionMode),
            amount_step=_step(row["precision"].get("amount"), ccxt.precisionMode),
            amount_min=optional_amount(row["limits"]["amount"].get("min")),
            cost_min=optional_amount(row["limits"]["cost"].get("min")),
            maker_fee=_fee(row, "maker"),
            taker_fee=_fee(row, "taker"),
        )

    markets = readable_rows(f"{ccxt.name} (ccxt)", _spot_rows(ccxt), market_from_row)
    return {(market.currency, market.asset): market for market in markets}


def _fee(row: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a published fee as a fraction; None where ccxt has none, or one that is no part of the value."""
    fee = row.get(name)
    return parse_decimal(fee) if isinstance(fee, str) and row.get("percentage") is not False else None


def closed_pairs(ccxt: Any) -> frozenset[tuple[str, str]]:
    """Return those spot markets, as (currency, asset), that take no new orders. Orders of before are still there."""
    return frozenset((row["quote"], row["base"]) for row in _spot_rows(ccxt) if row.get("active") is False)


def _spot_rows(ccxt: Any) -> list[Mapping[str, Any]]:
    rows = ccxt.markets.values()
    return [row for row in rows if row.get("spot") and row.get("symbol") == f"{row.get('base')}/{row.get('quote')}"]


def _step(precision: object, mode: int) -> Decimal | None:
    if precision is None or mode not in (_DECIMALS, _STEPS):
        return None
    value = parse_decimal(str(precision))
    if mode == _DECIMALS:
        return step_from_places(int(value))
    return value or None


def funds_from_rows(rows: Mapping[str, Mapping[str, Any]], name: str) -> tuple[str, Funds]:
    """Return the name of a currency or an asset, and what ccxt's balance says that is owned of it.

    ccxt adds up and subtracts what an exchange does not tell; what is available may be below zero then.
    """
    total, free, used = (optional(parse_decimal, rows[part].get(name)) for part in ("total", "free", "used"))
    return name, consistent_funds(total, free, used)


def is_spot_symbol(symbol: object) -> bool:
    """Return whether a symbol is that of a spot market ("BTC/EUR"), and not of futures ("BTC/EUR:EUR")."""
    return isinstance(symbol, str) and ":" not in symbol


def _pair_of_symbol(symbol: object) -> tuple[str | None, str | None]:
    """Return currency and asset of a spot symbol; None twice for any other, which we have no names for."""
    if not isinstance(symbol, str) or not is_spot_symbol(symbol) or "/" not in symbol:
        return None, None
    asset, _, currency = symbol.partition("/")
    return currency or None, asset or None


def order_from_row(row: Mapping[str, Any], ref: OrderRef | None = None, *, with_client_id: bool) -> OrderState:
    """Return an order of ccxt. Raises ValueError when it contradicts `ref`.

    `with_client_id`: the exchange stores the ids that we give. Where an exchange reports no cost, `spent` is ccxt's
    product of amount and mean price.
    """
    if is_odd(row):
        raise ValueError("its row was not understood")
    currency, asset = _pair_of_symbol(row.get("symbol"))
    limit = str(row.get("type")).lower() == "limit" or (ref is not None and ref.price is not None)
    filled, spent = optional_amount(row.get("filled")), _cost(row.get("cost"))
    amount = optional_amount(row.get("amount"))
    if ref is not None and (amount is None or ref.amount is None):
        # A market buy for a cost has no amount, and some classes then report the cost as one.
        amount = ref.amount
    status = _order_status(row.get("status"), amount, filled)
    state = OrderState(
        exchange_order_id=required_text(row["id"]),
        status=status,
        side=None if row.get("side") is None else _side(row["side"]),
        currency=currency,
        asset=asset,
        amount=amount,
        price=optional_amount(row.get("price")) if limit else None,
        filled=filled,
        average=mean(spent, filled) if spent and filled else None,
        spent=spent,
        client_id=our_id(row.get("clientOrderId")) if with_client_id else None,
        created=optional(time_from_milliseconds, row.get("timestamp")),
        reason="its exchange does not tell how much of it was filled" if status == "closed" else None,
        stop=_stop_of(row),
        **_fee_fields(row),
    )
    if ref is not None:
        _check_same_order(state, ref)
        if ref.stop is not None and state.stop is None:
            raise ValueError("an order without the stop that was asked for")
    return state


def _stop_of(row: Mapping[str, Any]) -> Decimal | None:
    """Return the price at which an order begins; a price at which profit is taken is none, nor is one that is odd."""
    with suppress(*PARSING_ERRORS):
        trigger = row.get("triggerPrice") if row.get("takeProfitPrice") is None else None
        return optional_amount(row.get("stopLossPrice") or trigger) or None
    return None


def _side(word: object) -> Side:
    """Return the side for ccxt's word, in any case: Zebpay's class passes on the "BUY" of its exchange (ccxt 4.5.90).

    Raises KeyError for any other word.
    """
    return _SIDES[str(word).lower()]


def _cost(value: object) -> Decimal | None:
    """Return the cost of an order; None where it is not told: Binance has a number below zero then ("Query Order")."""
    cost = optional(parse_decimal, value)
    return None if cost is None or cost < 0 else cost


def order_from_remaining(row: Mapping[str, Any], ref: OrderRef | None = None, *, with_client_id: bool) -> OrderState:
    """Return an open order of an exchange that lists what is left of it, which ccxt takes for its amount.

    What it was, and so what is filled, is known with `ref` alone.
    """
    left = optional_amount(row["remaining"])
    known = {**row, "type": row.get("type") or "limit", "amount": None, "filled": None, "cost": None}
    state = order_from_row(known, ref, with_client_id=with_client_id)
    if ref is None or ref.amount is None or left is None:
        return state
    if left > ref.amount:
        raise ValueError("more is left than was ordered")
    return replace(state, amount=ref.amount, filled=EXACT.subtract(ref.amount, left))


def open_orders_from_rows(
    name: str, rows: Iterable[Mapping[str, Any]], parse: Callable[[Mapping[str, Any]], OrderState]
) -> list[OrderState]:
    """Return the spot orders among `rows` of open orders. One that `parse` does not understand hides no other."""
    spot = [row for row in rows if row.get("symbol") is None or is_spot_symbol(row["symbol"])]
    return [listed_order(name, required_text(row["id"]), partial(parse, row)) for row in spot]


def symbol_of(state: OrderState) -> str | None:
    """Return the symbol of an order's market; None when the order does not say it."""
    return None if state.asset is None or state.currency is None else f"{state.asset}/{state.currency}"


def _check_same_order(state: OrderState, ref: OrderRef) -> None:
    """Raise ValueError when a field that both know differs. (Much of an order may be missing in ccxt's answers.)"""
    for name in ("exchange_order_id", "side", "currency", "asset", "amount", "price"):
        reported, known = getattr(state, name), getattr(ref, name)
        if None not in (reported, known) and reported != known:
            raise ValueError("another order than the one asked for")


def _order_status(word: object, amount: Decimal | None, filled: Decimal | None) -> Status:
    """Return the status for ccxt's word. "closed" says only that an order is over; one taken without a word is open."""
    if word in (None, "open", "canceling"):
        return "open"
    if word not in _OVER:
        return "unknown"
    if word == "closed" and filled is None:
        return "closed"
    if word == "closed" and filled and (amount is None or filled >= amount):
        return "filled"
    if filled:
        return "partly_filled"
    return "rejected" if word == "rejected" else "canceled"


def order_with_fills(state: OrderState, rows: Iterable[Mapping[str, Any]]) -> OrderState | None:
    """Return the order with the cost and the fee that its fills add up to, None when some of them are not among `rows`.

    One that is "closed" is "filled" when they add up to its amount.
    `rows`: trades of ccxt, of any orders. Coincheck's have a sign: what was given is below zero.
    """
    if state.status == "closed":
        state = replace(state, status="filled", filled=state.amount, reason=None)
    fills = [row for row in rows if row["order"] == state.exchange_order_id]
    if state.filled is None or total(parse_decimal(row["amount"]).copy_abs() for row in fills) != state.filled:
        return None
    spent = total(parse_decimal(row["cost"]).copy_abs() for row in fills)
    fees = [fee for row in fills for fee in row.get("fees") or [row.get("fee")]]
    fields = _fee_fields({"fees": fees})
    if fields["fee"] is None:
        fields = {}
    return replace(state, spent=spent, average=mean(spent, state.filled), **fields)


def _fee_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields `fee` and `fee_currency`; both None when the fees are not reported, or not in one currency."""
    fees = row.get("fees") or [row.get("fee")]
    currencies = {fee.get("currency") if fee and fee.get("cost") is not None else None for fee in fees}
    if len(currencies) != 1 or None in currencies:
        return {"fee": None, "fee_currency": None}
    return {"fee": total(parse_decimal(fee["cost"]) for fee in fees), "fee_currency": currencies.pop()}


def fill_from_row(row: Mapping[str, Any], symbol: str) -> Fill:
    """Return a trade of ccxt, of the market `symbol`."""
    asset, _, currency = symbol.partition("/")
    price, time = optional_amount(row["price"]), optional(time_from_milliseconds, row["timestamp"])
    if price is None or time is None:
        raise ValueError("a fill without price or time")
    return Fill(
        id=required_text(row["id"]),
        exchange_order_id=row.get("order"),
        side=_side(row["side"]),
        currency=currency,
        asset=asset,
        amount=parse_decimal(row["amount"]).copy_abs(),
        price=price,
        time=time,
        **_fee_fields(row),
    )


def _transfer_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a deposit and a withdrawal have in common."""
    return {
        "id": required_text(row.get("id") or row.get("txid")),
        "asset": required_text(row["currency"]),
        "amount": optional_amount(row.get("amount")),
        "address": row.get("address") or row.get("addressTo") or None,
        "tag": row.get("tag") or row.get("tagTo") or None,
        "network": row.get("network") or None,
        "txid": row.get("txid") or None,
    }


def deposit_address_from_row(row: Mapping[str, Any], asset: str, network: str | None) -> DepositAddress:
    """Return the address of ccxt for `asset`; `network`: the one that was asked for, where ccxt lists any."""
    if row.get("currency") not in (None, asset):
        raise ValueError("another asset")
    address, tag = address_and_tag(required_text(row["address"]))
    return DepositAddress(asset, required_text(address), row.get("tag") or tag, row.get("network") or network)


def deposit_from_row(row: Mapping[str, Any]) -> Deposit:
    """Return a deposit of ccxt."""
    fields = _transfer_fields(row)
    if fields["amount"] is None:
        raise ValueError("a deposit without an amount")
    status = _DEPOSIT_STATUSES.get(row.get("status", ""), "pending")
    return Deposit(**fields, status=status, time=optional(time_from_milliseconds, row.get("timestamp")))


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    """Return a withdrawal of ccxt."""
    return Withdrawal(
        **_transfer_fields(row),
        status=_WITHDRAWAL_STATUSES.get(row.get("status", ""), "unknown"),
        fee=_fee_fields(row)["fee"],
        created=optional(time_from_milliseconds, row.get("timestamp")),
    )


def check_same_withdrawal(made: Withdrawal, asked: NewWithdrawal) -> None:
    """Raise ValueError when the answer is about another withdrawal. Some report what leaves, some what arrives."""
    net = EXACT.subtract(asked.amount, made.fee or Decimal(0))
    if (
        made.asset != asked.asset
        or not (made.address is None or same_address(made.address, asked.address))
        or made.amount not in (None, asked.amount, net)
    ):
        raise ValueError("another withdrawal")


def choose_network(
    rows: Mapping[str, Any], asset: str, network: str | None, use: Literal["deposit", "withdraw"]
) -> str | None:
    """Return ccxt's name of the network among `rows`, by that name; None where it lists none.

    Raises Refused `network_required` when several are meant: the one that ccxt would choose is not taken.
    """
    offered = {name: row for name, row in rows.items() if False not in (row.get(use), row.get("active"))}
    if network is None and not rows:
        return None
    wanted: list[str] = [
        name
        for name, row in offered.items()
        if network is None or network.casefold() in (name.casefold(), str(row.get("id")).casefold())
    ]
    if len(wanted) != 1:
        raise network_required(asset, offered or ["ccxt lists none there"])
    return wanted[0]
