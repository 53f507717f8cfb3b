"""Credentials over HTTP: made, listed, used and revoked."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import requests

from bitmm.xwrap.server.credential_passwords import is_password
from tests.support.answers import body_of

#: What a credential's password looks like; the same in every run, because it is part of a test's name.
A_PASSWORD = "xwrap_" + "0" * 40 + "2kaqcA"
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.001"}
FORM = {"name": "bot1", "scope": "trade"}


def call(server, method, path, auth, form=None):
    return requests.request(method, f"{server.url}{path}", data=form, auth=auth, timeout=30)


def make(server, auth, **form):
    """A new credential of the account; what it logs in with."""
    answer = call(server, "POST", "/credentials/", auth, FORM | form)
    assert answer.status_code == 201, answer.text
    return answer.json()["username"], answer.json()["password"]


def listed(server, auth):
    answer = call(server, "GET", "/credentials/", auth)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer):
    return answer.status_code, answer.json()["code"], answer.json().get("field")


@pytest.fixture
def paper(server, auth):
    return server.registration(auth)


def test_a_credential_is_told_with_its_password_once(server, auth, paper):
    expires = datetime.now(UTC) + timedelta(days=1)
    form = {
        **FORM,
        "exchanges": str(paper),
        "pairs": "btc/usd, ETH/EUR",
        "per_order": "100.50",
        "per_day": "1E+3",
        "currency": "usd",
        "expires": expires.astimezone().isoformat(),
    }
    made = call(server, "POST", "/credentials/", auth, form).json()
    username, password = made.pop("username"), made.pop("password")
    assert username == f"{auth[0]}/bot1"
    assert is_password(password)
    assert made == {
        "name": "bot1",
        "scope": "trade",
        "exchanges": [paper],
        "pairs": ["BTC/USD", "ETH/EUR"],
        "per_order": "100.50",
        "per_day": "1000",
        "currency": "USD",
        "expires": expires.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "created": made["created"],
        "last_used": None,
        "revoked": None,
        "used": "0",
    }
    assert listed(server, auth) == [made]
    [(kept,)] = server.sql("SELECT digest FROM credentials WHERE created = :at", at=made["created"])
    assert re.fullmatch("[0-9a-f]{64}", kept)


def test_it_logs_in_and_its_use_is_seen(server, auth, paper):
    login = make(server, auth)
    assert [row["id"] for row in call(server, "GET", "/exchanges/", login).json()] == [paper]
    assert call(server, "POST", f"/exchanges/{paper}/buy", login, ORDER).json()["status"] == "filled"
    [row] = listed(server, auth)
    assert row["last_used"] is not None
    assert (row["per_order"], row["used"]) == (None, None)


def test_each_scope_includes_the_ones_before(server, auth, paper):
    send = {"asset": "BTC", "amount": "0.01", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}
    calls = {
        "read": ("GET", f"/exchanges/{paper}/balance", None),
        "trade": ("POST", f"/exchanges/{paper}/sell", ORDER),
        "send": ("POST", f"/exchanges/{paper}/send_to_address", send),
        "owner": ("POST", "/exchanges/", {"exchange": "paper"}),
    }
    for number, scope in enumerate(("read", "trade", "send")):
        login = make(server, auth, name=scope, scope=scope)
        codes = [call(server, method, path, login, form).status_code for method, path, form in calls.values()]
        assert codes == [200] * (number + 1) + [403] * (3 - number)


def test_a_credential_makes_lists_and_revokes_none(server, auth):
    login = make(server, auth, scope="send")
    for method, path, form in (
        ("POST", "/credentials/", {"name": "bot2", "scope": "read"}),
        ("GET", "/credentials/", None),
        ("DELETE", "/credentials/bot1", None),
    ):
        assert refusal(call(server, method, path, login, form)) == (403, "out_of_scope", None)
    assert len(listed(server, auth)) == 1


def test_it_sees_the_registrations_that_it_was_given_and_no_other(server, auth, paper):
    other = server.registration(auth, label="other")
    login = make(server, auth, exchanges=str(other))
    assert [row["id"] for row in call(server, "GET", "/exchanges/", login).json()] == [other]
    assert [row["id"] for row in call(server, "GET", "/balance", login).json()] == [other]
    for path in ("", "/balance", "/orders/", "/withdrawals/"):
        assert refusal(call(server, "GET", f"/exchanges/{paper}{path}", login)) == (403, "out_of_scope", None)
    assert refusal(call(server, "DELETE", f"/exchanges/{paper}/orders/", login)) == (403, "out_of_scope", None)
    foreign = server.registration(server.account())
    absent = call(server, "GET", "/exchanges/999999", login)
    assert body_of(call(server, "GET", f"/exchanges/{foreign}", login)) == body_of(absent)
    assert absent.status_code == 404


def test_a_registration_of_another_account_cannot_be_given_and_looks_absent(server, auth):
    foreign = server.registration(server.account())
    answers = [
        call(server, "POST", "/credentials/", auth, FORM | {"exchanges": id}) for id in (str(foreign), "999999", "01")
    ]
    assert {refusal(answer) for answer in answers} == {(422, "invalid_request", "exchanges")}
    assert len({re.sub(r"'\d+'", "", answer.json()["detail"]) for answer in answers}) == 1


def test_a_revoked_one_is_dead_at_once_and_revoking_twice_is_no_error(server, auth, paper):
    login = make(server, auth)
    assert call(server, "GET", "/exchanges/", login).status_code == 200
    first = call(server, "DELETE", "/credentials/bot1", auth)
    assert (first.status_code, first.json()["name"]) == (200, "bot1")
    assert refusal(call(server, "GET", "/exchanges/", login))[:2] == (401, "not_authenticated")
    second = call(server, "DELETE", "/credentials/bot1/", auth)
    assert second.status_code == 200
    assert second.json()["revoked"] == first.json()["revoked"]
    assert listed(server, auth) == []
    assert make(server, auth) != login


def test_another_accounts_credential_cannot_be_revoked_and_looks_absent(server, auth):
    make(server, auth)
    stranger = server.account()
    answers = [call(server, "DELETE", f"/credentials/{name}", stranger) for name in ("bot1", "bot2")]
    assert answers[0].status_code == 404
    assert body_of(answers[0]) == body_of(answers[1])
    assert len(listed(server, auth)) == 1


def test_a_name_is_taken_once(server, auth):
    make(server, auth, name="A\u0308rger")
    answer = call(server, "POST", "/credentials/", auth, FORM | {"name": "\u00c4rger"})
    assert refusal(answer) == (409, "name_taken", "name")
    assert call(server, "DELETE", "/credentials/%C3%84rger", auth).status_code == 200


def test_a_credential_never_gets_the_user_name_of_an_account(server, auth):
    server.account(f"{auth[0]}/bot1")
    assert refusal(call(server, "POST", "/credentials/", auth, FORM)) == (409, "name_taken", "name")


def test_it_may_do_nothing_after_its_end(server, auth):
    login = make(server, auth, expires=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert call(server, "GET", "/exchanges/", login).status_code == 200
    server.sql("UPDATE credentials SET expires = '2026-01-01T00:00:00.000000Z' WHERE name = 'bot1'")
    assert refusal(call(server, "GET", "/exchanges/", login))[:2] == (401, "not_authenticated")


WRONG = [
    ("name", {"name": ""}),
    ("name", {"name": "a/b"}),
    ("name", {"name": "a:b"}),
    ("name", {"name": ".."}),
    ("name", {"name": " a"}),
    ("name", {"name": "a\n"}),
    ("name", {"name": "a\u202eb"}),
    ("name", {"name": "\0"}),
    ("name", {"name": "x" * 65}),
    ("name", {"name": A_PASSWORD}),
    ("scope", {"scope": "owner"}),
    ("scope", {"scope": ""}),
    ("exchanges", {"exchanges": ""}),
    ("exchanges", {"exchanges": "1,,2"}),
    ("exchanges", {"exchanges": "١"}),
    ("exchanges", {"exchanges": "0"}),
    ("pairs", {"pairs": "BTCUSD"}),
    ("pairs", {"pairs": "BTC/USD/EUR"}),
    ("pairs", {"pairs": ""}),
    ("currency", {"per_order": "1"}),
    ("currency", {"per_day": "1"}),
    ("currency", {"currency": "USD"}),
    ("per_day", {"per_day": "0", "currency": "USD"}),
    ("per_day", {"per_day": "1e999", "currency": "USD"}),
    ("per_order", {"per_order": "-1", "currency": "USD"}),
    ("expires", {"expires": "2020-01-01T00:00:00Z"}),
    ("expires", {"expires": "2030-01-01T00:00:00"}),
    ("expires", {"expires": "0001-01-01T00:00:00+23:00"}),
    ("expires", {"expires": "tomorrow"}),
    ("owner", {"owner": "true"}),
]


@pytest.mark.parametrize(("field", "form"), WRONG, ids=[str(form) for _, form in WRONG])
def test_what_cannot_be_is_refused_by_its_field_and_nothing_is_made(server, auth, field, form):
    answer = call(server, "POST", "/credentials/", auth, FORM | form)
    assert answer.status_code == 422
    assert answer.json().get("field") == field
    assert listed(server, auth) == []


def test_making_and_revoking_stand_in_the_audit_without_the_password(server, auth):
    _, password = make(server, auth, per_day="5", currency="BTC")
    for _ in range(2):
        call(server, "DELETE", "/credentials/bot1", auth)
    rows = server.sql("SELECT what, subject, details FROM audit_log WHERE who = :who ORDER BY id", who=auth[0])
    assert [(what, subject, json.loads(details)) for what, subject, details in rows] == [
        ("credential.add", "credential bot1", {"scope": "trade", "per_day": "5", "currency": "BTC"}),
        ("credential.revoke", "credential bot1", {}),
    ]
    assert password not in str(server.sql("SELECT * FROM credentials")) + str(rows)
