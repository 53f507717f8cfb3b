"""Mt.Gox's HTTP API, versions 0, 1 and 2, usable alone; the sources are named in the package."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlencode

from ....transport import Request, Transport
from ...api import ExchangeAPI, NonceCounter, decode_secret
from ...base import Throttle, no_throttle
from ...cache import TTLCache
from ...errors import Busy, ExchangeError, Refused, malformed_key
from ...http import FORM, parsing_errors, retry_after, unknown_or_refused, unproved, unreadable_answer

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
#: Without a user agent the exchange refused every call (Bitcoin Wiki, MtGox/API/HTTP/v1).
_USER_AGENT = {"User-Agent": "bitmm"}

# What proves that a call that moves something was not executed, although it may have been delivered twice, and the
# answer to the second delivery is all that arrives: every refusal but those below. A nonce must rise and a tonce is
# taken once (Bitcoin Wiki, MtGox/API, "Authentication"), which is a part of the login: a second delivery is refused
# there, before funds and orders are looked at. No proof, and Unknown with the refusal inside, are
#
# login_error_invalid_nonce  what a second delivery gets.
# a login without a token    version 0 and the early version 1 had the same words for every login that failed. It is
#                            proof when a read is refused with them, too: see the adapter.
# HTTP 429                   from the protection against floods, which stood before the exchange.

#: Tokens of error answers, as clients met them -> our codes. The token for a key without the right is not recorded.
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
    # Of its own kind, but known: with an HTTP status of 500 they are a certain refusal, too.
    *((words, "exchange_refused") for words in ("invalid call", "invalid parameter", "too many orders placed")),
)


class _LoginRefused(Refused):
    """A login refused in the words that a wrong key and a used nonce have in common."""


class MtGoxAPI(ExchangeAPI):
    """Every call of the API of one `version`, signed.

    `MtGoxAPI(url).public("BTCUSD/money/ticker")`, `MtGoxAPI(url, key, secret).private("money/info")`: paths are those
    after `/api/VERSION/`. Answers are decoded JSON with exact numbers, without their envelope; a `.csv` is text. An
    answer of a public call is returned again for 10 s; treat it as read-only.

    `secret` is base64. `nonce` returns rising integers for this key (default: the microseconds since 1970). With
    `tonce` they must be the microseconds since 1970, within 10 s of the exchange's clock, and need not arrive in order.
    """

    name: ClassVar[str] = "Mt.Gox"

    def __init__(
        self,
        url: str,
        key: str = "",
        secret: str = "",
        *,
        version: Version = 2,
        tonce: bool = False,
        session: Any = None,
        transport: Transport | None = None,
        nonce: Callable[[], int] | None = None,
        throttle: Throttle = no_throttle,
        cache: TTLCache | None = None,
    ) -> None:
        super().__init__(key, url=url, session=session, transport=transport, throttle=throttle)
        self.version = version
        self._secret = decode_secret(secret, "the API secret of Mt.Gox")
        self._nonce_field = "tonce" if tonce else "nonce"
        self._next_nonce = nonce or NonceCounter()
        self._cache = cache or TTLCache()

    def __repr__(self) -> str:
        return f"MtGoxAPI({self.url!r}, version={self.version})"

    def public(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the answer of a public call, as `public("BTCUSD/trades/fetch", {"since": "1365499103363494"})`."""
        url = self._url(path) + (f"?{urlencode(query)}" if query else "")

        def fetch() -> Any:
            with self.throttle(path, signed=False):
                return self._parse(self._send(Request("GET", url, _USER_AGENT), mutates=False), mutates=False)

        return self._cache.get_or_fetch(url, fetch, seconds=_CACHE_SECONDS)

    def private(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """Return the answer of a signed call. A read whose login is refused for a reason not told is made once more."""
        mutates = not _READS.fullmatch(path)
        try:
            return self._private(path, form, mutates=mutates)
        except _LoginRefused:
            # It may have been the nonce: of this key another program may have used a higher one.
            return self._private(path, form, mutates=mutates)

    def _private(self, path: str, form: Mapping[str, str] | None, *, mutates: bool) -> Any:
        with self.throttle(path, signed=True):
            answer = self._send(self.signed(path, form), mutates=mutates)
            if path.endswith(".csv") and answer.status == 200:
                return answer.body.decode(errors="replace")
            return self._parse(answer, mutates=mutates)

    def signed(self, path: str, form: Mapping[str, str] | None = None, *, nonce: int | None = None) -> Request:
        """Return the signed request of a private call, ready to send; nothing is sent here.

        The signed message is the body, in version 2 with the path and a NUL in front (Bitcoin Wiki, MtGox/API,
        "Authentication"; unofficial documentation, "Authentication"). The exchange took the nonce anywhere in the body:
        here it is last, as in the wiki's example, and in version 2 first. Raises Refused without a key and a secret.
        """
        if not (self.key.isascii() and self.key.isprintable() and self.key and self._secret):
            raise malformed_key(
                "a private call to Mt.Gox needs an API key (apikey) in ASCII and its secret (apisecret)",
                "apikey" if self._secret else "apisecret",
            )
        nonce_field = {self._nonce_field: str(self._next_nonce() if nonce is None else nonce)}
        if self.version == 2:
            body = urlencode({**nonce_field, **(form or {})}).encode()
            message = f"{path}\0".encode() + body
        else:
            body = message = urlencode({**(form or {}), **nonce_field}).encode()
        headers = {
            **_USER_AGENT,
            "Rest-Key": self.key,
            "Rest-Sign": base64.b64encode(hmac.new(self._secret, message, hashlib.sha512).digest()).decode(),
            "Content-Type": FORM,
        }
        return Request("POST", self._url(path), headers, body)

    def _url(self, path: str) -> str:
        return f"{self.url}/api/{self.version}/{path}"

    def _parse(self, answer: Response, *, mutates: bool) -> Any:
        # Errors came with any status, so the document is read first (goxtool, 2013).
        try:
            document = answer.json()
        except ValueError:  # a page of the protection against floods, or "MySQL error, please retry later"
            raise unreadable_answer(self.name, answer, mutates=mutates, pause=_CACHE_SECONDS) from None
        if isinstance(document, dict) and (document.get("error") or document.get("result") == "error"):
            raise _parse_error(document, answer, mutates=mutates)
        if answer.status != 200:
            raise unreadable_answer(self.name, answer, mutates=mutates, pause=_CACHE_SECONDS)
        if self.version == 0:
            return document
        with parsing_errors(self.name, mutates=mutates):
            if document["result"] != "success":
                raise ValueError("neither success nor error")
            # "data" is version 2's word; recordings of version 2 have "return" as well.
            return document["data"] if "data" in document else document["return"]


def _parse_error(document: Mapping[str, Any], answer: Response, *, mutates: bool) -> ExchangeError:
    token = str(document.get("token") or "")
    words = str(document.get("error") or token or "Mt.Gox refuses, without words")[:300]
    if answer.status == 429:
        busy = Busy(words, retry_after=retry_after(answer, seconds=_CACHE_SECONDS))
        return unproved(busy) if mutates else busy
    code = _code(words.lower(), token)
    if code is not None:
        kind = _LoginRefused if code == "exchange_key_refused" and not token else Refused
        refusal = kind(words, code=code, retryable=code == "invalid_nonce")
        may_be_the_nonce = code == "invalid_nonce" or kind is _LoginRefused
        return unproved(refusal) if mutates and may_be_the_nonce else refusal
    if answer.status >= 500 or token == "unknown_error" or "unknown error" in words.lower():  # noqa: S105 - a name
        return unknown_or_refused(words, mutates=mutates, answer=answer)
    return Refused(words)


def _code(words: str, token: str) -> str | None:
    """Return our code of an error, None when neither its token nor its words (in lower case) are known."""
    if token in _CODES_BY_TOKEN:
        return _CODES_BY_TOKEN[token]
    for start, code in _CODES_BY_WORDS:
        if words.startswith(start):
            return code
    return "exchange_key_refused" if token.startswith("login_error") else None
