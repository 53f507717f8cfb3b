"""A refused key, a malformed one and a used nonce, from the exchange to the class that the client raises."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import InvalidRequest, PermissionDenied, RateLimited, Unavailable
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.hub import HubVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

WRONG = "d3Jvbmc="


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def shared_server(serving, venue):
    with serving(exchanges=("kraken",), exchange_urls={"kraken": venue.url}) as server:
        yield server


@pytest.fixture
def register(venue, shared_server):
    return lambda key=venue.key, secret=venue.secret: XWrap(shared_server.url).create_backend(
        *shared_server.account(), "kraken", "", key, secret, allow_send=True
    )


def test_a_key_that_the_exchange_does_not_accept_is_refused_when_it_is_registered(register):
    with pytest.raises(PermissionDenied, match="EAPI:Invalid signature") as caught:
        register(secret=WRONG)
    error = caught.value
    assert (error.status, error.code, error.retryable, error.may_have_executed) == (
        403,
        "exchange_key_refused",
        False,
        False,
    )


@pytest.mark.parametrize(("id", "kind"), [("bitstamp", BitstampVenue), ("hub", HubVenue)])
def test_where_rights_are_not_told_a_wrong_secret_is_not_kept_and_the_right_one_is_taken(serving, id, kind):
    with kind() as venue, serving(exchanges=(id,), exchange_urls={id: venue.url}) as server:
        auth, xw = server.account(), XWrap(server.url)
        with pytest.raises(PermissionDenied) as caught:
            xw.create_backend(*auth, id, "", venue.key, "x" + venue.secret)
        assert caught.value.code == "exchange_key_refused"
        assert xw.list_backends(*auth) == []
        assert xw.create_backend(*auth, id, "", venue.key, venue.secret).balance()


@pytest.mark.parametrize(("id", "kind"), [("kraken", KrakenVenue), ("bitstamp", BitstampVenue)])
@pytest.mark.parametrize(
    ("fault", "status", "code", "error"),
    [("rate_limit", 429, "rate_limited", RateLimited), ("maintenance", 503, "exchange_unavailable", Unavailable)],
)
def test_a_key_that_could_not_be_tried_is_not_kept(serving, id, kind, fault, status, code, error):
    """A wrong secret would be kept for good, because a key is registered once."""
    with kind() as venue, serving(exchanges=(id,), exchange_urls={id: venue.url}) as server:
        auth, xw = server.account(), XWrap(server.url)
        venue.fault(fault, times=9)
        with pytest.raises(error, match=r"^the key could not be tried, so it was not kept: ") as caught:
            xw.create_backend(*auth, id, "", venue.key, WRONG)
        assert (caught.value.status, caught.value.code, caught.value.retryable) == (status, code, True)
        assert not caught.value.may_have_executed
        assert caught.value.retry_after
        assert xw.list_backends(*auth) == []


def test_a_key_is_not_kept_where_its_exchange_cannot_be_reached(serving):
    with serving(exchanges=("bitstamp",), exchange_urls={"bitstamp": "http://127.0.0.1:9"}) as server:
        auth, xw = server.account(), XWrap(server.url)
        with pytest.raises(Unavailable, match="could not be tried") as caught:
            xw.create_backend(*auth, "bitstamp", "", "key", "secret")
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "exchange_unavailable", 10)
        assert xw.list_backends(*auth) == []


def test_a_key_is_kept_where_the_administrator_has_not_said_yet_where_its_exchange_is(serving):
    with serving(exchanges=("mtgox",)) as server:
        assert (
            XWrap(server.url).create_backend(*server.account(), "mtgox", "", "key", WRONG).info["permissions"] is None
        )


@pytest.mark.parametrize(
    ("given", "field"),
    [({"secret": "not base64!"}, "apisecret"), ({"key": "ké"}, "apikey"), ({"secret": ""}, "apisecret")],
)
def test_a_malformed_key_is_a_wrong_request_that_names_the_field_and_asks_nothing(venue, register, given, field):
    before = len(venue.requests)
    with pytest.raises(InvalidRequest, match=field) as caught:
        register(**given)
    assert (caught.value.code, caught.value.retryable) == ("invalid_request", False)
    assert len(venue.requests) == before


def test_a_key_that_is_withdrawn_later_is_refused_to_reads_and_orders(venue, register, monkeypatch):
    backend = register()
    monkeypatch.setattr(venue.account, "secret", WRONG)
    for call in (backend.balance, lambda: backend.buy("EUR", "BTC", "0.01", price=20000)):
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert caught.value.code == "exchange_key_refused"


def test_a_read_whose_nonce_was_refused_is_repeated_by_the_client(venue, register):
    backend = register()
    venue.fault("nonce", times=1, path="/BalanceEx")
    assert backend.balance()["EUR"] > 0
    assert not venue.faults


def test_a_read_whose_nonce_is_refused_again_and_again_is_unavailable(venue, register):
    backend = register()
    venue.fault("nonce", times=10, path="/BalanceEx")
    with pytest.raises(Unavailable, match="EAPI:Invalid nonce") as caught:
        backend.balance()
    venue.heal()
    error = caught.value
    assert (error.status, error.code, error.retryable, error.may_have_executed) == (503, "invalid_nonce", True, False)
