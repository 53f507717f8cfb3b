"""An account's registrations: the same exchange key is registered once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.exchanges.base import Field
from tests.support.answers import body_of
from tests.support.stub import Stub

KEYS = {"apikey": "an api key", "apisecret": "its secret"}


class Wallet(Stub):
    """An exchange that knows its users by a wallet's address."""

    form = (Field("walletAddress", "an address"), Field("privateKey", "its key", secret=True))


@pytest.fixture(scope="module")
def server(serving):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        patch.setitem(exchanges.EXCHANGES, "wallet", "tests.server.views.test_registrations:Wallet")
        with serving(exchanges=("paper", "stub", "wallet")) as server:
            yield server


def post(server, auth, exchange="stub", **form):
    return requests.post(f"{server.url}/exchanges/", data={"exchange": exchange, **form}, auth=auth, timeout=30)


def test_a_key_that_the_account_has_registered_is_refused_with_the_id_of_the_first(server):
    auth, xw = server.account(), XWrap(server.url)
    first = post(server, auth, label="main", **KEYS).json()["id"]
    answer = post(server, auth, **KEYS | {"apisecret": "another secret"})
    assert answer.status_code == 409
    words = f"your account has registered this key already: it is number {first} at stub ('main'); use that one"
    assert body_of(answer) == {
        "detail": words,
        "code": "already_registered",
        "retryable": False,
        "may_have_executed": False,
        "field": "apikey",
        "registration": first,
    }
    with pytest.raises(InvalidRequest, match=f"it is number {first} at stub") as caught:
        xw.create_backend(*auth, "Stub", "", KEYS["apikey"], KEYS["apisecret"])
    assert (caught.value.code, caught.value.status, caught.value.may_have_executed) == (
        "already_registered",
        409,
        False,
    )
    assert [backend.id for backend in xw.list_backends(*auth)] == [first]


def test_a_key_of_a_registration_that_is_switched_off_is_refused_too(server):
    auth = server.account()
    first = post(server, auth, **KEYS).json()["id"]
    server.sql("UPDATE registrations SET enabled = :no WHERE id = :id", no=False, id=first)
    assert f"number {first} at stub (switched off)" in post(server, auth, **KEYS).json()["detail"]


def test_a_key_is_free_again_when_its_registration_is_removed(server):
    auth = server.account()
    first = post(server, auth, **KEYS).json()["id"]
    server.sql("DELETE FROM registrations WHERE id = :id", id=first)
    assert post(server, auth, **KEYS).status_code == 201


def test_another_key_another_account_and_what_has_no_key_are_registered(server):
    auth = server.account()
    assert post(server, auth, **KEYS).status_code == 201
    assert post(server, auth, **KEYS | {"apikey": "another key"}).status_code == 201
    assert post(server, server.account(), **KEYS).status_code == 201
    for exchange in ("paper", "paper", "stub", "stub"):
        assert post(server, auth, exchange).status_code == 201


def test_a_wallet_is_known_by_its_address(server):
    auth, form = server.account(), {"walletAddress": "0xabc", "privateKey": "secret"}
    assert post(server, auth, "wallet", **form).status_code == 201
    assert post(server, auth, "wallet", **form | {"privateKey": "another"}).status_code == 409
    assert post(server, auth, "wallet", **form | {"walletAddress": "0xdef"}).status_code == 201


def test_a_key_or_a_wallet_in_another_spelling_is_the_same_one(server):
    auth, form = server.account(), {"walletAddress": "0xabc", "privateKey": "secret"}
    assert post(server, auth, **KEYS).status_code == 201
    for apikey in (" an api key", "an api key ", "\tan api key\n"):
        assert post(server, auth, **KEYS | {"apikey": apikey}).status_code == 409
    assert post(server, auth, **KEYS | {"apikey": "AN API KEY"}).status_code == 201, "case counts in a key"
    assert post(server, auth, "wallet", **form).status_code == 201
    for address in ("0xABC", " 0xaBc"):
        assert post(server, auth, "wallet", **form | {"walletAddress": address}).status_code == 409


def test_the_same_exchange_through_ccxt_is_the_same_exchange(server):
    auth = server.account()
    first = post(server, auth, **KEYS).json()["id"]
    server.sql("UPDATE registrations SET exchange = 'ccxt:stub' WHERE id = :id", id=first)
    assert f"number {first} at ccxt:stub" in post(server, auth, **KEYS).json()["detail"]


def test_of_many_calls_at_the_same_time_one_registers_the_key(server, monkeypatch):
    """All of them have asked the exchange before any of them writes."""
    together = threading.Barrier(8, timeout=30)
    monkeypatch.setattr(Stub, "permissions", lambda _: frozenset([together.wait()]) & frozenset())
    auth = server.account()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(post, server, auth, **KEYS) for _ in range(8)]
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [201] + [409] * 7
    assert len(requests.get(f"{server.url}/exchanges/", auth=auth, timeout=30).json()) == 1


def test_nothing_in_the_data_base_shows_the_key(server):
    id = post(server, server.account(), **KEYS).json()["id"]
    [row] = server.sql("SELECT * FROM registrations WHERE id = :id", id=id)
    assert "an api key" not in repr(row)
    assert b"an api key" not in b"".join(value for value in row if isinstance(value, bytes))


def test_sends_are_switched_off_unless_the_owner_says_otherwise(server):
    auth = server.account()
    for form, allow_send in (({}, False), ({"allow_send": "false"}, False), ({"allow_send": "true"}, True)):
        id = post(server, auth, "paper", **form).json()["id"]
        shown = requests.get(f"{server.url}/exchanges/{id}", auth=auth, timeout=30).json()
        assert shown["allow_send"] is allow_send
    refused = requests.post(
        f"{server.url}/exchanges/", data={"exchange": "paper", "allow_send": "perhaps"}, auth=auth, timeout=30
    )
    assert (refused.status_code, refused.json()["field"]) == (422, "allow_send")
