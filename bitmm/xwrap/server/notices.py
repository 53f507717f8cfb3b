"""Notices are sent to the administrator's receiver, in their order, until they are taken.

They wait in the data base (`db.notices`), so that trading never waits for the receiver, and nothing is lost while it is
down. One server process sends at a time: it claims the oldest notice, and no later one is sent before that was taken.
"""

from __future__ import annotations

import logging
import random
import time
from math import inf

from .db.notices import Notice
from .db.store import Store
from .rounds import Rounds
from .settings import Settings
from .webhook import NotTakenError, Webhook, open_webhook

__all__ = ["Notifier", "open_notifier", "pause_after"]

_log = logging.getLogger(__name__)

#: Seconds between two looks for notices, and between two looks for those that wait for too long.
_EVERY, _DROP_EVERY = 1.0, 60.0
#: Seconds for which a claim lasts, longer than any try. Then another process takes the notice for abandoned.
_CLAIM_SECONDS = 30.0
#: Seconds between two tries: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 600.0
#: Characters that are kept of why a notice was not taken.
_LONGEST_ERROR = 300


def pause_after(tries: int) -> float:
    """Return the seconds until the next try: about 1, 2, 4 ... 600, so that not all servers come back at once."""
    pause = min(_FIRST_PAUSE * 2.0 ** min(tries - 1, 20), _LONGEST_PAUSE)
    return pause * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


def open_notifier(settings: Settings, store: Store) -> Notifier | None:
    """Return what sends the notices of a data base, None where no receiver is set. Raises SettingsError."""
    webhook = open_webhook(settings)
    return None if webhook is None else Notifier(store, webhook)


class Notifier:
    """Sends the notices of a data base, in a thread of its own."""

    def __init__(self, store: Store, webhook: Webhook) -> None:
        self._store = store
        self._webhook = webhook
        self._looked = -inf
        #: How many tries ended so since the start, for the metrics.
        self.counts = {"delivered": 0, "failed": 0, "dropped": 0}
        self.rounds = Rounds("notices", {"sender": self.send}, lambda: _EVERY)

    def start(self) -> None:
        """Send from now on, as long as the server runs."""
        self.rounds.start()

    def stop(self) -> None:
        """Send no further notice; one that is under way is not waited for longer than a second."""
        self.rounds.stop()
        self._webhook.close()

    def send(self) -> None:
        """Send what is due, oldest first, until one is not taken."""
        self._drop_old()
        notice = self._store.notices.claim(_CLAIM_SECONDS)
        while notice is not None:
            if self.rounds.stopping.is_set():
                self._store.notices.postpone(notice, 0.0, None)
                return
            try:
                self._webhook.send(notice.id, notice.body)
            except NotTakenError as error:
                self._failed(notice, str(error))
                return
            self.counts["delivered"] += 1
            notice = self._store.notices.taken(notice, _CLAIM_SECONDS)

    def _failed(self, notice: Notice, error: str) -> None:
        self.counts["failed"] += 1
        pause = pause_after(notice.tries)
        _log.warning("notice %s was not taken: %s; tried again in %.0f seconds", notice.id, error, pause)
        self._store.notices.postpone(notice, pause, error[:_LONGEST_ERROR])

    def _drop_old(self) -> None:
        if time.monotonic() < self._looked + _DROP_EVERY:
            return
        if dropped := self._store.notices.drop_old():
            self.counts["dropped"] += dropped
            _log.error("%d notices were dropped: they waited for too long, or too many waited", dropped)
        self._looked = time.monotonic()
