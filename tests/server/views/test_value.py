"""What an account owns at all its registrations, in one currency."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.client import AuthenticationError, InvalidRequest, XWrap
from bitmm.xwrap.exchanges.errors import Busy, Refused
from bitmm.xwrap.exchanges.models import Funds
from bitmm.xwrap.exchanges.rules import no_rate
from tests.support.markets import add_markets

D = Decimal


def owned(**amounts):
    return {name: Funds(None if amount is None else D(amount), None, None) for name, amount in amounts.items()}


@pytest.fixture
def places(monkeypatch):
    made = add_markets(monkeypatch, 3)
    for place in made:
        place.owned = owned(BTC="2", USD="10.50")
        place.rates = {("USD", "BTC"): ("101", "99")}
    return made


@pytest.fixture
def account(serving, places):
    """An account with a registration at each place."""
    with serving(exchanges=tuple(place.id for place in places)) as server:
        xwrap, auth = XWrap(server.url), server.account()
        xwrap.ids = [xwrap.create_backend(*auth, place.id, "", "", "").id for place in places]
        xwrap.auth, xwrap.server = auth, server
        yield xwrap


def test_the_total_is_exact_and_each_registration_counts_by_its_own_prices(account, places):
    places[1].rates = {("USD", "BTC"): ("200", "100.000000001")}
    places[2].owned = owned(BTC="0", USD="0")
    assert account.value("usd", *account.auth) == {
        "total": D("419.000000002"),
        "currency": "USD",
        "backends": [
            {"id": account.ids[0], "exchange": "market0", "total": D("208.50"), "not_priced": {}},
            {"id": account.ids[1], "exchange": "market1", "total": D("210.500000002"), "not_priced": {}},
            {"id": account.ids[2], "exchange": "market2", "total": D(0), "not_priced": {}},
        ],
        "not_priced": {},
    }


def test_a_market_that_is_listed_the_other_way_round_is_divided_by(account, places):
    for place in places[1:]:
        place.owned = {}
    assert account.value("XBT", *account.auth)["total"] == D("2") + D("0.1039603960396039603960396040")
    assert places[0].asked == [("USD", "BTC")]


def test_what_has_no_price_is_named_with_its_amount(account, places):
    places[0].owned = owned(BTC="1", XYZ="7.10", ODD=None, **{"ETH.S": "3"})
    places[1].owned = owned(XYZ="0.05")
    # A rate that would be guessed: the market is not listed.
    places[0].rates = places[0].rates | {("USD", "XYZ"): ("1", "1")}
    value = account.value("USD", *account.auth)
    assert value["backends"][0]["total"] == D(99)
    assert value["backends"][0]["not_priced"] == {"XYZ": D("7.10"), "ODD": None, "ETH.S": D(3)}
    assert value["not_priced"] == {"XYZ": D("7.15"), "ODD": None, "ETH.S": D(3)}
    assert value["total"] == D("99") + D("208.50")
    assert ("USD", "XYZ") not in places[0].asked


def test_an_exchange_without_a_list_is_asked_for_both_directions(account, places):
    places[0].pairs = None
    places[0].owned = owned(EUR="100", XYZ="1")
    places[0].rates = {("EUR", "USD"): ("0.8", "0.7")}
    row = account.value("USD", *account.auth)["backends"][0]
    assert (row["total"], row["not_priced"]) == (D("125"), {"XYZ": D(1)})


def test_a_market_without_a_buyer_leaves_its_asset_without_a_price(account, places):
    places[0].rates = {("USD", "BTC"): no_rate("Market", "USD", "BTC")}
    row = account.value("USD", *account.auth)["backends"][0]
    assert (row["total"], row["not_priced"]) == (D("10.50"), {"BTC": D(2)})


@pytest.mark.parametrize(
    "failure",
    [
        Busy("Market: too many requests", retry_after=1),
        Refused("Market did not answer", code="exchange_unavailable", retryable=True),
    ],
)
def test_a_price_that_could_not_be_read_makes_no_total_that_is_too_small(account, places, failure):
    places[0].rates = {("USD", "BTC"): failure}
    value = account.value("USD", *account.auth)
    assert value["backends"][0] == {
        "id": account.ids[0],
        "exchange": "market0",
        "total": None,
        "not_priced": {},
        "error": str(failure),
    }
    assert value["total"] == D("417.00")


def test_an_exchange_that_fails_says_why(account, places):
    places[2].failure = Refused("it is being repaired", code="exchange_unavailable")
    value = account.value("USD", *account.auth)
    assert [row.get("error") for row in value["backends"]] == [None, None, "it is being repaired"]
    assert value["total"] == D("417.00")


def test_fifty_assets_cost_an_exchange_fifty_questions_once(account, places):
    names = [f"A{number}" for number in range(50)]
    places[0].owned = owned(**dict.fromkeys(names, "1"))
    places[0].pairs = [("USD", name) for name in names]
    places[0].rates = dict.fromkeys(places[0].pairs, ("2", "1"))
    for _ in range(3):
        assert account.value("USD", *account.auth)["backends"][0]["total"] == D(50)
    assert sorted(places[0].asked) == sorted(places[0].pairs)


def test_a_credential_sees_its_registrations_only(account):
    credential = account.add_credential(*account.auth, "bot", "read", exchanges=[account.ids[1]])
    value = account.value("USD", credential["username"], credential["password"])
    assert [row["id"] for row in value["backends"]] == [account.ids[1]]
    assert value["total"] == D("208.50")


def test_a_bad_question_is_refused(account):
    for currency in ("", "no name"):
        with pytest.raises(InvalidRequest, match="currency"):
            account.value(currency, *account.auth)
    with pytest.raises(AuthenticationError):
        account.value("USD", account.auth[0], "not it")
