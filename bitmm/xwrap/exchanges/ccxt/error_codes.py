"""What an exchange's refusal is called: our codes for ccxt's errors, and for the words in them that say more."""

from __future__ import annotations

import re
import time
from re import IGNORECASE
from typing import NamedTuple

__all__ = ["code_of", "is_operation_failed", "is_outcome_unknown", "is_proved_by_text", "pause_seconds"]


class _Phrase(NamedTuple):
    """Words of the answers of one exchange, or of any (""), and our code for what they say."""

    id: str
    pattern: re.Pattern[str]
    code: str


def _phrase(id: str, pattern: str, code: str) -> _Phrase:
    return _Phrase(id, re.compile(pattern, IGNORECASE), code)


#: Classes of ccxt that are made from another one -> that one: their answers have the same words.
_FAMILIES = {
    **dict.fromkeys(("binanceus", "binancecoinm", "binanceusdm"), "binance"),
    **dict.fromkeys(("bybiteu", "bybitid"), "bybit"),
    **dict.fromkeys(("myokx", "okxus"), "okx"),
    "gateeu": "gate",
}
#: Answers that ccxt calls by a wrong name.
_MISNAMED = (
    _phrase("backpack", "MAINTENANCE", "exchange_unavailable"),
    _phrase("backpack", "RESOURCE_NOT_FOUND", "order_not_found"),
    _phrase("bitvavo", r'"errorCode": ?304\b', "invalid_nonce"),
    _phrase("blofin", '"152429"', "invalid_nonce"),
    _phrase("gate", "REQUEST_EXPIRED", "invalid_nonce"),
    _phrase("kraken", "EAPI:Invalid signature", "exchange_key_refused"),
    _phrase("lbank", r"\b10600\b", "invalid_nonce"),
    _phrase("okx", "OK_ACCESS_TIMESTAMP", "invalid_nonce"),
    _phrase("okx", '"50061"', "rate_limited"),
    _phrase("paradex", "INVALID_TIMESTAMP", "invalid_nonce"),
)
#: Refusals with HTTP 400 that follow from the request alone, and that ccxt has no name of its own for. They are proof
#: (`failures`). Backpack answers a body that it cannot parse in plain text; Binance names the rule ("Filters") whose
#: step or limits the price or the amount does not keep.
_PROVED = (
    _phrase("backpack", r"\bpars(e|ing)\b|deserializ|missing field|invalid type|unknown variant", "invalid_request"),
    _phrase("binance", "Filter failure: PRICE_FILTER", "price_step"),
    _phrase("binance", "Filter failure: LOT_SIZE", "amount_step"),
)
#: What ccxt takes for a lasting refusal (BadRequest, InvalidOrder, AuthenticationError ...), and what says itself that
#: it passes. A key or a token that expired does not pass.
_PASSING = (
    _phrase("", r"timestamp\b.{0,40}\b(expired|exceeded|outside)|outside of the (ME )?recv_?window", "invalid_nonce"),
    _phrase("", r"\brequest (has |had )?expired|receive window.{0,60} is exceeded|not unique nonce", "invalid_nonce"),
    _phrase("", r"too many (new orders|requests|visits)|rate.?limit|too frequent", "rate_limited"),
    _phrase("", r"\bIP (has been |had been |is )?banned", "rate_limited"),
    _phrase("", r"\btry( again| it)? later|system (is )?(busy|abnormal)|under maintenance", "exchange_unavailable"),
)
#: A limit, of a day or of open orders, that ccxt takes for a missing right (PermissionDenied): by its words, or where
#: an answer has no words by its code. The first delivery of the same send or order may have used it up, so it is no
#: proof.
_USED_UP = (
    _phrase("", r"\blimit(s|ed)?\b|_limit|exceed|maximum|remaining|too many", "exchange_refused"),
    _phrase("binance", r'"code": ?-?(4015|18005)\b', "exchange_refused"),
    _phrase("blofin", r'"1520(29|32)"', "exchange_refused"),
    _phrase("deribit", r'"code": ?1001[3-8]\b', "exchange_refused"),
    _phrase("digifinex", r'"code": ?"?200(29|32|35|41)\b', "exchange_refused"),
    _phrase("hashkey", r'"code": ?"?-(3143|3144|4010)\b', "exchange_refused"),
    _phrase("luno", "ErrWithdrawalBlocked", "exchange_refused"),
    _phrase("pacifica", r'"code": ?"?31\b', "exchange_refused"),
    _phrase("xt", r"WITHDRAW_0(12|13|20|21)", "exchange_refused"),
)
#: Words that say that the exchange itself does not know what became of a request.
_OUTCOME_UNKNOWN = re.compile(r"time(d )?.?out|status (is )?unknown", IGNORECASE)

#: ccxt's error -> our code; the nearest of its ancestors counts. What is not listed stays exchange_refused.
_CODES = {
    "InsufficientFunds": "insufficient_funds",
    "BadSymbol": "unknown_market",
    "PermissionDenied": "permission_denied",
    "AccountSuspended": "permission_denied",
    "AuthenticationError": "exchange_key_refused",
    "OrderNotFound": "order_not_found",
    "InvalidAddress": "invalid_address",
    # ccxt raises it before anything is sent: it wants more than we tell, as the market of all open orders.
    "ArgumentsRequired": "unsupported",
    "BadRequest": "invalid_request",
    "NotSupported": "unsupported",
    "InvalidNonce": "invalid_nonce",
    "RateLimitExceeded": "rate_limited",
    "DDoSProtection": "rate_limited",
    "OperationFailed": "exchange_unavailable",
}

#: Seconds to wait where an exchange documents them and sends no Retry-After, by words in the answer or the HTTP status.
#: Kraken: a lockout ends about 15 minutes after the last call (kraken-cli, issue 34). Bybit: "access too frequent", at
#: least 10 minutes ("Rate Limit").
_PAUSES = (
    ("kraken", "Temporary lockout", 900.0),
    ("bybit", 403, 600.0),
    ("bybit", "IP had been banned", 600.0),
)
#: HTTP 418 says that an address that did not stop after HTTP 429 is banned: for two minutes to three days (Binance,
#: "LIMITS"). Other rate limits count seconds.
_BAN_SECONDS, _LIMIT_SECONDS, _LONGEST_PAUSE = 120.0, 1.0, 900.0
#: "... IP banned until 1700000000000": milliseconds since 1970.
_BANNED_UNTIL = re.compile(r"\bbanned until (\d{13})\b", IGNORECASE)


def code_of(error: Exception, exchange_id: str) -> str | None:
    """Return our code for an error of ccxt's class `exchange_id`; None for an error that is not ccxt's own."""
    if (code := _code_of_phrase(str(error), exchange_id, (*_MISNAMED, *_PROVED))) is not None:
        return code
    ancestors = _ancestors(error)
    if "BaseError" not in ancestors:
        return None
    if "OperationFailed" not in ancestors and (code := _code_of_phrase(str(error), "", _PASSING)) is not None:
        return code
    code = next((_CODES[kind] for kind in ancestors if kind in _CODES), "exchange_refused")
    if code != "permission_denied":
        return code
    used_up = (_code_of_phrase(str(error), id, _USED_UP) for id in ("", exchange_id))
    return next((one for one in used_up if one is not None), code)


def is_operation_failed(error: Exception, code: str | None) -> bool:
    """Return whether an error says that an exchange was not able to act, and not that an order was wrong."""
    return code == "exchange_unavailable" and "InvalidOrder" not in _ancestors(error)


def is_proved_by_text(error: Exception, exchange_id: str) -> bool:
    """Return whether the words of a refusal with HTTP 400 follow from the request alone."""
    return _code_of_phrase(str(error), exchange_id, _PROVED) is not None


def is_outcome_unknown(error: Exception) -> bool:
    """Return whether an exchange says that it does not know itself what became of a request."""
    return _OUTCOME_UNKNOWN.search(str(error)) is not None


def pause_seconds(error: Exception, exchange_id: str, status: int) -> float:
    """Return the seconds to wait after a rate limit whose answer, with this HTTP status, has no Retry-After."""
    words = str(error)
    if until := _BANNED_UNTIL.search(words):
        return max(_LIMIT_SECONDS, min(int(until[1]) / 1000 - time.time(), _LONGEST_PAUSE))
    family = _FAMILIES.get(exchange_id, exchange_id)
    for id, sign, seconds in _PAUSES:
        if id == family and (sign == status or (isinstance(sign, str) and sign in words)):
            return seconds
    return _BAN_SECONDS if status == 418 else _LIMIT_SECONDS


def _code_of_phrase(words: str, exchange_id: str, known: tuple[_Phrase, ...]) -> str | None:
    id = _FAMILIES.get(exchange_id, exchange_id)
    return next((one.code for one in known if one.id == id and one.pattern.search(words)), None)


def _ancestors(error: Exception) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]
