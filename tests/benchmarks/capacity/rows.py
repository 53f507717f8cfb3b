"""Rows by the million, made in the data base itself: copies of rows that the server wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Table

from bitmm.xwrap.server.db import paper_tables as paper
from bitmm.xwrap.server.db import tables as t
from tests.support.databases import sql

__all__ = ["add_accounts", "add_filled_orders", "add_journal_rows", "add_unknown_orders", "bytes_of"]

#: The file of SQLite, or the URL of PostgreSQL.
Place = Path | str


def add_accounts(where: Place, registration: int, count: int) -> Sequence[int]:
    """Copy the account of a registration on paper with this one; return the ids of the new registrations."""
    [(account,)] = sql(where, f"SELECT account_id FROM registrations WHERE id = {registration}")
    first_account = _copy(where, t.accounts, account, count, {"name": "'other-' || n"})
    first = _copy(where, t.registrations, registration, count, {"account_id": f"{first_account} - 1 + n"})
    return range(first, first + count)


def add_filled_orders(where: Place, order: int, registrations: Sequence[int], count: int, name: str = "copy") -> None:
    """Copy a filled order on paper, with its entries and fills, and spread the copies over these registrations.

    Their keys are NAME-1 to NAME-COUNT.
    """
    [(own,)] = sql(where, f"SELECT exchange_order_id FROM orders WHERE id = {order}")
    owner = {"registration_id": f"{registrations[0]} + n % {len(registrations)}"}
    first = _copy(where, paper.orders, int(own), count, {**owner, "client_id": f"'{name}-' || n"})
    new = {"key": f"'{name}-' || n", "client_id": f"'{name}-' || n", "change": "n"}
    _copy(where, t.orders, order, count, {**owner, **new, "exchange_order_id": f"CAST({first} - 1 + n AS TEXT)"})
    for [fill] in sql(where, f"SELECT id FROM paper_fills WHERE order_id = {own}"):
        _copy(where, paper.fills, fill, count, {**owner, "order_id": f"{first} - 1 + n"})
    for [entry] in sql(where, f"SELECT id FROM paper_entries WHERE reference = 'order {own}'"):
        _copy(where, paper.entries, entry, count, {**owner, "reference": f"'order ' || ({first} - 1 + n)"})


def add_journal_rows(where: Place, order: int, count: int) -> None:
    """Copy an order in the journal alone, which is all that one at an exchange has, with keys like the client's."""
    key = "lower(hex(randomblob(16)))" if isinstance(where, Path) else "md5(CAST(random() AS text))"
    _copy(where, t.orders, order, count, {"key": key, "client_id": key, "change": "n"})


def add_unknown_orders(where: Place, order: int, count: int) -> None:
    """Copy an order whose outcome is unknown."""
    _copy(where, t.orders, order, count, {"key": "'copy-' || n", "client_id": "'copy-' || n", "change": "n"})


def bytes_of(where: Place) -> int:
    """Return what the data base takes on the disk, without its log."""
    if isinstance(where, Path):
        sql(where, "PRAGMA wal_checkpoint(TRUNCATE)")
        return where.stat().st_size
    return int(sql(where, "SELECT pg_database_size(current_database())")[0][0])


def _copy(where: Place, table: Table, row: int, count: int, changes: Mapping[str, str]) -> int:
    """Copy a row of a table so many times, and return the id of the first copy.

    `changes`: SQL of what is other in a copy, which has the number n, from 1 on.
    """
    [(newest,)] = sql(where, f"SELECT max(id) FROM {table.name}")
    changes = {"id": f"{newest} + n", **changes}
    columns = list(table.c.keys())
    values = ", ".join(changes.get(column, f"source.{column}") for column in columns)
    numbers = f"numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
    if count:
        sql(
            where,
            f"INSERT INTO {table.name} ({', '.join(columns)}) WITH RECURSIVE {numbers}"
            f" SELECT {values} FROM numbers CROSS JOIN {table.name} AS source WHERE source.id = {row}",
        )
        if not isinstance(where, Path):
            sql(where, f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {newest + count})")
            sql(where, f"ANALYZE {table.name}")
    return int(newest) + 1
