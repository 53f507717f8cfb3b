"""An XWrap and a Backend can be pickled and copied; the copies make connections of their own."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from bitmm.xwrap.client import Backend, XWrap
from tests.support.marked_secrets import PASSWORD, USER

ROOT = Path(__file__).parents[2]
WAYS = [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]


@pytest.fixture(params=WAYS, ids=["copy", "deepcopy", "pickle"])
def duplicate(request):
    return request.param


def test_the_copy_of_a_backend_is_the_same_registration_over_connections_of_its_own(server, duplicate):
    backend = Backend(7, USER, PASSWORD, server.url, timeout=5)
    backend.info, backend.exchange, backend.label = {"id": 7, "permissions": ["read"]}, "kraken", "main"
    backend.balance()
    other = duplicate(backend)
    assert vars(other).keys() == vars(backend).keys()
    assert (other.id, other.username, other.password) == (7, USER, PASSWORD)
    assert (other.info, other.exchange, other.label, repr(other)) == (backend.info, "kraken", "main", repr(backend))
    assert other.balance() == backend.balance()
    assert other.buy("USD", "BTC", "0.1")["id"] == 41
    assert server.connections == 2


def test_the_copy_of_an_xwrap_shares_its_connections_with_its_own_backends(server, duplicate):
    xwrap = XWrap(server.url)
    other = duplicate(xwrap)
    for one in (xwrap, other):
        one.list_exchanges()
        Backend(7, USER, PASSWORD, one).balance()
    assert repr(other) == repr(xwrap)
    assert server.connections == 2


def test_what_was_pickled_together_shares_its_connections(server):
    xwrap = XWrap(server.url)
    both = xwrap, Backend(7, USER, PASSWORD, xwrap), Backend(8, USER, PASSWORD, xwrap)
    xwrap, *backends = pickle.loads(pickle.dumps(both))
    xwrap.list_exchanges()
    for backend in backends:
        backend.balance()
    assert server.connections == 1


def test_a_pickled_backend_trades_in_another_process(server):
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).buy('USD', 'BTC', '0.1', key='k1')['id'])"
    backend = Backend(7, USER, PASSWORD, server.url)
    backend.balance()
    run = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(backend), stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    assert run.stdout.strip() == b"41"
    assert backend.balance()
    assert [request.headers.get("idempotency-key") for request in server.requests] == [None, "k1", None]


def test_a_callers_session_is_copied_with_it(server, duplicate):
    session = requests.Session()
    session.headers["X-Team"] = "blue"
    other = duplicate(Backend(7, USER, PASSWORD, server.url, session=session))
    session.headers["X-Team"] = "red"
    other.balance()
    assert [request.headers.get("x-team") for request in server.requests] == ["blue"]


def test_the_insecure_address_of_a_server_stays_allowed(duplicate):
    assert repr(duplicate(XWrap("http://xwrap.test", insecure=True))) == "XWrap('http://xwrap.test')"
