"""Statements of SQLAlchemy Core, as a driver takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Dialect
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase

__all__ = ["CompiledStatement", "Statement", "compile_statement"]

Statement = SelectBase | UpdateBase


class CompiledStatement(NamedTuple):
    """A statement as its driver takes it."""

    text: str
    #: The values that stand in the statement itself.
    constants: Mapping[str, Any]
    #: The names of its values in their order, where they have numbers in the text.
    order: Sequence[str]
    columns: Sequence[str]
    #: The columns that SQLite gives as 0 or 1 and we as bool.
    booleans: Sequence[str]

    def rows(self, found: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return the rows that the driver found, as dicts."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in found]
        for name in self.booleans:
            for row in rows:
                row[name] = bool(row[name])
        return rows


def compile_statement(statement: Statement, names: list[str], dialect: Dialect) -> CompiledStatement:
    """Return a statement compiled for a dialect; a write is of the columns that `names` are."""
    compiled = statement.compile(dialect=dialect, column_keys=names)
    columns = list(statement.exported_columns)
    return CompiledStatement(
        text=str(compiled),
        constants={name: value for name, value in compiled.params.items() if not compiled.binds[name].required},
        order=getattr(compiled, "positiontup", None) or (),
        # A name is of a subclass of str, as which a key of a dict is slow, and no key of JSON.
        columns=[str(column.name) for column in columns],
        booleans=[str(column.name) for column in columns if isinstance(column.type, Boolean)],
    )
