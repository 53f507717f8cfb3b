"""All checks, one after the other; what one of them raises ends that one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..db.errors import UNUSABLE, driver_message
from ..db.store import Store
from ..settings import Settings, SetupError
from .clocks import check_clocks
from .content import check_accounts, check_history, check_key_file, check_keys, check_notices, check_unknown
from .database import check_database, check_revision, open_unchanged
from .findings import Finding, finding_of
from .folder import check_backups, check_disk, check_folder
from .machine import check_limits, check_versions
from .server import check_server
from .settings import read_settings

__all__ = ["examine"]

_DEFAULT_URL = "http://127.0.0.1:8000"


def examine(environ: Mapping[str, str], data: Path | None, url: str | None) -> Iterator[Finding]:
    """Give what each check finds. `url`: of the server that runs, else XWRAP_URL, or the usual port of this machine."""
    yield from _guarded("versions", check_versions)
    settings, findings = read_settings(environ, data)
    yield from findings
    folder = list(_guarded("data folder", check_folder, settings))
    yield from folder
    yield from _guarded("disk", check_disk, settings)
    if all(finding.state != "bad" for finding in folder):
        yield from _guarded("data base", _check_data, settings)
    else:
        yield Finding("data base", "skip", "not looked at: first the data folder must be right")
    yield from _guarded("limits", check_limits, settings)
    named = url or environ.get("XWRAP_URL")
    yield from _guarded("server", lambda: check_server(settings, named or _DEFAULT_URL, is_named=bool(named)))
    yield from _guarded("clock", check_clocks, settings)


def _check_data(settings: Settings) -> Iterator[Finding]:
    findings = check_database(settings)
    is_there = settings.database_url or (settings.data / "xwrap.sqlite3").exists()
    if not is_there or any(finding.state == "bad" for finding in findings):
        yield from findings
        yield check_key_file(settings, None)[0]
        return
    with open_unchanged(settings) as store:
        revision = check_revision(store, store.name)
        # What is said of a sound data base is no news when a person must look at it.
        yield from findings if findings and revision.state == "ok" else [*findings, revision]
        if revision.state == "ok":
            yield from _check_content(settings, store)
        else:
            yield check_key_file(settings, None)[0]


def _check_content(settings: Settings, store: Store) -> Iterator[Finding]:
    finding, keys = check_key_file(settings, store)
    yield finding
    yield from check_keys(settings, store, keys)
    yield from check_accounts(store)
    yield from check_unknown(store)
    yield from check_history(store)
    yield from _guarded("notices", check_notices, settings, store)
    row = store.history.row()
    yield from check_backups(settings, None if row is None else row["installation"])


def _guarded(check: str, run: Callable[..., Iterator[Finding]], *args: Any) -> Iterator[Finding]:
    """Give what a check gives, and as its last finding what it raises."""
    try:
        yield from run(*args)
    except SetupError as error:
        yield finding_of(check, error)
    except OSError as error:
        yield Finding(check, "bad", f"{error.filename or 'the system'}: {error.strerror}")
    except UNUSABLE as error:
        yield Finding(check, "bad", f"the data base cannot be used: {driver_message(error)}")
