"""Accounts: who may log in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database, StatementRunner
from .records import Account, now
from .registrations import LABELED_COLUMNS, pop_registration

__all__ = ["AccountStore"]

_A, _R = t.accounts.c, t.registrations.c
_ACCOUNT_WITH_REGISTRATION = (
    select(_A.id, _A.name, _A.password_hash, _A.active, _A.frozen, *LABELED_COLUMNS)
    .outerjoin(t.registrations, and_(_R.id == bindparam("registration"), _R.account_id == _A.id, _R.deleted.is_(None)))
    .where(_A.name == bindparam("name"))
)
_LOCKED = select(_A.id, _A.name, _A.password_hash, _A.active, _A.frozen).where(_A.id == bindparam("id"))
_LOCK = _LOCKED.with_for_update(read=True)
_ALL_ACCOUNTS = select(_A.id, _A.name, _A.active, _A.created).order_by(_A.id)
_UPDATE = update(t.accounts).where(_A.id == bindparam("account"))


class AccountStore:
    """The accounts of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, password_hash: str) -> int:
        """Add an account and return its id. Raises ValueError when the name is taken."""
        values = {"name": name, "password_hash": password_hash, "created": now()}
        try:
            return self._database.write(lambda runner: runner.insert(t.accounts, values))
        except IntegrityError:
            raise ValueError(f"there is an account '{name}' already") from None

    def find(self, name: str, registration: int = 0) -> Account | None:
        """Return the account with this name, and with it the registration of that id where it is the account's own."""
        with self._database.reading() as runner:
            row = runner.first(_ACCOUNT_WITH_REGISTRATION, {"name": name, "registration": registration})
        if row is None:
            return None
        own = pop_registration(row)
        return Account(**row, registration=None if own.id is None else own)

    def locked(self, id: int) -> Account | None:
        """Return an account as it is now. Within a write: until it ends, no other write changes the account."""

        def work(runner: StatementRunner) -> Account | None:
            self._database.lock_rows(runner, _LOCK, {"id": id})
            row = runner.first(_LOCKED, {"id": id})
            return None if row is None else Account(**row)

        return self._database.write(work)

    def all(self) -> list[dict[str, Any]]:
        """Return the id, name, active and created of every account, oldest first."""
        with self._database.reading() as runner:
            return runner.rows(_ALL_ACCOUNTS)

    def rehash(self, account: int, password_hash: str) -> None:
        """Replace the hash of a password by a stronger one of the same password."""
        values = {"account": account, "password_hash": password_hash}
        self._database.write(lambda runner: runner.change(_UPDATE, values))
