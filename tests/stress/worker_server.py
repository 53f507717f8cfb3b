"""`xwrap serve --workers N` as a program of its own, on a fresh PostgreSQL data base; its log tells of the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from tests.stress.harness import LONGEST_WAIT, HarnessError, is_alive
from tests.support.databases import drop_database, new_database

__all__ = ["PASSWORD", "USER", "WorkerServer", "serve_with_workers"]

#: Those of `tests.benchmarks.server`, whose requests are sent to these servers, too.
USER, PASSWORD = "ann", "a password for the benchmark"


@dataclass(frozen=True)
class Started:
    """A worker that serves."""

    worker: int
    pid: int
    at: float


class WorkerServer:
    """A running server with its workers, and an account."""

    def __init__(self, url: str, database: str, process: subprocess.Popen[str]) -> None:
        self.url, self.database, self.pid = url, database, process.pid
        self.auth = USER, PASSWORD
        #: All workers that began to serve, also those that were killed since.
        self.started: list[Started] = []
        #: The seconds that the supervisor waited before each replacement.
        self.pauses: list[float] = []

    def live(self) -> list[Started]:
        """Return the workers that serve now."""
        # The id of one that was replaced may be that of another process or thread by now.
        newest = {worker.worker: worker for worker in self.started}
        return [worker for worker in newest.values() if is_alive(worker.pid)]

    def replacement(self, of: Started) -> Started | None:
        """Return the worker that took the place of one that was killed, when it serves."""
        return next((one for one in self.started if one.worker == of.worker and one.at > of.at), None)

    def register(self, exchange: str, *, name: str = USER, **form: str) -> int:
        """Return the id of a new registration of the account with this name, which has the same password."""
        answer = requests.post(
            f"{self.url}/exchanges/", data={"exchange": exchange, **form}, auth=(name, PASSWORD), timeout=30
        )
        answer.raise_for_status()
        return int(answer.json()["id"])

    def wait_until(self, is_so: Callable[[], bool], failure: str) -> None:
        end = time.monotonic() + LONGEST_WAIT
        while not is_so():
            if time.monotonic() > end:
                raise HarnessError(f"{failure} within {LONGEST_WAIT:.0f} s")
            time.sleep(0.01)

    def read_log(self, line: str) -> None:
        entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
        match entry.get("message"):
            case "a worker has started":
                self.started.append(Started(entry["worker"], entry["pid"], time.monotonic()))
            case "a worker ended, and another one takes its place":
                self.pauses.append(entry["pause_seconds"])


@contextmanager
def serve_with_workers(base: str, workers: int, **environ: str) -> Iterator[WorkerServer]:
    """Give a server with so many workers on a new data base of the PostgreSQL at `base`; stop it at the end."""
    database = new_database(base)
    store = Store(database)
    store.prepare()
    store.accounts.add(USER, hash_password(PASSWORD))
    store.close()
    command = [sys.executable, "-m", "bitmm.xwrap", "serve", "--port", "0", "--log-json", "--workers", str(workers)]
    given = {"XWRAP_DATABASE_URL": database, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    with tempfile.TemporaryDirectory(prefix="xwrap-workers-") as folder:
        process = subprocess.Popen(
            [*command, "--data", folder],
            env={**{name: value for name, value in os.environ.items() if not name.startswith("XWRAP_")}, **given},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        server = WorkerServer("", database, process)
        words: list[str] = []

        def read() -> None:
            for line in process.stderr:
                words.append(line)
                server.read_log(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            server.url = next((line.split()[-1] for line in process.stdout if "serves at" in line), "")
            if not server.url:
                reader.join()
                raise HarnessError(f"the server did not start: {''.join(words[-5:])}")
            # One worker is the server itself, which says nothing of workers.
            server.started += [Started(1, process.pid, time.monotonic())] if workers == 1 else []
            yield server
        finally:
            process.terminate()
            process.wait(LONGEST_WAIT)
            reader.join()
            process.stdout.close()
            process.stderr.close()
            drop_database(base, database)
