"""How ccxt's classes take an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from ...money import plain
from ..models import NewOrder

__all__ = ["BOUNDED_BY_PRICE", "BUYS_BY_COST", "SELLS_BY_COST", "STOPS", "PlacingCall", "cost_field", "placing_call"]

#: Classes that take the cost of a market buy as a parameter of this name, and not by ccxt's own call for it.
_COST_PARAMETERS = {
    "btse": "cost",
    # ccxt 4.5.90 looks at "cost" and sends nothing of it; what has the exchange's own name goes through.
    "coincheck": "market_buy_amount",
    "cryptomus": "cost",
    "indodax": "cost",
    "toobit": "cost",
    "zebpay": "cost",
}
#: Classes that send the amount of a market buy as its cost, times this price where they want one.
_COST_AS_AMOUNT = {"coinmate": None, "luno": None, "mercado": "1"}
#: Exchanges that are told what a market buy may cost, and not how much is to be bought. Bybit takes an amount for the
#: unified accounts, and a cost for those of the old kind.
BUYS_BY_COST = frozenset(
    {
        *("bigone", "bitget", "bithumb", "bittrade", "coinbase", "coinsph", "digifinex", "gate", "gateeu", "htx"),
        *("lbank", "poloniex", "tokocrypto", "upbit", "xt"),
        *_COST_PARAMETERS,
        *_COST_AS_AMOUNT,
    }
)

#: Exchanges that take a market sell for what it is to bring, by their documents: `quoteOrderQty` (Binance, Binance.US
#: and MEXC, "New order"), `tgtCcy` (OKX, "Place order"), `marketUnit` (Bybit, "Place order"), `funds` (KuCoin, "Add
#: order").
SELLS_BY_COST = frozenset(
    {*("binance", "binanceus", "bybit", "bybiteu", "bybitid", "kucoin", "mexc", "myokx", "okx", "okxus")}
)

#: Exchanges that hold an order with a stop among their orders, read and found as any other, which begins from the side
#: that a stop is for: Kraken (see `exchanges/kraken`), Binance and Binance.US ("New order": STOP_LOSS, STOP_LOSS_LIMIT,
#: with a price above the market's for a buy, below it for a sell). Many others have lists of their own for them, or
#: take a price without its side.
STOPS = frozenset({"binance", "binanceus", "kraken"})

#: Classes that send a market order as a limit order that does not rest, some percent (5 in ccxt 4.5.90) worse than a
#: price that they want to be given.
BOUNDED_BY_PRICE = frozenset({"hyperliquid"})


class PlacingCall(NamedTuple):
    """A unified call of ccxt that places an order, and the name in ccxt's `has` of what the class must have for it."""

    method: str
    arguments: tuple[Any, ...]
    needed: str
    #: What kind of order that is, in words.
    words: str


def placing_call(
    id: str, symbol: str, order: NewOrder, params: dict[str, Any], best: Decimal | None = None
) -> PlacingCall:
    """Return how ccxt's class `id` is told to place `order`; `best`: the price for a market order that wants one."""
    if order.stop is not None:
        params = {**params, "stopLossPrice": plain(order.stop)}
    if order.cost is None:
        kind, price = ("market", best) if order.price is None else ("limit", order.price)
        text = None if price is None else plain(price)
        arguments = (symbol, kind, order.side, plain(order.amount or 0), text, params)
        needed = "createMarketOrder" if kind == "market" else "createLimitOrder"
        return PlacingCall("create_order", arguments, needed, f"{kind} orders")
    cost = plain(order.cost)
    if order.side == "sell":
        needed, kind = "createMarketSellOrderWithCost", "market sells for a cost"
        return PlacingCall("create_market_sell_order_with_cost", (symbol, cost, params), needed, kind)
    if id in _COST_AS_AMOUNT:
        arguments = (symbol, "market", "buy", cost, _COST_AS_AMOUNT[id], params)
    elif id in _COST_PARAMETERS:
        arguments = (symbol, "market", "buy", cost, None, {**params, _COST_PARAMETERS[id]: cost})
    else:
        return PlacingCall(
            "create_market_buy_order_with_cost",
            (symbol, cost, params),
            "createMarketBuyOrderWithCost",
            "market buys for a cost",
        )
    return PlacingCall("create_order", arguments, "createMarketOrder", "market orders")


def cost_field(id: str) -> str:
    """Return by which of ccxt's precisions the class `id` rounds the cost of a market buy: "cost" or "amount"."""
    return "amount" if _COST_AS_AMOUNT.get(id, "") is None else "cost"
