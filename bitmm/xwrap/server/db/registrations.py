"""Registrations: the accounts' keys at exchanges, sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update

from . import tables as t
from .base import Database
from .records import Registration, now
from .statements import StatementRunner

__all__ = [
    "BY_ID",
    "GONE",
    "LABELED_COLUMNS",
    "LOCK_ACCOUNT",
    "REGISTRATION_COLUMNS",
    "SEALED_COLUMNS",
    "AlreadyRegisteredError",
    "RegistrationStore",
    "can_be_seen",
    "pop_registration",
]

#: The sealed columns of a registration; each is empty in one that was deleted.
SEALED_COLUMNS = ("sealed_apikey", "sealed_apisecret", "sealed_more")
#: What is left of the columns of a deleted one, beside `deleted`, the time.
GONE: Mapping[str, Any] = {**dict.fromkeys(SEALED_COLUMNS, b""), "deadman_seconds": None, "deadman_at": None}
_NAMES = tuple(Registration.__dataclass_fields__)
REGISTRATION_COLUMNS = [t.registrations.c[name] for name in _NAMES]
#: The same for a statement that has columns of another table, too; `pop_registration` reads them. A journal has a
#: column `registration_id` of its own.
_LABELS = {name: f"of_registration_{name}" for name in _NAMES}
LABELED_COLUMNS = [column.label(_LABELS[column.name]) for column in REGISTRATION_COLUMNS]
_OF_ACCOUNT = (
    select(*REGISTRATION_COLUMNS)
    .where(t.registrations.c.account_id == bindparam("account"), t.registrations.c.deleted.is_(None))
    .order_by(t.registrations.c.id)
)
BY_ID = select(*REGISTRATION_COLUMNS).where(
    t.registrations.c.id == bindparam("id"), t.registrations.c.deleted.is_(None)
)
#: Until the transaction ends, no intent of the account is committed, and nothing of what belongs to it is added.
LOCK_ACCOUNT = select(t.accounts.c.id).where(t.accounts.c.id == bindparam("id")).with_for_update(key_share=True)
_SET_PROVEN = (
    update(t.registrations)
    .where(t.registrations.c.id == bindparam("row"), t.registrations.c.sealed_apisecret == bindparam("sealed"))
    .values(proven=True)
)
_DELETED = select(t.registrations.c.deleted).where(
    t.registrations.c.id == bindparam("id"), t.registrations.c.account_id == bindparam("account")
)
_ORDERS = t.orders.alias("of_it").c
#: Of one registration, from its index: a group for each would read the whole journal.
_NEWEST_ORDER = (
    select(func.max(_ORDERS.id))
    .where(_ORDERS.registration_id == t.registrations.c.id)
    .correlate(t.registrations)
    .scalar_subquery()
)
#: A rejected row says in `answer` what its caller was answered, a JSON document with the code.
_REFUSED_ORDERS = select(t.orders.c.id).where(
    t.orders.c.id == _NEWEST_ORDER,
    t.orders.c.status == "rejected",
    t.orders.c.answer.contains('"exchange_key_refused"'),
    or_(t.registrations.c.key_since.is_(None), t.registrations.c.key_since < t.orders.c.created),
)
_KEY_REFUSED = (
    select(*REGISTRATION_COLUMNS)
    .where(
        or_(t.registrations.c.key_refused.is_not(None), _REFUSED_ORDERS.exists()),
        t.registrations.c.deleted.is_(None),
        t.registrations.c.enabled,
    )
    .order_by(t.registrations.c.id)
)
_SEAL = update(t.registrations).where(t.registrations.c.id == bindparam("row")).returning(*REGISTRATION_COLUMNS)


class AlreadyRegisteredError(Exception):
    """The account has a `registration` with the same exchange key."""

    def __init__(self, registration: Registration) -> None:
        super().__init__(registration.id)
        self.registration = registration


class RegistrationStore:
    """The registrations of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        values: Mapping[str, Any],
        seal: Callable[[int], dict[str, bytes]],
        is_same: Callable[[Registration], bool] = lambda _: False,
        check: Callable[[], None] = lambda: None,
    ) -> Registration:
        """Add a registration and return it. `seal` gives its sealed columns, for which it needs the id.

        Raises AlreadyRegisteredError when `is_same` of one that the account has, also of a disabled one. `check` is run
        in the transaction, after that; what it raises is raised here, and nothing is added.
        Of two calls at the same time the second sees what the first added.
        """
        unsealed = dict.fromkeys(SEALED_COLUMNS, b"")

        def work(runner: StatementRunner) -> Registration:
            self._database.lock_rows(runner, LOCK_ACCOUNT, {"id": values["account_id"]})
            _check_new(runner, values["account_id"], is_same)
            check()
            id = runner.insert(t.registrations, {**values, **unsealed, "created": now()})
            [row] = runner.rows(_SEAL, {"row": id, **seal(id)})
            return Registration(**row)

        return self._database.write(work)

    def locked(self, account: int, id: int) -> Registration | None:
        """Return a registration of an account as it is now; None: there is none, or it was deleted.

        Within a write: until it ends, no intent of the account is committed, and none of its registrations is changed.
        """
        with self._database.reading() as runner:
            self._database.lock_rows(runner, LOCK_ACCOUNT, {"id": account})
            row = self.get(id)
        return row if row is not None and row.account_id == account else None

    def change(
        self, row: Registration, columns: Mapping[str, Any], is_same: Callable[[Registration], bool] = lambda _: False
    ) -> Registration:
        """Write `columns` of a registration that is `locked`, and return it.

        Raises AlreadyRegisteredError when `is_same` of another one that the account has.
        """

        def work(runner: StatementRunner) -> Registration:
            _check_new(runner, row.account_id, lambda other: other.id != row.id and is_same(other))
            [changed] = runner.rows(_SEAL, {"row": row.id, **columns})
            return Registration(**changed)

        return self._database.write(work)

    def delete(self, row: Registration) -> None:
        """Delete a registration that is `locked`: its key is gone, and its journal stays."""
        self._database.write_one(lambda runner: runner.rows(_SEAL, {"row": row.id, "deleted": now(), **GONE}))

    def with_refused_key(self) -> list[Registration]:
        """Return the registrations whose key their exchange refuses, as far as that is known.

        It was noticed for the notices, or at the newest order.
        """
        with self._database.reading() as runner:
            return [Registration(**row) for row in runner.rows(_KEY_REFUSED)]

    def is_deleted(self, account: int, id: int) -> bool:
        """Return whether an account has deleted the registration with this id."""
        with self._database.reading() as runner:
            return runner.value(_DELETED, {"account": account, "id": id}) is not None

    def get(self, id: int) -> Registration | None:
        """Return the registration with this id; None: there is none, or it was deleted."""
        with self._database.reading() as runner:
            row = runner.first(BY_ID, {"id": id})
        return None if row is None else Registration(**row)

    def set_proven(self, registration: Registration) -> None:
        """Write that the exchange accepted the key, unless it was replaced meanwhile."""
        values = {"row": registration.id, "sealed": registration.sealed_apisecret}
        self._database.write_one(lambda runner: runner.change(_SET_PROVEN, values))

    def set_permissions(self, registration: Registration, permissions: str) -> None:
        """Write what the exchange says that the key may do, unless the key was replaced meanwhile."""

        def work(runner: StatementRunner) -> None:
            row = self.locked(registration.account_id, registration.id)
            if row is not None and row.key_since == registration.key_since:
                runner.rows(_SEAL, {"row": row.id, "permissions": permissions})

        if permissions != registration.permissions:
            self._database.write(work)

    def of_account(self, account: int, *, exchange: str | None = None, active_only: bool = False) -> list[Registration]:
        """Return the registrations of an account (at one exchange, enabled), oldest first."""
        with self._database.reading() as runner:
            rows = runner.rows(_OF_ACCOUNT, {"account": account})
        return [
            Registration(**row)
            for row in rows
            if exchange in (None, row["exchange"]) and (row["enabled"] or not active_only)
        ]


def _check_new(runner: StatementRunner, account: int, is_same: Callable[[Registration], bool]) -> None:
    """Raise AlreadyRegisteredError when `is_same` of a registration of the account."""
    for row in runner.rows(_OF_ACCOUNT, {"account": account}):
        if is_same(Registration(**row)):
            raise AlreadyRegisteredError(Registration(**row))


def pop_registration(row: dict[str, Any]) -> Registration:
    """Take the LABELED_COLUMNS out of a row, and return their registration."""
    return Registration(**{name: row.pop(label) for name, label in _LABELS.items()})


def can_be_seen(created: ColumnElement[str]) -> ColumnElement[bool]:
    """Return in SQL what `Registration.can_see` says of a row; False where the registration was deleted."""
    since = t.registrations.c.account_since
    return and_(t.registrations.c.deleted.is_(None), or_(since.is_(None), created > since))
