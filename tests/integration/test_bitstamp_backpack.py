"""Answers of Bitstamp and Backpack, through the real server: what becomes of a key, of a record, of a send."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, NotFound, RateLimited
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue


@pytest.fixture
def backend_at(serving):
    """A function: a backend at a local exchange, through a server of its own."""
    opened = []

    def backend_at(venue):
        serve = serving(
            exchanges=(venue.name,), exchange_urls={venue.name: venue.url}, exchange_seconds=2.0, reconcile_seconds=0.2
        )
        server = serve.__enter__()
        opened.append(serve)
        return XWrap(server.url).create_backend(*server.account(), venue.name, "1234", venue.key, venue.secret)

    yield backend_at
    for serve in reversed(opened):
        serve.__exit__(None, None, None)


@pytest.fixture
def bitstamp():
    with BitstampVenue() as venue:
        venue.answers_of_2021 = True
        yield venue


@pytest.mark.answer_kind("G", exchange="bitstamp")
@pytest.mark.parametrize(
    ("fault", "kind", "code"), [("nonce", APIError, "invalid_nonce"), ("rate_limit", RateLimited, "rate_limited")]
)
def test_a_passing_refusal_in_words_alone_leaves_the_key_free(bitstamp, backend_at, fault, kind, code):
    backend = backend_at(bitstamp)
    bitstamp.fault(fault, path="/buy/market/")
    with pytest.raises(kind) as caught:
        backend.buy("EUR", "BTC", Decimal("0.01"), key="once")
    assert (caught.value.code, caught.value.retryable, caught.value.may_have_executed) == (code, True, False)
    with pytest.raises(NotFound) as caught:
        backend.order(key="once")
    assert caught.value.code == "no_such_key"
    assert not bitstamp.ledger()


def test_a_key_that_a_used_nonce_left_free_is_used_again(bitstamp, backend_at):
    backend = backend_at(bitstamp)
    bitstamp.fault("nonce", path="/buy/market/", times=1)
    with pytest.raises(APIError):
        backend.buy("EUR", "BTC", Decimal("0.01"), key="once")
    order = backend.buy("EUR", "BTC", Decimal("0.01"), key="once")
    assert (order["status"], order["filled"]) == ("filled", Decimal("0.01"))
    assert len(bitstamp.ledger()) == 1


@pytest.mark.answer_kind("J", exchange="bitstamp")
def test_an_order_in_the_form_of_2021_is_canceled_and_recorded(bitstamp, backend_at):
    backend = backend_at(bitstamp)
    placed = backend.sell("EUR", "BTC", Decimal("0.01"), price=Decimal(35000))
    assert [order["id"] for order in backend.orders("open")] == [placed["id"]]
    canceled = backend.cancel(placed["id"])
    assert (canceled["status"], canceled["filled"], canceled["amount"]) == ("canceled", 0, Decimal("0.01"))
    assert backend.order(placed["id"])["status"] == "canceled"
