"""Bitstamp's REST API v2 (the sources are named in the package): its calls, signed, and what its errors mean."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, urlencode, urlsplit

from ...money import plain
from ...transport import Request, Transport
from ..api import ExchangeAPI
from ..base import Throttle, no_throttle
from ..errors import Busy, ExchangeError, Refused, malformed_key
from ..http import FORM, asked_pause, retry_after, unknown_or_refused, unproved, unreadable_answer

if TYPE_CHECKING:
    from ...transport import Response

__all__ = ["URL", "BitstampAPI"]

URL = "https://www.bitstamp.net"

#: What a field may be; None is left out, True is "True".
Value = Decimal | str | int | None
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
#: Of a call that executes these answers prove nothing: an earlier delivery of the same request could have caused them.
#: It used the nonce (API0004), it came while the timestamp was good (API0017, API0018), or its order has the client id
#: (400.019). All others are proof: Bitstamp checks version, key, timestamp, nonce and signature before all that the
#: "Response codes" are about ("Authentication error codes"), and a nonce is remembered as long as a timestamp is good,
#: so a second delivery comes no further. A rate limit without a code, as a bare HTTP 429, may be from the front, and
#: proves nothing.
_UNPROVED = {"API0004", "API0017", "API0018", "400.019"}
#: Failures inside the exchange: it does not say whether the order exists.
_UNSURE = {"500.001", "500.002", "500.003", "500.009", "500.013", "500.016", "500.017"}
#: The same by the exchange's words, for the answers without a code (those of older calls). What is not listed stays
#: exchange_refused.
_WORDS = (
    ("rate limit exceeded", "rate_limited"),
    ("exceeded rate limit", "rate_limited"),
    ("too many requests", "rate_limited"),
    ("invalid nonce", "invalid_nonce"),
    ("timestamp out of bound", "invalid_nonce"),
    ("timestamp is out of bound", "invalid_nonce"),
    ("invalid timestamp", "invalid_nonce"),
    ("invalid signature", "exchange_key_refused"),
    ("authentication failed", "exchange_key_refused"),
    ("api key not found", "exchange_key_refused"),
    ("wrong api key format", "exchange_key_refused"),
    ("missing key, signature and nonce", "exchange_key_refused"),
    ("ip address not allowed", "permission_denied"),
    ("account is frozen", "permission_denied"),
    ("fatca information", "permission_denied"),
    ("trading is currently unavailable for your account", "permission_denied"),
    ("trading for provided market is disabled", "exchange_unavailable"),
    ("check your account balance for details", "insufficient_funds"),
    ("insufficient balance", "insufficient_funds"),
    ("you have only", "insufficient_funds"),
    ("minimum order size", "invalid_amount"),
    ("ensure that there are no more than", "invalid_amount"),
    ("ensure this value is greater than or equal to", "invalid_amount"),
    ("amount at the moment is", "invalid_amount"),
    ("price is more than", "invalid_price"),
    # Not documented: a refusal in other words stays exchange_refused.
    ("maker or cancel", "would_take"),
    ("order not found", "order_not_found"),
    ("no permission found", "permission_denied"),
    ("api access disabled", "permission_denied"),
    ("your withdrawals are currently disabled", "permission_denied"),
    ("not allowed to withdraw to specified", "address_not_registered"),
    ("the address you provided is not verified", "address_not_registered"),
    ("invalid username and/or password", "exchange_key_refused"),
    ("under scheduled maintenance", "exchange_unavailable"),
)
#: Of a refusal in other words: what passes. Of a failure (HTTP 5xx) they say nothing about the outcome.
_PASSING = re.compile(r"currently unavailable|temporar|try again", re.ASCII | re.IGNORECASE)
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}


class BitstampAPI(ExchangeAPI):
    """Every call of Bitstamp's API v2, signed.

        with BitstampAPI(key, secret) as api:
            ask = api.public("ticker/btceur")["ask"]
            order = api.private("order_status", {"id": 14})

    Answers are decoded JSON with exact numbers. Raises what an adapter raises: Refused, Busy, and Unknown when a call
    that moves something may have been executed; and InvalidRequest for a float. Nothing is repeated.

    `clock` gives the seconds since 1970, `nonce` a text of 36 characters that was never used before. `url`, `session`,
    `transport`, `throttle`: see ExchangeAPI.
    """

    name = "Bitstamp"

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = URL,
        session: Any = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], object] = uuid.uuid4,
        throttle: Throttle = no_throttle,
    ) -> None:
        super().__init__(key, url=url, session=session, transport=transport, throttle=throttle)
        self._secret = secret.encode()
        self._clock = clock
        self._nonce = nonce

    def public(self, path: str, query: Mapping[str, Value] | None = None) -> Any:
        """Return the answer of a public GET call, as `public("order_book/btceur", {"group": 1})`."""
        request = Request("GET", self._url(path, query), {})
        with self.throttle(path, signed=False):
            return _document(self._send(request, mutates=False), mutates=False)

    def private(
        self,
        path: str,
        form: Mapping[str, Value] | None = None,
        *,
        method: Literal["POST", "GET"] = "POST",
        query: Mapping[str, Value] | None = None,
    ) -> Any:
        """Return the answer of a private call; `method` is POST for almost all. Values that are None are left out.

        A good answer without the right `X-Server-Auth-Signature` is not believed.
        """
        mutates = method == "POST" and not _READS.fullmatch(path.strip("/"))
        with self.throttle(path, signed=True):
            request = self.signed(path, form, method=method, query=query)
            answer = self._send(request, mutates=mutates)
            document = _document(answer, mutates=mutates)
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
        """Return the signed request of a private call, ready to send; nothing is sent here.

        Documentation, "Authentication": the text is "BITSTAMP " + key, method, host, path, query, content type, nonce,
        timestamp, "v2" and body; the content type is there, and sent, only with a body.
        """
        if not (self.key.isascii() and self.key.isprintable() and self.key and self._secret):
            raise malformed_key(
                "a private call to Bitstamp needs an API key (apikey) in ASCII and its secret (apisecret)",
                "apikey" if self._secret else "apisecret",
            )
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
            "X-Auth-Signature": self._signature(text.encode()),
            "X-Auth-Nonce": nonce,
            "X-Auth-Timestamp": timestamp,
            "X-Auth-Version": "v2",
        }
        if not body:
            return Request(method, url, headers)
        return Request(method, url, {**headers, "Content-Type": content_type}, body.encode())

    def verified(self, request: Request, answer: Response) -> bool:
        """Return whether the answer to a signed request has Bitstamp's own signature ("Authentication", last part)."""
        prefix = request.headers["X-Auth-Nonce"] + request.headers["X-Auth-Timestamp"]
        expected = self._signature((prefix + answer.headers.get("Content-Type", "")).encode() + answer.body)
        given = answer.headers.get("X-Server-Auth-Signature", "").lower()
        return hmac.compare_digest(expected.encode(), given.encode())

    def _signature(self, text: bytes) -> str:
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def _url(self, path: str, query: Mapping[str, Value] | None) -> str:
        text = _encoded(query)
        return f"{self.url}/api/v2/{path.strip('/')}/" + (f"?{text}" if text else "")


def _document(answer: Response, *, mutates: bool) -> Any:
    """Return the document of an answer. Raises what a refusal, or an answer that cannot be read, means."""
    try:
        document = answer.json()
    except ValueError:
        raise _unreadable(answer, mutates=mutates) from None
    reason = _error_words(document)
    if reason is not None:
        code = str(document.get("code") or document.get("response_code") or "")
        raise _error(reason, code, answer, mutates=mutates)
    if answer.status != 200:
        if isinstance(document, (str, list)) and _meaning(words := _joined(document)):
            raise _error(words, "", answer, mutates=mutates)
        raise _unreadable(answer, mutates=mutates)
    return document


def _encoded(fields: Mapping[str, Value] | None) -> str:
    given = {name: value for name, value in (fields or {}).items() if value is not None}
    return urlencode({name: str(v) if isinstance(v, (str, bool)) else plain(v, name) for name, v in given.items()})


def _host(parts: SplitResult) -> str:
    """Return the Host header's text: the port is there only when it is not the scheme's own."""
    return parts.netloc.removesuffix({"https": ":443", "http": ":80"}[parts.scheme])


def _error_words(document: object) -> str | None:
    """Return the words of an error answer, in one of its four formats; None for any other document.

    Error answers come with status 400 and 403, older calls send them with status 200 (seen in recordings up to 2022).
    """
    if not isinstance(document, dict):
        return None
    if document.get("status") == "error" or document.get("error") or {"code", "message"} <= document.keys():
        for name in ("reason", "error", "message", "response_explanation"):
            if document.get(name):
                return _joined(document[name])
        return "Bitstamp gave no reason"
    return None


def _joined(reason: object) -> str:
    return " ".join(_sentences(reason))[:300]


def _sentences(reason: object) -> Iterable[str]:
    """Yield the sentences of a reason: a text, a list of them, or lists of them by the name of a field."""
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


def _meaning(reason: str) -> str | None:
    """Return our code for the words of an answer that has no code."""
    return next((ours for words, ours in _WORDS if words in reason.lower()), None)


def _error(reason: str, code: str, answer: Response, *, mutates: bool) -> ExchangeError:
    ours = _CODES.get(code) or _meaning(reason)
    if code in _BUSY or answer.status == 429 or (not code and ours == "rate_limited"):
        busy = Busy(reason, retry_after=retry_after(answer, seconds=_PAUSE))
        return unproved(busy) if mutates and code not in _BUSY else busy
    if code in _UNSURE or reason.lower().startswith("order could not be placed"):
        return unknown_or_refused(reason, mutates=mutates, answer=answer)
    if ours is None and answer.status >= 500:
        return unknown_or_refused(reason, mutates=mutates, answer=answer)
    if ours is None:
        ours = "exchange_unavailable" if _PASSING.search(reason) else "exchange_refused"
    refusal = Refused(reason, code=ours, retryable=ours in _RETRYABLE, retry_after=asked_pause(answer))
    is_unproved = code in _UNPROVED or ours == "invalid_nonce" or (not code and "already exists" in reason.lower())
    return unproved(refusal) if mutates and is_unproved else refusal


def _unreadable(answer: Response, *, mutates: bool) -> ExchangeError:
    if answer.status == 404:
        return Refused("Bitstamp has no such page: an unknown market or currency", code="unknown_market")
    return unreadable_answer("Bitstamp", answer, mutates=mutates, pause=_PAUSE)
