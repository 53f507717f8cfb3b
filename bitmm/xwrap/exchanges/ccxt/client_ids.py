"""Our client ids at the exchanges of ccxt: how each takes one, and how an order is found by it.

An order is sent with our id wherever a row below stands, and no such order leaves without it. Whether an exchange
refuses an id that it has seen is no fact of the table: no such refusal is a proof (see `failures`), so the order is
looked up. Each row says what the exchange's own documents say; where they say nothing, the fact is the cautious one:

- `valid_seconds`: a request that is signed with a time is not taken later than this. Where the time may also be ahead
  of the exchange's, ours may be ahead by as much when it is signed, so that it is twice what the document says.
  Binance, Binance.US, Bybit and MEXC take a time that is one second ahead. The documents of Upbit and Bithumb name no
  such time: a day, longer than anything on the way keeps a request.
- `listed`: for so long after it was made an order is found, even when it was canceled at once and without a fill. An
  older one that is not found proves nothing. Where no document names a time: a week, or a day if the exchange forgets
  canceled orders.
- `lag`: an order that is over may be missing in a list for so long. Lists are asked again after that.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from . import order_lookup as by
from .order_lookup import absent_if

__all__ = ["CLIENT_IDS", "ClientIdRule", "lines", "our_id"]


@dataclass(frozen=True, slots=True)
class ClientIdRule:
    """How one exchange takes our client id, and how it finds the order; see the module for the last three facts."""

    #: The field of an order that shows the id, as the exchange sends it.
    field: str | int
    #: Asked in this order; an order that changes between two questions is seen by the second.
    questions: tuple[by.Question, ...]
    #: In words, for the documents: what the questions are.
    look_up: str
    valid_seconds: float
    listed: timedelta | None
    lag: timedelta = timedelta(0)
    #: The parameter of ccxt's `create_order`.
    parameter: str = "clientOrderId"
    #: Makes the exchange's form of our 32 hexadecimal digits, always the same.
    form: Callable[[str], Any] = str
    #: The form in words, when it is not those digits.
    form_note: str = ""


def _with_dashes(client_id: str) -> str:
    return str(uuid.UUID(client_id))


def _for_gateio(client_id: str) -> str:
    return f"t-{client_id[:26]}"


def _for_bitfinex(client_id: str) -> int:
    """Return the last 45 of the random bits: the largest integer that Bitfinex takes has so many."""
    return int(client_id, 16) % 2**45


def our_id(text: object) -> str | None:
    """Return the client id that an order shows in our form; None when it is shortened, or none of ours."""
    digits = str(text).replace("-", "")
    return digits if re.fullmatch("[0-9a-f]{32}", digits) else None


_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
#: A list's lag is nowhere in numbers. Bybit and KuCoin write that there is one.
_LAG = timedelta(seconds=30)

_BINANCE = ClientIdRule(
    field="clientOrderId",
    # "Query order": by `origClientOrderId`; "-2013 Order does not exist". "-2026 ORDER_ARCHIVED": without a fill, after
    # 90 days. "New order": the same id is taken again once the first order is filled.
    questions=(by.one_order(absent_if("code", "-2013")),),
    look_up="one call",
    # "Timing security": `recvWindow`, which ccxt sends as 10 s.
    valid_seconds=11.0,
    listed=90 * _DAY,
)

#: ccxt's name of a class -> how it takes our client id. Sources: the exchange's documents, by their headings.
_RULES: Mapping[str, ClientIdRule] = {
    "binance": _BINANCE,
    # Binance.US, "Get Order (USER_DATA)" and "Error codes": the same calls and codes. No document names an archive.
    "binanceus": ClientIdRule(
        field="clientOrderId",
        questions=_BINANCE.questions,
        look_up="one call",
        valid_seconds=11.0,
        listed=_WEEK,
    ),
    # "Get / Active orders" and "Retrieve orders" (Bitfinex REST v2) have no filter for `cid`. "New Order": cid is an
    # int45, unique in the UTC day of the order; so the time of the order is compared, too. "Orders History": about two
    # weeks. "Nonce": a request after one with a higher nonce is refused, and the look-up has a higher one.
    "bitfinex": ClientIdRule(
        field=2,
        questions=(by.bitfinex_open, by.bitfinex_history),
        look_up="list of open orders, then of history",
        form=_for_bitfinex,
        form_note="a number of 45 bits",
        valid_seconds=0.0,
        listed=_WEEK,
        lag=_LAG,
    ),
    # "Get Order Info": by `clientOid` while the order is not filled; "43001: The order does not exist". "Get History
    # Orders": 90 days. "Get Unfilled Orders" and "Get Order History" of the unified account. "40786 Duplicate
    # clientOid". `ACCESS-TIMESTAMP` ("40008 Request timestamp expired"): 30 s.
    "bitget": ClientIdRule(
        field="clientOid",
        questions=(by.bitget_open, by.bitget_history),
        look_up="one call for an open order, then the list of history",
        valid_seconds=60.0,
        listed=_WEEK,
        lag=_LAG,
    ),
    # API 2.1.5, "Get order" (GET /v1/order): by `client_order_id` of up to 36 letters, digits, "-" and "_". "Error
    # codes": order_not_found, HTTP 404; "order_not_ready" is not that.
    "bithumb": ClientIdRule(
        field="client_order_id",
        questions=(by.one_order(absent_if("error.name", "order_not_found", status=404)),),
        look_up="one call",
        valid_seconds=86400.0,
        listed=_WEEK,
    ),
    # "Order status": by `client_order_id`; "404.002 Order not found"; closed orders for 30 days. Ids may come again
    # since November 2023. `X-Auth-Timestamp` 150 s, taken for up to 300 as in `exchanges/bitstamp`.
    "bitstamp": ClientIdRule(
        field="client_order_id",
        questions=(by.one_order(absent_if("reason", "Order not found", "Order not found.")),),
        look_up="one call",
        valid_seconds=300.0,
        listed=30 * _DAY,
    ),
    # "Get order": by `clientOrderId`, a UUID, unique among the open orders of a market; "240 No order found". "Get
    # orders": of one day from `start` on, which is a minute before the order. "Bitvavo-Access-Window": 10 s, as ccxt
    # sends it.
    "bitvavo": ClientIdRule(
        field="clientOrderId",
        questions=(by.one_order(absent_if("errorCode", "240")), by.bitvavo_history),
        look_up="one call, then the list of all orders",
        form=_with_dashes,
        form_note="with dashes",
        valid_seconds=20.0,
        listed=23 * _HOUR,
    ),
    # "Get Open & Closed Orders": by `orderLinkId` (36 characters), open and the 500 that were over last, but not after
    # a restart of the exchange. "Get Order History": may be delayed; without a fill for 24 hours. "170141 Duplicate
    # clientOrderId". `X-BAPI-RECV-WINDOW`: 5 s, as ccxt sends it.
    "bybit": ClientIdRule(
        field="orderLinkId",
        questions=(by.bybit_orders("privateGetV5OrderRealtime"), by.bybit_orders("privateGetV5OrderHistory")),
        look_up="one call for an open or recent order, then one of history",
        valid_seconds=6.0,
        listed=_DAY,
        lag=_LAG,
    ),
    # Advanced Trade, "List Orders": no filter for the id (that of "Get Order" is deprecated), so the ids are compared.
    # "Create Order": with an id that exists the answer is that order. "API key authentication": a token is valid for
    # two minutes.
    "coinbase": ClientIdRule(
        field="client_order_id",
        questions=(by.coinbase_open, by.coinbase_orders),
        look_up="list of open orders, then of all",
        parameter="client_order_id",
        form=_with_dashes,
        form_note="with dashes",
        valid_seconds=120.0,
        listed=_WEEK,
        lag=_LAG,
    ),
    # Exchange, "Get single order": by "client:" and the `client_oid`, a UUID; HTTP 404 also after a cancel without a
    # match. Then nothing was executed and nothing will be, as if it had never come, which is all that "not there" has
    # to mean. "Authentication": `CB-ACCESS-TIMESTAMP`, 30 s.
    "coinbaseexchange": ClientIdRule(
        field="client_oid",
        questions=(by.one_order(absent_if("message", "NotFound", "order not found", status=404)),),
        look_up="one call",
        form=_with_dashes,
        form_note="with dashes",
        valid_seconds=60.0,
        listed=_WEEK,
    ),
    # Exchange API v1, "private/get-order-detail": by `client_oid` of up to 36 characters; "40401 NOT_FOUND". "Common
    # API reference": a nonce is a time of at most 60 s ago.
    "cryptocom": ClientIdRule(
        field="client_oid",
        questions=(
            by.one_order_by(
                "v1PrivatePostPrivateGetOrderDetail", "client_oid", absent_if("code", "40401"), inside="result"
            ),
        ),
        look_up="one call",
        parameter="client_oid",
        valid_seconds=120.0,
        listed=_DAY,
    ),
    # API v4, "Query single order details": by `text` ("t-" and up to 28 characters) while it is open, and for an hour
    # after it was over; "ORDER_NOT_FOUND". Then from "List orders" with status=finished. `Timestamp`: 60 s.
    "gate": ClientIdRule(
        field="text",
        questions=(by.one_order(absent_if("label", "ORDER_NOT_FOUND")), by.gateio_history),
        look_up="one call, then the list of history",
        form=_for_gateio,
        form_note='"t-" and 26 digits',
        valid_seconds=120.0,
        listed=_HOUR,
    ),
    # "Order Status": by `client_order_id`, one order or a list of them; "OrderNotFound". Ids may come again. "Private
    # API invocation": a nonce is within 30 s, or higher than the last one, and the look-up has a higher one.
    "gemini": ClientIdRule(
        field="client_order_id",
        questions=(
            by.one_order_by("privatePostV1OrderStatus", "client_order_id", absent_if("reason", "OrderNotFound")),
        ),
        look_up="one call",
        valid_seconds=60.0,
        listed=_WEEK,
    ),
    # "Get the Order Detail of an Order (based on client order ID)": within 8 hours, canceled ones for 2. Its answer
    # "base-record-invalid" is elsewhere explained as "failed to get data", so the orders are listed, too: "Search Past
    # Orders", two days of them. "Authentication": `Timestamp`, five minutes.
    "htx": ClientIdRule(
        field="client-order-id",
        questions=(by.one_order(absent_if("err-code", "base-record-invalid")), by.htx_orders),
        look_up="one call, then the list of all orders",
        valid_seconds=600.0,
        listed=2 * _HOUR,
    ),
    # "Get Open Orders" and "Get Closed Orders" filter by `cl_ord_id`. A nonce must be higher than the last one.
    "kraken": ClientIdRule(
        field="cl_ord_id",
        questions=(by.kraken_orders("fetch_open_orders"), by.kraken_orders("fetch_closed_orders")),
        look_up="list of open orders, then of closed ones, by our id",
        valid_seconds=0.0,
        listed=None,
    ),
    # "Get Order Details by clientOid": of a classic account active orders only, which are then read from the list of
    # done ones; of a unified account ("Get Order Details") canceled ones for 2 days. "order not exist".
    # "126044 clientOid duplicate". `KC-API-TIMESTAMP`: 5 s.
    "kucoin": ClientIdRule(
        field="clientOid",
        questions=(
            by.one_order(absent_if("msg", "order not exist", "order not exist.", "The order does not exist.")),
            by.kucoin_history,
        ),
        look_up="one call, then the list of history",
        valid_seconds=10.0,
        listed=2 * _DAY,
        lag=_LAG,
    ),
    # Spot v3, "Query order": by `origClientOrderId` (32 letters, digits, "-", "_"); "-2013 Order does not exist".
    # `recvWindow`: 5 s, as ccxt sends it.
    "mexc": ClientIdRule(
        field="clientOrderId",
        questions=(by.one_order(absent_if("code", "-2013")),),
        look_up="one call",
        valid_seconds=6.0,
        listed=_DAY,
    ),
    # API v5, "Order details": by `clOrdId` (32 letters and digits); "51603 Order does not exist". "Order history":
    # canceled without a fill for two hours. "51016 Duplicated client order ID". `OK-ACCESS-TIMESTAMP`: 30 s.
    "okx": ClientIdRule(
        field="clOrdId",
        questions=(by.one_order(absent_if("code", "51603")),),
        look_up="one call",
        valid_seconds=60.0,
        listed=2 * _HOUR,
    ),
    # "Get order": by `identifier`, which is never taken twice; "order_not_found", HTTP 404.
    "upbit": ClientIdRule(
        field="identifier",
        questions=(
            by.one_order_by("privateGetOrder", "identifier", absent_if("error.name", "order_not_found", status=404)),
        ),
        look_up="one call",
        valid_seconds=86400.0,
        listed=_WEEK,
    ),
}


#: Exchanges that are the same one at another address, with the same API: their classes are subclasses in ccxt.
_SAME = {"bybiteu": "bybit", "bybitid": "bybit", "gateeu": "gate", "myokx": "okx", "okxus": "okx"}
CLIENT_IDS: Mapping[str, ClientIdRule] = {**_RULES, **{name: _RULES[other] for name, other in _SAME.items()}}


def lines() -> list[str]:
    """Return the lines of a table in Markdown: what an order is looked up by, how, and for how long."""
    made = ["| exchange | our id in | looked up by | found for |", "| --- | --- | --- | --- |"]
    for name, rule in sorted(_RULES.items()):
        names = [name, *(same for same, other in _SAME.items() if other == name)]
        title = ", ".join(f"`ccxt:{name}`" for name in names)
        made.append(f"| {title} | {_form(rule)} | {rule.look_up} | {_duration(rule.listed)} |")
    return made


def _form(rule: ClientIdRule) -> str:
    field = "`cid`" if isinstance(rule.field, int) else f"`{rule.field}`"
    return f"{field}, {rule.form_note}" if rule.form_note else field


def _duration(listed: timedelta | None) -> str:
    if listed is None:
        return "ever"
    hours = int(listed / _HOUR)
    count, unit = (hours, "hour") if hours < 24 else (hours // 24, "day")
    return f"{count} {unit}{'' if count == 1 else 's'}"
