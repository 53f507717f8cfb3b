"""The hub's adapter, over real HTTP against the local hub: the contract in every shape, and what is its own."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.exchanges import orders
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.capabilities import supports
from bitmm.xwrap.exchanges.errors import Busy, NotListedYet, Refused, Unknown
from bitmm.xwrap.exchanges.historic.hub import Hub
from bitmm.xwrap.exchanges.models import Funds, OrderRef, OrderState
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges.hub import HubVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.support.historic import ADDRESS, ref_of, send
from tests.support.historic import hub_order as order

BASE64_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
D = Decimal


VENUE = HubVenue


class TestType2Form(ExchangeContract):
    currency, asset, amount = "USD", "BTC", D("0.05")
    takes = frozenset({"limit"})
    far_price = D(1000)
    send_to, send_amount = ADDRESS, D("0.1")
    authentication, encoding = 2, "form"

    @pytest.fixture
    def exchange(self, venue, hub):
        venue.authentication, venue.encoding = self.authentication, self.encoding
        return hub()

    def test_kinds_of_orders_that_are_not_taken_are_refused(self, exchange, ledger):
        """For a market order there is a way out, and the refusal names it."""
        for refuse in (exchange.place, exchange.check_kind):
            for kind in ({"amount": self.amount}, {"cost": self.cost}):
                with pytest.raises(Refused, match="give a price") as caught:
                    refuse(self._new("buy", **kind))
                assert caught.value.code == "price_required"
            for amount in (None, self.amount):
                with pytest.raises(Refused) as caught:
                    refuse(self._new("buy", amount=amount, cost=self.cost, price=D(1)))
                assert caught.value.code == "unsupported"
        assert not ledger()


class TestType2Json(TestType2Form):
    encoding = "json"


class TestType1Form(TestType2Form):
    authentication = 1


class TestType1Json(TestType2Form):
    authentication, encoding = 1, "json"


def test_without_a_base_url_every_verb_says_so(transport):
    exchange = Hub(ExchangeContext(transport, Credentials(apikey="key", apisecret="secret")))
    ref = ref_of(OrderState("o1", "open", "buy", "USD", "BTC", client_id="0" * 32))
    arguments = {
        "rate": ("USD", "BTC"),
        "order": (ref,),
        "cancel": (ref,),
        "place": (order(),),
        "withdraw": (send(),),
        "deposit_address": ("BTC",),
    }
    verbs = supports(Hub)
    assert verbs == [
        *("rate", "funds", "place", "order", "open_orders", "cancel", "cancel_all", "deposit_address", "withdraw")
    ]
    for verb in verbs:
        with pytest.raises(Refused, match="an administrator must name it") as caught:
            getattr(exchange, verb)(*arguments.get(verb, ()))
        assert caught.value.code == "exchange_url_missing", verb


@pytest.mark.parametrize("more", [{"authentication": "3"}, {"key_encoding": "hex"}])
def test_a_setting_that_is_none_is_refused(hub, more):
    with pytest.raises(Refused) as caught:
        hub(more=more)
    assert caught.value.code == "invalid_request"


def test_a_key_that_is_not_base64_is_refused(hub):
    with pytest.raises(Refused) as caught:
        hub(apisecret="?", more={"key_encoding": "base64"})
    assert caught.value.code == "invalid_request"


def test_type_2_and_utf_8_are_the_defaults(venue, transport):
    keys = Credentials(apikey=venue.key, apisecret=venue.secret)
    assert Hub(ExchangeContext(transport, keys, url=venue.url)).funds()["BTC"].total == 100


def test_a_key_in_base64_works(venue, hub):
    venue.key_encoding = "base64"
    venue.authkeys[venue.key] = venue.account, BASE64_KEY
    assert hub(apisecret=BASE64_KEY, more={"key_encoding": "base64"}).funds()["BTC"].total == 100


@pytest.mark.parametrize(("registered", "wanted"), [("2", 1), ("1", 2)])
def test_a_hub_cannot_make_a_key_a_password(venue, hub, registered, wanted):
    venue.authentication = wanted
    with pytest.raises(Refused) as caught:
        hub(more={"authentication": registered}).funds()
    assert caught.value.code == "invalid_request"
    assert [made.path for made in venue.requests] == ["/api/overview.js"]


def test_an_overview_that_points_elsewhere_gets_no_credentials(venue, hub):
    with HubVenue() as other:
        venue.req_url = f"{other.url}/api/(function_name)"
        with pytest.raises(Refused) as caught:
            hub().place(order())
        assert caught.value.code == "overview_refused"
        assert not other.requests


def test_the_price_of_the_ticker_is_the_users(hub):
    rate = hub().rate("USD", "BTC")
    assert (rate.buy, rate.sell) == (D("371.2"), D("370.8"))


def test_a_hub_without_the_ticker_has_no_rate_and_is_not_asked(venue, hub):
    venue.functions.remove("ticker")
    with pytest.raises(Refused) as caught:
        hub().rate("USD", "BTC")
    assert caught.value.code == "unsupported"
    assert len(venue.requests) == 1


def test_no_total_is_guessed_where_something_is_pending(hub):
    exchange = hub()
    exchange.place(order("sell", "1", "1000"))
    assert exchange.funds() == {
        "BTC": Funds(None, D(99), D(1)),
        "USD": Funds(D(1000000), D(1000000), D(0)),
        "EUR": Funds(D(1000000), D(1000000), D(0)),
    }
    assert "BTC" not in exchange.balance()


@pytest.mark.parametrize(
    ("side", "price", "sent"),
    [("buy", "371.1234567", {"trade_amt": "43.29773785"}), ("sell", "371.5234567", {"for_amt": "43.34440453"})],
)
def test_the_cost_is_rounded_so_that_the_price_is_never_worse(hub, side, price, sent):
    exchange = hub()
    asked = order(side, "0.11666667", price)
    placed = exchange.place(asked)
    (row,) = exchange.api.my_open_orders()
    assert sent.items() <= row.items()
    exact, (told,) = asked.amount * asked.price, map(D, sent.values())
    assert 0 < (exact - told if side == "buy" else told - exact) < D("1E-8")
    state = exchange.order(ref_of(placed))
    assert (state.status, state.price, state.amount) == ("open", asked.price, asked.amount)


def test_open_orders_tell_side_amount_and_price(hub):
    exchange = hub()
    placed = [exchange.place(order("buy", "0.5", "300")), exchange.place(order("sell", "0.25", "500"))]
    told = exchange.open_orders()
    assert [(state.exchange_order_id, state.side, state.amount, state.price) for state in told] == [
        (placed[0].exchange_order_id, "buy", D("0.5"), D(300)),
        (placed[1].exchange_order_id, "sell", D("0.25"), D(500)),
    ]
    assert {(state.currency, state.asset, state.status) for state in told} == {("USD", "BTC", "open")}


def test_an_open_order_that_cannot_be_understood_hides_no_other(venue, hub):
    exchange = hub()
    odd, placed = exchange.place(order()), exchange.place(order("sell", "1", "500"))
    first, second = exchange.api.my_open_orders()
    venue.my_open_orders = lambda account, given: [first | {"for_cur": "EUR"}, second]
    unclear, clear = exchange.open_orders()
    assert (unclear.exchange_order_id, unclear.status, unclear.amount) == (odd.exchange_order_id, "open", None)
    assert exchange.order(ref_of(placed)) == replace(clear, client_id=placed.client_id)


def test_what_is_left_tells_what_is_gone(venue, hub):
    exchange = hub()
    other = venue.add_account("other", "secret", {"BTC": D(5), "USD": D(5000)})
    bought = exchange.place(order("buy", "0.5", "371"))
    venue.place(other, "BTC/USD", "sell", amount=D("0.2"), price=D(371))
    state = exchange.order(ref_of(bought))
    assert (state.status, state.spent, state.filled) == ("open", D("74.2"), None)
    exchange.cancel_all()
    sold = exchange.place(order("sell", "0.5", "371.1"))
    venue.place(other, "BTC/USD", "buy", amount=D("0.2"), price=D("371.1"))
    state = exchange.order(ref_of(sold))
    assert (state.status, state.spent, state.filled) == ("open", None, D("0.2"))


def test_an_order_that_is_over_is_closed_and_the_words_say_what_is_not_known(venue, hub):
    exchange = hub()
    placed = exchange.place(order("buy", "0.5", "372"))
    assert venue.orders[placed.exchange_order_id].status == "filled"
    state = exchange.order(ref_of(placed))
    assert (state.status, state.filled, state.amount) == ("closed", None, D("0.5"))
    assert state.reason == "no longer open at a hub, which does not tell whether it was filled or canceled"
    assert exchange.read_orders([ref_of(placed)]) == {placed.exchange_order_id: state}


def test_many_orders_are_read_with_one_question(venue, hub):
    exchange = hub()
    resting = [exchange.place(order("sell", "1", price)) for price in ("500", "600", "700")]
    bought = exchange.place(order("buy", "0.5", "372"))
    refs = [ref_of(placed) for placed in (*resting, bought)]
    alone = {ref.exchange_order_id: exchange.order(ref) for ref in refs}
    venue.requests.clear()
    young = replace(ref_of(exchange.place(order("buy", "0.5", "373"))), created=datetime.now(UTC))
    assert exchange.read_orders([*refs, young, replace(young, exchange_order_id=None)]) == alone
    assert [made.path for made in venue.requests] == ["/api/place-order", "/api/my-open-orders"]
    venue.fault("html", path="my-open-orders")
    assert exchange.read_orders(refs) == {}
    venue.fault("rate_limit", path="my-open-orders")
    with pytest.raises(Busy):
        exchange.read_orders(refs)


def test_an_order_that_was_placed_a_moment_ago_may_not_be_listed_yet(venue, hub):
    exchange = hub()
    placed = exchange.place(order("buy", "0.5", "372"))
    now = datetime.now(UTC)
    with pytest.raises(NotListedYet):
        exchange.order(replace(ref_of(placed), created=now))
    assert exchange.order(replace(ref_of(placed), created=now - timedelta(seconds=11))).status == "closed"
    resting = exchange.place(order("buy", "0.5", "300"))
    assert exchange.order(replace(ref_of(resting), created=now)).status == "open"


@pytest.mark.parametrize("verb", ["place", "withdraw", "cancel"])
@pytest.mark.parametrize("authentication", [1, 2])
def test_what_is_delivered_twice_is_never_called_refused(venue, hub, verb, authentication):
    """Signed, the second delivery is refused for its nonce; with a password nothing tells it from a new call."""
    venue.authentication = authentication
    exchange = hub()
    placed = exchange.place(order())
    path = {"place": "place-order", "withdraw": "send-btc", "cancel": "cancel-order"}[verb]
    venue.fault("delivered_twice", path=path)
    asked = {"place": order("sell", "60", "1000"), "withdraw": send("60"), "cancel": ref_of(placed)}[verb]
    if (verb, authentication) == ("cancel", 1):
        with pytest.raises(Refused) as refused:
            exchange.cancel(asked)
        assert refused.value.code == "order_not_open"
    else:
        with pytest.raises(Unknown) as caught:
            getattr(exchange, verb)(asked)
        assert caught.value.refusal.code == ("insufficient_funds" if authentication == 1 else "invalid_nonce")
    assert len(venue.ledger()) == (1 if verb == "cancel" else 2)
    assert len(venue.open) == {"place": 2, "withdraw": 1, "cancel": 0}[verb]


def test_a_key_that_no_call_may_use_is_a_refusal(venue, hub):
    exchange = hub(apisecret="another key")
    with pytest.raises(Refused) as caught:
        exchange.place(order())
    assert caught.value.code == "exchange_key_refused"
    assert not venue.ledger()


def test_a_time_that_is_over_proves_nothing_where_a_read_is_answered(venue, hub):
    exchange = hub()
    exchange.api._clock = iter([time.time() - 61, time.time()]).__next__
    with pytest.raises(Unknown) as caught:
        exchange.place(order())
    assert caught.value.refusal.code == "exchange_key_refused"


def test_every_address_is_new(hub):
    exchange = hub()
    assert exchange.deposit_address("BTC") != exchange.deposit_address("BTC")


def test_a_send_without_a_transaction_id_carries_ours(venue, hub):
    venue.reports_txid = False
    asked = send()
    made = hub().withdraw(asked)
    assert (made.id, made.txid, made.status) == (asked.client_id, None, "done")
    assert len(venue.ledger()) == 1


def test_a_buy_through_client_and_server_needs_a_price_and_is_one_request(serving, venue):
    with serving(exchanges=("hub",), exchange_urls={"hub": venue.url}) as server:
        auth = server.account()
        keys = {"username": "acct-1", "apikey": venue.key, "apisecret": venue.secret}
        number = server.registration(auth, "hub", **keys)
        registered = len(venue.requests)
        with pytest.raises(InvalidRequest) as caught:
            Backend(number, *auth, server.url).buy("USD", "BTC", D("0.1"))
        assert caught.value.code == "price_required"
        asked = {"currency": "USD", "asset": "BTC", "amount": "0.1", "price": "300"}
        bought = requests.post(f"{server.url}/exchanges/{number}/buy", data=asked, auth=auth, timeout=30).json()
    assert (bought["status"], bought["filled"], bought["price"]) == ("open", None, "300")
    assert [made.path for made in list(venue.requests)[registered:]] == ["/api/place-order"]
    assert [row["order_id"] for row in venue.ledger()] == [bought["exchange_order_id"]]


@pytest.fixture
def owner(serving, venue):
    """A function: calls the server with the keys of a registration at the local hub, and returns what it answers."""
    with serving(exchanges=("hub",), exchange_urls={"hub": venue.url}) as server:
        auth = server.account()
        keys = {"username": "acct-1", "apikey": venue.key, "apisecret": venue.secret}
        url = f"{server.url}/exchanges/{server.registration(auth, 'hub', **keys)}"

        def call(method, path, **form):
            return requests.request(method, f"{url}/{path}", data=form or None, auth=auth, timeout=30).json()

        yield call


LIMIT = {"currency": "USD", "asset": "BTC", "amount": "0.1"}


def test_an_order_that_filled_is_closed_in_the_journal_and_blocks_nothing(owner, monkeypatch):
    bought = owner("POST", "buy", **LIMIT, price="372")
    assert owner("GET", f"orders/{bought['id']}")["status"] == "open", "it may not be listed yet"
    monkeypatch.setattr(orders, "LISTED_SECONDS", 0)
    closed = owner("GET", f"orders/{bought['id']}")
    assert (closed["status"], closed["filled"]) == ("closed", None)
    assert closed["reason"] == "no longer open at a hub, which does not tell whether it was filled or canceled"
    assert owner("GET", "orders/?status=open") == []
    assert [row["status"] for row in owner("GET", "orders/?status=closed")] == ["closed"]
    assert owner("POST", "buy", **LIMIT, price="300")["status"] == "open"


def test_an_order_that_is_canceled_a_moment_after_it_was_placed_is_canceled(owner):
    placed = owner("POST", "buy", **LIMIT, price="300")
    assert owner("DELETE", f"orders/{placed['id']}")["status"] == "canceled"
    bought = owner("POST", "buy", **LIMIT, price="372")
    over = owner("DELETE", f"orders/{bought['id']}")
    assert (over["status"], over["filled"]) == ("closed", None), "the hub says that it is over, and not how"


def test_an_order_of_a_moment_ago_is_not_closed_by_a_cancel_of_all(owner):
    """It may only not be listed yet, and what is not listed was not canceled."""
    owner("POST", "buy", **LIMIT, price="300")
    assert owner("DELETE", "orders/") == {"canceled": 1}
    assert [row["status"] for row in owner("GET", "orders/")] == ["open"]


def test_an_order_that_would_be_listed_by_now_is_closed_by_a_cancel_of_all(owner, monkeypatch):
    monkeypatch.setattr(orders, "LISTED_SECONDS", 0.0)
    owner("POST", "buy", **LIMIT, price="300")
    assert owner("DELETE", "orders/") == {"canceled": 1}
    assert [row["status"] for row in owner("GET", "orders/")] == ["closed"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (order(amount="0.123456789"), "invalid_amount"),
        (order(amount="0"), "invalid_amount"),
        (order(amount="-1"), "invalid_amount"),
        (order(price="0"), "invalid_price"),
        (order(amount="0.00000001", price="0.01"), "invalid_amount"),
        (order(price=None), "price_required"),
    ],
)
def test_an_order_that_cannot_be_said_is_refused_before_anything_is_sent(venue, hub, asked, code):
    with pytest.raises(Refused) as caught:
        hub().place(asked)
    assert caught.value.code == code
    assert not venue.requests


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (send("0.123456789"), "invalid_amount"),
        (send(tag="7"), "invalid_request"),
        (send(network="lightning"), "unsupported"),
    ],
)
def test_a_send_that_cannot_be_said_is_refused(venue, hub, asked, code):
    with pytest.raises(Refused) as caught:
        hub().withdraw(asked)
    assert caught.value.code == code
    assert not venue.requests


def test_the_nearest_amount_is_named(hub):
    with pytest.raises(Refused) as caught:
        hub().place(order(amount="0.123456789"))
    assert caught.value.details == {"field": "amount", "nearest": "0.12345679"}


@pytest.mark.parametrize("verb", ["cancel", "order"])
def test_an_order_without_the_hubs_id_is_not_asked_for(venue, hub, verb):
    with pytest.raises(Refused) as caught:
        getattr(hub(), verb)(OrderRef("buy", "USD", "BTC", "0" * 32))
    assert caught.value.code == "order_not_found"
    assert not venue.requests


def test_an_order_is_one_request_with_at_most_one_before_it(venue, hub):
    exchange = hub()
    for _ in range(2):
        exchange.place(order())
    assert [made.path for made in venue.requests] == ["/api/overview.js", "/api/place-order", "/api/place-order"]


def test_a_redirect_is_not_followed(venue, hub):
    with HubVenue() as other:
        moved = Reply.text("", 307, Location=f"{other.url}/api/place-order")
        venue._routes = [
            (method, pattern, (lambda request, function: moved) if "function" in pattern.pattern else handler)
            for method, pattern, handler in venue._routes
        ]
        with pytest.raises(Unknown):
            hub().place(order())
        assert not other.requests


@pytest.mark.parametrize("answer", ["null", "[]", "{}", '{"oid": 5}', '{"oid": ""}', '{"oid": "<b> x"}', '{"oid": "1'])
def test_an_order_without_a_believable_id_is_of_unknown_outcome(venue, hub, answer):
    venue.place_order = lambda account, given: Reply.text(answer)
    with pytest.raises(Unknown):
        hub().place(order())


@pytest.mark.parametrize(
    "answer",
    [
        "null",
        "{}",
        '{"available": {"btc": "1", "BTC": "2"}}',
        '{"available": {"btc": "x"}}',
    ],
)
def test_a_balance_that_cannot_be_is_not_believed(venue, hub, answer):
    venue.my_balance = lambda account, given: Reply.text(answer)
    with pytest.raises(Refused, match="cannot be understood") as caught:
        hub().funds()
    assert caught.value.code == "exchange_unavailable"


@pytest.mark.parametrize(
    "change", [{"trade_cur": "BTC", "for_cur": "USD"}, {"trade_cur": "EUR"}, {"for_cur": "EUR"}, {"trade_amt": "x"}]
)
def test_an_open_order_that_became_another_is_not_believed(venue, hub, change):
    exchange = hub()
    placed = exchange.place(order())
    rows = exchange.api.my_open_orders()
    venue.my_open_orders = lambda account, given: [{**row, **change} for row in rows]
    with pytest.raises(Refused, match="cannot be understood") as caught:
        exchange.order(ref_of(placed))
    assert caught.value.code == "exchange_unavailable"
