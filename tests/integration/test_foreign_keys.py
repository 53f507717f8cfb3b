"""Who knows no more than another's exchange key does not stand in the way of its owner, and the owner's own two do."""

from __future__ import annotations

import threading

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.mtgox import MtGoxVenue
from tests.support.threads import until

WRONG = "d3Jvbmc="


class HangingKraken(KrakenVenue):
    """Answers the method that `hangs` when `gate` is opened."""

    def __init__(self):
        super().__init__()
        self.gate, self.hanging, self.hangs = threading.Event(), threading.Event(), None

    def answer(self, request):
        if self.hangs and request.path.endswith(self.hangs):
            self.hanging.set()
            assert self.gate.wait(30)
        return super().answer(request)


@pytest.fixture
def venue():
    with HangingKraken() as venue:
        yield venue
        venue.gate.set()


@pytest.fixture
def server(serving, venue):
    with serving(exchanges=("kraken",), exchange_urls={"kraken": venue.url}, queue_seconds=0.5) as server:
        yield server


def register(server, auth, key, secret):
    form = {"exchange": "kraken", "apikey": key, "apisecret": secret, "allow_send": "true"}
    return requests.post(f"{server.url}/exchanges/", data=form, auth=auth, timeout=30)


def test_a_foreign_account_that_tries_a_key_without_its_secret_does_not_hold_up_its_owner(server, venue):
    owner, other = server.account(), server.account()
    backend = XWrap(server.url).create_backend(*owner, "kraken", "", venue.key, venue.secret, allow_send=True)
    assert backend.balance()
    venue.hangs = "GetApiKeyInfo"
    answers = []
    tries = threading.Thread(target=lambda: answers.append(register(server, other, venue.key, WRONG)))
    tries.start()
    try:
        assert venue.hanging.wait(30)
        for _ in range(3):
            assert backend.balance()["EUR"] > 0
    finally:
        venue.gate.set()
        tries.join()
    assert (answers[0].status_code, answers[0].json()["code"]) == (403, "exchange_key_refused")


def test_two_accounts_with_the_same_proven_key_have_one_queue_also_while_the_second_one_tries_it(server, venue):
    owner, other = server.account(), server.account()
    first = XWrap(server.url).create_backend(*owner, "kraken", "", venue.key, venue.secret, allow_send=True)
    venue.hangs = "BalanceEx"
    reads = threading.Thread(target=first.balance)
    reads.start()
    try:
        assert venue.hanging.wait(30)
        assert register(server, other, venue.key, venue.secret).status_code == 429
    finally:
        venue.gate.set()
        reads.join()
    assert register(server, other, venue.key, venue.secret).status_code == 201
    assert server.sql("SELECT DISTINCT proven FROM registrations WHERE exchange = 'kraken'") == [(True,)]


def test_a_key_that_could_not_be_tried_is_proven_by_its_first_call(serving, tmp_path):
    with serving(data=tmp_path, exchanges=("mtgox",)) as server:
        auth = server.account()
        with MtGoxVenue() as venue:
            id = server.registration(auth, "mtgox", apikey=venue.key, apisecret=venue.secret)
            assert server.sql("SELECT proven FROM registrations") == [(False,)]
    with (
        MtGoxVenue() as venue,
        serving(data=tmp_path, exchanges=("mtgox",), exchange_urls={"mtgox": venue.url}) as server,
    ):
        assert Backend(id, *auth, server.url).balance()
        until(lambda: server.sql("SELECT proven FROM registrations") == [(True,)])
