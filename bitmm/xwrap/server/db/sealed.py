"""What is sealed with a master key: the registrations' columns, and one known text.

That text, the check value, shows at every start whether the master key belongs to the data base, and names the key that
seals now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database
from .records import Registration
from .registrations import REGISTRATION_COLUMNS, SEALED_COLUMNS

__all__ = ["SealedStore"]

_PAGE = 200

_R = t.registrations.c
_CHECK_VALUE, _ADD_CHECK_VALUE = select(t.vault_check.c.sealed), insert(t.vault_check)
_SHARE_CHECK_VALUE = _CHECK_VALUE.with_for_update(read=True)
_REPLACE_CHECK_VALUE = update(t.vault_check).where(t.vault_check.c.sealed == bindparam("seen"))
_AFTER = select(*REGISTRATION_COLUMNS).where(_R.id > bindparam("after")).order_by(_R.id).limit(_PAGE)
_RESEAL = update(t.registrations).where(
    _R.id == bindparam("row"), *(_R[name] == bindparam(f"seen_{name}") for name in SEALED_COLUMNS)
)


class SealedStore:
    """The sealed texts of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_value(self, make: Callable[[], bytes] | None = None) -> bytes | None:
        """Return the check value. When there is none yet, keep and return what `make` gives."""
        with self._database.reading() as runner:
            value: bytes | None = runner.value(_CHECK_VALUE)
        if value is None and make:
            sealed = {"id": 1, "sealed": make()}
            with suppress(IntegrityError):
                self._database.write_one(lambda runner: runner.change(_ADD_CHECK_VALUE, sealed))
            # Another process may have kept its own first.
            return self.check_value()
        return value

    def shared_check_value(self) -> bytes | None:
        """Return the check value; within a write it is not replaced until that ends."""
        if self._database.is_writing:
            self._database.write(lambda runner: self._database.lock_rows(runner, _SHARE_CHECK_VALUE, {}))
        return self.check_value()

    def replace_check_value(self, seen: bytes, new: bytes) -> bool:
        """Replace the check value `seen`, and return True; False: it was replaced by another process meanwhile.

        It waits for the writes that have called `shared_check_value`.
        """
        values = {"seen": seen, "sealed": new}
        return self._database.write_one(lambda runner: runner.change(_REPLACE_CHECK_VALUE, values)) == 1

    def registrations(self) -> Iterator[Registration]:
        """Give every registration, also those that are switched off or deleted, in the order of their ids."""
        after = 0
        while True:
            with self._database.reading() as runner:
                page = [Registration(**row) for row in runner.rows(_AFTER, {"after": after})]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def reseal(self, seen: Registration, sealed: Mapping[str, bytes]) -> bool:
        """Replace the sealed columns that were `seen`, and return True; False: they were replaced meanwhile."""
        values = {"row": seen.id, **{f"seen_{name}": getattr(seen, name) for name in SEALED_COLUMNS}, **sealed}
        return self._database.write_one(lambda runner: runner.change(_RESEAL, values)) == 1
