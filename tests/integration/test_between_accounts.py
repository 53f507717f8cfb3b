"""No call of an account reads or changes what is another's, or tells whether there is such a thing."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.app import ROUTES
from tests.support.two_accounts import SCOPES, Party, calls, compared, owned_rows, reaches

#: These change the calling account itself: they are made last.
LAST = {("POST", "/freeze"), ("DELETE", "/freeze"), ("PATCH", "/account")}


@pytest.fixture(scope="module")
def world(serving):
    with serving() as server:
        yield server, Party(server, "ann", "anns", "0.01234567"), Party(server, "bob", "bobs", "0.07654321")


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_anothers_is_neither_read_nor_changed_and_looks_like_what_nobody_has(world, scope):
    server, ann, bob = world
    before = owned_rows(server, "bob")
    told, differs, made = [], [], 0
    with requests.Session() as session:
        session.auth = ann.logins[scope]
        for call in sorted(calls(ann, bob), key=lambda call: (call.method, call.route) in LAST):
            answer = call.send(session, server.url)
            made += 1
            told += [(call, mark) for mark in reaches(answer, call, bob)]
            if call.absent is not None:
                absent = call.send(session, server.url, absent=True)
                pair = compared(answer, call), compared(absent, call, absent=True)
                differs += [(call, *pair)] * (pair[0] != pair[1])
            if (call.method, call.route) == ("PATCH", "/account") and answer.ok:
                session.auth = ann.auth[0], call.data["password"]
                XWrap(server.url).change_password(*session.auth, ann.auth[1])
                session.auth = ann.auth
    assert told == []
    assert not differs, "\n".join(map(str, differs[:3]))
    after = owned_rows(server, "bob")
    assert after == before
    assert all(after[name] for name in ("accounts", "registrations", "orders", "withdrawals", "addresses"))
    assert made > 300


def test_the_calls_are_those_that_their_owner_may_make(world):
    """Else a refusal would show nothing: the same calls, sent by the owner of what they name, are not refused so."""
    server, ann, bob = world
    reached = set()
    with requests.Session() as session:
        session.auth = bob.auth
        for call in calls(ann, bob):
            if (call.method, call.route) in LAST or call.absent is None or call.method == "DELETE":
                continue
            answer = call.send(session, server.url)
            if answer.status_code != 404:
                reached.add((call.method, call.route))
                assert answer.ok or answer.json()["code"] == "unsupported", (call, answer.text)
    wanted = {
        (method, route.path) for route in ROUTES for method in route.methods - {"HEAD", "DELETE"} if "{" in route.path
    }
    assert wanted <= reached


def test_every_route_is_called(world):
    _server, ann, bob = world
    made = {(call.method, call.route) for call in calls(ann, bob)}
    assert made == {(method, route.path) for route in ROUTES for method in route.methods - {"HEAD"}}
