"""Threads in which a server does something again and again, as long as it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from .db.errors import UNUSABLE, driver_message
from .threads import start_thread

__all__ = ["Rounds"]

_log = logging.getLogger(__name__)


class Rounds:
    """Does each piece of `work` again and again, in a thread of its own, until it is stopped.

    One piece that takes long, or fails, delays no other. `name` begins the names of the threads. `pause` returns the
    seconds between two rounds.
    """

    def __init__(self, name: str, work: Mapping[str, Callable[[], None]], pause: Callable[[], float]) -> None:
        self._name = name
        self._pause = pause
        #: Set when the rounds are to end; a piece of work with many steps looks at it.
        self.stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name=f"xwrap-{name}-{part}", daemon=True)
            for part, one in work.items()
        ]

    def start(self) -> None:
        """Start the threads. Raises SetupError when the system gives too few."""
        for thread in self._threads:
            start_thread(thread)

    def stop(self) -> None:
        """Stop the threads; what one of them is doing is not waited for longer than a second."""
        self.stopping.set()
        deadline = time.monotonic() + 1.0
        for thread in filter(threading.Thread.is_alive, self._threads):  # Not each one was started, if that failed.
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _run(self, work: Callable[[], None]) -> None:
        while not self.stopping.is_set():
            try:
                work()
            except UNUSABLE as error:
                _log.error("a round of the %s failed: %s; the next one follows", self._name, driver_message(error))
            except Exception:
                _log.exception("a round of the %s failed; the next one follows", self._name)
            self.stopping.wait(self._pause())
