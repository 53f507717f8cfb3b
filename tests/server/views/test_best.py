"""The best place for an order among the registrations of an account, and among all exchanges without one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Funds
from tests.support.markets import add_markets, book

D = Decimal


@pytest.fixture
def places(monkeypatch):
    return add_markets(monkeypatch, 3)


@pytest.fixture
def account(serving, places):
    """An account with a registration at each place, and a call for the best one."""
    with serving(exchanges=tuple(place.id for place in places)) as server:
        xwrap, auth = XWrap(server.url), server.account()
        backends = [xwrap.create_backend(*auth, place.id, "", "", "") for place in places]
        xwrap.ids = [backend.id for backend in backends]
        xwrap.auth = auth
        yield xwrap


def best(account, **size):
    return account.best("usd", "btc", *account.auth, **({"side": "buy"} | size))


def test_the_best_registration_comes_first_with_what_is_really_paid(account, places):
    places[0].account_taker = D("0.05")
    rows = best(account, amount="2")
    assert rows[0] == {
        "id": account.ids[1],
        "exchange": "market1",
        "amount": D(2),
        "average": D(101),
        "spent": D(202),
        "fee": D("0.202"),
        "fee_source": "published",
        "total": D("202.202"),
        "reason": None,
    }
    assert [(row["exchange"], row["total"], row["fee_source"]) for row in rows[1:]] == [
        ("market2", D("204.204"), "published"),
        ("market0", D("210.00"), "account"),
    ]


def test_a_sell_is_ranked_by_what_it_brings(account, places):
    places[2].shown = book(("200", "1"), bids=(("150", "5"),))
    rows = best(account, side="sell", amount="1.5")
    assert (rows[0]["exchange"], rows[0]["total"]) == ("market2", D("224.775"))


def test_each_registration_that_cannot_execute_it_says_why(account, places):
    places[0].shown = book(("100", "1"))
    places[1].owned = {"USD": Funds(D(50), D(50), D(0))}
    places[2].failure = Refused("it is being repaired", code="exchange_unavailable")
    rows = best(account, amount="2")
    assert [(row["exchange"], row["reason"]) for row in rows] == [
        ("market0", "its order book lists only 1 BTC of the 2 that are wanted"),
        ("market1", "there are 50 USD, and 202.202 are needed"),
        ("market2", "it is being repaired"),
    ]
    assert [row["total"] for row in rows] == [D("100.1"), D("202.202"), None]


def test_a_book_that_is_old_is_not_counted_with(account, places):
    places[0].shown = book(("1", "5"), time=datetime.now(UTC) - timedelta(seconds=100))
    rows = best(account, amount="2")
    assert rows[0]["exchange"] == "market1"
    assert "seconds old" in rows[-1]["reason"]


def test_a_cost_buys_as_much_as_it_pays_for(account):
    row = best(account, cost="50")[0]
    assert (row["amount"], row["spent"], row["exchange"]) == (D("0.5"), D("50"), "market0")


def test_an_order_in_parts_adds_up_and_leaves_the_others_out(account, places):
    places[0].shown, places[1].shown = book(("100", "1")), book(("101", "1.5"))
    rows = best(account, amount="2", split=True)
    assert [(row["exchange"], row["amount"], row["reason"]) for row in rows] == [
        ("market0", D(1), None),
        ("market1", D(1), None),
    ]


def test_an_order_that_all_together_cannot_execute_has_reasons_alone(account):
    rows = best(account, amount="16", split=True)
    assert len(rows) == 3
    assert all(row["reason"] for row in rows)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"side": "both", "amount": "1"}, "side"),
        ({"amount": "1"}, "side"),
        ({"side": "buy"}, "amount"),
        ({"side": "buy", "amount": "-1"}, "amount"),
        ({"side": "buy", "amount": "1", "cost": "1"}, "cost"),
        ({"side": "sell", "cost": "1"}, "cost"),
        ({"side": "buy", "cost": "1", "split": "true"}, "cost"),
        ({"side": "buy", "amount": "1", "split": "perhaps"}, "split"),
    ],
)
def test_a_bad_question_is_422_and_names_its_field(account, query, field):
    url = account._api.url + "/best"
    answer = requests.get(url, {"currency": "USD", "asset": "BTC"} | query, auth=account.auth, timeout=30)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_client_wants_one_size(account):
    for size in ({}, {"amount": 1, "cost": 1}):
        with pytest.raises(InvalidRequest) as caught:
            best(account, **size)
        assert caught.value.code == "invalid_amount"


def test_rates_for_a_size_rank_all_exchanges_without_an_account(account, places):
    places[0].shown = book(("100", "1"), ("150", "5"), bids=(("99", "5"),))
    places[2].taker = None
    rows = account.exchange_rates("USD", "BTC", amount="2")
    assert [(row["exchange"], row["buy"], row["total"], row["reason"]) for row in rows] == [
        ("market1", D(101), D("202.202"), None),
        ("market0", D(100), D("250.250"), None),
        ("market2", D(102), None, "Market does not tell its fees, so what an order costs there is not known"),
    ]
    assert account.exchange_rates("USD", "BTC", amount="2", side="sell")[0]["total"] == D("197.802")


def test_a_pair_that_no_exchange_has_is_refused_for_a_size_too(account):
    with pytest.raises(InvalidRequest, match=r"no exchange here has a market XMR/USD") as caught:
        account.exchange_rates("USD", "XMR", amount="2")
    assert caught.value.code == "unknown_market"
