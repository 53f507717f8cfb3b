"""What a registration takes besides key and secret: the exchange's form, as the client and the wire have it."""

from __future__ import annotations

import logging
from typing import ClassVar

import pytest

from bitmm.xwrap import exchanges
from bitmm.xwrap._arguments import registration_form
from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.exchanges.base import Field
from bitmm.xwrap.server import registry
from bitmm.xwrap.server.rate_limiter import queue_name
from tests.support.stub import Stub

SECRETS = ("the phrase of ann", "the secret of ann")


class Formal(Stub):
    """An exchange with a form, which keeps what it is given."""

    id = "formal"
    name = "Formal"
    form = (
        Field("apikey", "any text"),
        Field("apisecret", "any text", secret=True),
        Field("passphrase", "the phrase of the key", secret=True, also=("password",)),
        Field("desk", "who trades", required=False),
    )
    given: ClassVar[list] = []

    def funds(self):
        self.given.append(self.context.credentials)
        return {}


class Wallet(Stub):
    """An exchange without API keys."""

    id = "wallet"
    form = (Field("privateKey", "the key", secret=True), Field("walletAddress", "the address", required=False))


@pytest.fixture
def formal(serving, monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "formal", "tests.server.views.test_registration_form:Formal")
    with serving(exchanges=("paper", "formal")) as server:
        yield server


def test_what_the_form_names_is_registered_by_name_sealed_and_given_to_the_exchange(formal, caplog):
    caplog.set_level(logging.DEBUG)
    auth, xwrap = formal.account(), XWrap(formal.url)
    backend = xwrap.create_backend(
        *auth, "formal", "", "key-of-ann", SECRETS[1], label="the first", passphrase=SECRETS[0], desk="7"
    )
    assert backend.label == "the first"
    assert backend.balance() == {}
    given = Formal.given.pop()
    assert (given.apikey, given.apisecret, given.more) == (
        "key-of-ann",
        SECRETS[1],
        {"passphrase": SECRETS[0], "desk": "7"},
    )
    rows = formal.sql("SELECT * FROM registrations")
    shown = f"{rows!r} {caplog.text} {given!r} {backend!r} {backend.info!r} {xwrap.list_backends(*auth)!r}"
    assert "formal" in shown
    assert not [secret for secret in SECRETS if secret in shown]


def test_the_list_of_exchanges_says_what_each_ones_form_is(formal):
    rows = {row["id"]: row for row in XWrap(formal.url).list_exchanges()}
    assert rows["paper"]["form"] == []
    assert rows["formal"]["form"][2:] == [
        {"name": "passphrase", "help": "the phrase of the key", "required": True, "secret": True},
        {"name": "desk", "help": "who trades", "required": False, "secret": False},
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Formal needs 'passphrase': the phrase of the key"),
        ({"passphrase": "x", "passfrase": "y"}, "Formal has no field 'passfrase'"),
    ],
    ids=["missing", "unknown"],
)
def test_a_field_that_is_missing_or_unknown_is_refused_in_words_that_list_the_form(formal, fields, words):
    auth = formal.account()
    with pytest.raises(InvalidRequest) as caught:
        XWrap(formal.url).create_backend(*auth, "formal", "", "key", "secret", **fields)
    assert str(caught.value) == f"{words}; its form is apikey, apisecret, passphrase, desk (if you like)"
    assert XWrap(formal.url).list_backends(*auth) == []


def test_a_field_is_taken_under_its_other_name_too(formal):
    auth = formal.account()
    formal.registration(auth, "formal", apikey="key", apisecret="secret", password="a phrase")
    XWrap(formal.url).balance(*auth)
    assert Formal.given.pop().more == {"passphrase": "a phrase"}


@pytest.mark.parametrize(
    "fields", [{"apikey": "x"}, {"apisecret": "x"}, {"account": "1"}, {"desk": 7}, {"label": None}]
)
def test_what_cannot_be_a_field_is_refused_before_it_is_sent(fields):
    with pytest.raises(InvalidRequest) as caught:
        XWrap("http://127.0.0.1:1").create_backend("ann", "password", "formal", "", "key", "secret", **fields)
    assert caught.value.code == "invalid_argument"
    assert next(iter(fields)) in str(caught.value)


def test_what_was_not_given_is_not_sent():
    """A server of 2013 knows no labels, and no switch for sends."""
    form = registration_form("kraken", "ann", "key", "secret", "", {}, allow_send=False)
    assert form == {"exchange": "kraken", "username": "ann", "apikey": "key", "apisecret": "secret"}


def test_users_without_api_keys_do_not_wait_for_each_other(serving, monkeypatch):
    """A queue and a nonce counter belong to a key; where there is none, to the wallet."""
    monkeypatch.setitem(exchanges.EXCHANGES, "wallet", "tests.server.views.test_registration_form:Wallet")
    names = []
    monkeypatch.setattr(
        registry,
        "RequestSlot",
        lambda _limiter, _limits, holder, *_more: names.append((holder.key, holder.queue)) or Slot(),
    )

    class Slot:
        nonce = acquire = None

    with serving(exchanges=("wallet",)) as server:
        for fields in ({"walletAddress": "0x1"}, {"walletAddress": "0x2"}, {}):
            server.registration(server.account(), "wallet", privateKey="a private key", **fields)
    assert len({queue_name("wallet", queue) for _, queue in names}) == 3
    assert [key for key, _ in names[:2]] == ["0x1", "0x2"]
