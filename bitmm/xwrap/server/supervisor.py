"""`xwrap serve --workers N`: N server processes that share a port, and a process that starts, replaces, stops them.

The work is shared through PostgreSQL alone, as by servers on several machines. The port is shared as one socket, on
which all workers listen: a connection that waits there is taken by another worker when one dies. With a socket for each
(SO_REUSEPORT) the kernel would reset those that wait at the socket of the worker that dies.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from typing import Any

from .. import __version__
from .allocator import freeze_objects
from .call_log import log_with
from .listening import ServeError, bind, url_of
from .logs import log_to_stderr
from .metric_sums import Numbers, add_up, counted, numbers_of
from .settings import Settings
from .worker import work

__all__ = ["run"]

_log = logging.getLogger(__name__)

#: Seconds before a worker that died is replaced: at once, then later and later when it dies again and again.
_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: One that served for so many seconds did not die again and again.
_LASTING = 60.0
#: Seconds for which the numbers of a worker are waited for; one that stands still has its last ones.
_NUMBERS_SECONDS = 1.0
#: A worker that serves is asked every so many seconds whether it does, and is killed when it did not answer so often:
#: it stands still, and its connections with it. No time is measured, because this process may have stood still, too.
_WATCH_SECONDS, _MOST_SILENT = 5.0, 6
#: A worker that stops waits for what is in flight, and so many seconds more may pass until it has ended.
_END_SECONDS = 12.0
#: The numbers of a worker are one line.
_LONGEST_LINE = 16 * 2**20


def run(settings: Settings, report: Callable[[str], None]) -> None:
    """Serve with several processes until SIGTERM or Ctrl-C. `report` is called with each line for a person.

    Raises SetupError when they cannot start.
    """
    if settings.database_url is None:
        raise ServeError(
            f"{settings.workers} workers need PostgreSQL, in XWRAP_DATABASE_URL; SQLite serves one process: --workers 1"
        )
    if os.name != "posix":
        raise ServeError("several workers need Linux, macOS or another POSIX system; take --workers 1")
    freeze_objects()
    with bind(settings) as listener, log_to_stderr(settings.log_level, settings.log_format):
        asyncio.run(_Supervisor(settings, listener, report).run())
    report("XWrap has stopped")


class _Supervisor:
    """Keeps the workers of one command running."""

    def __init__(self, settings: Settings, listener: socket.socket, report: Callable[[str], None]) -> None:
        self._settings = settings
        self._listener = listener
        self._url = url_of(listener)
        self._report = report
        self._reported: set[str] = set()
        self._stopping = asyncio.Event()
        self._workers: dict[int, _Worker] = {}
        self._is_serving = False
        self._deaths = 0
        #: What workers counted that ended, as of the last time when somebody asked.
        self._gone: Numbers = []

    async def run(self) -> None:
        """Keep the workers running until a signal comes. Raises ServeError when one cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        keepers = [asyncio.create_task(self._run_worker(number)) for number in range(1, self._settings.workers + 1)]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({stopping, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not self._stopping.is_set():
                self._stop()
            await self._wait_for_end(keepers)
        if errors := [error for keeper in keepers if (error := keeper.exception())]:
            raise errors[0]

    def _stop(self) -> None:
        """Let the workers answer what is in flight, and end; when it is called again, end at once."""
        is_first = not self._stopping.is_set()
        self._stopping.set()
        self._listener.close()
        for worker in self._workers.values():
            worker.signal(signal.SIGTERM if is_first else signal.SIGINT)

    async def _wait_for_end(self, keepers: list[asyncio.Task[None]]) -> None:
        seconds = self._settings.stop_seconds + _END_SECONDS
        _, late = await asyncio.wait(keepers, timeout=seconds)
        if late:
            for worker in self._workers.values():
                worker.signal(signal.SIGKILL)
            await asyncio.wait(late)

    async def _run_worker(self, number: int) -> None:
        """Start one worker, and another one in its place whenever it ends. Raises ServeError when none can start."""
        deaths = 0
        while not self._stopping.is_set():
            worker = self._workers[number] = _Worker(self, number)
            began = time.monotonic()
            status = await worker.run(self._settings, self._listener)
            del self._workers[number]
            self._gone = numbers_of(add_up(self._gone, [counted(worker.numbers)]))
            if self._stopping.is_set():
                return
            if not self._is_serving and status > 0:
                raise ServeError(worker.failure or f"worker {number} could not start; what is above says why")
            self._deaths += 1
            deaths = 1 if time.monotonic() - began > _LASTING else deaths + 1
            pause = _PAUSES[min(deaths, len(_PAUSES)) - 1]
            log_with(
                _log,
                logging.ERROR,
                "a worker ended, and another one takes its place",
                worker=number,
                pid=worker.pid,
                reason=worker.failure or _status_text(status),
                pause_seconds=pause,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def note_ready(self, worker: _Worker) -> None:
        """Note that a worker accepts connections; when all do, say so."""
        log_with(_log, logging.INFO, "a worker has started", worker=worker.number, pid=worker.pid)
        if (
            not self._is_serving
            and len(self._workers) == self._settings.workers
            and all(each.is_ready for each in self._workers.values())
        ):
            self._is_serving = True
            log_with(
                _log,
                logging.INFO,
                "the server has started",
                url=self._url,
                version=__version__,
                workers=self._settings.workers,
            )
            self._report(f"XWrap serves at {self._url}")

    def report_once(self, line: str) -> None:
        """Print a line that every worker may have to say."""
        if line not in self._reported:
            self._reported.add(line)
            self._report(line)

    async def collect(self, asker: _Worker) -> list[Numbers]:
        """Return the numbers of all workers but `asker`, of those that ended, and of the supervisor itself."""
        await asyncio.gather(*(each.ask_numbers() for each in self._workers.values() if each is not asker))
        others = [each for each in self._workers.values() if each is not asker]
        living = [each.numbers if each.is_ready else counted(each.numbers) for each in others]
        return [*living, self._gone, self._numbers()]

    def _numbers(self) -> Numbers:
        serving = sum(worker.is_ready for worker in self._workers.values())
        deaths = "xwrap_worker_deaths"
        return [
            ("xwrap_workers", "Server processes that serve", "gauge", [("xwrap_workers", {}, serving)]),
            (
                deaths,
                "Server processes that ended and were replaced",
                "counter",
                [(f"{deaths}_total", {}, self._deaths)],
            ),
        ]


class _Worker:
    """One server process, seen from the supervisor."""

    def __init__(self, supervisor: _Supervisor, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.is_running = True
        self.is_ready = False
        #: Why it ended, in its own words.
        self.failure: str | None = None
        #: As of the last time when it was asked, or asked for those of the others.
        self.numbers: Numbers = []
        self._supervisor = supervisor
        self._answered = asyncio.Event()
        #: It has answered since it was asked last whether it serves.
        self._is_alive = True
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, settings: Settings, listener: socket.socket) -> int:
        """Start it, do what it asks for until it has ended, and return its exit status; negative: that of a signal."""
        ours, theirs = socket.socketpair()
        try:
            process = _start(settings, listener, theirs)
        except OSError as error:
            ours.close()
            self.is_running, self.failure = False, f"the system starts no further process: {error.strerror}"
            return 1
        finally:
            theirs.close()
        self.pid = process.pid
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE)
        self._start_task(self._watch())
        with suppress(ConnectionError):
            # The end of the socket is that of the process, which may be killed within a line.
            while (line := await reader.readline()).endswith(b"\n"):
                self._handle(json.loads(line))
        self.is_ready = False
        for task in self._tasks:
            task.cancel()
        self._writer.close()
        await asyncio.to_thread(process.join)
        status, self.is_running = process.exitcode or 0, False
        process.close()
        return status

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.is_running and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _watch(self) -> None:
        """Kill it when it stands still."""
        silent = 0
        while silent < _MOST_SILENT:
            await asyncio.sleep(_WATCH_SECONDS)
            silent = 0 if self._is_alive else silent + 1
            if self.is_ready:
                self._is_alive = False
                self._send({"alive": True})
        self.failure = f"it stood still for {_WATCH_SECONDS * _MOST_SILENT:.0f} seconds"
        self.signal(signal.SIGKILL)

    async def ask_numbers(self) -> None:
        """Have it bring `numbers` up to date, if it serves, for a second at most."""
        if not self.is_ready:
            return
        self._answered.clear()
        self._send({"ask": True})
        with suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), _NUMBERS_SECONDS)

    def _handle(self, message: dict[str, Any]) -> None:
        if "line" in message:
            self._supervisor.report_once(message["line"])
        elif "ready" in message:
            self.is_ready = True
            self._supervisor.note_ready(self)
        elif "alive" in message:
            self._is_alive = True
        elif "failed" in message:
            self.failure = message["failed"]
        elif "numbers" in message:
            self.numbers = message["numbers"]
            self._answered.set()
            if message["collect"]:
                self._start_task(self._send_others())

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_others(self) -> None:
        self._send({"others": await self._supervisor.collect(self)})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")


def _start(settings: Settings, listener: socket.socket, channel: socket.socket) -> SpawnProcess:
    """Start a worker: a program of its own, which has these three and nothing else of this process."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(settings, listener, channel))
    # Ctrl-C reaches it, too, until it has left our process group. It would end with a traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _status_text(status: int) -> str:
    return f"it ended with status {status}" if status >= 0 else f"it was ended by {signal.Signals(-status).name}"
