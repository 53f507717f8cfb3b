"""Kraken's names of assets and pairs, and the common ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...money import parse_decimal
from ..models import Market
from ..parsing import step_from_places

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


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair by its key ("XXBTZEUR"), its altname ("XBTEUR") and its market, which may take no orders any more."""

    key: str
    altname: str
    market: Market
    takes_orders: bool = True


def _common_name(altname: str) -> str:
    return _COMMON.get(altname, altname)


def assets_from_rows(rows: Mapping[str, Any]) -> dict[str, str]:
    """Return the common name ("BTC") of each asset by its key ("XXBT"), from the answer to Assets."""
    return {key: _common_name(row["altname"]) for key, row in rows.items()}


def pairs_from_rows(rows: Mapping[str, Any]) -> dict[tuple[str, str], Pair]:
    """Return the pairs by (currency, asset), from the answer to AssetPairs.

    The `wsname` has both altnames, "XBT/EUR"; a pair without one is no open market.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    for key, row in rows.items():
        if "wsname" not in row:
            continue
        asset, currency = (_common_name(altname) for altname in row["wsname"].split("/"))
        pair = Pair(
            key=key,
            altname=row["altname"],
            market=Market(
                currency=currency,
                asset=asset,
                price_step=parse_decimal(row["tick_size"])
                if "tick_size" in row
                else step_from_places(row["pair_decimals"]),
                amount_step=step_from_places(row["lot_decimals"]),
                amount_min=parse_decimal(row["ordermin"]) if "ordermin" in row else None,
                cost_min=parse_decimal(row["costmin"]) if "costmin" in row else None,
            ),
            takes_orders=row.get("status") != "cancel_only",
        )
        if pair.takes_orders or (currency, asset) not in pairs:
            pairs[currency, asset] = pair
    return pairs


def balance_name(key: str, assets: Mapping[str, str]) -> str:
    """Return the name of a balance line: "XXBT" is BTC, "XBT.F" is BTC.F; what Assets does not list keeps its name."""
    base, dot, suffix = key.partition(".")
    return assets.get(base, _common_name(base)) + dot + suffix
