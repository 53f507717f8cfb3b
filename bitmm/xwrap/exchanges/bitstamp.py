"""Bitstamp: its REST API v2 (`BitstampAPI`), and our verbs said in it (`Bitstamp`).

Sources: Bitstamp's API documentation (OpenAPI text, changelog up to 2026-02-16), and what client libraries saw on the
wire. Numbers come as text in most answers and as JSON numbers in some (cancel, crypto-transactions); both are read
exactly.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import SplitResult, urlencode, urlsplit

from ..money import EXACT, mean, parse_decimal, parse_unsigned, plain, total
from ..transport import Request, Transport
from .base import Exchange, ExchangeContext, Field, RateLimit, Throttle, no_throttle
from .errors import Busy, ExchangeError, Refused, Unsupported
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

__all__ = ["URL", "Bitstamp", "BitstampAPI"]

URL = "https://www.bitstamp.net"

FORM = "application/x-www-form-urlencoded"

#: What a field may be; None is left out, True is "True".
Value = Decimal | str | int | None

# --- the exchange's own API -------------------------------------------------------------------------------------------

#: Private POST calls that execute nothing. Any other one is taken as a call that may move money.
_READS = re.compile(
    r"(account_balances|account_order_data|balance|crypto-transactions|fees|open_orders|order_status|user_transactions"
    r"|websockets_token|withdrawal-requests|withdrawal/status|[a-z0-9]+_address)(/.*)?"
)

#: "Response codes" and "Authentication error codes" of the documentation -> ours.
_CODES = {
    **dict.fromkeys(("API0001", "API0005", "API0008", "API0011"), "exchange_key_refused"),
    **dict.fromkeys(("API0004", "API0017", "API0018"), "invalid_nonce"),
    **dict.fromkeys(("API0002", "API0003", "API0006", "API0009", "403.001", "403.004"), "permission_denied"),
    **dict.fromkeys(("400.003", "500.010", "500.011", "500.012"), "exchange_unavailable"),
    **dict.fromkeys(("500.004", "500.005", "500.015", "500.018"), "exchange_unavailable"),
    **dict.fromkeys(("400.004", "400.005", "400.006", "400.007", "400.008"), "invalid_request"),
    **dict.fromkeys(("400.026", "400.036", "400.041"), "invalid_request"),
    **dict.fromkeys(("400.020", "400.037", "400.038", "400.039", "400.046"), "invalid_amount"),
    **dict.fromkeys(("404.003", "404.005", "404.007"), "unknown_market"),
    "400.009": "insufficient_funds",
    "400.021": "invalid_price",
    "404.002": "order_not_found",
    "404.006": "unknown_asset",
}
#: Seconds to wait after a rate limit: 400 calls a second and 10,000 in ten minutes; no header is documented.
_PAUSE = 10.0
_BUSY = {"400.002", "400.067", "400.068"}
#: Failures inside the exchange: whether the order exists is not told.
_UNSURE = {"500.001", "500.002", "500.003", "500.009", "500.013", "500.016", "500.017"}

#: The same by the exchange's words, for the answers without a code. What is not listed stays exchange_refused.
_WORDS = (
    ("check your account balance for details", "insufficient_funds"),
    ("minimum order size", "invalid_amount"),
    ("ensure that there are no more than", "invalid_amount"),
    ("ensure this value is greater than or equal to", "invalid_amount"),
    ("amount at the moment is", "invalid_amount"),
    ("price is more than", "invalid_price"),
    ("order not found", "order_not_found"),
    ("no permission found", "permission_denied"),
    ("api access disabled", "permission_denied"),
    ("your withdrawals are currently disabled", "permission_denied"),
    ("not allowed to withdraw to specified", "address_not_registered"),
    ("the address you provided is not verified", "address_not_registered"),
    ("invalid username and/or password", "exchange_key_refused"),
    ("under scheduled maintenance", "exchange_unavailable"),
)
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}


class BitstampAPI:
    """Every call of Bitstamp's API v2, signed.

    `BitstampAPI().public("ticker/btceur")`, `BitstampAPI(key, secret).private("order_status", {"id": 14})`. Answers are
    decoded JSON with exact numbers. Raises what an adapter raises: Refused, Busy, and Unknown when a call that moves
    something may have been executed. Nothing is repeated.

    `clock` gives the seconds since 1970, `nonce` a text of 36 characters that was never used before.
    """

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = URL,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], object] = uuid.uuid4,
        throttle: Throttle = no_throttle,
    ) -> None:
        self.key = key
        self.url = url.rstrip("/")
        self.transport = transport or Transport()
        self._secret = secret.encode()
        self._clock = clock
        self._nonce = nonce
        self._throttle = throttle

    def __repr__(self) -> str:
        return f"BitstampAPI({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def public(self, path: str, query: Mapping[str, Value] | None = None) -> Any:
        """The answer of a public GET call, as `public("order_book/btceur", {"group": 1})`."""
        request = Request("GET", self._url(path, query), {})
        with self._throttle(path, signed=False):
            return self._read(send(self.transport, request, "Bitstamp", mutates=False), mutates=False)

    def private(
        self,
        path: str,
        form: Mapping[str, Value] | None = None,
        *,
        method: Literal["POST", "GET"] = "POST",
        query: Mapping[str, Value] | None = None,
    ) -> Any:
        """The answer of a private call; `method` is POST for almost all. Values that are None are left out.

        A good answer without the right `X-Server-Auth-Signature` is not believed.
        """
        mutates = method == "POST" and not _READS.fullmatch(path.strip("/"))
        with self._throttle(path, signed=True):
            request = self.signed(path, form, method=method, query=query)
            answer = send(self.transport, request, "Bitstamp", mutates=mutates)
            document = self._read(answer, mutates=mutates)
        if not self.verified(request, answer):
            raise unknown_or_refused("an answer without Bitstamp's signature", mutates=mutates)
        return document

    def signed(
        self,
        path: str,
        form: Mapping[str, Value] | None = None,
        *,
        method: Literal["POST", "GET"] = "POST",
        query: Mapping[str, Value] | None = None,
    ) -> Request:
        """The signed request of a private call, ready to send; nothing is sent here.

        Documentation, "Authentication": the text is "BITSTAMP " + key, method, host, path, query, content type, nonce,
        timestamp, "v2" and body; the content type is there, and sent, only with a body.
        """
        if not (self.key.isascii() and self.key.isprintable() and self.key and self._secret):
            raise Refused("Bitstamp needs an API key and its secret", code="exchange_key_refused")
        url = self._url(path, query)
        parts = urlsplit(url)
        body = _encoded(form)
        nonce, timestamp = str(self._nonce()), str(int(self._clock() * 1000))
        content_type = FORM if body else ""
        text = "".join((
            f"BITSTAMP {self.key}", method, _host(parts), parts.path, f"?{parts.query}" if parts.query else "",
            content_type, nonce, timestamp, "v2", body,
        ))  # fmt: skip
        headers = {
            "X-Auth": f"BITSTAMP {self.key}",
            "X-Auth-Signature": self._digest(text.encode()),
            "X-Auth-Nonce": nonce,
            "X-Auth-Timestamp": timestamp,
            "X-Auth-Version": "v2",
        }
        if not body:
            return Request(method, url, headers)
        return Request(method, url, {**headers, "Content-Type": content_type}, body.encode())

    def verified(self, request: Request, answer: Response) -> bool:
        """Whether `answer` to the signed `request` carries Bitstamp's own signature ("Authentication", last part)."""
        prefix = request.headers["X-Auth-Nonce"] + request.headers["X-Auth-Timestamp"]
        expected = self._digest((prefix + answer.headers.get("Content-Type", "")).encode() + answer.body)
        given = answer.headers.get("X-Server-Auth-Signature", "").lower()
        return hmac.compare_digest(expected.encode(), given.encode())

    def _digest(self, text: bytes) -> str:
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def _url(self, path: str, query: Mapping[str, Value] | None) -> str:
        text = _encoded(query)
        return f"{self.url}/api/v2/{path.strip('/')}/" + (f"?{text}" if text else "")

    def _read(self, answer: Response, *, mutates: bool) -> Any:
        try:
            document = answer.json()
        except ValueError:
            raise _unreadable(answer, mutates=mutates) from None
        words = _failure(document)
        if words is not None:
            raise _error(words, str(document.get("code", document.get("response_code", ""))), answer, mutates=mutates)
        if answer.status != 200:
            raise _unreadable(answer, mutates=mutates)
        return document


def _encoded(fields: Mapping[str, Value] | None) -> str:
    given = {name: value for name, value in (fields or {}).items() if value is not None}
    return urlencode({name: str(v) if isinstance(v, (str, bool)) else plain(v, name) for name, v in given.items()})


def _host(parts: SplitResult) -> str:
    """The Host header's text: the port is there only when it is not the scheme's own."""
    return parts.netloc.removesuffix({"https": ":443", "http": ":80"}[parts.scheme])


def _failure(document: object) -> str | None:
    """The words of an error answer, in one of its four formats; None for any other document.

    Error answers come with status 400 and 403, older calls send them with status 200 (seen in recordings up to 2022).
    """
    if not isinstance(document, dict):
        return None
    if document.get("status") == "error" or "error" in document or {"code", "message"} <= document.keys():
        for name in ("reason", "error", "message", "response_explanation"):
            if document.get(name):
                return " ".join(_sentences(document[name]))[:300]
        return "Bitstamp gave no reason"
    return None


def _sentences(reason: object) -> Iterable[str]:
    """The sentences of a reason: a text, a list of them, or lists of them by the name of a field."""
    if isinstance(reason, dict):
        for field, sentences in reason.items():
            if field != "__all__":
                yield f"{field}:"
            yield from _sentences(sentences)
    elif isinstance(reason, list):
        for sentence in reason:
            yield from _sentences(sentence)
    else:
        yield str(reason)


def _error(words: str, code: str, answer: Response, *, mutates: bool) -> ExchangeError:
    low = words.lower()
    if code in _BUSY or answer.status == 429:
        return Busy(words, retry_after=retry_after(answer, seconds=_PAUSE))
    if code in _UNSURE or low.startswith("order could not be placed"):
        return unknown_or_refused(words, mutates=mutates)
    ours = _CODES.get(code) or next((ours for start, ours in _WORDS if start in low), None)
    if ours is None and answer.status >= 500:
        return unknown_or_refused(words, mutates=mutates)
    return Refused(words, code=ours or "exchange_refused", retryable=ours in _RETRYABLE)


def _unreadable(answer: Response, *, mutates: bool) -> ExchangeError:
    """What an answer means that is not one of the API's documents: HTML of the front, a cut text, a bare status."""
    if answer.status == 429:
        return Busy("Bitstamp says: too many requests", retry_after=retry_after(answer, seconds=_PAUSE))
    if answer.status == 404:
        return Refused("Bitstamp has no such page: an unknown market or currency", code="unknown_market")
    return unknown_or_refused(f"Bitstamp's answer (HTTP {answer.status}) cannot be read", mutates=mutates)


# --- the adapter ------------------------------------------------------------------------------------------------------

_SIDES: dict[str, Side] = {"0": "buy", "1": "sell"}
#: "Order status" of the documentation; "In Queue" and "Cancel pending" were seen by client libraries.
_OPEN = {"Open", "In Queue", "Cancel pending"}
_OVER = {"Canceled", "Expired"}
_WITHDRAWN: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("0", "1"), "pending"),
    "2": "done",
    **dict.fromkeys(("3", "4", "11"), "failed"),
}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {
    "FINALIZED": "done",
    "REVERTED": "failed",
    "REJECTED": "failed",
}
#: Rows of before 2019 name no currency, only the type of the withdrawal.
_WITHDRAWAL_TYPES = {"0": "EUR", "1": "BTC", "14": "XRP", "15": "LTC", "16": "ETH"}
#: What a tag is called, by asset ("Crypto withdrawals").
_TAGS = {"XRP": "destination_tag", "CSPR": "transfer_id"} | dict.fromkeys(("XLM", "HBAR", "ATOM"), "memo_id")
_TIME_BACK = 50_000_000  # seconds, the most that withdrawal-requests takes

#: Seconds for which what is listed there is not asked again.
_LISTED = 3600.0


class Bitstamp(Exchange):
    """Spot markets of Bitstamp. Market buys by cost are its "instant" orders.

    Open orders are up to 10 s old (Bitstamp caches them); `order` and `find` tell the truth of the moment, for 30 days
    after an order is over. Bitstamp takes the same client order id twice, so it protects from nothing, and it cannot
    tell what a key may do.
    """

    id: ClassVar[str] = "bitstamp"
    name: ClassVar[str] = "Bitstamp"
    description: ClassVar[str] = "Spot exchange, since 2011, in EUR, USD and GBP"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the secret that Bitstamp showed with the key", secret=True),
    )
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "all"
    #: Documentation, "Authentication": a timestamp may be 150 s off, and ours may be 150 s ahead when it is signed.
    valid_seconds = 300.0
    #: Documentation, "Request limits": 400 a second and 10,000 in ten minutes; this stays below both.
    per_address = RateLimit(385, 15)

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BitstampAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def rate(self, currency: str, asset: str) -> Rate:
        ticker = self.api.public(f"ticker/{_symbol(currency, asset)}")
        with parsing_errors(self.name):
            buy, sell = parse_decimal(ticker["ask"]), parse_decimal(ticker["bid"])
            if not 0 < sell <= buy:
                raise Refused(f"{self.name} has no buyer or no seller now", code="exchange_unavailable", retryable=True)
            return Rate(buy=buy, sell=sell, time=datetime.fromtimestamp(int(ticker["timestamp"]), UTC))

    def markets(self) -> list[Market]:
        return list(self._markets().values())

    def funds(self) -> dict[str, Funds]:
        rows = self.api.private("account_balances")
        with parsing_errors(self.name):
            return {row["currency"].upper(): _funds(row) for row in rows}

    def place(self, order: NewOrder) -> OrderState:
        markets = self._markets()
        if (order.currency, order.asset) not in markets:
            raise no_such_market(self.name, order.currency, order.asset, markets)
        check(order, markets[order.currency, order.asset])
        path, form = _described(order)
        row = self.api.private(path, form)
        with parsing_errors(self.name, mutates=True):
            placed = _placed(row, order)
        if order.price is not None:
            return placed
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, placed.exchange_order_id)
        return poll_until_final(placed, lambda: self.order(ref))

    def order(self, ref: OrderRef) -> OrderState:
        return self._told(ref, {"id": ref.exchange_order_id})

    def find(self, ref: OrderRef) -> OrderState | None:
        try:
            return self._told(ref, {"client_order_id": ref.client_id})
        except Refused as error:
            if error.code == "order_not_found":
                return None
            raise

    def open_orders(self) -> list[OrderState]:
        rows = self.api.private("open_orders")
        with parsing_errors(self.name):
            return [_open(row) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        order_id = ref.exchange_order_id
        form = {"id": order_id} if order_id else {"client_order_id": ref.client_id}
        try:
            row = self.api.private("cancel_order", form)
        except Refused as error:
            if error.code == "order_not_found":
                raise Refused(error.words, code="order_not_open") from error
            raise
        with parsing_errors(self.name, mutates=True):
            if order_id and str(row["id"]) != order_id:
                raise ValueError("another order")

    def cancel_all(self) -> int:
        answer = self.api.private("cancel_all_orders")
        with parsing_errors(self.name, mutates=True):
            if answer["success"] is not True:
                raise ValueError("not all were canceled")
            return len(answer["canceled"])

    def fills(self, currency: str, asset: str) -> list[Fill]:
        rows = self.api.private(f"user_transactions/{_symbol(currency, asset)}", {"limit": 1000, "sort": "desc"})
        with parsing_errors(self.name):
            return [_fill(row, currency, asset) for row in rows if str(row["type"]) == "2"]

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        self._listed(asset)
        row = self.api.private(f"{_code(asset)}_address", {"network": network})
        with parsing_errors(self.name):
            names = [_TAGS.get(asset, "memo_id"), "memo_id", "destination_tag", "transfer_id"]
            tag = next((str(row[name]) for name in names if row.get(name) not in (None, "")), None)
            return DepositAddress(asset=asset, address=_text(row["address"]), tag=tag, network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        asset, tag = withdrawal.asset, withdrawal.tag
        if self._listed(asset) == "fiat":
            raise Unsupported(f"{self.name} sends {asset} to bank accounts only")
        if tag is not None and asset not in _TAGS:
            raise Refused(f"{self.name} takes no tag for {asset}", code="invalid_request")
        form = {
            "amount": plain(withdrawal.amount),
            "address": withdrawal.address,
            "network": withdrawal.network,
            **({_TAGS[asset]: tag} if tag is not None else {}),
        }
        row = self.api.private(f"{_code(asset)}_withdrawal", form)
        with parsing_errors(self.name, mutates=True):
            return Withdrawal(
                id=str(int(row["id"])),
                asset=asset,
                amount=withdrawal.amount,
                status="pending",
                address=withdrawal.address,
                tag=tag,
                network=withdrawal.network,
            )

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """Crypto deposits have a list of their own; those of money are told only among the user's transactions."""
        kind = None if asset is None else self._listed(asset)
        found: list[Deposit] = []
        if kind != "fiat":
            rows = self.api.private("crypto-transactions", {"limit": 1000})
            with parsing_errors(self.name):
                found += [_deposit(row) for row in rows["deposits"]]
        if kind != "crypto":
            money = [name for name, kind in self._currencies().items() if kind == "fiat"]
            rows = self.api.private("user_transactions", {"limit": 1000, "sort": "desc"})
            with parsing_errors(self.name):
                found += [deposit for row in rows if str(row["type"]) == "0" for deposit in _came_in(row, money)]
        found.sort(key=lambda deposit: deposit.time or datetime.min.replace(tzinfo=UTC), reverse=True)
        return [deposit for deposit in found if asset in (None, deposit.asset)]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self.api.private("withdrawal-requests", {"timedelta": _TIME_BACK})
        with parsing_errors(self.name):
            found = [_withdrawal(row) for row in rows]
        return [withdrawal for withdrawal in found if asset in (None, withdrawal.asset)]

    def _markets(self) -> Mapping[tuple[str, str], Market]:
        """(currency, asset) -> market, of the spot markets that are open."""

        def fetch() -> Mapping[tuple[str, str], Market]:
            rows = self.api.public("markets")
            with parsing_errors(self.name):
                spot = [_market(row) for row in rows if row["market_type"] == "SPOT" and row["trading"] == "Enabled"]
                return {(market.currency, market.asset): market for market in spot}

        listed: Mapping[tuple[str, str], Market] = self.context.cache.get_or_fetch("markets", fetch, seconds=_LISTED)
        return listed

    def _currencies(self) -> Mapping[str, str]:
        """Currency or asset -> "fiat" or "crypto"."""

        def fetch() -> Mapping[str, str]:
            rows = self.api.public("currencies")
            with parsing_errors(self.name):
                return {row["currency"].upper(): _text(row["type"]) for row in rows}

        listed: Mapping[str, str] = self.context.cache.get_or_fetch("currencies", fetch, seconds=_LISTED)
        return listed

    def _listed(self, asset: str) -> str:
        """Its type, "fiat" or "crypto". Raises Refused for what is not listed: its name would become part of a path."""
        try:
            return self._currencies()[asset]
        except KeyError:
            raise Refused(f"{self.name} does not list {asset}", code="unknown_asset") from None

    def _told(self, ref: OrderRef, form: Mapping[str, str | None]) -> OrderState:
        """The state of the order that `form` names; it must be the one of `ref`."""
        row = self.api.private("order_status", form)
        with parsing_errors(self.name):
            state = _state(row)
            told = (state.exchange_order_id, state.side, state.currency, state.asset, state.client_id or ref.client_id)
            known = ref.exchange_order_id or state.exchange_order_id
            if told != (known, ref.side, ref.currency, ref.asset, ref.client_id):
                raise ValueError("another order")
            return state


def _code(name: str) -> str:
    """The path's word for a currency; nothing else may come into a path."""
    if not re.fullmatch(r"[A-Za-z0-9]{1,20}", name, re.ASCII):
        raise Refused("no currency has this name", code="unknown_market")
    return name.lower()


def _symbol(currency: str, asset: str) -> str:
    return _code(asset) + _code(currency)


def _described(order: NewOrder) -> tuple[str, dict[str, Value]]:
    """The call and the form of a new order ("Orders": limit, market, instant)."""
    symbol = _symbol(order.currency, order.asset)
    form: dict[str, Value] = {"amount": order.amount, "client_order_id": order.client_id}
    if order.cost is not None:
        return f"buy/instant/{symbol}", {**form, "amount": order.cost}
    if order.price is not None:
        return f"{order.side}/{symbol}", {**form, "price": order.price}
    return f"{order.side}/market/{symbol}", form


def _market(row: Mapping[str, Any]) -> Market:
    least = parse_decimal(row["minimum_order_amount"]) if row.get("minimum_order_amount") else None
    return Market(
        currency=_text(row["counter_currency"]),
        asset=_text(row["base_currency"]),
        price_step=parse_decimal(row["tick_size"]) if row.get("tick_size") else _step(row["counter_decimals"]),
        amount_step=_step(row["base_decimals"]),
        amount_min=least,
        cost_min=parse_decimal(row["minimum_order_value"]),
    )


def _step(decimals: int) -> Decimal:
    return Decimal((0, (1,), -decimals))


def _funds(row: Mapping[str, Any]) -> Funds:
    return Funds(parse_unsigned(row["total"]), parse_unsigned(row["available"]), parse_unsigned(row["reserved"]))


def _placed(row: Mapping[str, Any], order: NewOrder) -> OrderState:
    """The answer to a new order. `price` and `amount` of market orders are not those of the fills and are left out."""
    if _SIDES[str(row["type"])] != order.side or row.get("client_order_id", order.client_id) != order.client_id:
        raise ValueError("another order")
    return OrderState(
        exchange_order_id=_order_id(row["id"]),
        status="open",
        side=order.side,
        currency=order.currency,
        asset=order.asset,
        amount=order.amount,
        price=order.price,
        client_id=order.client_id,
        created=_time(row["datetime"]),
    )


def _state(row: Mapping[str, Any]) -> OrderState:
    """An answer of order_status; filled, average, spent and fee come from the order's transactions."""
    asset, currency = _pair(row["market"])
    fills = [
        (
            parse_unsigned(fill[asset.lower()]),
            parse_unsigned(fill[currency.lower()]),
            parse_unsigned(fill["price"]),
            parse_decimal(fill["fee"]),
        )
        for fill in row["transactions"]
    ]
    filled = total(amount for amount, _, _, _ in fills)
    return OrderState(
        exchange_order_id=_order_id(row["id"]),
        status=_status(row["status"], filled),
        side=_SIDES[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=EXACT.add(filled, parse_unsigned(row["amount_remaining"])),
        filled=filled,
        average=mean(total(EXACT.multiply(amount, price) for amount, _, price, _ in fills), filled),
        spent=total(cost for _, cost, _, _ in fills),
        fee=total(fee for _, _, _, fee in fills),
        fee_currency=currency,
        client_id=row.get("client_order_id"),
        created=_time(row["datetime"]),
    )


def _status(word: str, filled: Decimal) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Finished":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled else "canceled"
    return "unknown"


def _open(row: Mapping[str, Any]) -> OrderState:
    """A row of open_orders; `amount` is what remains."""
    asset, currency = _pair(row["market"])
    amount = parse_unsigned(row["amount_at_create"])
    return OrderState(
        exchange_order_id=_order_id(row["id"]),
        status="open",
        side=_SIDES[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=amount,
        price=parse_unsigned(row["price"]),
        filled=parse_unsigned(EXACT.subtract(amount, parse_unsigned(row["amount"]))),
        client_id=row.get("client_order_id"),
        created=_time(row["datetime"]),
    )


def _fill(row: Mapping[str, Any], currency: str, asset: str) -> Fill:
    """A trade among the user's transactions; only the counter currency has its sign in old and new rows alike."""
    spent = parse_decimal(row[currency.lower()])
    return Fill(
        id=str(row["id"]),
        exchange_order_id=str(row["order_id"]) if row.get("order_id") else None,
        side="buy" if spent < 0 else "sell",
        currency=currency,
        asset=asset,
        amount=parse_decimal(row[asset.lower()]).copy_abs(),
        price=parse_decimal(row[f"{asset}_{currency}".lower()]).copy_abs(),
        fee=parse_decimal(row["fee"]),
        fee_currency=currency,
        time=_time(row["datetime"]),
    )


def _deposit(row: Mapping[str, Any]) -> Deposit:
    address, tag = _address(row.get("destinationAddress"))
    return Deposit(
        id=str(row["id"]),
        asset=_text(row["currency"]).upper(),
        amount=parse_unsigned(row["amount"]),
        status=_DEPOSITED.get(row["status"], "pending"),
        address=address,
        tag=tag,
        network=row.get("network"),
        txid=row.get("txid"),
        time=datetime.fromtimestamp(row["datetime"], UTC),
    )


def _came_in(row: Mapping[str, Any], money: Iterable[str]) -> Iterable[Deposit]:
    for asset in money:
        amount = parse_decimal(row.get(asset.lower(), 0))
        if amount > 0:
            yield Deposit(str(row["id"]), asset, amount, "done", time=_time(row["datetime"]))


def _withdrawal(row: Mapping[str, Any]) -> Withdrawal:
    address, tag = _address(row.get("address"))
    return Withdrawal(
        id=str(row["id"]),
        asset=_text(row.get("currency") or _WITHDRAWAL_TYPES[str(row["type"])]).upper(),
        amount=parse_unsigned(row["amount"]),
        status=_WITHDRAWN.get(str(row["status"]), "unknown"),
        address=address,
        tag=tag,
        network=row.get("network"),
        txid=row.get("transaction_id") or None,
        created=_time(row["datetime"]),
    )


def _address(text: str | None) -> tuple[str | None, str | None]:
    """Address and tag; a destination tag is appended to an XRP address as `?dt=`."""
    address, _, tag = (text or "").partition("?dt=")
    return address or None, tag or None


def _pair(market: str) -> tuple[str, str]:
    asset, currency = market.split("/")
    return asset, currency


def _order_id(id: object) -> str:
    """An order's id: a text of digits when placing, a number elsewhere."""
    return str(int(str(id)))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _time(text: str) -> datetime:
    """Times are UTC without saying so."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
