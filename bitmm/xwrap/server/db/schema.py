"""The tables of a data base: whether they are there, and their creation and migration by Alembic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect

from . import tables as t
from .errors import StoreError

__all__ = ["create_or_migrate", "find_revision"]


def find_revision(engine: Engine) -> str | None:
    """Return the revision of the tables, as "0012"; None: there are no tables."""
    with engine.connect() as connection:
        return _revision(connection)


def create_or_migrate(engine: Engine, name: str, lock: Callable[[Connection], None]) -> None:
    """Create the tables, or migrate them to this version. Raises StoreError for a newer data base, called `name`.

    `lock` begins a transaction in which no other process does the same.
    """
    with engine.connect() as connection:
        if _revision(connection) != t.REVISION:
            lock(connection)
            _migrate(connection, name)
            connection.commit()


def _migrate(connection: Connection, name: str) -> None:
    # Imported only when there is something to do: it takes 60 ms.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = _revision(connection)
    if revision is not None and revision not in known:
        raise StoreError(f"the data base {name} was made by a newer version of bitmm; update bitmm")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
