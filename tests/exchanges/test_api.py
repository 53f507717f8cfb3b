"""What the API classes of all exchanges share, tried with a small one against a server that answers alike."""

from __future__ import annotations

import json
import re
import threading

import pytest
import requests

from bitmm.xwrap.exchanges.api import ExchangeAPI, NonceCounter, decode_secret
from bitmm.xwrap.exchanges.backpack import BackpackAPI
from bitmm.xwrap.exchanges.base import no_throttle
from bitmm.xwrap.exchanges.bitstamp import BitstampAPI
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.historic.hub import HubAPI
from bitmm.xwrap.exchanges.historic.mtgox import MtGoxAPI
from bitmm.xwrap.exchanges.kraken import KrakenAPI
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue
from bitmm.xwrap.transport import Request, Transport


class Echo(Venue):
    """Answers every call with 418 and the header X-Test that came."""

    def routes(self):
        return {}

    def handle(self, request):
        return Reply.json({"test": request.headers.get("X-Test")}, 418, X_Seen="yes")


class EchoAPI(ExchangeAPI):
    name = "Echo"

    def call(self):
        return self._send(Request("GET", f"{self.url}/", {}), mutates=False)


VENUE = Echo
#: The five, each with what its constructor needs besides the options that all share.
CLASSES = {
    KrakenAPI: {"key": "the-key", "secret": "c2VjcmV0LXRleHQ="},
    BitstampAPI: {"key": "the-key", "secret": "secret-text"},
    BackpackAPI: {},
    MtGoxAPI: {"key": "the-key", "secret": "c2VjcmV0LXRleHQ="},
    HubAPI: {"account": "the-key", "password": "secret-text"},
}
every_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


@pytest.fixture
def api(venue):
    with EchoAPI("the-key", url=venue.url) as api:
        yield api


def test_the_last_answer_is_kept_with_the_names_that_requests_gives_it(api):
    assert api.response is None
    answer = api.call()
    assert api.response is answer
    assert (answer.status_code, answer.headers["x-seen"]) == (418, "yes")
    assert json.loads(answer.text) == answer.json() == {"test": None}


def test_the_session_is_a_real_one_and_what_is_changed_in_it_counts(api):
    api.session.headers["X-Test"] = "mine"
    assert isinstance(api.session, requests.Session)
    assert api.call().json() == {"test": "mine"}


def test_another_session_may_be_assigned_and_the_next_call_uses_it(api):
    api.call()
    with requests.Session() as session:
        session.headers["X-Test"] = "another"
        api.session = session
        assert api.session is session
        assert api.call().json() == {"test": "another"}


def test_a_session_of_the_callers_is_used_from_the_start(venue):
    with requests.Session() as session:
        session.headers["X-Test"] = "given"
        with EchoAPI(url=venue.url, session=session) as api:
            assert api.session is session
            assert api.call().json() == {"test": "given"}


def test_a_shared_transport_stays_as_it_is_when_one_of_its_users_gets_a_session(venue):
    transport = Transport(timeout=7)
    one, other = (EchoAPI(url=venue.url, transport=transport) for _ in range(2))
    one.session.headers["X-Test"] = "mine"
    assert (one.call().json(), other.call().json()) == ({"test": "mine"}, {"test": None})
    assert (one.transport.timeout, other.transport) == (7, transport)
    one.close()
    transport.close()


def test_no_key_is_in_what_is_printed(api, venue):
    assert f"{api!r} {api}" == f"EchoAPI('{venue.url}') EchoAPI('{venue.url}')"


def test_nonces_rise_strictly_over_threads_and_over_a_clock_that_stands_still():
    counter, seen = NonceCounter(lambda: 5), []
    threads = [threading.Thread(target=lambda: seen.extend(counter() for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(5, 2005))


def test_nonces_are_at_least_the_microseconds_since_1970():
    assert NonceCounter()() > 1_700_000_000_000_000


@pytest.mark.parametrize("secret", ["not base64!", "abc", "AAAA!AAAA", "é"])
def test_a_secret_that_is_not_base64_is_refused_and_not_shown(secret):
    with pytest.raises(Refused) as caught:
        decode_secret(secret, "the API secret of Mt.Gox")
    assert (caught.value.code, caught.value.details) == ("invalid_request", {"field": "apisecret"})
    assert re.match(r"the API secret of Mt.Gox \(apisecret\) is not base64 text; copy it again", str(caught.value))
    assert secret not in str(caught.value)
    assert decode_secret("AAE=", "") == b"\x00\x01"


@every_class
def test_the_five_classes_have_one_surface(kind, venue):
    transport, session = Transport(timeout=7), requests.Session()
    with kind(url=venue.url, transport=transport, **CLASSES[kind]) as api:
        assert isinstance(api, ExchangeAPI)
        assert (api.url, api.transport, api.response) == (venue.url, transport, None)
        assert all(callable(getattr(api, name)) for name in ("signed", "public", "private", "close"))
    with kind(url=venue.url, session=session, throttle=no_throttle, **CLASSES[kind]) as api:
        assert api.session is session
        shown = f"{api!r} {api}"
        assert venue.url in shown
        assert not [text for text in ("the-key", "secret-text", "c2VjcmV0LXRleHQ=") if text in shown]
    session.close()


@every_class
def test_the_answer_to_a_call_that_fails_is_kept_too(kind, venue):
    with kind(url=venue.url, **CLASSES[kind]) as api:
        call = api.overview if kind is HubAPI else lambda: api.public("ticker")
        with pytest.raises(Refused):
            call()
        assert (api.response.status_code, api.response.json()) == (418, {"test": None})
