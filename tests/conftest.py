"""What the tests of the server share. Nothing here is imported where only the client is installed."""

from __future__ import annotations

import ipaddress
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.databases import sql


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", action="store_true", help="the server's tests on PostgreSQL; see tests/support/databases.py"
    )


#: The SQLite file of a data folder, or the URL of its data base on PostgreSQL: always the same one for a folder. With
#: `tables=True` it has the tables of this version, copied: a server of a test need not make them anew.
Database = Callable[..., Path | str]


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL in which data bases can be made; without `pytest --postgres` the test is skipped."""
    if not request.config.getoption("postgres"):
        pytest.skip("needs PostgreSQL: pytest --postgres, or tox -e postgres")
    pytest.importorskip("psycopg")
    from tests.support.databases import NoPostgres, server

    try:
        with server() as url:
            yield url
    except NoPostgres as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Database:
    """Where the data base of a folder is."""
    return request.getfixturevalue("_postgresql" if request.config.getoption("postgres") else "_sqlite")


@pytest.fixture(scope="session")
def _sqlite(tmp_path_factory: pytest.TempPathFactory) -> Database:
    @cache
    def template() -> Path:
        return with_tables(tmp_path_factory.mktemp("template") / "xwrap.sqlite3")

    def of(folder: Path, *, tables: bool = False) -> Path:
        file = folder / "xwrap.sqlite3"
        if tables:
            shutil.copyfile(template(), file)
        return file

    return of


@pytest.fixture(scope="session")
def _postgresql(postgres: str) -> Iterator[Database]:
    from tests.support.databases import drop_database, new_database

    made: dict[Path | None, str] = {}

    def of(folder: Path, *, tables: bool = False) -> str:
        if tables and None not in made:
            made[None] = with_tables(new_database(postgres))
        if folder not in made:
            made[folder] = new_database(postgres, made[None] if tables else None)
        return made[folder]

    yield of
    for url in made.values():
        drop_database(postgres, url)


def with_tables(where: Path | str) -> Path | str:
    """The same data base, with the tables of this version."""
    from bitmm.xwrap.server.db.store import Store

    store = Store(where)
    store.prepare()
    store.close()
    return where


@cache
def hashed(password: str) -> str:
    """Its hash, which is slow by design: once for all tests that use the same password."""
    from bitmm.xwrap.server.passwords import hash_password

    return hash_password(password)


@dataclass
class Server:
    """A real server on a real socket, the folder it keeps its data in, and its data base."""

    url: str
    data: Path
    database: Path | str

    def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Run a statement past the server, straight on its data base; the rows it gives."""
        return sql(self.database, statement, **values)

    def account(self, name: str | None = None, password: str = "correct horse battery") -> tuple[str, str]:
        """A new account; its user name and password."""
        from bitmm.xwrap.server.db.store import Store

        name = name or f"user-{secrets.token_hex(4)}"
        store = Store(self.database)
        store.accounts.add(name, hashed(password))
        store.close()
        return name, password

    def credential(self, account: str, scope: str, name: str = "bot1", **columns: object) -> tuple[str, str]:
        """A credential of an account; its user name and password."""
        from bitmm.xwrap.server.credential_passwords import make_password
        from bitmm.xwrap.server.db.store import Store

        store, password = Store(self.database), make_password()
        owner = store.accounts.find(account)
        assert owner is not None
        username = f"{account}/{name}"
        store.credentials.add({"account_id": owner.id, "name": name, "scope": scope, **columns}, password, username)
        store.close()
        return username, password

    def registration(self, auth: tuple[str, str], exchange: str = "paper", **form: str) -> int:
        """The id of a new registration of this account, which may send unless the form says otherwise."""
        form = {"exchange": exchange, "allow_send": "true", **form}
        answer = requests.post(f"{self.url}/exchanges/", data=form, auth=auth, timeout=30)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """No test reaches another machine: a connection that leaves this one fails, whoever opens it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test connects to {address[0]}")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


Serving = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Serving:
    """`with serving(setting=value, ...) as server`: a server with fresh data."""
    pytest.importorskip("starlette", reason="the server is not installed")
    from bitmm.xwrap.server.runner import run_in_background
    from bitmm.xwrap.server.settings import Settings

    @contextmanager
    def serve(data: Path | None = None, environ: dict[str, str] | None = None, **given: object) -> Iterator[Server]:
        folder = data or tmp_path_factory.mktemp("data")
        where = given.setdefault("database_url", database(folder, tables=data is None))
        if isinstance(where, Path):
            given["database_url"] = None
        given.setdefault("exchanges", ("paper",))
        with run_in_background(Settings.read(environ or {}, data=folder, port=0, **given)) as url:
            yield Server(url, folder, where)

    return serve


@pytest.fixture(scope="session")
def server(serving: Serving) -> Iterator[Server]:
    """One server for all tests that bring their own accounts."""
    with serving() as server:
        yield server


@pytest.fixture
def auth(server: Server) -> tuple[str, str]:
    """A fresh account on the shared server."""
    return server.account()
