"""A page of a journal has what its single rows show, and reads no more than that."""

from __future__ import annotations

import threading

import pytest

from bitmm.xwrap.exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS
from bitmm.xwrap.server.db.row_json import row_to_json
from bitmm.xwrap.server.db.statements import StatementRunner
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, ORDER, add_registration

STATUSES = ("open", "filled", "rejected", "unknown", "running", "pending")
LIMIT_ORDER = ORDER | {"type": "limit", "price": "20000.50"}
ORDERS = [
    (ORDER, {}),
    (ORDER, {"status": "unknown"}),
    (ORDER | {"amount": None, "cost": "0.10"}, {"status": "filled", "filled": "0.00000100", "fee": "0"}),
    (LIMIT_ORDER | {"post_only": True}, {"status": "open", "exchange_order_id": "X1"}),
    (LIMIT_ORDER | {"time_in_force": "GTD", "expires": "2027-01-01T00:00:00Z", "stop": "1E+4"}, {"status": "open"}),
    (LIMIT_ORDER | {"replaces": 4}, {"status": "rejected", "reason": "no", "answer": "{}", "answer_status": 422}),
]
SEND = {"asset": "BTC", "amount": "0.10", "address": "tb1q"}
SENDS = [(SEND | {"tag": "7"}, {"status": "pending"}), (SEND | {"to_registration": 1}, {"status": "done"}), (SEND, {})]


@pytest.fixture
def store(database, tmp_path):
    store = Store(database(tmp_path, tables=True))
    yield store
    store.close()


@pytest.mark.parametrize(
    ("name", "fields", "kept"), [("orders", ORDER_FIELDS, ORDERS), ("withdrawals", WITHDRAWAL_FIELDS, SENDS)]
)
def test_a_page_shows_each_row_as_a_call_for_it_alone_does(store, name, fields, kept):
    journal, registration = getattr(store, name), add_registration(store)
    for number, (columns, outcome) in enumerate(kept):
        row = journal.begin(registration, f"k{number}", "f", columns, CLIENT_IDS).row
        if outcome:
            journal.finish(row, outcome)
    statuses = (*STATUSES, "done")
    page = journal.rows(registration, statuses, 500, None, fields)
    assert page == [row_to_json(row, fields) for row in journal.rows(registration, statuses, 500, None)]
    assert [list(row) for row in page] == [
        list(row_to_json(journal.get(registration, row["id"]), fields)) for row in page
    ]
    assert len(page) == len(kept)


def test_a_page_is_one_statement_that_reads_the_columns_that_are_shown(store, monkeypatch):
    registration, mine, asked = add_registration(store), threading.get_ident(), []
    run = StatementRunner._run

    def note(runner, statement, values):
        compiled = run(runner, statement, values)
        if threading.get_ident() == mine:
            asked.append(compiled)
        return compiled

    monkeypatch.setattr(StatementRunner, "_run", note)
    store.orders.rows(registration, STATUSES, 500, None, ORDER_FIELDS)
    [compiled] = asked
    optional = ["post_only", "time_in_force", "expires", "stop", "replaces"]
    assert list(compiled.columns) == [*ORDER_FIELDS, *optional]
    assert {type(name) for name in compiled.columns} == {str}
