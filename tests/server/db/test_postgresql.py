"""PostgreSQL: how it is reached, servers that share it, and what is said when it is away."""

from __future__ import annotations

import logging
import shutil

import pytest
import requests
from sqlalchemy import URL, make_url

from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.store import Store
from tests.support.command import one_line, prepared, serve, url_of, xwrap
from tests.support.databases import end_sessions, new_database, sql

CANARY = "canary-password"


@pytest.fixture
def url(postgres):
    """A fresh data base; its server asks for no password, so any one will do."""
    return make_url(new_database(postgres)).set(password=CANARY).render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "url", ["mysql://canary@host/x", "postgresql+asyncpg://u:canary@host/x", "canary", "://canary"]
)
def test_another_url_is_refused_without_being_shown(url):
    with pytest.raises(StoreError, match="XWRAP_DATABASE_URL must be like") as caught:
        Store(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg://ann:canary@127.0.0.1:1/x", "x at 127.0.0.1 cannot be used: "),
        ("postgresql://ann:canary@/x?host=/nonexistent", "x at /nonexistent cannot be used: "),
    ],
)
def test_a_postgresql_that_cannot_be_reached_is_one_line_without_the_password(url, words):
    pytest.importorskip("psycopg")
    store = Store(url)
    with pytest.raises(StoreError) as caught:
        store.prepare()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value) + repr(store.__dict__["_database"].engine)
    store.close()


def test_a_connection_that_broke_meanwhile_is_replaced_before_it_is_used(postgres):
    store = Store(new_database(postgres))
    store.prepare()
    end_sessions(postgres, store.where)
    assert store.accounts.add("ann", "x") == 1
    store.close()


def test_the_url_of_a_file_is_not_mistaken_for_postgresql(tmp_path):
    with pytest.raises(StoreError):
        Store(URL.create("sqlite", database=str(tmp_path / "x")).render_as_string())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql+psycopg://ann:{CANARY}@127.0.0.1:1/x", ["x at 127.0.0.1", "cannot be used"]),
        (f"mysql://ann:{CANARY}@127.0.0.1/x", ["XWRAP_DATABASE_URL", "postgresql+psycopg://"]),
    ],
)
def test_a_data_base_that_cannot_be_used_is_one_line_and_exit_1(tmp_path, url, words):
    pytest.importorskip("psycopg")
    for command in (["serve", "--port", 0], ["account", "list"]):
        result = xwrap(*command, "--data", tmp_path, XWRAP_DATABASE_URL=url)
        one_line(result, *words)
        assert CANARY not in result.stdout + result.stderr


def test_servers_on_one_data_base_serve_the_same_accounts(url, tmp_path):
    environ = {"XWRAP_DATABASE_URL": url}
    password = xwrap("account", "add", "ann", "--generate", "--data", tmp_path, **environ).stdout.strip()
    with serve("--port", 0, "--data", tmp_path, **environ) as (_, one):
        shutil.copytree(tmp_path, tmp_path / "another")
        with (
            serve("--port", 0, "--data", tmp_path, **environ) as (_, two),
            serve("--port", 0, "--data", tmp_path / "another", **environ) as (_, three),
        ):
            auth = ("ann", password)
            made = requests.post(f"{url_of(one)}/exchanges/", data={"exchange": "paper"}, auth=auth, timeout=30).json()
            order = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
            headers = {"Idempotency-Key": "k1"}
            answers = [
                requests.post(f"{url_of(lines)}{made['url']}/buy", data=order, headers=headers, auth=auth, timeout=30)
                for lines in (two, three, one)
            ]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert len({answer.content for answer in answers}) == 1
            balance = requests.get(f"{url_of(three)}{made['url']}/balance", auth=auth, timeout=30).json()
            assert balance["BTC"] == "1.1"
    assert not (tmp_path / "xwrap.sqlite3").exists()


def test_a_server_with_another_master_key_is_refused(url, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    prepared(first, XWRAP_DATABASE_URL=url)
    one_line(xwrap("serve", "--port", 0, "--data", second, XWRAP_DATABASE_URL=url), "missing", "master.key")
    prepared(second)
    one_line(xwrap("serve", "--port", 0, "--data", second, XWRAP_DATABASE_URL=url), "does not open this data base")


def test_while_the_data_base_is_away_callers_hear_503_and_then_all_is_well(serving, url, postgres, tmp_path, caplog):
    name = make_url(url).database
    with serving(data=tmp_path, database_url=url) as server:
        auth = server.account()
        id = server.registration(auth)
        sql(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        end_sessions(postgres, url)
        with caplog.at_level(logging.DEBUG):
            away = requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=30)
        assert (away.status_code, away.json()["code"]) == (503, "database_unavailable")
        assert (away.json()["retryable"], away.json()["may_have_executed"]) == (True, False)
        sql(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=30).status_code == 200
    assert "the data base cannot be used: " in caplog.text
    assert CANARY not in caplog.text + away.text
