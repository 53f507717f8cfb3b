"""What an order would cost at each exchange, by its order book and published fees, for callers without an account."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused
from ..exchanges.models import Rate, Side
from ..exchanges.rules import no_rate
from .best import Offer, Place, best_first, offer
from .market_reads import MOST_LEVELS, read_fresh_book
from .order_views import offer_to_json, rate_to_json
from .places import public_fees, read_market

__all__ = ["PublicMarket", "ranked_rows", "read_public_market"]


class PublicMarket(NamedTuple):
    """A market at an exchange. `no_fee`: why its fee is not known; the place then has none."""

    place: Place
    no_fee: str | None


def read_public_market(exchange: Exchange, id: str, currency: str, asset: str) -> PublicMarket:
    """Return a market with its order book, which has both sides, at the exchange `id`. Raises an ExchangeError."""
    currency, asset = exchange.common_pair(currency, asset)
    market = read_market(exchange, currency, asset)
    book = read_fresh_book(exchange, currency, asset, MOST_LEVELS)
    if not (book.bids and book.asks):
        raise no_rate(exchange.name, currency, asset)
    try:
        taker, no_fee = public_fees(exchange, market).taker, None
    except Refused as error:
        taker, no_fee = Decimal(0), str(error)
    return PublicMarket(Place(0, id, market, book, taker), no_fee)


def ranked_rows(markets: Mapping[str, PublicMarket], side: Side, amount: Decimal) -> list[dict[str, Any]]:
    """Return the row of each exchange, by its id, the best one for this order first, and last those with a reason."""
    offers = best_first(offer(found.place, side, amount=amount) for found in markets.values() if found.no_fee is None)
    without_fee = [offer(found.place, side, amount=amount) for found in markets.values() if found.no_fee is not None]
    return [_row(each, None) for each in offers] + [
        _row(each, markets[each.place.exchange].no_fee) for each in without_fee
    ]


def _row(each: Offer, no_fee: str | None) -> dict[str, Any]:
    book, id = each.place.book, each.place.exchange
    row: dict[str, Any] = {"id": id, "exchange": id, **rate_to_json(Rate(book.asks[0][0], book.bids[0][0], book.time))}
    row |= offer_to_json(each, "published")
    if no_fee is not None:
        row |= {"fee": None, "fee_source": None, "total": None, "reason": each.reason or no_fee}
    return row
