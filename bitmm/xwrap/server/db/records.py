"""The records that the rest of the server gets from the data base."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["Account", "Intent", "Registration", "now", "time_text"]


def now(ago: float = 0.0) -> str:
    """Return the time (`ago` seconds ago) as the data base keeps it."""
    return time_text(datetime.now(UTC) - timedelta(seconds=ago))


def time_text(time: datetime) -> str:
    """Return a time in UTC as the data base keeps it: ISO 8601 with microseconds."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Registration:
    """An account's key at an exchange, sealed."""

    id: int
    account_id: int
    exchange: str
    username: str
    label: str
    apikey_hint: str
    sealed_apikey: bytes
    sealed_apisecret: bytes
    sealed_more: bytes
    permissions: str | None
    enabled: bool
    created: str


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may log in."""

    id: int
    name: str
    password_hash: str
    active: bool
    #: The one that was looked up together with the account.
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A row of a journal; `is_new`: the caller is the one to carry it out."""

    row: dict[str, Any]
    is_new: bool
