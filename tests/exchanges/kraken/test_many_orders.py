"""Kraken's orders in numbers: many with one question, all since a time, markets that closed, rows that are odd."""

from __future__ import annotations

import itertools
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unsupported
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.kraken.pages import read_pages
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.exchanges import connect

EXCHANGE, VENUE = Kraken, KrakenVenue
NOWHERE = "OAAAAA-BBBBB-CCCCCC"


class Clock:
    def __init__(self):
        self.seconds = datetime.now(UTC).timestamp()

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def venue(clock):
    with KrakenVenue(clock=clock) as venue:
        yield venue


@pytest.fixture
def placed(venue):
    """A function that places orders behind the adapter's back; it returns references to them."""

    def place(count=1, price="60000", **changes):
        refs = []
        for _ in range(count):
            order = NewOrder("sell", "EUR", "BTC", uuid.uuid4().hex, amount=Decimal("0.001"), price=Decimal(price))
            form = {"pair": "XXBTZEUR", "type": "sell", "ordertype": "limit", "price": price, "volume": "0.001"}
            answer = venue.private_AddOrder(venue.account, {**form, "cl_ord_id": order.client_id, "oflags": "fciq"})
            ref = OrderRef("sell", "EUR", "BTC", order.client_id, answer["txid"][0], amount=order.amount)
            refs.append(replace(ref, **changes))
        return refs

    return place


def calls(venue):
    """The methods that were asked for, in order; forgets them."""
    made = [request.path.rpartition("/")[2] for request in venue.requests]
    venue.requests.clear()
    return made


def before(method, venue, act):
    """Let `act` happen just before the venue answers the next call of `method`."""
    honest, acts = getattr(venue, f"private_{method}"), iter([act])

    def late(account, given):
        next(acts, lambda: None)()
        return honest(account, given)

    setattr(venue, f"private_{method}", late)


def test_many_orders_are_read_with_one_question_for_fifty(exchange, venue, placed):
    refs = placed(70)
    venue.cancel(venue.orders[refs[3].exchange_order_id])
    exchange.markets()
    calls(venue)
    states = exchange.read_orders(refs)
    assert calls(venue) == ["QueryOrders"] * 2
    assert [states[ref.exchange_order_id].client_id for ref in refs] == [ref.client_id for ref in refs]
    assert {id for id, state in states.items() if state.status == "canceled"} == {refs[3].exchange_order_id}
    assert exchange.read_orders([]) == {}
    assert exchange.read_orders([replace(refs[0], exchange_order_id=None)]) == {}


def test_one_unknown_order_costs_a_few_questions_and_hides_no_other(exchange, venue, placed):
    refs = placed(50)
    refs[17] = replace(refs[17], exchange_order_id=NOWHERE)
    exchange.markets()
    calls(venue)
    states = exchange.read_orders(refs)
    assert set(states) == {ref.exchange_order_id for ref in refs} - {NOWHERE}
    assert len(calls(venue)) <= 13


def test_an_order_that_is_another_than_the_one_asked_for_is_missing(exchange, placed):
    one, other = placed(2)
    states = exchange.read_orders([replace(one, client_id=other.client_id), other])
    assert set(states) == {other.exchange_order_id}


def test_reading_many_orders_stops_at_a_rate_limit_and_keeps_what_was_read(exchange, venue, placed):
    refs = placed(70)
    exchange.markets()
    venue.counter_max, venue.counter_decay = 1, 0.0
    assert len(exchange.read_orders(refs)) == 50
    with pytest.raises(Busy):
        exchange.read_orders(refs)


@pytest.mark.parametrize("fault", ["html", "maintenance", "reset_before"])
def test_many_orders_that_cannot_be_read_are_missing(exchange, venue, placed, fault):
    refs = placed(70)
    exchange.markets()
    venue.fault(fault, path="QueryOrders", times=9)
    assert exchange.read_orders(refs) == {}


def test_all_orders_since_a_time_come_open_or_over_from_all_pages(exchange, venue, placed, clock):
    old = placed(3)
    for ref in old:
        venue.cancel(venue.orders[ref.exchange_order_id])
    clock.seconds += 600
    since = datetime.fromtimestamp(clock.seconds, UTC)
    canceled, waiting = placed(120), placed(2)
    for ref in canceled:
        venue.cancel(venue.orders[ref.exchange_order_id])
    exchange.markets()
    calls(venue)
    states = {state.client_id: state for state in exchange.orders_since(since)}
    assert calls(venue) == ["OpenOrders", "Time", "ClosedOrders", "ClosedOrders", "ClosedOrders"]
    assert {states[ref.client_id].status for ref in canceled} == {"canceled"}
    assert {states[ref.client_id].status for ref in waiting} == {"open"}
    assert not {ref.client_id for ref in old} & set(states), "a minute before that time is enough for all clocks"


def test_a_list_that_takes_more_calls_than_to_ask_for_each_order_is_left(exchange, venue, placed, clock):
    """An order takes two calls, a page one and has 50."""
    since = datetime.fromtimestamp(clock.seconds, UTC)
    for ref in placed(201):
        venue.cancel(venue.orders[ref.exchange_order_id])
    exchange.markets()
    calls(venue)
    with pytest.raises(Unsupported, match="201 orders takes more calls than to ask for 2 "):
        exchange.orders_since(since, wanted=2)
    assert calls(venue) == ["OpenOrders", "Time", "ClosedOrders"]
    assert len(exchange.orders_since(since, wanted=3)) == 201


def test_no_order_is_missed_when_our_clock_is_ahead_of_krakens(exchange, venue, placed, clock):
    """Kraken takes orders from a clock that is wrong: its nonces only have to rise."""
    since = datetime.fromtimestamp(clock.seconds, UTC)
    clock.seconds -= 3600
    [ref] = placed(1)
    venue.cancel(venue.orders[ref.exchange_order_id])
    assert [state.client_id for state in exchange.orders_since(since)] == [ref.client_id]


def test_a_short_list_costs_one_page(exchange, venue, placed):
    placed(2)
    exchange.markets()
    calls(venue)
    assert len(exchange.orders_since(datetime.fromtimestamp(0, UTC))) == 2
    assert calls(venue) == ["OpenOrders", "Time", "ClosedOrders"]


def test_an_order_that_is_over_between_the_questions_is_seen(exchange, venue, placed, clock):
    """It has left the open orders, or it moves all others to later pages."""
    since = datetime.fromtimestamp(clock.seconds, UTC)
    canceled, waiting = placed(60), placed(2)
    for ref in canceled:
        venue.cancel(venue.orders[ref.exchange_order_id])
    orders = [venue.orders[ref.exchange_order_id] for ref in waiting]
    before("ClosedOrders", venue, lambda: venue.cancel(orders[0]))
    late = itertools.count()
    honest = venue.private_ClosedOrders

    def shifting(account, given):
        if next(late) == 1:
            venue.cancel(orders[1])
        return honest(account, given)

    venue.private_ClosedOrders = shifting
    states = {state.client_id: state.status for state in exchange.orders_since(since)}
    assert set(states) == {ref.client_id for ref in (*canceled, *waiting)}
    assert states[waiting[0].client_id] == "canceled"


def test_a_list_without_an_end_is_refused(exchange, venue, placed, monkeypatch):
    monkeypatch.setattr("bitmm.xwrap.exchanges.kraken.pages.MOST_PAGES", 3)
    placed(1)
    [txid] = venue.orders
    venue.private_ClosedOrders = lambda account, given: {
        "closed": {txid: venue._view(venue.orders[txid])},
        "count": 10**9,
    }
    with pytest.raises(Refused, match="too long"):
        exchange.orders_since(datetime.now(UTC))


def test_a_rate_limit_while_reading_all_orders_is_busy_and_no_shorter_list(exchange, venue, placed):
    for ref in placed(60):
        venue.cancel(venue.orders[ref.exchange_order_id])
    exchange.markets()
    venue.counter_max, venue.counter_decay = 4, 0.0
    with pytest.raises(Busy):
        exchange.orders_since(datetime.now(UTC) - timedelta(days=1))


def test_a_list_that_is_too_long_for_the_keys_counter_is_read_in_parts(exchange, venue, placed, clock):
    """Each part begins where the last one ended, and sees what was placed or was over meanwhile."""
    since = datetime.fromtimestamp(clock.seconds, UTC)
    refs, waiting = placed(260), placed(2)
    for ref in refs:
        clock.seconds += 1
        venue.cancel(venue.orders[ref.exchange_order_id])
    exchange.markets()
    calls(venue)
    venue.counter_max, venue.counter_decay = 6, 1.0
    with pytest.raises(Busy):
        exchange.orders_since(since)
    assert calls(venue) == ["OpenOrders", "Time", *["ClosedOrders"] * 3]
    clock.seconds += 60
    venue.cancel(venue.orders[waiting[0].exchange_order_id])
    late = placed(1)
    venue.cancel(venue.orders[late[0].exchange_order_id])
    venue.counter_max = 15
    states = {state.client_id: state.status for state in exchange.orders_since(since)}
    assert calls(venue) == ["OpenOrders", "Time", *["ClosedOrders"] * 5], "the first page again, and the rest"
    assert states == {
        **dict.fromkeys([ref.client_id for ref in (*refs, waiting[0], *late)], "canceled"),
        waiting[1].client_id: "open",
    }
    venue.counter_max = None
    exchange.orders_since(since)
    assert calls(venue) == ["OpenOrders", "Time", *["ClosedOrders"] * 6], "a list that was complete is not kept"


def test_no_order_is_missed_that_was_over_between_two_parts_of_a_list(exchange, venue, placed, clock):
    """Else it would be said to be not there, and its key would place a second one."""
    since = datetime.fromtimestamp(clock.seconds, UTC)
    refs = []
    for count, pages in [(260, 3), (200, 1), (60, None)]:
        for ref in placed(count):
            clock.seconds += 0.1
            venue.cancel(venue.orders[ref.exchange_order_id])
            refs.append(ref)
        clock.seconds += 600
        if pages is not None:
            venue.counter_max, venue.counter_decay = 1 + 2 * pages, 1.0
            exchange.markets()
            calls(venue)
            with pytest.raises(Busy):
                exchange.orders_since(since)
            assert calls(venue).count("ClosedOrders") == pages + 1
    venue.counter_max = None
    assert {state.client_id for state in exchange.orders_since(since)} == {ref.client_id for ref in refs}


@pytest.mark.parametrize("at", [0, 25, 59])
def test_a_list_that_has_fewer_orders_than_it_counts_proves_nothing(exchange, venue, placed, clock, at):
    """The one that is left out may be the one that is looked for; it is asked about alone then."""
    since = datetime.fromtimestamp(clock.seconds, UTC)
    refs = placed(60)
    for ref in refs:
        clock.seconds += 0.1
        venue.cancel(venue.orders[ref.exchange_order_id])
    honest = venue.private_ClosedOrders

    def hiding(account, given):
        answer = honest(account, given)
        if "cl_ord_id" not in given:
            answer["closed"].pop(refs[at].exchange_order_id, None)
        return answer

    venue.private_ClosedOrders = hiding
    with pytest.raises(Unsupported, match="60 rows of which 1 are not shown"):
        exchange.orders_since(since)
    assert exchange.find(refs[at]).status == "canceled"
    venue.private_ClosedOrders = honest
    assert len(exchange.orders_since(since)) == 60


def listing(rows, size=2):
    """A function that returns pages of the rows as they are then."""
    asked = []

    def ask(offset):
        asked.append(offset)
        return {name: name for name in rows[offset : offset + size]}, len(rows)

    return ask, asked


@pytest.mark.parametrize("known", range(9))
@pytest.mark.parametrize("added", range(9))
def test_every_row_is_read_however_many_were_known_and_came_in_front_since(known, added):
    old = [f"old {number}" for number in range(8)]
    ask, asked = listing([f"new {number}" for number in range(added)] + old)
    rows = read_pages(ask, [dict.fromkeys(old[:known], "known")])
    assert set(rows) == {*old, *(f"new {number}" for number in range(added))}
    assert len(asked) <= (added + 1) // 2 + 1 + (8 - known + 1) // 2 + 1


@pytest.mark.parametrize("growth", range(1, 7))
def test_no_row_is_missed_of_a_list_that_grows_at_its_front_while_it_is_read(growth):
    rows = [f"old {number}" for number in range(9)]
    ask, asked = listing(rows)

    def growing(offset):
        page = ask(offset)
        if len(asked) < 5:
            rows[:0] = [f"new {len(asked)}.{number}" for number in range(growth)]
        return page

    assert {f"old {number}" for number in range(9)} <= set(read_pages(growing, []))


@pytest.mark.parametrize("growth", [1, 10, 25, 40])
def test_a_list_that_never_stops_growing_is_read_once_and_not_again_and_again(growth):
    """Of each page so many rows less are new."""
    old = [f"old {number}" for number in range(1000)]
    rows = [*old]
    ask, asked = listing(rows, 50)

    def growing(offset):
        page = ask(offset)
        rows[:0] = [f"new {len(asked)}.{number}" for number in range(growth)]
        return page

    assert set(old) <= set(read_pages(growing, []))
    assert len(asked) <= 1000 / (50 - growth) + 2


@pytest.mark.parametrize("first", range(1, 8))
@pytest.mark.parametrize("second", range(1, 8))
def test_no_row_is_missed_between_the_parts_that_several_calls_have_read(first, second):
    """Each call fails after some pages, and more rows than it reads may come to the front before the next one."""
    rows = [f"first {number}" for number in range(20)]
    blocks, read = [], []
    for number, quota in enumerate([first, second, 100]):
        ask, asked = listing(rows)

        def limited(offset, ask=ask, asked=asked, quota=quota):
            if len(asked) >= quota:
                raise Busy("too many calls", retry_after=1)
            return ask(offset)

        with suppress(Busy):
            read = read_pages(limited, blocks)
        rows[:0] = [f"after call {number}, {new}" for new in range(9)]
    assert set(read) == set(rows[9:])
    assert len(asked) <= 20, "what was read is not read again"


def test_an_accepted_newer_nonce_ends_all_older_requests_unless_the_key_has_a_window(exchange, venue):
    assert exchange.confirm_no_older_request_pending() is True
    venue.nonce_window = 10_000
    assert exchange.confirm_no_older_request_pending() is False
    venue.fault("nonce", path="GetApiKeyInfo")
    with pytest.raises(Refused):
        exchange.confirm_no_older_request_pending()
    venue.private_GetApiKeyInfo = lambda account, given: {"nonce_window": None}
    with pytest.raises(Refused):
        exchange.confirm_no_older_request_pending()


def test_a_request_that_comes_after_a_newer_one_is_not_executed(venue, transport):
    """What the confirmation promises: the older request is signed, waits on the line, and comes too late."""
    numbers = iter(range(1, 100))
    exchange = connect(Kraken, venue, transport, nonce=lambda: next(numbers))
    form = {"pair": "XXBTZEUR", "type": "buy", "ordertype": "market", "volume": "0.1", "cl_ord_id": "a" * 32}
    older = exchange.api.signed("AddOrder", form)
    assert exchange.confirm_no_older_request_pending()
    assert transport.send(older).json() == {"error": ["EAPI:Invalid nonce"]}
    assert not venue.ledger()


@pytest.mark.parametrize("status", ["cancel_only", "delisted"])
def test_orders_of_a_market_that_closed_can_be_read_found_and_canceled(exchange, venue, placed, status):
    one, two = placed(2)
    venue.pair_status["XXBTZEUR"] = status
    assert ("EUR", "BTC") not in [(market.currency, market.asset) for market in exchange.markets()]
    assert exchange.order(one).status == "open"
    exchange.cancel(one)
    state = exchange.order(one)
    assert (state.status, state.currency, state.asset, state.fee_currency) == ("canceled", "EUR", "BTC", "EUR")
    assert exchange.find(replace(two, exchange_order_id=None)).status == "open"
    assert set(exchange.read_orders([one, two])) == {one.exchange_order_id, two.exchange_order_id}
    [listed] = exchange.open_orders()
    assert listed.exchange_order_id == two.exchange_order_id
    assert (listed.currency, listed.asset) == (("EUR", "BTC") if status == "cancel_only" else (None, None))


def test_a_market_that_takes_no_orders_is_not_traded_and_its_fills_can_be_read(exchange, venue):
    venue.pair_status["XXBTZEUR"] = "cancel_only"
    order = NewOrder("buy", "EUR", "BTC", uuid.uuid4().hex, amount=Decimal("0.1"))
    with pytest.raises(Refused) as caught:
        exchange.place(order)
    assert caught.value.code == "exchange_unavailable"
    assert exchange.fills("EUR", "BTC") == []
    assert not venue.ledger()


def odd(venue, refs, **changes):
    """Let the first of these orders come with other values in every list."""
    honest, txid = venue._view, refs[0].exchange_order_id

    def view(order, **options):
        row = honest(order, **options)
        return row | changes if order.id == txid else row

    venue._view = view


@pytest.mark.parametrize("changes", [{"status": "frozen"}, {"descr": None}, {"vol_exec": "-1"}, {"oflags": 7}])
def test_one_odd_row_hides_no_other_and_does_not_vanish(exchange, venue, placed, changes):
    refs = placed(3)
    odd(venue, refs, **changes)
    states = {state.exchange_order_id: state for state in exchange.open_orders()}
    assert set(states) == {ref.exchange_order_id for ref in refs}
    strange = states[refs[0].exchange_order_id]
    assert (strange.status, strange.client_id, strange.side) == ("open", refs[0].client_id, None)
    assert "cannot be understood" in strange.reason
    for ref in refs:
        venue.cancel(venue.orders[ref.exchange_order_id])
    states = {state.client_id: state.status for state in exchange.orders_since(datetime.now(UTC))}
    assert [states[ref.client_id] for ref in refs] == ["unknown", "canceled", "canceled"]


@pytest.mark.parametrize("client_id", [7, ["a"], {}, " "])
def test_an_order_whose_client_id_cannot_be_read_may_be_any_so_that_the_list_proves_nothing(
    exchange, venue, placed, client_id
):
    odd(venue, placed(2), cl_ord_id=client_id)
    assert len(exchange.open_orders()) == 2
    with pytest.raises(Refused) as caught:
        exchange.orders_since(datetime.now(UTC))
    assert caught.value.code == "exchange_unavailable"
