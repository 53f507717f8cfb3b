"""Mt.Gox's HTTP API, versions 0, 1 and 2."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from ....transport import Request, Transport
from ...base import Throttle, no_throttle
from ...cache import TTLCache
from ...errors import Busy, ExchangeError, Refused
from ...http import parsing_errors, retry_after, send, unknown_or_refused

if TYPE_CHECKING:
    from ....transport import Response

__all__ = ["MtGoxAPI", "Version"]

Version = Literal[0, 1, 2]
#: Private calls that execute nothing. Any other one is taken as a call that may move money.
_READS = re.compile(
    r"([A-Za-z]+/)*(info|getFunds|orders|getOrders|btcAddress|idkey|order/(result|lag|quote)|wallet/history"
    r"|bitcoin/address|history_[A-Z]{3})(\.php|\.csv)?"
)
#: Seconds for which the exchange cached everything; asking more often led to a ban (Bitcoin Wiki, MtGox/API/HTTP).
_CACHE_SECONDS = 10.0
#: Tokens of error answers, as clients met them -> our codes. What a key without the right was told is not recorded.
_CODES_BY_TOKEN = {
    "login_error_missing_rest_key": "exchange_key_refused",
    "login_error_invalid_nonce": "invalid_nonce",
    "unknown_order_id": "order_not_found",
}
#: Words of error answers -> our codes; version 0 and the early version 1 had no tokens. Others stay exchange_refused.
_CODES_BY_WORDS = (
    ("identification required to access private api", "exchange_key_refused"),
    ("order not found", "order_not_found"),
    ("order amount is too low", "invalid_amount"),
    ("insufficient funds", "insufficient_funds"),
)


class MtGoxAPI:
    """Every call of the API of one `version`, signed.

    `MtGoxAPI(url).public("BTCUSD/money/ticker")`, `MtGoxAPI(url, key, secret).private("money/info")`: paths are those
    after `/api/VERSION/`. Answers are decoded JSON with exact numbers, out of their envelope; a `.csv` is text. Raises
    what an adapter raises: Refused, Busy, and Unknown when a call that moves something may have been executed. Nothing
    is repeated. An answer of a public call is given again for 10 s; treat it as read-only.

    `secret` is base64. `nonce` gives rising integers for this key (default: the microseconds since 1970). With `tonce`
    they must be the microseconds since 1970, within 10 s of the exchange's clock, and need not arrive in order.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        secret: str = "",
        *,
        version: Version = 2,
        tonce: bool = False,
        transport: Transport | None = None,
        nonce: Callable[[], int] | None = None,
        throttle: Throttle = no_throttle,
        cache: TTLCache | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.version = version
        self.transport = transport or Transport()
        self._secret = _decoded(secret)
        self._nonce_field = "tonce" if tonce else "nonce"
        self._next_nonce = nonce or _rising()
        self._throttle = throttle
        self._cache = cache or TTLCache()

    def __repr__(self) -> str:
        return f"MtGoxAPI({self.url!r}, version={self.version})"

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def public(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer of a public GET call, as `public("BTCUSD/trades/fetch", {"since": "1365499103363494"})`."""
        request = self.query(path, query)

        def fetch() -> Any:
            with self._throttle(path, signed=False):
                return self._parse(send(self.transport, request, "Mt.Gox", mutates=False), mutates=False)

        return self._cache.get_or_fetch(request.url, fetch, seconds=_CACHE_SECONDS)

    def private(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """The answer of a signed POST call."""
        mutates = not _READS.fullmatch(path)
        with self._throttle(path, signed=True):
            answer = send(self.transport, self.signed(path, form), "Mt.Gox", mutates=mutates)
            if path.endswith(".csv") and answer.status == 200:
                return answer.body.decode(errors="replace")
            return self._parse(answer, mutates=mutates)

    def query(self, path: str, query: Mapping[str, str] | None = None) -> Request:
        """The request of a public call, ready to send; nothing is sent here."""
        text = f"?{urlencode(query)}" if query else ""
        return Request("GET", f"{self.url}/api/{self.version}/{path}{text}", {"User-Agent": "bitmm"})

    def signed(self, path: str, form: Mapping[str, str] | None = None, *, nonce: int | None = None) -> Request:
        """The signed request of a private call, ready to send; nothing is sent here.

        The message is the body, in version 2 with the path and a NUL in front (Bitcoin Wiki, MtGox/API,
        "Authentication"; unofficial documentation, "Authentication"). Where the nonce stands does not matter: here it
        is last as in the wiki's example, and in version 2 first.
        """
        if not (self.key.isascii() and self.key.isprintable() and self.key and self._secret):
            raise Refused("Mt.Gox needs an API key and its secret", code="exchange_key_refused")
        fields, once = (
            list((form or {}).items()),
            (self._nonce_field, str(self._next_nonce() if nonce is None else nonce)),
        )
        body = urlencode([once, *fields] if self.version == 2 else [*fields, once]).encode()
        message = f"{path}\0".encode() + body if self.version == 2 else body
        headers = {
            "User-Agent": "bitmm",  # without one the exchange refused every call (Bitcoin Wiki, MtGox/API/HTTP/v1)
            "Rest-Key": self.key,
            "Rest-Sign": base64.b64encode(hmac.new(self._secret, message, hashlib.sha512).digest()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return Request("POST", f"{self.url}/api/{self.version}/{path}", headers, body)

    def _parse(self, answer: Response, *, mutates: bool) -> Any:
        # Errors came with any status, so the document is read first (goxtool, 2013).
        try:
            document = answer.json()
        except ValueError:
            raise _unreadable_answer(answer, mutates=mutates) from None
        if isinstance(document, dict) and "error" in document:
            raise _parse_error(document, answer, mutates=mutates)
        if answer.status != 200:
            raise _unreadable_answer(answer, mutates=mutates)
        if self.version == 0:
            return document
        with parsing_errors("Mt.Gox", mutates=mutates):
            if document["result"] != "success":
                raise ValueError("neither success nor error")
            # "data" is version 2's word; recordings of version 2 have "return" as well.
            return document["data"] if "data" in document else document["return"]


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the API secret is not base64", code="exchange_key_refused") from None


def _rising() -> Callable[[], int]:
    """The microseconds since 1970, never the same twice in this object."""
    lock, last = threading.Lock(), 0

    def following() -> int:
        nonlocal last
        with lock:
            last = max(last + 1, time.time_ns() // 1000)
            return last

    return following


def _parse_error(document: Mapping[str, Any], answer: Response, *, mutates: bool) -> ExchangeError:
    words, token = str(document["error"])[:300], str(document.get("token", ""))
    if answer.status == 429:
        return Busy(words, retry_after=retry_after(answer, seconds=_CACHE_SECONDS))
    ours = _CODES_BY_TOKEN.get(token) or next(
        (ours for start, ours in _CODES_BY_WORDS if words.lower().startswith(start)), None
    )
    if ours is None and token.startswith("login_error"):
        ours = "exchange_key_refused"
    if ours is None and (answer.status >= 500 or token == "unknown_error" or "unknown error" in words.lower()):  # noqa: S105 - a name
        return unknown_or_refused(words, mutates=mutates)
    return Refused(words, code=ours or "exchange_refused", retryable=ours == "invalid_nonce")


def _unreadable_answer(answer: Response, *, mutates: bool) -> ExchangeError:
    """What an answer means that is no document: pages of the anti-DDoS layer, "MySQL error, please retry later"."""
    if answer.status == 429:
        return Busy("Mt.Gox says: too many requests", retry_after=retry_after(answer, seconds=_CACHE_SECONDS))
    return unknown_or_refused(f"Mt.Gox's answer (HTTP {answer.status}) cannot be read", mutates=mutates)
