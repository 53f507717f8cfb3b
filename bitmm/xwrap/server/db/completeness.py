"""Whether the journals have every intent that the servers of this data folder committed.

That is asked when a server starts, and on PostgreSQL also before a new connection is used, and every few seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from .errors import StateFileInUseError, StoreError
from .history import HistoryStore
from .records import now
from .state_file import IntentRef, State, StateFile, read_state

__all__ = ["check_connection", "check_running", "open_state_file"]

_log = logging.getLogger(__name__)


def open_state_file(history: HistoryStore, path: Path, *, shared: bool) -> StateFile:
    """Return the state file of this server process, after a gap that it shows was written into the data base.

    `shared`: several servers may share the data base and even the folder; then each has a file with a number of its
    own, and those that no process has are looked at too. Raises StateFileInUseError when another process has the file.
    """
    own: StateFile | None = None
    for number in count(1):
        name = path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")
        if own is not None and not (shared and name.exists()):
            return own
        try:
            file = StateFile(name)
        except BlockingIOError:
            if not shared:
                raise StateFileInUseError(f"another server process uses {name}; stop it") from None
            continue
        except OSError as error:
            raise StoreError(f"{name} cannot be opened: {error.strerror}") from None
        _check(history, file, shared=shared)
        if own is None:
            own = file
        else:
            file.close()
    raise AssertionError


def _check(history: HistoryStore, file: StateFile, *, shared: bool) -> None:
    """Compare a state file with the data base; write what may be missing, and make the file agree with it."""
    row = history.row()
    try:
        state, is_damaged = file.read(), False
    except ValueError:
        state, is_damaged = None, True
    if state is None:
        state = State(installation="", since=now())
        if row is not None and (is_damaged or not shared):
            words = "is damaged" if is_damaged else "is not there"
            _report(history, row["heartbeat"], f"{file.path.name} {words}, so the data base may be an older copy")
    elif row is None:
        _report(history, history.newest_time() or state.since, "the data base is an older one, or a new one")
    elif row["installation"] != state.installation:
        _report(history, min(row["heartbeat"], state.since), "the data base is that of another installation")
    elif missing := history.missing(state.intents):
        _report_missing(history, row["heartbeat"], missing)
    elif state.gap is not None and row["noticed"] is None and row["heartbeat"] < state.gap[1]:
        _report(history, state.gap[0], "the data base is a copy from before orders were noticed to be missing")
    row = history.create()
    if row["installation"] != state.installation:
        state = State(row["installation"], now())
    gone = set(history.missing(state.intents))
    intents = [intent for intent in state.intents if intent not in gone]
    gap = None if row["noticed"] is None else (row["missing_since"], row["noticed"])
    file.write(State(state.installation, state.since, intents, gap))


def check_connection(history: HistoryStore, path: Path, file: StateFile) -> None:
    """Write into the data base what it misses of the intents of all servers that share the folder of `path`.

    Call it before a connection is used: another PostgreSQL may have taken the place of the one before. The files name
    what is missing until the next `check_running`.
    """
    intents = file.intents()
    for other in (path, *path.parent.glob(f"{path.stem}.*{path.suffix}")):
        if other != file.path:
            with suppress(ValueError, OSError):  # it is looked at when its server starts
                state = read_state(other)
                if state is not None and state.installation == file.installation:
                    intents += state.intents
    missing = history.missing(intents)
    if missing and not _is_reported(row := history.create(), missing):
        _report_missing(history, row["heartbeat"], missing)


def _is_reported(row: Mapping[str, Any], missing: Sequence[IntentRef]) -> bool:
    begun = [intent.created for intent in missing]
    return row["missing_since"] is not None and row["missing_since"] <= min(begun) and max(begun) <= row["noticed"]


def check_running(history: HistoryStore, file: StateFile) -> None:
    """Write into the data base what a running server misses: another machine may have taken the place of PostgreSQL's.

    It may have lacked the last commits (asynchronous replication), or have been restored from a dump.
    """
    row = history.create()
    if missing := history.missing(file.intents()):
        _report_missing(history, row["heartbeat"], missing)
        file.discard(missing)


def _report_missing(history: HistoryStore, heartbeat: str, missing: Sequence[IntentRef]) -> None:
    newest = missing[-1]
    words = f"row {newest.id} of the {newest.journal}, begun {newest.created}, is missing"
    reason = f"{words}, so the data base is an older copy, or a part of it is gone"
    _report(history, min(heartbeat, missing[0].created), reason)


def _report(history: HistoryStore, since: str, reason: str) -> None:
    gap = history.report_gap(datetime.fromisoformat(since), reason)
    _log.critical("orders placed after %s may be missing in the journal: %s", gap.since.isoformat(), reason)
