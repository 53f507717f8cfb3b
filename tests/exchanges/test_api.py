"""What the API classes of all exchanges share, tried with a small one against a server that answers alike."""

from __future__ import annotations

import json
import threading

import pytest
import requests

from bitmm.xwrap.exchanges.api import ExchangeAPI, NonceCounter, decode_secret
from bitmm.xwrap.exchanges.errors import Refused
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
        decode_secret(secret, "it does not decode")
    assert (str(caught.value), caught.value.code) == ("it does not decode", "exchange_key_refused")
    assert decode_secret("AAE=", "") == b"\x00\x01"
