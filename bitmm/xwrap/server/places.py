"""What an exchange says of one market, for the choice of the best place; see `best`."""

from __future__ import annotations

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused, Unsupported
from ..exchanges.models import Fees, Market, Side
from ..exchanges.rules import find_market
from .best import Place
from .market_reads import MOST_LEVELS, read_fees, read_fresh_book

__all__ = ["public_fees", "read_market", "read_place"]


def read_place(exchange: Exchange, id: int, currency: str, asset: str, side: Side) -> tuple[Place, Fees]:
    """Return the place of a registration with this id, and whose fees it counts. Raises an ExchangeError.

    `currency` and `asset` may be written in any way that the exchange takes.
    """
    currency, asset = exchange.common_pair(currency, asset)
    market = read_market(exchange, currency, asset)
    try:
        fees = read_fees(exchange, currency, asset)
    except Unsupported:
        fees = public_fees(exchange, market)
    book = read_fresh_book(exchange, currency, asset, MOST_LEVELS)
    try:
        funds = exchange.funds().get(currency if side == "buy" else asset)
    except Unsupported:
        available = None
    else:
        available = None if funds is None else funds.available
    return Place(id, exchange.id, market, book, fees.taker, available), fees


def read_market(exchange: Exchange, currency: str, asset: str) -> Market:
    """Return a market with its rules; without any where the exchange lists none. Raises Refused `unknown_market`."""
    try:
        markets = exchange.markets()
    except Unsupported:
        return Market(currency, asset)
    return find_market(exchange.name, currency, asset, {(one.currency, one.asset): one for one in markets})


def public_fees(exchange: Exchange, market: Market) -> Fees:
    """Return the fees that a list of markets tells. Raises Refused where it does not."""
    if market.taker_fee is None:
        raise Refused(f"{exchange.name} does not tell its fees, so what an order costs there is not known")
    return Fees(market.taker_fee if market.maker_fee is None else market.maker_fee, market.taker_fee, "published")
