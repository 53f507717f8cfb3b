"""What Backpack's answers mean: the document of a good one, and which errors prove that nothing was executed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..errors import Busy, ExchangeError, Refused
from ..http import asked_pause, retry_after, unknown_or_refused, unproved, unreadable_answer

if TYPE_CHECKING:
    from ...transport import Response

__all__ = ["read_document", "row_error"]

#: The documentation's error codes -> ours. What is not listed stays exchange_refused.
_CODES = {
    **dict.fromkeys(("UNAUTHORIZED", "INVALID_SIGNATURE"), "exchange_key_refused"),
    **dict.fromkeys(("FORBIDDEN", "ACCOUNT_DEACTIVATED", "INVALID_TWO_FACTOR_CODE"), "permission_denied"),
    **dict.fromkeys(("INSUFFICIENT_FUNDS", "INSUFFICIENT_MARGIN"), "insufficient_funds"),
    **dict.fromkeys(("INVALID_MARKET", "INVALID_SYMBOL"), "unknown_market"),
    **dict.fromkeys(("INVALID_CLIENT_REQUEST", "INVALID_RANGE", "INVALID_SOURCE"), "invalid_request"),
    **dict.fromkeys(("MAINTENANCE", "TRADING_PAUSED", "INSUFFICIENT_SUPPLY", "TOO_EARLY"), "exchange_unavailable"),
    "INVALID_ASSET": "unknown_asset",
    "INVALID_PRICE": "invalid_price",
    "INVALID_QUANTITY": "invalid_amount",
    "RESOURCE_NOT_FOUND": "order_not_found",
}
#: Backpack has no nonce: within its window of seconds the same request is taken again ("Signing requests"). So a
#: refusal of a call that executes is a proof only when no earlier delivery could have caused it, because it depends on
#: the key, the market or the request alone. Funds, limits, the book and the clock are others after the first delivery,
#: and what is not listed here may be.
_PROOF = {
    *("UNAUTHORIZED", "INVALID_SIGNATURE", "FORBIDDEN", "ACCOUNT_DEACTIVATED"),
    *("INVALID_ASSET", "INVALID_MARKET", "INVALID_SYMBOL", "INVALID_PRICE", "INVALID_QUANTITY", "INVALID_RANGE"),
    *("INVALID_SOURCE", "NOT_IMPLEMENTED", "MAINTENANCE", "TRADING_PAUSED"),
    # The answer to a cancel. What an earlier delivery canceled is canceled, and the caller reads the order then.
    "RESOURCE_NOT_FOUND",
}
#: Of these a request with many orders is refused as a whole. It is not documented that the others prove that: a wrong
#: price may be that of one order.
_PROOF_OF_ALL = {
    "UNAUTHORIZED",
    "INVALID_SIGNATURE",
    "FORBIDDEN",
    "ACCOUNT_DEACTIVATED",
    "NOT_IMPLEMENTED",
    "MAINTENANCE",
}
#: Failures inside the exchange: it does not say what became of the request.
_UNSURE = {"SERVER_ERROR", "TIMEOUT"}
#: Seconds to wait after a rate limit; neither the limit nor a header for it is documented.
_PAUSE = 1.0
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}
#: What INVALID_CLIENT_REQUEST says of a request whose time is outside its window ("Request has expired"). It may be
#: sent again with a new time; that an earlier delivery was executed is not excluded, since it came earlier.
#: As a refused login it was seen in 2024, in plain text with HTTP 401 (catsats/backpack_exchange#16). A key that has
#: expired is another thing.
_LATE_LOGIN = re.compile(r"request has expired", re.IGNORECASE)
_LATE = {"INVALID_CLIENT_REQUEST": re.compile(r"expired|timestamp", re.IGNORECASE), "UNAUTHORIZED": _LATE_LOGIN}
#: What INVALID_ORDER says of a post-only order that would be executed at once; the words are not documented.
_WOULD_TAKE = re.compile(r"immediately match|post.?only", re.IGNORECASE)
#: A request that the exchange could not parse is answered in plain text, in many wordings: those of poem-openapi, in
#: which it is written, and of serde_json. That is proof: the same bytes are parsed alike each time, so no earlier
#: delivery was an order either. HTML is of something on the way, and no proof.
_UNPARSED = re.compile(
    r"\bpars(e|ing)\b|deserializ|expected (input type|value)|(missing|unknown|duplicate) field|unknown variant"
    r"|invalid (type|value|length)\b",
    re.IGNORECASE,
)


def read_document(answer: Response, *, mutates: bool, of_many: bool = False) -> Any:
    """Return the document of an answer, None for HTTP 202 and 204; `of_many`: it answers a request with many orders.

    Raises what a refusal, or an unreadable answer, means.
    """
    if not answer.body and (answer.status == 202 or (answer.status == 204 and not mutates)):
        return None
    try:
        document = answer.json()
    except ValueError:
        raise _refusal_in_plain_text(answer, mutates=mutates) or _unreadable(answer, mutates=mutates) from None
    if answer.status == 200:
        return document
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        raise _unreadable(answer, mutates=mutates)
    raise _error(document, answer, _PROOF_OF_ALL if of_many else _PROOF, mutates=mutates)


def row_error(row: Any) -> ExchangeError:
    """Return what an order was refused for, or that it is unknown, by its row in the answer to many orders."""
    return _error(row, None, _PROOF, mutates=True)


def _error(document: Any, answer: Response | None, proof: Collection[str], *, mutates: bool) -> ExchangeError:
    """Return what an error means, a document of its own or (without an `answer`) a row of one."""
    code = str(document["code"])
    reason = str(document.get("message") or code)[:300]
    status = 200 if answer is None else answer.status
    if code == "TOO_MANY_REQUESTS" or status == 429:
        busy = Busy(reason, retry_after=_PAUSE if answer is None else retry_after(answer, seconds=_PAUSE))
        return unproved(busy) if mutates else busy
    ours = _CODES.get(code)
    if code == "INVALID_ORDER" and _WOULD_TAKE.search(reason):
        ours = "would_take"
    late = _LATE.get(code)
    is_late = late is not None and late.search(reason) is not None
    if is_late:
        ours = "invalid_nonce"
    if code in _UNSURE or (status >= 500 and ours is None):
        return unknown_or_refused(reason, mutates=mutates, answer=answer)
    code_of_ours, pause = ours or "exchange_refused", None if answer is None else asked_pause(answer)
    refusal = Refused(reason, code=code_of_ours, retryable=ours in _RETRYABLE, retry_after=pause)
    return unproved(refusal) if mutates and (is_late or code not in proof) else refusal


def _refusal_in_plain_text(answer: Response, *, mutates: bool) -> ExchangeError | None:
    """Return what an answer in plain text means; None for one that does not say what became of the request."""
    text = answer.text.strip()[:300]
    if not text or text.startswith("<"):
        return None
    if answer.status == 400 and _UNPARSED.search(text):
        return Refused(text, code="unknown_market" if "market symbol" in text.lower() else "invalid_request")
    if answer.status == 401 and _LATE_LOGIN.search(text):
        late = Refused(text, code="invalid_nonce", retryable=True)
        return unproved(late) if mutates else late
    if answer.status == 401:
        return Refused(text, code="exchange_key_refused")
    if answer.status == 404 and not mutates:
        return Refused(f"Backpack has no such page: {text}", code="exchange_refused")
    return None


def _unreadable(answer: Response, *, mutates: bool) -> ExchangeError:
    return unreadable_answer("Backpack", answer, mutates=mutates, pause=_PAUSE)
