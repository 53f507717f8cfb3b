"""The state file: a small file beside the data base that names the newest intents which were committed.

A data base that lacks one of them is not what it was when the file was written: it is an older copy, or a part of it is
gone. SQLite itself cannot tell, because it takes a damaged end of its write-ahead log for a commit that was never
finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .files import lock_file, open_private, sync_folder, write_whole
from .records import now

__all__ = ["INTENT_COLUMNS", "KEPT_INTENTS", "REFUSED_SECONDS", "IntentRef", "State", "StateFile", "read_state"]

#: Each write replaces the whole file, which is so small that it is written as one block of a disk.
_SIZE = 4096
#: More than can be committed by one process at the same time, so that the newest one is among them.
KEPT_INTENTS = 32
#: After so long an order or a send that was refused may be removed from its journal.
REFUSED_SECONDS = 30 * 86400.0


class IntentRef(NamedTuple):
    """One row of a journal, the time at which it was begun, and a short digest of its key.

    A row that is begun anew has a later time. Another row that was given the same id has another key.
    """

    journal: str
    id: int
    created: str
    digest: str

    @classmethod
    def of(cls, journal: str, row: Mapping[str, Any]) -> IntentRef:
        """Return the reference of a row of `journal`."""
        return cls(journal, row["id"], row["created"], _digest(row))

    def is_kept_in(self, row: Mapping[str, Any] | None, newest: int | None) -> bool:
        """Return whether this row of the journal, with its INTENT_COLUMNS, is that of the intent, or of a later one.

        Of an order that the exchange had already, `created` is the exchange's time. `newest`: the highest id in the
        journal. Below it an old row may have been removed because it was refused; a copy from before the intent ends
        before its id.
        """
        if row is None:
            return newest is not None and self.id < newest and self.created < now(REFUSED_SECONDS)
        if _digest(row) != self.digest:
            return False
        may_be_earlier = row["released"] or row["status"] in {"running", "unknown"}
        return bool(row["created"] >= self.created or not may_be_earlier)


#: What `IntentRef.is_kept_in` looks at.
INTENT_COLUMNS = ("registration_id", "key", "created", "status", "released")


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{row['registration_id']}|{row['key']}".encode()).hexdigest()[:12]


@dataclass
class State:
    """What a state file says: the installation that the data base belongs to, and since when it is in use."""

    installation: str
    since: str
    intents: Sequence[IntentRef] = field(default_factory=tuple)
    #: Since when orders may be missing, and when that was noticed, if it was: a copy from before then does not say so.
    gap: tuple[str, str] | None = None


def read_state(path: Path) -> State | None:
    """Return what a state file says; None when it was just made. Raises OSError, and ValueError when it is damaged."""
    text = path.read_bytes()
    if not text:
        return None
    try:
        document = json.loads(text)
        intents = [IntentRef(str(name), int(id), *map(str, more)) for name, id, *more in document["intents"]]
        gap = document.get("gap")
        noticed = None if gap is None else (str(gap[0]), str(gap[1]))
        return State(str(document["installation"]), str(document["since"]), intents, noticed)
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(f"{path} is damaged") from None


class StateFile:
    """The state file of one server process, which holds a lock on it as long as it is open."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is made when there is none. Raises BlockingIOError when another process has it."""
        self.path = path
        self._lock = threading.Lock()
        self._state: State | None = None
        self._intents: deque[IntentRef] = deque(maxlen=KEPT_INTENTS)
        self._descriptor: int | None = open_private(path)
        try:
            lock_file(self._descriptor)
        except OSError:
            os.close(self._descriptor)
            raise

    @property
    def installation(self) -> str | None:
        """Return which installation the file is written for now."""
        return None if self._state is None else self._state.installation

    def read(self) -> State | None:
        """Return what the file says; None when it was just made. Raises ValueError when it cannot be understood."""
        return read_state(self.path)

    def write(self, state: State) -> None:
        """Replace what the file says; it is on the disk when this returns."""
        with self._lock:
            self._state, self._intents = state, deque(state.intents, KEPT_INTENTS)
            self._write()
            sync_folder(self.path.parent)

    def add(self, intents: Iterable[IntentRef]) -> None:
        """Add intents that were committed; they are on the disk when this returns. Raises OSError."""
        with self._lock:
            self._intents.extend(intents)
            self._write()

    def intents(self) -> list[IntentRef]:
        """Return the newest intents, oldest first."""
        with self._lock:
            return list(self._intents)

    def discard(self, intents: Iterable[IntentRef]) -> None:
        """Name these intents no longer."""
        gone = set(intents)
        with self._lock:
            self._intents = deque([intent for intent in self._intents if intent not in gone], KEPT_INTENTS)
            self._write()

    def _write(self) -> None:
        if self._descriptor is None or self._state is None:
            raise OSError(f"{self.path} is closed")
        state = self._state
        document = {
            "installation": state.installation,
            "since": state.since,
            "intents": list(self._intents),
            "gap": state.gap,
        }
        write_whole(self._descriptor, json.dumps(document).encode().ljust(_SIZE - 1) + b"\n")

    def close(self) -> None:
        """Close the file; nothing can be added any more."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
