"""What an exchange's API classes and adapters raise belongs to the one family of errors, and says the truth in it."""

from __future__ import annotations

import pytest

from bitmm.xwrap.errors import APIError, InsufficientFunds, OutcomeUnknown, RateLimited
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.http import send
from bitmm.xwrap.exchanges.kraken import KrakenAPI
from bitmm.xwrap.server.problems import from_exchange
from bitmm.xwrap.transport import Request, Transport

FACTS = ("reason", "code", "retryable", "may_have_executed", "retry_after", "status", "key")


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (ExchangeError("no"), ("no", "exchange_refused", False, False, None, None, None)),
        (Refused("no", code="insufficient_funds"), ("no", "insufficient_funds", False, False, None, None, None)),
        (Refused("no", code="invalid_nonce", retryable=True), ("no", "invalid_nonce", True, False, None, None, None)),
        (Unsupported("no"), ("no", "unsupported", False, False, None, None, None)),
        (Busy("no", retry_after=7.5), ("no", "rate_limited", True, False, 7.5, None, None)),
        (Unknown("no"), ("no", "outcome_unknown", False, True, None, None, None)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_of_an_exchange_has_the_facts_of_the_family(error, facts):
    assert isinstance(error, APIError)
    assert tuple(getattr(error, name) for name in FACTS) == facts
    assert str(error) == error.reason


def test_a_rate_limit_and_an_unknown_outcome_are_caught_as_such():
    assert isinstance(Busy("no", retry_after=1), RateLimited)
    assert isinstance(Unknown("no"), OutcomeUnknown)
    assert not isinstance(Refused("no"), (RateLimited, OutcomeUnknown, InsufficientFunds))


def test_one_except_clause_catches_what_an_api_class_raises():
    with KrakenAPI("key", "AAAA", url="http://127.0.0.1:1") as api:
        for act in (
            lambda: api.public("Time"),
            lambda: api.private("AddOrder"),
            lambda: KrakenAPI().private("Balance"),
            lambda: api.signed("AddOrder", {"volume": 0.1}),
        ):
            with pytest.raises(APIError):
                act()


@pytest.mark.parametrize(
    ("error", "kind"), [(OutcomeUnknown("lost"), Unknown), (APIError("unreachable"), Refused)], ids=["lost", "unsent"]
)
def test_the_transports_errors_become_those_of_an_exchange(error, kind):
    class Broken(Transport):
        def send(self, request, *, timeout=None):
            raise error

    with pytest.raises(kind) as caught:
        send(Broken(), Request("POST", "http://127.0.0.1:1", {}), "Kraken", mutates=True)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("error", "status", "executed"),
    [
        (Refused("no", code="insufficient_funds"), 422, False),
        (Busy("no", retry_after=7.5), 429, False),
        (Unknown("no"), 504, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_server_answers_them_as_before(error, status, executed):
    problem = from_exchange(error)
    assert (problem.status, problem.body["may_have_executed"], problem.body["detail"]) == (status, executed, "no")
    assert problem.headers == ({"Retry-After": "8"} if status == 429 else {})
