"""One schema, made and moved on by the migrations, whose indexes answer every question to a journal."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Text
from sqlalchemy.exc import IntegrityError

import bitmm.xwrap.server
from bitmm.xwrap.exchanges import models
from bitmm.xwrap.server.db import paper_ledger, refusals, tables, usage
from bitmm.xwrap.server.db.attempts import Attempt
from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.price_keys import price_key
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.statements import StatementRunner
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql
from tests.support.threads import in_threads

LONG_AGO = "2020"


def test_the_migrations_make_exactly_the_tables(store):
    tables.set_index_conditions()
    with store._database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_revision_is_the_one_that_the_tables_name():
    config = Config()
    config.set_main_option("script_location", str(Path(bitmm.xwrap.server.__path__[0]) / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.REVISION]


@pytest.mark.parametrize(
    ("schema", "fields"), [("Order", models.ORDER_FIELDS), ("Withdrawal", models.WITHDRAWAL_FIELDS)]
)
def test_what_the_api_shows_of_a_journal_is_what_its_document_promises(schema, fields):
    document = Path(bitmm.xwrap.server.__path__[0]) / "openapi.yaml"
    schemas = yaml.safe_load(document.read_text(encoding="utf-8"))["components"]["schemas"]
    assert list(fields) == schemas[schema]["required"]


def test_an_up_to_date_data_base_is_opened_without_alembic(store, monkeypatch):
    monkeypatch.setattr("bitmm.xwrap.server.db.schema._migrate", None)
    store.prepare()


def test_the_tables_are_made_once_when_many_start_together(where):
    stores = [Store(where) for _ in range(4)]
    assert in_threads(4, lambda number: stores[number].prepare()) == [None] * 4
    assert [store.accounts.all() for store in stores] == [[]] * 4
    for store in stores:
        store.close()


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


def older(store, revision):
    """Make the tables of an older version, with an order and a send in every state, some columns of them null."""
    from alembic import command

    with store._database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(bitmm.xwrap.server.__path__[0]) / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql(
            "INSERT INTO accounts (id, name, password_hash, active, created) VALUES (1, 'ann', 'x', true, '2026')"
        )
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
                if status == "open":
                    values |= {"answer_status": 200, "answer": '{"status":"open"}'}
                connection.execute(table.insert().values({**values, "registration_id": 1, "status": status}))


def journals(where):
    """All that they hold, by the names of its columns."""
    names = ("orders", "withdrawals")
    return {name: [dict(row._mapping) for row in sql(where, f"SELECT * FROM {name} ORDER BY id")] for name in names}


def moved_on(before):
    """What the journals of an older version hold after the move: new columns, and an answer of refusals alone.

    The changes of orders are numbered in the order in which these were placed.
    """
    both = {"server": None, "attempt": 0, "credential_id": None, "limit_value": None}
    conditions = {"post_only": 0, "time_in_force": None, "expires": None, "stop": None, "replaces": None}
    new = {"orders": {**both, "reason": None, **conditions}, "withdrawals": {**both, "to_registration": None}}
    no_answer = {"answer_status": None, "answer": None}
    return {
        name: [
            new[name]
            | row
            | ({} if row["status"] == "rejected" else no_answer)
            | ({"change": row["id"]} if name == "orders" else {})
            for row in rows
        ]
        for name, rows in before.items()
    }


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_a_data_base_of_an_older_version_is_moved_on_with_all_that_it_holds(where, revision):
    store = Store(where)
    older(store, revision)
    before = journals(where)
    store.prepare()
    assert [len(rows) for rows in before.values()] == [4, 4]
    assert journals(where) == moved_on(before)
    with store._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    assert store.accounts.find("ann", 1).registration.enabled is True
    assert store.orders.mark_abandoned(LONG_AGO) == 1
    assert store.orders.begin(1, "k", "f", ORDER, CLIENT_IDS).row["id"] == 5
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
    assert journals(where) == moved_on(before)
    store.close()


@pytest.mark.parametrize("journal", ["orders", "withdrawals"])
@pytest.mark.parametrize("gone", ["registrations", "accounts"])
def test_a_journal_does_not_vanish_with_its_registration_or_account(store, journal, gone):
    registration = add_registration(store)
    intent = ORDER if journal == "orders" else {"asset": "BTC", "amount": "1", "address": "tb1qx"}
    row = getattr(store, journal).begin(registration, "k1", "f", intent, CLIENT_IDS).row
    remove = f"DELETE FROM {gone}"
    with pytest.raises(IntegrityError):
        store._database.write(lambda runner: runner.command(remove))
    assert getattr(store, journal).by_key(registration, "k1") == row
    sql(store.where, f"DELETE FROM {journal}")
    store._database.write(lambda runner: runner.command(remove))
    left = store.accounts.find("ann", registration)
    assert left is None or left.registration is None


SEND = {"id": 7, "asset": "BTC", "address": "tb1qx"}


ATTEMPT = Attempt(1, "2026", None, registration=1, updated="2026", server=None, in_place=False)
NEVER = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.orders.rows(1, ("open",), 50, None), "ix_orders_open (registration_id=? AND id<?)"),
        (lambda store: store.orders.rows(1, ("filled", "open"), 50, 9), "ix_orders_registration_id_id"),
        (lambda store: store.orders.by_key(1, "k1"), "(registration_id=? AND key=?)"),
        (lambda store: store.orders.get(1, 7), "INTEGER PRIMARY KEY (rowid=?)"),
        (lambda store: store.orders.attempts.names(), "ix_orders_unsettled (status=?)"),
        (lambda store: store.orders.attempts.at("paper"), "ix_orders_unsettled (status=?)"),
        (lambda store: list(store.orders.attempts.rows([ATTEMPT])), "INTEGER PRIMARY KEY (rowid=?)"),
        (lambda store: store.withdrawals.unknown(), "ix_withdrawals_unsettled (status=?)"),
        (
            lambda store: store.withdrawals.similar("kraken", SEND, NEVER, NEVER),
            "ix_withdrawals_address (address=?)",
        ),
        (
            lambda store: store.withdrawals.similar("kraken", {**SEND, "address": "0xAb"}, NEVER, NEVER),
            "ix_withdrawals_registration_id_created (registration_id=? AND created>? AND created<?)",
        ),
        (lambda store: store.orders.count_unknown(), "ix_orders_unsettled (status=?)"),
        (lambda store: store.orders.mark_abandoned("2026"), "ix_orders_unsettled (status=?)"),
        (
            lambda store: store.orders.changed(1, 7, 100),
            "ix_orders_registration_id_change (registration_id=? AND change>?",
        ),
        (lambda store: store.orders.last_changes([1, 2, 3]), "INTEGER PRIMARY KEY (rowid=?)"),
        (lambda store: store.orders.open_resting_orders("kraken", [1, 2]), "ix_orders_open (registration_id=?)"),
        (lambda store: store.orders.open_market_orders("kraken"), "SCAN orders USING INDEX ix_orders_open_market"),
        (lambda store: store.orders.followed_at([]), "SCAN orders USING INDEX ix_orders_open_market"),
        (lambda store: store.orders.open_resting_orders("kraken", None), "SCAN orders USING INDEX ix_orders_open"),
        (lambda store: store.orders.limited(1, "2026"), "ix_orders_limited (credential_id=? AND created>?)"),
        (
            lambda store: store.withdrawals.other_transfers("kraken", SEND, NEVER, NEVER),
            "ix_withdrawals_registration_id_created (registration_id=? AND created>? AND created<?)",
        ),
        (lambda store: store.withdrawals.limited(1, "2026"), "ix_withdrawals_limited (credential_id=? AND created>?)"),
        (
            lambda store: store.registrations.with_refused_key(),
            "SEARCH of_it USING COVERING INDEX ix_orders_registration_id_id (registration_id=?)",
        ),
        (lambda store: store.paper_ledger(1).orders([1, 2, 3]), "INTEGER PRIMARY KEY (rowid=?)"),
        (lambda store: store.paper_ledger(1).open_orders(), "ix_paper_orders_open (registration_id=?)"),
        (
            lambda store: store.paper_ledger(1).markets(),
            "ix_paper_orders_ends (registration_id=? AND currency=? AND asset=?",
        ),
        (lambda store: store.open_paper_markets(), "SCAN paper_markets"),
        (
            lambda store: store.paper_ledger(1).fills("USD", "BTC", 10),
            "ix_paper_fills_registration_id_id (registration_id=? AND id<?)",
        ),
    ],
)
def test_a_question_to_a_journal_is_answered_from_an_index_whatever_its_values_are(sqlite, monkeypatch, ask, index):
    """SQLite looks at the values too when it plans, and PostgreSQL does so a few times only; here they are null."""
    asked = []

    mine = threading.get_ident()

    def note(_link, statement, values=None):
        # A thread that a server of another test left behind may ask its own data base.
        if threading.get_ident() == mine:
            asked.append((statement, values or {}))
        return []

    monkeypatch.setattr(StatementRunner, "rows", note)
    ask(sqlite)
    [(statement, values)] = asked
    check_plan(sqlite, statement, values, index)


def check_plan(sqlite, statement, values, index):
    """Look at the plan of a statement: the index is used, and no journal is read from one end to the other.

    `index` may be a whole step: that reads all of an index which has few rows.
    """
    compiled = sqlite._database.compiled(statement, values)
    nulls = dict.fromkeys({**compiled.constants, **values})
    with closing(sqlite3.connect(sqlite.where)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {compiled.text}", nulls).fetchall()
    steps = [step for *_, step in plan]
    assert [step for step in steps if index in step], steps
    assert not [step for step in steps if step.startswith("SCAN orders") and step != index], steps
    assert not [step for step in steps if "ORDER BY" in step], steps


@pytest.mark.parametrize("index", ["limits", "stops"])
@pytest.mark.parametrize("price", ["price_key>?", "price_key<?"])
def test_the_open_orders_on_paper_that_a_price_reaches_are_found_in_an_index(sqlite, index, price):
    names = ("registration", "currency", "asset", "looked", "lowest_ask", "highest_ask", "lowest_bid", "highest_bid")
    where = "(registration_id=? AND currency=? AND asset=? AND side=? AND"
    for statement in (paper_ledger._REACHED, paper_ledger._ONE_REACHED):
        check_plan(sqlite, statement, dict.fromkeys(names), f"ix_paper_orders_{index} {where} {price})")


def test_the_open_orders_on_paper_whose_end_has_come_are_found_in_an_index(sqlite):
    values = dict.fromkeys(("registration", "currency", "asset", "time"))
    index = "ix_paper_orders_ends (registration_id=? AND currency=? AND asset=? AND expires>? AND expires<?)"
    check_plan(sqlite, paper_ledger._ENDED, values, index)


def test_the_switches_that_are_set_are_found_in_an_index_of_these_alone(sqlite):
    check_plan(sqlite, sqlite.safety._switches, {}, "registrations USING INDEX ix_registrations_deadman_at")


def test_what_an_account_placed_in_a_day_is_added_up_from_its_hours_alone(sqlite):
    index = "placed USING INDEX sqlite_autoindex_placed_1 (account_id=? AND hour>?)"
    check_plan(sqlite, usage.SUM_PLACED, {"account": 1, "since": "2026"}, index)


def test_the_move_fills_the_hours_from_the_journals(where):
    store = Store(where)
    older(store, "0006")
    recent, [[account]] = now(), sql(where, "SELECT account_id FROM registrations WHERE id = 1")
    sql(where, "UPDATE orders SET created = :then WHERE id <= 3", then=recent)
    sql(where, "UPDATE withdrawals SET created = :then WHERE id <= 2", then=recent)
    sql(where, "UPDATE orders SET created = :then WHERE id > 3", then=now(90_000))
    sql(where, "UPDATE withdrawals SET created = :then WHERE id > 2", then=now(90_000))
    store.prepare()
    assert sql(where, "SELECT account_id, hour, begun FROM placed") == [(account, recent[:13], 5)]
    assert store.usage.placed(account) == (5, recent[:13])
    store.close()


@pytest.mark.parametrize("journal", ["orders", "withdrawals"])
def test_old_refusals_are_found_in_an_index_whatever_else_the_journal_has(sqlite, journal):
    old = sqlite.refusals._statements[journal].old
    values = {"until": "2026", "first_kept": 9, "passed_over": 0, "most": 500}
    check_plan(sqlite, old, values, f"{journal} USING INDEX ix_{journal}_refused (updated<?)")
    check_plan(sqlite, refusals._DECISIONS, {}, "audit_log USING INDEX ix_audit_log_decisions")


def test_the_move_gives_each_order_on_paper_that_was_filled_its_fill(where):
    store = Store(where)
    older(store, "0013")
    columns = (
        "registration_id, client_id, side, currency, asset, amount, held, average, spent, fee, checked, created, status"
    )
    for id, status in ((3, "filled"), (4, "canceled"), (5, "open"), (6, "filled")):
        average = "'100'" if status == "filled" else "NULL"
        values = f"1, 'c{id}', 'buy', 'USD', 'BTC', '0.5', '0', {average}, '50', '0.13', 1, '2026', '{status}'"
        sql(where, f"INSERT INTO paper_orders (id, {columns}) VALUES ({id}, {values})")
    store.prepare()
    query = "SELECT id, order_id, price, amount, fee FROM paper_fills ORDER BY id"
    assert sql(where, query) == [(id, id, "100", "0.5", "0.13") for id in (3, 6)]
    assert sql(where, "SELECT filled FROM paper_orders ORDER BY id") == [("0.5",), (None,), (None,), ("0.5",)]
    with store.paper_ledger(1).transaction() as transaction:
        transaction.add_fill({"order_id": 5, "price": "1", "amount": "0.1", "fee": "0"})
    assert [row["order_id"] for row in store.paper_ledger(1).fills("USD", "BTC", 2)] == [5, 6]
    store.close()


def test_the_move_adds_up_what_open_orders_on_paper_hold_and_finds_their_prices(where):
    store = Store(where)
    older(store, "0015")
    for name in ("USD", "BTC", "ETH"):
        sql(where, "INSERT INTO paper_balances (registration_id, currency, total) VALUES (1, :name, '1000')", name=name)
    columns = (
        "id, registration_id, client_id, side, currency, asset, amount, price, stop, held, checked, expires, status"
    )
    orders = [
        (1, "buy", "USD", "BTC", "100.50", None, "1.005", 70, None, "open"),
        (2, "buy", "USD", "BTC", "100", None, "0.1", 60, "2026-11-28T03:30:00+02:00", "open"),
        (3, "sell", "USD", "BTC", "90", "99.00", "2", 70, None, "open"),
        (4, "buy", "BTC", "ETH", None, "0.05", "0.00000001", 70, "2026-11-28T03:30:00+00:00", "open"),
        (5, "buy", "USD", "BTC", "100", None, "7", 50, None, "canceled"),
    ]
    for id, side, currency, asset, price, stop, held, checked, expires, status in orders:
        texts = [None if text is None else f"'{text}'" for text in (side, currency, asset, "1", price, stop, held)]
        row = [str(id), "1", f"'c{id}'", *texts, str(checked), f"'{expires}'" if expires else None, f"'{status}'"]
        values = ", ".join(text or "NULL" for text in row)
        sql(where, f"INSERT INTO paper_orders ({columns}, created) VALUES ({values}, '2026')")
    store.prepare()
    held = dict(sql(where, "SELECT currency, held FROM paper_balances"))
    assert held == {"USD": "1.105", "BTC": "2.00000001", "ETH": "0"}
    query = "SELECT currency, asset, open_orders, checked, looked FROM paper_markets ORDER BY asset"
    assert sql(where, query) == [("USD", "BTC", 3, 60, 0), ("BTC", "ETH", 1, 70, 0)]
    keys = [price_key(Decimal(price)) for price in ("100.5", "100", "99", "0.05")]
    found = sql(where, "SELECT price_key, expires FROM paper_orders ORDER BY id")
    assert [key for key, _ in found] == [*keys, None]
    assert [end for _, end in found if end] == ["2026-11-28T01:30:00+00:00", "2026-11-28T03:30:00+00:00"]
    store.close()
