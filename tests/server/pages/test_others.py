"""What the page keeps apart and stops: other accounts' things, and whoever has an old password."""

from __future__ import annotations

import re

import pytest
import requests

from bitmm.xwrap.server.app import ROUTES
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.pages.routes import PAGES
from tests.server.pages.visitor import Visitor, words
from tests.support.two_accounts import Party, owned_rows

#: What each form sends, so that its owner would get it done.
FORMS = {
    "/page/orders/{id}/cancel-all": {},
    "/page/orders/{id}/{order_id}/cancel": {},
    "/page/unknown/orders/{row_id}": {"as": "not-placed"},
    "/page/unknown/sends/{row_id}": {"as": "not-sent"},
    "/page/keys": {"exchange": "paper", "username": "x"},
    "/page/keys/{id}": {"label": "another label"},
    "/page/keys/{id}/check": {},
    "/page/keys/{id}/replace": {"label": "another label"},
    "/page/credentials": {"name": "bot2", "scope": "send"},
    "/page/credentials/{name}/revoke": {},
    "/page/freeze": {},
    "/page/unfreeze": {"password": "PASSWORD"},
}
SIGNING = {"/page/sign-in", "/page/sign-out"}
#: They only stop something, or write what the exchange says.
STOPS = {"/page/orders/{id}/cancel-all", "/page/orders/{id}/{order_id}/cancel", "/page/freeze", "/page/keys/{id}/check"}


@pytest.fixture(scope="module")
def world(serving):
    """A server, two accounts, and who is signed in as the first."""
    with serving(reconcile_grace_seconds=9999) as server:
        ann, bob = Party(server, "ann", "anns", "0.01234567"), Party(server, "bob", "bobs", "0.07654321")
        for party in (ann, bob):
            server.sql(
                "UPDATE orders SET status = 'unknown', exchange_order_id = NULL, client_id = :id WHERE id = :order",
                id=f"{party.name}-unknown",
                order=int(party.order),
            )
        visitor = Visitor(server.url)
        visitor.sign_in(ann.auth)
        yield server, visitor, ann, bob


def path_for(path, party):
    return path.format(
        id=party.registration, order_id=party.order, row_id=party.order, name=party.bot, address_id=party.address
    )


def test_each_form_is_among_those_that_are_tried_here():
    assert {route.path for route in PAGES if "POST" in route.methods} == FORMS.keys() | SIGNING


def test_the_paths_of_the_page_are_none_of_the_contract():
    assert not {route.path for route in PAGES} & {route.path for route in ROUTES}
    assert all(route.path == "/" or route.path.startswith("/page/") for route in PAGES)


@pytest.mark.parametrize("path", [route.path for route in PAGES if "{" in route.path])
def test_what_is_anothers_is_answered_like_what_nobody_has_and_stays(world, path):
    server, visitor, _ann, bob = world
    before = owned_rows(server, "bob")
    answers = []
    for id, name in ((None, None), ("9", "nobodys-bot")):
        sent = path_for(path, bob) if id is None else path.format(id=id, order_id=id, row_id=id, name=name)
        answer = visitor.post(sent, **FORMS[path]) if path in FORMS else visitor.get(sent)
        answers.append((answer.status_code, words(answer)))
    assert answers[0][0] == 404
    assert answers[0] == answers[1]
    assert owned_rows(server, "bob") == before


@pytest.mark.parametrize("path", [path for path in FORMS if "{order_id}" in path])
def test_anothers_order_is_not_found_in_a_registration_of_ones_own(world, path):
    _server, visitor, ann, bob = world
    answer = visitor.post(path.format(id=ann.registration, order_id=bob.order), **FORMS[path])
    assert answer.status_code == 404


@pytest.mark.parametrize("path", [route.path for route in PAGES if "GET" in route.methods and "{" not in route.path])
def test_no_view_shows_what_is_anothers(world, path):
    _server, visitor, _ann, bob = world
    text = visitor.get(path).text
    assert [mark for mark in bob.marks if mark in text] == []


@pytest.mark.parametrize("path", sorted(FORMS.keys() - STOPS))
def test_a_form_that_came_before_a_new_password_changes_nothing_after_it(world, monkeypatch, path):
    server, visitor, ann, _bob = world
    if path == "/page/unfreeze":
        requests.post(f"{server.url}/freeze", auth=ann.auth, timeout=30).raise_for_status()
    if path == "/page/unknown/sends/{row_id}":
        # By another id the reconciler does not find it meanwhile.
        server.sql("UPDATE withdrawals SET status = 'unknown', client_id = 'xw-0' WHERE key = :key", key=ann.keys[2])
        [(id,)] = server.sql("SELECT id FROM withdrawals WHERE key = :key", key=ann.keys[2])
        path = path.format(row_id=id)
        form = {"as": "not-sent"}
    else:
        form = {name: text.replace("PASSWORD", ann.auth[1]) for name, text in FORMS[path].items()}
    atomic, before = Store.atomic, []

    def atomic_late(self, work):
        if not before:
            before.append(None)
            change(server, ann.auth, "another password")
            before[0] = owned_rows(server, "ann")
        return atomic(self, work)

    monkeypatch.setattr(Store, "atomic", atomic_late)
    answer = visitor.post(path_for(path, ann), **form)
    monkeypatch.setattr(Store, "atomic", atomic)
    after = owned_rows(server, "ann")
    change(server, (ann.name, "another password"), ann.auth[1])
    visitor.sign_in(ann.auth)
    assert answer.status_code == 403
    assert re.search("password of this account was changed; nothing was", words(answer))
    assert after == before[0]


def change(server, auth, password):
    requests.patch(f"{server.url}/account", data={"password": password}, auth=auth, timeout=30).raise_for_status()
