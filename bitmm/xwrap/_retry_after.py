"""The header Retry-After, for the client and for the exchanges' adapters."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

__all__ = ["retry_after_seconds"]

_SECONDS = r"(?a)(\d+)(?:\.(\d*))?"
#: A longer number is told as this one: 31 years, which every clock and every sleep can take.
_LONGEST = 999_999_999


def retry_after_seconds(header: str | None) -> int | None:
    """Return the whole seconds that a Retry-After asks to wait, rounded up; None when it asks for nothing readable.

    RFC 9110, 10.2.3: it holds seconds or a date, in any of the three forms of 5.6.7. A date in the past is 0. Fractions
    of seconds are no part of the RFC, but are sent.
    """
    text = (header or "").strip()
    if found := re.fullmatch(_SECONDS, text):
        whole, fraction = found[1].lstrip("0"), (found[2] or "").strip("0")
        return _LONGEST if len(whole) > 9 else min(int(whole or "0") + bool(fraction), _LONGEST)
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    # The form of C's asctime names no zone; it is in UTC, as all of them are.
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return max(0, ceil((time - datetime.now(UTC)).total_seconds()))
