"""A server that can be killed or stopped at a named point: for tests alone.

It reads one line of JSON per life from standard input - {"settings": {...}, "point": "after-sending", "hit": 3,
"journal": "orders", "ahead": 0} - and forks a server process for it, which prints "lives PID" and "serves at URL". It
kills itself with SIGKILL when something of this journal comes to the point for the `hit`-th time. When the process has
ended, for whatever reason, "ended STATUS" is printed (a signal's number is negative), and before it "failed: REASON"
when it raised. `ahead`: seconds that the clock of that life is ahead. With "stop": "after-sending" it stops itself with
SIGSTOP instead, once, when something of either journal comes to that point, and goes on at SIGCONT. "limit": a limit of
its threads or its memory, see limits.py. "paper_clock": a file with the Unix time at which the paper exchange is.

With "workers" among the settings the process is the supervisor of `xwrap serve --workers N`, and these are its own
worker processes; they import this module, too, and are prepared here. "workers_folder": where each makes a file
"ready-PID" when it serves, and looks for a file "kill" with a point, a hit and a journal: the first worker that comes
there so often renames it to "killed-PID" and kills itself.

Nothing of the package knows of this: the points are reached by wrapping the journal, what adapters send with, and the
connection below them. All modules are loaded once, so a life begins within some tens of milliseconds.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import alembic.command  # noqa: F401 - loaded once, for every life
import sqlalchemy.dialects.sqlite  # noqa: F401
import uvicorn.lifespan.off
import uvicorn.loops.auto
import uvicorn.protocols.http.auto
import uvicorn.protocols.websockets.auto  # noqa: F401

from bitmm.xwrap import _fast_path
from bitmm.xwrap.exchanges import EXCHANGES, load
from bitmm.xwrap.exchanges import http as http_of_exchanges
from bitmm.xwrap.server import paper, runner, supervisor, worker
from bitmm.xwrap.server.db.journal import Journal
from bitmm.xwrap.server.db.postgresql import PostgreSQL
from bitmm.xwrap.server.db.sqlite import SQLite
from bitmm.xwrap.server.settings import Settings
from tests.stress.limits import Limit, set_limit

#: What a life can end at, in the order in which one order, or one send, comes along.
POINTS = {
    "before-intent": "before the intent is committed",
    "before-sending": "after it, before sending",
    "after-sending": "after sending, before the answer",
    "before-outcome": "after the answer, before the outcome is committed",
    "before-reply": "after that, before the reply",
}


class OrderProgress(threading.local):
    """Where this thread is on the way of an order or a send."""

    #: The journal that has it.
    journal: str | None = None
    #: The point that the commit of a write of this thread is behind.
    commit: str | None = None
    #: The request on its way moves money.
    mutates = False


progress = OrderProgress()

#: The variable of the environment with which workers are told of their life.
WORKERS = "LIFE_OF_WORKERS"

#: Called with the point and the journal of what has come to a point.
Reach = Callable[[str | None, str | None], None]
#: How long the first one at the point of a stop waits for others, in seconds.
GATHER_SECONDS = 0.3


def kill_at(point: str, hit: int, journal: str) -> None:
    """From now on the process kills itself when something of `journal` comes to `point` for the `hit`-th time."""
    lock, left = threading.Lock(), hit

    def reach(here: str | None, of: str | None) -> None:
        nonlocal left
        if (here, of) == (point, journal):
            with lock:
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

    call_at_points(reach)


def kill_when_told(folder: Path) -> None:
    """From now on this worker looks at each point whether a file says that one is to be killed there."""
    order, lock, hits = folder / "kill", threading.Lock(), Counter[str]()

    def reach(here: str | None, of: str | None) -> None:
        try:
            text = order.read_text()
        except FileNotFoundError:
            return
        told = json.loads(text)
        if (here, of) == (told["point"], told["journal"]):
            with lock:
                hits[text] += 1
                if hits[text] >= told["hit"]:
                    with suppress(FileNotFoundError):
                        order.rename(folder / f"killed-{os.getpid()}")
                        os.kill(os.getpid(), signal.SIGKILL)

    call_at_points(reach)


def stop_at(point: str) -> None:
    """The process stops itself, once, when something has come to `point`; all that come there meanwhile stand there."""
    first, over = threading.Lock(), threading.Event()

    def stop() -> None:
        time.sleep(GATHER_SECONDS)
        os.kill(os.getpid(), signal.SIGSTOP)
        over.set()

    def reach(here: str | None, _of: str | None) -> None:
        if here == point and not over.is_set():
            if first.acquire(blocking=False):
                threading.Thread(target=stop, daemon=True).start()
            over.wait()

    call_at_points(reach)


def call_at_points(reach: Reach) -> None:
    """From now on `reach` is called at every point."""

    def wrap_journal(name: str, before: str, after: str | None) -> None:
        real = getattr(Journal, name)

        def wrapped(self: Journal, *args: Any, **kwargs: Any) -> Any:
            progress.journal, progress.commit = self.name, before
            try:
                result = real(self, *args, **kwargs)
            finally:
                progress.commit = None
            reach(after, self.name)
            return result

        setattr(Journal, name, wrapped)

    wrap_journal("begin", "before-intent", None)
    wrap_journal("finish", "before-outcome", "before-reply")

    for engine in (SQLite, PostgreSQL):
        engine.write = _wrap_write(engine.write, reach)  # type: ignore[method-assign]

    real_send = http_of_exchanges.send
    for module in list(sys.modules.values()):
        if getattr(module, "send", None) is real_send:
            module.send = _wrap_send(real_send, reach)  # type: ignore[attr-defined]

    def wrap_answer(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            # By now the whole request has been given to the kernel.
            if progress.mutates:
                reach("after-sending", progress.journal)
            return real(*args, **kwargs)

        return wrapped

    connection = http.client.HTTPConnection
    connection.getresponse = wrap_answer(connection.getresponse)  # type: ignore[method-assign]
    _fast_path._receive = wrap_answer(_fast_path._receive)


def _wrap_write(real: Any, reach: Reach) -> Any:
    def write(self: Any, work: Any, **kwargs: Any) -> Any:
        here = progress.commit, progress.journal

        def traced(runner: Any) -> Any:
            result = work(runner)
            # It is written, and not committed; another thread may be doing this.
            reach(*here)
            return result

        return real(self, traced, **kwargs)

    return write


def _wrap_send(real: Any, reach: Reach) -> Any:
    def send(*args: Any, mutates: bool, **kwargs: Any) -> Any:
        if mutates:
            reach("before-sending", progress.journal)
        progress.mutates = mutates
        try:
            return real(*args, mutates=mutates, **kwargs)
        finally:
            progress.mutates = False

    return send


def set_clock_ahead(seconds: float) -> None:
    """The clock of this process is `seconds` ahead; its monotonic one stays."""
    real_time, real_ns, real_datetime = time.time, time.time_ns, dt.datetime

    class Ahead(real_datetime):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) + dt.timedelta(seconds=seconds)

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 10**9)
    for module in list(sys.modules.values()):
        if module.__name__.startswith("bitmm.") and getattr(module, "datetime", None) is real_datetime:
            module.datetime = Ahead  # type: ignore[attr-defined]


def set_paper_clock(file: Path) -> None:
    """The clock of the paper exchange, and no other, stands at the Unix time in `file`."""

    def read() -> float:
        return float(file.read_text(encoding="ascii"))

    paper.PaperConfig = partial(paper.PaperConfig, clock=read)  # type: ignore[assignment, misc]


def run_server(command: dict[str, Any]) -> None:
    """One life of the server, until it is stopped or comes to its point."""
    prepare(command)
    os.environ[WORKERS] = json.dumps(command)
    print(f"lives {os.getpid()}", flush=True)
    given = command["settings"]
    data, exchanges = Path(given.pop("data")), tuple(given.pop("exchanges"))
    settings = Settings.read(os.environ, data=data, exchanges=exchanges, **given)
    limit: Limit | None = command.get("limit")

    def report(line: str) -> None:
        if limit and limit["since"] == "serves" and " serves " in line:
            set_limit(limit)
        print(line.removeprefix("XWrap "), flush=True)

    if limit and limit["since"] == "start":
        set_limit(limit)
    if settings.workers == 1:
        runner.run(settings, report)
    else:
        # Workers that are killed again and again are replaced at once.
        supervisor._LASTING = 0.0
        supervisor.run(settings, report)


def prepare(command: dict[str, Any]) -> None:
    """Prepare a process that will serve for its life."""
    if command.get("point"):
        kill_at(command["point"], command["hit"], command["journal"])
    if command.get("stop"):
        stop_at(command["stop"])
    if command.get("ahead"):
        set_clock_ahead(command["ahead"])
    if command.get("paper_clock"):
        set_paper_clock(Path(command["paper_clock"]))


def prepare_worker(command: dict[str, Any]) -> None:
    """Prepare a worker process, before it begins."""
    prepare_all()
    prepare(command)
    folder, set_ready = Path(command["workers_folder"]), worker.Channel.set_ready
    kill_when_told(folder)

    def note_ready(self: Any, services: Any) -> None:
        set_ready(self, services)
        (folder / f"ready-{os.getpid()}").touch()

    worker.Channel.set_ready = note_ready  # type: ignore[method-assign]


def prepare_all() -> None:
    """Prepare whatever the life will be."""
    logging.disable(logging.CRITICAL)
    for name in EXCHANGES:
        # Thousands of orders cannot wait for minutes each; see tests/integration/test_lost_answers.py for that.
        load(name).valid_seconds = 0.0


def main() -> None:
    prepare_all()
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if not child:
            try:
                run_server(command)
            except Exception as error:
                print(f"failed: {type(error).__name__}: {error}", flush=True)
                os._exit(1)
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # The supervisor has started a worker; it imports what is the main module there (multiprocessing, "spawn").
    prepare_worker(json.loads(os.environ[WORKERS]))
