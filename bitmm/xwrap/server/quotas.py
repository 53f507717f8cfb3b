"""Quotas: how much of the server one account may have, as the administrator set it.

They bound what an account that runs wild, or whose password was stolen, costs all others. A quota is counted in the
transaction that adds what it bounds, with the account locked, so that it holds whatever many threads and server
processes do. Reads and cancels have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from .db.records import DAY_SECONDS
from .db.store import Store
from .problems import Problem

__all__ = ["Quotas"]


@dataclass(frozen=True, slots=True)
class Quotas:
    """The quotas of each account: `registrations`, and `orders`, with sends, that it may place in 24 hours."""

    store: Store
    registrations: int
    orders: int

    def check_registration(self, account: int) -> None:
        """Raise Problem 429 when an account may not have one more registration.

        Within the write that adds it, the account must be locked before.
        """
        used = self.store.usage.registrations(account)
        if used >= self.registrations:
            raise Problem(
                429,
                "quota_exceeded",
                f"an account may have {self.registrations} registrations on this server, and yours has {used} (one"
                " that was deleted counts for 24 hours more); its administrator sets XWRAP_QUOTA_REGISTRATIONS",
                limit=str(self.registrations),
            )

    def check_order(self, account: int) -> None:
        """Raise Problem 429 when an account may not place one more order, or send.

        Within the write that adds it, the account must be locked before.
        """
        used = self.store.usage.rows(account)
        if used.begun >= self.orders:
            seconds = _seconds_until_over(used.oldest)
            raise Problem(
                429,
                "quota_exceeded",
                f"an account may place {self.orders} orders and sends in 24 hours on this server, and yours has placed"
                f" {used.begun}; nothing was sent; its administrator sets XWRAP_QUOTA_ORDERS",
                retryable=True,
                headers={"Retry-After": str(seconds)},
                limit=str(self.orders),
            )


def _seconds_until_over(oldest: str | None) -> int:
    """Return the seconds until what was begun at this time does not count any more; without one, those of a day."""
    if oldest is None:
        return int(DAY_SECONDS)
    left = datetime.fromisoformat(oldest) + timedelta(seconds=DAY_SECONDS) - datetime.now(UTC)
    return max(1, ceil(left.total_seconds()))
