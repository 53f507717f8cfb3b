"""What Mt.Gox answers, read into our records; and amounts as Mt.Gox counts them."""

from __future__ import annotations

import decimal
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from ....money import EXACT, mean, plain, total
from ...errors import Refused
from ...http import PARSING_ERRORS
from ...models import Deposit, Fill, Funds, OrderState, Rate, Side, Status, Withdrawal
from ...parsing import (
    optional,
    readable_rows,
    required_text,
    step_from_places,
    time_from_microseconds,
    time_from_seconds,
)
from ...rules import no_such_market

__all__ = [
    "CURRENCIES",
    "TYPES_BY_SIDE",
    "deposit_from_row",
    "fee_from_history",
    "fills_from_history",
    "from_units",
    "funds_from_wallets",
    "money_amount",
    "order_from_row",
    "pair_name",
    "parse_order_id",
    "rate_from_ticker",
    "row_type",
    "to_units",
    "unit_of",
    "with_trades",
    "withdrawal_from_row",
]

#: "value_int" counts 10^-8 BTC, 10^-3 of these, and 10^-5 of every other currency (mtgox-doc, inc_money_autogen.tex).
_DIGITS = {"BTC": 8, "JPY": 3, "SEK": 3}
CURRENCIES = (
    *("AUD", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD"),
    *("JPY", "NOK", "NZD", "PLN", "RUB", "SEK", "SGD", "THB", "USD"),
)

#: Wallet history: the type of the row that books the asset of a trade -> our side.
_SIDES_BY_ROW_TYPE: dict[str, Side] = {"in": "buy", "out": "sell"}
#: Our side -> the type of an order, and back.
TYPES_BY_SIDE: dict[Side, str] = {"buy": "bid", "sell": "ask"}
_SIDES_BY_TYPE: dict[str, Side] = {"bid": "buy", "ask": "sell"}


def _decimals(currency: str) -> int:
    return _DIGITS.get(currency, 5)


def unit_of(currency: str) -> Decimal:
    """Return the smallest amount of a currency: 0.00001 for USD."""
    return step_from_places(_decimals(currency))


def pair_name(currency: str, asset: str) -> str:
    """Return Mt.Gox's name of a pair. Raises Refused for one that it did not have."""
    if asset != "BTC" or currency not in CURRENCIES:
        raise no_such_market("Mt.Gox", currency, asset, [(name, "BTC") for name in CURRENCIES])
    return asset + currency


def to_units(amount: Decimal, currency: str, field: Literal["amount", "price"]) -> str:
    """Return `amount` as a whole number of units. Raises Refused when it is none; nothing is rounded."""
    units = amount.scaleb(_decimals(currency), EXACT)
    whole = units.to_integral_value(decimal.ROUND_HALF_UP)
    if units > 0 and units == whole:
        return f"{whole:f}"
    nearest = plain(max(whole, Decimal(1)).scaleb(-_decimals(currency), EXACT))
    raise Refused(
        f"the {field} {plain(amount)} {currency} is not a whole number of 10^-{_decimals(currency)} {currency};"
        f" the nearest allowed is {nearest}",
        code=f"invalid_{field}",
        details={"field": field, "nearest": nearest},
    )


def money_amount(money: Mapping[str, Any], currency: str) -> Decimal:
    """Return the amount of a money object, which must be in `currency`.

    It is that of "value_int": "value" may have more digits, "display" fewer.
    """
    if money["currency"] != currency:
        raise ValueError("another currency")
    return from_units(money["value_int"], currency)


def from_units(value: object, currency: str) -> Decimal:
    """Return the amount of a whole number of units. Raises ValueError for what is none."""
    units = str(value)
    if not re.fullmatch(r"-?\d{1,30}", units, re.ASCII):
        raise ValueError("not a whole number of units")
    return Decimal(units).scaleb(-_decimals(currency), EXACT)


def rate_from_ticker(ticker: Mapping[str, Any], *, best_bid: Decimal, best_ask: Decimal) -> Rate:
    """Return the rate of these prices, which the ticker calls "buy" and "sell", and of the ticker's time.

    Mt.Gox's "buy" is the best bid, what a seller gets; its "sell" is the best ask. Ours are the user's: swapped.
    """
    if not 0 < best_bid <= best_ask:
        raise ValueError("no bid below the ask")
    now = ticker.get("now")
    return Rate(buy=best_ask, sell=best_bid, time=datetime.now(UTC) if now is None else time_from_microseconds(now))


def funds_from_wallets(name: str, wallets: Any) -> dict[str, Funds]:
    """Return the funds by currency; `wallets` is a mapping, or [], as PHP writes an empty one."""
    if wallets == []:
        return {}
    return dict(readable_rows(name, wallets.items(), lambda named: (named[0], _funds_from_wallet(named[1], named[0]))))


def _funds_from_wallet(wallet: Mapping[str, Any], currency: str) -> Funds:
    """Return the funds of a wallet. Answers of 2012 lack Open_Orders.

    Open orders may hold more than there is, because Mt.Gox took orders without funds: then it is not known what is
    available. Nor is it where that field cannot be understood, which hides not what is owned.
    """
    owned, held = money_amount(wallet["Balance"], currency), None
    with suppress(*PARSING_ERRORS):
        held = _optional_money(wallet.get("Open_Orders"), currency)
    held = None if held is not None and held < 0 else held
    free = None if held is None or held > owned else EXACT.subtract(owned, held)
    return Funds(owned, free, held)


def _optional_money(money: Any, currency: str) -> Decimal | None:
    return None if money is None else money_amount(money, currency)


def order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return an open order. Whatever its status word, it is open: also "invalid", which waits for funds."""
    currency, asset = row["currency"], row["item"]
    return OrderState(
        parse_order_id(row["oid"]),
        "open",
        side=_SIDES_BY_TYPE[row["type"]],
        currency=currency,
        asset=asset,
        amount=_optional_money(row.get("amount"), asset),
        price=_optional_money(row.get("price"), currency),
        created=optional(time_from_seconds, row.get("date")),
    )


def with_trades(state: OrderState, result: Mapping[str, Any]) -> OrderState:
    """Return `state` with what its trades add up to; `result` is the answer of "order/result".

    The average is that of the trades: "avg_cost" is made of the rounded sum.
    """
    currency, asset = state.currency or "", state.asset or ""
    trades = [
        (money_amount(trade["amount"], asset), money_amount(trade["price"], currency)) for trade in result["trades"]
    ]
    filled = total(amount for amount, _ in trades)
    if _optional_money(result.get("total_amount"), asset) not in (None, filled):
        raise ValueError("a sum that is not the sum of the trades")
    if state.status != "open" and state.amount is not None and filled > state.amount:
        raise ValueError("more than was ordered")
    status: Status = state.status
    if status != "open" and state.amount is not None:
        status = "filled" if filled == state.amount else "partly_filled"
    return replace(
        state,
        status=status,
        filled=filled,
        spent=_optional_money(result.get("total_spent"), currency),
        average=mean(total(EXACT.multiply(amount, price) for amount, price in trades), filled),
        reason=None,
    )


def fills_from_history(
    name: str, things: list[Mapping[str, Any]], money: list[Mapping[str, Any]], currency: str, asset: str
) -> list[Fill]:
    """Return the trades that stand in the history of both wallets, `things` of the asset and `money` of the currency.

    The price stands only in the sentence of the asset's row. `name`: the exchange's.
    """
    paid = {_trade_id(row) for row in money if row_type(row) != "fee"} - {None}
    fees = {
        _trade_id(row): _fee_from_row(row, wallet)
        for rows, wallet in ((things, asset), (money, currency))
        for row in rows
        if row_type(row) == "fee"
    }

    def read(row: Mapping[str, Any]) -> Fill:
        trade = str(int(row["Trade"]["tid"]))
        fee, fee_currency = fees.get(trade, (None, None))
        return Fill(
            id=trade,
            exchange_order_id=row["Trade"].get("oid"),
            side=_SIDES_BY_ROW_TYPE[row["Type"]],
            currency=currency,
            asset=asset,
            amount=money_amount(row["Value"], asset),
            price=_price_from_sentence(row["Info"], currency),
            fee=fee,
            fee_currency=fee_currency,
            time=time_from_seconds(row["Date"]),
        )

    trades = [row for row in things if row_type(row) != "fee" and _trade_id(row) in paid]
    return sorted(readable_rows(name, trades, read), key=lambda fill: (fill.time, int(fill.id)), reverse=True)


def _fee_from_row(row: Mapping[str, Any], wallet: str) -> tuple[Decimal | None, str | None]:
    """Return the fee that a row of this wallet's history books, and its currency; None for what is not understood."""
    try:
        return money_amount(row["Value"], wallet), wallet
    except PARSING_ERRORS:
        return None, None


def _price_from_sentence(sentence: str, currency: str) -> Decimal:
    """Return the price in "BTC bought: [tid:1366034751500724] 0.00010789 BTC at $97.96898 (0.6% fee)".

    The sign of the currency varies.
    """
    found = re.search(r" at ([^(]+)", sentence)
    text = re.sub(r"[^0-9.]", "", found[1]) if found else ""
    if not re.fullmatch(rf"\d{{1,15}}\.\d{{{_decimals(currency)}}}", text, re.ASCII):
        raise ValueError("no price in the sentence")
    return Decimal(text)


def parse_order_id(text: object) -> str:
    """Return the id of an order. Raises ValueError for what cannot be one."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Za-z-]{8,64}", text, re.ASCII):
        raise ValueError("no order id")
    return text


def fee_from_history(rows: list[Mapping[str, Any]], result: Mapping[str, Any], currency: str) -> Decimal | None:
    """Return the fee of an order, which only the history of a wallet shows; None while a trade is not booked.

    `result` is the answer of "order/result"; the wallet is that of the asset for a buy, of the currency for a sell.
    """
    trades = {trade["trade_id"] for trade in result["trades"]}
    booked = [row for row in rows if _trade_id(row) in trades]
    fee = total(money_amount(row["Value"], currency) for row in booked if row_type(row) == "fee")
    return fee if {_trade_id(row) for row in booked} == trades else None


def deposit_from_row(currency: str, row: Mapping[str, Any]) -> Deposit:
    """Return the deposit that a row of a wallet's history books."""
    return Deposit(
        _transfer_id(row),
        currency,
        money_amount(row["Value"], currency),
        "done",
        address=_transfer_address(row),
        time=optional(time_from_seconds, row.get("Date")),
    )


def withdrawal_from_row(currency: str, row: Mapping[str, Any]) -> Withdrawal:
    """Return the send that a row of a wallet's history books."""
    if row_type(row) is None:
        raise ValueError("a row without a type")
    return Withdrawal(
        _transfer_id(row),
        currency,
        money_amount(row["Value"], currency),
        "done",
        address=_transfer_address(row),
        txid=_transaction_id(row),
        created=optional(time_from_seconds, row.get("Date")),
    )


def row_type(row: Any) -> str | None:
    """Return the type of a row of a wallet's history; None for a row that has none that can be understood."""
    kind = row.get("Type") if isinstance(row, Mapping) else None
    return kind if isinstance(kind, str) else None


def _trade_id(row: Any) -> str | None:
    trade = row.get("Trade") if isinstance(row, Mapping) else None
    return str(trade.get("tid")) if isinstance(trade, Mapping) else None


def _transfer_id(row: Mapping[str, Any]) -> str:
    """Return the bitcoin transaction where the row names it, as the send's answer did; else the row's own id.

    A row without links has the number that it has in its wallet.
    """
    links = row.get("Link")
    return _transaction_id(row) or (required_text(links[0]) if links else str(int(row["Index"])))


def _transaction_id(row: Mapping[str, Any]) -> str | None:
    links = row.get("Link") or []
    return next((text for text in links if re.fullmatch(r"[0-9a-f]{64}", str(text), re.ASCII)), None)


def _transfer_address(row: Mapping[str, Any]) -> str | None:
    """Return the address of a bitcoin transfer: its sentence is the address alone."""
    sentence = str(row.get("Info"))
    return sentence if re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", sentence, re.ASCII) else None
