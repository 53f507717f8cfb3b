"""The short form of `python -m tests.stress.door`: under each attack the honest client is served."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.server.settings import Settings
from tests.stress.attacks import Target, held_connections, long_header, other_accounts

SMALL = [
    (long_header.ATTACK, 1),
    (held_connections.SLOW_HEADS, 50),
    (held_connections.IDLE, 300),
    (held_connections.HALF_BODIES, 50),
    (held_connections.OWN_HALF_BODIES, 50),
]


@pytest.mark.parametrize(("attack", "size"), SMALL, ids=lambda value: getattr(value, "name", str(value)))
def test_under_attack_an_honest_client_is_served(server, auth, attack, size):
    id = server.registration(auth)
    address = urlsplit(server.url)
    target = Target(address.hostname, address.port, *auth, id)
    with attack.start(target, size) as seen:
        for _ in range(20):
            assert requests.get(f"{server.url}/exchange_rates/?from=USD&to=BTC", timeout=30).ok
    assert set(seen) <= {"431", "opened"}
    assert attack is long_header.ATTACK or seen["opened"] == size


def test_while_another_account_registers_as_fast_as_it_can_an_honest_client_is_served(server, auth):
    id = server.registration(auth)
    address = urlsplit(server.url)
    with other_accounts.REGISTRATIONS.start(Target(address.hostname, address.port, *auth, id), 150) as seen:
        for _ in range(20):
            assert requests.get(f"{server.url}/exchange_rates/?from=USD&to=BTC", timeout=30).ok
    assert set(seen) == {"201", "429"}
    assert seen["201"] == Settings(Path(), Path()).registration_quota - 1


def test_a_header_of_megabytes_is_refused_with_an_answer(server):
    address = urlsplit(server.url)
    assert long_header.send_long_header(Target(address.hostname, address.port), 20) == "431"
