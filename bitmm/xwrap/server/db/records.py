"""The records that the rest of the server gets from the data base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

__all__ = [
    "DAY_SECONDS",
    "Account",
    "Caller",
    "Credential",
    "Intent",
    "Login",
    "Registration",
    "Scope",
    "in_use",
    "is_in_place",
    "now",
    "time_text",
]


#: What a caller may do; each includes the ones before. "owner": what the account's own password alone may do.
Scope = Literal["read", "trade", "send", "owner"]


#: The seconds of a day; limits of a day are those of so many seconds, and begin anew at no midnight.
DAY_SECONDS = 86400.0


def now(ago: float = 0.0) -> str:
    """Return the time (`ago` seconds ago) as the data base keeps it."""
    time = datetime.now(UTC)
    return time_text(time - timedelta(seconds=ago) if ago else time)


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
    #: Sends may leave, to the addresses of the account's allow-list.
    allow_send: bool
    #: What its exchange calls the account that the key belongs to; None: it does not tell.
    exchange_account: str | None
    #: Since when it has its key. What was begun before was signed with another one.
    key_since: str | None
    #: What was begun before may be at another account of the exchange: that it is not found proves nothing.
    account_since: str | None
    #: See `db.safety`.
    deadman_seconds: int | None
    deadman_at: float | None
    #: The exchange accepted the key with its secret.
    proven: bool
    #: Since when its exchange refuses the key, as far as notices report it.
    key_refused: str | None

    def can_see(self, row: Mapping[str, Any]) -> bool:
        """Return whether the key is of the account where the row of a journal was begun.

        Else that the exchange does not find it proves nothing, and it is not asked.
        """
        return self.account_since is None or row["created"] > self.account_since


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may log in."""

    id: int
    name: str
    password_hash: str
    active: bool
    #: Since when neither an order nor a send leaves.
    frozen: str | None = None
    #: The one that was looked up together with the account.
    registration: Registration | None = None
    created: str = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """A named password of an account, and what it may do; None: every registration, every pair, without a limit.

    `per_order` and `per_day` are in units of `currency`; `expires` is a time as the data base keeps it.
    """

    id: int
    name: str
    scope: Scope
    exchanges: tuple[int, ...] | None = None
    pairs: tuple[str, ...] | None = None
    per_order: Decimal | None = None
    per_day: Decimal | None = None
    currency: str | None = None
    expires: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """What a user name stands for: an account, or a credential of it.

    `digest`: the SHA-256 of the credential's password. `names_credential` without a credential: there is no live one of
    this name.
    """

    account: Account
    credential: Credential | None = None
    digest: str = field(default="", repr=False)
    names_credential: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, and from where. `credential` None: the account's own password was given."""

    account: Account
    credential: Credential | None
    #: The IP address of the caller.
    address: str

    @property
    def name(self) -> str:
        """Return the user name of the caller: "ann", or "ann/bot1" for a credential."""
        return self.account.name if self.credential is None else f"{self.account.name}/{self.credential.name}"


@dataclass(frozen=True, slots=True)
class Intent:
    """A row of a journal; `is_new`: the caller is the one to carry it out."""

    row: dict[str, Any]
    is_new: bool


def in_use(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what the journal has under a key if the key is used up with it: a repeat is answered from that row.

    None: there is no row, or one whose request was certainly not executed, and the key may be used again.
    """
    return None if row is None or row["released"] else row


def is_in_place(row: Mapping[str, Any]) -> bool:
    """Return whether the row of an order amends another one in place: it had the exchange's id from its beginning.

    For rows whose outcome is not known yet; one that is known has such an id in any case.
    """
    return row.get("replaces") is not None and row["exchange_order_id"] is not None
