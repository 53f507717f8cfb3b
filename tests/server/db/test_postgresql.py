"""PostgreSQL: how it is reached, servers that share it, and what is said when it is away."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest
import requests
from sqlalchemy import (
    URL,
    Double,
    Integer,
    LargeBinary,
    Text,
    cast,
    column,
    func,
    insert,
    literal,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from bitmm.xwrap.server.db import postgresql
from bitmm.xwrap.server.db import tables as t
from bitmm.xwrap.server.db.accounts import LOCK
from bitmm.xwrap.server.db.errors import UNUSABLE, StoreError
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.command import ENVIRON, one_line, prepared, serve, url_of, xwrap
from tests.support.databases import end_sessions, new_database, sql
from tests.support.pooler import transaction_pooler
from tests.support.threads import until

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


def test_a_connection_that_breaks_in_the_middle_of_a_write_is_a_data_base_that_cannot_be_used(postgres):
    """The journal relies on it: what it could not write it writes later."""
    with closing(Store(new_database(postgres))) as store:
        with pytest.raises(OperationalError), store._database.writing() as runner:
            runner.command("SELECT pg_terminate_backend(pg_backend_pid())")
        with store._database.writing() as runner:
            assert runner.value(setting("lock_timeout")) == "3s"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_data_base_that_does_not_keep_every_text_is_refused_with_what_to_do(postgres, tmp_path, encoding):
    options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    where = new_database(postgres, options=options)
    for command in (["serve", "--port", 0], ["account", "list"]):
        result = xwrap(*command, "--data", tmp_path, XWRAP_DATABASE_URL=where)
        one_line(result, f"has the encoding {encoding}", "ENCODING 'UTF8' TEMPLATE template0")
    examined = xwrap("doctor", "--data", tmp_path, XWRAP_DATABASE_URL=where)
    assert f"has the encoding {encoding}" in examined.stdout
    assert examined.returncode == 1


@pytest.mark.parametrize(
    ("name", "default", "ours"),
    [
        ("default_transaction_isolation", "serializable", "read committed"),
        ("default_transaction_isolation", "repeatable read", "read committed"),
        ("standard_conforming_strings", "off", "on"),
        ("extra_float_digits", "0", "1"),
    ],
)
def test_a_setting_of_the_data_base_does_not_change_what_statements_mean(postgres, name, default, ours):
    where = new_database(postgres)
    sql(postgres, f"ALTER DATABASE {make_url(where).database} SET {name} = '{default}'")
    value = b"\\x00\x00'\xff"
    with closing(Store(where)) as store, store._database.writing() as runner:
        assert runner.value(setting(name)) == ours
        assert runner.value(setting("transaction_isolation")) == "read committed"
        assert runner.value(select(cast(value, LargeBinary).label("value"))) == value
        assert runner.value(select(cast(1795878561.1234567, Double).label("value"))) == 1795878561.1234567


@pytest.mark.parametrize(("default", "ours"), [("off", "on"), ("local", "local"), ("on", "on")])
def test_a_commit_outlives_a_crash_where_the_administrator_has_turned_that_off(postgres, default, ours):
    where = new_database(postgres)
    sql(postgres, f"ALTER DATABASE {make_url(where).database} SET synchronous_commit = {default}")
    with closing(Store(where)) as store, store._database.reading() as runner:
        assert runner.value(setting("synchronous_commit")) == ours


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


def test_a_pooler_that_does_not_keep_sessions_apart_is_refused(postgres, tmp_path):
    with transaction_pooler(new_database(postgres)) as url:
        words = ("a connection pooler in front of the data base", "gives one session to several connections", "session")
        one_line(xwrap("serve", "--port", 0, "--data", tmp_path, XWRAP_DATABASE_URL=url), *words)


def test_processes_that_share_postgresql_open_no_more_connections_than_it_allows(postgres):
    url = new_database(postgres)
    ((allowed,),) = sql(url, "SELECT current_setting('max_connections')::int - 3")
    for processes in (1, 2, 4):
        store = Store(url)
        store.share_connections(processes)
        database = store._database
        each = database.engine.pool.size() + database._locks.pool.size()
        assert each == min(25, (allowed - 7) // processes)
        assert store.revision() is None
        store.close()
    store = Store(url)
    with pytest.raises(
        StoreError, match=rf"^50 workers need 857 connections .* allows {allowed} here; .* by {857 - allowed} "
    ):
        store.share_connections(50)
    store.close()
    name = make_url(url).database
    sql(url, f"ALTER DATABASE {name} CONNECTION LIMIT 40")
    store = Store(url)
    with pytest.raises(StoreError, match="allows 40 here"):
        store.share_connections(2)
    store.close()


def test_a_statement_is_prepared_once_in_a_session(postgres):
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        statement = select(func.max(t.accounts.c.id))
        runs = text(
            "SELECT generic_plans + custom_plans AS runs FROM pg_prepared_statements WHERE statement LIKE 'SELECT max%'"
        ).columns(column("runs", Integer))
        for _ in range(10):
            with store._database.reading() as runner:
                runner.value(statement)
            store._database.write(lambda runner: runner.value(statement))
        with store._database.reading() as runner:
            assert runner.rows(runs) == [{"runs": 20}]


def test_a_statement_that_was_not_prepared_because_of_another_ones_error_is_prepared_then(postgres):
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        row = {"account_id": store.accounts.add("ann", "x"), "hour": "2026-11-28T00", "begun": 1}

        def work(runner):
            runner.change_each(insert(t.placed), [row, row])
            return runner.value(select(func.max(t.placed.c.begun)))

        for _ in range(2):
            with pytest.raises(IntegrityError):
                store._database.write(work)
        with store._database.reading() as runner:
            assert runner.value(select(func.max(t.placed.c.begun))) is None


def test_a_value_that_postgresql_cannot_have_undoes_its_transaction_and_no_more(postgres):
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        row = {"account_id": store.accounts.add("ann", "x"), "hour": "2026-11-28T00", "begun": 1}

        def work(runner):
            runner.later(insert(t.placed), row)
            runner.later(insert(t.placed), row | {"hour": "\0"})

        with pytest.raises(DataError) as caught:
            store._database.write(work)
        assert "INSERT INTO placed" in caught.value.statement
        with store._database.writing() as runner:
            with suppress(DataError):
                store._database.write(work)
            assert runner.value(select(func.max(t.placed.c.begun))) is None
            runner.later(insert(t.placed), row)
        with store._database.reading() as runner:
            assert runner.value(select(func.max(t.placed.c.begun))) == 1


def test_a_session_that_lost_its_prepared_statements_is_replaced(postgres):
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        statement = select(func.max(t.accounts.c.id))
        with store._database.reading() as runner:
            runner.value(statement)
            runner.command("DEALLOCATE ALL")
            with pytest.raises(DBAPIError):
                runner.value(statement)
        with store._database.reading() as runner:
            assert runner.value(statement) is None


def is_dead(store, server_id):
    with store._database.reading() as runner:
        return runner.value(select(store._database.is_dead(literal(server_id)).label("dead")))


def test_a_process_that_stands_still_loses_its_locks_and_goes_on_without_them(postgres):
    """Here it is one that says nothing for a moment."""
    where = new_database(postgres)
    frozen, healthy = Store(where, call_seconds=-0.9), Store(where)
    healthy.prepare()
    with frozen.counters.lock("key", 2.0):
        frozen.heartbeat()
        with healthy.counters.lock("key", 10.0):
            until(lambda: is_dead(healthy, frozen.server_id))
    frozen.accounts.add("ann", "x")
    assert not is_dead(healthy, frozen.server_id), "it says that it lives before it writes"
    held = healthy.counters.lock("key", 2.0)
    with held, pytest.raises(TimeoutError, match="another server process holds this"), frozen.counters.lock("key", 0.0):
        pass
    frozen.close()
    healthy.close()


def test_a_lock_that_is_free_again_has_no_time_limit(postgres):
    store = Store(new_database(postgres), call_seconds=-0.9)
    with store.counters.lock("key", 2.0):
        pass
    with closing(store._database.connect(store._database._locks)) as runner:
        assert runner.value(setting("idle_session_timeout")) == "0"
    store.close()


def test_a_transaction_of_a_process_that_stands_still_ends_by_itself(postgres):
    store = Store(new_database(postgres))
    with store._database.reading() as runner:
        assert runner.value(setting("idle_in_transaction_session_timeout")) == "10s"
        # What waits behind it is given up before, even if it waits twice: none of it gets the rows after that.
        assert runner.value(setting("lock_timeout")) == "3s"
    store.close()


@contextmanager
def waiting_write(url, monkeypatch, write, timeout="50ms"):
    """A thread in which `write(database, tries)` waits for a row that another server process has in this block."""
    monkeypatch.setattr(postgresql, "_ROW_TIMEOUT", timeout)
    with closing(Store(url)) as one, closing(Store(url)) as other, ThreadPoolExecutor(1) as pool:
        one.prepare()
        account = one.accounts.add("ann", "x")
        tries = []
        with one._database.writing() as runner:
            runner.value(LOCK, {"id": account})
            waiting = pool.submit(write, other._database, account, tries)
            yield waiting, tries
        waiting.exception()


def lock_account(database, account, tries):
    def work(runner):
        tries.append(account)
        return runner.value(LOCK, {"id": account})

    return database.write(work)


def change_account(database, account, tries):
    statement = update(t.accounts).where(t.accounts.c.id == account)

    def work(runner):
        tries.append(account)
        return runner.change(statement, {"password_hash": "y"})

    return database.write_one(work)


@pytest.mark.parametrize("write", [lock_account, change_account])
def test_a_write_begins_again_until_the_row_is_free_that_it_waits_for(url, monkeypatch, write):
    with waiting_write(url, monkeypatch, write) as (waiting, tries):
        until(lambda: len(tries) > 2)
        assert not waiting.done()
    assert waiting.result() == 1


@pytest.mark.parametrize("write", [lock_account, change_account])
def test_a_write_that_waits_for_too_long_is_given_up(url, monkeypatch, write):
    monkeypatch.setattr(postgresql, "_ROW_PATIENCE", 0.0)
    with waiting_write(url, monkeypatch, write) as (waiting, tries):
        with pytest.raises(OperationalError, match="lock timeout") as caught:
            waiting.result()
        assert isinstance(caught.value, UNUSABLE)
        assert len(tries) == 1


def test_a_server_waits_for_as_long_as_another_one_migrates(url, monkeypatch):
    monkeypatch.setattr(postgresql, "_ROW_TIMEOUT", "50ms")
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND wait_event_type = 'Lock'"
        " AND now() - query_start > interval '200 ms'"
    )
    with closing(Store(url)) as one, closing(Store(url)) as other, ThreadPoolExecutor(1) as pool:
        with one._database.engine.connect() as connection:
            one._database._lock_schema(connection)
            starting = pool.submit(other.prepare)
            until(lambda: sql(url, waits, name=make_url(url).database) == [(1,)])
            connection.rollback()
        starting.result()


def setting(name):
    return text(f"SELECT current_setting('{name}') AS value").columns(column("value", Text))


#: One server on PostgreSQL, whose calls send nothing after three seconds.
SERVE = """
import os, sys, pathlib
from bitmm.xwrap.server import runner
from bitmm.xwrap.server.settings import Settings
times = {"exchange_seconds": 2.0, "call_seconds": 3.0, "reconcile_seconds": 0.5, "reconcile_grace_seconds": 1.0}
settings = Settings.read(os.environ, data=pathlib.Path(sys.argv[1]), port=0, **times)
runner.run(settings, lambda line: print(line, flush=True))
"""


@contextmanager
def served(folder, **environ):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)], stdout=subprocess.PIPE, text=True, env=ENVIRON | environ
    )
    try:
        yield process, next(line for line in process.stdout if "serves at" in line).split()[-1]
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def test_a_frozen_server_holds_no_key_for_longer_than_a_call_may_take(url, tmp_path):
    password = xwrap("account", "add", "ann", "--generate", "--data", tmp_path, XWRAP_DATABASE_URL=url).stdout.strip()
    auth, order = ("ann", password), {"currency": "EUR", "asset": "BTC", "amount": "0.01"}
    with KrakenVenue() as venue:
        environ = {
            "XWRAP_DATABASE_URL": url,
            "XWRAP_EXCHANGES": "kraken",
            "XWRAP_EXCHANGE_URL_KRAKEN": venue.url,
            "XWRAP_EXCHANGE_LIMIT_KRAKEN": "none",
        }

        def post(at, path, form, key=None):
            headers = {"Idempotency-Key": key} if key else {}
            return requests.post(f"{at}/exchanges/{path}", data=form, headers=headers, auth=auth, timeout=30)

        with served(tmp_path, **environ) as (frozen, one), served(tmp_path, **environ) as (_healthy, two):
            id = post(
                one, "", {"exchange": "kraken", "apikey": venue.key, "apisecret": venue.secret, "allow_send": "true"}
            ).json()["id"]
            limit = post(two, f"{id}/buy", order | {"price": "100"}).json()
            asked = len(venue.requests)
            venue.fault("slow", path="AddOrder", seconds=1.5)
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(post, one, f"{id}/buy", order, "k1")
                until(lambda: any("AddOrder" in request.path for request in list(venue.requests)[asked:]))
                frozen.send_signal(signal.SIGSTOP)
                refused = post(two, f"{id}/buy", order, "k2")
                assert (refused.status_code, refused.json()["detail"]) == (
                    429,
                    "another server process holds this exchange key; nothing was sent",
                )
                canceled = requests.delete(f"{two}/exchanges/{id}/orders/{limit['id']}", auth=auth, timeout=30)
                assert canceled.json()["status"] == "canceled"
                bought = post(two, f"{id}/buy", order, "k2")
                assert bought.json()["status"] == "filled"
                until(lambda: post(two, f"{id}/buy", order, "k1").status_code == 200)
                frozen.send_signal(signal.SIGCONT)
                waiting.result()
            again = post(one, f"{id}/buy", order, "k1")
            assert (again.status_code, again.json()["status"]) == (200, "filled")
            assert post(one, f"{id}/buy", order, "k3").json()["status"] == "filled", "it goes on"
        executed = [row["client_id"] for row in venue.ledger()]
        assert len(executed) == len(set(executed)) == 4, "each key once"


def test_a_data_base_that_takes_no_row_is_not_ready(serving, url, postgres, tmp_path):
    name = make_url(url).database
    with serving(data=tmp_path, database_url=url) as server:
        assert requests.get(f"{server.url}/ready", timeout=30).status_code == 200
        sql(postgres, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        # New ones may come meanwhile, and go.
        sql(postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name", name=name)

        def is_ready():
            return requests.get(f"{server.url}/ready", timeout=30)

        until(lambda: is_ready().status_code != 200)
        answer = is_ready()
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.json()["detail"] == "the server cannot use its data base: it cannot be used now"


def test_an_error_of_a_statement_that_was_sent_in_a_pipeline_is_told_as_that_of_this_one(postgres):
    """What was sent after it was skipped, and what was before it is undone."""
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        database = store._database
        account = store.accounts.add("ann", "x")
        same_hour = {"account_id": account, "hour": "2026-11-28T00", "begun": 1}
        is_there = select(func.count()).select_from(t.placed)

        def work(runner):
            for _ in range(2):
                runner.later(insert(t.placed), same_hour)
            runner.later(insert(t.placed), same_hour | {"hour": "2026-11-28T01"})
            return runner.value(select(t.accounts.c.id))

        for _ in range(2):
            with pytest.raises(IntegrityError, match="pk_placed") as caught:
                database.write(work)
            assert "INSERT INTO placed" in caught.value.statement
            with database.reading() as runner:
                assert runner.value(is_there) == 0


def test_nothing_of_a_pipeline_is_sent_before_an_answer_is_needed(postgres):
    """PostgreSQL would hold the locks of what it has, however long the process stands still."""
    url = new_database(postgres)
    with closing(Store(url)) as store:
        store.prepare()
        database = store._database
        lock = select(t.accounts.c.id).where(t.accounts.c.name == "ann").with_for_update()
        store.accounts.add("ann", "x")

        def state():
            query = "SELECT state FROM pg_stat_activity WHERE datname = :name AND state <> 'idle'"
            return [state for (state,) in sql(postgres, query, name=make_url(url).database)]

        def work(runner):
            runner.later(lock, {})
            before = state()
            runner.value(select(t.accounts.c.id))
            return before, state()

        assert database.write(work) == ([], ["idle in transaction"])


def test_an_error_that_only_the_commit_meets_undoes_what_was_sent_before(postgres):
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        row = {"account_id": store.accounts.add("ann", "x"), "hour": "2026-11-28T00", "begun": 1}
        with pytest.raises(IntegrityError) as caught:
            store._database.write(lambda runner: runner.change_each(insert(t.placed), [row, row]))
        assert "INSERT INTO placed" in caught.value.statement
        store._database.write(lambda runner: runner.change_each(insert(t.placed), [row]))
        with store._database.reading() as runner:
            assert runner.value(select(func.count()).select_from(t.placed)) == 1


def test_what_is_undone_alone_in_a_pipeline_leaves_the_rest(postgres):
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        row = {"account_id": store.accounts.add("ann", "x"), "hour": "2026-11-28T00", "begun": 1}

        def fail(runner):
            runner.change_each(insert(t.placed), [row | {"hour": "2026-11-28T01"}] * 2)
            return runner.value(select(t.accounts.c.id))

        def work(runner):
            runner.later(insert(t.placed), row)
            for undone in (fail, lambda runner: runner.later(insert(t.placed), row) or 1 / 0):
                with suppress(IntegrityError, ZeroDivisionError):
                    store._database.write(undone)
            return runner.rows(select(t.placed.c.hour))

        assert store._database.write(work) == [{"hour": row["hour"]}]


def test_a_connection_that_postgresql_ends_is_noticed_at_once_by_the_next_call(postgres):
    """It was used a moment ago, so it is not asked whether it lives; its end has come on it."""
    with closing(Store(new_database(postgres))) as store:
        store.prepare()
        for number in range(3):
            store.accounts.add(f"ann{number}", "x")
            end_sessions(postgres, store.where)
            assert store.accounts.find(f"ann{number}") is not None
        assert store.database_errors() == 0
