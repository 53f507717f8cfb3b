"""Accounts: who may log in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from . import page_tables
from . import tables as t
from .base import Database
from .credentials import CREDENTIAL_COLUMNS, credential_from_row
from .records import Account, Login, now
from .registrations import GONE, LABELED_COLUMNS, pop_registration
from .statements import StatementRunner

__all__ = ["LOCK", "AccountStore"]

_A, _R, _C = t.accounts.c, t.registrations.c, t.credentials.c
_COLUMNS = [_A.id, _A.name, _A.password_hash, _A.active, _A.frozen, _A.created]
_OWN_REGISTRATION = and_(_R.id == bindparam("registration"), _R.account_id == _A.id, _R.deleted.is_(None))
_ACCOUNT_WITH_REGISTRATION = (
    select(*_COLUMNS, *LABELED_COLUMNS)
    .outerjoin(t.registrations, _OWN_REGISTRATION)
    .where(_A.name == bindparam("name"))
)
_LABELED_CREDENTIAL = [column.label(f"of_credential_{column.name}") for column in (*CREDENTIAL_COLUMNS, _C.digest)]
_OWNER: BindParameter[str] = bindparam("owner")
#: The account of the name itself, and that of the name before the last slash with its credential.
_LOGINS = (
    select(*_COLUMNS, *LABELED_COLUMNS, *_LABELED_CREDENTIAL)
    .outerjoin(t.registrations, _OWN_REGISTRATION)
    .outerjoin(
        t.credentials,
        and_(_C.account_id == _A.id, _C.name == bindparam("credential"), _A.name == _OWNER, _C.revoked.is_(None)),
    )
    .where(or_(_A.name == bindparam("name"), _A.name == _OWNER))
)
#: Every other write that runs it for the account waits for this one.
LOCK = select(*_COLUMNS).where(_A.id == bindparam("id")).with_for_update(key_share=True)
_LOCK_FOR_CHANGE = select(_A.id).where(_A.id == bindparam("id")).with_for_update()
#: The row of a removed account stays for what names it by its id. It has no hash.
_IS_THERE = _A.password_hash != ""
_ALL_ACCOUNTS = select(_A.id, _A.name, _A.active, _A.created, _A.frozen).where(_IS_THERE).order_by(_A.id)
_UPDATE = update(t.accounts).where(_A.id == bindparam("account"))
_UPDATE_HASH = _UPDATE.where(_A.password_hash == bindparam("old_hash"))
_NOT_KNOWN = [
    select(func.count())
    .select_from(journal)
    .join(t.registrations)
    .where(_R.account_id == bindparam("account"), or_(t.RUNNING_OR_UNKNOWN, t.OPEN))
    for journal in t.JOURNALS
]
_EMPTY_REGISTRATIONS = (
    update(t.registrations)
    .where(_R.account_id == bindparam("account"), _R.deleted.is_(None))
    .values(**GONE, enabled=False, allow_send=False)
)
_REVOKE_CREDENTIALS = update(t.credentials).where(_C.account_id == bindparam("account"), _C.revoked.is_(None))

_FORGET = [
    delete(table).where(table.c.account_id == bindparam("account"))
    for table in (page_tables.sessions, page_tables.worth)
]


class AccountStore:
    """The accounts of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, password_hash: str) -> int:
        """Add an account and return its id. Raises ValueError when the name is taken."""
        values = {"name": name, "password_hash": password_hash, "created": now()}
        try:
            return self._database.write_one(lambda runner: runner.insert(t.accounts, values))
        except IntegrityError:
            raise ValueError(f"there is an account '{name}' already") from None

    def find(self, name: str, registration: int = 0) -> Account | None:
        """Return the account with this name, and with it the registration of that id where it is the account's own."""
        if "\0" in name:  # PostgreSQL has no such text.
            return None
        with self._database.reading() as runner:
            row = runner.first(_ACCOUNT_WITH_REGISTRATION, {"name": name, "registration": registration})
        return None if row is None or not row["password_hash"] else _pop_account(row)

    def find_login(self, name: str, registration: int = 0) -> Login | None:
        """Return what a user name logs in, and with it the registration of that id where it is the account's own.

        A name like "ann/bot1" is that of an account, or else of a credential: "bot1" of the account "ann".
        """
        owner, slash, credential = name.rpartition("/")
        if not slash or "\0" in name:
            account = self.find(name, registration)
            return None if account is None else Login(account)
        values = {"name": name, "owner": owner, "credential": credential, "registration": registration}
        with self._database.reading() as runner:
            rows = runner.rows(_LOGINS, values)
        rows = [row for row in rows if row["password_hash"]]
        # The account of the whole name counts first.
        rows.sort(key=lambda row: row["name"] != name)
        return _pop_login(rows[0], name) if rows else None

    def locked(self, id: int) -> Account | None:
        """Return an account as it is now. Within a write: until it ends, no other write changes the account, and every
        other write that calls this for it waits.
        """
        with self._database.reading() as runner:
            row = runner.first(LOCK, {"id": id})
        return None if row is None else Account(**row)

    def all(self) -> list[dict[str, Any]]:
        """Return the id, name, active, created and frozen of every account that was not removed, oldest first."""
        with self._database.reading() as runner:
            return runner.rows(_ALL_ACCOUNTS)

    def rehash(self, account: int, old_hash: str, new_hash: str) -> bool:
        """Put a hash in the place of another one; False: the account has a third one by now."""
        values = {"account": account, "old_hash": old_hash, "password_hash": new_hash}
        return self._database.write_one(lambda runner: runner.change(_UPDATE_HASH, values)) == 1

    def set_password(self, account: int, password_hash: str) -> None:
        """Give an account the hash of a new password. Every login with the old one fails from now on."""
        values = {"account": account, "password_hash": password_hash}
        self._database.write_one(lambda runner: runner.change(_UPDATE, values))

    def set_active(self, account: int, active: bool) -> None:
        """Switch an account on or off: while it is off, neither it nor its credentials log in."""
        values = {"account": account, "active": active}
        self._database.write_one(lambda runner: runner.change(_UPDATE, values))

    def remove(self, account: Account) -> None:
        """Remove an account for good. Its journals stay, and with them the rows that they need.

        Its registrations are deleted and their sealed columns emptied, its credentials are revoked, its sessions and
        what it was worth are gone, it has no password, and its name is free. Raises ValueError as long as an order or a
        send of it is open or its outcome unknown.
        """

        def work(runner: StatementRunner) -> None:
            self._database.lock_rows(runner, _LOCK_FOR_CHANGE, {"id": account.id})
            counts = [int(runner.value(count, {"account": account.id})) for count in _NOT_KNOWN]
            if any(counts):
                raise ValueError(
                    f"'{account.name}' has {counts[0]} orders and {counts[1]} sends that are open or unknown; cancel "
                    "them, or settle them (xwrap orders unknown, xwrap sends unknown), before the account is removed"
                )
            time = now()
            runner.change(_EMPTY_REGISTRATIONS, {"account": account.id, "deleted": time})
            runner.change(_REVOKE_CREDENTIALS, {"account": account.id, "revoked": time})
            for statement in _FORGET:
                runner.change(statement, {"account": account.id})
            # Names of accounts have no slash by now, so no new one is like this.
            gone = {"name": f"{account.name}/removed/{account.id}", "password_hash": "", "active": False}
            runner.change(_UPDATE, {"account": account.id, **gone})

        self._database.write(work)


def _pop_account(row: dict[str, Any]) -> Account:
    own = pop_registration(row)
    return Account(**row, registration=None if own.id is None else own)


def _pop_login(row: dict[str, Any], name: str) -> Login:
    columns = {column.name: row.pop(f"of_credential_{column.name}") for column in (*CREDENTIAL_COLUMNS, _C.digest)}
    account = _pop_account(row)
    if account.name == name:
        return Login(account)
    credential = None if columns["id"] is None else credential_from_row(columns)
    if credential is None or (credential.expires is not None and credential.expires <= now()):
        return Login(account, names_credential=True)
    return Login(account, credential, columns["digest"], names_credential=True)
