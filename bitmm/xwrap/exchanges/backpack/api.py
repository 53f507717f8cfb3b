"""Backpack's REST API (the sources are named in the package): its calls, signed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlencode

from ...money import plain
from ...transport import Request, Transport
from ..api import ExchangeAPI
from ..base import Throttle, no_throttle
from ..errors import Refused, malformed_key
from ..http import JSON
from ..parsing import time_from_field
from .answers import read_document
from .signing import Value, json_body, optional_text, parameter_texts, signing_key, signing_text

__all__ = ["URL", "BackpackAPI"]

URL = "https://api.backpack.exchange"


class BackpackAPI(ExchangeAPI):
    """Every call of Backpack's REST API, signed.

        with BackpackAPI(key, secret) as api:
            ask = api.depth("SOL_USDC", limit=5)["asks"][0]
            balances = api.balances()

    For a call without a method of its own there are `public(path, params)` and `private(method, path, instruction,
    params)`. Answers are decoded JSON with exact numbers. Raises what an adapter raises: Refused, Busy, and Unknown
    when a call that moves something may have been executed; and InvalidRequest for a float. Nothing is repeated, and
    each order needs a client id to be found again.

    `key` is the base64 of the public key, `secret` that of the private key: 32 bytes, or 64 with the public key at the
    end. `window`: how many milliseconds a request stays valid, 60,000 at most. `clock` gives the seconds since 1970.
    `url`, `session`, `transport`, `throttle`: see ExchangeAPI.
    """

    name = "Backpack"

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = URL,
        session: Any = None,
        transport: Transport | None = None,
        window: int = 5000,
        clock: Callable[[], float] = time.time,
        throttle: Throttle = no_throttle,
    ) -> None:
        if not 0 < window <= 60_000:
            raise Refused("window is 1 to 60000 milliseconds", code="invalid_request")
        super().__init__(key, url=url, session=session, transport=transport, throttle=throttle)
        self.window = window
        self._clock = clock
        self._signing_key = signing_key(key, secret) if key or secret else None

    def public(self, path: str, params: Mapping[str, Value] | None = None) -> Any:
        """Return the answer of a public GET call, as `public("api/v1/ticker", {"symbol": "SOL_USDC"})`."""
        query = parameter_texts(params)
        request = Request("GET", f"{self.url}/{path.strip('/')}" + (f"?{urlencode(query)}" if query else ""), {})
        with self.throttle(path, signed=False):
            return read_document(self._send(request, mutates=False), mutates=False)

    def private(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        instruction: str,
        params: Mapping[str, Value] | Sequence[Mapping[str, Value]] | None = None,
    ) -> Any:
        """Return the answer of a private call; None when it was accepted and is not executed yet (HTTP 202)."""
        mutates = method != "GET"
        with self.throttle(path, signed=True):
            request = self.signed(method, path, instruction, params)
            return read_document(self._send(request, mutates=mutates), mutates=mutates)

    def signed(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        instruction: str,
        params: Mapping[str, Value] | Sequence[Mapping[str, Value]] | None = None,
    ) -> Request:
        """Return the signed request of a private call, ready to send; nothing is sent here. A list is a batch.

        Documentation, "Signing requests": instruction and sorted parameters, raw (not percent-encoded), for each item
        of a batch, then timestamp and window.
        """
        if self._signing_key is None:
            raise malformed_key(
                "a private call to Backpack needs an API key (apikey) and its secret (apisecret)", "apikey"
            )
        batch = [params or {}] if isinstance(params, Mapping) or params is None else params
        timestamp = int(self._clock() * 1000)
        items = [signing_text(instruction, item) for item in batch]
        text = "&".join((*items, f"timestamp={timestamp}", f"window={self.window}"))
        headers = {
            "X-API-Key": self.key,
            "X-Signature": base64.b64encode(self._signing_key.sign(text.encode())).decode(),
            "X-Timestamp": str(timestamp),
            "X-Window": str(self.window),
        }
        url = f"{self.url}/{path.strip('/')}"
        if method == "GET":
            query = urlencode(parameter_texts(batch[0]))
            return Request(method, f"{url}?{query}" if query else url, headers)
        bodies = [json_body(item) for item in batch]
        body = json.dumps(bodies[0] if isinstance(params, Mapping) or params is None else bodies)
        return Request(method, url, {**headers, "Content-Type": JSON}, body.encode())

    def time(self) -> datetime:
        """Return the time of the exchange's clock."""
        return time_from_field(self.public("api/v1/time"))

    def status(self) -> Any:
        """Return `{"status": "Ok" or "Maintenance", "message"}`."""
        return self.public("api/v1/status")

    def assets(self) -> Any:
        """Return all assets, each with the `tokens` it has, one a blockchain."""
        return self.public("api/v1/assets")

    def markets(self) -> Any:
        """Return all markets, spot and futures, with their `filters`."""
        return self.public("api/v1/markets")

    def ticker(self, symbol: str) -> Any:
        """Return the last day of a market; it has neither bid nor ask: see `depth`."""
        return self.public("api/v1/ticker", {"symbol": symbol})

    def depth(self, symbol: str, *, limit: Literal[5, 10, 20, 50, 100, 500, 1000] = 1000) -> Any:
        """Return the book; both sides ascend, so the best bid is the last one."""
        return self.public("api/v1/depth", {"symbol": symbol, "limit": limit})

    def trades(self, symbol: str, *, limit: int | None = None) -> Any:
        """Return the latest public trades, newest first."""
        return self.public("api/v1/trades", {"symbol": symbol, "limit": limit})

    def klines(self, symbol: str, interval: str, *, start: int, end: int | None = None) -> Any:
        """Return the candles of a market: `interval` as "1m", "1h" or "1month", the times in seconds since 1970."""
        params: dict[str, Value] = {"symbol": symbol, "interval": interval, "startTime": start, "endTime": end}
        return self.public("api/v1/klines", params)

    def account(self) -> Any:
        """Return fees in basis points, limits, switches."""
        return self.private("GET", "api/v1/account", "accountQuery")

    def balances(self) -> Any:
        """Return `{asset: {"available", "locked", "staked"}}`; what is lent is not among them: see `collateral`."""
        return self.private("GET", "api/v1/capital", "balanceQuery")

    def collateral(self) -> Any:
        """Return the margin account: its `collateral` is a row for each asset, with the `lendQuantity` that is lent."""
        return self.private("GET", "api/v1/capital/collateral", "collateralQuery")

    def deposits(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Any:
        """Return what came in, newest first; `start` and `end` in milliseconds since 1970."""
        params = {"from": start, "to": end, "limit": limit, "offset": offset}
        return self.private("GET", "wapi/v1/capital/deposits", "depositQueryAll", params)

    def deposit_address(self, blockchain: str) -> Any:
        """Return `{"address"}`: one for each blockchain ("Solana", "Bitcoin", "Ethereum"), whatever the asset."""
        params = {"blockchain": blockchain}
        return self.private("GET", "wapi/v1/capital/deposit/address", "depositAddressQuery", params)

    def withdrawals(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        start: int | None = None,
        end: int | None = None,
        client_id: str | None = None,
    ) -> Any:
        """Return what was sent, newest first; `start` and `end` in milliseconds since 1970."""
        params = {"from": start, "to": end, "limit": limit, "offset": offset, "clientId": client_id}
        return self.private("GET", "wapi/v1/capital/withdrawals", "withdrawalQueryAll", params)

    def withdraw(
        self,
        address: str,
        symbol: str,
        blockchain: str,
        quantity: Decimal | int | str,
        *,
        two_factor_token: str | None = None,
        client_id: str | None = None,
    ) -> Any:
        """Send `quantity` of the asset `symbol` to `address`.

        `two_factor_token` is needed unless the address is in the account's address book with 2FA switched off.
        `client_id` is a text of at most 255 characters.
        """
        params: dict[str, Value] = {
            "address": address,
            "blockchain": blockchain,
            "quantity": plain(quantity, "quantity"),
            "symbol": symbol,
            "twoFactorToken": two_factor_token,
            "clientId": client_id,
        }
        return self.private("POST", "wapi/v1/capital/withdrawals", "withdraw", params)

    def execute_order(
        self,
        symbol: str,
        side: Literal["Bid", "Ask"],
        order_type: Literal["Limit", "Market"],
        *,
        quantity: Decimal | int | str | None = None,
        quote_quantity: Decimal | int | str | None = None,
        price: Decimal | int | str | None = None,
        time_in_force: Literal["GTC", "IOC", "FOK"] | None = None,
        post_only: bool | None = None,
        client_id: int | None = None,
        trigger_price: Decimal | int | str | None = None,
        trigger_quantity: Decimal | int | str | None = None,
        self_trade_prevention: Literal["RejectTaker", "RejectMaker", "RejectBoth"] | None = None,
        reduce_only: bool | None = None,
    ) -> Any:
        """Place an order: "Bid" buys, "Ask" sells.

        A limit order has `price` and `quantity`, a market order either `quantity` (of the asset) or `quote_quantity`
        (of the currency). `trigger_price` goes with `trigger_quantity`. `client_id` is 0 to 4294967295; the same one
        twice is two orders. What is None is left to the exchange: GTC, not post-only, RejectTaker.
        """
        params: dict[str, Value] = {
            "symbol": symbol,
            "side": side,
            "orderType": order_type,
            "quantity": optional_text(quantity, "quantity"),
            "quoteQuantity": optional_text(quote_quantity, "quote_quantity"),
            "price": optional_text(price, "price"),
            "timeInForce": time_in_force,
            "postOnly": post_only,
            "clientId": client_id,
            "triggerPrice": optional_text(trigger_price, "trigger_price"),
            "triggerQuantity": optional_text(trigger_quantity, "trigger_quantity"),
            "selfTradePrevention": self_trade_prevention,
            "reduceOnly": reduce_only,
        }
        return self.private("POST", "api/v1/order", "orderExecute", params)

    def execute_orders(self, orders: Sequence[Mapping[str, Value]]) -> Any:
        """Place many orders with one request ("Execute orders"); return a row for each, in their order.

        Each has the fields of the body of an order, as `{"symbol": "SOL_USDC", "side": "Bid", "orderType": "Limit",
        "quantity": "1", "price": "140", "clientId": 7}`. The `operation` of a row is "Ok" when it is an order, and
        "Err" when it is a `code` and a `message`; see `row_error`.
        """
        with self.throttle("api/v1/orders", signed=True):
            request = self.signed("POST", "api/v1/orders", "orderExecute", orders)
            return read_document(self._send(request, mutates=True), mutates=True, of_many=True)

    def order(self, symbol: str, *, order_id: str | None = None, client_id: int | None = None) -> Any:
        """Return an open order by one of its ids; one that is over is unknown here: see `order_history`."""
        params = {"symbol": symbol, "orderId": order_id, "clientId": client_id}
        return self.private("GET", "api/v1/order", "orderQuery", params)

    def open_orders(self, symbol: str | None = None, *, market_type: str | None = None) -> Any:
        """Return the open orders of one market or of all, or of one `market_type` ("SPOT", "PERP")."""
        params = {"symbol": symbol, "marketType": market_type}
        return self.private("GET", "api/v1/orders", "orderQueryAll", params)

    def cancel_order(self, symbol: str, *, order_id: str | None = None, client_id: int | None = None) -> Any:
        """Cancel an order by one of its ids; return it, or None when the exchange will do it (HTTP 202)."""
        params = {"symbol": symbol, "orderId": order_id, "clientId": client_id}
        return self.private("DELETE", "api/v1/order", "orderCancel", params)

    def cancel_open_orders(self, symbol: str) -> Any:
        """Cancel all open orders of one market; return them, or None when the exchange will do it (HTTP 202)."""
        return self.private("DELETE", "api/v1/orders", "orderCancelAll", {"symbol": symbol})

    def order_history(
        self,
        symbol: str | None = None,
        *,
        order_id: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Any:
        """Return orders, newest first, some open ones too; it may lag behind. At most 1000 at once."""
        params = {"symbol": symbol, "orderId": order_id, "limit": limit, "offset": offset}
        return self.private("GET", "wapi/v1/history/orders", "orderHistoryQueryAll", params)

    def fill_history(
        self,
        symbol: str | None = None,
        *,
        order_id: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        start: int | None = None,
        end: int | None = None,
        fill_type: str | None = "User",
        oldest_first: bool = False,
    ) -> Any:
        """Return executions, newest first; `start` and `end` in milliseconds since 1970. At most 1000 at once.

        `fill_type` None has also those of liquidations and of the exchange itself.
        """
        params = {
            "symbol": symbol,
            "orderId": order_id,
            "from": start,
            "to": end,
            "limit": limit,
            "offset": offset,
            "fillType": fill_type,
            "sortDirection": "Asc" if oldest_first else None,
        }
        return self.private("GET", "wapi/v1/history/fills", "fillHistoryQueryAll", params)
