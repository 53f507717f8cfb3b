"""Start and stop a server: in the foreground until a signal comes, or in the background of a program."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Any, cast

import uvicorn

from .. import __version__
from .accepting import Acceptor
from .allocator import freeze_objects, use_few_arenas
from .app import create_app
from .call_log import log_with
from .connections import Connections
from .db.files import lock_file, make_private_folder, open_private
from .descriptors import most_connections, raise_descriptor_limit
from .listening import ServeError, bind, url_of
from .logs import log_to_stderr
from .metrics import Watched
from .paper import PaperFactory, create_paper
from .protocol import BoundedProtocol
from .services import Services, create_services
from .settings import Settings
from .threads import start_thread

_log = logging.getLogger(__name__)

__all__ = ["ServeError", "Stop", "end_process", "process_lock", "run", "run_in_background", "serve"]


class _Server(uvicorn.Server):
    """uvicorn's server; it calls `ready` when it accepts connections, and `stopping` when it takes no more of them."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None], *, is_shared: bool
    ) -> None:
        """`is_shared`: other processes take connections from the same socket."""
        super().__init__(config)
        self._is_shared = is_shared
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._is_shared:
            await super().startup([])
            self.servers = [cast("Any", Acceptor(each, self.config.backlog, self._protocol)) for each in sockets or ()]
        else:
            await super().startup(sockets)
        self._ready()

    def _protocol(self) -> asyncio.Protocol:
        """Return what uvicorn makes for each connection."""
        make = cast("Any", self.config.http_protocol_class)
        return cast(
            "asyncio.Protocol",
            make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


class Stop:
    """Stops the server when something is called that must end it; `line` says why."""

    def __init__(self) -> None:
        self.line: str | None = None
        self._server: _Server | None = None

    def __call__(self, line: str) -> None:
        self.line = line
        self._exit()

    def set_server(self, server: _Server) -> None:
        self._server = server
        self._exit()

    def _exit(self) -> None:
        if self._server is not None and self.line is not None:
            self._server.should_exit = True


def run(settings: Settings, report: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `report` is called with each line that a person should read.

    Raises SetupError or OSError when the server cannot start, and SetupError when it must not go on.
    """
    with bind(settings) as listener:
        url = url_of(listener)

        def report_start(_services: Services) -> None:
            log_with(_log, logging.INFO, "the server has started", url=url, version=__version__)
            report(f"XWrap serves at {url}")

        stop = Stop()
        serve(settings, listener, stop, report, report_start)
    report("XWrap has stopped")
    if stop.line is not None:
        raise ServeError(stop.line)
    end_process(0)


def serve(
    settings: Settings,
    listener: socket.socket,
    stop: Stop,
    report: Callable[[str], None],
    ready: Callable[[Services], None],
) -> None:
    """Serve on `listener` until SIGTERM, SIGINT or `stop`; `ready` is called when connections are accepted.

    Raises SetupError or OSError when the server cannot start.
    """
    raise_descriptor_limit()
    use_few_arenas()
    with log_to_stderr(settings.log_level, settings.log_format) as count_dropped:
        with _open_services(settings, report, stop) as services:
            words = "Lines of the log that could not be written"
            services.metrics.watch(
                Watched("counter", "xwrap_log_lines_dropped", words, (), lambda: {(): count_dropped()})
            )

            def started() -> None:
                freeze_objects()
                ready(services)

            server = _server(services, started)
            stop.set_server(server)
            # uvicorn stops at the first signal and raises it again when it has stopped; by then there is nothing left
            # to do.
            signal.signal(signal.SIGTERM, lambda *_: None)
            signal.signal(signal.SIGINT, lambda *_: None)
            server.run(sockets=[listener])
        log_with(_log, logging.INFO, "the server has stopped", reason=stop.line)


def end_process(status: int) -> None:
    """End this process with a status; do not wait for threads that still wait for an exchange.

    What they wait for is in the journal; the next start asks what became of it.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


@contextmanager
def run_in_background(settings: Settings, paper: PaperFactory = create_paper) -> Iterator[str]:
    """Start a server in a thread, give its URL, and stop it at the end of the block; `paper`: see create_services."""
    ready, stop = threading.Event(), Stop()
    with bind(settings) as listener, _open_services(settings, lambda _line: None, stop, paper) as services:
        server = _server(services, ready.set)
        stop.set_server(server)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="xwrap-server")
        start_thread(thread)
        try:
            while not ready.wait(0.05):
                if not thread.is_alive():
                    raise ServeError("the server did not start; its log says why")
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _open_services(
    settings: Settings, report: Callable[[str], None], stop: Callable[[str], None], paper: PaperFactory = create_paper
) -> Iterator[Services]:
    with ExitStack() as lock:
        lock.enter_context(process_lock(settings))
        services = create_services(settings, stop, report, paper)
        if settings.database_url:
            lock.close()
        try:
            if gap := services.store.history.gap():
                report(
                    f"Orders placed after {gap.since:%Y-%m-%d %H:%M:%S} UTC may be missing: {gap.reason}. "
                    "New keys are looked up at their exchanges first, for 30 days or until: xwrap history accept"
                )
            yield services
        finally:
            services.close()


@contextmanager
def process_lock(settings: Settings) -> Iterator[IO[str]]:
    """Hold the lock of the data folder, so that one server process at a time opens it.

    On SQLite it is held while the server runs, and a second server raises ServeError. On PostgreSQL the second waits
    until the first has started: the first may be creating the master key.
    """
    make_private_folder(settings.data)
    with os.fdopen(open_private(settings.data / "lock"), "r+") as lock:
        try:
            lock_file(lock.fileno(), wait=settings.database_url is not None)
        except OSError:
            raise ServeError(f"another XWrap serves from {settings.data}; stop it, or choose another --data") from None
        yield lock


def _server(services: Services, ready: Callable[[], None]) -> _Server:
    settings, app = services.settings, create_app(services)
    connections = Connections(settings, most_connections(settings), services.metrics)
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(BoundedProtocol, connections)),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        # Whose X-Forwarded-For is believed is a setting; see BoundedProtocol.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.stop_seconds),
        limit_concurrency=None,
    )
    return _Server(config, ready, services.stop_waiting, is_shared=settings.workers > 1)
