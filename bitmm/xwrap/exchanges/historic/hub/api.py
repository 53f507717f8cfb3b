"""The account hub protocol of 2011."""

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
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from ....transport import Request, Transport
from ...base import Throttle, no_throttle
from ...cache import TTLCache
from ...errors import Busy, Refused, Unsupported
from ...http import parsing_errors, retry_after, send, unknown_or_refused

if TYPE_CHECKING:
    from ....transport import Response

__all__ = ["HubAPI", "Overview"]

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
_PLACEHOLDER = "(function_name)"
#: Choice: an overview document has at most this many bytes, and is read again after so many seconds.
_MAX_OVERVIEW = 64 * 1024
_OVERVIEW_SECONDS = 600.0
_ALLOWED: dict[str, tuple[object, ...]] = {
    "req_method": ("POST", "GET"),
    "post_body_encoding": (FORM, JSON),
    "req_authentication_type": (1, 2),
}
#: Nothing that one parser takes for a host and another one for a path.
_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)
#: Choice: the page says only "4xx/5xx on error".
_CODES_BY_STATUS = {
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
    "order_not_found",
    "order_not_open",
    "permission_denied",
    "unknown_market",
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
        self.url = check_url(url.rstrip("/") + "/api/overview.js").removesuffix("/api/overview.js")
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

    def call(self, function: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The answer of a function; an empty one is `{}` (choice)."""
        mutates = function not in _READS
        overview = self.overview()
        with self._throttle(function, signed=True):
            request = self.request(overview, function, parameters)
            answer = send(self.transport, request, "the hub", mutates=mutates)
            if answer.status == 404:
                self._cache.invalidate(self.url)
            return _parse_answer(answer, mutates=mutates)

    def overview(self) -> Overview:
        """The overview document, at most ten minutes old."""
        overview: Overview = self._cache.get_or_fetch(self.url, self._fetch_overview, seconds=_OVERVIEW_SECONDS)
        return overview

    def _fetch_overview(self) -> Overview:
        request = Request("GET", f"{self.url}/api/overview.js", {})
        with self._throttle("overview", signed=False):
            answer = send(self.transport, request, "the hub", mutates=False)
            if answer.status == 429:
                raise _busy_error(answer)
        if answer.status != 200:
            raise Refused(
                f"the hub has no overview document (HTTP {answer.status})", code="exchange_unavailable", retryable=True
            )
        return parse_overview(answer)

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
        url = self._function_url(overview, function)
        signed = overview.req_authentication_type == 2
        fields = {"f": function} if signed else {}
        if function not in _PUBLIC:
            fields |= self._nonce_fields(nonce_ms, nonce_random) if signed else self._name_and_password(overview)
        fields |= parameters or {}
        headers: dict[str, str] = {}
        if overview.req_method == "GET":
            url += ("&" if "?" in url else "?") + urlencode(fields)
            body, message = None, url.partition("?")[2].encode()
        else:
            headers["Content-Type"] = overview.post_body_encoding
            body = message = _encode(fields, overview.post_body_encoding)
        if signed and function not in _PUBLIC:
            headers |= self._signature(message)
        return Request(overview.req_method, url, headers, body)

    def _nonce_fields(self, nonce_ms: int | None, nonce_random: str | None) -> dict[str, str]:
        return {
            "account": self.account or self.token,
            "nonce_ms": str(int(self._clock() * 1000) if nonce_ms is None else nonce_ms),
            "nonce_random": self._random() if nonce_random is None else nonce_random,
        }

    def _name_and_password(self, overview: Overview) -> dict[str, str]:
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

    def _function_url(self, overview: Overview, function: str) -> str:
        """The URL of a function; the check is of the final text, for the template may have its gap anywhere."""
        if _PLACEHOLDER not in overview.req_url and overview.req_authentication_type == 1:
            raise Refused(
                "the hub's req_url has no (function_name), and nothing else names it", code="overview_refused"
            )
        url = check_url(overview.req_url.replace(_PLACEHOLDER, quote(function, safe="")))
        if _origin(url) != _origin(self.url) and urlsplit(url).netloc.lower() not in self._hosts:
            raise Refused(
                f"the hub's overview sends calls to {urlsplit(url).netloc}, which is not the hub",
                code="overview_refused",
            )
        return url


def check_url(url: str) -> str:
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


def _encode(fields: Mapping[str, str], encoding: str) -> bytes:
    if encoding == JSON:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    return urlencode(fields).encode()


def parse_overview(answer: Response) -> Overview:
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


def _parse_answer(answer: Response, *, mutates: bool) -> Any:
    if answer.status == 429:
        raise _busy_error(answer)
    if answer.status == 200:
        try:
            return answer.json() if answer.body.strip() else {}
        except ValueError:
            raise unknown_or_refused("the hub's answer is not JSON", mutates=mutates) from None
    words = _error_text(answer)
    if not 400 <= answer.status < 500 or words is None:
        raise unknown_or_refused(words or f"the hub's answer (HTTP {answer.status}) cannot be read", mutates=mutates)
    if answer.status == 404:
        raise Unsupported(words)
    code = _error_code(answer) or _CODES_BY_STATUS.get(answer.status, "exchange_refused")
    raise Refused(words, code=code, retryable=code == "invalid_nonce")


def _error_text(answer: Response) -> str | None:
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


def _error_code(answer: Response) -> str | None:
    try:
        code = answer.json()["code"]
    except (LookupError, TypeError, ValueError):
        return None
    return code if code in _CODES else None


def _busy_error(answer: Response) -> Busy:
    return Busy(_error_text(answer) or "the hub says: too many requests", retry_after=retry_after(answer, seconds=10.0))
