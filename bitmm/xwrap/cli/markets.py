"""`xwrap rates`, `markets`, `book`, `candles`, `fees` and `best`: what is offered, and what it costs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .arguments import Asset, BackendName, Currency
from .common import stop
from .exits import USAGE
from .http import ProfileName, log_in_by_profile, open_server
from .output import Json, show_record, show_rows

__all__ = ["best", "book", "candles", "fees", "markets", "rates"]


def rates(currency: Currency, asset: Asset, profile: ProfileName = None, as_json: Json = False) -> None:
    """Print the price of an asset at each exchange.

    Columns: exchange, buy (what one unit costs you), sell (what it brings), time. It needs no login.
    """
    with open_server(profile) as xwrap:
        rows = xwrap.exchange_rates(currency, asset)
    show_rows(rows, ("exchange", "buy", "sell", "time"), json=rows if as_json else None)


def markets(backend: BackendName, profile: ProfileName = None, as_json: Json = False) -> None:
    """Print the pairs of an exchange, with their rules and fees.

    Columns: currency, asset, price_step, amount_step, amount_min, cost_min, maker_fee, taker_fee.
    """
    with log_in_by_profile(profile) as login:
        rows = login.backend(backend).markets()
    columns = ("currency", "asset", "price_step", "amount_step", "amount_min", "cost_min", "maker_fee", "taker_fee")
    show_rows(rows, columns, json=rows if as_json else None)


def book(
    backend: BackendName,
    currency: Currency,
    asset: Asset,
    depth: Annotated[int, typer.Option(min=1, max=1000, help="How many prices of each side at most.")] = 20,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print the offers of others in a market.

    Columns: side (ask: of those who sell, bid: of those who buy), price, amount; the best of each side first.
    """
    with log_in_by_profile(profile) as login:
        found = login.backend(backend).order_book(currency, asset, depth=depth)
    levels = [("ask", level) for level in found["asks"]] + [("bid", level) for level in found["bids"]]
    rows = [{"side": side, "price": price, "amount": amount} for side, (price, amount) in levels]
    show_rows(rows, ("side", "price", "amount"), json=found if as_json else None)


def candles(
    backend: BackendName,
    currency: Currency,
    asset: Asset,
    interval: Annotated[str, typer.Option(help="The length of each, as 1m, 1h or 1d.")] = "1h",
    since: Annotated[str | None, typer.Option(help="From when on, as 2026-11-27T00:00:00Z. [default: latest]")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print the prices of intervals, oldest first.

    Columns: time, open, high, low, close, volume. The last interval may still be under way.
    """
    with log_in_by_profile(profile) as login:
        rows = login.backend(backend).candles(currency, asset, interval, since=since, limit=limit)
    show_rows(rows, ("time", "open", "high", "low", "close", "volume"), json=rows if as_json else None)


def fees(
    backend: BackendName, currency: Currency, asset: Asset, profile: ProfileName = None, as_json: Json = False
) -> None:
    """Print what a trade costs now, as parts of its value.

    Fields: maker (of an order that waits in the book), taker (of one that is executed at once), source; 0.0026 is
    0.26 %.
    """
    with log_in_by_profile(profile) as login:
        found = login.backend(backend).fees(currency, asset)
    show_record(found, json=as_json)


def best(
    side: Annotated[Literal["buy", "sell"], typer.Argument(help="What the order would be.", show_default=False)],
    currency: Currency,
    asset: Asset,
    amount: Annotated[str | None, typer.Argument(help="Units of the asset.", show_default=False)] = None,
    cost: Annotated[str | None, typer.Option(help="For a buy instead of an amount: units of the currency.")] = None,
    split: Annotated[bool, typer.Option("--split", help="In which parts it is executed best.")] = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print where an order would be best; order nothing.

    What a market order would cost, or bring, at each of your registrations, the best first. Columns: id, exchange,
    amount, average, spent, fee, total, reason (why it would not be executed there).
    """
    if amount is None and cost is None:
        stop("there is no amount; write: xwrap best buy USD BTC 0.5, or --cost 100", USAGE)
    with log_in_by_profile(profile) as login:
        who = (login.username, login.password)
        rows = login.xwrap.best(currency, asset, *who, side=side, amount=amount, cost=cost, split=split)
    columns = ("id", "exchange", "amount", "average", "spent", "fee", "total", "reason")
    show_rows(rows, columns, json=rows if as_json else None)
