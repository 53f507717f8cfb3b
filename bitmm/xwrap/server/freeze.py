"""A frozen account: neither an order nor a send leaves; reads and cancels pass."""

from __future__ import annotations

from .db.records import Account
from .problems import Problem

__all__ = ["check_frozen"]


def check_frozen(account: Account) -> None:
    """Raise Problem 403 `frozen` for an account that is frozen."""
    if account.frozen is not None:
        since = f"{account.frozen[:19].replace('T', ' ')} UTC"
        raise Problem(
            403,
            "frozen",
            f"this account is frozen since {since}, so nothing was sent; its own password lifts that: "
            "unfreeze(username, password), or DELETE /freeze",
        )
