"""Kraken's spot REST API, signed: every call of it, what its errors mean."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from ...money import plain
from ...transport import Request, Transport
from ..base import Throttle, no_throttle
from ..errors import Busy, ExchangeError, Refused
from ..http import retry_after, send, unknown_or_refused

if TYPE_CHECKING:
    from ...transport import Response


__all__ = ["URL", "KrakenAPI"]

URL = "https://api.kraken.com"

#: Private calls that execute nothing. Any other one is taken as a call that may move money.
_READS = {
    *("Balance", "BalanceEx", "CreditLines", "TradeBalance", "TradeVolume", "Ledgers", "QueryLedgers"),
    *("OpenOrders", "ClosedOrders", "QueryOrders", "OrderAmends", "TradesHistory", "QueryTrades", "OpenPositions"),
    *("DepositMethods", "DepositAddresses", "DepositStatus"),
    *("WithdrawMethods", "WithdrawAddresses", "WithdrawInfo", "WithdrawStatus"),
    *("GetApiKeyInfo", "GetWebSocketsToken"),
}
#: Where any error means that nothing was done ("Error messages"). Of the other kinds only what is in `_CODES` does:
#: `EService`, `EDatabase` and an internal error leave it open whether an order stands.
_DECIDED = ("EAPI:", "EAccount:", "EAuth:", "EBM:", "EFunding:", "EOrder:", "EQuery:", "ETrade:")
_BUSY = (
    "EAPI:Rate limit exceeded",
    "EGeneral:Too many requests",
    "EAuth:Rate limit exceeded",
    "EOrder:Rate limit exceeded",
    "EOrder:Domain rate limit exceeded",
)
_THROTTLED = "EService: Throttled:"
#: Seconds to wait when Kraken does not say how long, and at most.
_PAUSE, _LONG = 5.0, 600.0
#: The start of an error's text -> our code; the first that fits. What is not listed stays exchange_refused.
_CODES = {
    "EAPI:Invalid key": "exchange_key_refused",
    "EAPI:Invalid signature": "exchange_key_refused",
    "EAPI:Invalid nonce": "invalid_nonce",
    "EAPI:Bad request": "invalid_request",
    "EAuth:Failed": "exchange_key_refused",
    "EAuth:Account": "permission_denied",
    "EAccount:Invalid permissions": "permission_denied",
    "ETrade:User Locked": "permission_denied",
    "EGeneral:Temporary lockout": "exchange_key_refused",
    "EGeneral:Permission denied": "permission_denied",
    "EGeneral:Invalid arguments:volume": "invalid_amount",
    "EGeneral:Invalid arguments:price": "invalid_price",
    "EGeneral:Invalid arguments": "invalid_request",
    "EGeneral:Unknown method": "invalid_request",
    "EQuery:Unknown asset pair": "unknown_market",
    "EQuery:Invalid asset pair": "unknown_market",
    "EQuery:Unknown asset": "unknown_asset",
    "EOrder:Insufficient funds": "insufficient_funds",
    "EOrder:Order minimum not met": "invalid_amount",
    "EOrder:Cost minimum not met": "invalid_amount",
    "EOrder:Tick size check failed": "invalid_price",
    "EOrder:Invalid price": "invalid_price",
    "EOrder:Unknown order": "order_not_found",
    "EOrder:Invalid order": "order_not_found",
    "EFunding:Unknown asset": "unknown_asset",
    "EFunding:No funding method": "unknown_asset",
    "EFunding:Unknown withdraw key": "address_not_registered",
    "EFunding:Invalid amount": "invalid_amount",
    "EService:Market in": "exchange_unavailable",
}
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}


class KrakenAPI:
    """Every call of Kraken's spot REST API, signed.

    `KrakenAPI().public("Ticker", {"pair": "XBTEUR"})`, `KrakenAPI(key, secret).private("OpenOrders")`. A call returns
    the `result` of the answer, its numbers exact; warnings beside it are in `response`. Raises what an adapter raises:
    Refused, Busy, and Unknown when a call that moves something may have been executed; and errors.InvalidRequest for a
    float. Nothing is repeated.

    `secret` is base64 text; Refused when it does not decode. `url`: another base URL. `session`: a requests.Session of
    the caller's, `transport`: a Transport to share. `nonce` gives strictly rising integers for this key; without it
    they are microseconds since 1970. A key that was used with larger ones (nanoseconds) needs larger ones for ever.
    """

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = URL,
        session: Any = None,
        transport: Transport | None = None,
        nonce: Callable[[], int] | None = None,
        throttle: Throttle = no_throttle,
    ) -> None:
        self.url = url.rstrip("/")
        self.session = session
        #: The last answer, complete; None before the first.
        self.response: Response | None = None
        self._transport = transport or Transport(session=session)
        self._nonce = nonce or _Clock().tick
        self._throttle = throttle
        self._keep(key, secret)

    def __repr__(self) -> str:
        return f"KrakenAPI({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def load_key(self, path: str | Path) -> None:
        """Take the key and the secret from the first two lines of a file."""
        key, _, rest = Path(path).read_text(encoding="utf-8").partition("\n")
        self._keep(key.strip(), rest.partition("\n")[0].strip())

    def public(self, method: str, data: Mapping[str, object] | None = None) -> Any:
        """The result of a public call. Values that are None are left out."""
        query = urlencode(_fields(data))
        url = f"{self.url}/0/public/{method}" + (f"?{query}" if query else "")
        with self._throttle(method, signed=False):
            return self._send(Request("GET", url, {}), mutates=False)

    def private(self, method: str, data: Mapping[str, object] | None = None) -> Any:
        """The result of a private call. Values that are None are left out; with a list or dict the body is JSON."""
        with self._throttle(method, signed=True):
            return self._send(self.signed(method, data), mutates=method not in _READS)

    def signed(self, method: str, data: Mapping[str, object] | None = None, *, nonce: int | None = None) -> Request:
        """The signed request of a private call, ready to send; nothing is sent here.

        "Spot REST Authentication": API-Sign is the HMAC-SHA512 under the decoded secret of the path and the SHA-256 of
        nonce and body. Raises Refused without a key and a secret.
        """
        if not (self._key and self._secret):
            raise Refused("Kraken needs an API key and its private key", code="exchange_key_refused")
        count = str(self._nonce() if nonce is None else nonce)
        fields: dict[str, Any] = {"nonce": count, **_fields(data)}
        if any(isinstance(value, (list, dict)) for value in fields.values()):
            kind, body = "application/json", json.dumps(fields)
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(fields)
        path = f"/0/private/{method}"
        inner = hashlib.sha256(f"{count}{body}".encode()).digest()
        mac = hmac.new(self._secret, path.encode() + inner, hashlib.sha512)
        headers = {
            "API-Key": self._key,
            "API-Sign": base64.b64encode(mac.digest()).decode(),
            "Content-Type": kind,
        }
        return Request("POST", self.url + path, headers, body.encode())

    def _keep(self, key: str, secret: str) -> None:
        if not (key.isascii() and key.isprintable()):
            raise Refused("this is not an API key of Kraken", code="exchange_key_refused")
        try:
            self._key, self._secret = key, base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(
                "a private key of Kraken is base64 text, and this one does not decode", code="exchange_key_refused"
            ) from None

    def _send(self, request: Request, *, mutates: bool) -> Any:
        answer = self.response = send(self._transport, request, "Kraken", mutates=mutates)
        try:
            document = answer.json()
        except ValueError:
            document = None
        errors = document.get("error") if isinstance(document, dict) else None
        if isinstance(errors, list):
            # Errors come with status 200; entries that begin with W are warnings beside a result.
            failures = [str(entry) for entry in errors if str(entry).startswith("E")]
            if failures:
                raise _failure(failures, mutates=mutates)
            if answer.status == 200 and "result" in document:
                return document["result"]
        if answer.status == 429:
            seconds = retry_after(answer, seconds=_PAUSE)
            raise Busy("Kraken says: too many requests", retry_after=min(seconds, _LONG))
        raise unknown_or_refused(f"Kraken's answer (HTTP {answer.status}) cannot be read", mutates=mutates)


class _Clock:
    """Nonces for one key in one program: microseconds since 1970, strictly rising."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def tick(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return self._last


def _fields(data: Mapping[str, object] | None) -> dict[str, Any]:
    """Parameters as Kraken reads them: amounts in plain digits, booleans in lower case."""
    return {name: _field(name, value) for name, value in (data or {}).items() if value is not None}


def _field(name: str, value: object) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Decimal, float)):
        return plain(value, name)  # type: ignore[arg-type]  # it refuses floats with the words that help
    if isinstance(value, Mapping):
        return _fields(value)
    if isinstance(value, (list, tuple)):
        return [_field(name, entry) for entry in value]
    return str(value)


def _failure(failures: list[str], *, mutates: bool) -> ExchangeError:
    words = "; ".join(failures)[:300]
    for text in failures:
        if text.startswith(_THROTTLED):
            moment = _whole(text.removeprefix(_THROTTLED).strip(), default=0)
            return Busy(words, retry_after=max(1.0, min(moment - time.time(), _LONG)))
        if text.startswith(_BUSY):
            # The counter falls by 0.33 to 1 a second ("Spot REST Rate Limits"); calls while it is full make it longer.
            return Busy(words, retry_after=_PAUSE)
    if all(text.startswith((*_DECIDED, *_CODES)) for text in failures):
        code = next((code for start, code in _CODES.items() if failures[0].startswith(start)), "exchange_refused")
        return Refused(words, code=code, retryable=code in _RETRYABLE)
    return unknown_or_refused(words, mutates=mutates)


def _whole(text: str, *, default: float) -> float:
    return float(text) if text.isascii() and text.isdigit() else default
