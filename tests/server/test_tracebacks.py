"""A traceback that shows the local variables of its frames, as collectors of errors make them, shows no secret."""

from __future__ import annotations

import base64
import logging
import traceback

import pytest
import requests

from bitmm.xwrap.exchanges.kraken import api as kraken_api
from bitmm.xwrap.server import vault
from bitmm.xwrap.server.db.statements import StatementRunner
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.transport import Transport
from tests.server.pages.visitor import Visitor

PASSWORD = "canary password äöü"
SECRETS = ("canary", "äöü", base64.b64encode(b"canary-secret-of-the-exchange").decode())


class Unforeseen(Exception):
    """What no code expects."""


@pytest.fixture
def shown(monkeypatch):
    """Every traceback that is logged, with the local variables."""
    found = []

    class Listener(logging.Handler):
        def emit(self, record):
            error = record.exc_info and record.exc_info[1]
            while error is not None:
                made = traceback.TracebackException.from_exception(error, capture_locals=True)
                found.append("".join(made.format()))
                error = error.__cause__

    listener = Listener()
    logging.getLogger("bitmm").addHandler(listener)
    yield found
    logging.getLogger("bitmm").removeHandler(listener)


@pytest.fixture
def kraken(serving):
    with (
        KrakenVenue(key="canary-key-of-the-exchange", secret=SECRETS[2]) as venue,
        serving(exchanges=("paper", "kraken"), exchange_urls={"kraken": venue.url}) as server,
    ):
        auth = server.account("ann", PASSWORD)
        form = {"exchange": "kraken", "apikey": venue.key, "apisecret": venue.secret, "allow_send": "true"}
        answer = requests.post(f"{server.url}/exchanges", data=form, auth=encoded(auth), timeout=30)
        assert answer.status_code == 201, answer.text
        yield server, encoded(auth), answer.json()["id"], form


def encoded(auth):
    return tuple(text.encode() for text in auth)


def fail(*args, **options):
    del args, options  # its own frame shows what it was given
    raise Unforeseen("raised on purpose")


#: What is called somewhere on the way of a call, by where it is raised.
PLACES = {
    "the data base": (StatementRunner, "_run"),
    "the vault": (vault.Vault, "open"),
    "the cipher": (vault, "_associated_data"),
    "the signing": (kraken_api.hmac, "new"),
    "the sending": (Transport, "send"),
    "the parsing": (kraken_api, "_document"),
}


CASES = [(call, place) for call in ("balance", "buy", "register") for place in PLACES]
CASES.remove(("register", "the vault"))  # nothing is opened for the first key of an account


@pytest.mark.parametrize(("call", "place"), CASES, ids=" ".join)
def test_no_secret_is_in_a_traceback_with_local_variables(kraken, shown, monkeypatch, place, call):
    server, auth, id, form = kraken
    other = encoded(server.account("bob", f"{PASSWORD} of another"))
    owner, name = PLACES[place]
    monkeypatch.setattr(owner, name, fail)
    if call == "balance":
        requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=30)
    elif call == "buy":
        order = {"currency": "EUR", "asset": "BTC", "amount": "0.01"}
        requests.post(f"{server.url}/exchanges/{id}/buy", data=order, auth=auth, timeout=30)
    else:
        requests.post(f"{server.url}/exchanges", data=form, auth=other, timeout=30)
    monkeypatch.undo()
    assert shown, "something was logged"
    assert any("raised on purpose" in text for text in shown)
    lines = [line.strip() for text in shown for line in text.splitlines()]
    assert [line for line in lines if any(secret in line for secret in SECRETS)] == []


@pytest.mark.parametrize(
    ("form", "place"), [("sign in", "the data base"), ("replace", "the sending"), ("unfreeze", "the data base")]
)
def test_no_secret_of_a_browser_is_in_a_traceback_with_local_variables(kraken, shown, monkeypatch, place, form):
    server, _auth, id, key = kraken
    visitor = Visitor(server.url)
    visitor.sign_in(("ann", PASSWORD))
    token = visitor.cookies["xwrap"]
    owner, name = PLACES[place]
    if form == "sign in":
        visitor.session.cookies.set("xwrap-form", "token", domain="127.0.0.1")
        visitor.csrf = "token"
    monkeypatch.setattr(owner, name, fail)
    if form == "sign in":
        visitor.post("/page/sign-in", username="ann", password=PASSWORD)
    elif form == "replace":
        visitor.post(f"/page/keys/{id}/replace", apikey=key["apikey"], apisecret=key["apisecret"])
    else:
        visitor.post("/page/unfreeze", password=PASSWORD)
    monkeypatch.undo()
    assert any("raised on purpose" in text for text in shown)
    lines = [line.strip() for text in shown for line in text.splitlines()]
    assert [line for line in lines if any(secret in line for secret in (*SECRETS, token))] == []
