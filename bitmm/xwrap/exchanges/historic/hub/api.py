"""The account hub protocol, usable alone; its source is named in the package."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlencode

from ....transport import Request, Transport
from ...api import ExchangeAPI, decode_secret
from ...base import Throttle, no_throttle
from ...cache import TTLCache
from ...errors import Busy, Refused, Unsupported, malformed_key
from ...http import JSON, parsing_errors, retry_after, unknown_or_refused, unproved
from ...parsing import list_of_rows
from .overview import Overview, check_url, function_url, parse_overview

if TYPE_CHECKING:
    from ....transport import Response

__all__ = ["HubAPI"]

_OVERVIEW_PATH = "/api/overview.js"
#: Choice: the overview document is read again after so many seconds.
_OVERVIEW_SECONDS = 600.0

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

#: HTTP status of an error -> our code (choice: the page says only "4xx/5xx on error").
_CODES_BY_STATUS = {
    **dict.fromkeys((400, 405, 411, 413, 414, 415), "invalid_request"),  # it is not understood at all
    401: "exchange_key_refused",
    403: "permission_denied",
    409: "invalid_nonce",
    422: "insufficient_funds",
}
#: Statuses that ask for the same request again: it came too slowly, or too early (RFC 9110, 15.5.9; RFC 8470, 5.2).
_PASSING = {408, 425}
# What proves that a call that moves something was not executed, although it may have been delivered twice, and the
# answer to the second delivery is all that arrives. The other refusals are Unknown, with the refusal inside.
#
# type 2 (signed)    all but 401, 409 and 429. A nonce is taken once (choice), as a part of the authentication: a second
#                    delivery is refused there (409), or for its time, which 401 may stand for.
# type 1 (password)  what follows from the request itself (`_PROOF`): nothing tells a second delivery from a new call,
#                    so that funds may be missing because the first one was executed.
#
# The page does not say when calls are counted, so 429 proves nothing. A refused key is proof when a read is refused for
# it, too: see the adapter.

#: Codes of refusals that no execution of the same request can have caused. For a cancel: an order that is not open is
#: not open, whoever canceled it.
_PROOF = {
    "exchange_key_refused",
    "invalid_amount",
    "invalid_price",
    "invalid_request",
    "order_not_found",
    "order_not_open",
    "permission_denied",
    "unknown_market",
}

#: Our codes that count when the body of an error names one as its "code" (choice).
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


class HubAPI(ExchangeAPI):
    """Every function of a hub that the page finishes, signed.

    `HubAPI(url, account=..., token=..., key=...)` for authentication type 2, `HubAPI(url, account=..., password=...)`
    for type 1; which one is the hub's choice, but a key is never sent as a password. `key_encoding` (choice) says how
    the key is written: "utf-8" as it is, or "base64". Calls go to the hub's own origin, or to one of `hosts` ("host" or
    "host:port"), whatever its overview says: else it could send names and passwords anywhere, as the page's own example
    does.

    Values are text, also in JSON. `clock` returns the seconds since 1970, `random` a text that was never used before.
    """

    name: ClassVar[str] = "the hub"

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
        session: Any = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[], str] = lambda: secrets.token_hex(16),
        throttle: Throttle = no_throttle,
        cache: TTLCache | None = None,
    ) -> None:
        # The token is what names the key; the key itself is the secret.
        super().__init__(token, url=url, session=session, transport=transport, throttle=throttle)
        check_url(self.url + _OVERVIEW_PATH)
        self.account = account
        self.token = token
        self._password = password
        self._secret = decode_secret(key, "the key of the authkey") if key_encoding == "base64" else key.encode()
        self._hosts = hosts
        self._clock = clock
        self._random = random
        self._cache = cache or TTLCache()

    def my_balance(self) -> Any:
        """Return `{"available": {currency: amount}, "pending": {currency: amount}}`."""
        return self.private("my-balance")

    def place_order(self, trade_amt: str, trade_cur: str, for_amt: str, for_cur: str) -> Any:
        """Give at most `trade_amt` of `trade_cur` for at least `for_amt` of `for_cur` (choice); return `{"oid"}`."""
        return self.private(
            "place-order", {"trade_amt": trade_amt, "trade_cur": trade_cur, "for_amt": for_amt, "for_cur": for_cur}
        )

    def cancel_order(self, oid: str) -> Any:
        """Cancel an order."""
        return self.private("cancel-order", {"oid": oid})

    def my_open_orders(self) -> list[Mapping[str, str]]:
        """Return rows of oid, trade_amt, trade_cur, for_amt, for_cur, remaining_trade_amt, created_ms (choice)."""
        answer = self.private("my-open-orders")
        with parsing_errors(self.name):
            return list_of_rows(answer if isinstance(answer, list) else answer["orders"])

    def send_btc(self, to_btc_address: str, amount: str) -> Any:
        """Send bitcoins; return `{}`, or with the "txid" (choice)."""
        return self.private("send-btc", {"to_btc_address": to_btc_address, "amount": amount})

    def new_btc_address(self) -> Any:
        """Return `{"btc_address"}`, always a new one."""
        return self.private("new-btc-address")

    def find_invoices(self, **parameters: str) -> Any:
        """Return `{"invoices": [...], "more_exist"}`; `t`, `lat`, `lng` and `random` are all optional."""
        return self.private("find-invoices", parameters)

    def create_account(self) -> Any:
        """Return `{"account", "authkey": {"type", "token", "key"} or {"type", "password"}}`; unsigned (choice)."""
        return self.public("create-account")

    def create_authkey(self) -> Any:
        """Return `{"authkey": {...}}`: another key of this account."""
        return self.private("create-authkey")

    def ticker(self, cur_a: str, cur_b: str) -> Any:
        """Return `{"bid", "ask"}` of one unit of `cur_a` in `cur_b`, unsigned: our extension, where a hub lists it."""
        return self.public("ticker", {"cur_a": cur_a, "cur_b": cur_b})

    def overview(self) -> Overview:
        """Return the overview document, at most ten minutes old."""
        overview: Overview = self._cache.get_or_fetch(self.url, self._fetch_overview, seconds=_OVERVIEW_SECONDS)
        return overview

    def public(self, function: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Return the answer of a function, called without credentials (choice): create-account and ticker."""
        overview = self.overview()
        with self.throttle(function, signed=False):
            return self._call(function, self.unsigned(function, parameters, overview=overview), overview)

    def private(self, function: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Return the answer of a function, called with the credentials."""
        overview = self.overview()
        with self.throttle(function, signed=True):
            return self._call(function, self.signed(function, parameters, overview=overview), overview)

    def unsigned(self, function: str, parameters: Mapping[str, str] | None = None, *, overview: Overview) -> Request:
        """Return the request of a function without credentials, ready to send; nothing is sent here."""
        url = self._url(function, overview)
        fields = {"f": function} if overview.req_authentication_type == 2 else {}
        return _request(url, {**fields, **(parameters or {})}, overview)

    def signed(
        self,
        function: str,
        parameters: Mapping[str, str] | None = None,
        *,
        overview: Overview,
        nonce_ms: int | None = None,
        nonce_random: str | None = None,
    ) -> Request:
        """Return the request of a function with the credentials, ready to send; nothing is sent here.

        Type 1: the body has the account's name and password. Type 2 (choice): the signed message is the body as it is
        sent, of a GET the query; X-Signature is the base64 of its HMAC-SHA256. The function, the account and both
        nonces lie inside it. Raises Refused without these credentials, and where the overview names another server.
        """
        url = self._url(function, overview)
        if overview.req_authentication_type == 1:
            return _request(url, {**self._name_and_password(overview), **(parameters or {})}, overview)
        fields = {
            "f": function,
            "account": self.account or self.token,
            "nonce_ms": str(int(self._clock() * 1000) if nonce_ms is None else nonce_ms),
            "nonce_random": self._random() if nonce_random is None else nonce_random,
        }
        request = _request(url, {**fields, **(parameters or {})}, overview)
        message = request.url.partition("?")[2].encode() if request.body is None else request.body
        return request._replace(headers={**request.headers, **self._signature(message)})

    def _url(self, function: str, overview: Overview) -> str:
        if function in _TODO:
            raise Unsupported(f"the hub protocol's page says TODO to {function}: it leaves open {_TODO[function]}")
        if function not in overview.supported_functions:
            raise Unsupported(f"this hub has no {function}")
        return function_url(overview, function, home=self.url, hosts=self._hosts)

    def _name_and_password(self, overview: Overview) -> dict[str, str]:
        if overview.req_method == "GET":
            raise Refused("this hub wants passwords in URLs", code="overview_refused")
        if not (self.account and self._password):
            raise malformed_key(
                "this hub needs the name of an account (username) and its password (apisecret)", "apisecret"
            )
        return {"name": self.account, "pass": self._password}

    def _signature(self, message: bytes) -> dict[str, str]:
        if not (self._secret and self.token and self.token.isascii() and self.token.isprintable()):
            raise malformed_key(
                "this hub needs the token (apikey), in ASCII, and the key (apisecret) of an authkey", "apikey"
            )
        digest = hmac.new(self._secret, message, hashlib.sha256).digest()
        return {"X-Signature": base64.b64encode(digest).decode(), "X-Authkey-Token": self.token}

    def _fetch_overview(self) -> Overview:
        with self.throttle("overview", signed=False):
            answer = self._send(Request("GET", self.url + _OVERVIEW_PATH, {}), mutates=False)
            if answer.status == 429:
                raise _busy(answer)
        if answer.status != 200:
            raise Refused(
                f"the hub has no overview document (HTTP {answer.status})", code="exchange_unavailable", retryable=True
            )
        return parse_overview(answer)

    def _call(self, function: str, request: Request, overview: Overview) -> Any:
        """Return the answer of one request; an empty one is `{}` (choice). Called under `throttle`."""
        mutates = function not in _READS
        answer = self._send(request, mutates=mutates)
        if answer.status == 404:
            # The overview may be outdated.
            self._cache.invalidate(self.url)
        try:
            return _parse(answer, mutates=mutates)
        except Refused as refusal:
            if mutates and not _is_proof(refusal, overview.req_authentication_type):
                raise unproved(refusal) from None
            raise


def _is_proof(refusal: Refused, authentication: int) -> bool:
    """Return whether no earlier delivery of the same request can have caused this answer: see the table above."""
    if isinstance(refusal, Unsupported):
        return True
    if authentication == 1:
        return refusal.code in _PROOF
    return refusal.code not in {"exchange_key_refused", "invalid_nonce", "rate_limited"}


def _request(url: str, fields: Mapping[str, str], overview: Overview) -> Request:
    if overview.req_method == "GET":
        return Request("GET", url + ("&" if "?" in url else "?") + urlencode(fields), {})
    if overview.post_body_encoding == JSON:
        body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    else:
        body = urlencode(fields).encode()
    return Request("POST", url, {"Content-Type": overview.post_body_encoding}, body)


def _parse(answer: Response, *, mutates: bool) -> Any:
    if answer.status == 429:
        raise _busy(answer)
    if answer.status == 200:
        try:
            return answer.json() if answer.body.strip() else {}
        except ValueError:
            raise unknown_or_refused("the hub's answer is not JSON", mutates=mutates) from None
    words = _error_words(answer)
    if not 400 <= answer.status < 500 or answer.status in _PASSING or words is None:
        words = words or f"the hub's answer (HTTP {answer.status}) cannot be read"
        raise unknown_or_refused(words, mutates=mutates, answer=answer)
    if answer.status == 404:
        raise Unsupported(words)
    code = _error_code(answer) or _CODES_BY_STATUS.get(answer.status, "exchange_refused")
    raise Refused(words, code=code, retryable=code == "invalid_nonce")


def _error_words(answer: Response) -> str | None:
    """Return an error's words: its error, message, detail or code, or its text; None for HTML and an empty answer."""
    try:
        document = answer.json()
    except ValueError:
        text = answer.body.decode(errors="replace").strip()
        return text[:300] if text and not text.startswith("<") else None
    if isinstance(document, dict):
        found = next((document[name] for name in ("error", "message", "detail") if document.get(name)), None)
        found = found or _error_code(answer)
        return str(found)[:300] if found else None
    return None


def _error_code(answer: Response) -> str | None:
    try:
        code = answer.json()["code"]
    except (LookupError, TypeError, ValueError):
        return None
    return code if isinstance(code, str) and code in _CODES else None


def _busy(answer: Response) -> Busy:
    return Busy(
        _error_words(answer) or "the hub says: too many requests", retry_after=retry_after(answer, seconds=10.0)
    )
