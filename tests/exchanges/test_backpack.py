"""Backpack's adapter, over real HTTP against the local Backpack: the contract, and what is Backpack's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Access, Credentials
from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.contract import ExchangeContract
from bitmm.xwrap.transport import Transport
from tests.venues.backpack import BackpackVenue


@pytest.fixture
def venue():
    with BackpackVenue() as venue:
        yield venue


@pytest.fixture
def transport():
    transport = Transport(timeout=5)
    yield transport
    transport.close()


@pytest.fixture
def exchange(venue, transport):
    keys = Credentials(apikey=venue.key, apisecret=venue.secret)
    return Backpack(Access(transport, keys, registration=1, url=venue.url))


@pytest.fixture
def ledger(venue):
    return venue.ledger


class TestTheContract(ExchangeContract):
    currency = "USDC"
    far_price = Decimal(35000)  # Backpack takes no price more than 25 % above the market
    send_to = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"

    def _unplaced(self):
        """Backpack's history lags, so an order that may just have been placed is never said to be missing."""
        ref = super()._unplaced()
        return replace(ref, created=ref.created - timedelta(minutes=1))
