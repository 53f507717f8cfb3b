"""No call of an account reads or changes what is another's, or tells whether there is such a thing."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.app import ROUTES
from tests.support.answers import text_of
from tests.support.two_accounts import SCOPES, Party, absent_is_taken, calls, compared, owned_rows, reaches

#: These change the calling account itself: they are made last.
LAST = {("POST", "/freeze"), ("DELETE", "/freeze"), ("PATCH", "/account")}
REFUSED = {403, 404, 422}


@pytest.fixture(scope="module")
def world(serving):
    """A server, the account that calls, one that is frozen, and one that is not."""
    with serving() as server:
        ann, bob, carol = (
            Party(server, "ann", "anns", "0.01234567"),
            Party(server, "bob", "bobs", "0.07654321"),
            Party(server, "carol", "carols", "0.03456789"),
        )
        carol.second = str(server.registration(carol.auth))
        requests.post(f"{server.url}/freeze", auth=bob.auth, timeout=30).raise_for_status()
        yield server, ann, bob, carol


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_anothers_is_neither_read_nor_changed_and_looks_like_what_nobody_has(world, scope):
    server, ann, bob, carol = world
    before = [owned_rows(server, other.name) for other in (bob, carol)]
    # What another scope was allowed to do must not be why this one is refused.
    requests.delete(f"{server.url}/freeze", auth=ann.auth, timeout=30).raise_for_status()
    told, differs, done, made = [], [], [], 0
    with requests.Session() as session:
        session.auth = ann.logins[scope]
        for call in sorted(calls(ann, bob), key=lambda call: (call.method, call.route) in LAST):
            answer = call.send(session, server.url)
            made += 1
            told += [(call, mark) for mark in reaches(answer, call, bob)]
            if call.is_foreign and answer.status_code not in REFUSED:
                done.append((call, answer.status_code))
            if call.absent is not None:
                absent = call.send(session, server.url, absent=True)
                pair = compared(answer, call), compared(absent, call, absent=True)
                differs += [(call, *pair)] * (pair[0] != pair[1])
            if (call.method, call.route) == ("PATCH", "/account") and answer.ok:
                session.auth = ann.auth[0], call.data["password"]
                XWrap(server.url).change_password(*session.auth, ann.auth[1])
                session.auth = ann.auth
    assert told == []
    assert done == []
    assert not differs, "\n".join(map(str, differs[:3]))
    assert [owned_rows(server, other.name) for other in (bob, carol)] == before
    assert all(before[0][name] for name in ("accounts", "registrations", "orders", "withdrawals", "addresses"))
    assert absent_is_taken(server) == []
    assert made > 300


def test_a_key_that_another_account_used_is_as_free_as_one_that_nobody_used(world):
    server, ann, bob, _carol = world
    requests.delete(f"{server.url}/freeze", auth=ann.auth, timeout=30).raise_for_status()
    before = owned_rows(server, "bob")
    backend = XWrap(server.url).backend(int(ann.registration), *ann.auth)
    for key in bob.keys:
        # The same order as bob's, so that only the account tells them apart.
        theirs, fresh = (backend.buy("USD", "BTC", bob.amount, key=used) for used in (key, f"new-{key}"))
        own = {"id", "key", "exchange_order_id", "created", "updated"}
        assert {k: v for k, v in theirs.items() if k not in own} == {k: v for k, v in fresh.items() if k not in own}
        assert theirs["id"] > int(bob.order)
        assert backend.order(key=key)["id"] == theirs["id"]
    assert owned_rows(server, "bob") == before


def test_the_password_of_a_credential_opens_no_other_account(world):
    server, ann, bob, _carol = world
    answers = [
        requests.get(f"{server.url}/account", auth=(username, bob.bot_password), timeout=30)
        for username in (f"{ann.name}/{bob.bot}", f"{ann.name}/nobodys", ann.name, bob.name)
    ]
    assert {(answer.status_code, text_of(answer)) for answer in answers} == {(401, text_of(answers[1]))}
    own = requests.get(f"{server.url}/account", auth=(f"{bob.name}/{bob.bot}", bob.bot_password), timeout=30)
    assert own.status_code == 200


def test_the_calls_are_those_that_their_owner_may_make(world):
    """Else a refusal would show nothing: the same calls, sent by the owner of what they name, are not refused so."""
    server, ann, _bob, carol = world
    reached = set()
    with requests.Session() as session:
        session.auth = carol.auth
        # What is removed cannot be asked for any more: a registration goes last, and its orders before it.
        for call in sorted(calls(ann, carol), key=lambda call: (call.method == "DELETE", -call.route.count("/"))):
            if call.absent is None or call.key or call.url.endswith(carol.keys):
                continue
            answer = call.send(session, server.url)
            if answer.status_code != 404:
                reached.add((call.method, call.route))
                assert answer.ok or answer.json()["code"] == "unsupported", (call, answer.text)
    wanted = {(method, route.path) for route in ROUTES for method in route.methods - {"HEAD"} if "{" in route.path}
    assert wanted <= reached


def test_every_route_is_called(world):
    _server, ann, bob, _carol = world
    made = {(call.method, call.route) for call in calls(ann, bob)}
    assert made == {(method, route.path) for route in ROUTES for method in route.methods - {"HEAD"}}
