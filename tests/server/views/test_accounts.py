"""The caller's own account, and what its credentials may do."""

from __future__ import annotations

import http.client
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests

from bitmm.xwrap.server.app import ROUTES
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from tests.server.test_auth import basic
from tests.support.answers import text_of
from tests.support.two_accounts import Party, owned_rows

#: Every call that changes something of an account, but orders and sends, which have tests of their own, and those that
#: only stop something: cancels and the freeze.
CHANGES = {
    "POST /exchanges": {"exchange": "paper", "username": "x", "apikey": "", "apisecret": ""},
    "PATCH /exchanges/{id}": {"label": "another label"},
    "DELETE /exchanges/{id}": {"force": "true"},
    "POST /addresses": {"asset": "BTC", "address": "1CounterpartyXXXXXXXXXXXXXXXUWLpVr"},
    "DELETE /addresses/{address_id}": {},
    "POST /credentials": {"name": "bot2", "scope": "send"},
    "DELETE /credentials/{name}": {},
    "PUT /exchanges/{id}/deadman": {"seconds": "0"},
    "PUT /deadman": {"seconds": "0"},
    "DELETE /freeze": {},
    "PATCH /account": {"password": "a third password"},
}
STOPS = {"DELETE /exchanges/{id}/orders", "DELETE /exchanges/{id}/orders/{order_id}", "POST /freeze"}
TRADES = {
    "POST /exchanges/{id}/orders",
    "POST /exchanges/{id}/transfer",
    "POST /exchanges/{id}/orders/{order_id}",
    "POST /exchanges/{id}/buy",
    "POST /exchanges/{id}/sell",
    "POST /exchanges/{id}/send_to_address",
}


def get(server, auth, path="/account"):
    return requests.get(server.url + path, auth=auth, timeout=30)


def patch(server, auth, **form):
    return requests.patch(f"{server.url}/account", data=form, auth=auth, timeout=30)


def credential(server, account, name="bot1", scope="trade", **columns):
    """A credential of an account; its user name and password."""
    return server.credential(account, scope, name, **columns)


def test_an_account_sees_itself(server, auth):
    answer = get(server, auth)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("name", "username", "scope", "frozen")} == {
        "name": auth[0],
        "username": auth[0],
        "scope": "owner",
        "frozen": None,
    }


def test_a_new_password_counts_at_once_and_the_old_one_no_more(server, auth):
    name, old = auth
    assert get(server, auth).status_code == 200
    assert patch(server, auth, password="another password").status_code == 200
    assert get(server, (name, old)).status_code == 401
    assert get(server, (name, "another password")).status_code == 200
    [(what, subject)] = server.sql("SELECT what, subject FROM audit_log WHERE who = :who", who=name)
    assert (what, subject) == ("account.password", f"account {name}")


@pytest.fixture(scope="module")
def stolen(serving):
    """A server, and a frozen account whose password is known to a thief, too."""
    with serving() as server:
        ann = Party(server, "ann", "anns", "0.01234567")
        requests.post(f"{server.url}/freeze", auth=ann.auth, timeout=30).raise_for_status()
        yield server, ann


def test_each_call_that_changes_something_is_among_those_that_a_new_password_ends():
    changing = {f"{method} {route.path}" for route in ROUTES for method in route.methods - {"GET", "HEAD"}}
    assert changing == CHANGES.keys() | STOPS | TRADES


@pytest.mark.parametrize(("call", "form"), CHANGES.items(), ids=CHANGES)
def test_a_call_that_logged_in_before_a_new_password_changes_nothing_after_it(stolen, monkeypatch, call, form):
    server, ann = stolen
    method, path = call.split()
    path = path.format(id=ann.registration, address_id=ann.address, name=ann.bot)
    atomic, before = Store.atomic, []

    def atomic_late(self, work):
        if not before:
            before.append(None)
            patch(server, ann.auth, password="another password").raise_for_status()
            before[0] = owned_rows(server, ann.name)
        return atomic(self, work)

    monkeypatch.setattr(Store, "atomic", atomic_late)
    answer = requests.request(method, server.url + path, data=form, auth=ann.auth, timeout=30)
    assert before[0] == owned_rows(server, ann.name)
    patch(server, (ann.name, "another password"), password=ann.auth[1]).raise_for_status()
    if call == "PUT /deadman":
        assert all("password of this account was changed" in row["error"] for row in answer.json())
    else:
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(
    ("form", "field"),
    [({}, "password"), ({"password": "short"}, "password"), ({"password": "long enough", "name": "x"}, "name")],
)
def test_a_bad_change_is_422_and_changes_nothing(server, auth, form, field):
    answer = patch(server, auth, **form)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert get(server, auth).status_code == 200


def test_a_credential_logs_in_as_name_slash_name_with_its_scope(server, auth):
    bot = credential(server, auth[0])
    answer = get(server, bot)
    assert (answer.json()["username"], answer.json()["scope"]) == (bot[0], "trade")
    assert get(server, (bot[0], bot[1] + "x")).status_code == 401
    assert get(server, (auth[0], bot[1])).status_code == 401
    assert get(server, (bot[0], auth[1])).status_code == 401
    refused = patch(server, bot, password="another password")
    assert (refused.status_code, refused.json()["code"]) == (403, "out_of_scope")
    assert server.sql("SELECT last_used FROM credentials WHERE last_used IS NOT NULL AND name = 'bot1'")


@pytest.mark.parametrize("columns", [{"expires": "2026-01-01T00:00:00.000000Z"}, {"revoked": now()}])
def test_a_credential_that_expired_or_was_revoked_is_a_wrong_password(server, auth, columns):
    assert get(server, credential(server, auth[0], **columns)).status_code == 401


def test_the_credential_of_an_account_that_is_switched_off_is_a_wrong_password(server, auth):
    bot = credential(server, auth[0])
    store = Store(server.database)
    id = store.accounts.find(auth[0]).id
    store.accounts.set_active(id, active=False)
    assert get(server, bot).status_code == get(server, auth).status_code == 401
    store.accounts.set_active(id, active=True)
    store.close()
    assert get(server, bot).status_code == get(server, auth).status_code == 200


def test_an_account_whose_name_has_a_slash_comes_before_a_credential(server, auth):
    bot = credential(server, auth[0])
    server.account(bot[0], "an older account")
    assert get(server, (bot[0], "an older account")).json()["name"] == bot[0]


def test_a_wrong_credential_and_one_that_does_not_exist_are_alike(server, auth):
    bot = credential(server, auth[0])
    answers = [get(server, (name, "x")) for name in (bot[0], f"{auth[0]}/bot2", "nobody/bot1")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({text_of(answer) for answer in answers}) == 1
    # Guesses of it are refused after ten, and the right one never.
    assert [get(server, (bot[0], "x")).status_code for _ in range(12)] == [401] * 9 + [429] * 3
    assert get(server, bot).status_code == 200


def raw(server, method, path, *headers, body=b""):
    """The status of a request with exactly these headers, of which one may stand twice."""
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)) as connection:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body or None)
        return connection.getresponse().status


def test_two_headers_of_which_one_is_meant_are_400(server, auth):
    registration = server.registration(auth)
    login = ("Authorization", basic(*auth))
    assert raw(server, "GET", "/account", login) == 200
    assert raw(server, "GET", "/account", login, login) == 400
    body = b"currency=USD&asset=BTC&amount=0.001"
    form = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(body)))]
    keys = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    assert raw(server, "POST", f"/exchanges/{registration}/buy", login, *form, *keys, body=body) == 400


@pytest.mark.parametrize("right", [True, False])
def test_the_body_is_not_waited_for_where_the_call_may_not_be_made(server, auth, right):
    """Its head says that a body follows, and none does; the caller may not do it, or has a wrong password."""
    bot = credential(server, auth[0])
    if right:
        assert get(server, bot).status_code == 200, "it is remembered"
    login = ("Authorization", basic(bot[0], bot[1] if right else "wrong"))
    form = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "100")]
    assert raw(server, "PATCH", "/account", login, *form) == (403 if right else 401)
    assert raw(server, "POST", "/exchanges/", login, *form) == (403 if right else 401)


def test_failed_logins_are_summed_in_the_audit(serving):
    with serving() as server:
        name, _password = server.account()
        for number in range(15):
            get(server, (name, f"guess {number}"))
        get(server, ("my secret password", "x"))
    rows = server.sql("SELECT who, address, subject, details FROM audit_log WHERE what = 'login.failed' ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("unknown", "127.0.0.1", f"account {name}", '{"tries": "15"}'),
        ("unknown", "127.0.0.1", "unknown user", '{"tries": "1"}'),
    ]
