"""Transfers between two registrations of an account: on paper, and at a local Kraken, whose ledger is the truth."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import InsufficientFunds, InvalidRequest, OutcomeUnknown, PermissionDenied
from bitmm.xwrap.server.db import history
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import Reconciler
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.client_servers import says
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import raw_server
from tests.support.reconciling import make_due
from tests.support.threads import in_threads

D = Decimal
SECRET = base64.b64encode(b"the secret of a sub-account").decode()


@pytest.fixture
def papers(server):
    """Two paper registrations of one account; each owns 200,000 USD and 1 BTC."""
    auth = server.account()
    return [Backend(server.registration(auth, username=name), *auth, server.url) for name in ("one", "two")]


def code_of(error, act, *arguments, **named):
    with pytest.raises(error) as caught:
        act(*arguments, **named)
    return caught.value.code


def test_an_amount_goes_from_one_registration_to_another_once(papers):
    one, two = papers
    made = one.transfer(two, "0.25", key="k1")
    assert made == one.transfer(two.id, "0.25", "BTC", key="k1") == one.withdrawal(key="k1") == one.withdrawals()[0]
    assert (made["status"], made["to"], made["amount"], made["asset"]) == ("done", two.id, D("0.25"), "BTC")
    assert made["address"] == f"paper registration {two.id}"
    two.transfer(one, "1000.50", "usd")
    assert one.balance() == {"USD": D("201000.50"), "BTC": D("0.75")}
    assert two.balance() == {"USD": D("198999.50"), "BTC": D("1.25")}
    assert [row["key"] for row in one.all_withdrawals()] == ["k1"]


def test_a_send_names_no_registration(papers):
    papers[0].send_to_address("BTC", "0.1", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert "to" not in papers[0].withdrawals()[0]


def test_the_key_of_one_transfer_is_no_key_of_another(papers):
    one, two = papers
    third = Backend(
        XWrap(one._api.url).create_backend(one.username, one.password, "paper", "", "", "").id, *_login(one)
    )
    one.transfer(two, "0.25", key="k1")
    for other in ((third, "0.25"), (two, "0.26"), (two, "0.25", "USD")):
        assert code_of(InvalidRequest, one.transfer, *other, key="k1") == "key_reused"
    send = (one.send_to_address, "BTC", "0.25", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert code_of(InvalidRequest, *send, key="k1") == "key_reused"
    assert one.balance()["BTC"] == D("0.75")


def _login(backend):
    return backend.username, backend.password, backend._api.url


def test_more_than_there_is_is_refused_and_nothing_moves(papers):
    one, two = papers
    one.sell("USD", "BTC", "0.9", price="900000")
    assert code_of(InsufficientFunds, one.transfer, two, "0.2", key="k1") == "insufficient_funds"
    assert one.balance()["BTC"] == two.balance()["BTC"] == 1
    assert one.withdrawal(key="k1")["status"] == "rejected"
    assert code_of(InvalidRequest, one.transfer, two, "0.1", "DOGE") == "unknown_asset"


def test_transfers_that_cross_all_arrive(papers):
    one, two = papers

    def move(number):
        giving, taking = (one, two) if number % 2 else (two, one)
        return giving.transfer(taking, "0.001", key=f"k{number}")["status"]

    assert in_threads(16, move) == ["done"] * 16
    assert one.balance() == two.balance() == {"USD": 200_000, "BTC": 1}


def test_a_transfer_stays_in_one_account_and_at_one_exchange(papers, server):
    one, _ = papers
    stranger = server.account("stranger-of-transfers")
    theirs = server.registration(stranger)
    refusals = [_post(one, to) for to in (theirs, 99_999_999)]
    assert {(answer.status_code, answer.json()["code"]) for answer in refusals} == {(404, "not_found")}
    assert refusals[0].json()["detail"] == refusals[1].json()["detail"]
    assert _post(one, one.id).json()["code"] == "invalid_request"
    for to in ("", "one", "-1", "1.5"):
        assert _post(one, to).status_code == 422
    other = Backend(theirs, *stranger, server.url)
    assert code_of(InvalidRequest, one.transfer, other, "0.1") == "invalid_argument"
    assert one.balance()["BTC"] == other.balance()["BTC"] == 1


def _post(backend, to, **more):
    form = {"asset": "BTC", "amount": "0.1", "to": str(to)}
    url = f"{backend._api.url}/exchanges/{backend.id}/transfer"
    return requests.post(url, form, auth=(backend.username, backend.password), timeout=10, **more)


def test_a_credential_transfers_as_far_as_it_may_send(papers, server):
    one, two = papers
    for name, scope, columns, code in (
        ("trader", "trade", {}, "out_of_scope"),
        ("narrow", "send", {"exchanges": f"[{one.id}]"}, "out_of_scope"),
        ("limited", "send", {"per_order": "0.05", "currency": "BTC"}, "limit_exceeded"),
    ):
        login = server.credential(one.username, scope, name, **columns)
        assert code_of(PermissionDenied, Backend(one.id, *login, server.url).transfer, two.id, "0.1") == code
    sender = Backend(one.id, *server.credential(one.username, "send", "sender"), server.url)
    assert sender.transfer(two, "0.1")["status"] == "done"
    assert two.balance()["BTC"] == D("1.1")


def test_a_frozen_account_and_a_registration_that_is_off_transfer_nothing(papers, server):
    one, two = papers
    one.disable()
    assert code_of(PermissionDenied, one.transfer, two, "0.1") == "registration_disabled"
    one.enable()
    XWrap(server.url).freeze(one.username, one.password)
    assert code_of(PermissionDenied, one.transfer, two, "0.1") == "frozen"
    assert one.balance()["BTC"] == 1


def test_the_audit_says_who_moved_what_where(papers, server):
    one, two = papers
    id = one.transfer(two, "0.1")["id"]
    (row,) = [row for row in XWrap(server.url).audit(one.username, one.password) if row["what"] == "transfer"]
    assert (row["who"], row["subject"]) == (one.username, f"send {id}")
    assert row["details"].items() >= {"amount": "0.1", "asset": "BTC", "to": str(two.id)}.items()


RECORD = {"id": 1, "key": "k1", "asset": "BTC", "amount": "1", "address": "x", "status": "done"}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        *({"to": to} for to in (8, None, True)),
        *({"to": 7, **other} for other in ({"amount": "2"}, {"amount": None}, {"asset": "ETH"}, {"tag": "5"})),
        *({"to": 7, **other} for other in ({"status": "sent"}, {"status": "unknown"}, {"id": None}, {"key": "k2"})),
    ],
    ids=str,
)
def test_what_is_not_the_answer_to_a_transfer_leaves_it_unknown(wrong):
    with raw_server(says({**RECORD, **wrong})) as server, pytest.raises(OutcomeUnknown):
        Backend(1, USER, PASSWORD, server.url, timeout=2).transfer(7, "1", key="k1")


def test_the_answer_to_a_transfer_is_its_record():
    with raw_server(says({**RECORD, "to": 7})) as server:
        assert Backend(1, USER, PASSWORD, server.url, timeout=2).transfer(7, "1.0", key="k1")["to"] == 7


@pytest.fixture(scope="module")
def kraken():
    with KrakenVenue() as venue:
        venue.add_account("sub", SECRET)
        yield venue


class Owner:
    """An account with a registration of Kraken's main account, which may send, and one of its sub-account."""

    def __init__(self, server, venue, reconciler):
        self.server, self.venue, self.reconciler, self.auth = server, venue, reconciler, server.account()
        keys = (("main", venue.key, venue.secret), ("sub", "sub", SECRET))
        self.main, self.sub = (
            Backend(
                server.registration(self.auth, "kraken", username=name, apikey=key, apisecret=secret),
                *(*self.auth, server.url),
            )
            for name, key, secret in keys
        )

    def moved(self):
        return [row["amount"] for row in self.venue.ledger() if row["kind"] == "transfer"]


@pytest.fixture
def owner(serving, kraken, monkeypatch):
    made = []
    monkeypatch.setattr(Reconciler, "start", lambda reconciler: made.append(reconciler))  # noqa: PLW0108 - must be bound
    monkeypatch.setattr(Reconciler, "stop", lambda _: None)
    monkeypatch.setattr(history, "_CACHE_SECONDS", 0.0)
    kraken._ledger.clear()
    settings = {"exchange_seconds": 1.0, "reconcile_grace_seconds": 0.0, "exchanges": ("paper", "kraken")}
    with serving(exchange_urls={"kraken": kraken.url}, **settings) as server:
        yield Owner(server, kraken, made[0])


def test_a_transfer_at_an_exchange_leaves_where_sends_are_on_and_needs_no_address(owner):
    assert owner.main.transfer(owner.sub, "0.5", key="k1")["status"] == "done"
    assert owner.moved() == ["0.5"]
    assert owner.sub.balance()["BTC"] == D("100.5")
    assert owner.main.withdrawal(key="k1")["to"] == owner.sub.id
    requests.patch(
        f"{owner.server.url}/exchanges/{owner.main.id}", {"allow_send": "false"}, auth=owner.auth, timeout=10
    ).raise_for_status()
    assert code_of(PermissionDenied, owner.main.transfer, owner.sub, "0.5", key="k2") == "sends_off"
    assert owner.main.transfer(owner.sub, "0.5", key="k1")["status"] == "done"
    assert owner.moved() == ["0.5"]


def test_a_transfer_at_an_exchange_needs_a_key_and_stays_there(owner):
    assert _post(owner.main, owner.sub.id).json()["code"] == "key_required"
    paper = owner.server.registration(owner.auth)
    assert code_of(InvalidRequest, owner.main.transfer, paper, "0.5") == "invalid_request"
    assert code_of(PermissionDenied, owner.sub.transfer, owner.main, "0.5") == "permission_denied"
    assert owner.moved() == []


@pytest.mark.parametrize(("fault", "moved"), [("executed_but_timeout", ["0.5"]), ("reset_before", [])])
def test_a_transfer_whose_answer_is_lost_stays_unknown_until_its_owner_decides(owner, fault, moved):
    """No list of Kraken's is documented to have it, so nothing that is read there decides."""
    owner.venue.fault(fault, path="AccountTransfer", seconds=30)
    assert code_of(OutcomeUnknown, owner.main.transfer, owner.sub, "0.5", key="k1") == "outcome_unknown"
    owner.venue.heal()
    for _ in range(2):
        make_due(owner.reconciler)
        owner.reconciler.reconcile("kraken")
        assert code_of(OutcomeUnknown, owner.main.transfer, owner.sub, "0.5", key="k1") == "outcome_unknown"
    assert owner.moved() == moved
    (row,) = owner.main.withdrawals()
    assert (row["status"], row["to"]) == ("unknown", owner.sub.id)


def test_a_transfer_that_the_journal_may_have_lost_is_not_made_again(owner):
    owner.main.transfer(owner.sub, "0.5", key="k1")
    owner.server.sql("DELETE FROM withdrawals")
    store = Store(owner.server.database)
    store.history.report_gap(datetime.now(UTC) - timedelta(days=1), "restored from a copy")
    store.close()
    noticed = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    owner.server.sql("UPDATE history SET noticed = :noticed", noticed=noticed)
    assert code_of(OutcomeUnknown, owner.main.transfer, owner.sub, "0.5", key="k1") == "history_missing"
    assert owner.moved() == ["0.5"]


def test_an_account_that_cannot_be_asked_is_named(owner):
    owner.venue.accounts["sub"].secret, secret = SECRET[::-1], owner.venue.accounts["sub"].secret
    try:
        with pytest.raises(PermissionDenied) as caught:
            owner.main.transfer(owner.sub, "0.5")
        assert f"registration {owner.sub.id}" in caught.value.reason
    finally:
        owner.venue.accounts["sub"].secret = secret
    assert owner.moved() == []
