"""What a call costs on PostgreSQL: how often it waits for the data base, counted on the wire."""

from __future__ import annotations

from itertools import count

import pytest
from sqlalchemy import make_url

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server import reconciliation
from bitmm.xwrap.server.db import idle_connections
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.databases import new_database
from tests.support.round_trips import counted


@pytest.fixture
def trips(postgres, monkeypatch):
    # On a busy machine a connection lies idle for longer within a call, and would be asked whether it lives.
    monkeypatch.setattr(idle_connections, "_IDLE_SECONDS", 600.0)
    # For a minute after the start it looks three times a second for what is unknown, so beside every slow call.
    monkeypatch.setattr(reconciliation, "_FIRST_SECONDS", 0.0)
    # The proxy takes connections without encryption, which libpq asks for otherwise.
    with counted(new_database(postgres)) as trips:
        trips.url = make_url(trips.url).update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False)
        yield trips


@pytest.fixture
def server(serving, trips, tmp_path):
    with (
        KrakenVenue() as venue,
        serving(
            data=tmp_path,
            database_url=trips.url,
            exchanges=("paper", "kraken"),
            exchange_urls={"kraken": venue.url},
            reconcile_seconds=600.0,
        ) as server,
    ):
        server.venue = venue
        yield server


def test_each_call_waits_for_the_data_base_as_seldom_as_it_can(server, trips):
    auth, keys = server.account(), map("key-{}".format, count())
    xwrap = XWrap(server.url)
    paper = xwrap.create_backend(*auth, "paper", "", "", "")
    kraken = xwrap.create_backend(*auth, "kraken", "", server.venue.key, server.venue.secret, allow_send="true")
    order = kraken.buy("EUR", "BTC", "0.01", price="100")
    kraken.buy("EUR", "BTC", "0.01")
    calls = {
        "a balance at Kraken": (5, kraken.balance),
        "a poll of an order there": (6, lambda: kraken.order(order["id"])),
        "a buy there": (19, lambda: kraken.buy("EUR", "BTC", "0.01", key=next(keys))),
        "one that rests": (15, lambda: kraken.buy("EUR", "BTC", "0.01", price="100", key=next(keys))),
        "a balance on paper": (3, paper.balance),
        "a buy on paper": (8, lambda: paper.buy("USD", "BTC", "0.01", key=next(keys))),
        "one there that rests": (9, lambda: paper.buy("USD", "BTC", "0.01", price="10", key=next(keys))),
    }
    found = {name: trips.of(call) for name, (_most, call) in calls.items()}
    assert {name: waits for name, waits in found.items() if waits > calls[name][0]} == {}
