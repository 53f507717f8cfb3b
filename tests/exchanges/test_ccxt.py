"""The bridge to ccxt, over real HTTP against the local Kraken and the local Backpack."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Access, Credentials
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.contract import ExchangeContract
from bitmm.xwrap.transport import Transport
from tests.venues.backpack import BackpackVenue
from tests.venues.kraken import KrakenVenue

pytest.importorskip("ccxt", reason="ccxt is not installed")


@pytest.fixture
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def backpack():
    with BackpackVenue() as venue:
        yield venue


@pytest.fixture
def transport():
    transport = Transport(timeout=5)
    yield transport
    transport.close()


def access(venue, transport, **more):
    keys = Credentials(apikey=venue.key, apisecret=venue.secret)
    return Access(transport, keys, registration=1, url=venue.url, **more)


class TestTheContractAtKraken(ExchangeContract):
    @pytest.fixture
    def exchange(self, kraken, transport):
        return exchange_class("ccxt:kraken")(access(kraken, transport))

    @pytest.fixture
    def ledger(self, kraken):
        return kraken.ledger


class TestTheContractAtBackpack(ExchangeContract):
    currency = "USDC"
    takes = frozenset({"market", "limit"})
    far_price = Decimal(35000)
    send_to = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"
    send_amount = Decimal("0.1")

    @pytest.fixture
    def exchange(self, backpack, transport):
        return exchange_class("ccxt:backpack")(access(backpack, transport))

    @pytest.fixture
    def ledger(self, backpack):
        return backpack.ledger
