"""Backpack's REST API (the sources are named in the package): its calls, signed, and what its errors mean."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from ...money import plain
from ...transport import Request, Transport
from ..api import ExchangeAPI
from ..base import Throttle, no_throttle
from ..errors import Busy, ExchangeError, Refused, malformed_key
from ..http import JSON, retry_after, unknown_or_refused, unproved, unreadable_answer
from ..parsing import time_from_field
from .signing import Value, json_body, optional_text, parameter_texts, signing_key, signing_text

if TYPE_CHECKING:
    from ...transport import Response

__all__ = ["URL", "BackpackAPI"]

URL = "https://api.backpack.exchange"

#: The documentation's error codes -> ours. What is not listed stays exchange_refused.
_CODES = {
    **dict.fromkeys(("UNAUTHORIZED", "INVALID_SIGNATURE"), "exchange_key_refused"),
    **dict.fromkeys(("FORBIDDEN", "ACCOUNT_DEACTIVATED", "INVALID_TWO_FACTOR_CODE"), "permission_denied"),
    **dict.fromkeys(("INSUFFICIENT_FUNDS", "INSUFFICIENT_MARGIN"), "insufficient_funds"),
    **dict.fromkeys(("INVALID_MARKET", "INVALID_SYMBOL"), "unknown_market"),
    **dict.fromkeys(("INVALID_CLIENT_REQUEST", "INVALID_RANGE", "INVALID_SOURCE"), "invalid_request"),
    **dict.fromkeys(("MAINTENANCE", "TRADING_PAUSED", "INSUFFICIENT_SUPPLY", "TOO_EARLY"), "exchange_unavailable"),
    "INVALID_ASSET": "unknown_asset",
    "INVALID_PRICE": "invalid_price",
    "INVALID_QUANTITY": "invalid_amount",
    "RESOURCE_NOT_FOUND": "order_not_found",
}
#: Backpack has no nonce: within its window of seconds the same request is taken again ("Signing requests"). So a
#: refusal of a call that executes is a proof only when no earlier delivery could have caused it, because it depends on
#: the key, the market or the request alone. Funds, limits, the book and the clock are others after the first delivery,
#: and what is not listed here may be.
_PROOF = {
    *("UNAUTHORIZED", "INVALID_SIGNATURE", "FORBIDDEN", "ACCOUNT_DEACTIVATED"),
    *("INVALID_ASSET", "INVALID_MARKET", "INVALID_SYMBOL", "INVALID_PRICE", "INVALID_QUANTITY", "INVALID_RANGE"),
    *("INVALID_SOURCE", "NOT_IMPLEMENTED", "MAINTENANCE", "TRADING_PAUSED"),
    # The answer to a cancel. What an earlier delivery canceled is canceled, and the caller reads the order then.
    "RESOURCE_NOT_FOUND",
}
#: Failures inside the exchange: it does not say what became of the request.
_UNSURE = {"SERVER_ERROR", "TIMEOUT"}
#: Seconds to wait after a rate limit; neither the limit nor a header for it is documented.
_PAUSE = 1.0
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}
#: What INVALID_CLIENT_REQUEST says of a request whose time is outside its window ("Request has expired"). It may be
#: sent again with a new time; that an earlier delivery was executed is not excluded, since it came earlier.
_EXPIRED = re.compile(r"expired|timestamp", re.IGNORECASE)
#: A request that the exchange could not parse is answered in plain text, in many wordings: those of poem-openapi, in
#: which it is written, and of serde_json. That is proof: the same bytes are parsed alike each time, so no earlier
#: delivery was an order either. HTML is of something on the way, and no proof.
_UNPARSED = re.compile(
    r"\bpars(e|ing)\b|deserializ|expected (input type|value)|missing field|invalid type|unknown variant", re.IGNORECASE
)


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
            return _document(self._send(request, mutates=False), mutates=False)

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
            return _document(self._send(request, mutates=mutates), mutates=mutates)

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
        }
        return self.private("GET", "wapi/v1/history/fills", "fillHistoryQueryAll", params)


def _document(answer: Response, *, mutates: bool) -> Any:
    """Return the document of an answer, None for HTTP 202. Raises what a refusal, or an unreadable answer, means."""
    if answer.status == 202 and not answer.body:
        return None
    try:
        document = answer.json()
    except ValueError:
        raise _refusal_in_plain_text(answer, mutates=mutates) or _unreadable(answer, mutates=mutates) from None
    if answer.status == 200:
        return document
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        raise _unreadable(answer, mutates=mutates)
    raise _error(document["code"], str(document.get("message") or document["code"])[:300], answer, mutates=mutates)


def _error(code: str, reason: str, answer: Response, *, mutates: bool) -> ExchangeError:
    if code == "TOO_MANY_REQUESTS" or answer.status == 429:
        busy = Busy(reason, retry_after=retry_after(answer, seconds=_PAUSE))
        return unproved(busy) if mutates else busy
    ours = _CODES.get(code)
    if code == "INVALID_CLIENT_REQUEST" and _EXPIRED.search(reason):
        ours = "invalid_nonce"
    if code in _UNSURE or (answer.status >= 500 and ours is None):
        return unknown_or_refused(reason, mutates=mutates)
    refusal = Refused(reason, code=ours or "exchange_refused", retryable=ours in _RETRYABLE)
    return unproved(refusal) if mutates and code not in _PROOF else refusal


def _refusal_in_plain_text(answer: Response, *, mutates: bool) -> Refused | None:
    """Return the refusal that an answer in plain text is; None for one that does not say what became of the request."""
    text = answer.text.strip()[:300]
    if not text or text.startswith("<"):
        return None
    if answer.status == 400 and _UNPARSED.search(text):
        return Refused(text, code="unknown_market" if "market symbol" in text.lower() else "invalid_request")
    if answer.status == 401:
        return Refused(text, code="exchange_key_refused")
    if answer.status == 404 and not mutates:
        return Refused(f"Backpack has no such page: {text}", code="exchange_refused")
    return None


def _unreadable(answer: Response, *, mutates: bool) -> ExchangeError:
    return unreadable_answer("Backpack", answer, mutates=mutates, pause=_PAUSE)
