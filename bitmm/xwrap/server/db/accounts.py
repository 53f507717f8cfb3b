"""Accounts: who may log in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database
from .records import Account, now
from .registrations import LABELED_COLUMNS, pop_registration

__all__ = ["AccountStore"]

_ACCOUNT = (
    select(t.accounts.c.id, t.accounts.c.name, t.accounts.c.password_hash, t.accounts.c.active, *LABELED_COLUMNS)
    .outerjoin(
        t.registrations,
        and_(t.registrations.c.id == bindparam("registration"), t.registrations.c.account_id == t.accounts.c.id),
    )
    .where(t.accounts.c.name == bindparam("name"))
)
_ACCOUNTS = select(t.accounts.c.id, t.accounts.c.name, t.accounts.c.active, t.accounts.c.created).order_by(
    t.accounts.c.id
)
_REHASH = update(t.accounts).where(t.accounts.c.id == bindparam("account"))


class AccountStore:
    """The accounts of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, password_hash: str) -> int:
        """A new account's id. Raises ValueError when the name is taken."""
        values = {"name": name, "password_hash": password_hash, "created": now()}
        try:
            return self._database.write(lambda runner: runner.insert(t.accounts, values))
        except IntegrityError:
            raise ValueError(f"there is an account '{name}' already") from None

    def find(self, name: str, registration: int = 0) -> Account | None:
        """The account called `name`, with its registration of that id; another account's is as if it were not there."""
        with self._database.reading() as runner:
            row = runner.first(_ACCOUNT, {"name": name, "registration": registration})
        if row is None:
            return None
        mine = pop_registration(row)
        return Account(**row, registration=None if mine.id is None else mine)

    def all(self) -> list[dict[str, Any]]:
        """Every account's id, name, active and created, oldest first."""
        with self._database.reading() as runner:
            return runner.rows(_ACCOUNTS)

    def rehash(self, account: int, password_hash: str) -> None:
        """Keep a stronger hash of the same password."""
        values = {"account": account, "password_hash": password_hash}
        self._database.write(lambda runner: runner.change(_REHASH, values))
