"""The data base: one schema, made and moved on by the migrations."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Integer, MetaData, Text, column, text
from sqlalchemy.exc import IntegrityError, OperationalError

import bitmm.xwrap.server
from bitmm.xwrap.server.db import tables
from bitmm.xwrap.server.db.base import Link, StoreError
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.sqlite import _into_wal
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import not_placed
from tests.support.databases import end_sessions, new_database, sql


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
    monkeypatch.setattr("bitmm.xwrap.server.db.base.Database._migrate", None)
    store.prepare()


def test_the_tables_are_made_once_when_many_start_together(where):
    stores = [Store(where) for _ in range(4)]
    assert in_threads(4, lambda number: stores[number].prepare()) == [None] * 4
    assert [store.accounts.all() for store in stores] == [[]] * 4
    for store in stores:
        store.close()


def test_a_file_that_cannot_be_written_is_said_to_be_so_at_once(tmp_path, monkeypatch):
    """Only one that another program holds is waited for."""
    where = tmp_path / "xwrap.sqlite3"
    sqlite3.connect(where).close()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it is waited for"))
    with closing(sqlite3.connect(f"file:{where}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            _into_wal(connection.cursor())


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
    store.accounts.add("ann", "x")
    with pytest.raises(ValueError, match="already"):
        store.accounts.add("ann", "y")


def test_a_value_never_stands_in_the_text_of_an_error(store):
    with pytest.raises(Exception, match=r"NOT NULL|not-null") as caught:
        store.registrations.add({"account_id": 1, "exchange": "paper", "username": "canary"}, lambda _id: {})
    assert "INSERT INTO registrations" in str(caught.value)
    if isinstance(store.where, Path):
        assert "canary" not in str(caught.value)


def test_writers_of_many_threads_wait_for_each_other_and_lose_nothing(store):
    in_threads(8, lambda number: [store.accounts.add(f"{number}-{turn}", "x") for turn in range(25)])
    assert len(store.accounts.all()) == 200


def test_a_write_waits_for_another_program_that_holds_the_data_base(sqlite):
    with closing(sqlite3.connect(sqlite.where, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        assert sqlite.accounts.add("ann", "x") == 1
        release.join()


def test_writes_that_wait_together_are_kept_each_for_itself(sqlite):
    """They are committed together, and one that fails takes none of the others with it."""
    database, results = sqlite._database, {}

    def add(number):
        try:
            results[number] = sqlite.accounts.add("ann" if number < 2 else f"bot-{number}", "x")
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
    assert sorted(results.values()) == [row["id"] for row in sqlite.accounts.all()]
    assert len(results) == 7


def test_what_is_written_after_the_data_base_was_closed_is_kept(sqlite):
    """A call that its server left behind when it stopped may still come to its end."""
    sqlite.accounts.add("ann", "x")
    sqlite.close()
    sqlite.accounts.add("bob", "x")
    assert [row["name"] for row in sqlite.accounts.all()] == ["ann", "bob"]


def test_every_commit_is_brought_to_the_disk(sqlite):
    asked = text("SELECT synchronous FROM pragma_synchronous").columns(column("synchronous", Integer))
    assert sqlite._database.write(lambda link: link.value(asked)) == 2, "FULL"


def test_a_write_within_a_write_is_kept_with_it_or_undone_alone(store):
    def work():
        store.accounts.add("ann", "x")
        assert [row["name"] for row in store.accounts.all()] == ["ann"], "a read within sees it already"
        with suppress(ValueError):
            store.as_one(lambda: (store.accounts.add("bob", "x"), store.accounts.add("ann", "x")))
        return store.accounts.add("cy", "x")

    last = store.as_one(work)
    assert [row["name"] for row in store.accounts.all()] == ["ann", "cy"]
    assert store.accounts.all()[-1]["id"] == last


def test_a_write_that_fails_takes_along_those_within_it(store):
    with pytest.raises(ValueError, match="already"):
        store.as_one(lambda: [store.accounts.add("ann", "x") for _ in range(2)])
    assert store.accounts.all() == []
    assert store.accounts.add("ann", "x")


def until(condition):
    """Wait until it is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def older(store, revision):
    """Make the tables of an older version, with an order and a send in every state, some columns of them null."""
    from alembic import command

    with store._database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(bitmm.xwrap.server.__path__[0]) / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql("INSERT INTO accounts VALUES (1, 'ann', 'x', true, '2026')")
        connection.exec_driver_sql(
            "INSERT INTO registrations (id, account_id, exchange, username, label, apikey_hint, sealed_apikey,"
            " sealed_apisecret, sealed_more, created) VALUES (1, 1, 'paper', '', '', '', '', '', '', '2026')"
        )
        reflected = MetaData()
        reflected.reflect(connection)
        for journal in ("orders", "withdrawals"):
            table = reflected.tables[journal]
            for status in ("open", "unknown", "running", "rejected"):
                full = {c.name: f"{c.name} {status}" for c in table.c if isinstance(c.type, Text)}
                full |= {"answer_status": 400, "released": True}
                if "server" in table.c:
                    full["server"] = 2**62 - 1
                bare = {name: value for name, value in full.items() if not table.c[name].nullable} | {"released": False}
                values = full if status == "rejected" else bare
                connection.execute(table.insert().values({**values, "registration_id": 1, "status": status}))


def journals(where):
    """All that they hold, by the names of its columns; what a newer version adds is null."""
    names = ("orders", "withdrawals")
    return {name: [dict(row._mapping) for row in sql(where, f"SELECT * FROM {name} ORDER BY id")] for name in names}


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_data_base_of_an_older_version_is_moved_on_with_all_that_it_holds(where, revision):
    store = Store(where)
    older(store, revision)
    before = journals(where)
    store.prepare()
    for name, rows in before.items():
        assert len(rows) == 4
        assert journals(where)[name] == [{"server": None, **row} for row in rows]
    with store._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    assert store.accounts.find("ann", 1).registration.enabled is True
    assert store.orders.orphan(LONG_AGO) == 1
    assert store.orders.begin(1, "k", "f", ORDER).row["id"] == 5
    store.close()


def test_the_move_of_a_data_base_that_fails_half_way_leaves_all_as_it_was(tmp_path):
    """The second journal cannot be copied, because what it would be copied to is there already."""
    where = tmp_path / "xwrap.sqlite3"
    store = Store(where)
    older(store, "0002")
    sql(where, "CREATE TABLE _alembic_tmp_withdrawals (x)")
    schema, before = sql(where, "SELECT * FROM sqlite_master ORDER BY name"), journals(where)
    with pytest.raises(StoreError):
        store.prepare()
    assert (sql(where, "SELECT * FROM sqlite_master ORDER BY name"), journals(where)) == (schema, before)
    sql(where, "DROP TABLE _alembic_tmp_withdrawals")
    store.prepare()
    assert journals(where) == before
    store.close()


@pytest.mark.parametrize("journal", ["orders", "withdrawals"])
@pytest.mark.parametrize("gone", ["registrations", "accounts"])
def test_a_journal_does_not_vanish_with_its_registration_or_account(store, journal, gone):
    registration = _order(store)
    intent = ORDER if journal == "orders" else {"asset": "BTC", "amount": "1", "address": "tb1qx"}
    row = getattr(store, journal).begin(registration, "k1", "f", intent).row
    remove = f"DELETE FROM {gone}"
    with pytest.raises(IntegrityError):
        store._database.write(lambda link: link.command(remove))
    assert getattr(store, journal).by_key(registration, "k1") == row
    sql(store.where, f"DELETE FROM {journal}")
    store._database.write(lambda link: link.command(remove))
    left = store.accounts.find("ann", registration)
    assert left is None or left.registration is None


# --- a journal of a million rows --------------------------------------------------------------------------------------

SEND = {"id": 7, "asset": "BTC", "address": "tb1qx"}
NEVER = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.orders.rows(1, ("open",), 50, None), "ix_orders_open (registration_id=? AND id<?)"),
        (lambda store: store.orders.rows(1, ("filled", "open"), 50, 9), "ix_orders_registration_id_id"),
        (lambda store: store.orders.by_key(1, "k1"), "(registration_id=? AND key=?)"),
        (lambda store: store.orders.get(1, 7), "INTEGER PRIMARY KEY (rowid=?)"),
        (lambda store: store.orders.unsettled("paper"), "ix_orders_unsettled (status=?)"),
        (lambda store: store.withdrawals.unsettled(), "ix_withdrawals_unsettled (status=?)"),
        (
            lambda store: store.withdrawals.others_like("kraken", SEND, NEVER, NEVER),
            "ix_withdrawals_address (address=?)",
        ),
        (lambda store: store.orders.count_unknown(), "ix_orders_unsettled (status=?)"),
        (lambda store: store.paper_book(1).open_orders(), "ix_paper_orders_open (registration_id=?)"),
    ],
)
def test_a_question_to_a_journal_is_answered_from_an_index_whatever_its_values_are(sqlite, monkeypatch, ask, index):
    """SQLite looks at the values too when it plans, and PostgreSQL does so a few times only; here they are null."""
    asked = []

    def note(_link, statement, values=None):
        asked.append((statement, values or {}))
        return []

    monkeypatch.setattr(Link, "rows", note)
    ask(sqlite)
    [(statement, values)] = asked
    prepared = sqlite._database.prepared(statement, values)
    nulls = dict.fromkeys({**prepared.own, **values})
    with closing(sqlite3.connect(sqlite.where)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {prepared.text}", nulls).fetchall()
    steps = [step for *_, step in plan]
    assert [step for step in steps if index in step], steps
    assert not [step for step in steps if step.startswith("SCAN orders") or "ORDER BY" in step], steps


# --- one intent for each key, whoever comes first ---------------------------------------------------------------------


def _order(store, values=None):
    account = store.accounts.add("ann", "x")
    values = {"account_id": account, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
    return store.registrations.add(values, lambda _id: {"sealed_more": b""}).id


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
    end_sessions(postgres, url)
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


def test_an_outcome_that_comes_after_the_order_was_given_up_blocks_its_key_again(store):
    registration = _order(store)
    row = store.orders.begin(registration, "k1", "f", ORDER).row
    assert store.orders.orphan(now()) == 1
    [(_, seen)] = store.orders.unsettled()
    assert store.orders.settle(seen, not_placed(seen))
    assert store.orders.finish(row, {"status": "filled", "answer_status": 200, "answer": "{}"})
    again = store.orders.begin(registration, "k1", "f", ORDER)
    assert (again.fresh, again.row["status"], again.row["answer"]) == (False, "filled", "{}")


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
        end_sessions(postgres, url)
        with theirs.lanes.alone("a"):
            pass
    with ours.lanes.alone("a"):
        pass
    ours.close()
    theirs.close()


def test_a_connection_that_broke_meanwhile_is_replaced_before_it_is_used(postgres):
    store = Store(new_database(postgres))
    store.prepare()
    end_sessions(postgres, store.where)
    assert store.accounts.add("ann", "x") == 1
    store.close()


def test_the_url_of_a_file_is_not_mistaken_for_postgresql(tmp_path):
    with pytest.raises(StoreError):
        Store(URL.create("sqlite", database=str(tmp_path / "x")).render_as_string())
