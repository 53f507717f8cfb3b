"""Kraken's rows and names, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from ...money import EXACT, mean, parse_decimal, parse_unsigned
from ..models import (
    Fill,
    Funds,
    Market,
    OrderState,
    Side,
    Status,
)

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
    key: str
    altname: str
    market: Market


def _common_name(altname: str) -> str:
    return _COMMON.get(altname, altname)


def assets_from_rows(rows: Mapping[str, Any]) -> dict[str, str]:
    return {key: _common_name(row["altname"]) for key, row in rows.items()}


def pairs_from_rows(rows: Mapping[str, Any]) -> dict[tuple[str, str], Pair]:
    """The `wsname` has both altnames, "XBT/EUR"; a pair without one is no open market."""
    pairs = {}
    for key, row in rows.items():
        if "wsname" not in row or row.get("status") == "cancel_only":
            continue
        asset, currency = (_common_name(altname) for altname in row["wsname"].split("/"))
        pairs[currency, asset] = Pair(
            key=key,
            altname=row["altname"],
            market=Market(
                currency=currency,
                asset=asset,
                price_step=parse_decimal(row["tick_size"]) if "tick_size" in row else _step(row["pair_decimals"]),
                amount_step=_step(row["lot_decimals"]),
                amount_min=parse_decimal(row["ordermin"]) if "ordermin" in row else None,
                cost_min=parse_decimal(row["costmin"]) if "costmin" in row else None,
            ),
        )
    return pairs


def _step(places: int) -> Decimal:
    return Decimal((0, (1,), -places))


_STATUS: dict[str, Status] = {"pending": "open", "open": "open", "closed": "filled"}
_OVER = {"canceled", "expired"}
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_MOVED: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("Initial", "Pending", "Settled"), "pending"),
    "Success": "done",
    "Failure": "failed",
}


def only_entry(rows: Any) -> Any:
    """The single thing in a list, or the single value of a dict: Kraken answers by another name than it was asked."""
    [row] = rows.values() if isinstance(rows, dict) else rows
    return row


def _text(value: object) -> str:
    if not (isinstance(value, str) and value):
        raise ValueError("no text")
    return value


def _time(seconds: object) -> datetime:
    microseconds = int(EXACT.multiply(parse_decimal(seconds), Decimal(1_000_000)))
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def balance_name(key: str, assets: Mapping[str, str]) -> str:
    """The name of a balance line: "XXBT" is BTC, "XBT.F" is BTC.F; what Assets does not list keeps its name."""
    base, dot, suffix = key.partition(".")
    return assets.get(base, _common_name(base)) + dot + suffix


def funds_from_row(row: Mapping[str, Any]) -> Funds:
    """By "Get Extended Balance", available = balance + credit - credit_used - hold_trade."""
    total, held = parse_unsigned(row["balance"]), parse_unsigned(row.get("hold_trade", 0))
    credit = EXACT.subtract(parse_unsigned(row.get("credit", 0)), parse_unsigned(row.get("credit_used", 0)))
    return Funds(total=total, available=EXACT.subtract(EXACT.add(total, credit), held), held=held)


def order_from_row(txid: str, row: Mapping[str, Any], pairs: Mapping[tuple[str, str], Pair]) -> OrderState:
    """An order object of QueryOrders, OpenOrders or ClosedOrders; `descr.pair` is the altname."""
    about, flags = row["descr"], row["oflags"].split(",")
    market = next((pair.market for pair in pairs.values() if about["pair"] in (pair.altname, pair.key)), None)
    currency, asset = (None, None) if market is None else (market.currency, market.asset)
    filled, spent = parse_unsigned(row["vol_exec"]), parse_unsigned(row["cost"])
    if (status := _STATUS.get(row["status"])) is None:
        if row["status"] not in _OVER:
            raise ValueError(f"status {row['status']!r}")
        status = "partly_filled" if filled else "canceled"
    return OrderState(
        exchange_order_id=txid,
        status=status,
        side=_SIDES[about["type"]],
        currency=currency,
        asset=asset,
        # With `viqc` the volume counts the currency.
        amount=None if "viqc" in flags else parse_unsigned(row["vol"]),
        price=parse_unsigned(about["price"]) if about["ordertype"] in ("limit", "iceberg") else None,
        filled=filled,
        average=mean(spent, filled),
        spent=spent,
        fee=parse_unsigned(row["fee"]),
        fee_currency=currency if "fciq" in flags else asset if "fcib" in flags else None,
        client_id=_client_id(row.get("cl_ord_id")),
        created=_time(row["opentm"]),
    )


def _client_id(told: str | None) -> str | None:
    """Kraken takes a UUID with and without dashes; ours has none."""
    return told.replace("-", "").lower() if told and len(told) == 36 else told


def fill_from_row(id: str, row: Mapping[str, Any], pair: Pair) -> Fill:
    return Fill(
        id=id,
        exchange_order_id=row["ordertxid"],
        side=_SIDES[row["type"]],
        currency=pair.market.currency,
        asset=pair.market.asset,
        amount=parse_unsigned(row["vol"]),
        price=parse_unsigned(row["price"]),
        fee=parse_unsigned(row["fee"]),
        fee_currency=pair.market.currency,
        time=_time(row["time"]),
    )


def tag_from_row(row: Mapping[str, Any]) -> str | None:
    """Seen as `tag` (XRP) and as `memo` (EOS and its like)."""
    return row.get("tag") or row.get("memo")
