"""What the tests of the bridge to ccxt share: the exchange of a venue, orders and sends for it, and a local Paymium."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.ccxt import exchange_class, instance
from bitmm.xwrap.exchanges.ccxt.parsing import spot_markets
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.testing.exchanges.venue import Venue
from tests.support.exchanges import connect

RECORDED = Path(__file__).parents[2] / "recorded" / "paymium-response.json"
WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


def connected(venue, transport, **context):
    """The exchange of this venue, with its keys."""
    return connect(exchange_class(f"ccxt:{venue.name}"), venue, transport, **context)


def order(side="buy", amount="0.1", price=None, currency="USDC", cost=None):
    return NewOrder(
        side,
        currency,
        "BTC",
        uuid.uuid4().hex,
        amount=None if amount is None else Decimal(amount),
        price=None if price is None else Decimal(price),
        cost=None if cost is None else Decimal(cost),
    )


def send(amount="0.1", **fields):
    return NewWithdrawal("BTC", Decimal(amount), WALLET, uuid.uuid4().hex, **fields)


def ref_of(placed, id):
    return OrderRef(
        *(placed.side, placed.currency, placed.asset, placed.client_id, id),
        created=datetime.now(UTC),
        amount=placed.amount,
        price=placed.price,
    )


def calls(venue):
    """How often each path was asked for."""
    return Counter(request.path.rpartition("/")[2] for request in venue.requests)


def listed(kind, url, **precision):
    """The exchange at `url`, with one market that is not read from it."""
    offline = kind.kind()
    offline.set_markets(
        [
            offline.safe_market_structure()
            | {"id": "BTCUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True, "type": "spot"}
            | {"precision": precision, "baseId": "BTC", "quoteId": "USD"}
        ]
    )
    listing = instance.Markets(offline, spot_markets(offline))
    cache = TTLCache()
    cache.get_or_fetch("markets", lambda: listing, seconds=3600)
    return lambda transport, keys: kind(ExchangeContext(transport, keys, 1, url=url, cache=cache))


class PaymiumVenue(Venue):
    """Recorded answers with JSON numbers; nothing is checked here but that the nonce rises."""

    name = "paymium"
    default_key, default_secret = "paymium-key-0123456789", "paymium-secret-0123456789"

    def __init__(self) -> None:
        self.recorded = json.loads(RECORDED.read_text(), parse_float=Decimal)
        self.user = {}
        self.nonces = []
        super().__init__()

    def routes(self):
        return {
            ("GET", "/api/v1/data/eur/ticker"): lambda request: self.recorded["Example_TickerData.json"],
            ("GET", "/api/v1/data/eur/depth"): lambda request: self.recorded["Example_DepthData.json"],
            ("GET", "/api/v1/user"): self.funds,
        }

    def funds(self, request):
        self.nonces.append(int(request.headers["Api-Nonce"]))
        return self.user
