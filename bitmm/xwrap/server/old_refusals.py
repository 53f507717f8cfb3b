"""Orders and sends that were refused 30 days ago leave the journal: looked for once an hour."""

from __future__ import annotations

import logging

from .db.store import Store
from .rounds import Rounds

__all__ = ["OldRefusals"]

_log = logging.getLogger(__name__)

_SECONDS = 3600.0


class OldRefusals:
    """Removes them, in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rounds = Rounds("old-refusals", {"journal": self.remove}, lambda: _SECONDS)

    def start(self) -> None:
        """Remove them from now on, as long as the server runs."""
        self.rounds.start()

    def stop(self) -> None:
        """End; what is left is removed by the next server."""
        self.rounds.stop()

    def remove(self) -> None:
        """Remove those that are old now."""
        if removed := self._store.refusals.remove_old(self.rounds.stopping.is_set):
            _log.info("%d orders and sends that were refused 30 days ago were removed", removed)
