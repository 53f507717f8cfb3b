"""The quotas of an account, at the real server: exactly so much is taken, and reads and cancels always are."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.usage import UsageStore
from tests.support.stub import Stub
from tests.support.threads import in_threads

ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.001", "price": "1"}


class Trader:
    """An account, with a registration on paper."""

    def __init__(self, server):
        self.server, self.auth = server, server.account()
        self.id = server.registration(self.auth)

    def call(self, method, path, key=None, **form):
        headers = {"Idempotency-Key": key} if key else {}
        return requests.request(method, self.server.url + path, data=form, headers=headers, auth=self.auth, timeout=60)

    def buy(self, key=None, server=None):
        """Place a limit order that waits, at this server."""
        url = f"{(server or self.server).url}/exchanges/{self.id}/buy"
        headers = {"Idempotency-Key": key or secrets.token_hex(8)}
        return requests.post(url, ORDER, headers=headers, auth=self.auth, timeout=60)

    @property
    def account(self):
        [[id]] = self.server.sql("SELECT id FROM accounts WHERE name = :name", name=self.auth[0])
        return id

    def placed(self, counts):
        """Make it so that the account began so many orders at these times."""
        self.server.sql("DELETE FROM placed WHERE account_id = :account", account=self.account)
        for time, begun in counts.items():
            statement = "INSERT INTO placed (account_id, hour, begun) VALUES (:account, :hour, :begun)"
            self.server.sql(statement, account=self.account, hour=time[:13], begun=begun)

    def register(self, exchange="paper", **form):
        return self.call("POST", "/exchanges/", exchange=exchange, **form)


def refused(answer):
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded"), answer.text
    assert not answer.json()["may_have_executed"]
    return answer.json()


@pytest.fixture(scope="module")
def small(serving):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        quotas = {"order_quota": 4, "registration_quota": 3, "credential_quota": 3, "address_quota": 3}
        with serving(exchanges=("paper", "stub"), **quotas) as server:
            yield server


def test_orders_and_sends_are_taken_up_to_the_quota_and_the_next_is_told_when_to_come_back(small):
    trader = Trader(small)
    first = trader.buy("mine")
    assert [trader.buy().status_code for _ in range(2)] == [200] * 2
    send = {"asset": "BTC", "amount": "0.1", "address": ADDRESS}
    assert trader.call("POST", f"/exchanges/{trader.id}/send_to_address", "s1", **send).status_code == 200
    answer = trader.buy()
    body = refused(answer)
    assert (body["retryable"], body["limit"]) == (True, "4")
    assert "nothing was sent" in body["detail"]
    # The hour in which the oldest was begun counts as a whole.
    assert 86_400 < int(answer.headers["Retry-After"]) <= 90_000
    refused(trader.call("POST", f"/exchanges/{trader.id}/send_to_address", "s2", **send))
    refused(trader.call("POST", f"/exchanges/{trader.id}/buy", **ORDER, dry_run="true"))
    assert trader.buy("mine").json() == first.json()
    assert Trader(small).buy().status_code == 200
    order = f"/exchanges/{trader.id}/orders/{first.json()['id']}"
    assert trader.call("GET", order).json()["status"] == "open"
    assert trader.call("DELETE", order).json()["status"] == "canceled"
    assert trader.call("DELETE", f"/exchanges/{trader.id}/orders/").json() == {"canceled": 2}
    # A day after the hour of the first one there is room for one more.
    trader.placed({now(90_000): 1, now(): 3})
    assert trader.buy().status_code == 200
    refused(trader.buy())


def test_what_was_placed_with_a_registration_that_was_deleted_counts(small):
    trader = Trader(small)
    assert [trader.buy().status_code for _ in range(4)] == [200] * 4
    trader.call("DELETE", f"/exchanges/{trader.id}/orders/")
    assert trader.call("DELETE", f"/exchanges/{trader.id}").status_code == 200
    trader.id = small.registration(trader.auth)
    refused(trader.buy())


def test_registrations_are_taken_up_to_the_quota_with_those_that_were_deleted_in_the_last_day(small):
    trader = Trader(small)
    assert trader.register("stub", apikey="one").status_code == 201
    last = trader.register("stub", apikey="two").json()["id"]
    answer = trader.register()
    assert refused(answer)["retryable"] is False
    assert "Retry-After" not in answer.headers
    repeat = trader.register("stub", apikey="two")
    assert (repeat.status_code, repeat.json()["registration"]) == (409, last)
    assert Trader(small).register().status_code == 201
    for _ in range(2):
        assert trader.call("DELETE", f"/exchanges/{trader.id}").status_code == 200
    refused(trader.register())
    small.sql("UPDATE registrations SET deleted = :then WHERE id = :id", then=now(86_400), id=trader.id)
    assert trader.register().status_code == 201
    refused(trader.register())


def test_credentials_are_taken_up_to_the_quota_with_those_that_were_revoked_in_the_last_day(small):
    trader = Trader(small)
    answers = in_threads(9, lambda number: trader.call("POST", "/credentials/", name=f"bot{number}", scope="read"))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 6
    body = refused(next(answer for answer in answers if answer.status_code == 429))
    assert (body["retryable"], body["limit"]) == (False, "3")
    assert "XWRAP_QUOTA_CREDENTIALS" in body["detail"]
    names = [row["name"] for row in trader.call("GET", "/credentials/").json()]
    assert len(names) == 3
    # The audit has what was added alone.
    audit = [row["subject"] for row in trader.call("GET", "/audit").json() if row["what"] == "credential.add"]
    assert sorted(audit) == sorted(f"credential {name}" for name in names)
    assert trader.call("POST", "/credentials/", name=names[0], scope="read").json()["code"] == "name_taken"
    assert trader.call("DELETE", f"/credentials/{names[0]}").status_code == 200
    refused(trader.call("POST", "/credentials/", name="more", scope="read"))
    assert Trader(small).call("POST", "/credentials/", name="bot", scope="read").status_code == 201
    small.sql("UPDATE credentials SET revoked = :then WHERE revoked IS NOT NULL", then=now(86_400))
    assert trader.call("POST", "/credentials/", name="more", scope="read").status_code == 201
    refused(trader.call("POST", "/credentials/", name="one more", scope="read"))


def test_addresses_are_taken_up_to_the_quota_with_those_that_were_removed_in_the_last_day(small):
    trader = Trader(small)

    def allow(number):
        return trader.call("POST", "/addresses", asset="BTC", address=ADDRESS, tag=str(number))

    answers = in_threads(9, allow)
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 6
    body = refused(next(answer for answer in answers if answer.status_code == 429))
    assert (body["retryable"], body["limit"]) == (False, "3")
    assert "XWRAP_QUOTA_ADDRESSES" in body["detail"]
    listed = trader.call("GET", "/addresses").json()
    assert len(listed) == 3
    assert allow(listed[0]["tag"]).json() == listed[0]
    assert trader.call("DELETE", f"/addresses/{listed[0]['id']}").status_code == 200
    refused(allow("more"))
    small.sql("UPDATE addresses SET removed = :then WHERE removed IS NOT NULL", then=now(86_400))
    assert allow("more").status_code == 201
    refused(allow("one more"))


def test_an_exchange_is_not_asked_about_a_key_beyond_the_quota(small, monkeypatch):
    trader = Trader(small)
    assert [trader.register().status_code for _ in range(2)] == [201] * 2
    asked = []
    monkeypatch.setattr(Stub, "permissions", lambda _self: asked.append(1) or set())
    refused(trader.register("stub", apikey="one"))
    assert asked == []


def test_of_many_calls_at_once_exactly_the_quota_is_taken(small):
    trader = Trader(small)
    answers = in_threads(12, lambda _number: trader.buy())
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 8
    answers = in_threads(12, lambda _number: trader.register())
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [429] * 10
    [[rows]] = small.sql("SELECT count(*) FROM orders WHERE registration_id = :id", id=trader.id)
    assert rows == 4
    assert small.sql("SELECT sum(begun) FROM placed WHERE account_id = :id", id=trader.account) == [(4,)]


def test_the_hour_that_was_a_day_ago_counts_as_a_whole_and_the_one_before_not_at_all(small):
    trader = Trader(small)
    trader.placed({now(90_000): 9, now(86_400): 4})
    refused(trader.buy())
    trader.placed({now(90_000): 9, now(86_400): 3})
    assert trader.buy().status_code == 200
    refused(trader.buy())
    # The first order of an hour removes the hours that do not count any more.
    hours = small.sql("SELECT hour FROM placed WHERE account_id = :id ORDER BY hour", id=trader.account)
    assert len(hours) == 2
    assert (now(90_000)[:13],) not in hours


def test_two_server_processes_hold_a_quota_together(postgres, serving, tmp_path, request, monkeypatch):
    """The second one counts when the first has committed, because the account is locked before."""
    settings = {"database_url": request.getfixturevalue("database")(tmp_path, tables=True), "order_quota": 1}
    (tmp_path / "two").mkdir(mode=0o700)
    both_have_counted, count = threading.Barrier(2), UsageStore.placed

    def count_together(self, account):
        used = count(self, account)
        with suppress(threading.BrokenBarrierError):
            both_have_counted.wait(1)
        return used

    monkeypatch.setattr(UsageStore, "placed", count_together)
    with (
        serving(tmp_path, **settings) as first,
        serving(tmp_path / "two", master_key_file=tmp_path / "master.key", **settings) as second,
    ):
        trader = Trader(first)
        answers = in_threads(2, lambda number: trader.buy(server=(first, second)[number]))
        assert sorted(answer.status_code for answer in answers) == [200, 429]


def test_a_registration_has_as_many_open_orders_on_paper_as_are_set_and_one_that_is_canceled_makes_room(serving):
    with serving(open_order_quota=2) as server:
        trader = Trader(server)
        first, _ = trader.buy("1").json(), trader.buy("2").json()
        answer = trader.buy("3")
        assert "may have 2 open orders on paper" in refused(answer)["detail"]
        assert trader.buy("3").content == answer.content
        assert (
            trader.call("POST", f"/exchanges/{trader.id}/buy", **{**ORDER, "price": "1000000"}).json()["status"]
            == "filled"
        )
        path = f"/exchanges/{trader.id}/orders/"
        assert trader.call("GET", f"{path}?key=3").json()["status"] == "rejected"
        assert trader.call("DELETE", f"{path}{first['id']}").json()["status"] == "canceled"
        assert trader.buy("4").json()["status"] == "open"
