"""The data bases of the tests.

PostgreSQL is the one of XWRAP_TEST_DATABASE_URL, else one that is started from this machine's binaries.
`pytest --postgres` runs the server's tests on it; `with server() as url` is for programs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

ENVIRON = "XWRAP_TEST_DATABASE_URL"
#: What an administrator may have set, and nothing here may depend on.
UNUSUAL = {
    "bytea_output": "escape",
    "DateStyle": "'SQL,DMY'",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "0",
    "IntervalStyle": "sql_standard",
    "standard_conforming_strings": "off",
    "TimeZone": "Asia/Kolkata",
    "transform_null_equals": "on",
}


class NoPostgres(Exception):
    """Why there is none."""


def binaries() -> Path:
    """The folder of PostgreSQL's programs, the newest one. Raises NoPostgres."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise NoPostgres(f"no PostgreSQL server is installed, and {ENVIRON} is not set")


@contextmanager
def server() -> Iterator[str]:
    """The URL of a data base in which others can be made. Raises NoPostgres."""
    if url := os.environ.get(ENVIRON):
        yield url
        return
    with own_server(fsync="off", synchronous_commit="off", full_page_writes="off", **UNUSUAL) as own:
        yield own.url


class OwnServer:
    """A PostgreSQL in a folder, which a test may crash. It listens at a unix socket: no port to collide."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._programs, self._folder = binaries(), folder
        self.url = f"postgresql+psycopg://xwrap@/postgres?host={quote(str(folder))}"
        options = {"listen_addresses": "''", **settings}
        self._options = " ".join([f"-k {folder}", *(f"-c {name}={value}" for name, value in options.items())])
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:  # initdb refuses root; Debian's package has an account for it
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                raise NoPostgres("PostgreSQL does not run as root, and there is no account 'postgres'") from None
            os.chown(folder, account.pw_uid, account.pw_gid)
            self._account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run("initdb", "-U", "xwrap", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", self._options, "start")

    def crash(self) -> None:
        """End all its processes at once; the next start recovers from its log."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        # Its own log goes to a file; a pipe would stay open in the server.
        done = subprocess.run(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **self._account,
        )
        if done.returncode:
            log = self._folder / "log"
            raise NoPostgres(f"{program} failed: {log.read_text()[-500:] if log.exists() else done.returncode}")


@contextmanager
def own_server(**settings: str) -> Iterator[OwnServer]:
    """A PostgreSQL of one's own that runs, with these settings. Raises NoPostgres."""
    # Hundreds of data bases are made and thrown away: in memory, where there is room.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30
    folder = Path(tempfile.mkdtemp(prefix="xwrap-pg-", dir=memory if roomy else None))
    try:
        own = OwnServer(folder, settings)
        own.start()
        try:
            yield own
        finally:
            with suppress(NoPostgres):  # a test has ended it
                own.crash()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str, template: str | None = None, options: str = "") -> str:
    """The URL of a fresh data base on the server of `url`: an empty one, or a copy of one that nobody is using now.

    `options`: more words of CREATE DATABASE.
    """
    from sqlalchemy import create_engine, make_url

    name = f"xwrap_{uuid.uuid4().hex}"
    copied = f" TEMPLATE {make_url(template).database}" if template else ""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}{copied} {options}")
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def drop_database(url: str, made: str) -> None:
    """Remove a data base that `new_database` made. A server of our own goes as a whole."""
    if ENVIRON not in os.environ:
        return
    from sqlalchemy import create_engine, make_url

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {make_url(made).database} WITH (FORCE)")
    engine.dispose()


def end_sessions(url: str, made: str) -> None:
    """Break every connection to a data base that `new_database` made; none is left when this returns."""
    from sqlalchemy import make_url

    command = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = :name"
    assert all(gone for (gone,) in sql(url, command, name=make_url(made).database))


def sql(where: Path | str, statement: str, **values: object) -> list[Any]:
    """Run a statement past the server, straight on its data base; the rows it gives."""
    from sqlalchemy import URL, create_engine, text

    if isinstance(where, Path):
        engine = create_engine(URL.create("sqlite", database=str(where)))
    else:
        # With the setting of this PostgreSQL it would fail beside a server that writes the same row.
        engine = create_engine(where, isolation_level="READ COMMITTED")
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        rows = list(result) if result.returns_rows else []
    engine.dispose()
    return rows


#: What a journal keeps of an order before its exchange hears of it.
ORDER = {"side": "buy", "type": "market", "currency": "USD", "asset": "BTC", "amount": "1"}
#: The client ids that a key may have, one for each attempt.
CLIENT_IDS = [f"{attempt:032x}" for attempt in range(1, 6)]


def add_registration(store: Any, name: str = "ann") -> int:
    """Add an account with a registration of the paper exchange to a Store; the registration's id."""
    account = store.accounts.add(name, "x")
    values = {"account_id": account, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
    return int(store.registrations.add(values, lambda _id: {"sealed_more": b""}).id)
