"""Backpack: its REST API (`BackpackAPI`), and our verbs said in it (`Backpack`).

Sources: the OpenAPI 1.0 text of docs.backpack.exchange (August 2026) and the official client bpx-api-client 0.21.
Amounts are text on the wire; times come in three forms: milliseconds, microseconds (depth) and UTC text without a zone
(histories).
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..money import mean, parse_decimal, parse_unsigned, plain, total
from ..transport import Request, Transport
from .base import Exchange, ExchangeContext, Field, RateLimit, Throttle, no_throttle
from .errors import Busy, ExchangeError, Refused, Unknown
from .http import parsing_errors, retry_after, send, unknown_or_refused
from .models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Side,
    Status,
    Withdrawal,
)
from .orders import poll_until_final
from .rules import check, no_such_market

if TYPE_CHECKING:
    from ..transport import Response

__all__ = ["URL", "Backpack", "BackpackAPI"]

URL = "https://api.backpack.exchange"

#: What a parameter may be; None is left out of the request and of the signature.
Value = Decimal | str | int | bool | None

# --- the exchange's own API -------------------------------------------------------------------------------------------

#: The documentation's error codes -> ours. What is not listed stays exchange_refused.
_CODES = {
    **dict.fromkeys(("UNAUTHORIZED", "INVALID_SIGNATURE"), "exchange_key_refused"),
    **dict.fromkeys(("FORBIDDEN", "ACCOUNT_DEACTIVATED", "INVALID_TWO_FACTOR_CODE"), "permission_denied"),
    **dict.fromkeys(("INSUFFICIENT_FUNDS", "INSUFFICIENT_MARGIN"), "insufficient_funds"),
    **dict.fromkeys(("INVALID_MARKET", "INVALID_SYMBOL"), "unknown_market"),
    **dict.fromkeys(("INVALID_CLIENT_REQUEST", "INVALID_RANGE", "INVALID_SOURCE"), "invalid_request"),
    **dict.fromkeys(("MAINTENANCE", "TRADING_PAUSED", "INSUFFICIENT_SUPPLY"), "exchange_unavailable"),
    "INVALID_ASSET": "unknown_asset",
    "INVALID_PRICE": "invalid_price",
    "INVALID_QUANTITY": "invalid_amount",
    "RESOURCE_NOT_FOUND": "order_not_found",
}
#: Failures inside the exchange: what became of the request is not told.
_UNSURE = {"SERVER_ERROR", "TIMEOUT"}
#: Seconds to wait after a rate limit; neither the limit nor a header for it is documented.
_PAUSE = 1.0
#: Bodies that the exchange could not parse are answered in plain text; certainly nothing was executed.
_UNPARSED = ("bad request parse", "failed to parse")


class BackpackAPI:
    """Every call of Backpack's REST API, signed.

    `BackpackAPI().depth("SOL_USDC", limit=5)`, `BackpackAPI(key, secret).balances()`; for a call without a method of
    its own there are `public(path, params)` and `private(method, path, instruction, params)`. Answers are decoded JSON
    with exact numbers.
    Raises what an adapter raises: Refused, Busy, and Unknown when a call that moves something may have been executed.
    Nothing is repeated, and each order needs a client id to be found again.

    `key` is the base64 of the public key, `secret` that of the private key: 32 bytes, or 64 with the public key at the
    end. `window`: how many milliseconds a request stays valid, 60,000 at most. `clock` gives the seconds since 1970.
    """

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = URL,
        transport: Transport | None = None,
        window: int = 5000,
        clock: Callable[[], float] = time.time,
        throttle: Throttle = no_throttle,
    ) -> None:
        if not 0 < window <= 60_000:
            raise Refused("window is 1 to 60000 milliseconds", code="invalid_request")
        self.key = key
        self.url = url.rstrip("/")
        self.transport = transport or Transport()
        self.window = window
        self._throttle = throttle
        self._clock = clock
        self._private = _private_key(key, secret) if key or secret else None

    def __repr__(self) -> str:
        return f"BackpackAPI({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    # Any call

    def public(self, path: str, params: Mapping[str, Value] | None = None) -> Any:
        """The answer of a public GET call, as `public("api/v1/ticker", {"symbol": "SOL_USDC"})`."""
        query = _texts(params)
        request = Request("GET", f"{self.url}/{path.strip('/')}" + (f"?{urlencode(query)}" if query else ""), {})
        with self._throttle(path, signed=False):
            return _read(send(self.transport, request, "Backpack", mutates=False), mutates=False)

    def private(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        instruction: str,
        params: Mapping[str, Value] | Sequence[Mapping[str, Value]] | None = None,
    ) -> Any:
        """The answer of a private call; None when the exchange accepted it and has not executed it yet (HTTP 202)."""
        mutates = method != "GET"
        with self._throttle(path, signed=True):
            request = self.signed(method, path, instruction, params)
            return _read(send(self.transport, request, "Backpack", mutates=mutates), mutates=mutates)

    def signed(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        instruction: str,
        params: Mapping[str, Value] | Sequence[Mapping[str, Value]] | None = None,
    ) -> Request:
        """The signed request of a private call, ready to send; nothing is sent here. A list of `params` is a batch.

        Documentation, "Signing requests": instruction and sorted parameters, raw (not percent-encoded), for each item
        of a batch, then timestamp and window.
        """
        if self._private is None:
            raise Refused("Backpack needs an API key and its secret", code="exchange_key_refused")
        batch = [params or {}] if isinstance(params, Mapping) or params is None else params
        timestamp = int(self._clock() * 1000)
        items = ["&".join((f"instruction={instruction}", *_sorted(_texts(item)))) for item in batch]
        text = "&".join((*items, f"timestamp={timestamp}", f"window={self.window}"))
        headers = {
            "X-API-Key": self.key,
            "X-Signature": base64.b64encode(self._private.sign(text.encode())).decode(),
            "X-Timestamp": str(timestamp),
            "X-Window": str(self.window),
        }
        url = f"{self.url}/{path.strip('/')}"
        if method == "GET":
            query = urlencode(_texts(batch[0]))
            return Request(method, f"{url}?{query}" if query else url, headers)
        bodies = [_body(item) for item in batch]
        body = json.dumps(bodies[0] if isinstance(params, Mapping) or params is None else bodies)
        return Request(method, url, {**headers, "Content-Type": "application/json"}, body.encode())

    # Markets

    def time(self) -> datetime:
        """The exchange's clock."""
        return _moment(self.public("api/v1/time"))

    def status(self) -> Any:
        """`{"status": "Ok" or "Maintenance", "message"}`."""
        return self.public("api/v1/status")

    def assets(self) -> Any:
        """All assets, each with the `tokens` it has, one a blockchain."""
        return self.public("api/v1/assets")

    def markets(self) -> Any:
        """All markets, spot and futures, with their `filters`."""
        return self.public("api/v1/markets")

    def ticker(self, symbol: str) -> Any:
        """The last day of a market; it has neither bid nor ask: see `depth`."""
        return self.public("api/v1/ticker", {"symbol": symbol})

    def depth(self, symbol: str, *, limit: Literal[5, 10, 20, 50, 100, 500, 1000] = 1000) -> Any:
        """The book; both sides ascend, so the best bid is the last one."""
        return self.public("api/v1/depth", {"symbol": symbol, "limit": limit})

    def trades(self, symbol: str, *, limit: int | None = None) -> Any:
        """The latest public trades, newest first."""
        return self.public("api/v1/trades", {"symbol": symbol, "limit": limit})

    # Capital

    def account(self) -> Any:
        """Fees in basis points, limits, switches."""
        return self.private("GET", "api/v1/account", "accountQuery")

    def balances(self) -> Any:
        """`{asset: {"available", "locked", "staked"}}`; what is lent is not among them."""
        return self.private("GET", "api/v1/capital", "balanceQuery")

    def deposits(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Any:
        """What came in, newest first; `start` and `end` in milliseconds since 1970."""
        params = {"from": start, "to": end, "limit": limit, "offset": offset}
        return self.private("GET", "wapi/v1/capital/deposits", "depositQueryAll", params)

    def deposit_address(self, blockchain: str) -> Any:
        """`{"address"}`: one for each blockchain ("Solana", "Bitcoin", "Ethereum"), whatever the asset."""
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
        """What was sent, newest first; `start` and `end` in milliseconds since 1970."""
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

    # Orders

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
            "quantity": _amount(quantity, "quantity"),
            "quoteQuantity": _amount(quote_quantity, "quote_quantity"),
            "price": _amount(price, "price"),
            "timeInForce": time_in_force,
            "postOnly": post_only,
            "clientId": client_id,
            "triggerPrice": _amount(trigger_price, "trigger_price"),
            "triggerQuantity": _amount(trigger_quantity, "trigger_quantity"),
            "selfTradePrevention": self_trade_prevention,
            "reduceOnly": reduce_only,
        }
        return self.private("POST", "api/v1/order", "orderExecute", params)

    def order(self, symbol: str, *, order_id: str | None = None, client_id: int | None = None) -> Any:
        """One open order by one of its ids; an order that is over is unknown here: see `order_history`."""
        params = {"symbol": symbol, "orderId": order_id, "clientId": client_id}
        return self.private("GET", "api/v1/order", "orderQuery", params)

    def open_orders(self, symbol: str | None = None, *, market_type: str | None = None) -> Any:
        """The open orders of one market or of all, or of one `market_type` ("SPOT", "PERP")."""
        params = {"symbol": symbol, "marketType": market_type}
        return self.private("GET", "api/v1/orders", "orderQueryAll", params)

    def cancel_order(self, symbol: str, *, order_id: str | None = None, client_id: int | None = None) -> Any:
        """Cancel an order by one of its ids; the order, or None when the exchange will do it (HTTP 202)."""
        params = {"symbol": symbol, "orderId": order_id, "clientId": client_id}
        return self.private("DELETE", "api/v1/order", "orderCancel", params)

    def cancel_open_orders(self, symbol: str) -> Any:
        """Cancel all open orders of one market; the orders, or None when the exchange will do it (HTTP 202)."""
        return self.private("DELETE", "api/v1/orders", "orderCancelAll", {"symbol": symbol})

    def order_history(
        self,
        symbol: str | None = None,
        *,
        order_id: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Any:
        """Orders, newest first, some open ones too; it may lag behind. At most 1000 at once."""
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
        """Executions, newest first; `start` and `end` in milliseconds since 1970. At most 1000 at once.

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


def _private_key(key: str, secret: str) -> Ed25519PrivateKey:
    """The signing key. Raises Refused, without the secret in its words, for one that is none or is another key's."""
    try:
        raw = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the API secret is not base64", code="exchange_key_refused") from None
    if len(raw) not in (32, 64):
        raise Refused("the API secret is not an ed25519 key of 32 or 64 bytes", code="exchange_key_refused")
    private = Ed25519PrivateKey.from_private_bytes(raw[:32])
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if raw[32:] not in (b"", public) or base64.b64encode(public).decode() != key:
        raise Refused("the API key and the API secret do not belong together", code="exchange_key_refused")
    return private


def _amount(value: Decimal | int | str | None, name: str) -> str | None:
    return None if value is None else plain(value, name)


def _texts(params: Mapping[str, Value] | None) -> dict[str, str]:
    """The parameters as they are signed and stand in a query: booleans in lower case, amounts in plain digits."""
    texts = {}
    for name, value in (params or {}).items():
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif value is not None:
            texts[name] = value if isinstance(value, str) else plain(value, name)
    return texts


def _body(params: Mapping[str, Value]) -> dict[str, str | int]:
    """The parameters as they stand in a JSON body: amounts are text there."""
    given = {name: value for name, value in params.items() if value is not None}
    return {name: plain(value, name) if isinstance(value, Decimal) else value for name, value in given.items()}


def _sorted(texts: Mapping[str, str]) -> list[str]:
    return [f"{name}={texts[name]}" for name in sorted(texts)]


def _read(answer: Response, *, mutates: bool) -> Any:
    """The document of an answer. Raises what a refusal or an answer that cannot be read means."""
    if answer.status == 202 and not answer.body:
        return None
    try:
        document = answer.json()
    except ValueError:
        raise _unreadable(answer, mutates=mutates) from None
    if answer.status == 200:
        return document
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        raise _unreadable(answer, mutates=mutates)
    raise _error(document["code"], str(document.get("message") or document["code"])[:300], answer, mutates=mutates)


def _error(code: str, words: str, answer: Response, *, mutates: bool) -> ExchangeError:
    if code == "TOO_MANY_REQUESTS" or answer.status == 429:
        return Busy(words, retry_after=retry_after(answer, seconds=_PAUSE))
    ours = _CODES.get(code)
    if code in _UNSURE or (answer.status >= 500 and ours is None):
        return unknown_or_refused(words, mutates=mutates)
    return Refused(words, code=ours or "exchange_refused", retryable=ours == "exchange_unavailable")


def _unreadable(answer: Response, *, mutates: bool) -> ExchangeError:
    text = answer.body[:300].decode("utf-8", "replace")
    if answer.status == 429:
        return Busy("Backpack says: too many requests", retry_after=retry_after(answer, seconds=_PAUSE))
    if answer.status == 400 and text.lower().startswith(_UNPARSED):
        return Refused(text, code="unknown_market" if "market symbol" in text.lower() else "invalid_request")
    return unknown_or_refused(f"Backpack's answer (HTTP {answer.status}) cannot be read", mutates=mutates)


# --- the adapter ------------------------------------------------------------------------------------------------------

_SIDES: dict[str, Side] = {"Bid": "buy", "Ask": "sell"}
_WORDS: dict[Side, Literal["Bid", "Ask"]] = {"buy": "Bid", "sell": "Ask"}
_OPEN = {"New", "PartiallyFilled", "TriggerPending", "Triggered"}
_OVER = {"Cancelled", "Expired"}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("confirmed", "Completed"), "done"),
    **dict.fromkeys(("cancelled", "declined", "expired", "refunded"), "failed"),
}
_WITHDRAWN: dict[str, Literal["pending", "done"]] = {
    "confirmed": "done",
    **dict.fromkeys(("pending", "ownershipVerificationRequired"), "pending"),
}
#: Markets in these states take no new orders.
_SHUT = {"Closed", "CancelOnly"}
#: An order that is over may be missing in the history for so long (that it lags is known, not how much).
_LAG = timedelta(seconds=30)
#: Seconds for which it is known when a limit order was first found to be nowhere.
_MISSED = 3600.0
#: How far an order's time may be from ours; with clocks that far apart no request would be taken.
_SKEW = timedelta(minutes=5)
_PAGE = 1000

#: Seconds for which what is listed there is not asked again.
_LISTED = 3600.0


class Backpack(Exchange):
    """Spot markets of Backpack. It cannot tell what a key may do.

    A client id is a number of 32 bits there: the last eight digits of ours. It protects from nothing (the same one
    twice is two orders), and other orders may have it, so `find` also compares market, side, amount and time.
    """

    id: ClassVar[str] = "backpack"
    name: ClassVar[str] = "Backpack"
    description: ClassVar[str] = "Spot exchange, since 2023, in USDC"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key: the ed25519 public key in base64"),
        Field("apisecret", "the API secret: the ed25519 private key in base64", secret=True),
    )
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "all"
    #: No number is published; ccxt sends 20 a second at most, and so does this.
    per_address = RateLimit(10, 10)

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BackpackAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def rate(self, currency: str, asset: str) -> Rate:
        book = self.api.depth(_symbol(currency, asset), limit=5)
        with parsing_errors(self.name):
            asks, bids = (
                [parse_decimal(price) for price, _ in book["asks"]],
                [parse_decimal(price) for price, _ in book["bids"]],
            )
            # Both sides ascend in the documentation's examples; nothing promises it, so position says nothing.
            if not asks or not bids or not 0 < max(bids) <= min(asks):
                raise Refused(f"{self.name} has no buyer or no seller now", code="exchange_unavailable", retryable=True)
            return Rate(buy=min(asks), sell=max(bids), time=_moment(book["timestamp"] // 1000))

    def markets(self) -> list[Market]:
        return list(self._markets().values())

    def funds(self) -> dict[str, Funds]:
        rows = self.api.balances()
        with parsing_errors(self.name):
            return {name: _funds(row) for name, row in rows.items()}

    def place(self, order: NewOrder) -> OrderState:
        markets = self._markets()
        if (order.currency, order.asset) not in markets:
            raise no_such_market(self.name, order.currency, order.asset, markets)
        check(order, markets[order.currency, order.asset])
        row = self.api.execute_order(
            _symbol(order.currency, order.asset),
            _WORDS[order.side],
            "Market" if order.price is None else "Limit",
            quantity=order.amount,
            quote_quantity=order.cost,
            price=order.price,
            client_id=_client_number(order.client_id),
        )
        with parsing_errors(self.name, mutates=True):
            if str(row["clientId"]) != str(_client_number(order.client_id)):
                raise ValueError("another order")
            ref = OrderRef(order.side, order.currency, order.asset, order.client_id)
            placed = _state(row, ref)
        if order.price is None and placed.status == "open":
            ref = replace(ref, exchange_order_id=placed.exchange_order_id)
            placed = poll_until_final(placed, lambda: self._read(ref))
        try:
            return self._with_fee(placed, patient=True)
        except Refused:
            # The order stands; only its fee cannot be read.
            return placed

    def order(self, ref: OrderRef) -> OrderState:
        return self._with_fee(self._read(ref))

    def find(self, ref: OrderRef) -> OrderState | None:
        symbol, client = _symbol(ref.currency, ref.asset), _client_number(ref.client_id)
        try:
            row = self.api.order(symbol, client_id=client)
        except Refused as error:
            if error.code != "order_not_found":
                raise
        else:
            with parsing_errors(self.name):
                if _is(row, ref, client):
                    return self._with_fee(_state(row, ref))
        for row in self._back_to(ref.created, partial(self.api.order_history, symbol)):
            with parsing_errors(self.name):
                if _is(row, ref, client):
                    return self._with_fee(_state(row, ref))
        self._refuse_too_early(ref)
        return None

    def open_orders(self) -> list[OrderState]:
        rows = self.api.open_orders(market_type="SPOT")
        with parsing_errors(self.name):
            return [_state(row) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        symbol, order_id = _symbol(ref.currency, ref.asset), ref.exchange_order_id
        client = None if order_id else _client_number(ref.client_id)
        try:
            row = self.api.cancel_order(symbol, order_id=order_id, client_id=client)
        except Refused as error:
            if error.code == "order_not_found":
                raise Refused(error.words, code="order_not_open") from error
            raise
        with parsing_errors(self.name, mutates=True):
            if row is not None and order_id and row["id"] != order_id:
                raise ValueError("another order")

    def cancel_all(self) -> int:
        """Market by market, for Backpack has no other call; Unknown when one fails after others were canceled."""
        count = 0
        waiting = self.api.open_orders(market_type="SPOT")
        with parsing_errors(self.name):
            symbols = [row["symbol"] for row in waiting]
        for symbol in sorted(set(symbols)):
            try:
                rows = self.api.cancel_open_orders(symbol)
            except Refused as error:
                if not count:
                    raise
                raise Unknown(f"{count} orders were canceled, then: {error}") from error
            with parsing_errors(self.name, mutates=True):
                count += symbols.count(symbol) if rows is None else len(rows)
        return count

    def fills(self, currency: str, asset: str) -> list[Fill]:
        rows = self.api.fill_history(_symbol(currency, asset), limit=_PAGE)
        with parsing_errors(self.name):
            return [_fill(row) for row in rows]

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        chain = self._chain(asset, network, "depositEnabled")
        row = self.api.deposit_address(chain)
        with parsing_errors(self.name):
            return DepositAddress(asset=asset, address=_text(row["address"]), network=chain)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Only to addresses of the account's address book with 2FA switched off: nobody is there to type a token."""
        if withdrawal.tag is not None:
            raise Refused(f"{self.name} takes no tag with a withdrawal", code="invalid_request")
        chain = self._chain(withdrawal.asset, withdrawal.network, "withdrawEnabled")
        row = self.api.withdraw(
            withdrawal.address, withdrawal.asset, chain, withdrawal.amount, client_id=withdrawal.client_id
        )
        with parsing_errors(self.name, mutates=True):
            made = _withdrawal(row)
            if (made.asset, made.amount, made.address) != (withdrawal.asset, withdrawal.amount, withdrawal.address):
                raise ValueError("another withdrawal")
            return made

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        """By its id, and in the whole history since then: a send that is told to be missing is sent again."""
        with parsing_errors(self.name):
            named = _rows(self.api.withdrawals(client_id=client_id))
            for row in itertools.chain(named, self._back_to(since, self.api.withdrawals)):
                if row.get("clientId") == client_id:
                    return _withdrawal(row)
        if datetime.now(UTC) < until + _LAG:
            raise self._lags()
        return None

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows = self.api.deposits(limit=_PAGE)
        with parsing_errors(self.name):
            return [_deposit(row) for row in rows if asset in (None, row["symbol"])]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self.api.withdrawals(limit=_PAGE)
        with parsing_errors(self.name):
            return [_withdrawal(row) for row in rows if asset in (None, row["symbol"])]

    def _markets(self) -> Mapping[tuple[str, str], Market]:
        """(currency, asset) -> market, of the spot markets that take orders."""

        def fetch() -> Mapping[tuple[str, str], Market]:
            rows = self.api.markets()
            with parsing_errors(self.name):
                spot = [_market(r) for r in rows if r["marketType"] == "SPOT" and r["orderBookState"] not in _SHUT]
                return {(market.currency, market.asset): market for market in spot}

        listed: Mapping[tuple[str, str], Market] = self.context.cache.get_or_fetch("markets", fetch, seconds=_LISTED)
        return listed

    def _chain(self, asset: str, network: str | None, switch: str) -> str:
        """The blockchain called `network`; without one, the only one that the asset has."""

        def fetch() -> Mapping[str, Any]:
            rows = self.api.assets()
            with parsing_errors(self.name):
                return {row["symbol"]: row["tokens"] for row in rows}

        assets = self.context.cache.get_or_fetch("assets", fetch, seconds=_LISTED)
        if asset not in assets:
            raise Refused(f"{self.name} does not list {asset}", code="unknown_asset")
        with parsing_errors(self.name):
            chains: list[str] = [_text(token["blockchain"]) for token in assets[asset] if token[switch]]
        fitting = [chain for chain in chains if network is None or chain.casefold() == network.casefold()]
        if len(fitting) != 1:
            raise Refused(f"name the network for {asset}: {', '.join(chains)}"[:300], code="network_required")
        return fitting[0]

    def _read(self, ref: OrderRef) -> OrderState:
        """An order by its id: among the open ones, or else in the history."""
        symbol, order_id = _symbol(ref.currency, ref.asset), ref.exchange_order_id
        try:
            rows = [self.api.order(symbol, order_id=order_id)]
        except Refused as error:
            if error.code != "order_not_found":
                raise
            rows = self.api.order_history(symbol, order_id=order_id, limit=1)
        with parsing_errors(self.name):
            if rows:
                return _state(rows[0], ref)
        self._refuse_too_early(ref)
        raise Refused(f"{self.name} knows no order {order_id}", code="order_not_found")

    def _back_to(self, created: datetime | None, history: Callable[..., Any]) -> Iterable[Mapping[str, Any]]:
        """The rows of a history, newest first, back to some time before `created`."""
        for offset in range(0, 20 * _PAGE, _PAGE):
            with parsing_errors(self.name):
                rows = _rows(history(limit=_PAGE, offset=offset))
            yield from rows
            with parsing_errors(self.name):
                if len(rows) < _PAGE or (created and _moment(rows[-1]["createdAt"]) < created - _SKEW):
                    return
        raise Refused(f"{self.name}'s history is too long to look through", code="exchange_unavailable")

    def _refuse_too_early(self, ref: OrderRef) -> None:
        """That an order is nowhere means nothing before the history had time to show it.

        A market order is over as soon as it is there; a limit order may have been over a moment before it was missed.
        """
        now, since = datetime.now(UTC), ref.created
        if ref.price is not None:
            since = self.context.cache.get_or_fetch(("missed", ref.client_id), lambda: now, seconds=_MISSED)
        if since is not None and now < since + _LAG:
            raise self._lags()

    def _lags(self) -> Refused:
        return Refused(f"{self.name}'s history lags; ask again", code="exchange_unavailable", retryable=True)

    def _with_fee(self, state: OrderState, *, patient: bool = False) -> OrderState:
        """The order with its fee, which only its fills tell; without, while they are not all there.

        `patient`: wait for them, for a second or two.
        """
        if not state.filled or state.asset is None or state.currency is None:
            return state
        for pause in (0.0, 0.2, 0.4, 0.8) if patient else (0.0,):
            time.sleep(pause)
            rows = self.api.fill_history(
                _symbol(state.currency, state.asset), order_id=state.exchange_order_id, limit=_PAGE
            )
            with parsing_errors(self.name):
                rows = [row for row in rows if row["orderId"] == state.exchange_order_id]
                if total(parse_unsigned(row["quantity"]) for row in rows) == state.filled:
                    names = {row["feeSymbol"] for row in rows}
                    if len(names) != 1:
                        return state
                    return replace(
                        state, fee=total(parse_decimal(row["fee"]) for row in rows), fee_currency=names.pop()
                    )
        return state


def _symbol(currency: str, asset: str) -> str:
    return f"{asset}_{currency}"


def _client_number(client_id: str) -> int:
    """The exchange's client id for ours: 32 bits, random in UUIDs of version 4 and 7."""
    return int(client_id[-8:], 16)


def _is(row: Mapping[str, Any], ref: OrderRef, client: int) -> bool:
    """Whether an order with our client number is really the one that is looked for."""
    return (
        str(row["clientId"]) == str(client)
        and _SIDES[row["side"]] == ref.side
        and (ref.amount is None or parse_decimal(row["quantity"]) == ref.amount)
        and (ref.created is None or abs(_moment(row["createdAt"]) - ref.created) < _SKEW)
    )


def _market(row: Mapping[str, Any]) -> Market:
    price, quantity = row["filters"]["price"], row["filters"]["quantity"]
    return Market(
        currency=_text(row["quoteSymbol"]),
        asset=_text(row["baseSymbol"]),
        price_step=parse_decimal(price["tickSize"]),
        amount_step=parse_decimal(quantity["stepSize"]),
        amount_min=parse_decimal(quantity["minQuantity"]),
    )


def _funds(row: Mapping[str, Any]) -> Funds:
    """What is staked is owned, and not available."""
    available, held = (
        parse_unsigned(row["available"]),
        total((parse_unsigned(row["locked"]), parse_unsigned(row["staked"]))),
    )
    return Funds(total=total((available, held)), available=available, held=held)


def _state(row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
    """An order, live or of the history. Raises ValueError when it is not the one of `ref`."""
    asset, currency = _pair(row["symbol"])
    filled, spent = parse_unsigned(row["executedQuantity"]), parse_unsigned(row["executedQuoteQuantity"])
    state = OrderState(
        exchange_order_id=_text(row["id"]),
        status=_status(row["status"], filled),
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=_number(row.get("quantity")),
        price=_number(row.get("price")),
        filled=filled,
        average=mean(spent, filled),
        spent=spent,
        client_id=ref.client_id if ref else None,
        created=_moment(row["createdAt"]),
    )
    if ref is not None:
        asked = (ref.side, ref.currency, ref.asset, ref.exchange_order_id or state.exchange_order_id)
        if asked != (state.side, state.currency, state.asset, state.exchange_order_id):
            raise ValueError("another order")
    return state


def _status(word: str, filled: Decimal) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Filled":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled else "canceled"
    return "rejected" if word == "TriggerFailed" else "unknown"


def _fill(row: Mapping[str, Any]) -> Fill:
    asset, currency = row["symbol"].split("_")
    return Fill(
        id=_serial(row["tradeId"]),
        exchange_order_id=row["orderId"],
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=parse_unsigned(row["quantity"]),
        price=parse_unsigned(row["price"]),
        fee=parse_decimal(row["fee"]),
        fee_currency=row["feeSymbol"],
        time=_moment(row["timestamp"]),
    )


def _deposit(row: Mapping[str, Any]) -> Deposit:
    return Deposit(
        id=_serial(row["id"]),
        asset=_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_DEPOSITED.get(row["status"], "pending"),
        address=row.get("toAddress"),
        tag=row.get("platformMemo"),
        network=row.get("source"),
        txid=row.get("transactionHash"),
        time=_moment(row["createdAt"]),
    )


def _withdrawal(row: Mapping[str, Any]) -> Withdrawal:
    return Withdrawal(
        id=_serial(row["id"]),
        asset=_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_WITHDRAWN.get(row["status"], "unknown"),
        address=row.get("toAddress"),
        network=row.get("blockchain"),
        fee=_number(row.get("fee")),
        txid=row.get("transactionHash"),
        client_id=row.get("clientId"),
        created=_moment(row["createdAt"]),
    )


def _pair(symbol: str) -> tuple[str | None, str | None]:
    """Asset and currency of a spot market; futures have a third part ("ETH_USDC_PERP") and are not ours to name."""
    parts = symbol.split("_")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, None)


def _rows(answer: Any) -> list[Any]:
    """A list, perhaps an empty one; anything else is not taken for one."""
    if not isinstance(answer, list):
        raise TypeError("no list")
    return answer


def _number(value: object) -> Decimal | None:
    return None if value is None else parse_unsigned(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _serial(value: object) -> str:
    """The number of a trade or a transfer, as text."""
    return str(int(str(value)))


def _moment(value: object) -> datetime:
    """A time in milliseconds since 1970, or in UTC without saying so."""
    if isinstance(value, str) and not value.isdigit():
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    milliseconds = int(parse_decimal(value))
    return datetime.fromtimestamp(milliseconds // 1000, UTC) + timedelta(milliseconds=milliseconds % 1000)
