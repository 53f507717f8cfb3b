"""The data base: whether it is sound, and of this version. It is not changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..db.errors import StoreError
from ..db.sqlite_file import find_damage_unchanged, wal_of
from ..db.store import Store
from ..db.tables import REVISION
from ..settings import Settings
from .findings import Finding, finding_of

__all__ = ["check_database", "check_revision", "open_unchanged"]

_CHECK = "data base"
#: A log that has grown to so much is not written back: some program reads the data base for very long.
_LOOK_WAL_BYTES = 256 * 2**20
_LEAST_POSTGRESQL = 14


@contextmanager
def open_unchanged(settings: Settings) -> Iterator[Store]:
    """Give the data base, of which nothing is written. Raises StoreError."""
    store = Store(settings.database, call_seconds=settings.call_seconds, read_only=True)
    try:
        yield store
    finally:
        store.close()


def check_database(settings: Settings) -> list[Finding]:
    """Return what keeps the data base from being used, and what a person should look at; empty: neither."""
    path = settings.database
    return _check_sqlite(path) if isinstance(path, Path) else _check_postgresql(settings)


def _check_sqlite(path: Path) -> list[Finding]:
    if not path.exists():
        return [Finding(_CHECK, "look", f"there is none in {path.parent}", "make one: xwrap account add NAME")]
    try:
        damage = find_damage_unchanged(path)
    except StoreError as error:
        return [Finding(_CHECK, "bad", str(error), "look whether another program has it locked")]
    if damage:
        return [Finding(_CHECK, "bad", f"{path} is damaged ({damage})", "restore a backup: xwrap restore FILE")]
    log = 0
    with suppress(FileNotFoundError):
        log = wal_of(path).stat().st_size
    if log > _LOOK_WAL_BYTES:
        words = f"its write-ahead log has {log / 2**20:.0f} MiB: a program reads the data base for very long"
        return [Finding(_CHECK, "look", words, "end that program; the server writes the log back by itself")]
    return []


def _check_postgresql(settings: Settings) -> list[Finding]:
    try:
        with open_unchanged(settings) as store:
            store.check()
            if settings.workers > 1:
                store.share_connections(settings.workers)
            version, is_kept = store.engine_version(), store.outlives_power_failure()
    except StoreError as error:
        advice = None if "; " in str(error) else "look whether it runs, and at XWRAP_DATABASE_URL"
        found = finding_of(_CHECK, error)
        return [found._replace(advice=found.advice or advice)]
    if version < (_LEAST_POSTGRESQL,):
        words = f"PostgreSQL {'.'.join(map(str, version))} keeps the locks of a server that stands still"
        return [Finding(_CHECK, "look", words, f"use PostgreSQL {_LEAST_POSTGRESQL} or later")]
    if not is_kept:
        words = "PostgreSQL runs with fsync = off: when its machine loses power, the journal may lose orders"
        return [Finding(_CHECK, "look", words, "set fsync = on in postgresql.conf, and reload it")]
    return []


def check_revision(store: Store, name: str) -> Finding:
    """Return whether the tables are those of this version; only then their content can be read."""
    revision = store.revision()
    if revision is None:
        return Finding(_CHECK, "look", f"{name} has no tables", "make them: xwrap account add NAME")
    if revision < REVISION:
        words = f"it is of an older version ({revision}, and this one has {REVISION}); the next start migrates it"
        return Finding(_CHECK, "look", words, "make a backup, stop every server, then: xwrap serve")
    if revision > REVISION:
        return Finding(_CHECK, "bad", f"it was made by a newer version of bitmm ({revision})", "update bitmm")
    engine = "SQLite" if isinstance(store.where, Path) else "PostgreSQL"
    version = ".".join(map(str, store.engine_version()))
    return Finding(_CHECK, "ok", f"{name} is sound, version {revision}, {engine} {version}")
