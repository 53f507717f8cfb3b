"""What the tests of every exchange share: a local exchange, a way to it, the adapter with its keys, its ledger.

A test module names the classes, `VENUE = KrakenVenue` and `EXCHANGE = Kraken`; one that needs more of a fixture
overrides it.
"""

from __future__ import annotations

import pytest

from bitmm.xwrap.transport import Transport
from tests.support.exchanges import connect


@pytest.fixture
def venue(request):
    """The local exchange of the module, running."""
    with request.module.VENUE() as venue:
        yield venue


@pytest.fixture
def transport():
    transport = Transport(timeout=20)
    yield transport
    transport.close()


@pytest.fixture
def exchange(request, venue, transport):
    """The adapter of the module, which trades at the local exchange."""
    return connect(request.module.EXCHANGE, venue, transport)


@pytest.fixture
def ledger(venue):
    """A function: what the local exchange really executed."""
    return venue.ledger
