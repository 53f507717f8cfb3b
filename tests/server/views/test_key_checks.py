"""What a key may do is asked before it is kept: one that may withdraw needs the owner's word."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.stub import Stub


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def server(serving, venue):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        urls, limits = {"kraken": venue.url}, {"kraken": None}
        with serving(exchanges=("paper", "kraken", "stub"), exchange_urls=urls, exchange_limits=limits) as server:
            yield server


def test_a_key_that_may_withdraw_is_refused_in_words_that_say_what_to_do(server, venue):
    auth, xw = server.account(), XWrap(server.url)
    with pytest.raises(InvalidRequest) as caught:
        xw.create_backend(*auth, "kraken", "", venue.key, venue.secret)
    assert str(caught.value) == (
        "Kraken says that this key may withdraw; make a key there without that right and register that one, or say"
        " allow_send=true if this registration is to send"
    )
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (422, "key_may_send", False)
    assert xw.list_backends(*auth) == []


def test_with_allow_send_it_is_taken(server, venue):
    backend = XWrap(server.url).create_backend(
        *server.account(), "kraken", "", venue.key, venue.secret, allow_send=True
    )
    assert (backend.info["permissions"], backend.info["allow_send"]) == (["read", "send", "trade"], True)


def test_a_key_without_that_right_needs_no_word(server, venue, monkeypatch):
    monkeypatch.setattr(venue.account, "permissions", venue.account.permissions - {"withdraw-funds"})
    backend = XWrap(server.url).create_backend(*server.account(), "kraken", "", venue.key, venue.secret)
    assert (backend.info["permissions"], backend.info["allow_send"]) == (["read", "trade"], False)


def test_paper_and_an_exchange_that_does_not_tell_need_no_word(server, monkeypatch):
    auth, xw = server.account(), XWrap(server.url)
    assert xw.create_backend(*auth, "paper", "", "", "").info["allow_send"] is False
    assert xw.create_backend(*auth, "stub", "", "a key", "a secret").info["permissions"] is None
    monkeypatch.setattr(Stub, "permissions", lambda _: {"send"})
    with pytest.raises(InvalidRequest, match="Stub says that this key may withdraw"):
        xw.create_backend(*auth, "stub", "", "another key", "a secret")


@pytest.mark.parametrize(
    "label", ["line\nend", "bell\a", "turned \u202egnp.exe", "hidden\u2066x\u2069", "nothing\ufeff"]
)
def test_a_label_has_no_control_or_direction_character(server, label):
    form = {"exchange": "paper", "label": label}
    answer = requests.post(f"{server.url}/exchanges/", data=form, auth=server.account(), timeout=30)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_request", "label")
    assert "control or direction character (U+" in answer.json()["detail"]
    assert answer.json()["detail"].isprintable()


@pytest.mark.parametrize("label", ["Kraken, main", "Schlüssel №1", "המפתח", "می‌خواهم", "👩‍💻 bot"])
def test_a_label_is_text_of_any_script(server, label):
    assert XWrap(server.url).create_backend(*server.account(), "paper", "", "", "", label=label).label == label
