"""Server processes that share one data base, one account with one key at a local Kraken, and what came of it."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from bitmm.xwrap.testing.exchanges.kraken import KrakenError, KrakenVenue
from tests.support.databases import NoPostgres, drop_database, new_database, server


class CountingKraken(KrakenVenue):
    """A local Kraken that counts the signed calls, and those that it refuses for their nonce or its limit."""

    def __init__(self, **options: Any) -> None:
        self.counts: Counter[str] = Counter()
        super().__init__(**options)

    def _check_nonce(self, account: Any, nonce: str) -> None:
        self.counts["signed"] += 1
        try:
            super()._check_nonce(account, nonce)
        except KrakenError:
            self.counts["nonce refused"] += 1
            raise

    def _count(self, account: Any, method: str) -> None:
        self.counts[method] += 1
        try:
            super()._count(account, method)
        except KrakenError:
            self.counts["limit refused"] += 1
            raise


class ServerGroup:
    """`count` servers on the data base `where`; they know the venue as Kraken."""

    def __init__(self, where: Path | str, folder: Path, venue: CountingKraken, count: int, **environ: str) -> None:
        self.count = count
        self.urls: list[str] = []
        self._folder = folder
        self._processes: list[subprocess.Popen[str]] = []
        self._environ = {
            "PATH": "",
            "PYTHONPATH": ":".join(sys.path),
            "XWRAP_EXCHANGES": "kraken",
            "XWRAP_EXCHANGE_URL_KRAKEN": venue.url,
            "XWRAP_DATABASE_URL": where if isinstance(where, str) else "",
            **environ,
        }
        store = Store(where)
        store.prepare()
        self.auth = "bot", secrets.token_urlsafe(12)
        store.accounts.add(self.auth[0], hash_password(self.auth[1]))
        store.close()

    def start(self, set_back: int = 0) -> None:
        """Start all servers, with their clocks set back by so many seconds."""
        command = [sys.executable, "-m", "tests.stress.server", str(set_back), "serve", "--port", "0"]
        self._processes = [
            subprocess.Popen(
                [*command, "--data", str(self._folder)], env=self._environ, stdout=subprocess.PIPE, text=True
            )
            for _ in range(self.count)
        ]
        self.urls = [self._url(process) for process in self._processes]

    @staticmethod
    def _url(process: subprocess.Popen[str]) -> str:
        for line in process.stdout or ():
            if "serves at" in line:
                return line.split()[-1]
        raise AssertionError(f"a server ended with status {process.wait()}")

    def stop(self) -> None:
        """Stop all servers as a supervisor does, and wait."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.communicate(timeout=30)
        self._processes = []

    def register(self, venue: CountingKraken) -> int:
        """The one registration, with the venue's key; its id."""
        form = {"exchange": "kraken", "apikey": venue.key, "apisecret": venue.secret, "allow_send": "true"}
        answer = requests.post(f"{self.urls[0]}/exchanges/", data=form, auth=self.auth, timeout=30)
        answer.raise_for_status()
        return int(answer.json()["id"])


@contextmanager
def start_servers(
    venue: CountingKraken, *, processes: int, url: str | None, **environ: str
) -> Iterator[tuple[ServerGroup, int]]:
    """Running servers and the registration: on the PostgreSQL at `url`, or one server on SQLite."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-fleet-")))
        where: Path | str = folder / "xwrap.sqlite3"
        if url is not None:
            where = new_database(url)
            stack.callback(drop_database, url, where)
        servers = ServerGroup(where, folder, venue, processes if url else 1, **environ)
        stack.callback(servers.stop)
        servers.start()
        yield servers, servers.register(venue)


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a PostgreSQL; None, and a word why, where there is none."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(server())
        except NoPostgres as reason:
            print(f"one server on SQLite, because: {reason}")
            url = None
        yield url
