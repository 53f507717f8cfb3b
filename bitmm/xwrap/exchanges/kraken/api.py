"""Kraken's spot REST API (the sources are named in the package): its calls, signed, and what its errors mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from ...money import plain
from ...transport import Request, Transport
from ..api import ExchangeAPI, NonceCounter, decode_secret
from ..base import Throttle, no_throttle
from ..errors import Busy, ExchangeError, Refused, malformed_key
from ..http import FORM, JSON, retry_after, unknown_or_refused, unproved, unreadable_answer

if TYPE_CHECKING:
    from ...transport import Response

__all__ = ["URL", "KrakenAPI", "failure"]

_T = TypeVar("_T")

URL = "https://api.kraken.com"

#: Private calls that execute nothing. Any other one is taken as a call that may move money.
_READS = {
    *("Balance", "BalanceEx", "CreditLines", "TradeBalance", "TradeVolume", "Ledgers", "QueryLedgers"),
    *("OpenOrders", "ClosedOrders", "QueryOrders", "OrderAmends", "TradesHistory", "QueryTrades", "OpenPositions"),
    *("DepositMethods", "DepositAddresses", "DepositStatus"),
    *("WithdrawMethods", "WithdrawAddresses", "WithdrawInfo", "WithdrawStatus"),
    *("Earn/Strategies", "Earn/Allocations", "Earn/AllocateStatus", "Earn/DeallocateStatus"),
    *("ExportStatus", "RetrieveExport"),
    *("GetApiKeyInfo", "GetWebSocketsToken", "Level3", "ListWalletAccounts"),
}
#: Where any error means that nothing was done ("Error messages"). Of the other kinds only what is in `_CODES` does:
#: `EService`, `EDatabase` and an internal error leave it open whether an order stands.
_DECIDED = ("EAPI:", "EAccount:", "EAuth:", "EBM:", "EFunding:", "EOrder:", "EQuery:", "ETrade:")
_BUSY = re.compile(r"E[A-Z]\w*:(Domain rate|Rate) limit exceeded|E[A-Z]\w*:Too many requests", re.ASCII)
#: Of a refusal without a code of ours: what passes.
_PASSING = re.compile(r"temporar|unavailable", re.ASCII | re.IGNORECASE)
_THROTTLED = "EService: Throttled:"
#: After many failed calls, and for as long as more of them come; it ends after about 15 minutes without one (kraken-cli
#: of Kraken, issue 34). The key is good.
_LOCKED_OUT, _LOCKOUT = "EGeneral:Temporary lockout", 900.0
#: Of a call that executes these answers prove nothing: an earlier delivery of the same request could have caused them.
#: It used the nonce; it was counted by what limits an address, concurrent calls or failed ones, before Kraken looks at
#: the nonce; or an order with this client id is open. All others are proof: Kraken checks the key, the signature and
#: the nonce in that order and everything else after them, and a request that was executed has used up its nonce ("Spot
#: REST Authentication"). They are none for a key with a nonce window, which may take the same nonce again (see the
#: adapter).
_UNPROVED = re.compile(
    r"EAPI:Invalid nonce|E(General|Auth):(Rate limit exceeded|Too many requests|Temporary lockout)"
    r"|EService: Throttled:|EOrder:Duplicate|EGeneral:Invalid arguments:cl_ord_id",
    re.ASCII,
)
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
    "EOrder:Post only order": "would_take",
    "EOrder:Unknown order": "order_not_found",
    "EOrder:Invalid order": "order_not_found",
    "EFunding:Unknown asset": "unknown_asset",
    "EFunding:No funding method": "unknown_asset",
    "EFunding:Unknown withdraw key": "address_not_registered",
    "EFunding:Invalid amount": "invalid_amount",
    "EService:Market in": "exchange_unavailable",
}
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}


class KrakenAPI(ExchangeAPI):
    """Every call of Kraken's spot REST API, signed.

        with KrakenAPI(key, secret) as api:
            ask = api.public("Ticker", {"pair": "XBTEUR"})["XXBTZEUR"]["a"][0]
            orders = api.private("OpenOrders")["open"]

    A call returns the `result` of the answer, its numbers exact; warnings beside it are in `response`. It is None where
    Kraken leaves it out of the answer to a read: there is nothing to tell, as of the funds of a new account. Raises
    what an adapter raises: Refused, Busy, and Unknown when a call that moves something may have been executed; and
    InvalidRequest for a float. Nothing is repeated. A key with a nonce window may execute one request twice, and no
    refusal is a proof then: leave it at 0.

    `secret` is base64 text; Refused when it does not decode. `nonce` gives strictly rising integers for this key;
    without it they are microseconds since 1970. A key that was used with larger ones (nanoseconds) needs larger ones
    for ever. `url`, `session`, `transport`, `throttle`: see ExchangeAPI.
    """

    name = "Kraken"

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
        super().__init__(url=url, session=session, transport=transport, throttle=throttle)
        self._nonce = nonce or NonceCounter()
        self._set_key(key, secret)

    def load_key(self, path: str | Path) -> None:
        """Take the key and the secret from the first two lines of a file."""
        key, _, rest = Path(path).read_text(encoding="utf-8").partition("\n")
        self._set_key(key.strip(), rest.partition("\n")[0].strip())

    def public(self, method: str, data: Mapping[str, object] | None = None) -> Any:
        """Return the result of a public call. Values that are None are left out."""
        return self._public(method, data, _result)

    def private(self, method: str, data: Mapping[str, object] | None = None) -> Any:
        """Return the result of a private call; that of RetrieveExport is a ZIP file, as bytes.

        Values that are None are left out; a list or dict makes it JSON.
        """
        return self._private(method, data, _file if method == "RetrieveExport" else _result)

    def query_public(self, method: str, data: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the whole document of a public call, `{"error": [...], "result": ...}`, as krakenex does.

        Kraken's errors are in it and are not raised. An answer that is no such document is: see `public`.
        """
        return self._public(method, data, _whole_document)

    def query_private(self, method: str, data: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the whole document of a private call, `{"error": [...], "result": ...}`, as krakenex does.

        Kraken's errors are in it and are not raised: "EService" and its like leave it open whether an order stands, and
        so does "EAPI:Invalid nonce". What is no such document, and a lost answer, are raised: see `private`.
        """
        return self._private(method, data, _whole_document)

    def signed(self, method: str, data: Mapping[str, object] | None = None, *, nonce: int | None = None) -> Request:
        """Return the signed request of a private call, ready to send; nothing is sent here.

        "Spot REST Authentication": API-Sign is the HMAC-SHA512 under the decoded secret of the path and the SHA-256 of
        nonce and body. Raises Refused without a key and a secret.
        """
        if not (self.key and self._secret):
            raise malformed_key(
                "a private call to Kraken needs an API key (apikey) and its private key (apisecret)",
                "apisecret" if self.key else "apikey",
            )
        count = str(self._nonce() if nonce is None else nonce)
        fields: dict[str, Any] = {"nonce": count, **_fields(data)}
        if any(isinstance(value, (list, dict)) for value in fields.values()):
            content_type, body = JSON, json.dumps(fields)
        else:
            content_type, body = FORM, urlencode(fields)
        path = f"/0/private/{method}"
        inner = hashlib.sha256(f"{count}{body}".encode()).digest()
        mac = hmac.new(self._secret, path.encode() + inner, hashlib.sha512)
        headers = {
            "API-Key": self.key,
            "API-Sign": base64.b64encode(mac.digest()).decode(),
            "Content-Type": content_type,
        }
        return Request("POST", self.url + path, headers, body.encode())

    def _public(self, method: str, data: Mapping[str, object] | None, read: Callable[..., _T]) -> _T:
        query = urlencode(_fields(data))
        request = Request("GET", f"{self.url}/0/public/{method}" + (f"?{query}" if query else ""), {})
        with self.throttle(method, signed=False):
            return read(self._send(request, mutates=False), mutates=False)

    def _private(self, method: str, data: Mapping[str, object] | None, read: Callable[..., _T]) -> _T:
        mutates = method not in _READS
        with self.throttle(method, signed=True):
            return read(self._send(self.signed(method, data), mutates=mutates), mutates=mutates)

    def _set_key(self, key: str, secret: str) -> None:
        if not (key.isascii() and key.isprintable()):
            raise malformed_key(
                "the API key (apikey) holds letters that no API key of Kraken has; copy it again, whole", "apikey"
            )
        self._secret = decode_secret(secret, "the private key of Kraken")
        self.key = key


def _result(answer: Response, *, mutates: bool) -> Any:
    """Return the result in an answer. Raises what its errors, or an answer that cannot be read, mean."""
    document = _document(answer)
    if document is not None:
        # Errors come with status 200; entries that begin with W are warnings beside a result.
        failures = [str(entry) for entry in document["error"] if str(entry).startswith("E")]
        if failures:
            raise failure(failures, mutates=mutates, answer=answer)
        if answer.status == 200 and "result" in document:
            return document["result"]
        if answer.status == 200 and not mutates and document == {"error": []}:
            return None
    raise unreadable_answer("Kraken", answer, mutates=mutates, pause=_PAUSE)


def _file(answer: Response, *, mutates: bool) -> Any:
    """Return the ZIP file in an answer, which is no document then ("Retrieve Data Export"). Raises as `_result`."""
    if answer.status == 200 and answer.body.startswith(b"PK"):
        return answer.body
    return _result(answer, mutates=mutates)


def _whole_document(answer: Response, *, mutates: bool) -> dict[str, Any]:
    """Return the document of an answer, whatever it says. Raises what an answer that cannot be read means."""
    document = _document(answer)
    if document is None or answer.status != 200:
        raise unreadable_answer("Kraken", answer, mutates=mutates, pause=_PAUSE)
    return document


def _document(answer: Response) -> dict[str, Any] | None:
    """Return the document of an answer, which has a list of errors; None when there is none."""
    try:
        document = answer.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("error"), list) else None


def _fields(data: Mapping[str, object] | None) -> dict[str, Any]:
    """Return the parameters as Kraken reads them: amounts in plain digits, booleans in lower case."""
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


def failure(failures: list[str], *, mutates: bool, answer: Response | None = None) -> ExchangeError:
    """Return what the errors of an `answer`, or of an order in it, mean together: refused when each one says so."""
    refusal = _refusal(failures, _PAUSE if answer is None else retry_after(answer, seconds=_PAUSE))
    if refusal is None:
        return unknown_or_refused(_reason(failures), mutates=mutates, answer=answer)
    return unproved(refusal) if mutates and any(map(_UNPROVED.match, failures)) else refusal


def _refusal(failures: list[str], pause: float) -> Refused | None:
    """Return the refusal that the errors of an answer are; None when they tell no outcome.

    `pause`: the seconds to wait after a rate limit.
    """
    if not all(
        text.startswith((*_DECIDED, *_CODES, _LOCKED_OUT, _THROTTLED)) or _BUSY.match(text) for text in failures
    ):
        return None
    for text in failures:
        if text.startswith(_THROTTLED):
            until = text.removeprefix(_THROTTLED).strip()
            seconds = float(until) - time.time() if until.isascii() and until.isdigit() else 0.0
            return Busy(_reason(failures), retry_after=max(1.0, min(seconds, _LONG)))
        if text.startswith(_LOCKED_OUT):
            return Busy(_reason(failures), retry_after=_LOCKOUT)
        if _BUSY.match(text):
            # The counter falls by 0.33 to 1 a second ("Spot REST Rate Limits"); calls while it is full make it longer.
            return Busy(_reason(failures), retry_after=max(1.0, pause))
    otherwise = "exchange_unavailable" if _PASSING.search(failures[0]) else "exchange_refused"
    code = next((code for start, code in _CODES.items() if failures[0].startswith(start)), otherwise)
    return Refused(_reason(failures), code=code, retryable=code in _RETRYABLE)


def _reason(failures: list[str]) -> str:
    return "; ".join(failures)[:300]
