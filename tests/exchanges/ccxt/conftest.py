"""The local exchanges that the bridge to ccxt is tried at."""

from __future__ import annotations

import pytest

from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.exchanges.ccxt.support import CoincheckVenue, PaymiumVenue


@pytest.fixture
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def backpack():
    with BackpackVenue() as venue:
        yield venue


@pytest.fixture
def paymium():
    with PaymiumVenue() as venue:
        yield venue


@pytest.fixture
def coincheck():
    with CoincheckVenue() as venue:
        yield venue
