"""Which sends leave: the ledger of a local exchange, or of a stub, is the truth about it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import NotFound, PermissionDenied, XWrap
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.models import Withdrawal
from bitmm.xwrap.server.allow_list import check_send
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.policy import Policy
from bitmm.xwrap.server.reconciliation import Reconciler
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from tests.support.sends import allow_sends
from tests.support.stub import Stub
from tests.support.threads import in_threads

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


@pytest.fixture(autouse=True)
def _stub_exchange(monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "act", staticmethod(_sent))
    monkeypatch.setattr(Reconciler, "reconcile", lambda _self, _exchange: None)
    Stub.placed.clear()


def _sent(withdrawal):
    return Withdrawal("W1", withdrawal.asset, withdrawal.amount, "done", withdrawal.address, withdrawal.tag)


class Owner:
    """An account on a server, with a registration that may send, and its allow-list."""

    def __init__(self, server):
        self.server, self.xw, self.auth = server, XWrap(server.url, timeout=10), server.account()
        self.backend = self.xw.create_backend(*self.auth, "stub", "", "", "", allow_send=True)

    def add(self, asset="BTC", address=ADDRESS, **more):
        return self.xw.add_address(*self.auth, asset, address, **more)

    def send(self, amount="0.1", asset="BTC", address=ADDRESS, **more):
        return self.backend.send_to_address(asset, amount, address, **more)

    def code_of_send(self, *args, **more):
        """The code with which a send is refused; None: it left."""
        before = len(Stub.placed)
        code = None
        try:
            self.send(*args, **more)
        except PermissionDenied as error:
            code = error.code
        assert len(Stub.placed) == before + (code is None)
        return code


@pytest.fixture(scope="module")
def server(serving):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        with serving(exchanges=("stub", "paper"), address_wait_seconds=0) as server:
            yield server


@pytest.fixture
def owner(server):
    return Owner(server)


def test_nothing_leaves_where_sends_are_not_switched_on(owner):
    owner.add()
    off = owner.xw.create_backend(*owner.auth, "stub", "", "another key", "")
    with pytest.raises(
        PermissionDenied, match=f"PATCH /exchanges/{off.id} and allow_send=true switches them on"
    ) as caught:
        off.send_to_address("BTC", "0.1", ADDRESS)
    assert caught.value.code == "sends_off"
    assert Stub.placed == []
    assert off.withdrawals() == []


def test_a_send_goes_to_an_address_of_the_list_only(owner):
    assert owner.code_of_send() == "address_not_allowed"
    added = owner.add()
    assert owner.code_of_send() is None
    assert owner.code_of_send(address=ADDRESS.upper()) is None
    assert owner.code_of_send(asset="LTC") == "address_not_allowed"
    assert owner.code_of_send(address=ADDRESS[:-1]) == "address_not_allowed"
    owner.xw.remove_address(*owner.auth, added["id"])
    assert owner.code_of_send() == "address_not_allowed"


def test_a_list_is_its_accounts_own(owner):
    owner.add()
    assert Owner(owner.server).code_of_send() == "address_not_allowed"


@pytest.mark.parametrize("allowed", [{}, {"tag": "7"}, {"network": "Ripple"}, {"tag": "7", "network": "Ripple"}])
def test_a_send_names_the_tag_and_the_network_of_the_list_or_none(owner, allowed):
    owner.add("XRP", "rN7Example", **allowed)
    for given in (
        {},
        {"tag": "7"},
        {"tag": "8"},
        {"network": "Ripple"},
        {"network": "x"},
        {"tag": "7", "network": "Ripple"},
    ):
        code = None if given == allowed else "address_not_allowed"
        assert owner.code_of_send("1", "XRP", "rN7Example", **given) == code
    if "network" in allowed:
        assert owner.code_of_send("1", "XRP", "rN7Example", **{**allowed, "network": "RIPPLE"}) is None


def test_a_new_address_waits_for_a_day_and_says_until_when(serving):
    with serving(exchanges=("stub",)) as server:
        owner = Owner(server)
        added = owner.add()
        answer = requests.post(
            f"{server.url}/exchanges/{owner.backend.id}/send_to_address",
            data={"asset": "BTC", "amount": "0.1", "address": ADDRESS},
            headers={"Idempotency-Key": "k1"},
            auth=owner.auth,
            timeout=30,
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "address_waiting")
        assert answer.json()["usable_from"] == added["usable_from"]
        assert "may be sent to from" in answer.json()["detail"]
        assert answer.json()["detail"].count("in 24 hours and 0 minutes") == 1
        assert Stub.placed == []
        # Nothing of it is in the journal, so the same key works when the time is over.
        server.sql("UPDATE addresses SET usable_from = '2026'")
        assert owner.send(key="k1") is True


def test_a_send_needs_a_key_except_with_paper_money(owner):
    owner.add()
    form = {"asset": "BTC", "amount": "0.1", "address": ADDRESS}
    url = f"{owner.server.url}/exchanges"
    answer = requests.post(f"{url}/{owner.backend.id}/send_to_address", data=form, auth=owner.auth, timeout=30)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
        422,
        "key_required",
        "Idempotency-Key",
    )
    assert Stub.placed == []
    paper = owner.xw.create_backend(*owner.auth, "paper", "", "", "")
    form["address"] = paper.get_address()
    assert requests.post(f"{url}/{paper.id}/send_to_address", data=form, auth=owner.auth, timeout=30).status_code == 200


def test_limits_count_all_that_was_not_refused_to_the_last_digit(owner, monkeypatch):
    owner.add(per_send="0.6", per_day="1")
    assert owner.code_of_send("0.60000001") == "limit_exceeded"
    assert owner.code_of_send("0.6") is None
    refuse = Refused("no", code="exchange_refused")
    for failure in (refuse, Unknown("no answer")):
        monkeypatch.setattr(Stub, "act", staticmethod(lambda _asked, failure=failure: _raise(failure)))
        with pytest.raises(Exception, match=r"no|known"):
            owner.send("0.3")
    monkeypatch.setattr(Stub, "act", staticmethod(_sent))
    # 0.6 is done, 0.3 unknown, and 0.3 was refused.
    assert owner.code_of_send("0.10000000000000000001") == "limit_exceeded"
    other = owner.xw.create_backend(*owner.auth, "stub", "", "another key", "", allow_send=True)
    assert other.send_to_address("BTC", "0.09999999999999999999", ADDRESS.upper()) is True
    assert owner.code_of_send("0.00000000000000000002") == "limit_exceeded"
    assert owner.code_of_send("0.00000000000000000001") is None
    assert owner.code_of_send("0.00000000000000000001") == "limit_exceeded"


def _raise(failure):
    raise failure


def test_a_limit_counts_the_last_24_hours_and_lasts_over_a_restart_and_a_removal(serving, tmp_path):
    with serving(tmp_path, exchanges=("stub",), address_wait_seconds=0) as server:
        owner = Owner(server)
        added = owner.add(per_day="1")
        assert owner.code_of_send("1", key="first") is None
    with serving(tmp_path, exchanges=("stub",), address_wait_seconds=0) as server:
        owner.server, owner.xw = server, XWrap(server.url)
        owner.backend = owner.xw.backend(owner.backend.id, *owner.auth)
        assert owner.code_of_send("0.00000001") == "limit_exceeded"
        assert owner.send("1", key="first") is True  # a repeat is no second send
        owner.xw.remove_address(*owner.auth, added["id"])
        owner.add(per_day="1.5")
        assert owner.code_of_send("0.50000001") == "limit_exceeded"
        for ago, code in ((timedelta(hours=23, minutes=59), "limit_exceeded"), (timedelta(hours=24, seconds=1), None)):
            created = (datetime.now(UTC) - ago).isoformat(timespec="microseconds").replace("+00:00", "Z")
            server.sql("UPDATE withdrawals SET created = :created", created=created)
            assert owner.code_of_send("1.5") == code


def test_sends_at_the_same_time_do_not_pass_a_limit_together(owner):
    owner.add(per_day="1")
    done = in_threads(12, lambda number: owner.send("0.3", key=f"k{number}"))
    assert done.count(True) == 3
    assert {error.code for error in done if error is not True} == {"limit_exceeded"}
    assert sum(sent.amount for sent in Stub.placed) == Decimal("0.9")


def test_a_repeat_is_answered_although_its_first_call_used_up_the_limit(owner, monkeypatch):
    """The first call begins between the look for its key and the look at the limit."""
    owner.add(per_day="1")
    admit, once = Policy.admit, threading.Lock()

    def admit_later(policy, *args):
        if once.acquire(blocking=False):
            assert owner.send("1", key="mine") is True
        return admit(policy, *args)

    monkeypatch.setattr(Policy, "admit", admit_later)
    assert owner.send("1", key="mine") is True
    assert len(Stub.placed) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE registrations SET allow_send = false", "sends_off"),
        ("UPDATE addresses SET removed = '2026'", "address_not_allowed"),
        ("UPDATE addresses SET usable_from = '2999-01-01T00:00:00.000000Z'", "address_waiting"),
        ("UPDATE addresses SET per_send = '0.01'", "limit_exceeded"),
        ("UPDATE addresses SET per_day = '0.01'", "limit_exceeded"),
    ],
)
def test_what_changes_after_the_first_look_counts_when_the_intent_is_committed(owner, monkeypatch, change, code):
    owner.add()
    admit = Policy.admit

    def admit_before(policy, *args):
        admission = admit(policy, *args)
        owner.server.sql(change)
        return admission

    monkeypatch.setattr(Policy, "admit", admit_before)
    assert owner.code_of_send() == code
    assert owner.backend.withdrawals() == []


@pytest.fixture(scope="module")
def bitstamp():
    with BitstampVenue() as venue:
        yield venue


@pytest.fixture
def at_bitstamp(serving, bitstamp):
    """An owner whose registration is at a local Bitstamp, which has received nothing."""
    with serving(
        exchanges=("stub", "bitstamp"), exchange_urls={"bitstamp": bitstamp.url}, address_wait_seconds=0
    ) as server:
        owner = Owner(server)
        owner.backend = owner.xw.create_backend(
            *owner.auth, "bitstamp", "", bitstamp.key, bitstamp.secret, allow_send=True
        )
        yield owner


def _off(owner, _added):
    form = {"allow_send": "false"}
    url = f"{owner.server.url}/exchanges/{owner.backend.id}"
    requests.patch(url, form, auth=owner.auth, timeout=10).raise_for_status()


def _on(owner, added):
    form = {"allow_send": "true"}
    url = f"{owner.server.url}/exchanges/{owner.backend.id}"
    requests.patch(url, form, auth=owner.auth, timeout=10).raise_for_status()
    owner.add(address=added["address"], per_day="0.1")


def _refusal(owner):
    """The answer to a send that is refused now."""
    url = f"{owner.server.url}/exchanges/{owner.backend.id}/send_to_address"
    form = {"asset": "BTC", "amount": "0.1", "address": ADDRESS}
    return requests.post(url, form, auth=owner.auth, headers={"Idempotency-Key": "now"}, timeout=10).json()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_off, "sends_off"),
        (lambda owner, added: owner.xw.remove_address(*owner.auth, added["id"]), "address_not_allowed"),
        (
            lambda owner, _added: owner.server.sql("UPDATE addresses SET usable_from = '2999-01-01T00:00:00.000000Z'"),
            "address_waiting",
        ),
    ],
)
def test_a_send_that_waits_for_its_turn_does_not_leave_when_its_place_is_taken_away(
    at_bitstamp, bitstamp, monkeypatch, change, code
):
    """Its intent is committed; it is refused with proof, and its key is free."""
    owner, before = at_bitstamp, len(bitstamp.ledger())
    added = owner.add(per_day="0.1")
    confirm, changed = Policy.confirm, []

    def confirm_late(self, *arguments):
        if not changed and owner.server.sql("SELECT status FROM withdrawals") == [("running",)]:
            changed.append(change(owner, added))
        return confirm(self, *arguments)

    monkeypatch.setattr(Policy, "confirm", confirm_late)
    with pytest.raises(PermissionDenied) as caught:
        owner.send(key="mine")
    assert caught.value.code == code
    assert changed
    [(late,)] = owner.server.sql("SELECT answer FROM withdrawals")
    soon = _refusal(owner)
    assert json.loads(late).keys() - {"key"} == soon.keys() - {"key", "request_id"}, (
        "it is told as much as one that comes now"
    )
    assert ("usable_from" in soon) == (code == "address_waiting")
    assert len(bitstamp.ledger()) == before
    assert owner.server.sql("SELECT status FROM withdrawals") == [("rejected",)]
    if code != "address_waiting":
        _on(owner, added)
        assert owner.send(key="mine") is True, "what is counted in its limit already is not counted twice"
        assert len(bitstamp.ledger()) == before + 1


def test_a_key_is_answered_with_what_was_done_after_its_address_was_removed(owner):
    added = owner.add()
    assert owner.send(key="mine") is True
    owner.xw.remove_address(*owner.auth, added["id"])
    assert owner.send(key="mine") is True
    assert len(Stub.placed) == 1
    with pytest.raises(NotFound):
        owner.backend.withdrawal(key="another")


def test_two_server_processes_hold_a_limit_together(postgres, serving, tmp_path, request):
    """Each of them sees the sends of the other, because the address is locked before they are added up."""
    database = request.getfixturevalue("database")(tmp_path, tables=True)
    settings = {"database_url": database, "exchanges": ("stub",), "address_wait_seconds": 0}
    master_key = tmp_path / "master.key"
    (tmp_path / "two").mkdir(mode=0o700)
    with (
        serving(tmp_path, **settings) as first,
        serving(tmp_path / "two", master_key_file=master_key, **settings) as second,
    ):
        owner = Owner(first)
        owner.add(per_day="1")
        backends = [XWrap(server.url).backend(owner.backend.id, *owner.auth) for server in (first, second)]
        done = in_threads(
            16, lambda number: backends[number % 2].send_to_address("BTC", "0.3", ADDRESS, key=f"k{number}")
        )
    assert done.count(True) == 3
    assert sum(sent.amount for sent in Stub.placed) == Decimal("0.9")


def test_what_was_sent_within_a_day_is_added_up_by_an_index(owner):
    """A journal of years is not read for each send."""
    if owner.server.database is not None and not str(owner.server.database).endswith("sqlite3"):
        pytest.skip("the plan is SQLite's")
    plan = owner.server.sql(
        "EXPLAIN QUERY PLAN SELECT withdrawals.amount FROM withdrawals JOIN registrations ON registrations.id ="
        " withdrawals.registration_id WHERE withdrawals.created > '2026' AND registrations.account_id = 1 AND"
        " withdrawals.asset = 'BTC' AND withdrawals.status != 'rejected' AND withdrawals.address = 'x'"
    )
    assert not any("SCAN withdrawals" in row[-1] for row in plan)


def test_a_check_is_the_same_early_and_within_the_write(owner):
    owner.add(per_day="0.1")
    assert owner.code_of_send() is None
    store = Store(owner.server.database)
    registration = store.registrations.get(owner.backend.id)
    for lock in (False, True):
        with pytest.raises(
            Exception, match=r"at most 0\.1 BTC may be sent to this address within 24 hours, and 0\.1 were"
        ):
            store.atomic(lambda lock=lock: check_send(store.addresses, registration, Stub.placed[0], lock=lock))
    store.close()


def test_the_helper_of_the_tests_lets_sends_go_at_once(owner):
    allow_sends(owner.server.database, owner.auth[0], ["anywhere"], asset="SOL")
    assert owner.code_of_send("1", "SOL", "anywhere") is None
