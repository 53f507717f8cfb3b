"""One of several server processes that share a port: what runs in a process that `supervisor` has started.

It speaks with the supervisor over a socket, in lines of JSON. The socket also tells it that the supervisor is gone:
then it stops as at SIGTERM, so that no worker is left which nobody replaces or stops.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .metric_sums import Numbers
from .settings import Settings
from .setup_errors import setup_line

if TYPE_CHECKING:
    from .services import Services

__all__ = ["Channel", "work"]

#: Seconds for which a call waits for the numbers of the other workers; the supervisor waits a second for each.
_SECONDS = 3.0


def work(settings: Settings, listener: socket.socket, channel: socket.socket) -> None:
    """Serve on `listener` until SIGTERM, or until the other end of `channel` is closed."""
    # Ctrl-C is for the supervisor alone: together with its SIGTERM it would be a second signal.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # As in `serve_command`; the server turns it on when it is ready.
    gc.disable()
    # Here, so that the supervisor, which only names this function, does not load what a server needs.
    from . import runner

    stop = runner.Stop()
    supervisor = Channel(channel, lambda: stop("the process that started the workers is gone"))
    try:
        runner.serve(settings, listener, stop, supervisor.report, supervisor.set_ready)
    except Exception as error:
        if (failure := setup_line(error)) is None:
            raise
    else:
        failure = stop.line
    if failure is not None:
        supervisor.send({"failed": failure})
    runner.end_process(0 if failure is None else 1)


class Channel:
    """The worker's end of the socket to the supervisor."""

    def __init__(self, channel: socket.socket, on_end: Callable[[], None]) -> None:
        """`on_end` is called, in another thread, when the supervisor is gone."""
        self._channel = channel
        self._on_end = on_end
        self._lock = threading.Lock()
        #: Set when connections are accepted.
        self._services: Services | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: One call at a time waits for the numbers of the others.
        self._asks = threading.Lock()
        self._answered = threading.Event()
        self._others: list[Numbers] = []
        threading.Thread(target=self._read, name="xwrap-supervisor", daemon=True).start()

    def report(self, line: str) -> None:
        """Let the supervisor print a line, once for all workers."""
        self.send({"line": line})

    def set_ready(self, services: Services) -> None:
        """Let the supervisor know that connections are accepted; from now on it may ask. Called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._services = services
        services.metrics.numbers_of_others = self.numbers_of_others
        self.send({"ready": True})

    def numbers_of_others(self, own: Numbers) -> list[Numbers]:
        """Return the numbers of the other workers, also of those that ended. Raises TimeoutError.

        `own` are kept, so that what is shown now is not more than what another worker shows when this one has died.
        """
        with self._asks:
            self._answered.clear()
            self.send({"numbers": own, "collect": True})
            if not self._answered.wait(_SECONDS):
                raise TimeoutError
            return self._others

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; to a supervisor that is gone nothing is sent."""
        with self._lock, suppress(OSError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        with suppress(OSError), self._channel.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "others" in message:
                    self._others = message["others"]
                    self._answered.set()
                elif "alive" in message:
                    self._wait_for_loop()
                    self.send(message)
                elif self._services is not None:
                    self.send({"numbers": self._services.metrics.numbers(), "collect": False})
        self._on_end()

    def _wait_for_loop(self) -> None:
        """Return when the event loop has come to do something: one that stands still lets the supervisor wait, too."""
        came = threading.Event()
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed when the server stops
                self._loop.call_soon_threadsafe(came.set)
                came.wait()
