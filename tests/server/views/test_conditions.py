"""Orders with conditions over the wire: post-only, and how long they are in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import InvalidRequest, OutcomeUnknown
from bitmm.xwrap.exchanges.errors import Unknown
from bitmm.xwrap.exchanges.paper import Paper
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from tests.support.client_servers import says
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import raw_server

END = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)


@pytest.fixture
def backend(server):
    auth = server.account()
    return Backend(server.registration(auth), *auth, server.url)


def conditions(order):
    return {name: order[name] for name in ("post_only", "time_in_force", "expires", "stop") if name in order}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"post_only": True}, {"post_only": True}),
        ({"time_in_force": "GTC", "post_only": True}, {"time_in_force": "GTC", "post_only": True}),
        (
            {"time_in_force": "GTD", "expires": END},
            {"time_in_force": "GTD", "expires": END.isoformat().replace("+00:00", "Z")},
        ),
        ({"stop": "300000.50"}, {"stop": Decimal("300000.50")}),
        ({"stop": 300_000, "time_in_force": "GTC"}, {"stop": Decimal(300_000), "time_in_force": "GTC"}),
    ],
)
def test_an_order_shows_the_conditions_that_it_was_placed_with(backend, given, kept):
    order = backend.buy("USD", "BTC", "0.1", price="20000", key="k1", **given)
    assert (order["status"], conditions(order)) == ("open", kept)
    assert conditions(backend.buy("USD", "BTC", "0.1", price="20000", dry_run=True, **given)) == kept
    for read in (backend.order(order["id"]), backend.order(key="k1"), *backend.orders(), *backend.orders("open")):
        assert (read["id"], conditions(read)) == (order["id"], kept)
    assert backend.buy("USD", "BTC", "0.1", price="20000", key="k1", **given)["id"] == order["id"]


def test_other_conditions_are_another_order(backend):
    backend.buy("USD", "BTC", "0.1", price="20000", key="k1", time_in_force="GTD", expires=END)
    later = END + timedelta(seconds=1)
    gtd = {"time_in_force": "GTD", "expires": later}
    for other in ({}, {"post_only": True}, {"time_in_force": "GTC"}, gtd, {"stop": "300000"}):
        with pytest.raises(InvalidRequest) as caught:
            backend.buy("USD", "BTC", "0.1", price="20000", key="k1", **other)
        assert caught.value.code == "key_reused"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_post_only_order_that_would_take_is_refused_by_name(backend, dry_run):
    with pytest.raises(InvalidRequest) as caught:
        backend.buy("USD", "BTC", "0.1", price="900000", post_only=True, dry_run=dry_run)
    assert caught.value.code == "would_take"
    assert backend.balance() == {"USD": 200_000, "BTC": 1}


@pytest.mark.parametrize("word", ["IOC", "FOK"])
def test_an_order_that_ends_at_once_is_canceled_with_a_reason_or_filled(backend, word):
    canceled = backend.sell("USD", "BTC", "0.1", price="900000", time_in_force=word)
    assert (canceled["status"], canceled["filled"]) == ("canceled", 0)
    assert canceled["reason"].startswith(word)
    assert backend.funds()["BTC"]["held"] == 0
    assert backend.buy("USD", "BTC", "0.1", price="900000", time_in_force=word)["status"] == "filled"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"price": None, "post_only": True}, "post_only"),
        ({"price": None, "time_in_force": "IOC"}, "time_in_force"),
        ({"time_in_force": "DAY"}, "time_in_force"),
        ({"time_in_force": "ioc"}, "time_in_force"),
        ({"time_in_force": "GTD"}, "expires"),
        ({"time_in_force": "GTC", "expires": END}, "expires"),
        ({"expires": END}, "expires"),
        ({"time_in_force": "GTD", "expires": "soon"}, "expires"),
        ({"time_in_force": "GTD", "expires": END.replace(microsecond=1)}, "expires"),
        ({"time_in_force": "GTD", "expires": "2013-11-27T10:00:00Z"}, "expires"),
        ({"time_in_force": "FOK", "post_only": True}, "post_only"),
        ({"stop": "300000", "post_only": True}, "post_only"),
        ({"stop": "300000", "time_in_force": "IOC"}, "IOC"),
        ({"stop": "300000", "time_in_force": "GTD", "expires": END}, "GTD"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(backend, form, field):
    for dry_run in (True, False):
        with pytest.raises(InvalidRequest, match=field) as caught:
            backend.buy("USD", "BTC", "0.1", **{"price": "20000", **form}, dry_run=dry_run)
        assert caught.value.code == "invalid_request"
    assert backend.orders("open") == []


def test_an_order_with_a_stop_is_for_an_amount(backend):
    for dry_run in (True, False):
        with pytest.raises(InvalidRequest, match="give the amount") as caught:
            backend.buy("USD", "BTC", cost="100", stop="300000", dry_run=dry_run)
        assert caught.value.code == "invalid_request"
    for stop in ("0", "-1"):
        with pytest.raises(InvalidRequest, match="stop"):
            backend.buy("USD", "BTC", "1", stop=stop)


def test_a_market_order_with_a_stop_is_open_until_it_is_canceled(backend):
    order = backend.sell("USD", "BTC", "0.1", stop="1")
    assert (order["status"], order["type"], order["price"], order["stop"]) == ("open", "market", None, 1)
    assert backend.orders("open")[0]["id"] == order["id"]
    assert backend.funds()["BTC"]["held"] == Decimal("0.1")
    canceled = backend.cancel(order["id"])
    assert (canceled["status"], canceled["filled"], canceled["stop"]) == ("canceled", 0, 1)


@pytest.mark.parametrize(("price", "average"), [(None, 300_000), ("310000", 310_000)])
def test_a_dry_run_with_a_stop_says_what_it_would_cost_there(backend, price, average):
    tried = backend.buy("USD", "BTC", "0.1", price=price, stop="300000", dry_run=True)
    assert (tried["average"], tried["spent"], tried["stop"]) == (average, average / 10, 300_000)
    assert (tried["fee"], tried["price"]) == (Decimal("0.0026") * average / 10, average)


def test_where_the_exchange_holds_no_stops_the_server_does_not_either(serving):
    with BitstampVenue() as venue, serving(exchanges=("bitstamp",), exchange_urls={"bitstamp": venue.url}) as server:
        auth = server.account()
        id = server.registration(auth, "bitstamp", apikey=venue.key, apisecret=venue.secret)
        backend = Backend(id, *auth, server.url)
        for more in ({}, {"price": "24000"}, {"dry_run": True}):
            with pytest.raises(InvalidRequest, match="this server holds none itself, since it would fail") as caught:
                backend.sell("EUR", "BTC", "0.1", stop="25000", **more)
            assert caught.value.code == "unsupported"
        assert venue.ledger() == []


def test_the_client_refuses_a_time_that_could_be_any(backend):
    with pytest.raises(InvalidRequest) as caught:
        backend.buy("USD", "BTC", "1", price="1", time_in_force="GTD", expires=END.replace(tzinfo=None))
    assert caught.value.code == "invalid_argument"


def test_an_order_whose_answer_was_lost_keeps_its_conditions(backend, monkeypatch):
    place = Paper.place

    def lose(exchange, order):
        place(exchange, order)
        raise Unknown("the answer was lost")

    monkeypatch.setattr(Paper, "place", lose)
    with pytest.raises(OutcomeUnknown):
        backend.buy("USD", "BTC", "0.1", price="20000", time_in_force="GTC", post_only=True)
    order = backend.orders()[0]
    assert (order["status"], conditions(order)) == ("unknown", {"post_only": True, "time_in_force": "GTC"})


@pytest.mark.parametrize(
    ("given", "answered", "believed"),
    [
        ({"post_only": True}, {"post_only": True}, True),
        ({"post_only": True}, {}, False),
        ({"post_only": True}, {"post_only": None}, False),
        ({"time_in_force": "IOC"}, {"time_in_force": "IOC"}, True),
        ({"time_in_force": "IOC"}, {"time_in_force": "FOK"}, False),
        ({"time_in_force": "IOC"}, {}, False),
        ({"expires": "2026-12-01T10:00:00+01:00"}, {"expires": "2026-12-01T09:00:00Z"}, True),
        ({"expires": "2026-12-01T10:00:00+01:00"}, {"expires": "2026-12-01T10:00:00Z"}, False),
        ({"expires": "2026-12-01T10:00:00+01:00"}, {}, False),
        ({}, {"post_only": True}, False),
        ({"stop": "7.50"}, {"stop": "7.5"}, True),
        ({"stop": "7.50"}, {"stop": "7.51"}, False),
        ({"stop": "7.50"}, {"stop": None}, False),
        ({"stop": "7.50"}, {}, False),
        ({}, {"stop": "7.5"}, False),
    ],
)
def test_an_answer_without_the_conditions_that_were_asked_for_is_not_believed(given, answered, believed):
    """A server that does not know them may have placed a plain order."""
    record = {"id": 1, "key": "k1", "side": "buy", "status": "open", "price": "5", "cost": None, **answered}
    with raw_server(says(record)) as server:
        backend = Backend(1, USER, PASSWORD, server.url, timeout=2)
        if believed:
            assert backend.buy("USD", "BTC", "1", price="5", key="k1", **given)["id"] == 1
        else:
            with pytest.raises(OutcomeUnknown):
                backend.buy("USD", "BTC", "1", price="5", key="k1", **given)
