"""Kraken's rows and names, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...money import EXACT, mean, parse_decimal, parse_unsigned
from ..models import Deposit, Fill, Funds, Market, OrderRef, OrderState, Side, Status, Withdrawal
from ..orders import check_same_order
from ..parsing import required_text, step_from_places, time_from_seconds

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
_ORDER_STATUS: dict[str, Status] = {"pending": "open", "open": "open", "closed": "filled"}
_OVER = {"canceled", "expired"}
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_TRANSFER_STATUS: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("Initial", "Pending", "Settled"), "pending"),
    "Success": "done",
    "Failure": "failed",
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


def only_entry(rows: Any) -> Any:
    """Return the single entry of a list or dict: Kraken answers by another name than it was asked for."""
    [row] = rows.values() if isinstance(rows, dict) else rows
    return row


def balance_name(key: str, assets: Mapping[str, str]) -> str:
    """Return the name of a balance line: "XXBT" is BTC, "XBT.F" is BTC.F; what Assets does not list keeps its name."""
    base, dot, suffix = key.partition(".")
    return assets.get(base, _common_name(base)) + dot + suffix


def funds_from_row(row: Mapping[str, Any]) -> Funds:
    """Return a row of BalanceEx. By "Get Extended Balance", available = balance + credit - credit_used - hold_trade."""
    total, held = parse_unsigned(row["balance"]), parse_unsigned(row.get("hold_trade", 0))
    credit = EXACT.subtract(parse_unsigned(row.get("credit", 0)), parse_unsigned(row.get("credit_used", 0)))
    return Funds(total=total, available=EXACT.subtract(EXACT.add(total, credit), held), held=held)


def has_no_nonce_window(info: Mapping[str, Any]) -> bool:
    """Return whether the key of this answer to GetApiKeyInfo takes rising nonces only."""
    return parse_decimal(info["nonce_window"]) == 0


def order_from_row(
    txid: str, row: Mapping[str, Any], pairs: Mapping[tuple[str, str], Pair], ref: OrderRef | None = None
) -> OrderState:
    """Return the order of an object of QueryOrders, OpenOrders or ClosedOrders; `descr.pair` is the altname.

    The market of a pair that Kraken does not list any more is that of `ref`. Raises ValueError when it is not the order
    of `ref`.
    """
    description, flags = row["descr"], row["oflags"].split(",")
    market = next((pair.market for pair in pairs.values() if description["pair"] in (pair.altname, pair.key)), None)
    names = market or ref
    currency, asset = (None, None) if names is None else (names.currency, names.asset)
    filled, spent = parse_unsigned(row["vol_exec"]), parse_unsigned(row["cost"])
    if (status := _ORDER_STATUS.get(row["status"])) is None:
        if row["status"] not in _OVER:
            raise ValueError(f"status {row['status']!r}")
        status = "partly_filled" if filled else "canceled"
    state = OrderState(
        exchange_order_id=txid,
        status=status,
        side=_SIDES[description["type"]],
        currency=currency,
        asset=asset,
        # With `viqc` the volume counts the currency.
        amount=None if "viqc" in flags else parse_unsigned(row["vol"]),
        price=parse_unsigned(description["price"]) if description["ordertype"] in ("limit", "iceberg") else None,
        filled=filled,
        average=mean(spent, filled),
        spent=spent,
        fee=parse_unsigned(row["fee"]),
        fee_currency=_fee_currency(flags, currency, asset),
        client_id=client_id_from_row(row),
        created=time_from_seconds(row["opentm"]),
    )
    if ref is not None:
        check_same_order(state, ref)
    return state


def _fee_currency(flags: list[str], currency: str | None, asset: str | None) -> str | None:
    """Return what the fee counts: "fciq" asks for it in the currency, "fcib" in the asset."""
    if "fciq" in flags:
        return currency
    if "fcib" in flags:
        return asset
    return None


def client_id_from_row(row: Mapping[str, Any]) -> str | None:
    """Return our client id: Kraken takes a UUID with and without dashes, and ours has none.

    Raises ValueError for what is no client id.
    """
    if row.get("cl_ord_id") in (None, ""):
        return None
    cl_ord_id = required_text(row["cl_ord_id"])
    return cl_ord_id.replace("-", "").lower() if len(cl_ord_id) == 36 else cl_ord_id


def fill_from_row(id: str, row: Mapping[str, Any], pair: Pair) -> Fill:
    """Return the fill of an object of TradesHistory."""
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
        time=time_from_seconds(row["time"]),
    )


def tag_from_row(row: Mapping[str, Any]) -> str | None:
    """Return the tag of an address: seen as `tag` (XRP) and as `memo` (EOS and its like)."""
    return row.get("tag") or row.get("memo")


def deposit_from_row(row: Mapping[str, Any], assets: Mapping[str, str]) -> Deposit:
    """Return a row of DepositStatus."""
    return Deposit(
        id=required_text(row["refid"]),
        asset=balance_name(row["asset"], assets),
        amount=parse_unsigned(row["amount"]),
        # "return": Kraken sends it back.
        status="failed" if row.get("status-prop") == "return" else _TRANSFER_STATUS.get(row["status"], "pending"),
        address=row.get("info"),
        network=row.get("method"),
        txid=row.get("txid"),
        time=time_from_seconds(row["time"]),
    )


def withdrawal_from_row(row: Mapping[str, Any], assets: Mapping[str, str]) -> Withdrawal:
    """Return a row of WithdrawStatus."""
    return Withdrawal(
        id=required_text(row["refid"]),
        asset=balance_name(row["asset"], assets),
        amount=parse_unsigned(row["amount"]),
        status=_TRANSFER_STATUS.get(row["status"], "unknown"),
        address=row.get("info"),
        network=row.get("method"),
        fee=parse_unsigned(row["fee"]) if "fee" in row else None,
        txid=row.get("txid"),
        created=time_from_seconds(row["time"]),
    )
