"""What the hub's adapter says of faults on the way: what is certain, what is not, and nothing twice."""

from __future__ import annotations

import pytest

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.testing.exchanges.hub import HubVenue
from bitmm.xwrap.transport import Transport
from tests.support.historic import ENDLESS, OUTCOMES, ref_of, send, wait_until
from tests.support.historic import hub_order as order

VENUE = HubVenue


@pytest.mark.parametrize("authentication", [1, 2])
@pytest.mark.parametrize("verb", ["place", "withdraw"])
@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_fault_is_told_as_what_it_is_and_nothing_is_sent_twice(venue, hub, authentication, verb, kind):
    raised, code, executed = OUTCOMES[kind]
    venue.authentication = authentication
    path = "place-order" if verb == "place" else "send-btc"
    transport = Transport(timeout=1 if kind in ENDLESS else 20)
    exchange = hub(transport)
    exchange.funds()
    venue.fault(kind, path=path)
    with pytest.raises((Refused, Unknown)) as caught:
        getattr(exchange, verb)(order() if verb == "place" else send())
    transport.close()
    venue.heal()
    wait_until(lambda: len(venue.ledger()) >= executed)
    told = getattr(caught.value, "refusal", None) or caught.value
    assert (type(caught.value), told.code) == (raised, code), caught.value
    assert len(venue.ledger()) == executed
    assert len([made for made in venue.requests if path in made.path]) == (kind != "refused")


@pytest.mark.parametrize("kind", ["html", "cut", "maintenance", "reset_before", "rate_limit"])
def test_without_an_overview_nothing_is_ordered(venue, hub, kind):
    venue.fault(kind, path="overview")
    with pytest.raises(Refused) as caught:
        hub().place(order())
    assert caught.value.code == ("rate_limited" if kind == "rate_limit" else "exchange_unavailable")
    assert not venue.ledger()


def test_a_slow_answer_is_an_answer(venue, hub):
    venue.fault("slow", seconds=0.2, path="place-order")
    assert hub().place(order()).status == "open"
    assert len(venue.ledger()) == 1


def test_a_rate_limit_says_how_long_to_wait(venue, hub):
    venue.fault("rate_limit", path="my-balance")
    with pytest.raises(Busy) as caught:
        hub().funds()
    assert caught.value.retry_after == 3


def test_the_outcome_of_a_cancel_can_be_unknown(venue, hub):
    exchange = hub()
    placed = exchange.place(order())
    venue.fault("reset_after", path="cancel")
    with pytest.raises(Unknown):
        exchange.cancel(ref_of(placed))
    assert exchange.open_orders() == []
