"""What Mt.Gox's adapter says of faults on the way: what is certain, what is not, and nothing twice."""

from __future__ import annotations

import pytest

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.testing.exchanges.mtgox import MtGoxVenue
from bitmm.xwrap.transport import Transport
from tests.support.historic import ENDLESS, OUTCOMES, ref_of, send, wait_until
from tests.support.historic import mtgox_order as order

VENUE = MtGoxVenue
VERSIONS = ("0", "1", "2")
PATHS = {"place": {"0": "sellBTC.php", "1": "order/add", "2": "order/add"}}
PATHS["withdraw"] = {"0": "withdraw.php", "1": "send_simple", "2": "send_simple"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("verb", ["place", "withdraw"])
@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_fault_is_told_as_what_it_is_and_nothing_is_sent_twice(mtgox, venue, version, verb, kind):
    raised, code, executed = OUTCOMES[kind]
    path = PATHS[verb][version]
    transport = Transport(timeout=1 if kind in ENDLESS else 20)
    venue.fault(kind, path=path)
    with pytest.raises((Refused, Unknown)) as caught:
        getattr(mtgox(version, transport), verb)(order("sell", "0.1", "200") if verb == "place" else send())
    transport.close()
    venue.heal()
    wait_until(lambda: len(venue.ledger()) >= executed)
    told = getattr(caught.value, "refusal", None) or caught.value
    assert (type(caught.value), told.code) == (raised, code), caught.value
    assert len(venue.ledger()) == executed
    assert len([made for made in venue.requests if path in made.path]) == (kind != "refused")


@pytest.mark.parametrize("verb", ["place", "withdraw"])
def test_a_slow_answer_is_an_answer(mtgox, venue, verb):
    venue.fault("slow", seconds=0.2)
    getattr(mtgox(), verb)(order("sell", "0.1", "200") if verb == "place" else send())
    assert len(venue.ledger()) == 1


def test_a_rate_limit_says_how_long_to_wait(mtgox, venue):
    venue.fault("rate_limit")
    with pytest.raises(Busy) as caught:
        mtgox().rate("EUR", "BTC")
    assert caught.value.retry_after == 10


@pytest.mark.parametrize("kind", ["html", "cut", "maintenance", "reset_before"])
@pytest.mark.parametrize("verb", ["funds", "open_orders", "permissions", "deposits"])
def test_a_read_that_fails_executed_nothing(mtgox, venue, kind, verb):
    venue.fault(kind)
    with pytest.raises(Refused) as caught:
        getattr(mtgox(), verb)()
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


def test_the_outcome_of_a_cancel_can_be_unknown(mtgox, venue):
    exchange = mtgox()
    placed = exchange.place(order("sell", "0.1", "200"))
    venue.fault("reset_after", path="cancel")
    with pytest.raises(Unknown):
        exchange.cancel(ref_of(placed))
    assert exchange.open_orders() == []
