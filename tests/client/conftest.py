"""What the tests of the client share."""

from __future__ import annotations

from contextlib import closing

import pytest
import responses

from bitmm.xwrap.client import Backend
from tests.support.client_servers import Tunnel, answer_well
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import raw_server

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment that says nothing about proxies and certificates."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mock():
    """Stands in for the network."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def backend():
    """Registration 7 at the default address of a server."""
    return Backend(7, USER, PASSWORD)


@pytest.fixture
def server():
    """A server that answers well."""
    with raw_server(answer_well) as server:
        yield server


@pytest.fixture
def secure():
    """A server that answers well, over TLS."""
    with raw_server(answer_well, certificate="good") as server:
        yield server


@pytest.fixture
def tunnel():
    """A proxy that anything can be sent through."""
    with closing(Tunnel()) as proxy:
        yield proxy
