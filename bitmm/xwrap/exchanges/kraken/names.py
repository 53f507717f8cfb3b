"""Kraken's names of assets and pairs, and the common ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ...money import EXACT, parse_decimal
from ..http import PARSING_ERRORS
from ..models import Market
from ..parsing import optional_amount, readable_rows, required_text, step_from_places

__all__ = ["Pair", "Pairs", "assets_from_rows", "balance_name", "former_names", "fraction_of", "pairs_from_rows"]

#: Kraken's altnames that differ from the common names, or clash with another asset's (as ccxt 4.5 maps them).
_COMMON = {
    "XBT": "BTC",
    "XDG": "DOGE",
    "LUNA": "LUNC",
    "LUNA2": "LUNA",
    "UST": "USTC",
    "REPV2": "REP",
    "REP": "REPV1",
}
#: The statuses of a pair that takes no new orders ("Get Tradable Asset Pairs", and the instrument channel of
#: "Spot Websocket v2"). What the others forbid depends on the order, and Kraken says so.
_CLOSED = {"cancel_only", "delisted", "maintenance", "work_in_progress"}
#: Those that may take some later.
_CLOSED_NOW = _CLOSED - {"delisted"}
_PERCENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair by its key ("XXBTZEUR"), its other names ("XBTEUR", "XBT/EUR") and its market, which may be closed."""

    key: str
    other_names: tuple[str, ...]
    market: Market
    takes_orders: bool = True
    #: It takes none now, and may take some later.
    is_closed_now: bool = False
    #: Kraken's own market; others of the same assets are those of partners, for accounts of some countries.
    is_international: bool = True


class Pairs:
    """Every pair that Kraken lists: by each of its names, and by (currency, asset)."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._by_name: dict[str, Pair] = {}
        self._by_market: dict[tuple[str, str], list[Pair]] = {}
        for pair in pairs:
            for name in pair.other_names:
                self._by_name.setdefault(name, pair)
            self._by_market.setdefault((pair.market.currency, pair.market.asset), []).append(pair)
        # A key is one pair's alone.
        self._by_name |= {pair.key: pair for same in self._by_market.values() for pair in same}
        for same in self._by_market.values():
            same.sort(key=lambda pair: (pair.is_international, pair.takes_orders), reverse=True)

    def of_name(self, name: object) -> Pair | None:
        """Return the pair of this name, whether or not it takes orders; None when Kraken lists none."""
        return self._by_name.get(name) if isinstance(name, str) else None

    def listed(self) -> dict[tuple[str, str], Pair]:
        """Return one pair for each (currency, asset): Kraken's own before a partner's, one that takes orders first."""
        return {names: same[0] for names, same in self._by_market.items()}

    def open_ones(self) -> dict[tuple[str, str], Pair]:
        """Return those of `listed` that take orders."""
        return {names: pair for names, pair in self.listed().items() if pair.takes_orders}


def assets_from_rows(rows: Mapping[str, Any]) -> dict[str, str]:
    """Return the common name ("BTC") of each asset by its key ("XXBT"), from the answer to Assets."""
    return dict(
        readable_rows(
            "Kraken", rows.items(), lambda entry: (entry[0], _common_name(required_text(entry[1]["altname"])))
        )
    )


def balance_name(key: str, assets: Mapping[str, str]) -> str:
    """Return the name of a balance line: "XXBT" is BTC, "XBT.S" is BTC.S; what Assets does not list keeps its name."""
    base, dot, suffix = key.partition(".")
    return assets.get(base, _common_name(base)) + dot + suffix


def former_names(currency: str, asset: str, assets: Mapping[str, str]) -> set[str]:
    """Return the keys and altnames that Kraken may have given to a pair that it does not list any more."""

    def names_of(common: str) -> set[str]:
        altnames = {altname for altname, name in _COMMON.items() if name == common}
        return {key for key, name in assets.items() if name == common} | (altnames or {common})

    return {base + quote for base in names_of(asset) for quote in names_of(currency)}


def pairs_from_rows(rows: Mapping[str, Any]) -> Pairs:
    """Return the pairs of the answer to AssetPairs; an odd row is left out."""
    named: dict[str, str] = {}
    for row in rows.values():
        with suppress(*PARSING_ERRORS):
            named |= dict(zip((row["base"], row["quote"]), _names_in_wsname(row), strict=True))
    return Pairs(readable_rows("Kraken", rows.items(), lambda entry: _pair_from_row(*entry, named)))


def fraction_of(percent: object) -> Decimal:
    """Return the fraction that a percentage is: 0.0026 for "0.26"."""
    return EXACT.multiply(parse_decimal(percent), _PERCENT)


def _pair_from_row(key: str, row: Mapping[str, Any], named: Mapping[str, str]) -> Pair:
    """Return a pair: its orders can be read as soon as its names can be; it takes none when its rules cannot be.

    `named`: the common names of assets by their keys, as far as other rows say them.
    """
    altname = required_text(row["altname"])
    is_named = "wsname" in row
    try:
        asset, currency = _names_in_wsname(row)
    except PARSING_ERRORS:
        is_named = False
        asset, currency = _names_in_altname(altname, required_text(row["base"]), required_text(row["quote"]), named)
    maker_fee, taker_fee = _published_fees(row)
    market = Market(currency, asset, maker_fee=maker_fee, taker_fee=taker_fee)
    takes_orders = False
    with suppress(*PARSING_ERRORS):
        market = Market(
            currency=currency,
            asset=asset,
            price_step=optional_amount(row.get("tick_size")) or _optional_step(row.get("pair_decimals")),
            amount_step=_optional_step(row.get("lot_decimals")),
            amount_min=optional_amount(row.get("ordermin")),
            cost_min=optional_amount(row.get("costmin")),
            maker_fee=maker_fee,
            taker_fee=taker_fee,
        )
        # Without a `wsname` it is no open market: the dark pools had none.
        takes_orders = is_named and row.get("status") not in _CLOSED
    is_closed_now = is_named and isinstance(row.get("status"), str) and row["status"] in _CLOSED_NOW
    names = (altname, row["wsname"]) if is_named else (altname,)
    is_international = row.get("execution_venue") in (None, "international")
    return Pair(key, names, market, takes_orders, is_closed_now, is_international)


def _published_fees(row: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return what a maker and a taker pay at the least volume of 30 days, by a row of AssetPairs; None: it is not said.

    "Get Tradable Asset Pairs": `fees` and `fees_maker` have [volume, percentage] each, and a pair whose makers pay what
    takers do has `fees` only.
    """
    with suppress(*PARSING_ERRORS):
        taker = fraction_of(row["fees"][0][1])
        makers = row.get("fees_maker")
        return (fraction_of(makers[0][1]) if makers else taker), taker
    return None, None


def _names_in_wsname(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the common names of asset and currency: the `wsname` has both altnames, "XBT/EUR"."""
    asset, currency = (_common_name(required_text(altname)) for altname in row["wsname"].split("/"))
    return asset, currency


def _names_in_altname(altname: str, base: str, quote: str, named: Mapping[str, str]) -> tuple[str, str]:
    """Return the common names of asset and currency of a pair without a `wsname`.

    The altname is that of the asset and that of the currency, "XBTEUR"; their keys may have a letter in front, "XXBT"
    and "ZEUR". Where neither fits, they are those that other rows say, in `named`.
    """
    # A dark pool is "XBTEUR.d".
    altname = altname.partition(".")[0]
    for asset in (base, base[1:]):
        for currency in (quote, quote[1:]):
            if asset + currency == altname:
                return _common_name(asset), _common_name(currency)
    return named.get(base, _common_name(base)), named.get(quote, _common_name(quote))


def _common_name(altname: str) -> str:
    return _COMMON.get(altname, altname)


def _optional_step(places: object) -> Decimal | None:
    return None if places is None else step_from_places(int(parse_decimal(places)))
