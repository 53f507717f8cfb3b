"""Answers of Bitstamp and Backpack, through the real server: what becomes of a key, of a record, of a send."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, InvalidRequest, NotFound, OutcomeUnknown
from bitmm.xwrap.exchanges.backpack import funding as backpack_funding
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from tests.support.sends import allow_sends


@pytest.fixture
def backend_at(serving):
    """A function: a backend at a local exchange, through a server of its own."""
    opened = []

    def backend_at(venue):
        serve = serving(
            exchanges=(venue.name,),
            exchange_urls={venue.name: venue.url},
            exchange_seconds=2.0,
            reconcile_seconds=0.2,
            reconcile_grace_seconds=0.0,
        )
        server = serve.__enter__()
        opened.append(serve)
        backend = XWrap(server.url).create_backend(*server.account(), venue.name, "1234", venue.key, venue.secret)
        allow_sends(server.database, backend.username, ["So1Example"], asset="SOL")
        return backend

    yield backend_at
    for serve in reversed(opened):
        serve.__exit__(None, None, None)


@pytest.fixture
def bitstamp():
    with BitstampVenue() as venue:
        venue.answers_of_2021 = True
        yield venue


@pytest.mark.answer_kind("G", exchange="bitstamp")
def test_a_used_nonce_in_words_alone_leaves_the_key_free(bitstamp, backend_at):
    backend = backend_at(bitstamp)
    bitstamp.fault("nonce", path="/buy/market/")
    with pytest.raises(APIError) as caught:
        backend.buy("EUR", "BTC", Decimal("0.01"), key="once")
    facts = (caught.value.code, caught.value.retryable, caught.value.may_have_executed)
    assert facts == ("invalid_nonce", True, False)
    with pytest.raises(NotFound) as caught:
        backend.order(key="once")
    assert caught.value.code == "no_such_key"
    assert not bitstamp.ledger()


@pytest.mark.answer_kind("G", exchange="bitstamp")
def test_a_rate_limit_in_words_alone_leaves_it_open_until_the_order_can_be_looked_up(bitstamp, backend_at):
    """It may be from the front, which counted an earlier delivery; the look-up waits as long as the limit asks."""
    backend = backend_at(bitstamp)
    bitstamp.fault("rate_limit", path="/buy/market/")
    with pytest.raises(OutcomeUnknown):
        backend.buy("EUR", "BTC", Decimal("0.01"), key="once")
    assert backend.order(key="once")["status"] == "unknown"
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


@pytest.fixture
def backpack(monkeypatch):
    """The local Backpack; that its history lags is known, but here it does not."""
    monkeypatch.setattr(backpack_funding, "_LAG", timedelta(0))
    with BackpackVenue() as venue:
        yield venue


@pytest.mark.answer_kind("G", exchange="backpack")
def test_a_request_that_expired_leaves_its_key_free_once_the_order_is_not_found(backpack, backend_at):
    backend = backend_at(backpack)
    backpack.fault("nonce", path="/api/v1/order", times=1)
    with pytest.raises(OutcomeUnknown):
        backend.buy("USDC", "SOL", Decimal("0.5"), key="once")
    wait_until_free(backend, "once")
    order = backend.buy("USDC", "SOL", Decimal("0.5"), key="once")
    assert (order["status"], order["filled"]) == ("filled", Decimal("0.5"))
    assert len(backpack.ledger()) == 1


def wait_until_free(backend, key):
    """Return when the reconciler found out that nothing was executed with this key, so that it may be used again."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            backend.order(key=key)
        except OutcomeUnknown:
            continue
        except NotFound:
            return
    raise AssertionError("the key is not free")


@pytest.mark.answer_kind("G", exchange="backpack")
def test_an_order_whose_second_delivery_expired_is_found(backpack, backend_at):
    """The first one was executed; the answer that arrives is the one to the second."""
    backend = backend_at(backpack)
    execute = backpack.answer

    def deliver_twice(request):
        answer = execute(request)
        if (request.method, request.path) != ("POST", "/api/v1/order"):
            return answer
        del backpack.answer
        return backpack.fault_reply("nonce", request)

    backpack.answer = deliver_twice
    order = backend.buy("USDC", "SOL", Decimal("0.5"), key="once")
    assert (order["status"], order["filled"]) == ("filled", Decimal("0.5"))
    assert len(backpack.ledger()) == 1


@pytest.mark.answer_kind("H", exchange="backpack")
def test_a_body_that_could_not_be_parsed_is_refused_and_its_key_is_known(backpack, backend_at):
    backend = backend_at(backpack)
    backpack.unparsed = 1
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="Expected input type") as caught:
            backend.buy("USDC", "SOL", Decimal("0.5"), key="once")
        assert not caught.value.may_have_executed
    assert [order["status"] for order in backend.orders("all")] == ["rejected"]
    assert not backpack.ledger()


@pytest.mark.answer_kind("J", exchange="backpack")
def test_an_order_that_was_canceled_untouched_is_recorded_and_hides_no_other(backpack, backend_at):
    backend = backend_at(backpack)
    backpack.leaves_out = True
    placed = [backend.sell("USDC", "SOL", Decimal("0.5"), price=Decimal(110)) for _ in range(2)]
    with backpack.lock:
        # On the website.
        backpack.cancel(backpack.orders[placed[0]["exchange_order_id"]])
    assert [order["id"] for order in backend.orders("open")] == [placed[1]["id"]]
    assert backend.order(placed[0]["id"])["status"] == "canceled"


def test_why_an_order_expired_is_in_its_record(backpack, backend_at):
    backend = backend_at(backpack)
    order = backend.sell("USDC", "SOL", Decimal(9))
    assert (order["status"], order["filled"]) == ("partly_filled", Decimal(8))
    assert order["reason"] == "InsufficientLiquidity"
    assert backend.order(order["id"])["reason"] == backend.orders("all")[0]["reason"] == "InsufficientLiquidity"


@pytest.mark.answer_kind("I", exchange="backpack")
def test_what_is_lent_is_in_the_balance_and_covers_no_order(backpack, backend_at):
    backend = backend_at(backpack)
    backpack.lent = {"SOL": Decimal(40)}
    assert backend.balance()["SOL"] == Decimal(140)
    sol = {"total": Decimal(140), "available": Decimal(100), "held": Decimal(0), "earning": Decimal(40)}
    assert backend.funds()["SOL"] == sol
    with pytest.raises(APIError) as caught:
        backend.sell("USDC", "SOL", Decimal(120), price=Decimal(110), dry_run=True)
    assert caught.value.code == "insufficient_funds"


def test_a_send_that_waits_for_the_recipients_data_is_pending_until_it_is_done(backpack, backend_at):
    backend = backend_at(backpack)
    backpack.waiting_status = "recipientInformationRequired"
    assert backend.send_to_address("SOL", Decimal(1), "So1Example", key="send") is True
    assert [row["status"] for row in backend.withdrawals()] == ["pending"]
    backpack.waiting_status = "somethingNew"
    assert [row["status"] for row in backend.withdrawals()] == ["pending"]
    (made,) = backpack.withdrawals.values()
    made.status = "done"
    assert [row["status"] for row in backend.withdrawals()] == ["done"]
