"""The attempts whose outcome is unknown: each is a row of a journal, since it was begun last, with the key of then.

A server looks every few seconds whether there is any to ask about, and there may be many thousands that are asked about
once an hour. So one statement tells whether they are still the same, and of each a few columns are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, Table, Text, bindparam, cast, func, literal_column, null, select

from . import tables as t
from .base import Database
from .id_lists import is_one_of, many_id_values
from .records import Registration, is_in_place
from .registrations import LABELED_COLUMNS, can_be_seen, pop_registration

__all__ = ["Attempt", "UnknownAttempts"]

#: As text SQLAlchemy would write it into the statement only when it runs that itself.
_COMMA: Any = literal_column("','")

Row = dict[str, Any]


class Attempt(NamedTuple):
    """What the time of a question depends on. A row that is begun anew, or whose key was replaced, is another one."""

    #: Of the row.
    id: int
    created: str
    key_since: str | None
    registration: int
    updated: str
    #: The `server_id` of the process whose call it was; None: that call is over. It may end while the row is unknown:
    #: that of a server which lost its connection, and was taken for dead.
    server: int | None
    #: It amends another order in place.
    in_place: bool

    @property
    def name(self) -> tuple[int, str, str | None]:
        """What tells it from every other attempt."""
        return self.id, self.created, self.key_since


class UnknownAttempts:
    """Those of one journal, by exchange.

    Without those about which their exchange cannot be asked any more: the registration was deleted, or has a key of
    another account now.
    """

    def __init__(self, table: Table, database: Database) -> None:
        self._database = database
        c, exchange, key_since = table.c, t.registrations.c.exchange, t.registrations.c.key_since
        where = (c.status == "unknown", t.RUNNING_OR_UNKNOWN, can_be_seen(c.created))
        # Also a clock that was set back, or two changes of which one undoes the other, leaves no other set of attempts
        # with the same text. Of 10,000 it takes 6 ms of SQLite, and to read all rows 135 (2026-11-28).
        name = cast(c.id, Text) + " " + c.created + " " + func.coalesce(key_since, "")
        self._names = (
            select(exchange, func.aggregate_strings(name, _COMMA).label("names"))
            .select_from(table)
            .join(t.registrations)
            .where(*where)
            .group_by(exchange)
        )
        in_place = [c.get(one, null().label(one)) for one in ("replaces", "exchange_order_id")]
        self._select = (
            select(c.id, c.registration_id, c.created, c.updated, c.server, key_since, *in_place)
            .join_from(table, t.registrations)
            .where(*where, exchange == bindparam("exchange"))
            .order_by(c.id)
        )
        rows = select(table, *LABELED_COLUMNS).join(t.registrations).where(*where).order_by(c.id)

        @cache
        def rows_of(size: int) -> Select[Any]:
            return rows.where(is_one_of(c.id, size))

        self._rows_of = rows_of

    def names(self) -> dict[str, str]:
        """Return a text by exchange that names its attempts: it is another one when they are not the same any more."""
        with self._database.reading() as runner:
            return {row["exchange"]: row["names"] for row in runner.rows(self._names)}

    def at(self, exchange: str) -> list[Attempt]:
        """Return the attempts at an exchange, oldest first."""
        with self._database.reading() as runner:
            rows = runner.rows(self._select, {"exchange": exchange})
        return [
            Attempt(
                id=row["id"],
                created=row["created"],
                key_since=row["key_since"],
                registration=row["registration_id"],
                updated=row["updated"],
                server=row["server"],
                in_place=is_in_place(row),
            )
            for row in rows
        ]

    def rows(self, attempts: Iterable[Attempt]) -> Iterator[tuple[Registration, Row]]:
        """Give the rows of these attempts that are still unknown, oldest first, with their registrations."""
        asked = {one.name for one in attempts}
        for some in many_id_values(id for id, *_ in asked):
            with self._database.reading() as runner:
                rows = runner.rows(self._rows_of(len(some)), some)
            for row in rows:
                registration = pop_registration(row)
                if (row["id"], row["created"], registration.key_since) in asked:
                    yield registration, row
