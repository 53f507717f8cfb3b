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
from .db.usage import Placed
from .problems import Problem

__all__ = ["Quotas"]


@dataclass(frozen=True, slots=True)
class Quotas:
    """The quotas of each account: what it may have, and how many `orders`, with sends, it may place in 24 hours."""

    store: Store
    registrations: int
    orders: int
    credentials: int
    addresses: int

    def check_registration(self, account: int) -> None:
        """Raise Problem 429 when an account may not have one more registration.

        Within the write that adds it, the account must be locked before.
        """
        if self.store.usage.registrations(account) >= self.registrations:
            raise _too_many(self.registrations, "registrations", "deleted", "XWRAP_QUOTA_REGISTRATIONS")

    def check_credentials(self, account: int) -> None:
        """Raise Problem 429 when an account has more credentials than it may; within the write that added one."""
        if self.store.usage.credentials(account) > self.credentials:
            raise _too_many(self.credentials, "credentials", "revoked", "XWRAP_QUOTA_CREDENTIALS")

    def check_addresses(self, account: int) -> None:
        """Raise Problem 429 when an account has more addresses than it may; within the write that added one."""
        if self.store.usage.addresses(account) > self.addresses:
            raise _too_many(self.addresses, "addresses on its allow-list", "removed", "XWRAP_QUOTA_ADDRESSES")

    def check_order(self, used: Placed) -> None:
        """Raise Problem 429 when an account that has placed so much may not place one more order, or send.

        Within the write that adds it, the account must be locked before.
        """
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


def _too_many(quota: int, what: str, ended: str, setting: str) -> Problem:
    return Problem(
        429,
        "quota_exceeded",
        f"an account may have {quota} {what} on this server, and yours has them (one that was {ended} counts for 24"
        f" hours more); nothing was added; its administrator sets {setting}",
        limit=str(quota),
    )


def _seconds_until_over(oldest: str | None) -> int:
    """Return the seconds until what was begun in this hour does not count any more; without one, those of a day."""
    if oldest is None:
        return int(DAY_SECONDS)
    end = datetime.fromisoformat(f"{oldest}:00:00Z") + timedelta(hours=1)
    left = end + timedelta(seconds=DAY_SECONDS) - datetime.now(UTC)
    return max(1, ceil(left.total_seconds()))
