"""The last look before an order or a send leaves says as much as the refusal of one that comes now."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import requests

from bitmm.xwrap.server.policy import Policy
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from tests.support.sends import allow_sends

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
CALLS = {
    "buy": {"currency": "EUR", "asset": "BTC", "amount": "0.01", "price": "20000"},
    "send_to_address": {"asset": "BTC", "amount": "0.01", "address": ADDRESS},
}
#: Who calls; what is changed meanwhile, by the owner's call or in the data base; the code that both refusals have.
CHANGES = {
    "frozen": ("owner", ("POST", "/freeze", {}), "frozen"),
    "registration switched off": ("owner", ("PATCH", "/exchanges/{id}", {"enabled": "false"}), "registration_disabled"),
    "registration deleted": ("owner", ("DELETE", "/exchanges/{id}", {"force": "true"}), "not_found"),
    "account switched off": ("owner", "UPDATE accounts SET active = false WHERE name = :name", "not_authenticated"),
    "password changed": ("owner", ("PATCH", "/account", {"password": "another password"}), "not_authenticated"),
    "credential revoked": ("bot", ("DELETE", "/credentials/bot1", {}), "not_authenticated"),
    "credential made anew": ("bot", "again", "not_authenticated"),
    "credential over": (
        "bot",
        "UPDATE credentials SET expires = '2020-01-01T00:00:00.000000Z' WHERE name = 'bot1'",
        "not_authenticated",
    ),
    "frozen, with a credential": ("bot", ("POST", "/freeze", {}), "frozen"),
}
SEND_CHANGES = {
    "sends off": ("bot", ("PATCH", "/exchanges/{id}", {"allow_send": "false"}), "sends_off"),
    "address removed": ("bot", "DELETE FROM addresses", "address_not_allowed"),
    "another tag": ("bot", "UPDATE addresses SET tag = '7'", "address_not_allowed"),
    "another network": ("bot", "UPDATE addresses SET network = 'Lightning'", "address_not_allowed"),
    "address waits": (
        "bot",
        "UPDATE addresses SET usable_from = '2999-01-01T00:00:00.000000Z'",
        "address_waiting",
    ),
}


@pytest.fixture(scope="module")
def bitstamp():
    with BitstampVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def at_bitstamp(serving, bitstamp):
    with serving(exchanges=("bitstamp",), exchange_urls={"bitstamp": bitstamp.url}) as server:
        yield server


@pytest.fixture
def bench(at_bitstamp, bitstamp):
    """A fresh account with a registration that may send to ADDRESS, and a credential that may do so."""
    owner = at_bitstamp.account()
    id = at_bitstamp.registration(owner, "bitstamp", apikey=bitstamp.key, apisecret=bitstamp.secret)
    at_bitstamp.sql("DELETE FROM addresses")
    allow_sends(at_bitstamp.database, owner[0], [ADDRESS])
    logins = {"owner": owner, "bot": at_bitstamp.credential(owner[0], "send")}
    return SimpleNamespace(server=at_bitstamp, id=id, logins=logins)


def _ask(bench, login, method, path, form, key=None):
    headers = {"Idempotency-Key": key} if key else {}
    url = bench.server.url + path.format(id=bench.id)
    fields = {"params" if method == "DELETE" else "data": form}
    return requests.request(method, url, **fields, auth=login, headers=headers, timeout=30)


def _change(bench, change):
    name = bench.logins["owner"][0]
    if change == "again":
        _ask(bench, bench.logins["owner"], "DELETE", "/credentials/bot1", {}).raise_for_status()
        bench.server.credential(name, "send")
    elif isinstance(change, str):
        bench.server.sql(change, **({"name": name} if ":name" in change else {}))
    else:
        _ask(bench, bench.logins["owner"], *change).raise_for_status()


def _reported(answer):
    """What an answer tells beside its words, its key and the id of its call."""
    body = answer.json()
    values = {name: body[name] for name in body.keys() - {"detail", "key", "request_id"}}
    return answer.status_code, answer.headers.get("WWW-Authenticate"), values


@pytest.mark.parametrize(
    ("call", "name"),
    [("buy", name) for name in CHANGES] + [("send_to_address", name) for name in CHANGES | SEND_CHANGES],
)
def test_what_is_stopped_last_is_told_as_much_as_what_comes_after_the_change(bench, bitstamp, monkeypatch, call, name):
    who, change, code = (CHANGES | SEND_CHANGES)[name]
    journal, before = "orders" if call == "buy" else "withdrawals", len(bitstamp.ledger())
    mine = f"SELECT status FROM {journal} WHERE registration_id = :id"
    confirm, changed = Policy.confirm, []

    def confirm_late(self, *arguments):
        if not changed and bench.server.sql(mine, id=bench.id) == [("running",)]:
            changed.append(change)
            _change(bench, change)
        return confirm(self, *arguments)

    monkeypatch.setattr(Policy, "confirm", confirm_late)
    path = f"/exchanges/{{id}}/{call}"
    late = _ask(bench, bench.logins[who], "POST", path, CALLS[call], "late")
    soon = _ask(bench, bench.logins[who], "POST", path, CALLS[call], "soon")
    assert changed
    assert late.json()["code"] == code
    assert _reported(late) == _reported(soon)
    assert bench.server.sql(mine, id=bench.id) == [("rejected",)]
    assert len(bitstamp.ledger()) == before
