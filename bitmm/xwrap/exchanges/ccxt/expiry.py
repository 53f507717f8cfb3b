"""Whether an exchange says that an address is no longer to be used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..parsing import time_from_field

__all__ = ["is_expired"]

#: What exchanges call the time until which an address is theirs, in their own rows. Kraken: `expiretm`, 0 for never;
#: Paymium: `valid_until`; the others are the names that ccxt's classes read of orders and transfers.
_NAMES = ("expiretm", "valid_until", "expires_at", "expire_at", "expiresAt", "expireTime", "expire_time", "expiry")


def is_expired(row: Any) -> bool:
    """Return whether a time in the exchange's row of an address is over. Raises ValueError for a time that is none."""
    if not isinstance(row, Mapping):
        return False
    given = [value for name in _NAMES if (value := row.get(name)) not in (None, "", 0, "0")]
    return any(time_from_field(value) <= datetime.now(UTC) for value in given)
