"""Kraken's adapter, over real HTTP against the local Kraken: the contract, and what is Kraken's own."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Access, Credentials
from bitmm.xwrap.exchanges.contract import ExchangeContract
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.transport import Transport
from tests.venues.kraken import KrakenVenue


@pytest.fixture
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def transport():
    transport = Transport(timeout=5)
    yield transport
    transport.close()


@pytest.fixture
def exchange(venue, transport):
    keys = Credentials(apikey=venue.key, apisecret=venue.secret)
    return Kraken(Access(transport, keys, registration=1, url=venue.url))


@pytest.fixture
def ledger(venue):
    return venue.ledger


class TestTheContract(ExchangeContract):
    send_to = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"
    send_amount = Decimal("0.1")
