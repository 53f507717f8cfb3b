"""A local Backpack: its REST API with ed25519 signatures, text amounts, and orders that leave the book for a history.

Protocol: the OpenAPI 1.0 text of docs.backpack.exchange (August 2026). Switches for tests: `history_lag` (seconds until
an order that is over, and its fills, are in the history), `accepts_cancels` (cancellations answer 202 without a body),
`two_factor` (the token that a withdrawal needs), `lent` (what of each asset is lent, beside the balances),
`leaves_out` (what is optional and unknown is left out of rows, and is not null), `unparsed` (how many orders cannot be
parsed), `untraded` (the starts of the candles that have no trade), `waiting_status` (of a withdrawal that is not sent
yet).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .candles import candle_starts, candles
from .venue import (
    Account,
    Fill,
    Order,
    Pair,
    Reject,
    Reply,
    Request,
    Transfer,
    Venue,
    pair,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

#: (blockchain, withdrawal fee, least withdrawal) of each asset
CHAINS = {
    "BTC": [("Bitcoin", "0.0001", "0.0002")],
    "SOL": [("Solana", "0.01", "0.02")],
    "ETH": [("Ethereum", "0.001", "0.002")],
    "USDC": [("Solana", "1", "2"), ("Ethereum", "3", "6")],
}
#: How many seconds each interval of candles lasts; a month is taken as 30 days.
INTERVALS = {
    **{f"{minutes}m": 60 * minutes for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": 3600 * hours for hours in (1, 2, 4, 6, 8, 12)},
    "1d": 86400,
    "3d": 3 * 86400,
    "1w": 7 * 86400,
    "1month": 30 * 86400,
}
#: Why a limit order that ends at once was canceled; of another one nothing could be traded with it.
_EXPIRIES = {"IOC": "ImmediateOrCancel", "FOK": "FillOrKill"}
DEPTHS = {"5", "10", "20", "50", "100", "500", "1000"}


def keys(seed: bytes) -> tuple[str, str]:
    """Key and secret, as the exchange shows them, of a private key of 32 bytes."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(public).decode(), base64.b64encode(seed).decode()


class RequestRefused(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.reply = Reply.json({"code": code, "message": message}, status)


class UnreadableRequest(RequestRefused):
    """A request whose parameters cannot be parsed is answered in plain text."""

    def __init__(self, text: str) -> None:
        super().__init__("", "")
        self.reply = Reply.text(text, 400)


def naive(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def flat(parameters: dict[str, Any]) -> str:
    """The signed form of parameters: sorted, raw, booleans in lower case, without what is null."""
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in parameters.items()
        if value is not None
    }
    return "".join(f"&{name}={texts[name]}" for name in sorted(texts))


class BackpackVenue(Venue):
    name = "backpack"
    default_key, default_secret = keys(hashlib.sha256(b"the local Backpack").digest())
    permissions = ("read", "trade", "withdraw")
    fees_in = "received"

    def __init__(self, **options: Any) -> None:
        self.history_lag = 0.0
        self.accepts_cancels = False
        self.two_factor: str | None = None
        self.lent: dict[str, Decimal] = {}
        self.leaves_out = False
        self.unparsed = 0
        self.untraded: set[str] = set()
        self.waiting_status = "pending"
        super().__init__(**options)

    def default_pairs(self) -> list[Pair]:
        rules = {"fee": Decimal("0.0010"), "cost_min": Decimal(0), "cost_places": 8}
        return [
            pair("BTC", "USDC", "30010.0", "30000.0", price_places=1, amount_places=5, **rules),
            pair("SOL", "USDC", "100.10", "100.00", amount_places=2, **{**rules, "amount_min": Decimal("0.01")}),
            pair("ETH", "USDC", "2001.00", "2000.00", amount_places=4, **rules),
        ]

    def new_id(self, kind: str) -> str:
        # Ids of orders do not fit into a double: 2**53 is 9007199254740992.
        start = {"order": 111051090663277568, "fill": 2959284, "withdrawal": 5479929, "deposit": 6695353}[kind]
        return str(start + next(self._numbers))

    def routes(self) -> dict[tuple[str, str], Callable[..., Any]]:
        public = {
            "/api/v1/time": lambda request: Reply.text(str(int(self.clock() * 1000))),
            "/api/v1/ping": lambda request: Reply.text("pong"),
            "/api/v1/status": lambda request: {"status": "Ok", "message": None},
            "/api/v1/assets": self.assets,
            "/api/v1/markets": self.markets,
            "/api/v1/market": self.market,
            "/api/v1/securities": lambda request: [],
            "/api/v1/ticker": self.ticker,
            "/api/v1/depth": self.depth,
            "/api/v1/trades": self.trades,
            "/api/v1/klines": self.klines,
        }
        private: dict[tuple[str, str], tuple[str, str, Callable[..., Any]]] = {
            ("GET", "/api/v1/account"): ("accountQuery", "read", self.account_facts),
            ("GET", "/api/v1/capital"): ("balanceQuery", "read", self.balances),
            ("GET", "/api/v1/capital/collateral"): ("collateralQuery", "read", self.collateral),
            ("POST", "/api/v1/order"): ("orderExecute", "trade", self.execute),
            ("GET", "/api/v1/order"): ("orderQuery", "read", self.open_order),
            ("DELETE", "/api/v1/order"): ("orderCancel", "trade", self.cancel_order),
            ("GET", "/api/v1/orders"): ("orderQueryAll", "read", self.open_orders),
            ("POST", "/api/v1/orders"): ("orderExecute", "trade", self.execute_many),
            ("DELETE", "/api/v1/orders"): ("orderCancelAll", "trade", self.cancel_all),
            ("GET", "/wapi/v1/history/orders"): ("orderHistoryQueryAll", "read", self.order_history),
            ("GET", "/wapi/v1/history/fills"): ("fillHistoryQueryAll", "read", self.fill_history),
            ("GET", "/wapi/v1/capital/deposit/address"): ("depositAddressQuery", "read", self.deposit_address),
            ("GET", "/wapi/v1/capital/deposits"): ("depositQueryAll", "read", self.deposit_history),
            ("GET", "/wapi/v1/capital/withdrawals"): ("withdrawalQueryAll", "read", self.withdrawal_history),
            ("POST", "/wapi/v1/capital/withdrawals"): ("withdraw", "withdraw", self.request_withdrawal),
        }
        return {
            **{("GET", path): handler for path, handler in public.items()},
            **{route: self.private(*entry) for route, entry in private.items()},
        }

    def address(self, account: Account, asset: str, *, network: str | None = None, new: bool = False) -> str:
        """One address for each chain, whatever comes in."""
        chain = network or CHAINS[asset][0][0]
        return super().address(account, chain, network=chain, new=new)

    def handle(self, request: Request) -> Reply:
        try:
            return super().handle(request)
        except RequestRefused as refused:
            return refused.reply

    def not_found(self, request: Request) -> Reply:
        return Reply.text("not found", 404)

    def fault_reply(self, kind: str, request: Request) -> Reply:
        code, message, status = {
            "rate_limit": ("TOO_MANY_REQUESTS", "Too many requests", 429),
            "nonce": ("INVALID_CLIENT_REQUEST", "Request has expired", 400),
            "maintenance": ("MAINTENANCE", "The exchange is under maintenance", 503),
        }[kind]
        return RequestRefused(code, message, status).reply

    def refused(self, request: Request, reject: Reject) -> Reply:
        return self.refusal(reject)

    def refusal(self, reject: Reject) -> Reply:
        return {
            "insufficient_funds": RequestRefused("INSUFFICIENT_FUNDS", "Insufficient funds"),
            "unknown_pair": RequestRefused("INVALID_MARKET", "Invalid market"),
            "amount_min": RequestRefused("INVALID_QUANTITY", "Quantity is below the minimum"),
            "amount_places": RequestRefused("INVALID_QUANTITY", "Quantity decimal too long"),
            "price_places": RequestRefused("INVALID_PRICE", "Price decimal too long"),
            "no_liquidity": RequestRefused("INVALID_ORDER", "Insufficient liquidity"),
            "post_only": RequestRefused("INVALID_ORDER", "Order would immediately match and take"),
            "order_not_found": RequestRefused("RESOURCE_NOT_FOUND", "Order not found"),
            "order_not_open": RequestRefused("RESOURCE_NOT_FOUND", "Order not found"),
        }[reject.code].reply

    def private(self, instruction: str, right: str, handler: Callable[..., Any]) -> Callable[[Request], Any]:
        def call(request: Request) -> Any:
            if request.method == "GET":
                parameters = request.args
            else:
                if request.headers.get("Content-Type", "").partition(";")[0] != "application/json":
                    raise UnreadableRequest(
                        "Bad Request parse request payload error: the content type is not application/json"
                    )
                try:
                    parameters = json.loads(request.body)
                except ValueError:
                    raise UnreadableRequest("Bad Request parse request payload error: parse JSON error") from None
                if (handler == self.execute_many) != isinstance(parameters, list):
                    raise UnreadableRequest(
                        'Bad Request parse request payload error: failed to parse: Expected input type "array", or none'
                    )
            account = self.account_of(request, instruction, parameters)
            if right not in account.permissions:
                raise RequestRefused("FORBIDDEN", "Forbidden", 403)
            return handler(account, parameters)

        return call

    def account_of(self, request: Request, instruction: str, parameters: Any) -> Account:
        key, signature = request.headers.get("X-API-Key"), request.headers.get("X-Signature")
        timestamp, window = request.headers.get("X-Timestamp"), request.headers.get("X-Window", "5000")
        if not key or not signature or not timestamp:
            raise RequestRefused("UNAUTHORIZED", "Missing authentication headers", 401)
        if not re.fullmatch(r"[0-9]{1,16}", timestamp) or not re.fullmatch(r"[0-9]{1,5}", window):
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Invalid timestamp or window")
        if not 0 < int(window) <= 60_000:
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Invalid window")
        if abs(self.clock() * 1000 - int(timestamp)) > int(window):
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Request has expired")
        if (account := self.accounts.get(key)) is None:
            raise RequestRefused("UNAUTHORIZED", "Unauthorized", 401)
        # Of a list each entry is signed as an instruction of its own.
        parts = parameters if isinstance(parameters, list) else [parameters]
        signed = "&".join(f"instruction={instruction}{flat(part)}" for part in parts)
        text = f"{signed}&timestamp={timestamp}&window={window}"
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
            public.verify(base64.b64decode(signature, validate=True), text.encode())
        except (InvalidSignature, ValueError):
            raise RequestRefused("INVALID_SIGNATURE", "Invalid signature") from None
        return account

    def pair_of(self, symbol: object, *, payload: str | None = None) -> Pair:
        if isinstance(symbol, str) and (known := self.pairs.get(symbol.replace("_", "/"))):
            return known
        if payload is not None:
            raise UnreadableRequest(
                'Bad Request parse request payload error: failed to parse "MarketSymbol": '
                f'Invalid market symbol(occurred while parsing "{payload}")'
            )
        raise UnreadableRequest(
            'failed to parse parameter `symbol`: failed to parse "MarketSymbol": Invalid market symbol'
        )

    def assets(self, request: Request) -> Any:
        return [
            {
                "coingeckoId": name.lower(),
                "displayName": name,
                "symbol": name,
                "tokens": [
                    {
                        "blockchain": chain,
                        "contractAddress": None,
                        "depositEnabled": True,
                        "displayName": name,
                        "maximumWithdrawal": None,
                        "minimumDeposit": least,
                        "minimumWithdrawal": least,
                        "nativeDecimals": 8,
                        "withdrawEnabled": True,
                        "withdrawalFee": fee,
                    }
                    for chain, fee, least in chains
                ],
            }
            for name, chains in CHAINS.items()
        ]

    def markets(self, request: Request) -> Any:
        spot = [self.market_row(known) for known in self.pairs.values()]
        filters = {**spot[0]["filters"], "price": {**spot[0]["filters"]["price"], "tickSize": "1"}}
        future = {**spot[0], "symbol": f"{spot[0]['symbol']}_PERP", "marketType": "PERP", "filters": filters}
        closed = {**spot[0], "symbol": "OLD_USDC", "baseSymbol": "OLD", "orderBookState": "Closed"}
        return [*spot, future, closed]

    def market(self, request: Request) -> Any:
        return self.market_row(self.pair_of(request.args.get("symbol")))

    def market_row(self, known: Pair) -> Any:
        price = {"minPrice": "0.01", "maxPrice": None, "tickSize": f"{Decimal(1).scaleb(-known.price_places):f}"}
        impact = {"minMultiplier": "0.75", "maxMultiplier": "1.25"}
        step = f"{Decimal(1).scaleb(-known.amount_places):f}"
        return {
            "symbol": f"{known.asset}_{known.currency}",
            "baseSymbol": known.asset,
            "quoteSymbol": known.currency,
            "marketType": "SPOT",
            "filters": {
                "price": {**price, **impact},
                "quantity": {"minQuantity": f"{known.amount_min:f}", "maxQuantity": None, "stepSize": step},
            },
            "orderBookState": "Open",
            "createdAt": "2025-01-21T06:34:54.691858",
            "fundingInterval": None,
        }

    def ticker(self, request: Request) -> Any:
        known = self.pair_of(request.args.get("symbol"))
        last = f"{known.bids[0][0]:f}"
        return {
            "symbol": request.args["symbol"],
            "firstPrice": last,
            "lastPrice": last,
            "high": last,
            "low": last,
            "volume": "6732.4927",
            "quoteVolume": "28695174.189628",
            "priceChange": "0",
            "priceChangePercent": "0",
            "trades": "24843",
        }

    def depth(self, request: Request) -> Any:
        known = self.pair_of(request.args.get("symbol"))
        if request.args.get("limit", "1000") not in DEPTHS:
            raise UnreadableRequest(
                'failed to parse parameter `limit`: failed to parse "DepthLimit": Expect a valid value.'
            )
        rest = self.resting(known)
        asks = known.asks + [(order.limit_price, order.left) for order in rest if order.side == "sell"]
        bids = known.bids + [(order.limit_price, order.left) for order in rest if order.side == "buy"]
        limit = int(request.args.get("limit", "1000"))
        # Both sides ascend: the best bid is the last one.
        return {
            "asks": [[f"{price:f}", f"{amount:f}"] for price, amount in sorted(asks)[:limit]],
            "bids": [[f"{price:f}", f"{amount:f}"] for price, amount in sorted(bids)[-limit:]],
            "lastUpdateId": "1504999670",
            "timestamp": int(self.clock() * 1_000_000),
        }

    def trades(self, request: Request) -> Any:
        known = self.pair_of(request.args.get("symbol"))
        limit = self.whole_number(request, "limit", "100")
        if not 1 <= limit <= 1000:
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Invalid limit")
        fills = [fill for order in self.orders.values() if order.pair is known for fill in order.fills]
        return [
            {
                "id": int(fill.id),
                "isBuyerMaker": fill.maker == (fill.order.side == "buy"),
                "price": f"{fill.price:f}",
                "quantity": f"{fill.amount:f}",
                "quoteQuantity": f"{fill.cost:f}",
                "timestamp": int(fill.time * 1000),
            }
            for fill in fills[: -limit - 1 : -1]
        ]

    def klines(self, request: Request) -> Any:
        known, interval = self.pair_of(request.args.get("symbol")), request.args.get("interval", "")
        if interval not in INTERVALS:
            raise UnreadableRequest(
                'failed to parse parameter `interval`: failed to parse "KlineInterval": Expect a valid value.'
            )
        step, now = INTERVALS[interval], int(self.clock())
        start = self.whole_number(request, "startTime")
        end = min(self.whole_number(request, "endTime", str(now)), now)
        traded = [
            {
                "start": naive(row.start)[:19].replace("T", " "),
                "end": naive(row.start + step)[:19].replace("T", " "),
                "open": f"{row.open:f}",
                "high": f"{row.high:f}",
                "low": f"{row.low:f}",
                "close": f"{row.close:f}",
                "volume": f"{row.volume:f}",
                "quoteVolume": f"{row.volume * row.close:f}",
                "trades": "12",
            }
            for row in candles(known, candle_starts(step, start, end))
        ]
        nothing: dict[str, Any] = {"open": None, "high": None, "low": None, "close": None, "volume": "0"}
        return [{**row, **nothing} if row["start"] in self.untraded else row for row in traded]

    def whole_number(self, request: Request, name: str, default: str = "") -> int:
        text = request.args.get(name, default)
        if not re.fullmatch(r"[0-9]{1,12}", text):
            raise UnreadableRequest(f"failed to parse parameter `{name}`: invalid digit found in string")
        return int(text)

    def account_facts(self, account: Account, parameters: dict[str, Any]) -> Any:
        return {"spotMakerFee": "10", "spotTakerFee": "10", "liquidating": False, "limitOrders": len(self.open)}

    def balances(self, account: Account, parameters: dict[str, Any]) -> Any:
        rows = {
            name: {
                "available": f"{self.available(account, name):f}",
                "locked": f"{self.held(account, name):f}",
                "staked": "0",
            }
            for name in account.balances
        }
        return {**rows, "POINTS": {"available": "2", "locked": "0", "staked": "0"}}

    def collateral(self, account: Account, parameters: dict[str, Any]) -> Any:
        rows = [
            {
                "symbol": name,
                "availableQuantity": f"{self.available(account, name):f}",
                "lendQuantity": f"{self.lent.get(name, Decimal(0)):f}",
                "openOrderQuantity": f"{self.held(account, name):f}",
                "totalQuantity": f"{balance + self.lent.get(name, Decimal(0)):f}",
            }
            for name, balance in {**dict.fromkeys(self.lent, Decimal(0)), **account.balances}.items()
        ]
        return {"collateral": rows, "netEquity": "0", "marginFraction": None}

    def parse_decimal(self, parameters: dict[str, Any], name: str) -> Decimal | None:
        value = parameters.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise UnreadableRequest(
                f'Bad Request parse request payload error: failed to parse "Decimal": `{name}` is no decimal text'
            )
        if not Decimal(value):
            raise RequestRefused(
                "INVALID_QUANTITY" if "uantity" in name else "INVALID_PRICE", f"`{name}` must be above zero"
            )
        return Decimal(value)

    def choice(self, parameters: dict[str, Any], name: str, *values: str) -> str | None:
        value = parameters.get(name)
        if value is not None and value not in values:
            raise UnreadableRequest(
                f'Bad Request parse request payload error: failed to parse "{name}": Expect a valid enumeration value.'
            )
        return value

    def parse_client_id(self, parameters: dict[str, Any]) -> int | None:
        value = parameters.get("clientId")
        if value is not None and (type(value) is not int or not 0 <= value < 2**32):
            raise UnreadableRequest(
                'Bad Request parse request payload error: failed to parse "u32": clientId is no uint32'
            )
        return value

    def execute(self, account: Account, parameters: dict[str, Any]) -> Any:
        known = self.pair_of(parameters.get("symbol"), payload="OrderExecutePayload")
        if self.unparsed:
            self.unparsed -= 1
            raise UnreadableRequest(
                'parse request payload error: Expected input type "OrderExecutePayload", found something else'
            )
        side = self.choice(parameters, "side", "Bid", "Ask")
        kind = self.choice(parameters, "orderType", "Limit", "Market")
        force = self.choice(parameters, "timeInForce", "GTC", "IOC", "FOK") or "GTC"
        prevention = self.choice(parameters, "selfTradePrevention", "RejectTaker", "RejectMaker", "RejectBoth")
        post_only = parameters.get("postOnly")
        if side is None or kind is None or post_only not in (None, True, False):
            raise UnreadableRequest('Bad Request parse request payload error: failed to parse "OrderExecutePayload"')
        client = self.parse_client_id(parameters)
        quantity, quote = self.parse_decimal(parameters, "quantity"), self.parse_decimal(parameters, "quoteQuantity")
        price = self.parse_decimal(parameters, "price")
        if ("triggerPrice" in parameters) != ("triggerQuantity" in parameters):
            raise RequestRefused(
                "INVALID_CLIENT_REQUEST", "Must specify both `triggerPrice` and `triggerQuantity` or neither"
            )
        if "triggerPrice" in parameters:
            raise RequestRefused("NOT_IMPLEMENTED", "This local exchange has no trigger orders", 501)
        if kind == "Market" and (price is not None or (quantity is None) == (quote is None)):
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Must specify exactly one of `quantity` or `quoteQuantity`")
        if kind == "Limit" and (price is None or quantity is None or quote is not None):
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Must specify `price` and `quantity`")
        if post_only and (kind == "Market" or force != "GTC"):
            raise RequestRefused("INVALID_ORDER", "Post only orders must be GTC limit orders")
        last = known.bids[0][0]
        if price is not None and not last * Decimal("0.75") <= price <= last * Decimal("1.25"):
            raise RequestRefused("INVALID_PRICE", "Price is too far from the last active price")
        order = self.place(
            account,
            known.name,
            "buy" if side == "Bid" else "sell",
            amount=quantity,
            cost=quote,
            price=price,
            client_id=None if client is None else str(client),
            post_only=bool(post_only),
            immediate=force == "IOC",
            whole=force == "FOK",
        )
        order.details = {
            "clientId": client,
            "orderType": kind,
            "timeInForce": force,
            "postOnly": bool(post_only),
            "selfTradePrevention": prevention or "RejectTaker",
            "expired": order.status == "canceled",
        }
        return self.row(order)

    def execute_many(self, account: Account, orders: list[Any]) -> Any:
        """Nothing is executed when one cannot be parsed; what is refused of one is its row, and stops no other."""
        for order in orders:
            if not isinstance(order, dict):
                raise UnreadableRequest("Bad Request parse request payload error: failed to parse: no object")
            self.pair_of(order.get("symbol"), payload="OrderExecutePayload")
            self.choice(order, "side", "Bid", "Ask")
            self.parse_client_id(order)
        return [self.row_of_many(account, order) for order in orders]

    def row_of_many(self, account: Account, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"operation": "Ok", **self.execute(account, parameters)}
        except RequestRefused as error:
            reply = error.reply
        except Reject as reject:
            reply = self.refusal(reject)
        return {"operation": "Err", **json.loads(reply.body)}

    def row(self, order: Order) -> dict[str, Any]:
        return {
            "clientId": order.details["clientId"],
            "createdAt": int(order.time * 1000),
            "executedQuantity": f"{order.filled:f}",
            "executedQuoteQuantity": f"{order.spent:f}",
            "id": order.id,
            "orderType": order.details["orderType"],
            "postOnly": order.details["postOnly"],
            **({"price": f"{order.price:f}"} if order.price is not None else {}),
            "quantity": f"{order.filled if order.amount is None else order.amount:f}",
            "quoteQuantity": f"{order.spent if order.cost is None else order.cost:f}",
            "reduceOnly": None,
            "relatedOrderId": None,
            "selfTradePrevention": order.details["selfTradePrevention"],
            "side": "Bid" if order.side == "buy" else "Ask",
            "status": self.status(order),
            "symbol": order.pair.name.replace("/", "_"),
            "timeInForce": order.details["timeInForce"],
            "triggerBy": None,
            "triggerPrice": None,
            "triggerQuantity": None,
            "triggeredAt": None,
        }

    def status(self, order: Order) -> str:
        if order.status == "open":
            return "PartiallyFilled" if order.fills else "New"
        if order.status == "filled":
            return "Filled"
        return "Expired" if order.details["expired"] else "Cancelled"

    def one_open(self, account: Account, parameters: dict[str, Any]) -> Order:
        """The resting order with one of the two ids."""
        known = self.pair_of(parameters.get("symbol"))
        order_id, client = parameters.get("orderId"), parameters.get("clientId")
        if (order_id is None) == (client is None):
            raise RequestRefused("INVALID_CLIENT_REQUEST", "Must specify exactly one of `orderId` or `clientId`")
        for order in self.orders_of(account, status="open"):
            if order.pair is known and (
                order.id == order_id or (client is not None and order.client_id == str(client))
            ):
                return order
        raise Reject("order_not_found")

    def open_order(self, account: Account, parameters: dict[str, Any]) -> Any:
        try:
            return self.row(self.one_open(account, parameters))
        except Reject:
            raise RequestRefused("RESOURCE_NOT_FOUND", "Not Found", 404) from None

    def open_orders(self, account: Account, parameters: dict[str, Any]) -> Any:
        wanted = self.pair_of(parameters["symbol"]) if "symbol" in parameters else None
        self.choice(parameters, "marketType", "SPOT", "PERP")
        if parameters.get("marketType") == "PERP":
            return []
        return [self.row(o) for o in self.orders_of(account, status="open") if wanted in (None, o.pair)]

    def cancel_order(self, account: Account, parameters: dict[str, Any]) -> Any:
        self.parse_client_id(parameters)
        order = self.one_open(account, parameters)
        self.cancel(order)
        return Reply(202, b"", {}) if self.accepts_cancels else self.row(order)

    def cancel_all(self, account: Account, parameters: dict[str, Any]) -> Any:
        wanted = self.pair_of(parameters.get("symbol"), payload="OrderCancelAllPayload")
        orders = [order for order in self.orders_of(account, status="open") if order.pair is wanted]
        for order in orders:
            self.cancel(order)
        return Reply(202, b"", {}) if self.accepts_cancels else [self.row(order) for order in orders]

    def page(self, rows: list[_T], parameters: dict[str, Any], shown: Callable[[_T], Any]) -> Reply:
        """A page of the rows, and of these alone what is `shown` of them."""
        limit, offset = int(parameters.get("limit", "100")), int(parameters.get("offset", "0"))
        if not 0 < limit <= 1000:
            raise RequestRefused("INVALID_RANGE", "limit is 1 to 1000")
        if self.choice(parameters, "sortDirection", "Asc", "Desc") != "Asc":
            rows.reverse()
        return Reply.json(
            [shown(row) for row in rows[offset : offset + limit]],
            X_PAGE_COUNT=str(-(-len(rows) // limit)),
            X_CURRENT_PAGE=str(offset // limit),
            X_PAGE_SIZE=str(limit),
            X_TOTAL=str(len(rows)),
        )

    def order_history(self, account: Account, parameters: dict[str, Any]) -> Reply:
        wanted = self.pair_of(parameters["symbol"]) if "symbol" in parameters else None
        shown = self.clock() - self.history_lag
        orders = [
            order
            for order in self.orders_of(account)
            if wanted in (None, order.pair)
            and parameters.get("orderId") in (None, order.id)
            and (order.closed is None or order.closed <= shown)
        ]
        return self.page(orders, parameters, self.history_row)

    def history_row(self, order: Order) -> dict[str, Any]:
        """A row in which more is optional than in that of a live order."""
        row = {
            **self.row(order),
            "createdAt": naive(order.time),
            "expiryReason": _EXPIRIES.get(order.details["timeInForce"], "InsufficientLiquidity")
            if order.details["expired"]
            else None,
        }
        if not self.leaves_out:
            return row
        untouched = ("executedQuantity", "executedQuoteQuantity", "quoteQuantity") if not order.fills else ()
        return {name: value for name, value in row.items() if value is not None and name not in untouched}

    def fill_history(self, account: Account, parameters: dict[str, Any]) -> Reply:
        wanted = self.pair_of(parameters["symbol"]) if "symbol" in parameters else None
        start, end = int(parameters.get("from", "0")), int(parameters.get("to", "99999999999999"))
        shown = self.clock() - self.history_lag
        fills = [
            fill
            for fill in self.fills_of(account)
            if wanted in (None, fill.order.pair)
            and parameters.get("orderId") in (None, fill.order.id)
            and start <= int(fill.time * 1000) <= end
            and fill.time <= shown
        ]
        return self.page(fills, parameters, self.fill_row)

    def fill_row(self, fill: Fill) -> dict[str, Any]:
        return {
            "clientId": fill.order.client_id,
            "fee": f"{fill.fee:f}",
            "feeSymbol": fill.fee_currency,
            "isMaker": fill.maker,
            "orderId": fill.order.id,
            "price": f"{fill.price:f}",
            "quantity": f"{fill.amount:f}",
            "side": "Bid" if fill.order.side == "buy" else "Ask",
            "symbol": fill.order.pair.name.replace("/", "_"),
            "systemOrderType": None,
            "timestamp": naive(fill.time),
            "tradeId": int(fill.id),
        }

    def chain_of(self, name: object) -> str:
        if name not in {chain for chains in CHAINS.values() for chain, _, _ in chains}:
            raise UnreadableRequest(
                'failed to parse parameter `blockchain`: failed to parse "Blockchain": Expect a valid value.'
            )
        return name

    def deposit_address(self, account: Account, parameters: dict[str, Any]) -> Any:
        return {"address": self.address(account, "", network=self.chain_of(parameters.get("blockchain")))}

    def deposit_history(self, account: Account, parameters: dict[str, Any]) -> Reply:
        return self.page(self.between(self.deposits, account, parameters), parameters, self.deposit_row)

    def deposit_row(self, made: Transfer) -> dict[str, Any]:
        return {
            "createdAt": naive(made.time),
            "fiatAmount": None,
            "fiatCurrency": None,
            "fromAddress": None,
            "id": int(made.id),
            "institutionBic": None,
            "platformMemo": None,
            "quantity": f"{made.amount:f}",
            "source": self.source(made),
            "status": {"done": "confirmed", "failed": "declined"}.get(made.status, "pending"),
            "symbol": made.asset,
            "toAddress": made.address,
            "transactionHash": made.txid,
        }

    def between(self, made: dict[str, Transfer], account: Account, parameters: dict[str, Any]) -> list[Transfer]:
        """The transfers of the account between the times that are asked for, in milliseconds since 1970."""
        start, end = int(parameters.get("from", "0")), int(parameters.get("to", "99999999999999"))
        return [one for one in made.values() if one.account is account and start <= int(one.time * 1000) <= end]

    def source(self, made: Transfer) -> str:
        chain = made.network or CHAINS[made.asset][0][0]
        return chain[0].lower() + chain[1:]

    def request_withdrawal(self, account: Account, parameters: dict[str, Any]) -> Any:
        asset, chain = parameters.get("symbol", ""), self.chain_of(parameters.get("blockchain"))
        quantity = self.parse_decimal(parameters, "quantity")
        address, client = parameters.get("address"), parameters.get("clientId")
        if (
            quantity is None
            or not address
            or (client is not None and not (isinstance(client, str) and len(client) < 256))
        ):
            raise UnreadableRequest(
                'Bad Request parse request payload error: failed to parse "AccountWithdrawalPayload"'
            )
        facts = {name: (fee, least) for name, fee, least in CHAINS.get(asset, ())}
        if chain not in facts:
            raise RequestRefused("INVALID_ASSET", "Invalid asset")
        if self.two_factor is not None and parameters.get("twoFactorToken") != self.two_factor:
            raise RequestRefused("INVALID_TWO_FACTOR_CODE", "Invalid two factor code")
        fee, least = facts[chain]
        if quantity < Decimal(least):
            raise RequestRefused("INVALID_QUANTITY", "Quantity is below the minimum")
        made = self.withdraw(account, asset, quantity, address, fee=Decimal(fee), network=chain, client_id=client)
        return self.withdrawal_row(made)

    def withdrawal_row(self, made: Transfer) -> dict[str, Any]:
        return {
            "blockchain": made.network,
            "clientId": made.client_id,
            "createdAt": naive(made.time),
            "fee": f"{made.fee:f}",
            "id": int(made.id),
            "identifier": None,
            "isInternal": False,
            "quantity": f"{made.amount:f}",
            "status": "confirmed" if made.status == "done" else self.waiting_status,
            "subaccountId": None,
            "symbol": made.asset,
            "toAddress": made.address,
            "transactionHash": made.txid,
            "triggerAt": None,
        }

    def withdrawal_history(self, account: Account, parameters: dict[str, Any]) -> Reply:
        client = parameters.get("clientId")
        made = [one for one in self.between(self.withdrawals, account, parameters) if client in (None, one.client_id)]
        return self.page(made, parameters, self.withdrawal_row)


VENUE = BackpackVenue
