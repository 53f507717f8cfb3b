"""Credentials: named passwords of an account that may do less than the account."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError

from ...exchanges.cache import put_newest
from . import tables as t
from .base import Database
from .errors import UNUSABLE
from .records import Credential, now
from .registrations import LOCK_ACCOUNT
from .statements import StatementRunner

__all__ = ["CREDENTIAL_COLUMNS", "LOCK_LIVE", "CredentialStore", "NameTakenError", "credential_from_row", "digest"]

_log = logging.getLogger(__name__)

_C = t.credentials.c
#: What `credential_from_row` reads.
CREDENTIAL_COLUMNS = [_C[name] for name in Credential.__dataclass_fields__]
_LISTED_COLUMNS = [*CREDENTIAL_COLUMNS, _C.created, _C.last_used, _C.revoked]
_OF_ACCOUNT = select(*_LISTED_COLUMNS).where(_C.account_id == bindparam("account"), t.LIVE).order_by(_C.id)
_LIVE = select(*CREDENTIAL_COLUMNS).where(_C.id == bindparam("id"), t.LIVE)
#: Until the transaction ends, no other one locks or revokes the credential.
LOCK_LIVE = _LIVE.with_for_update()
_OF_NAME = _C.account_id == bindparam("account"), _C.name == bindparam("of_name")
#: The last one of a name, which is the live one where there is one.
_LAST_OF_NAME = select(*_LISTED_COLUMNS).where(*_OF_NAME).order_by(_C.id.desc()).limit(1)
_REVOKE = update(t.credentials).where(*_OF_NAME, t.LIVE)
_MARK_USED = update(t.credentials).where(
    _C.id == bindparam("credential"), or_(_C.last_used.is_(None), _C.last_used < bindparam("before"))
)
_ACCOUNT_OF_NAME = select(t.accounts.c.id).where(t.accounts.c.name == bindparam("name"))

#: `last_used` is at most so many seconds older than the last use.
_USED_SECONDS = 60.0
#: Of so many credentials a process remembers when it wrote that last.
_MOST_REMEMBERED = 10_000


class NameTakenError(Exception):
    """The account has a credential of this name, or another account has its user name."""


class CredentialStore:
    """The credentials of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marked: OrderedDict[int, float] = OrderedDict()
        self._marked_lock = threading.Lock()

    def add(self, values: Mapping[str, Any], password: str, username: str) -> dict[str, Any]:
        """Add a credential with a random password, of which the digest is kept; return it as `of_account` does.

        `values`: the columns account_id, name and scope, and those of the others that are not null. `username`: what
        logs in with it. Raises NameTakenError.
        """
        row = {**values, "digest": digest(password), "created": now()}

        def work(runner: StatementRunner) -> dict[str, Any]:
            self._database.lock_rows(runner, LOCK_ACCOUNT, {"id": values["account_id"]})
            if runner.first(_ACCOUNT_OF_NAME, {"name": username}):
                raise NameTakenError
            runner.insert(t.credentials, row)
            [added] = runner.rows(_LAST_OF_NAME, {"account": row["account_id"], "of_name": row["name"]})
            return added

        try:
            return self._database.write(work)
        except IntegrityError:
            raise NameTakenError from None

    def of_account(self, account: int) -> list[dict[str, Any]]:
        """Return the columns of an account's live credentials, oldest first; the digest is not among them."""
        with self._database.reading() as runner:
            return runner.rows(_OF_ACCOUNT, {"account": account})

    def revoke(self, account: int, name: str) -> tuple[bool, dict[str, Any] | None]:
        """Revoke the live credential of this name; return whether there was one, and its columns.

        They are those of the last one of this name where all were revoked before, and None where there never was one.
        """
        if "\0" in name:  # PostgreSQL has no such text.
            return False, None

        def work(runner: StatementRunner) -> tuple[bool, dict[str, Any] | None]:
            changed = runner.change(_REVOKE, {"account": account, "of_name": name, "revoked": now()})
            return changed == 1, runner.first(_LAST_OF_NAME, {"account": account, "of_name": name})

        return self._database.write(work)

    def locked(self, id: int) -> Credential | None:
        """Return a live credential as it is now; None: it was revoked.

        Within a write: until it ends, no other write locks or revokes the credential.
        """
        return self._first(LOCK_LIVE, id)

    def get(self, id: int) -> Credential | None:
        """Return a live credential; None: it was revoked."""
        return self._first(_LIVE, id)

    def _first(self, statement: Select[Any], id: int) -> Credential | None:
        with self._database.reading() as runner:
            row = runner.first(statement, {"id": id})
        return None if row is None else credential_from_row(row)

    def mark_used(self, id: int) -> None:
        """Write that a credential was used now, at most once a minute. A failure to write it is logged only."""
        with self._marked_lock:
            if self._marked.get(id, 0.0) > time.monotonic():
                return
            put_newest(self._marked, id, time.monotonic() + _USED_SECONDS, most=_MOST_REMEMBERED)
        # Other processes may have written it.
        values = {"credential": id, "before": now(_USED_SECONDS), "last_used": now()}
        try:
            self._database.write_one(lambda runner: runner.change(_MARK_USED, values))
        except UNUSABLE:
            _log.warning("that credential %d was used could not be written", id)


def credential_from_row(row: Mapping[str, Any]) -> Credential:
    """Return the credential of a row that has the CREDENTIAL_COLUMNS."""
    exchanges, pairs = row["exchanges"], row["pairs"]
    return Credential(
        id=row["id"],
        name=row["name"],
        scope=row["scope"],
        exchanges=None if exchanges is None else tuple(json.loads(exchanges)),
        pairs=None if pairs is None else tuple(json.loads(pairs)),
        per_order=None if row["per_order"] is None else Decimal(row["per_order"]),
        per_day=None if row["per_day"] is None else Decimal(row["per_day"]),
        currency=row["currency"],
        expires=row["expires"],
    )


def digest(password: str) -> str:
    """Return what the data base keeps of a credential's password, which is random: its SHA-256."""
    return hashlib.sha256(password.encode()).hexdigest()
