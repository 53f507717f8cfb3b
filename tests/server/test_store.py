"""The data base: one schema, made and moved on by the migrations."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Integer, column, text
from sqlalchemy.exc import OperationalError

import bitmm.xwrap.server
from bitmm.xwrap.server import tables
from bitmm.xwrap.server.store import Store, StoreError, now
from tests.databases import new_database, sql


@pytest.fixture
def where(tmp_path, database):
    return database(tmp_path)


@pytest.fixture
def store(where):
    store = Store(where)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def sqlite(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    yield store
    store.close()


def in_threads(count, work):
    """Run `work(number)` in threads that start together; what each of them returned or raised."""
    results = [None] * count
    together = threading.Barrier(count)

    def run(number):
        together.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_migrations_make_exactly_the_tables(store):
    with store._database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_revision_is_the_one_that_the_tables_name():
    config = Config()
    config.set_main_option("script_location", str(Path(bitmm.xwrap.server.__path__[0]) / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.REVISION]


def test_an_up_to_date_data_base_is_opened_without_alembic(store, monkeypatch):
    monkeypatch.setattr("bitmm.xwrap.server.database.Database._migrate", None)
    store.prepare()


def test_the_tables_are_made_once_when_many_start_together(where):
    stores = [Store(where) for _ in range(4)]
    assert in_threads(4, lambda number: stores[number].prepare()) == [None] * 4
    assert [store.accounts() for store in stores] == [[]] * 4
    for store in stores:
        store.close()


def test_the_first_check_value_stays(store, where):
    others = [Store(where) for _ in range(4)]
    kept = in_threads(4, lambda number: others[number].check_value(lambda: b"%d" % number))
    assert len(set(kept)) == 1
    assert store.check_value() == kept[0]
    for other in others:
        other.close()


def test_commits_are_on_the_disk_and_readers_do_not_wait(sqlite):
    with sqlite._database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_file_is_for_its_owner_alone(sqlite):
    assert stat.S_IMODE(sqlite.where.stat().st_mode) == 0o600


def test_a_data_base_of_a_newer_version_is_refused(store):
    sql(store.where, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version"):
        store.prepare()


def test_a_damaged_data_base_is_refused(tmp_path):
    path = tmp_path / "xwrap.sqlite3"
    path.write_bytes(b"this is no data base" * 1000)
    store = Store(path)
    with pytest.raises(StoreError, match="damaged"):
        store.prepare()
    store.close()


def test_a_name_belongs_to_one_account(store):
    store.add_account("ann", "x")
    with pytest.raises(ValueError, match="already"):
        store.add_account("ann", "y")


def test_a_value_never_stands_in_the_text_of_an_error(store):
    with pytest.raises(Exception, match=r"NOT NULL|not-null") as caught:
        store.add_registration({"account_id": 1, "exchange": "paper", "username": "canary"}, lambda _id: {})
    assert "INSERT INTO registrations" in str(caught.value)
    if isinstance(store.where, Path):
        assert "canary" not in str(caught.value)


def test_writers_of_many_threads_wait_for_each_other_and_lose_nothing(store):
    in_threads(8, lambda number: [store.add_account(f"{number}-{turn}", "x") for turn in range(25)])
    assert len(store.accounts()) == 200


def test_a_write_waits_for_another_program_that_holds_the_data_base(sqlite):
    with closing(sqlite3.connect(sqlite.where, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        assert sqlite.add_account("ann", "x") == 1
        release.join()


def test_writes_that_wait_together_are_kept_each_for_itself(sqlite):
    """They are committed together, and one that fails takes none of the others with it."""
    database, results = sqlite._database, {}

    def add(number):
        try:
            results[number] = sqlite.add_account("ann" if number < 2 else f"bot-{number}", "x")
        except ValueError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    with closing(sqlite3.connect(sqlite.where, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads[0].start()
        until(lambda: database._writer.locked() and not database._writes)
        for thread in threads[1:]:
            thread.start()
        until(lambda: len(database._writes) == 7)
        other.execute("COMMIT")
    for thread in threads:
        thread.join()
    assert results.pop(1) == "there is an account 'ann' already"
    assert sorted(results.values()) == [row["id"] for row in sqlite.accounts()]
    assert len(results) == 7


def test_what_is_written_after_the_data_base_was_closed_is_kept(sqlite):
    """A call that its server left behind when it stopped may still come to its end."""
    sqlite.add_account("ann", "x")
    sqlite.close()
    sqlite.add_account("bob", "x")
    assert [row["name"] for row in sqlite.accounts()] == ["ann", "bob"]


def test_only_a_commit_that_is_covered_does_without_its_own_way_to_the_disk(sqlite):
    asked = text("SELECT synchronous FROM pragma_synchronous").columns(column("synchronous", Integer))
    full, normal = 2, 1
    for covered, level in ((False, full), (True, normal), (True, normal), (False, full)):
        assert sqlite._database.write(lambda link: link.value(asked), covered=covered) == level


def until(condition):
    """Wait until it is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_data_base_of_the_first_version_is_moved_on_with_all_that_it_holds(where):
    from alembic import command

    store = Store(where)
    with store._database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(bitmm.xwrap.server.__path__[0]) / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    values = "1, 1, 'k1', 'f', 'c', 'buy', 'market', 'USD', 'BTC', '1', 'unknown', '2026', '2026'"
    sql(where, "INSERT INTO accounts VALUES (1, 'ann', 'x', true, '2026')")
    sql(
        where,
        "INSERT INTO registrations (id, account_id, exchange, username, label, apikey_hint, sealed_apikey,"
        " sealed_apisecret, sealed_more, created) VALUES (1, 1, 'paper', '', '', '', '', '', '', '2026')",
    )
    sql(
        where,
        "INSERT INTO orders (id, registration_id, key, fingerprint, client_id, side, type, currency, asset, amount,"
        f" status, created, updated) VALUES ({values})",
    )
    store.prepare()
    assert store.orders.by_key(1, "k1")["status"] == "unknown"
    assert store.account("ann", 1).registration.enabled is True
    store.close()


# --- one intent for each key, whoever comes first ---------------------------------------------------------------------


def _order(store, values=None):
    account = store.add_account("ann", "x")
    values = {"account_id": account, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
    return store.add_registration(values, lambda _id: {"sealed_more": b""}).id


ORDER = {"side": "buy", "type": "market", "currency": "USD", "asset": "BTC", "amount": "1"}


def test_of_many_processes_one_begins_an_order_and_the_others_find_it(store, where):
    registration = _order(store)
    others = [Store(where) for _ in range(8)]
    for key in (f"k{number}" for number in range(10)):
        begun = in_threads(8, lambda number, key=key: others[number].orders.begin(registration, key, "f", ORDER))
        assert [intent for intent in begun if isinstance(intent, Exception)] == []
        assert sum(intent.fresh for intent in begun) == 1
        assert len({intent.row["id"] for intent in begun}) == 1
    for other in others:
        other.close()


def test_of_many_processes_one_tries_a_released_order_anew(store, where):
    registration = _order(store)
    others = [Store(where) for _ in range(8)]
    for key in (f"k{number}" for number in range(10)):
        row = store.orders.begin(registration, key, "f", ORDER).row
        assert store.orders.finish(row, {"status": "rejected", "released": True})
        begun = in_threads(8, lambda number, key=key: others[number].orders.begin(registration, key, "f", ORDER))
        assert [intent for intent in begun if isinstance(intent, Exception)] == []
        assert sum(intent.fresh for intent in begun) == 1
        assert {intent.row["status"] for intent in begun} == {"running"}
    for other in others:
        other.close()


# --- a server that is no more -----------------------------------------------------------------------------------------

LONG_AGO = "2020"


def test_what_a_server_was_doing_is_unknown_as_soon_as_it_is_no_more(store, where):
    registration = _order(store)
    theirs = Store(where)
    theirs.appear()
    row = theirs.orders.begin(registration, "k1", "f", ORDER).row
    theirs.close()
    store.appear()
    mine = store.orders.begin(registration, "k2", "f", ORDER).row
    assert store.orders.orphan(LONG_AGO) == 1
    assert store.orders.get(registration, row["id"])["status"] == "unknown"
    assert store.orders.get(registration, mine["id"])["status"] == "running"


def test_what_runs_for_too_long_is_unknown_although_its_server_seems_to_live(store):
    registration = _order(store)
    store.appear()
    store.orders.begin(registration, "k1", "f", ORDER)
    assert store.orders.orphan(LONG_AGO) == 0
    assert store.orders.orphan(now()) == 1


def test_what_a_server_that_lives_is_doing_is_left_to_it(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    ours.prepare()
    registration = _order(ours)
    for store in (ours, theirs):
        store.appear()
        store.appear()
    theirs.orders.begin(registration, "k1", "f", ORDER)
    assert ours.orders.orphan(LONG_AGO) == 0
    sql(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    theirs.appear()
    assert ours.orders.orphan(LONG_AGO) == 0, "it has shown itself again"
    theirs.close()
    assert ours.orders.orphan(LONG_AGO) == 1
    ours.close()


def test_a_server_that_could_not_show_itself_tries_again(postgres):
    """Its number is still locked by a session of its own that the data base has not missed yet."""
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    ours.prepare()
    registration = _order(ours)
    with theirs._database.alone(ours._database.server), pytest.raises(OperationalError):
        ours.appear()
    ours.appear()
    ours.orders.begin(registration, "k1", "f", ORDER)
    assert theirs.orders.orphan(LONG_AGO) == 0
    for store in (ours, theirs):
        store.close()


def test_an_outcome_that_comes_after_the_order_ran_anew_is_not_taken_for_that_ones(store):
    registration = _order(store)
    first = store.orders.begin(registration, "k1", "f", ORDER).row
    store.orders.change(first["id"], {"status": "rejected", "released": True})
    second = store.orders.begin(registration, "k1", "f", ORDER)
    assert second.fresh
    assert store.orders.finish(first, {"status": "filled"}) is False
    assert store.orders.by_key(registration, "k1")["status"] == "running"
    assert store.orders.finish(second.row, {"status": "filled"}) is True


def test_what_was_found_out_meanwhile_is_not_made_unknown_again(store):
    registration = _order(store)
    row = store.orders.begin(registration, "k1", "f", ORDER).row
    store.orders.change(row["id"], {"status": "filled"})
    assert store.orders.finish(row, {"status": "unknown"}) is True
    assert store.orders.by_key(registration, "k1")["status"] == "filled"


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


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


def test_one_process_at_a_time_has_a_lane_to_itself(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    with ours.lanes.alone("a"):
        with pytest.raises(TimeoutError), theirs.lanes.alone("a"):
            raise AssertionError("two at once")
        with theirs.lanes.alone("b"):
            pass
    with theirs.lanes.alone("a"):
        pass
    ours.close()
    theirs.close()


def test_a_lane_is_free_when_its_process_has_lost_its_connection(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    with ours.lanes.alone("a"):
        sql(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        with theirs.lanes.alone("a"):
            pass
    with ours.lanes.alone("a"):
        pass
    ours.close()
    theirs.close()


def test_a_connection_that_broke_meanwhile_is_replaced_before_it_is_used(postgres):
    store = Store(new_database(postgres))
    store.prepare()
    sql(
        store.where,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert store.add_account("ann", "x") == 1
    store.close()


def test_the_url_of_a_file_is_not_mistaken_for_postgresql(tmp_path):
    with pytest.raises(StoreError):
        Store(URL.create("sqlite", database=str(tmp_path / "x")).render_as_string())


def test_open_paper_orders_are_found_without_reading_the_others(sqlite):
    """Else each order costs more than the one before it. A bound value instead of 'open' would do that."""
    from bitmm.xwrap.server.store import _PAPER_OPEN

    prepared = sqlite._database.prepared(_PAPER_OPEN, {"registration": 1})
    [(*_, plan)] = sql(sqlite.where, f"EXPLAIN QUERY PLAN {prepared.text}", registration=1)
    assert plan.startswith("SEARCH paper_orders USING INDEX ix_paper_orders_open ")
