"""What 18 exchanges are sent with an order of ours, and asked and answer about it by its client id.

The requests are those that ccxt 4.5.90 makes, and the answers have the fields that the documents of each exchange name
(see `exchanges/ccxt/client_ids.py` for their headings); the numbers are made up. The order sells 0.1 BTC at 20000.
Kraken, which has a local exchange of its own, is not among them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

#: Our client id, and the same with dashes.
OURS = "0123456789ab4def8123456789abcdef"
DASHED = str(uuid.UUID(OURS))
#: Another one, in the same forms.
OTHER = "fedcba9876544321a123456789fedcba"
#: Stands in the expected requests for the time since which orders are listed: in milliseconds, in seconds, and so on.
SINCE, SINCE_SECONDS, SINCE_ISO = "since, ms", "since, s", "since, ISO 8601"
SINCE_AND_A_DAY, SINCE_AND_TWO_DAYS = "since, ms, and a day", "since, ms, and two days"
#: Made of `OURS` by hand, and of `OTHER`.
CID, OTHER_CID = 0x81234567_89ABCDEF & (2**45 - 1), 0xA1234567_89FEDCBA & (2**45 - 1)

#: The time of an order of Bitfinex, which is compared: after any time since which orders are listed.
CREATED_LATER = 4102444800000

#: A request: method, path, and the fields of its query and its body but for keys, times and signatures.
Call = tuple[str, str, dict[str, Any]]
#: An answer: HTTP status and document.
Answer = tuple[int, Any]


@dataclass
class Look:
    """One question. `shows`: whether an order that is open, and one that is filled, is in the answer."""

    call: Call
    absent: Answer
    open: Any = None
    filled: Any = None


@dataclass
class Case:
    market: str
    currency: str
    placed: Call
    answer: Any
    looks: list[Look]
    id: str = "77"
    #: Our id in this exchange's form, and another one.
    form: Any = OURS
    other: Any = OTHER
    #: Fields of a request that differ each time.
    volatile: set[str] = field(default_factory=set)
    #: What ccxt reads before: path -> answer.
    before: dict[str, Any] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    apikey: str = "key-0123456789"
    #: The market's own fields, where ccxt looks at them.
    info: dict[str, Any] = field(default_factory=dict)


def _binance(status: str, filled: str) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "orderId": 77,
        "clientOrderId": OURS,
        "price": "20000.00",
        "origQty": "0.10000000",
        "executedQty": filled,
        "cummulativeQuoteQty": "2000.0" if filled != "0" else "0",
        "status": status,
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "SELL",
        "time": 1795756288000,
    }


def _binance_case() -> Case:
    limit = {"timeInForce": "GTC", "quantity": "0.1", "price": "20000", "recvWindow": "10000"}
    return Case(
        market="BTCUSDT",
        currency="USDT",
        placed=(
            "POST",
            "/api/v3/order",
            {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "newClientOrderId": OURS}
            | {"newOrderRespType": "FULL"}
            | limit,
        ),
        answer=_binance("NEW", "0"),
        looks=[
            Look(
                ("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": OURS, "recvWindow": "10000"}),
                (400, {"code": -2013, "msg": "Order does not exist."}),
                _binance("NEW", "0"),
                _binance("FILLED", "0.1"),
            )
        ],
        volatile={"timestamp", "signature"},
        info={"orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"]},
    )


def _okx(state: str, filled: str) -> dict[str, Any]:
    row = {"instType": "SPOT", "instId": "BTC-USDT", "ordId": "77", "clOrdId": OURS, "px": "20000", "sz": "0.1"}
    more = {"side": "sell", "ordType": "limit", "state": state, "accFillSz": filled, "cTime": "1795756288000"}
    average = {"avgPx": "20000" if filled != "0" else "", "fee": "0", "feeCcy": "USDT", "tdMode": "cash"}
    return {"code": "0", "msg": "", "data": [row | more | average]}


def _bybit(*rows: tuple[str, str]) -> dict[str, Any]:
    order = {"orderId": "77", "orderLinkId": OURS, "symbol": "BTCUSDT", "price": "20000", "qty": "0.1", "side": "Sell"}
    more = {"orderType": "Limit", "timeInForce": "GTC", "createdTime": "1795756288000", "cumExecFee": "0"}
    listed = [
        order
        | more
        | {"orderStatus": status, "cumExecQty": filled, "cumExecValue": "2000" if filled != "0" else "0"}
        | {"leavesQty": "0.1" if filled == "0" else "0", "avgPrice": "20000" if filled != "0" else ""}
        for status, filled in rows
    ]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": "spot", "list": listed, "nextPageCursor": ""}}


def _bitget(status: str, filled: str) -> dict[str, Any]:
    row = {"userId": "1", "symbol": "BTCUSDT", "orderId": "77", "clientOid": OURS, "price": "20000", "size": "0.1"}
    more = {"orderType": "limit", "side": "sell", "status": status, "priceAvg": "20000" if filled != "0" else "0"}
    rest = {"baseVolume": filled, "quoteVolume": "2000" if filled != "0" else "0", "cTime": "1795756288000"}
    return {
        "code": "00000",
        "msg": "success",
        "data": [row | more | rest | {"feeDetail": "", "uTime": "1795756288000"}],
    }


def _bitget_unified(status: str, filled: str) -> dict[str, Any]:
    row = {"symbol": "BTCUSDT", "orderId": "77", "clientOid": OURS, "price": "20000", "qty": "0.1", "category": "SPOT"}
    more = {"orderType": "limit", "side": "sell", "orderStatus": status, "avgPrice": "20000" if filled != "0" else "0"}
    rest = {"cumExecQty": filled, "cumExecValue": "2000" if filled != "0" else "0", "createdTime": "1795756288000"}
    return {"code": "00000", "msg": "success", "data": {"list": [row | more | rest], "cursor": "77"}}


def _htx(state: str, filled: str) -> dict[str, Any]:
    row = {"id": 77, "symbol": "btcusdt", "account-id": 1, "client-order-id": OURS, "amount": "0.1", "price": "20000"}
    more = {"created-at": 1795756288000, "type": "sell-limit", "state": state, "source": "spot-api"}
    money = "2000" if filled != "0" else "0"
    return row | more | {"field-amount": filled, "field-cash-amount": money, "field-fees": "0"}


def _korean(state: str, left: str, **ids: str) -> dict[str, Any]:
    """An order of Bithumb or Upbit."""
    row = {"uuid": "77", "side": "ask", "ord_type": "limit", "price": "20000", "state": state, "market": "KRW-BTC"}
    more = {"created_at": "2026-11-27T14:11:28+09:00", "volume": "0.1", "remaining_volume": left, "reserved_fee": "0"}
    executed = "0" if left == "0.1" else "0.1"
    rest = {"executed_volume": executed, "paid_fee": "0", "remaining_fee": "0", "locked": "0", "trades": []}
    return row | more | rest | ids


def _bitvavo(status: str, filled: str) -> dict[str, Any]:
    row = {"orderId": "77", "clientOrderId": DASHED, "market": "BTC-EUR", "created": 1795756288000, "side": "sell"}
    more = {"status": status, "orderType": "limit", "amount": "0.1", "price": "20000", "filledAmount": filled}
    left = "0" if filled != "0" else "0.1"
    return row | more | {"amountRemaining": left, "filledAmountQuote": "2000" if filled != "0" else "0", "fills": []}


def _gate(status: str, filled: str) -> dict[str, Any]:
    row = {"id": "77", "text": "t-" + OURS[:26], "create_time_ms": 1795756288000, "status": status, "type": "limit"}
    more = {"currency_pair": "BTC_USDT", "account": "spot", "side": "sell", "amount": "0.1", "price": "20000"}
    left = "0" if filled != "0" else "0.1"
    return (
        row
        | more
        | {"left": left, "filled_total": "2000" if filled != "0" else "0", "fee": "0", "fee_currency": "USDT"}
    )


def _kucoin(*, active: bool, filled: str) -> dict[str, Any]:
    row = {"id": "77", "symbol": "BTC-USDT", "opType": "DEAL", "type": "limit", "side": "sell", "price": "20000"}
    more = {"size": "0.1", "dealSize": filled, "dealFunds": "2000" if filled != "0" else "0", "fee": "0"}
    rest = {"feeCurrency": "USDT", "clientOid": OURS, "isActive": active, "cancelExist": False}
    return row | more | rest | {"createdAt": 1795756288000, "tradeType": "TRADE"}


def _coinbase(status: str, filled: str) -> dict[str, Any]:
    kind = {"limit_limit_gtc": {"base_size": "0.1", "limit_price": "20000", "post_only": False}}
    row = {"order_id": "77", "product_id": "BTC-USD", "client_order_id": DASHED, "side": "SELL", "status": status}
    more = {"order_configuration": kind, "created_time": "2026-11-27T05:11:28Z", "filled_size": filled}
    average = "20000" if filled != "0" else "0"
    rest = {"average_filled_price": average, "total_fees": "0", "order_type": "LIMIT"}
    return row | more | rest | {"filled_value": "2000" if filled != "0" else "0"}


def _coinbase_list(*orders: dict[str, Any]) -> dict[str, Any]:
    return {"orders": list(orders), "has_next": False, "cursor": "", "sequence": "0"}


def _coinbase_exchange(status: str, filled: str) -> dict[str, Any]:
    row = {"id": "77", "price": "20000", "size": "0.1", "product_id": "BTC-USD", "side": "sell", "type": "limit"}
    more = {"time_in_force": "GTC", "created_at": "2026-11-27T05:11:28Z", "fill_fees": "0", "filled_size": filled}
    value = "2000" if filled != "0" else "0"
    done = {"done_reason": "filled"} if status == "done" else {}
    return row | more | {"executed_value": value, "status": status, "settled": True, "client_oid": DASHED} | done


def _gemini(*, live: bool, filled: str) -> dict[str, Any]:
    row = {"order_id": "77", "id": "77", "symbol": "btcusd", "exchange": "gemini", "side": "sell", "price": "20000"}
    more = {"type": "exchange limit", "timestampms": 1795756288000, "is_live": live, "is_cancelled": False}
    rest = {"executed_amount": filled, "remaining_amount": "0" if filled != "0" else "0.1", "original_amount": "0.1"}
    average = "20000" if filled != "0" else "0"
    return row | more | rest | {"client_order_id": OURS, "avg_execution_price": average, "options": []}


def _cryptocom(status: str, filled: str) -> dict[str, Any]:
    row = {"order_id": "77", "client_oid": OURS, "order_type": "LIMIT", "side": "SELL", "instrument_name": "BTC_USDT"}
    more = {"quantity": "0.1", "limit_price": "20000", "status": status, "cumulative_quantity": filled}
    value = "2000" if filled != "0" else "0"
    rest = {"cumulative_value": value, "avg_price": "20000" if filled != "0" else "0", "create_time": 1795756288000}
    return row | more | rest | {"cumulative_fee": "0", "fee_instrument_name": "USDT"}


def _bitfinex(status: str, left: float) -> list[Any]:
    order = [None] * 32
    order[:9] = [77, None, CID, "tBTCUST", CREATED_LATER, CREATED_LATER, left, -0.1, "EXCHANGE LIMIT"]
    order[13], order[16], order[17] = status, 20000, 20000 if left == 0 else 0
    return order


def _bitstamp(status: str, left: str, fills: list[dict[str, Any]]) -> dict[str, Any]:
    row = {"id": 77, "datetime": "2026-11-27 05:11:28", "type": "1", "status": status, "market": "BTC/USD"}
    return row | {"amount_remaining": left, "client_order_id": OURS, "transactions": fills}


_NOT_FOUND = {"error": {"name": "order_not_found", "message": "주문을 찾지 못했습니다."}}
_FILL = {
    "tid": 5,
    "price": "20000.00",
    "btc": "0.1",
    "usd": "2000",
    "fee": "0",
    "datetime": "2026-11-27 05:11:29",
    "type": 2,
}
_HTX_STATES = "pre-submitted,submitted,partial-filled,filled,partial-canceled,canceled"
_LIST_MARKET = {"symbol": "BTCUSDT", "limit": "100"}

CASES: dict[str, Case] = {
    "binance": _binance_case(),
    "binanceus": _binance_case(),
    "okx": Case(
        market="BTC-USDT",
        currency="USDT",
        placed=(
            "POST",
            "/api/v5/trade/batch-orders",
            {"instId": "BTC-USDT", "side": "sell", "ordType": "limit", "sz": "0.1", "tdMode": "cash", "px": "20000"}
            | {"tgtCcy": "base_ccy", "clOrdId": OURS},
        ),
        answer={"code": "0", "data": [{"ordId": "77", "clOrdId": OURS, "sCode": "0", "sMsg": ""}], "msg": ""},
        looks=[
            Look(
                ("GET", "/api/v5/trade/order", {"instId": "BTC-USDT", "clOrdId": OURS}),
                (200, {"code": "51603", "data": [], "msg": "Order does not exist"}),
                _okx("live", "0"),
                _okx("filled", "0.1"),
            )
        ],
        more={"password": "phrase"},
    ),
    "bybit": Case(
        market="BTCUSDT",
        currency="USDT",
        before={
            "/v5/user/query-api": {"retCode": 0, "result": {"unified": 0, "uta": 1}},
            "/v5/account/info": {"retCode": 0, "result": {"unifiedMarginStatus": 5}},
        },
        placed=(
            "POST",
            "/v5/order/create",
            {"symbol": "BTCUSDT", "side": "Sell", "orderType": "Limit", "orderLinkId": OURS, "price": "20000"}
            | {"category": "spot", "qty": "0.1"},
        ),
        answer={"retCode": 0, "retMsg": "OK", "result": {"orderId": "77", "orderLinkId": OURS}},
        looks=[
            Look(
                ("GET", "/v5/order/realtime", {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": OURS}),
                (200, _bybit()),
                _bybit(("New", "0")),
            ),
            Look(
                ("GET", "/v5/order/history", {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": OURS}),
                (200, _bybit()),
                filled=_bybit(("Filled", "0.1")),
            ),
        ],
    ),
    "bitget": Case(
        market="BTCUSDT",
        currency="USDT",
        before={"/api/v3/account/settings": (400, {"code": "40084", "msg": "not a unified account"})},
        placed=(
            "POST",
            "/api/v2/spot/trade/place-order",
            {"symbol": "BTCUSDT", "side": "sell", "orderType": "limit", "force": "GTC", "price": "20000", "size": "0.1"}
            | {"clientOid": OURS},
        ),
        answer={"code": "00000", "msg": "success", "data": {"orderId": "77", "clientOid": OURS}},
        looks=[
            Look(
                ("GET", "/api/v2/spot/trade/orderInfo", {"clientOid": OURS}),
                (200, {"code": "00000", "msg": "success", "data": []}),
                _bitget("live", "0"),
            ),
            Look(
                ("GET", "/api/v2/spot/trade/history-orders", _LIST_MARKET | {"startTime": SINCE}),
                (200, {"code": "00000", "msg": "success", "data": []}),
                filled=_bitget("filled", "0.1"),
            ),
        ],
        more={"password": "phrase"},
    ),
    "bitget, unified": Case(
        market="BTCUSDT",
        currency="USDT",
        before={"/api/v3/account/settings": {"code": "00000", "data": {"assetMode": "union"}}},
        placed=(
            "POST",
            "/api/v3/trade/place-order",
            {"category": "SPOT", "symbol": "BTCUSDT", "qty": "0.1", "side": "sell", "clientOid": OURS}
            | {"price": "20000", "orderType": "limit", "timeInForce": "gtc"},
        ),
        answer={"code": "00000", "msg": "success", "data": {"orderId": "77", "clientOid": OURS}},
        looks=[
            Look(
                ("GET", "/api/v3/trade/unfilled-orders", _LIST_MARKET | {"category": "SPOT", "startTime": SINCE}),
                (200, {"code": "00000", "data": {"list": [], "cursor": None}}),
                _bitget_unified("live", "0"),
            ),
            Look(
                ("GET", "/api/v3/trade/history-orders", _LIST_MARKET | {"category": "SPOT", "startTime": SINCE}),
                (200, {"code": "00000", "data": {"list": [], "cursor": None}}),
                filled=_bitget_unified("filled", "0.1"),
            ),
        ],
        more={"password": "phrase"},
    ),
    "mexc": Case(
        market="BTCUSDT",
        currency="USDT",
        placed=(
            "POST",
            "/api/v3/order",
            {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "quantity": "0.1", "price": "20000"}
            | {"newClientOrderId": OURS, "recvWindow": "5000"},
        ),
        answer={
            "symbol": "BTCUSDT",
            "orderId": "77",
            "price": "20000",
            "origQty": "0.1",
            "type": "LIMIT",
            "side": "SELL",
        },
        looks=[
            Look(
                ("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": OURS, "recvWindow": "5000"}),
                (400, {"code": -2013, "msg": "Order does not exist."}),
                _binance("NEW", "0"),
                _binance("FILLED", "0.1"),
            )
        ],
        volatile={"timestamp", "signature"},
    ),
    "htx": Case(
        market="btcusdt",
        currency="USDT",
        before={"/v1/account/accounts": {"status": "ok", "data": [{"id": 1, "type": "spot", "state": "working"}]}},
        placed=(
            "POST",
            "/v1/order/orders/place",
            {"account-id": "1", "symbol": "btcusdt", "type": "sell-limit", "client-order-id": OURS, "amount": "0.1"}
            | {"price": "20000"},
        ),
        answer={"status": "ok", "data": "77"},
        looks=[
            Look(
                ("GET", "/v1/order/orders/getClientOrder", {"clientOrderId": OURS}),
                (
                    200,
                    {"status": "error", "err-code": "base-record-invalid", "err-msg": "record invalid", "data": None},
                ),
                {"status": "ok", "data": _htx("submitted", "0")},
            ),
            Look(
                (
                    "GET",
                    "/v1/order/orders",
                    {"symbol": "btcusdt", "states": _HTX_STATES, "size": "100"}
                    | {"start-time": SINCE, "end-time": SINCE_AND_TWO_DAYS},
                ),
                (200, {"status": "ok", "data": []}),
                filled={"status": "ok", "data": [_htx("filled", "0.1")]},
            ),
        ],
        volatile={"AccessKeyId", "SignatureMethod", "SignatureVersion", "Timestamp", "Signature"},
    ),
    "bithumb": Case(
        market="KRW-BTC",
        currency="KRW",
        placed=(
            "POST",
            "/v2/orders",
            {"market": "KRW-BTC", "side": "ask", "price": "20000", "volume": "0.1", "order_type": "limit"}
            | {"client_order_id": OURS},
        ),
        answer={"order_id": "77", "market": "KRW-BTC", "side": "ask", "order_type": "limit", "client_order_id": OURS},
        looks=[
            Look(
                ("GET", "/v1/order", {"client_order_id": OURS}),
                (404, _NOT_FOUND),
                _korean("wait", "0.1", client_order_id=OURS),
                _korean("done", "0", client_order_id=OURS),
            )
        ],
    ),
    "bitstamp": Case(
        market="btcusd",
        currency="USD",
        placed=("POST", "/api/v2/sell/btcusd/", {"amount": "0.1", "client_order_id": OURS, "price": "20000"}),
        answer={"id": "77", "datetime": "2026-11-27 05:11:28", "type": "1", "price": "20000", "amount": "0.1"},
        looks=[
            Look(
                ("POST", "/api/v2/order_status/", {"client_order_id": OURS}),
                (404, {"status": "error", "reason": "Order not found", "response_code": "404.002"}),
                _bitstamp("Open", "0.1", []),
                _bitstamp("Finished", "0", [_FILL]),
            )
        ],
    ),
    "bitvavo": Case(
        market="BTC-EUR",
        currency="EUR",
        form=DASHED,
        other=str(uuid.UUID(OTHER)),
        placed=(
            "POST",
            "/v2/order",
            {"market": "BTC-EUR", "side": "sell", "orderType": "limit", "price": "20000", "amount": "0.1"}
            | {"operatorId": 7, "clientOrderId": DASHED},
        ),
        answer=_bitvavo("new", "0"),
        looks=[
            Look(
                ("GET", "/v2/order", {"market": "BTC-EUR", "clientOrderId": DASHED}),
                (404, {"errorCode": 240, "error": "No order found."}),
                _bitvavo("new", "0"),
            ),
            Look(
                (
                    "GET",
                    "/v2/orders",
                    {"market": "BTC-EUR", "limit": "1000", "start": SINCE, "end": SINCE_AND_A_DAY},
                ),
                (200, []),
                filled=[_bitvavo("filled", "0.1")],
            ),
        ],
        more={"operatorId": "7"},
    ),
    "gate": Case(
        market="BTC_USDT",
        currency="USDT",
        form="t-" + OURS[:26],
        other="t-" + OTHER[:26],
        before={"/api/v4/account/detail": {"key": {"mode": 1}}},
        placed=(
            "POST",
            "/api/v4/spot/orders",
            {"currency_pair": "BTC_USDT", "type": "limit", "account": "spot", "side": "sell", "amount": "0.1"}
            | {"price": "20000", "text": "t-" + OURS[:26]},
        ),
        answer=_gate("open", "0"),
        looks=[
            Look(
                (
                    "GET",
                    "/api/v4/spot/orders/t-" + OURS[:26],
                    {"account": "spot", "currency_pair": "BTC_USDT"},
                ),
                (404, {"label": "ORDER_NOT_FOUND", "message": "Order not found"}),
                _gate("open", "0"),
            ),
            Look(
                (
                    "GET",
                    "/api/v4/spot/orders",
                    {"account": "spot", "currency_pair": "BTC_USDT", "status": "finished", "limit": "100"}
                    | {"page": "1", "from": SINCE_SECONDS},
                ),
                (200, []),
                filled=[_gate("closed", "0.1")],
            ),
        ],
    ),
    "kucoin": Case(
        market="BTC-USDT",
        currency="USDT",
        before={"/api/ua/v1/account/mode": {"code": "200000", "data": {"selfAccountMode": "CLASSIC"}}},
        placed=(
            "POST",
            "/api/v1/orders",
            {"clientOid": OURS, "side": "sell", "symbol": "BTC-USDT", "type": "limit", "size": "0.1", "price": "20000"},
        ),
        answer={"code": "200000", "data": {"orderId": "77"}},
        looks=[
            Look(
                ("GET", f"/api/v1/order/client-order/{OURS}", {}),
                (200, {"code": "400100", "msg": "order not exist."}),
                {"code": "200000", "data": _kucoin(active=True, filled="0")},
            ),
            Look(
                (
                    "GET",
                    "/api/v1/orders",
                    {"status": "done", "symbol": "BTC-USDT", "pageSize": "500", "currentPage": "1", "startAt": SINCE},
                ),
                (200, {"code": "200000", "data": {"currentPage": 1, "totalPage": 1, "items": []}}),
                filled={
                    "code": "200000",
                    "data": {"currentPage": 1, "totalPage": 1, "items": [_kucoin(active=False, filled="0.1")]},
                },
            ),
        ],
        more={"password": "phrase"},
    ),
    "coinbase": Case(
        market="BTC-USD",
        currency="USD",
        form=DASHED,
        other=str(uuid.UUID(OTHER)),
        placed=(
            "POST",
            "/api/v3/brokerage/orders",
            {
                "client_order_id": DASHED,
                "product_id": "BTC-USD",
                "side": "SELL",
                "order_configuration": {
                    "limit_limit_gtc": {"base_size": "0.1", "limit_price": "20000", "post_only": False}
                },
            },
        ),
        answer={
            "success": True,
            "success_response": {
                "order_id": "77",
                "product_id": "BTC-USD",
                "side": "SELL",
                "client_order_id": DASHED,
            },
        },
        looks=[
            Look(
                (
                    "GET",
                    "/api/v3/brokerage/orders/historical/batch",
                    {"order_status": "OPEN", "start_date": SINCE_ISO, "limit": "1000"},
                ),
                (200, _coinbase_list()),
                _coinbase_list(_coinbase("OPEN", "0")),
            ),
            Look(
                (
                    "GET",
                    "/api/v3/brokerage/orders/historical/batch",
                    {"start_date": SINCE_ISO, "limit": "1000"},
                ),
                (200, _coinbase_list()),
                filled=_coinbase_list(_coinbase("FILLED", "0.1")),
            ),
        ],
    ),
    "coinbaseexchange": Case(
        market="BTC-USD",
        currency="USD",
        form=DASHED,
        other=str(uuid.UUID(OTHER)),
        placed=(
            "POST",
            "/orders",
            {"type": "limit", "side": "sell", "product_id": "BTC-USD", "client_oid": DASHED, "price": "20000"}
            | {"size": "0.1"},
        ),
        answer=_coinbase_exchange("pending", "0"),
        looks=[
            Look(
                ("GET", f"/orders/client:{DASHED}", {}),
                (404, {"message": "NotFound"}),
                _coinbase_exchange("open", "0"),
                _coinbase_exchange("done", "0.1"),
            )
        ],
        more={"password": "phrase"},
    ),
    "gemini": Case(
        market="btcusd",
        currency="USD",
        placed=(
            "POST",
            "/v1/order/new",
            {"request": "/v1/order/new", "client_order_id": OURS, "symbol": "btcusd", "amount": "0.1"}
            | {"price": "20000", "side": "sell", "type": "exchange limit"},
        ),
        answer=_gemini(live=True, filled="0"),
        looks=[
            Look(
                ("POST", "/v1/order/status", {"request": "/v1/order/status", "client_order_id": OURS}),
                (404, {"result": "error", "reason": "OrderNotFound", "message": "Order not found"}),
                _gemini(live=True, filled="0"),
                [_gemini(live=False, filled="0.1")],
            )
        ],
        volatile={"nonce"},
        apikey="account-key-0123456789",
    ),
    "cryptocom": Case(
        market="BTC_USDT",
        currency="USDT",
        placed=(
            "POST",
            "/exchange/v1/private/create-order",
            {
                "method": "private/create-order",
                "params": {
                    "instrument_name": "BTC_USDT",
                    "side": "SELL",
                    "quantity": "0.1",
                    "price": "20000",
                    "broker_id": "CCXT",
                    "spot_margin": "SPOT",
                    "type": "LIMIT",
                    "client_oid": OURS,
                },
            },
        ),
        answer={"code": 0, "result": {"order_id": "77", "client_oid": OURS}},
        looks=[
            Look(
                (
                    "POST",
                    "/exchange/v1/private/get-order-detail",
                    {"method": "private/get-order-detail", "params": {"client_oid": OURS}},
                ),
                (200, {"code": 40401, "message": "NOT_FOUND"}),
                {"code": 0, "result": _cryptocom("ACTIVE", "0")},
                {"code": 0, "result": _cryptocom("FILLED", "0.1")},
            )
        ],
        volatile={"id", "api_key", "sig", "nonce"},
    ),
    "bitfinex": Case(
        market="tBTCUST",
        currency="USDT",
        form=CID,
        other=OTHER_CID,
        placed=(
            "POST",
            "/v2/auth/w/order/submit",
            {"symbol": "tBTCUST", "amount": "-0.1", "price": "20000", "type": "EXCHANGE LIMIT", "cid": CID},
        ),
        answer=[1795756288, "on-req", None, None, [_bitfinex("ACTIVE", -0.1)], None, "SUCCESS", "Submitting"],
        looks=[
            Look(("POST", "/v2/auth/r/orders/tBTCUST", {}), (200, []), [_bitfinex("ACTIVE", -0.1)]),
            Look(
                ("POST", "/v2/auth/r/orders/tBTCUST/hist", {"start": SINCE, "limit": 2500}),
                (200, []),
                filled=[_bitfinex("EXECUTED @ 20000.0(-0.1)", 0)],
            ),
        ],
    ),
    "upbit": Case(
        market="KRW-BTC",
        currency="KRW",
        placed=(
            "POST",
            "/v1/orders",
            {"market": "KRW-BTC", "side": "ask", "ord_type": "limit", "price": "20000", "volume": "0.1"}
            | {"identifier": OURS},
        ),
        answer=_korean("wait", "0.1", identifier=OURS),
        looks=[
            Look(
                ("GET", "/v1/order", {"identifier": OURS}),
                (404, _NOT_FOUND),
                _korean("wait", "0.1", identifier=OURS),
                _korean("done", "0", identifier=OURS),
            )
        ],
    ),
}

#: The same exchanges at other addresses.
CASES |= dict.fromkeys(("myokx", "okxus"), CASES["okx"]) | dict.fromkeys(("bybiteu", "bybitid"), CASES["bybit"])
CASES["gateeu"] = CASES["gate"]
