"""Transfers between two registrations of an account: on paper, and at a local Kraken and Bitstamp, whose ledgers are
the truth.
"""

from __future__ import annotations

import base64
import itertools
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import InsufficientFunds, InvalidRequest, OutcomeUnknown, PermissionDenied
from bitmm.xwrap.server.db import history
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import Reconciler
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
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


class Owner:
    """An account with a registration of an exchange's main account, which may send, and one of its sub-account.

    `amount` is this owner's alone, so that no transfer of another one is taken for one of it.
    """

    _numbers = itertools.count(1)

    def __init__(self, server, venue, reconciler, **of_sub):
        self.server, self.venue, self.reconciler, self.auth = server, venue, reconciler, server.account()
        self.main = self.register(username="main", apikey=venue.key, apisecret=venue.secret)
        self.sub = self.register(username="sub", apikey="sub", apisecret=SECRET, **of_sub)
        self.amount = f"0.5{next(self._numbers):03}"
        venue._ledger.clear()
        venue.transfers.clear()

    def register(self, **form):
        return Backend(self.server.registration(self.auth, self.venue.name, **form), *self.auth, self.server.url)

    def transfer(self, key="k1"):
        return self.main.transfer(self.sub, self.amount, key=key)

    def times_moved(self):
        """How often the amount was really moved, and nothing else."""
        amounts = [row["amount"] for row in self.venue.ledger() if row["kind"] == "transfer"]
        assert set(amounts) <= {self.amount}
        return len(amounts)

    def lose(self, fault, key="k1"):
        """A transfer whose answer is lost."""
        path = {"kraken": "AccountTransfer", "bitstamp": "transfer-from-main"}[self.venue.name]
        self.venue.fault(fault, path=path, seconds=30)
        assert code_of(OutcomeUnknown, self.transfer, key) == "outcome_unknown"
        self.venue.heal()

    @contextmanager
    def sub_refused(self):
        """The exchange refuses the key of the sub-account meanwhile."""
        account = self.venue.accounts["sub"]
        account.secret, secret = SECRET[::-1], account.secret
        try:
            yield
        finally:
            account.secret = secret

    def reconcile(self):
        make_due(self.reconciler)
        self.reconciler.reconcile(self.venue.name)

    def status(self, key="k1"):
        return {row["key"]: row["status"] for row in self.main.withdrawals()}[key]


@pytest.fixture(scope="module")
def places(serving):
    """A server, its reconciler, which works when it is told to, and a local Kraken and Bitstamp."""
    made = []
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Reconciler, "start", lambda reconciler: made.append(reconciler))  # noqa: PLW0108 - must be bound
        patch.setattr(Reconciler, "stop", lambda _: None)
        patch.setattr(history, "_CACHE_SECONDS", 0.0)
        venues = [stack.enter_context(venue) for venue in (KrakenVenue(), BitstampVenue())]
        for venue in venues:
            for name in ("sub", "another"):
                venue.add_account(name, SECRET)
        urls = {venue.name: venue.url for venue in venues}
        settings = {"exchange_seconds": 1.0, "reconcile_grace_seconds": 0.0, "exchanges": ("paper", *urls)}
        limits = dict.fromkeys(urls)
        yield (
            stack.enter_context(serving(exchange_urls=urls, exchange_limits=limits, **settings)),
            made[0],
            {venue.name: venue for venue in venues},
        )


@pytest.fixture
def owner(places):
    """An owner at the local Kraken."""
    server, reconciler, venues = places
    return Owner(server, venues["kraken"], reconciler)


@pytest.fixture
def at_bitstamp(places):
    server, reconciler, venues = places
    venue = venues["bitstamp"]
    return Owner(server, venue, reconciler, subaccount=str(venue.number_of(venue.accounts["sub"])))


def test_a_transfer_at_an_exchange_leaves_where_sends_are_on_and_needs_no_address(owner):
    before = owner.sub.balance()["BTC"]
    assert owner.transfer()["status"] == "done"
    assert owner.times_moved() == 1
    assert owner.sub.balance()["BTC"] - before == D(owner.amount)
    assert owner.main.withdrawal(key="k1")["to"] == owner.sub.id
    requests.patch(
        f"{owner.server.url}/exchanges/{owner.main.id}", {"allow_send": "false"}, auth=owner.auth, timeout=10
    ).raise_for_status()
    assert code_of(PermissionDenied, owner.transfer, "k2") == "sends_off"
    assert owner.transfer()["status"] == "done"
    assert owner.times_moved() == 1


def test_a_transfer_at_an_exchange_needs_a_key_and_stays_there(owner):
    assert _post(owner.main, owner.sub.id).json()["code"] == "key_required"
    paper = owner.server.registration(owner.auth)
    assert code_of(InvalidRequest, owner.main.transfer, paper, "0.5") == "invalid_request"
    assert code_of(PermissionDenied, owner.sub.transfer, owner.main, "0.5") == "permission_denied"
    assert owner.times_moved() == 0


@pytest.mark.parametrize(("fault", "moved"), [("executed_but_timeout", 1), ("reset_before", 0)])
def test_a_transfer_whose_answer_is_lost_stays_unknown_until_its_owner_decides(owner, fault, moved):
    """No list of Kraken's is documented to have it, so nothing that is read there decides."""
    owner.lose(fault)
    for _ in range(2):
        owner.reconcile()
        assert code_of(OutcomeUnknown, owner.transfer) == "outcome_unknown"
    assert owner.times_moved() == moved
    (row,) = owner.main.withdrawals()
    assert (row["status"], row["to"]) == ("unknown", owner.sub.id)


def test_a_transfer_that_both_ledgers_have_is_recognised(at_bitstamp):
    owner = at_bitstamp
    owner.lose("executed_but_timeout")
    owner.reconcile()
    made = owner.transfer()
    assert (made["status"], made["to"], owner.times_moved()) == ("done", owner.sub.id, 1)


def test_a_transfer_that_no_ledger_has_stays_unknown(at_bitstamp):
    owner = at_bitstamp
    owner.lose("reset_before")
    owner.reconcile()
    assert (owner.status(), owner.times_moved()) == ("unknown", 0)


@pytest.mark.parametrize(("to", "more"), [("sub", "0.1"), ("another", "0"), ("main", "0")])
def test_what_was_moved_otherwise_is_not_taken_for_a_transfer(at_bitstamp, to, more):
    """Of another amount, to another account, or back."""
    owner, venue = at_bitstamp, at_bitstamp.venue
    owner.lose("reset_before")
    accounts = {**venue.accounts, "main": venue.account}
    venue.transfer(accounts["sub"] if to == "main" else venue.account, accounts[to], "BTC", D(owner.amount) + D(more))
    owner.reconcile()
    assert owner.status() == "unknown"


def test_of_two_transfers_that_look_the_same_none_is_recognised(at_bitstamp):
    owner = at_bitstamp
    owner.transfer("k0")
    owner.lose("reset_before")
    owner.reconcile()
    assert (owner.status(), owner.status("k0"), owner.times_moved()) == ("unknown", "done", 1)


def test_an_old_transfer_is_not_looked_for_any_more(at_bitstamp):
    owner = at_bitstamp
    owner.lose("executed_but_timeout")
    long_ago = (datetime.now(UTC) - timedelta(days=8)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    owner.server.sql("UPDATE withdrawals SET created = :then WHERE status = 'unknown'", then=long_ago)
    before = len(owner.venue.requests)
    owner.reconcile()
    assert owner.status() == "unknown"
    assert not [one for one in list(owner.venue.requests)[before:] if "user_transactions" in one.path]


def test_a_transfer_to_a_registration_that_is_gone_stays_unknown(at_bitstamp):
    owner = at_bitstamp
    owner.lose("executed_but_timeout")
    owner.sub.delete()
    owner.reconcile()
    assert (owner.status(), owner.times_moved()) == ("unknown", 1)


def test_a_transfer_that_the_journal_may_have_lost_is_not_made_again(owner):
    owner.transfer()
    owner.server.sql("DELETE FROM withdrawals")
    store = Store(owner.server.database)
    store.history.report_gap(datetime.now(UTC) - timedelta(days=1), "restored from a copy")
    noticed = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    owner.server.sql("UPDATE history SET noticed = :noticed", noticed=noticed)
    try:
        assert code_of(OutcomeUnknown, owner.transfer) == "history_missing"
    finally:
        store.history.accept()
        store.close()
    assert owner.times_moved() == 1


def test_an_account_that_cannot_be_asked_is_named(owner):
    with owner.sub_refused(), pytest.raises(PermissionDenied) as caught:
        owner.transfer()
    assert f"registration {owner.sub.id}" in caught.value.reason
    assert owner.times_moved() == 0


def test_a_repeat_of_a_transfer_is_answered_where_the_other_account_cannot_be_asked(owner):
    made = owner.transfer()
    with owner.sub_refused():
        assert owner.transfer() == made
    assert owner.times_moved() == 1
