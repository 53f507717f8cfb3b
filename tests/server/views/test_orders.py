"""Orders after they were placed: limit orders, lists, cancel; and what surrounds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.errors import Refused, Unsupported
from bitmm.xwrap.exchanges.models import Funds, OrderState, Rate
from bitmm.xwrap.exchanges.paper import PaperConfig
from bitmm.xwrap.server.reconciliation import Reconciler
from tests.support.stub import Stub


class Owner:
    """A registration, and the calls of its owner."""

    def __init__(self, server, exchange="paper"):
        self.server, self.auth = server, server.account()
        self.id = server.registration(self.auth, exchange)

    def call(self, method, path, **form):
        url = f"{self.server.url}/exchanges/{self.id}/{path}"
        sent = {"data": form} if method == "POST" else {"params": form}
        return requests.request(method, url, auth=self.auth, timeout=30, **sent)

    def limit(self, price, amount="0.1", side="buy"):
        return self.call("POST", side, currency="USD", asset="BTC", amount=amount, price=price).json()


@pytest.fixture
def owner(server):
    return Owner(server)


def test_a_limit_order_rests_holds_its_money_and_can_be_canceled(owner):
    placed = owner.limit("20000.00")
    assert (placed["status"], placed["type"], placed["price"], placed["filled"]) == ("open", "limit", "20000.00", "0")
    held = owner.call("GET", "funds").json()["USD"]
    assert held == {"total": "200000", "available": "197994.80", "held": "2005.20", "earning": "0"}
    assert [row["id"] for row in owner.call("GET", "orders/", status="open").json()] == [placed["id"]]
    canceled = owner.call("DELETE", f"orders/{placed['id']}").json()
    assert (canceled["status"], canceled["filled"]) == ("canceled", "0")
    assert owner.call("GET", "funds").json()["USD"]["available"] == "200000"
    assert owner.call("GET", "orders/", status="open").json() == []


def test_a_limit_order_at_the_market_is_filled_at_once_at_the_better_price(owner):
    filled = owner.limit("900000")
    assert filled["status"] == "filled"
    assert Decimal(filled["average"]) < 200000


def test_a_canceled_or_filled_order_stays_what_it_is(owner):
    filled = owner.limit("900000")
    again = owner.call("DELETE", f"orders/{filled['id']}")
    assert (again.status_code, again.json()["status"]) == (200, "filled")


def test_all_open_orders_are_canceled_at_once(owner):
    first, second = owner.limit("1000"), owner.limit("2000")
    assert owner.call("DELETE", "orders/").json() == {"canceled": 2}
    for order in (first, second):
        assert owner.call("GET", f"orders/{order['id']}").json()["status"] == "canceled"


def test_a_buy_may_say_what_to_spend(owner):
    order = owner.call("POST", "buy", currency="USD", asset="BTC", cost="1000").json()
    assert (order["status"], order["cost"], order["amount"]) == ("filled", "1000", None)
    assert Decimal("999.90") < Decimal(order["spent"]) <= 1000


def test_a_sell_for_a_cost_brings_no_more_than_that(owner):
    order = owner.call("POST", "sell", currency="USD", asset="BTC", cost="1000").json()
    assert (order["status"], order["cost"], order["amount"]) == ("filled", "1000", None)
    assert Decimal("999.90") < Decimal(order["spent"]) <= 1000
    total = owner.call("GET", "funds").json()["USD"]["total"]
    assert Decimal(total) == 200_000 + Decimal(order["spent"]) - Decimal(order["fee"])


@pytest.mark.parametrize(
    ("side", "form", "field"),
    [
        ("buy", {"amount": "1", "cost": "1"}, "amount"),
        ("buy", {"price": "1", "cost": "1"}, "price"),
        ("sell", {"amount": "1", "cost": "1"}, "amount"),
        ("sell", {"price": "1", "cost": "1"}, "price"),
        ("sell", {}, "amount"),
        ("buy", {"amount": "1", "price": "0"}, "price"),
        ("buy", {"amount": "1", "price": "1e5"}, "price"),
        ("buy", {"amount": "1", "dry_run": "perhaps"}, "dry_run"),
    ],
)
def test_what_contradicts_itself_is_refused(owner, side, form, field):
    answer = owner.call("POST", side, currency="USD", asset="BTC", **form)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_price_with_too_many_digits_is_refused_with_the_nearest(owner):
    answer = owner.call("POST", "buy", currency="USD", asset="BTC", amount="0.1", price="100.001").json()
    assert (answer["code"], answer["field"], answer["nearest"]) == ("price_step", "price", "100.00")


def test_a_dry_run_checks_everything_and_sends_nothing(owner):
    form = {"currency": "USD", "asset": "BTC", "amount": "0.1", "dry_run": "true"}
    answer = owner.call("POST", "buy", **form).json()
    assert (answer["dry_run"], answer["id"], answer["status"], answer["amount"]) == (True, None, None, "0.1")
    for broken, code in (
        ({"amount": "100"}, "insufficient_funds"),
        ({"amount": "0.000000001"}, "amount_step"),
        ({"asset": "ETH"}, "unknown_market"),
    ):
        assert owner.call("POST", "buy", **(form | broken)).json()["code"] == code
    assert owner.call("POST", "sell", **(form | {"amount": "1.5"})).json()["code"] == "insufficient_funds"
    assert owner.call("GET", "orders/").json() == []
    assert owner.call("GET", "balance").json() == {"USD": "200000", "BTC": "1"}


def dry_run(owner, side="buy", **form):
    answer = owner.call("POST", side, currency="USD", asset="BTC", dry_run="true", **form).json()
    assert answer["dry_run"] is True
    return {name: answer[name] for name in ("type", "amount", "price", "cost", "spent", "fee", "fee_currency")}


def test_a_dry_run_estimates_what_the_order_then_costs(server, monkeypatch):
    """On paper exactly: nothing but the minute changes there."""
    owner = Owner(server)
    monkeypatch.setattr(PaperConfig, "minute", lambda _: 29_000_000)
    for side, form in (("buy", {"amount": "0.1"}), ("sell", {"amount": "0.3"}), ("buy", {"cost": "100"})):
        tried = dry_run(owner, side, **form)
        order = owner.call("POST", side, currency="USD", asset="BTC", **form).json()
        assert tried["price"] == order["average"]
        assert [tried[name] for name in ("spent", "fee", "fee_currency")] == [order["spent"], order["fee"], "USD"]
        assert (tried["type"], order["price"]) == ("market", None)


def test_a_dry_run_of_a_limit_order_keeps_its_limit(owner):
    below = dry_run(owner, amount="0.1", price="1000")
    assert (below["type"], below["price"], below["spent"], below["fee"]) == ("limit", "1000", "100.00", "0.26")
    reached = dry_run(owner, amount="0.1", price="900000")
    assert (reached["type"], reached["price"]) == ("limit", "900000")
    # It would be executed at the best price now.
    assert Decimal(reached["spent"]) < 90000


@pytest.fixture
def stub(serving, monkeypatch):
    """An exchange whose rate is `Stub.act`, and which says nothing of its fee."""
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "funds", lambda _: {"USD": Funds(None, None, None), "BTC": Funds(None, None, None)})
    with serving(exchanges=("stub",)) as server:
        yield Owner(server, "stub")


@pytest.mark.parametrize(
    ("side", "form", "price", "spent"),
    [
        ("buy", {"amount": "0.00000003"}, "20000.5", "0.000600015"),
        ("sell", {"amount": "2"}, "19999.25", "39998.50"),
        ("buy", {"cost": "100"}, "20000.5", "100"),
        ("buy", {"amount": "2", "price": "7.10"}, "7.10", "14.20"),
    ],
)
def test_an_estimate_is_exact_and_what_is_not_known_is_null(stub, monkeypatch, side, form, price, spent):
    rate = Rate(Decimal("20000.5"), Decimal("19999.25"), datetime.now(UTC))
    monkeypatch.setattr(Stub, "act", staticmethod(lambda *_: rate))
    tried = dry_run(stub, side, **form)
    assert (tried["price"], tried["spent"], tried["fee"], tried["fee_currency"]) == (price, spent, None, None)


def test_a_dry_run_of_a_kind_of_order_that_is_not_taken_is_refused_as_the_order_is(stub, monkeypatch):
    refusal = Refused("limit orders alone: give a price", code="price_required")

    def check_kind(*_order):
        raise refusal

    monkeypatch.setattr(Stub, "check_kind", check_kind)
    answer = stub.call("POST", "buy", currency="USD", asset="BTC", amount="1", dry_run="true")
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (422, refusal.code, str(refusal))


@pytest.mark.parametrize(
    "error", [Unsupported("no call"), Refused("down", code="exchange_unavailable", retryable=True)]
)
def test_a_price_that_cannot_be_read_is_null_where_nothing_depends_on_it(stub, monkeypatch, error):
    def act(*_pair):
        raise error

    monkeypatch.setattr(Stub, "act", staticmethod(act))
    assert (dry_run(stub, "sell", amount="1")["price"], dry_run(stub, "sell", amount="1")["spent"]) == (None, None)
    assert (dry_run(stub, cost="5")["price"], dry_run(stub, cost="5")["spent"]) == (None, "5")
    form = {"currency": "USD", "asset": "BTC", "dry_run": "true", "amount": "1"}
    answer = stub.call("POST", "buy", **form).json()
    if isinstance(error, Unsupported):
        assert (answer["price"], answer["spent"]) == (None, None)
    else:
        assert answer["code"] == "exchange_unavailable"


def test_orders_are_listed_newest_first_and_page_by_page(owner):
    ids = [owner.limit("900000", "0.001")["id"] for _ in range(5)]
    assert [row["id"] for row in owner.call("GET", "orders/").json()] == ids[::-1]
    assert [row["id"] for row in owner.call("GET", "orders/", limit="2").json()] == ids[:2:-1]
    assert [row["id"] for row in owner.call("GET", "orders/", limit="2", before=ids[3]).json()] == ids[2:0:-1]
    assert owner.call("GET", "orders/", status="closed").json() == owner.call("GET", "orders/", status="all").json()


@pytest.mark.parametrize(
    "query", [{"status": "x"}, {"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"before": "-1"}, {"x": "1"}]
)
def test_a_bad_question_for_orders_is_422(owner, query):
    answer = owner.call("GET", "orders/", **query)
    assert (answer.status_code, answer.json()["field"]) == (422, next(iter(query)))


def test_another_accounts_order_is_as_if_it_were_not_there(server, owner):
    order, stranger = owner.limit("1000"), Owner(server)
    assert stranger.call("GET", f"orders/{order['id']}").status_code == 404
    assert stranger.call("DELETE", f"orders/{order['id']}").status_code == 404
    stranger.id = owner.id
    assert stranger.call("DELETE", "orders/").status_code == 404
    assert owner.call("GET", f"orders/{order['id']}").json()["status"] == "open"


def test_the_rules_of_a_market_are_told(owner):
    assert owner.call("GET", "markets").json() == [
        {
            "currency": "USD",
            "asset": "BTC",
            "price_step": "0.01",
            "amount_step": "0.00000001",
            "amount_min": "0.00000001",
            "cost_min": None,
            "maker_fee": "0.0026",
            "taker_fee": "0.0026",
        }
    ]


def test_fills_are_told(owner):
    order = owner.limit("900000")
    (fill,) = owner.call("GET", "fills", currency="USD", asset="BTC").json()
    assert (fill["amount"], fill["price"], fill["fee"]) == (order["filled"], order["average"], order["fee"])


def test_a_deposit_address_is_a_record(owner):
    record = owner.call("GET", "deposit_address", asset="BTC").json()
    assert record == {"asset": "BTC", "address": owner.call("GET", "get_address").json(), "tag": None, "network": None}


def test_sends_are_listed(owner):
    sent = owner.call(
        "POST", "send_to_address", asset="BTC", amount="0.1", address="tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    ).json()
    assert owner.call("GET", "withdrawals").json() == [sent]


def test_what_an_exchange_lacks_is_said(owner):
    answer = owner.call("GET", "deposits")
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")


def test_a_waiting_order_is_filled_when_a_later_minute_reaches_its_price(serving, tmp_path, monkeypatch):
    from bitmm.xwrap.exchanges import paper

    clock = {"now": 0.0}
    init = paper.PaperConfig.__init__

    def with_our_clock(self, *given, **more):
        init(self, *given, **more, clock=lambda: clock["now"])

    monkeypatch.setattr(paper.PaperConfig, "__init__", with_our_clock)
    prices = tmp_path / "prices.csv"
    prices.write_text("timestamp,close\n0,100\n60,90\n120,110\n")
    with serving(paper_prices=prices) as server:
        owner = Owner(server)
        order = owner.limit("95", "1")
        assert order["status"] == "open"
        clock["now"] = 150.0
        filled = owner.call("GET", f"orders/{order['id']}").json()
        assert (filled["status"], filled["average"], filled["spent"], filled["fee"]) == (
            "filled",
            "95",
            "95.00",
            "0.25",
        )
        assert owner.call("GET", "balance").json() == {"USD": "199904.75", "BTC": "2"}
        entries = server.sql("SELECT amount FROM paper_entries WHERE currency = 'USD'")
        assert sum(Decimal(amount) for (amount,) in entries) == Decimal("199904.75")


class Forgetful(Stub):
    """Keeps no order that is gone, like Mt.Gox and the hubs."""

    state: ClassVar = None

    def order(self, ref):
        return type(self).state

    def cancel(self, ref):
        if type(self).state.status == "unknown":
            raise Refused("not open", code="order_not_open")
        type(self).state = replace(type(self).state, status="unknown")


@pytest.fixture
def forgetful(serving, monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.server.views.test_orders:Forgetful")
    monkeypatch.setattr(Forgetful, "state", OrderState("X1", "open"))
    monkeypatch.setattr(Forgetful, "act", staticmethod(lambda _order: Forgetful.state))
    monkeypatch.setattr(Reconciler, "start", lambda self, **_: None)
    monkeypatch.setattr(Reconciler, "stop", lambda self: None)
    with serving(exchanges=("stub",)) as server:
        owner = Owner(server, "stub")
        yield owner, owner.limit("10")


def test_an_order_that_an_exchange_forgets_after_its_cancel_is_canceled(forgetful):
    owner, order = forgetful
    assert owner.call("DELETE", f"orders/{order['id']}").json()["status"] == "canceled"
    assert owner.call("GET", f"orders/{order['id']}").json()["status"] == "canceled"


def test_an_order_that_is_gone_for_reasons_unknown_is_closed(forgetful):
    owner, order = forgetful
    Forgetful.state = OrderState("X1", "unknown")
    assert owner.call("GET", f"orders/{order['id']}").json()["status"] == "open", "it stands, as far as is known"
    assert owner.call("DELETE", f"orders/{order['id']}").json()["status"] == "closed"
    assert owner.call("GET", "orders/", status="open").json() == []
