"""What an account is worth is kept once a day: exact, and not by guesses."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server import services
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.worth import DailyWorth
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue


@pytest.fixture(scope="module")
def world(serving):
    with (
        KrakenVenue() as venue,
        serving(
            exchanges=("paper", "kraken"), exchange_urls={"kraken": venue.url}, exchange_limits={"kraken": None}
        ) as server,
    ):
        yield server, venue


def value(server, auth, currency="USD"):
    answer = requests.get(f"{server.url}/value?currency={currency}", auth=auth, timeout=30)
    assert answer.ok, answer.text
    return answer.json()["total"]


def kept(server, auth, currency="USD"):
    return server.sql(
        "SELECT day, total, complete, asked FROM worth WHERE account_id = (SELECT id FROM accounts WHERE name = :name)"
        " AND currency = :currency",
        name=auth[0],
        currency=currency,
    )


@pytest.fixture
def auth(world):
    server, venue = world
    venue.heal()
    auth = server.account()
    server.registration(auth)
    server.registration(auth, "kraken", apikey=venue.key, apisecret=venue.secret)
    return auth


def test_a_total_that_was_asked_for_is_kept_as_the_row_of_today(world, auth):
    server, _venue = world
    total = value(server, auth, "usd")
    [(day, stored, complete, asked)] = kept(server, auth)
    assert (day, stored, bool(complete), asked) == (now()[:10], total, True, now()[:10])


def test_a_total_without_an_exchange_is_marked_and_replaces_none_that_is_complete(world, auth):
    server, venue = world
    venue.fault("maintenance", times=50)
    partial = value(server, auth)
    assert [(row[1], bool(row[2])) for row in kept(server, auth)] == [(partial, False)]
    venue.heal()
    whole = value(server, auth)
    assert [(row[1], bool(row[2])) for row in kept(server, auth)] == [(whole, True)]
    venue.fault("maintenance", times=50)
    assert value(server, auth) != whole
    assert [row[1] for row in kept(server, auth)] == [whole]


def test_a_credential_that_sees_one_registration_keeps_no_total(world, auth):
    server, _venue = world
    ids = [each.id for each in XWrap(server.url).list_backends(*auth)]
    bot = server.credential(auth[0], "read", exchanges=f"[{ids[0]}]")
    value(server, bot)
    assert kept(server, auth) == []


def test_a_currency_in_which_nothing_has_a_price_is_not_kept(world, auth):
    server, _venue = world
    assert value(server, auth, "FOO") == "0"
    assert kept(server, auth, "FOO") == []


def test_an_account_is_valued_each_day_while_its_owner_asks_now_and_then(serving, monkeypatch):
    rounds = []

    class Noted(DailyWorth):
        def __init__(self, *args):
            super().__init__(*args)
            rounds.append(self)

    monkeypatch.setattr(services, "DailyWorth", Noted)
    with serving() as server:
        auth = server.account()
        server.registration(auth)
        value(server, auth)
        server.sql("UPDATE worth SET day = '2026-11-01', asked = :today", today=now()[:10])
        rounds[0].value_due()
        rows = kept(server, auth)
        assert [(row[0], row[3]) for row in rows] == [("2026-11-01", now()[:10]), (now()[:10], "")]
        server.sql("DELETE FROM worth WHERE day > '2026-11-01'")
        server.sql("UPDATE worth SET asked = :then", then=now(31 * 86400)[:10])
        rounds[0].value_due()
        assert len(kept(server, auth)) == 1
