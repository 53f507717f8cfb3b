"""The changes of orders: numbered with every write, waited for without threads, told in their order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.db.journals import OrderJournal
from bitmm.xwrap.server.order_changes import OrderChanges
from tests.support import historic


def wait_until(condition):
    historic.wait_until(condition)
    assert condition()


class Owner:
    """An account with a registration at the paper exchange."""

    def __init__(self, server, waiters):
        self.server, self.auth, self.waiters = server, server.account(), waiters
        self.backend = XWrap(server.url).create_backend(*self.auth, "paper", "", "", "")
        self.url = f"{server.url}/exchanges/{self.backend.id}/orders/"

    def changes(self, after="", wait=0, auth=None):
        answer = requests.get(self.url, {"after": after, "wait": wait}, auth=auth or self.auth, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def place(self, price="1"):
        return self.backend.buy("USD", "BTC", "0.01", price=price)["id"]


@contextmanager
def serving_with_waiters(serving):
    """A server, and what it knows of the calls that wait."""
    made, init = [], OrderChanges.__init__

    def noted(changes, *given):
        made.append(changes)
        init(changes, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrderChanges, "__init__", noted)
        with serving() as server:
            yield server, made[0]


@pytest.fixture(scope="module")
def following(serving):
    with serving_with_waiters(serving) as both:
        yield both


@pytest.fixture
def owner(following):
    server, changes = following
    return Owner(server, changes._waiters)


def ids(changes):
    return [order["id"] for order in changes["orders"]]


def test_changes_come_in_their_order_each_as_the_order_is_now(owner):
    first, second, third = (owner.place() for _ in range(3))
    owner.backend.cancel(second)
    found = owner.changes(after="0")
    assert ids(found) == [first, third, second]
    url = f"{owner.server.url}/exchanges/{owner.backend.id}/orders"
    assert found["orders"] == [requests.get(f"{url}/{id}", auth=owner.auth, timeout=30).json() for id in ids(found)]
    assert owner.changes(after=found["cursor"]) == {"orders": [], "cursor": found["cursor"]}


def test_without_a_cursor_they_begin_now(owner):
    assert owner.changes() == {"orders": [], "cursor": "0"}
    owner.place()
    now = owner.changes()
    assert now["orders"] == []
    new = owner.place()
    assert ids(owner.changes(after=now["cursor"])) == [new]


def test_many_changes_come_in_pages_none_lost_and_none_twice(owner, monkeypatch):
    monkeypatch.setattr("bitmm.xwrap.server.views.order_changes._MOST_ORDERS", 3)
    placed = [owner.place() for _ in range(8)]
    found, cursor = [], "0"
    while (page := owner.changes(after=cursor))["orders"]:
        found, cursor = found + ids(page), page["cursor"]
    assert found == placed


def test_a_call_waits_until_an_order_changes(owner):
    cursor = owner.changes()["cursor"]
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(owner.changes, cursor, 30) for _ in range(5)]
        wait_until(lambda: len(owner.waiters) == 5)
        placed = owner.place()
        found = [call.result() for call in waiting]
    assert all(placed in ids(changes) for changes in found)
    assert not owner.waiters


def test_a_call_that_waits_in_vain_is_answered_with_its_cursor(owner):
    cursor = owner.changes()["cursor"]
    assert owner.changes(cursor, wait=1) == {"orders": [], "cursor": cursor}


def test_any_number_of_calls_wait_with_one_query_and_none_is_asked_without_them(owner, monkeypatch):
    others = [Owner(owner.server, owner.waiters) for _ in range(3)]
    queries, ask = [], OrderJournal.last_changes

    def counted(journal, registrations):
        queries.append(set(registrations))
        return ask(journal, registrations)

    monkeypatch.setattr(OrderJournal, "last_changes", counted)
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(one.changes, "0", 2) for one in (owner, *others) for _ in range(3)]
        wait_until(lambda: len(owner.waiters) == 12)
        queries.clear()
        wait_until(lambda: len(queries) >= 2)
        all_of_them = {one.backend.id for one in (owner, *others)}
        assert queries[:2] == [all_of_them] * 2
        for one in (owner, *others):
            one.place()
        [call.result() for call in calls]


def test_a_caller_that_goes_away_waits_no_longer(owner):
    session = requests.Session()
    with pytest.raises(requests.ReadTimeout):
        session.get(owner.url, params={"after": "0", "wait": "30"}, auth=owner.auth, timeout=0.2)
    session.close()
    wait_until(lambda: not owner.waiters)


def post(owner, path, method="POST", **form):
    answer = requests.request(method, f"{owner.server.url}{path}", data=form, auth=owner.auth, timeout=30)
    assert answer.ok, answer.text


@pytest.mark.parametrize("ended", ["revoked", "deleted"])
def test_what_was_revoked_while_a_call_waited_is_not_told(owner, ended):
    login = owner.server.credential(owner.auth[0], "read")
    with ThreadPoolExecutor(12) as pool:
        query = {"after": owner.changes()["cursor"], "wait": 30}
        call = pool.submit(requests.get, owner.url, query, auth=login, timeout=60)
        wait_until(lambda: owner.waiters)
        if ended == "revoked":
            post(owner, "/credentials/bot1", "DELETE")
            owner.place()
        else:
            owner.place()
            owner.backend.delete(force=True)
        # The order is committed before its answer: the deletion may come too late.
        assert call.result().status_code == 401 if ended == "revoked" else call.result().status_code in {200, 404}


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "-1"},
        {"after": "1" * 19},
        {"after": "1", "wait": "31"},
        {"after": "1", "wait": "-1"},
        {"after": "1", "status": "open"},
        {"after": "1", "limit": "5"},
        {"wait": "5"},
    ],
)
def test_a_bad_question_for_changes_is_422(owner, query):
    assert requests.get(owner.url, query, auth=owner.auth, timeout=30).status_code == 422


def test_an_account_has_a_share_of_the_calls_that_wait_and_the_next_one_comes_back_later(owner, following, monkeypatch):
    other = Owner(owner.server, owner.waiters)
    monkeypatch.setattr(following[1], "_most_of_account", 1)
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(owner.changes, "0", 30)
        wait_until(lambda: owner.waiters)
        refused = requests.get(owner.url, {"after": "0", "wait": "30"}, auth=owner.auth, timeout=30)
        assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (
            503,
            "server_busy",
            "1",
        )
        placed = other.place()
        assert ids(other.changes("0", wait=30)) == [placed], "another account has its own share"
        owner.place()
        assert len(first.result()["orders"]) == 1
    assert not following[1]._of_account


def test_a_failing_data_base_fails_the_calls_that_wait(owner, monkeypatch):
    def broken(_journal, _registrations):
        raise RuntimeError("no query")

    with ThreadPoolExecutor(12) as pool:
        call = pool.submit(requests.get, owner.url, {"after": "0", "wait": 30}, auth=owner.auth, timeout=60)
        wait_until(lambda: owner.waiters)
        monkeypatch.setattr(OrderJournal, "last_changes", broken)
        assert call.result().status_code == 500
    monkeypatch.undo()
    placed = owner.place()
    assert ids(owner.changes("0", wait=30)) == [placed]


def test_a_server_that_stops_answers_the_calls_that_wait(serving):
    with ThreadPoolExecutor(1) as pool:
        with serving_with_waiters(serving) as (server, changes):
            owner = Owner(server, changes._waiters)
            call = pool.submit(owner.changes, "0", 30)
            wait_until(lambda: owner.waiters)
        assert call.result() == {"orders": [], "cursor": "0"}
