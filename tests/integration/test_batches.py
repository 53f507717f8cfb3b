"""Many orders through client, server and a local exchange: one request, and exactly once whatever gets lost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import APIError, Backend, NotFound, OutcomeUnknown
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.threads import until

#: Exchange -> the class of its local one, the request with many orders, a currency, a price that rests.
CASES = {
    "kraken": (KrakenVenue, "/0/private/AddOrderBatch", "EUR", "60000"),
    "backpack": (BackpackVenue, "/api/v1/orders", "USDC", "35000"),
}


@pytest.fixture(scope="module", params=CASES)
def serving_case(request, serving):
    """A local exchange, and a Backend at it."""
    kind, path, currency, price = CASES[request.param]
    quick = {"reconcile_seconds": 0.2, "reconcile_grace_seconds": 0.3, "exchange_limits": {request.param: None}}
    with (
        kind() as venue,
        serving(exchanges=(request.param,), exchange_urls={request.param: venue.url}, **quick) as server,
    ):
        auth = server.account()
        id = server.registration(auth, request.param, apikey=venue.key, apisecret=venue.secret)
        yield SimpleNamespace(
            venue=venue,
            path=path,
            backend=Backend(id, *auth, server.url),
            terms={"currency": currency, "asset": "BTC", "amount": "0.01", "price": price},
            is_proof=request.param == "kraken",
        )


@pytest.fixture
def case(serving_case):
    """The same, before any request of this test."""
    serving_case.venue.requests.clear()
    serving_case.executed_before = len(serving_case.venue.ledger())
    return serving_case


def batches(case):
    """How many requests with many orders arrived, and how many orders were executed."""
    sent = [request for request in case.venue.requests if request.method == "POST" and request.path == case.path]
    return len(sent), len(case.venue.ledger()) - case.executed_before


def unknown(case, keys):
    """The keys whose outcome is not known; one that was never executed is as free as one that was never used."""
    found = []
    for key in keys:
        try:
            found += [key] if case.backend.order(key=key)["status"] == "unknown" else []
        except NotFound:
            continue
    return found


def summary(outcomes):
    return [outcome.code if isinstance(outcome, APIError) else outcome["status"] for outcome in outcomes]


def test_orders_are_one_request_and_a_repeat_is_none(case):
    odd = {"c": {"asset": "NOSUCH"}, "d": {"amount": "0.00000001"}}
    orders = [{**case.terms, "key": key, **odd.get(key, {})} for key in "abcde"]
    outcomes = case.backend.sell_many(orders)
    assert summary(outcomes) == ["open", "open", "unknown_market", outcomes[3].code, "open"]
    assert outcomes[3].code in ("amount_min", "amount_step")
    assert batches(case) == (1, 3)
    case.venue.requests.clear()
    assert summary(case.backend.sell_many(orders)) == summary(outcomes)
    assert batches(case) == (0, 3)
    reads = len(case.venue.requests)
    assert reads == (1 if case.is_proof else 3), "Kraken is asked about all that are open at once"
    assert [case.backend.order(key=key)["status"] for key in "abe"] == ["open"] * 3


@pytest.mark.parametrize("fault", ["cut", "reset_before"])
def test_when_the_answer_of_the_exchange_is_lost_each_order_is_found_out(case, fault):
    case.venue.fault(fault, path=case.path)
    keys = [f"{fault} 1", f"{fault} 2"]
    orders = [{**case.terms, "key": key} for key in keys]
    assert [type(outcome) for outcome in case.backend.sell_many(orders)] == [OutcomeUnknown] * 2
    assert batches(case) == (1, 2 if fault == "cut" else 0)
    # That it has no such order is certain at Backpack half a minute later only.
    if case.is_proof or fault == "cut":
        until(lambda: not unknown(case, keys))
        assert summary(case.backend.sell_many(orders)) == ["open", "open"]
        assert batches(case)[1] == 2
