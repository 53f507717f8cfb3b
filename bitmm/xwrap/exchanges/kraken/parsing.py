"""Kraken's rows of orders, executions, balances and transfers, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ...money import EXACT, mean, parse_decimal, parse_unsigned
from ..models import Deposit, Fill, Funds, OrderRef, OrderState, Side, Status, Withdrawal
from ..orders import check_same_order
from ..parsing import required_text, time_from_seconds
from .names import Pair, balance_name

_ORDER_STATUS: dict[str, Status] = {"pending": "open", "open": "open", "closed": "filled"}
_OVER = {"canceled", "expired"}
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_TRANSFER_STATUS: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("Initial", "Pending", "Settled"), "pending"),
    "Success": "done",
    "Failure": "failed",
}


def only_entry(rows: Any) -> Any:
    """Return the single entry of a list or dict: Kraken answers by another name than it was asked for."""
    [row] = rows.values() if isinstance(rows, dict) else rows
    return row


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
