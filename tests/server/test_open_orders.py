"""GET /exchanges/ID/orders/?status=open on paper, where thousands may be open: it costs what is shown."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.server.db.statements import _NONE, StatementRunner


@pytest.fixture
def bench(server, auth):
    return Bench(server, auth)


class Bench:
    """A registration on paper with twelve open orders."""

    def __init__(self, server, auth):
        self.server, self.auth = server, auth
        self.url = f"{server.url}/exchanges/{server.registration(auth)}"
        order = {"currency": "USD", "asset": "BTC", "amount": "0.001", "price": "1"}
        self.ids = [requests.post(f"{self.url}/buy", order, auth=auth, timeout=30).json()["id"] for _ in range(12)]

    def open_ids(self, **query):
        asked = requests.get(f"{self.url}/orders/", {"status": "open", **query}, auth=self.auth, timeout=30)
        assert asked.status_code == 200, asked.text
        return [row["id"] for row in asked.json()]


def test_a_page_reads_no_more_orders_than_it_shows(bench, monkeypatch):
    read, rows = [], StatementRunner.rows

    def note(runner, statement, values=_NONE):
        found = rows(runner, statement, values)
        if any("fingerprint" in row or "price_key" in row for row in found):
            read.append(len(found))
        return found

    monkeypatch.setattr(StatementRunner, "rows", note)
    first = bench.open_ids(limit=5)
    second = bench.open_ids(limit=5, before=first[-1])
    assert read == [5] * 4, "those of the journal and those of the exchange"
    assert first + second == bench.ids[:1:-1]


def test_the_last_page_has_the_rest_and_what_was_not_placed_here_is_on_the_first(bench):
    bench.server.sql("DELETE FROM orders WHERE id IN (:first, :last)", first=bench.ids[0], last=bench.ids[-1])
    rest = bench.ids[-2:0:-1]
    assert bench.open_ids(limit=50) == [*rest, None, None]
    assert bench.open_ids(limit=11) == [*rest, None]
    assert bench.open_ids(limit=10) == rest
    assert bench.open_ids(limit=5, before=rest[4]) == rest[5:]
    assert bench.open_ids(limit=50, before=rest[4]) == rest[5:]


def test_an_order_that_is_over_is_not_listed_and_its_row_says_so(bench):
    over = bench.ids[10]
    paper_id = "SELECT CAST(exchange_order_id AS BIGINT) FROM orders WHERE id = :id"
    bench.server.sql(f"UPDATE paper_orders SET status = 'canceled', price_key = NULL WHERE id = ({paper_id})", id=over)
    assert bench.open_ids(limit=50) == [id for id in bench.ids[::-1] if id != over]
    assert bench.server.sql("SELECT status FROM orders WHERE id = :id", id=over) == [("canceled",)]
