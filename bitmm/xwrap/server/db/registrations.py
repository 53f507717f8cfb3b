"""Registrations: the accounts' keys at exchanges, sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import bindparam, select, update

from . import tables as t
from .base import Database, StatementRunner
from .records import Registration, now

__all__ = ["LABELED_COLUMNS", "RegistrationStore", "pop_registration"]

_REGISTRATION_COLUMNS = [t.registrations.c[name] for name in Registration.__dataclass_fields__]
_REGISTRATIONS_OF = (
    select(*_REGISTRATION_COLUMNS)
    .where(t.registrations.c.account_id == bindparam("account"))
    .order_by(t.registrations.c.id)
)
_SEAL = update(t.registrations).where(t.registrations.c.id == bindparam("row")).returning(*_REGISTRATION_COLUMNS)
#: The same beside the columns of another table; `pop_registration` reads them.
LABELED_COLUMNS = [t.registrations.c[name].label(f"of_{name}") for name in Registration.__dataclass_fields__]


class RegistrationStore:
    """The registrations of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, values: Mapping[str, Any], seal: Callable[[int], dict[str, bytes]]) -> Registration:
        """A new registration; `seal` gives its sealed columns once its id is known."""
        unsealed = dict.fromkeys(("sealed_apikey", "sealed_apisecret", "sealed_more"), b"")

        def add(runner: StatementRunner) -> Registration:
            id = runner.insert(t.registrations, {**values, **unsealed, "created": now()})
            return Registration(**runner.rows(_SEAL, {"row": id, **seal(id)})[0])

        return self._database.write(add)

    def of_account(self, account: int, *, exchange: str | None = None, active_only: bool = False) -> list[Registration]:
        """This account's registrations, oldest first."""
        with self._database.reading() as runner:
            mine = [Registration(**row) for row in runner.rows(_REGISTRATIONS_OF, {"account": account})]
        return [one for one in mine if exchange in (None, one.exchange) and (one.enabled or not active_only)]


def pop_registration(row: dict[str, Any]) -> Registration:
    """The registration whose columns stand in a row beside others; they are taken out of it."""
    return Registration(**{name: row.pop(f"of_{name}") for name in Registration.__dataclass_fields__})
