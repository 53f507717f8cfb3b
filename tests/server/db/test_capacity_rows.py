"""The rows that the benchmark of capacity makes are read as those that a server wrote."""

from __future__ import annotations

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from bitmm.xwrap.exchanges.paper import Paper, PaperConfig, Prices
from tests.benchmarks.capacity.rows import add_accounts, add_filled_orders, add_unknown_orders
from tests.support.databases import CLIENT_IDS, ORDER, add_registration


def test_generated_orders_are_found_by_id_and_key_and_are_listed(store, where):
    registration = add_registration(store)
    paper = _paper(store, registration)
    placed = paper.place(NewOrder("buy", "USD", "BTC", CLIENT_IDS[0], amount=1))
    row = store.orders.begin(registration, "first", "f", ORDER, CLIENT_IDS).row
    store.orders.finish(row, {"status": "filled", "exchange_order_id": placed.exchange_order_id})
    row = store.orders.get(registration, row["id"])

    others = add_accounts(where, registration, 3)
    add_filled_orders(where, row["id"], others, 12)

    assert len(others) == 3
    for number in range(1, 13):
        other = others[number % 3]
        generated = store.orders.by_key(other, f"copy-{number}")
        assert store.orders.get(other, generated["id"]) == generated
        own = {"id", "registration_id", "key", "client_id", "exchange_order_id", "change"}
        assert {name for name in row if generated[name] != row[name]} <= own
        found = _paper(store, other).find(OrderRef("buy", "USD", "BTC", generated["client_id"]))
        assert (found.status, found.filled) == (placed.status, placed.filled)
        assert found.exchange_order_id == generated["exchange_order_id"]


def test_the_server_goes_on_after_generated_rows(store, where):
    registration = add_registration(store)
    row = store.orders.begin(registration, "first", "f", ORDER, CLIENT_IDS).row
    store.orders.finish(row, {"status": "unknown"})
    add_unknown_orders(where, row["id"], 20)

    assert len(store.orders.unknown()) == 21
    more = store.orders.begin(registration, "more", "f", ORDER, [f"{n:032x}" for n in range(100, 105)]).row
    assert more["id"] > max(one["id"] for _, one in store.orders.unknown())


def _paper(store, registration):
    config = PaperConfig(Prices.load(), {"USD": 10**6, "BTC": 10}, store.paper_ledger, lambda: 1_736_208_060.0)
    return Paper(ExchangeContext(None, registration=registration), config)
