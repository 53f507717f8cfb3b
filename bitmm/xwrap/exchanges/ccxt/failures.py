"""What a failure of ccxt means: Refused, Busy or Unknown."""

from __future__ import annotations

import traceback

from ..errors import Busy, ExchangeError, Refused, Unsupported
from ..http import unknown_or_refused, unproved
from .error_codes import is_operation_failed, is_outcome_unknown, is_proved_by_text, pause_seconds
from .session import SessionAdapter

__all__ = ["exchange_error", "was_raised_in"]

_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}

# What proves that an order, a cancel or a send was not executed. A proxy may deliver a request twice, and then the
# answer to the second delivery is all that arrives here. A refusal that the first one, executed, could have caused
# becomes Unknown, with the refusal inside (`unproved`). Proof is:
#
# any exchange  the codes of `_PROOF`: they follow from the request or the key, whatever was executed before.
# backpack      a body that cannot be parsed, which is answered in plain text: the same bytes are parsed alike again.
# binance       an order whose price or amount is no multiple of its step, or not within its limits ("Filters").
# paymium       HTTP 422 whose words do not name the nonce. Each request needs a higher nonce than the last, which is a
#               part of the authentication ("Api-Nonce"): a second delivery fails there. 422 is about the fields of an
#               order ("Error handling"). Its words are in the user's language, so no more can be told.
# the others    nothing else. Few of them number requests, and an executed order changes funds, open orders and the
#               counter of calls. A used id and an expired time have almost any class: BadRequest at Backpack,
#               AuthenticationError at Bitso ("0201"), Bitvavo ("304") and Gate ("REQUEST_EXPIRED"). Kraken's nonces may
#               come again where the key has a nonce window, and it can be asked (`find`).
#
# An AuthenticationError is proof when a read is refused for its key, too (`refused_key_is_proof`).

#: Codes of refusals that no execution of the same request can have caused. An order that is not there (for a cancel) is
#: not open, whoever canceled it.
_PROOF = {"invalid_address", "order_not_found", "permission_denied", "unknown_market", "unsupported"}


def exchange_error(error: Exception, code: str | None, words: str, session: SessionAdapter) -> ExchangeError:
    """Return what `error` means, which a unified call raised whose requests went through `session`.

    `code`: see `code_of`. `words`: what may be shown of the error.
    """
    if isinstance(error, ExchangeError):  # the session adapter raised it
        return error
    if session.status in (418, 429):
        code = "rate_limited"
    if not session.has_sent:
        # It is ccxt that refuses, also a key.
        unclear = code in (None, "exchange_refused", "exchange_unavailable", "exchange_key_refused")
        words = f"{words} (nothing was sent)"
        return _refused(words, "invalid_request" if unclear else str(code))
    if not session.may_have_executed:
        return _refusal(error, code, words, session)
    if not (session.only_the_last_mutates and _is_refusal(error, code, session.status)):
        return unknown_or_refused(words, mutates=True)
    refusal = _refusal(error, code, words, session)
    return refusal if _is_proof(error, code, session) else unproved(refusal)


def _refusal(error: Exception, code: str | None, words: str, session: SessionAdapter) -> Refused:
    """Return what an error means that says that the last request was not executed."""
    if code == "rate_limited":
        return Busy(words, retry_after=session.retry_after or pause_seconds(error, session.id, session.status))
    if code is None:
        words = f"{session.name}'s answer cannot be understood ({type(error).__name__})"
        code = "exchange_unavailable"
    # HTTP 503 says how long in Retry-After (RFC 9110, 15.6.4), where it says anything.
    pause = session.retry_after if session.status == 503 else 0.0
    return _refused(words, code, retryable=code in _RETRYABLE, retry_after=pause or None)


def _refused(words: str, code: str, *, retryable: bool = False, retry_after: float | None = None) -> Refused:
    if code == "unsupported":
        return Unsupported(words)
    return Refused(words, code=code, retryable=retryable, retry_after=retry_after)


def _is_proof(error: Exception, code: str | None, session: SessionAdapter) -> bool:
    """Return whether no earlier delivery of the same request can have caused this refusal: see the table above."""
    if code in _PROOF:
        return True
    if session.status == 400 and is_proved_by_text(error, session.id):
        return True
    if session.id == "paymium":
        return session.status == 422 and "nonce" not in str(error).casefold()
    return False


def _is_refusal(error: Exception, code: str | None, status: int) -> bool:
    """Return whether an answer certainly says that nothing was executed.

    That is a client error of HTTP, or an error that ccxt's class read in the answer: not an error of the server, and
    not one that came up while a good answer was read.
    """
    if is_outcome_unknown(error):
        return False
    if 400 <= status < 500 and status != 408:
        return True
    if code is None or status >= 500 or not was_raised_in("handle_errors", error):
        return False
    return not is_operation_failed(error, code)


def was_raised_in(method: str, error: BaseException | None) -> bool:
    """Return whether `error`, or the error that it replaces (in Kraken's cancel_order), came from a method of ccxt.

    Every class reads the errors in an answer in `handle_errors`, and signs a request in `sign`; the error itself does
    not say where it was raised, so the names of its frames are looked at.
    """
    if error is None:
        return False
    frames = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
    return method in frames or was_raised_in(method, error.__context__)
