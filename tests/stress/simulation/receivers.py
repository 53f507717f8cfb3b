"""Who gets messages: the local exchange, and the server in its process that may be killed and started again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from . import parts
from .network import REFUSED, RESET, Answer, Reply
from .scheduler import Host, Process, Scheduler

#: How long it takes until a server that could not start is started again, in seconds.
RESTART_SECONDS = 1.0
SERVER_HOST, EXCHANGE_HOST = "xwrap.test", "exchange.test"


class Exchange:
    """A local exchange. `on_answer` is called after each request, when the ledger may have grown."""

    def __init__(self, host: Host, venue: Any, on_answer: Callable[[], None]) -> None:
        self.name, self.host, self.venue = "exchange", host, venue
        self._on_answer = on_answer

    def receive(self, request: Any, reply: Reply) -> None:
        answer = self.venue.answer(self.as_received(request))
        self._on_answer()
        reply(Answer(answer.status, dict(answer.headers), answer.body))

    @staticmethod
    def as_received(request: Any) -> Any:
        """Return a request of the client side as the local exchanges have it."""
        url = urlsplit(request.url)
        headers = parts.CaseInsensitiveDict({"Host": url.netloc, **request.headers})
        return parts.messages.Request(request.method, url.path, url.query, headers, request.body or b"")


class Server:
    """The XWrap on its data folder. While no process of it lives, connections are refused."""

    def __init__(
        self,
        scheduler: Scheduler,
        host: Host,
        settings: Any,
        log: Callable[[str], None],
        disk_is_full: Callable[[], bool],
        on_answer: Callable[[Any, Answer, float], None],
        on_start: Callable[[Process], None] = lambda _process: None,
    ) -> None:
        """`on_answer` is called with a request, its answer, and when the request came; `on_start` with each process."""
        self.name, self.host = host.name, host
        self._scheduler = scheduler
        self._settings = settings
        self._log = log
        self._disk_is_full, self._on_answer, self._on_start = disk_is_full, on_answer, on_start
        self._process: Process | None = None
        self._app: Any = None
        #: The callers that wait for an answer of this process.
        self._callers: dict[Reply, None] = {}
        self.starts = 0

    def start(self, kill_at: int | None = None) -> None:
        """Start a process; it serves when its services have been created."""
        if self._process is not None:
            return
        self.starts += 1
        self._process = Process(f"{self.name} {self.starts}", self.host, kill_at=kill_at, on_kill=self.kill)
        self._on_start(self._process)
        self._scheduler.spawn(self._process, "main", self._serve)

    @property
    def process(self) -> Process | None:
        return self._process

    @property
    def services(self) -> Any:
        return None if self._app is None else self._app.state.services

    def _serve(self) -> None:
        try:
            services = parts.services.create_services(self._settings, self._must_stop, self._log)
        except (parts.DatabaseError, parts.SetupError) as error:
            if not self._disk_is_full():
                raise
            # A service manager starts it again, until the disk takes what is written.
            self._log(f"{self.name} {self.starts} cannot start: {error}")
            self._scheduler.at(RESTART_SECONDS, self.start)
            self.kill()
            return
        self._app = parts.create_app(services)
        self._log(f"{self.name} {self.starts} serves")

    def copy_database(self) -> dict[Path, bytes]:
        """Return the content of the data base's files as they are now."""
        database = self._settings.database
        return {path: path.read_bytes() for path in _files(self._settings.data) if path.name in _names(database)}

    def replace_database(self, copy: dict[Path, bytes]) -> None:
        """Put an older copy in the data base's place, while no process lives."""
        for path in self.copy_database():
            path.unlink()
        for path, content in copy.items():
            path.write_bytes(content)

    def _must_stop(self, line: str) -> None:
        raise AssertionError(f"the server wants to stop: {line}")

    def kill(self) -> None:
        """End the process at once, as SIGKILL does: what was not committed is gone, what was sent is on its way."""
        process, self._process, self._app = self._process, None, None
        if process is None:
            return
        self._log(f"{process.name} is killed at its point {process.points}")
        process.alive = False
        _close_as_killed(process, self._settings.data)
        for reply in self._callers:
            self._scheduler.at(0.0, lambda reply=reply: reply(RESET))
        self._callers.clear()

    def receive(self, request: Any, reply: Reply) -> None:
        if self._app is None:
            reply(REFUSED)
            return
        app, came = self._app, self._scheduler.now
        self._callers[reply] = None

        def carry_out() -> None:
            answer = _call(app, request)
            self._on_answer(request, answer, came)
            if self._callers.pop(reply, 0) is None:
                reply(answer)

        self._scheduler.spawn(self._process, f"{request.method} {urlsplit(request.url).path}", carry_out)


class Balancer:
    """Gives each request to one of the servers that serve, as a kernel or a load balancer does.

    What it sends again goes to the same one. Where the two go to two servers, one of them may answer that the exchange
    cannot be reached while the other one has not begun yet, and executes: load balancers must not repeat a POST there.
    """

    def __init__(self, scheduler: Scheduler, rng: Random, servers: Sequence[Server]) -> None:
        self.name, self.host = "server", Host("balancer")
        self._scheduler, self._rng, self._servers = scheduler, rng, servers
        #: The servers that requests were given to, which are kept here so that an id is that of one request.
        self._given: dict[int, tuple[Any, Server]] = {}

    def receive(self, request: Any, reply: Reply) -> None:
        serving = [server for server in self._servers if server.services is not None]
        if not serving:
            reply(REFUSED)
            return
        _, server = self._given.get(id(request), (request, self._rng.choice(serving)))
        if server not in serving:
            server = self._rng.choice(serving)
        self._given[id(request)] = request, server
        self._scheduler.at(0.0, lambda: server.receive(request, reply), server.host)


def _call(app: Any, request: Any) -> Answer:
    """Return what an ASGI application answers. It never waits for an event loop."""
    url = urlsplit(request.url)
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(b"host", SERVER_HOST.encode()), *headers],
        "client": ("127.0.0.1", 50000),
        "server": (SERVER_HOST, 443),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body or b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    call = app(scope, receive, send)
    try:
        call.send(None)
    except StopIteration:
        pass
    else:
        raise AssertionError("the application waits for an event loop")
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body)


def _close_as_killed(process: Process, folder: Path) -> None:
    """Close a process' connections to its data base, and leave the files as they are now.

    Closing the last connection would tidy up what a killed process leaves behind.
    """
    files = {path: path.read_bytes() for path in _files(folder) if not path.name.endswith("-shm")}
    for close in process.closers:
        close()
    for path in _files(folder):
        if path not in files:
            path.unlink()
    for path, content in files.items():
        path.write_bytes(content)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def _names(database: Path) -> tuple[str, ...]:
    return tuple(f"{database.name}{end}" for end in ("", "-wal", "-shm"))
