"""Calls of an exchange's documented API that ccxt has only in its raw form, or not right, in the unified form of ccxt;
and calls that it makes unasked, left out.

A class here stands before ccxt's own among the bases of our subclass; `added` names the unified calls that ccxt lacks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

from ...money import EXACT, parse_decimal
from ..parsing import list_of_rows
from .error_codes import code_of
from .expiry import is_expired

__all__ = ["ADDITIONS"]

#: "Order states" of Paymium -> ccxt's word.
_PAYMIUM_STATES = {
    **dict.fromkeys(("pending_execution", "pending", "processing", "authorized", "active"), "open"),
    **dict.fromkeys(("filled", "executed"), "closed"),
    "canceled": "canceled",
}
#: Types of Paymium's trade orders -> ccxt's word. Deposits, transfers and payments are orders there, too.
_PAYMIUM_TYPES = {"LimitOrder": "limit", "MarketOrder": "market"}


class _PaymiumCalls:
    """Paymium's "Get order", "List orders", "Cancel order" and "List deposit addresses".

    Sources: the OpenAPI document, version 1.1.0, in the repository Paymium/api-documentation, and for "Order states"
    and "Order properties" the README that was there before (2014).
    """

    added: ClassVar[frozenset[str]] = frozenset({"fetchOrder", "fetchOpenOrders"})

    def sign(self, path: str, api: Any, method: str, params: Mapping[str, Any], *rest: Any) -> Any:
        """Sign a GET with its whole address ("Api-Signature"); ccxt 4.5.90 leaves the question mark out."""
        ccxt: Any = self
        if method == "GET" and params:
            query = urlencode(ccxt.omit(params, ccxt.extract_params(path)))
            path, params = ccxt.implode_params(path, params) + (f"?{query}" if query else ""), {}
        return super().sign(path, api, method, params, *rest)  # type: ignore[misc]  # ccxt's class comes after this one

    def fetch_order(self, id: str, symbol: Any = None) -> dict[str, Any]:
        """Return an order. Raises ccxt's OrderNotFound."""
        return _paymium_order(self, _call_order(self, "privateGetUserOrdersUuid", id))

    def cancel_order(self, id: str, symbol: Any = None) -> dict[str, Any]:
        """Cancel an order. Raises ccxt's OrderNotFound. ccxt 4.5.90 takes the path that version 1.1.1 does not have."""
        _call_order(self, "privateDeleteUserOrdersUuid", id)
        return {"id": id}

    def fetch_open_orders(self, *_: Any) -> list[dict[str, Any]]:
        """Return all open orders, read until a page has nothing new: the length of a page is not documented."""
        ccxt: Any = self
        rows: dict[str, Any] = {}
        while True:
            page = list_of_rows(ccxt.privateGetUserOrders({"active": "true", "offset": len(rows)}))
            new = {row["uuid"]: row for row in page if row["uuid"] not in rows}
            if not new:
                orders = [_paymium_order(ccxt, row) for row in rows.values() if row["type"] in _PAYMIUM_TYPES]
                return [order for order in orders if order["status"] == "open"]
            rows |= new

    def fetch_deposit_address(self, code: str, params: Any = None) -> dict[str, Any]:
        """Return an address that is there and still valid; ccxt 4.5.90 asks for one that is called as the asset."""
        ccxt: Any = self
        for row in ccxt.privateGetUserAddresses():
            if row.get("currency") in (None, code) and not is_expired(row):
                return {"currency": code, "address": row["address"]}
        raise importlib.import_module("ccxt").ExchangeError(f"{ccxt.id} has no valid address for {code} yet")


def _call_order(ccxt: Any, method: str, id: str) -> Any:
    """Return the answer of a raw call about an order. Raises ccxt's OrderNotFound."""
    try:
        return getattr(ccxt, method)({"uuid": id})
    except Exception:
        if ccxt.session.status == 404:
            raise importlib.import_module("ccxt").OrderNotFound(f"{ccxt.id} knows no such order") from None
        raise


def _paymium_order(ccxt: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trade order in ccxt's unified form. BTC/EUR is the only market."""
    fees = [{"cost": row.get("btc_fee"), "currency": "BTC"}, {"cost": row.get("currency_fee"), "currency": "EUR"}]
    taken = [fee for fee in fees if fee["cost"] is not None and parse_decimal(fee["cost"])]
    return {
        "id": row["uuid"],
        "symbol": "BTC/EUR",
        "side": row["direction"],
        "type": _PAYMIUM_TYPES[row["type"]],
        "status": _PAYMIUM_STATES.get(row["state"], row["state"]),
        "amount": row.get("amount"),
        "price": row.get("price"),
        "filled": row.get("traded_btc"),
        "cost": row.get("traded_currency"),
        "fees": taken or fees[1:],
        "timestamp": ccxt.parse8601(row.get("created_at")),
    }


class _KrakenCalls:
    """Kraken's orders and deposit addresses, as its documents have them."""

    def parse_order(self, order: Any, market: Any = None) -> Any:
        """Return an order whose fee counts the currency, whatever `oflags` prefers ("Get Orders Info").

        With `viqc` its volume counts the currency, too, and what was executed maybe: then the amounts are not known.
        """
        parsed = super().parse_order(order, market)  # type: ignore[misc]  # ccxt's class comes after this one
        currency = (parsed.get("symbol") or "").partition("/")[2]
        for fee in (parsed.get("fee"), *(parsed.get("fees") or [])):
            if fee and fee.get("cost") is not None:
                fee["currency"] = currency or None
        if "viqc" in (order.get("oflags") or "") and "vol_exec" in order:
            counts_asset = parsed.get("average") and _are_near(order, parse_decimal(parsed["average"]))
            parsed |= {"amount": None, "cost": order.get("cost"), "filled": order["vol_exec"] if counts_asset else None}
        return parsed

    def publicGetAssetPairs(self, params: Any = None) -> Any:  # noqa: N802 - ccxt's name
        """Return the pairs that have a name to read; ccxt reads all or none. (A dark pool has no `wsname`.)"""
        answer = super().publicGetAssetPairs(params or {})  # type: ignore[misc]  # as above
        pairs = {id: row for id, row in answer["result"].items() if row and (row.get("wsname") or ".d" in id)}
        return {**answer, "result": pairs}

    def privatePostDepositAddresses(self, params: Any = None) -> Any:  # noqa: N802 - ccxt's name
        """Return the addresses that have not expired; when there is none, a new one."""
        ask = super().privatePostDepositAddresses  # type: ignore[misc]  # as above
        answer = _without_expired(ask(params or {}))
        return answer if answer["result"] else _without_expired(ask({**(params or {}), "new": "true"}))


def _are_near(order: Mapping[str, Any], price: Decimal) -> bool:
    """Return whether the executed volume of an order is its cost at this price, and not the cost itself."""
    executed, cost = parse_decimal(order["vol_exec"]), parse_decimal(order["cost"])
    return abs(EXACT.subtract(EXACT.multiply(executed, price), cost)) <= abs(EXACT.subtract(executed, cost))


def _without_expired(answer: Any) -> Any:
    return {**answer, "result": [row for row in answer.get("result") or [] if not is_expired(row)]}


class _NothingUnasked:
    """Before the first order some classes let the wallet sign that it pays ccxt a fee for each order ("builder fee"),
    and that ccxt referred it. Without that an order carries no such fee. Seen in ccxt 4.5.90, November 2026.
    """

    def initialize_client(self, *_: Any) -> bool:
        """Approve nothing."""
        return True


class _GateioAccount:
    """Whether a Gate account is a unified one. ccxt 4.5.90 takes a lost answer for a "no", and then keeps to it: orders
    would be placed, and looked for, in another account.
    """

    def load_unified_status(self, params: Mapping[str, Any] | None = None) -> bool:
        """Return whether it is, asked once."""
        ccxt: Any = self
        if ccxt.options.get("unifiedAccount") is None:
            row = _answer_unless_refused(ccxt, ccxt.privateAccountGetDetail, params or {})
            ccxt.options["unifiedAccount"] = ccxt.safe_integer(ccxt.safe_dict(row, "key", {}), "mode") == 2
        return bool(ccxt.options["unifiedAccount"])


class _BitgetAccount:
    """Whether a Bitget account is a unified one: as at Gate. One that is not may not call what tells the settings."""

    def handle_uta_and_params(self, params: Any, method: str | None, default: bool = False) -> list[Any]:
        """Return whether it is, asked once, and the parameters without it."""
        ccxt: Any = self
        unified, others = ccxt.handle_option_and_params(params, method, "uta")
        if unified is None and ccxt.check_required_credentials(False):
            unified = _answer_unless_refused(ccxt, ccxt.privateUtaGetV3AccountSettings) is not None
            ccxt.options["uta"] = unified
        return [default if unified is None else unified, others]


#: Our codes for the refusal of a call that is not for this account.
_REFUSED_CALLS = {"exchange_refused", "invalid_request", "permission_denied", "unsupported"}


def _answer_unless_refused(ccxt: Any, call: Any, *arguments: Any) -> Any:
    """Return the answer to a raw call, None when the exchange refuses that call. Raises all that says nothing about the
    call itself, as a lost answer, a rate limit, and a key or a time that is refused.
    """
    try:
        return call(*arguments)
    except importlib.import_module("ccxt").BaseError as error:
        if code_of(error, ccxt.id) not in _REFUSED_CALLS:
            raise
        return None


class _BybitCalls:
    """Bybit's order, whatever became of it.

    ccxt 4.5.90 answers only for the option `fetchOrder.acknowledged`, after two calls for the kind of the account, and
    knows the last 500 orders alone. Sources: V5, "Get Open & Closed Orders" and "Get Order History".
    """

    def fetch_order(self, id: str, symbol: Any = None, params: Any = None) -> dict[str, Any]:
        """Return an order: from the open and the latest ones, or else from the history. Raises ccxt's OrderNotFound."""
        ccxt: Any = self
        market = ccxt.market(symbol)
        asked = {"category": "spot", "symbol": market["id"], "orderId": id}
        for method in ("privateGetV5OrderRealtime", "privateGetV5OrderHistory"):
            for row in list_of_rows(getattr(ccxt, method)(asked)["result"]["list"]):
                if row["orderId"] == id:
                    order: dict[str, Any] = ccxt.parse_order(row, market)
                    return order
        raise importlib.import_module("ccxt").OrderNotFound(f"{ccxt.id} knows no such order")


class _LbankFunds:
    """LBank's "Account information". ccxt 4.5.90 asks another call, and reads nothing of its answer: a list.

    Source: the API document "Spot", "Account information".
    """

    def fetch_balance(self, params: Any = None) -> Any:
        method = {"method": "spotPrivatePostSupplementUserInfoAccount"}
        return super().fetch_balance(method)  # type: ignore[misc]  # ccxt's class comes after this one


class _SpotMarkets:
    """Where ccxt always loads the markets of futures, too, from a host of their own, which may be down or forbidden."""

    def fetch_swap_markets(self, _params: Any = None) -> list[Any]:
        """Return no markets."""
        return []


class _IndodaxOrders:
    """Indodax's "trade". ccxt 4.5.90 sends the word None as the price of a market order."""

    def private_post_trade(self, params: Any = None) -> Any:
        """Place an order with the fields that have a value. (ccxt makes privatePostTrade of this one.)"""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return super().private_post_trade(given)  # type: ignore[misc]  # ccxt's class comes after this one


#: ccxt's name of a class -> what comes before it.
ADDITIONS: dict[str, tuple[type[Any], ...]] = {
    "bitget": (_BitgetAccount,),
    **dict.fromkeys(("bybit", "bybiteu", "bybitid"), (_BybitCalls,)),
    **dict.fromkeys(("gate", "gateeu"), (_GateioAccount,)),
    "indodax": (_IndodaxOrders,),
    "kraken": (_KrakenCalls,),
    "lbank": (_LbankFunds, _SpotMarkets),
    "mexc": (_SpotMarkets,),
    "paymium": (_PaymiumCalls,),
    **dict.fromkeys(("aster", "grvt", "hyperliquid", "pacifica"), (_NothingUnasked,)),
}
