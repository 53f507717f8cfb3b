"""The calls that change a registration: what they send, once, and what a Backend knows afterwards."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

import pytest

from bitmm.xwrap.client import Backend, InvalidRequest, OutcomeUnknown
from tests.support.raw_server import JSON, raw_server

REGISTRATION = {"id": 7, "exchange": "kraken", "label": "new", "enabled": False, "available": True}


@pytest.fixture
def sent():
    """A server that answers well, a backend, and the method, path and form of every request."""
    requests = []

    def answer(connection):
        request = connection.request
        requests.append((request.method, request.path, dict(parse_qsl(request.body.decode()))))
        document = {"id": 7, "deleted": True} if request.method == "DELETE" else REGISTRATION
        connection.answer(json.dumps(document), "200 OK", JSON)

    with raw_server(answer) as server:
        yield Backend(7, "ann", "password", server.url), requests


def test_each_call_sends_what_is_to_be_changed_and_nothing_else(sent):
    backend, requests = sent
    backend.rename("new")
    backend.disable()
    backend.replace_key("a key", "a secret")
    backend.replace_key("a key", "a secret", passphrase="open", other_account=True, force=True)
    backend.delete()
    backend.delete(force=True)
    key = {"apikey": "a key", "apisecret": "a secret"}
    assert requests == [
        ("PATCH", "/exchanges/7", {"label": "new"}),
        ("PATCH", "/exchanges/7", {"enabled": "false"}),
        ("PATCH", "/exchanges/7", key),
        ("PATCH", "/exchanges/7", {**key, "passphrase": "open", "other_account": "true", "force": "true"}),
        ("DELETE", "/exchanges/7", {}),
        ("DELETE", "/exchanges/7?force=true", {}),
    ]


def test_the_attributes_are_what_the_server_answered(sent):
    backend, _ = sent
    assert (backend.label, backend.enabled) == (None, None)
    backend.disable()
    assert (backend.label, backend.enabled, backend.exchange, backend.available) == ("new", False, "kraken", True)
    assert backend.info == REGISTRATION


@pytest.mark.parametrize(
    "call",
    [
        lambda backend: backend.replace_key(b"key", "secret"),
        lambda backend: backend.replace_key("key", None),
        lambda backend: backend.replace_key("key", "secret", apikey="another"),
        lambda backend: backend.replace_key("key", "secret", label="x"),
        lambda backend: backend.rename(None),
    ],
)
def test_what_cannot_be_sent_is_refused_before(sent, call):
    backend, requests = sent
    with pytest.raises(InvalidRequest) as caught:
        call(backend)
    assert caught.value.code == "invalid_argument"
    assert requests == []


@pytest.mark.parametrize("call", [Backend.enable, Backend.delete, lambda backend: backend.replace_key("key", "secret")])
def test_a_lost_answer_is_an_unknown_outcome_and_is_not_repeated(call):
    requests = []

    def hang_up(connection):
        requests.append(connection.request)
        connection.hang_up()

    with raw_server(hang_up) as server, pytest.raises(OutcomeUnknown):
        call(Backend(7, "ann", "password", server.url))
    assert len(requests) == 1
