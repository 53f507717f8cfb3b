"""The hub protocol (`HubAPI`), and our verbs said in it (`Hub`).

Source: the wiki page "API" of the repository tafa/account-hub (12 January 2011, revision 5). It is a sketch, and
nothing is known to run it. What it does not say is our choice, marked so below; what it marks TODO is not there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from ....money import EXACT, mean, parse_decimal, plain
from ....transport import Request, Transport
from ...base import Exchange, ExchangeContext, Field, RateLimit, Throttle, no_throttle
from ...cache import TTLCache
from ...errors import Busy, Refused, Unsupported
from ...http import parsing_errors, retry_after, send, unknown_or_refused
from ...models import DepositAddress, Funds, NewOrder, NewWithdrawal, OrderRef, OrderState, Rate, Side, Withdrawal

if TYPE_CHECKING:
    from ....transport import Response

__all__ = ["Hub", "HubAPI", "Overview"]

# --- the protocol -----------------------------------------------------------------------------------------------------

FORM, JSON = "application/x-www-form-urlencoded", "application/json"

#: Functions that move no money. Any other one is taken as a call that may.
_READS = {"my-balance", "my-open-orders", "new-btc-address", "find-invoices", "ticker"}
#: What the page does not finish -> what it leaves open.
_TODO = {
    "attach-identity-to-transfer": "what its keys and signatures are",
    "pay-invoice": "its parameters",
    "post-invoice": "what its signature signs",
    "withdraw-invoice": "what its signature signs",
    "change-authkey-permissions": "its parameters and which permissions there are",
}
#: Choice: functions that are called without authentication. Nobody has an account before the first one, and prices are
#: for everybody.
_PUBLIC = {"create-account", "ticker"}
_PLACE = "(function_name)"
#: Choice: an overview document has at most this many bytes, and is read again after so many seconds.
_MAX_OVERVIEW = 64 * 1024
_FRESH = 600.0
_ALLOWED: dict[str, tuple[object, ...]] = {
    "req_method": ("POST", "GET"),
    "post_body_encoding": (FORM, JSON),
    "req_authentication_type": (1, 2),
}
#: Nothing that one parser takes for a host and another one for a path.
_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)

#: Choice: the page says only "4xx/5xx on error".
_STATUSES = {
    400: "invalid_request",
    401: "exchange_key_refused",
    403: "permission_denied",
    409: "invalid_nonce",
    422: "insufficient_funds",
}
#: Codes of an error body that are taken at their word.
_CODES = {
    "exchange_key_refused",
    "insufficient_funds",
    "invalid_amount",
    "invalid_nonce",
    "invalid_price",
    "invalid_request",
    "order_not_open",
    "permission_denied",
    "unknown_market",
    "unknown_order",
}


class Overview(NamedTuple):
    """What a hub says of itself in its overview document."""

    req_url: str
    req_method: Literal["POST", "GET"]
    post_body_encoding: str
    req_authentication_type: Literal[1, 2]
    supported_functions: frozenset[str]


class HubAPI:
    """Every function of a hub that the page finishes, signed.

    `HubAPI(url, account=..., token=..., key=...)` for authentication type 2, `HubAPI(url, account=..., password=...)`
    for type 1; which one is the hub's choice, but a key is never sent as a password. `key_encoding` (choice) says how
    the key is written: "utf-8" as it is, or "base64". Calls go to the hub's own origin, or to one of `hosts` ("host" or
    "host:port"), whatever its overview says: else it could send names and passwords anywhere, as the page's own example
    does.

    Values are text, also in JSON. Raises what an adapter raises: Refused, Busy, and Unknown when a call that moves
    something may have been executed. Nothing is repeated. `clock` gives the seconds since 1970, `random` a text that
    was never used before.
    """

    def __init__(
        self,
        url: str,
        *,
        account: str = "",
        password: str = "",
        token: str = "",
        key: str = "",
        key_encoding: Literal["utf-8", "base64"] = "utf-8",
        hosts: Collection[str] = (),
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[], str] = lambda: secrets.token_hex(16),
        throttle: Throttle = no_throttle,
        cache: TTLCache | None = None,
    ) -> None:
        self.url = _checked(url.rstrip("/") + "/api/overview.js").removesuffix("/api/overview.js")
        self.account = account
        self.token = token
        self.transport = transport or Transport()
        self._password = password
        self._key = _decoded(key) if key_encoding == "base64" else key.encode()
        self._hosts = hosts
        self._clock = clock
        self._random = random
        self._throttle = throttle
        self._cache = cache or TTLCache()

    def __repr__(self) -> str:
        return f"HubAPI({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    # --- functions, with the page's parameters ---

    def my_balance(self) -> Any:
        """`{"available": {currency: amount}, "pending": {currency: amount}}`."""
        return self.call("my-balance")

    def place_order(self, trade_amt: str, trade_cur: str, for_amt: str, for_cur: str) -> Any:
        """Give at most `trade_amt` of `trade_cur` for at least `for_amt` of `for_cur` (choice): `{"oid"}`."""
        return self.call(
            "place-order", {"trade_amt": trade_amt, "trade_cur": trade_cur, "for_amt": for_amt, "for_cur": for_cur}
        )

    def cancel_order(self, oid: str) -> Any:
        return self.call("cancel-order", {"oid": oid})

    def my_open_orders(self) -> list[Mapping[str, str]]:
        """Rows of oid, trade_amt, trade_cur, for_amt, for_cur, remaining_trade_amt, created_ms (choice)."""
        answer = self.call("my-open-orders")
        with parsing_errors("the hub"):
            return list(answer if isinstance(answer, list) else answer["orders"])

    def send_btc(self, to_btc_address: str, amount: str) -> Any:
        """`{}`, or with the "txid" (choice)."""
        return self.call("send-btc", {"to_btc_address": to_btc_address, "amount": amount})

    def new_btc_address(self) -> Any:
        """`{"btc_address"}`, always a new one."""
        return self.call("new-btc-address")

    def find_invoices(self, **parameters: str) -> Any:
        """`{"invoices": [...], "more_exist"}`; `t`, `lat`, `lng` and `random` are all optional."""
        return self.call("find-invoices", parameters)

    def create_account(self) -> Any:
        """`{"account", "authkey": {"type", "token", "key"} or {"type", "password"}}`; unsigned (choice)."""
        return self.call("create-account")

    def create_authkey(self) -> Any:
        """`{"authkey": {...}}`: another key of this account."""
        return self.call("create-authkey")

    def ticker(self, cur_a: str, cur_b: str) -> Any:
        """`{"bid", "ask"}` of one unit of `cur_a` in `cur_b`, unsigned: our extension, where a hub lists it."""
        return self.call("ticker", {"cur_a": cur_a, "cur_b": cur_b})

    # --- how they are called ---

    def call(self, function: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The answer of a function; an empty one is `{}` (choice)."""
        mutates = function not in _READS
        overview = self.overview()
        with self._throttle(function, signed=True):
            request = self.request(overview, function, parameters)
            answer = send(self.transport, request, "the hub", mutates=mutates)
            if answer.status == 404:
                self._cache.invalidate(self.url)
            return _read(answer, mutates=mutates)

    def overview(self) -> Overview:
        """The overview document, at most ten minutes old."""
        overview: Overview = self._cache.get_or_fetch(self.url, self._overview, seconds=_FRESH)
        return overview

    def _overview(self) -> Overview:
        request = Request("GET", f"{self.url}/api/overview.js", {})
        with self._throttle("overview", signed=False):
            answer = send(self.transport, request, "the hub", mutates=False)
            if answer.status == 429:
                raise _busy(answer)
        if answer.status != 200:
            raise Refused(
                f"the hub has no overview document (HTTP {answer.status})", code="exchange_unavailable", retryable=True
            )
        return _overview(answer)

    def request(
        self,
        overview: Overview,
        function: str,
        parameters: Mapping[str, str] | None = None,
        *,
        nonce_ms: int | None = None,
        nonce_random: str | None = None,
    ) -> Request:
        """The request of a function, signed, ready to send; nothing is sent here.

        Type 2 (choice): the message is the body as it is sent, of a GET the query; X-Signature is the base64 of its
        HMAC-SHA256. The function, the account and both nonces lie inside it.
        """
        if function in _TODO:
            raise Unsupported(f"the hub protocol's page says TODO to {function}: it leaves open {_TODO[function]}")
        if function not in overview.supported_functions:
            raise Unsupported(f"this hub has no {function}")
        url = self._target(overview, function)
        signed = overview.req_authentication_type == 2
        fields = {"f": function} if signed else {}
        if function not in _PUBLIC:
            fields |= self._nonces(nonce_ms, nonce_random) if signed else self._named(overview)
        fields |= parameters or {}
        headers: dict[str, str] = {}
        if overview.req_method == "GET":
            url += ("&" if "?" in url else "?") + urlencode(fields)
            body, message = None, url.partition("?")[2].encode()
        else:
            headers["Content-Type"] = overview.post_body_encoding
            body = message = _encoded(fields, overview.post_body_encoding)
        if signed and function not in _PUBLIC:
            headers |= self._signature(message)
        return Request(overview.req_method, url, headers, body)

    def _nonces(self, nonce_ms: int | None, nonce_random: str | None) -> dict[str, str]:
        return {
            "account": self.account or self.token,
            "nonce_ms": str(int(self._clock() * 1000) if nonce_ms is None else nonce_ms),
            "nonce_random": self._random() if nonce_random is None else nonce_random,
        }

    def _named(self, overview: Overview) -> dict[str, str]:
        if overview.req_method == "GET":
            raise Refused("this hub wants passwords in URLs", code="overview_refused")
        if not (self.account and self._password):
            raise Refused("this hub needs an account and its password", code="exchange_key_refused")
        return {"name": self.account, "pass": self._password}

    def _signature(self, message: bytes) -> dict[str, str]:
        if not (self._key and self.token and self.token.isascii() and self.token.isprintable()):
            raise Refused("this hub needs the token and the key of an authkey", code="exchange_key_refused")
        digest = hmac.new(self._key, message, hashlib.sha256).digest()
        return {"X-Signature": base64.b64encode(digest).decode(), "X-Authkey-Token": self.token}

    def _target(self, overview: Overview, function: str) -> str:
        """The URL of a function; the check is of the final text, for the template may have its gap anywhere."""
        if _PLACE not in overview.req_url and overview.req_authentication_type == 1:
            raise Refused(
                "the hub's req_url has no (function_name), and nothing else names it", code="overview_refused"
            )
        url = _checked(overview.req_url.replace(_PLACE, quote(function, safe="")))
        if _origin(url) != _origin(self.url) and urlsplit(url).netloc.lower() not in self._hosts:
            raise Refused(
                f"the hub's overview sends calls to {urlsplit(url).netloc}, which is not the hub",
                code="overview_refused",
            )
        return url


def _checked(url: str) -> str:
    """`url`, when it is one to send credentials to: https, or this machine. Raises Refused otherwise."""
    host = urlsplit(url).hostname if _URL.fullmatch(url) else None
    if host is None:
        raise Refused("the hub's address is not a plain http or https URL", code="overview_refused")
    if not url.startswith("https://") and not _is_loopback(host):
        raise Refused("the hub's address is not https", code="overview_refused")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the key is not base64", code="exchange_key_refused") from None


def _encoded(fields: Mapping[str, str], encoding: str) -> bytes:
    if encoding == JSON:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    return urlencode(fields).encode()


def _overview(answer: Response) -> Overview:
    """The overview document, strictly: JSON without comments, no missing key, only values that the page knows."""
    try:
        if len(answer.body) > _MAX_OVERVIEW:
            raise ValueError(f"more than {_MAX_OVERVIEW} bytes")
        document = answer.json()
        overview = Overview(
            document["req_url"],
            document["req_method"],
            document["post_body_encoding"],
            document["req_authentication_type"],
            frozenset(document["supported_functions"]),
        )
        texts = [overview.req_url, *overview.supported_functions]
        if not (isinstance(document["supported_functions"], list) and all(isinstance(text, str) for text in texts)):
            raise ValueError("a URL or a name is no text, or the functions are no list")
        for key, allowed in _ALLOWED.items():
            value = document[key]
            if value not in allowed or isinstance(value, bool):
                raise ValueError(f"{key} is none of {', '.join(map(str, allowed))}")
    except KeyError as error:
        raise Refused(f"the hub's overview lacks {error.args[0]}", code="overview_refused") from None
    except (TypeError, ValueError) as error:
        raise Refused(f"the hub's overview cannot be used: {str(error)[:100]}", code="overview_refused") from None
    return overview


def _read(answer: Response, *, mutates: bool) -> Any:
    if answer.status == 429:
        raise _busy(answer)
    if answer.status == 200:
        try:
            return answer.json() if answer.body.strip() else {}
        except ValueError:
            raise unknown_or_refused("the hub's answer is not JSON", mutates=mutates) from None
    words = _words(answer)
    if not 400 <= answer.status < 500 or words is None:
        raise unknown_or_refused(words or f"the hub's answer (HTTP {answer.status}) cannot be read", mutates=mutates)
    if answer.status == 404:
        raise Unsupported(words)
    code = _code(answer) or _STATUSES.get(answer.status, "exchange_refused")
    raise Refused(words, code=code, retryable=code == "invalid_nonce")


def _words(answer: Response) -> str | None:
    """What an error answer says: its error, message or detail, or its text; None of a page of HTML or of nothing."""
    try:
        document = answer.json()
    except ValueError:
        text = answer.body.decode(errors="replace").strip()
        return text[:300] if text and not text.startswith("<") else None
    if isinstance(document, dict):
        found = next((document[name] for name in ("error", "message", "detail") if document.get(name)), None)
        return str(found)[:300] if found else None
    return None


def _code(answer: Response) -> str | None:
    try:
        code = answer.json()["code"]
    except (LookupError, TypeError, ValueError):
        return None
    return code if code in _CODES else None


def _busy(answer: Response) -> Busy:
    return Busy(_words(answer) or "the hub says: too many requests", retry_after=retry_after(answer, seconds=10.0))


# --- the adapter ------------------------------------------------------------------------------------------------------

#: Choice: amounts have at most eight decimals, in every currency.
_STEP = Decimal("1E-8")
_WIDE = Context(prec=300)


class Hub(Exchange):
    """A hub at the administrator's address, for BTC.

    The protocol has limit orders alone and tells of an order only whether it is open: one that is not is "unknown".
    Prices are told by hubs with our extension `ticker`. A total is told only where nothing is pending, for the page
    does not say what "pending" means.
    """

    id: ClassVar[str] = "hub"
    name: ClassVar[str] = "Hub"
    description: ClassVar[str] = "Any server that speaks the account hub protocol of 2011"
    form: ClassVar[tuple[Field, ...]] = (
        Field("username", "the account's identifier (type 2: only if the hub gave one)", required=False),
        Field("apikey", "the token of the authkey (type 2)", required=False),
        Field("apisecret", "the key of the authkey (type 2), or the password (type 1)", secret=True),
        Field(
            "authentication", "the hub's authentication type: 1 (password) or 2 (signed; the default)", required=False
        ),
        Field("key_encoding", "how the key is written: utf-8 (the default) or base64", required=False),
    )
    requires_url: ClassVar[bool] = True
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "none"
    #: The protocol is silent; one call a second (choice), and a few at once because one verb may need several.
    per_address = RateLimit(5, 1)

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        self._api = _api(context, context.url) if context.url else None

    @property
    def api(self) -> HubAPI:
        """The hub at the administrator's base URL. Raises Refused without one."""
        if self._api is None:
            raise Refused(
                "a hub has no address of its own; an administrator must name it, by the setting XWRAP_EXCHANGE_URL_HUB",
                code="exchange_url_missing",
            )
        return self._api

    def rate(self, currency: str, asset: str) -> Rate:
        ticker = self.api.ticker(asset, currency)
        with parsing_errors(self.name):
            buy, sell = parse_decimal(ticker["ask"]), parse_decimal(ticker["bid"])
            if not 0 < sell <= buy:
                raise ValueError("no bid below the ask")
            return Rate(buy=buy, sell=sell, time=datetime.now(UTC))

    def funds(self) -> dict[str, Funds]:
        answer = self.api.my_balance()
        with parsing_errors(self.name):
            free, waiting = _amounts(answer["available"]), _amounts(answer.get("pending", {}))
            return {name: _funds(free.get(name, Decimal(0)), waiting.get(name, Decimal(0))) for name in free | waiting}

    def place(self, order: NewOrder) -> OrderState:
        """Give the cost for the amount, or the amount for the cost.

        The cost has at most eight decimals: rounded down for a buy and up for a sell, the price is never worse.
        """
        if order.asset != "BTC" or order.currency == "BTC":
            raise Refused("a hub trades BTC against another currency", code="unknown_market")
        if order.price is None:
            raise Refused("a hub has limit orders alone: give a price", code="price_required")
        if order.amount is None or order.cost is not None:
            raise Unsupported("a hub cannot trade for a given cost; give the amount")
        give, get = _described(order.side, _checked_amount(order.amount), order.price)
        (trade_cur, for_cur) = (order.currency, order.asset) if order.side == "buy" else (order.asset, order.currency)
        answer = self.api.place_order(plain(give), trade_cur, plain(get), for_cur)
        with parsing_errors(self.name, mutates=True):
            return OrderState(
                _oid(answer["oid"]),
                "open",
                side=order.side,
                currency=order.currency,
                asset=order.asset,
                amount=order.amount,
                price=order.price,
                client_id=order.client_id,
            )

    def order(self, ref: OrderRef) -> OrderState:
        """Open, or "unknown": what became of an order that is no longer open is not told."""
        oid = _known(ref)
        state = OrderState(oid, "unknown", ref.side, ref.currency, ref.asset, ref.amount, ref.price)
        told = {state.exchange_order_id: state for state in self.open_orders()}.get(oid)
        with parsing_errors(self.name):
            if told is not None:
                if (told.side, told.currency, told.asset) != (ref.side, ref.currency, ref.asset):
                    raise ValueError("another order")
                # The limit that was asked for; the hub's two amounts give it only rounded.
                state = replace(told, price=ref.price or told.price)
        return replace(state, client_id=ref.client_id)

    def open_orders(self) -> list[OrderState]:
        rows = self.api.my_open_orders()
        with parsing_errors(self.name):
            return [_open_order(row) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        self._cancel(_known(ref))

    def cancel_all(self) -> int:
        """Each open order is cancelled by itself; a hub has no call for all."""
        canceled = 0
        for state in self.open_orders():
            try:
                self._cancel(state.exchange_order_id)
                canceled += 1
            except Refused as error:
                if error.code != "order_not_open":
                    raise
        return canceled

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """A new address every time."""
        _only_bitcoin(asset, network)
        answer = self.api.new_btc_address()
        with parsing_errors(self.name):
            if not re.fullmatch(r"[0-9A-Za-z]{26,90}", answer["btc_address"], re.ASCII):
                raise ValueError("no address")
            return DepositAddress(asset, answer["btc_address"], network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """The id is the transaction where a hub tells it (choice), else it is ours."""
        _only_bitcoin(withdrawal.asset, withdrawal.network)
        if withdrawal.tag is not None:
            raise Refused("bitcoin addresses have no tag", code="invalid_request")
        amount = _checked_amount(withdrawal.amount)
        answer = self.api.send_btc(withdrawal.address, plain(amount))
        with parsing_errors(self.name, mutates=True):
            txid = answer.get("txid")
            if txid is not None and not re.fullmatch(r"[0-9a-f]{64}", txid, re.ASCII):
                raise ValueError("no transaction")
            return Withdrawal(
                txid or withdrawal.client_id,
                "BTC",
                amount,
                "done",
                address=withdrawal.address,
                network=withdrawal.network,
                txid=txid,
            )

    def _cancel(self, oid: str) -> None:
        try:
            self.api.cancel_order(oid)
        except Refused as error:
            if error.code == "unknown_order":
                raise Refused(error.words, code="order_not_open") from error
            raise


def _api(context: ExchangeContext, url: str) -> HubAPI:
    """The secret is a password only where the registration says so: a hub cannot make it one."""
    keys = context.credentials
    kind, encoding = keys.more.get("authentication") or "2", keys.more.get("key_encoding") or "utf-8"
    if kind not in ("1", "2"):
        raise Refused("a hub's authentication type is 1 or 2", code="invalid_request")
    if encoding not in ("utf-8", "base64"):
        raise Refused("a key is written as utf-8 or as base64", code="invalid_request")
    return HubAPI(
        url,
        account=keys.username,
        token=keys.apikey,
        password=keys.apisecret if kind == "1" else "",
        key=keys.apisecret if kind == "2" else "",
        key_encoding="base64" if encoding == "base64" else "utf-8",
        transport=context.transport,
        throttle=context.throttle,
        cache=context.cache,
    )


def _checked_amount(amount: Decimal) -> Decimal:
    """`amount`, when it has at most eight decimals. Raises Refused otherwise; nothing is rounded."""
    nearest = amount.quantize(_STEP, ROUND_HALF_UP, _WIDE)
    if amount > 0 and nearest == amount:
        return amount
    nearest = max(nearest, _STEP)
    raise Refused(
        f"the amount {plain(amount)} has more than eight decimals or is not above zero; the nearest allowed is"
        f" {plain(nearest)}",
        code="invalid_amount",
        details={"field": "amount", "nearest": plain(nearest)},
    )


def _described(side: Side, amount: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
    """What is given at most and got at least."""
    if price <= 0:
        raise Refused(f"the price {plain(price)} is not above zero", code="invalid_price", details={"field": "price"})
    cost = EXACT.multiply(amount, price)
    if side == "sell":
        return amount, cost.quantize(_STEP, ROUND_CEILING, _WIDE)
    give = cost.quantize(_STEP, ROUND_FLOOR, _WIDE)
    if not give:
        raise Refused("the order costs less than the smallest unit", code="invalid_amount", details={"field": "amount"})
    return give, amount


def _amounts(document: Mapping[str, Any]) -> dict[str, Decimal]:
    amounts = {name.upper(): parse_decimal(amount) for name, amount in document.items()}
    if len(amounts) != len(document) or any(amount < 0 for amount in amounts.values()):
        raise ValueError("a negative balance, or a currency named twice")
    return amounts


def _funds(free: Decimal, waiting: Decimal) -> Funds:
    return Funds(total=None if waiting else free, available=free, held=waiting)


def _open_order(row: Mapping[str, Any]) -> OrderState:
    """One side is BTC; giving it is a sell. The part that is filled is told of what is given."""
    give, get = parse_decimal(row["trade_amt"]), parse_decimal(row["for_amt"])
    currencies = row["trade_cur"].upper(), row["for_cur"].upper()
    sells = currencies[0] == "BTC"
    if sells == (currencies[1] == "BTC"):
        raise ValueError("an order without BTC")
    amount, cost = (give, get) if sells else (get, give)
    left = parse_decimal(row["remaining_trade_amt"]) if "remaining_trade_amt" in row else None
    gone = None if left is None else EXACT.subtract(give, left)
    return OrderState(
        _oid(row["oid"]),
        "open",
        side="sell" if sells else "buy",
        currency=currencies[1] if sells else currencies[0],
        asset="BTC",
        amount=amount,
        price=mean(cost, amount),
        filled=gone if sells else None,
        spent=None if sells else gone,
        created=_moment(row["created_ms"]) if "created_ms" in row else None,
    )


def _moment(milliseconds: object) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(str(milliseconds)))


def _known(ref: OrderRef) -> str:
    if not ref.exchange_order_id:
        raise Refused("a hub knows orders by its own id alone", code="unknown_order")
    return ref.exchange_order_id


def _oid(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,128}", text):
        raise ValueError("no order id")
    return text


def _only_bitcoin(asset: str, network: str | None) -> None:
    if asset != "BTC" or network not in (None, "bitcoin"):
        raise Unsupported("a hub has addresses for BTC on the bitcoin network alone")
