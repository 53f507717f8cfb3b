"""What orders on paper hold, and what is posted into the ledger when one is filled."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ...money import EXACT, exact, plain
from ..models import Level
from ..rules import not_enough
from .executions import Execution
from .ledger import Balance, LedgerTransaction

__all__ = ["available_of", "canceled", "check_available", "given_by", "post_parts"]


def given_by(row: Mapping[str, Any]) -> str:
    """Return what an order gives: the currency of a buy, the asset of a sell."""
    name: str = row["currency"] if row["side"] == "buy" else row["asset"]
    return name


def available_of(transaction: LedgerTransaction, name: str) -> Decimal:
    """Return what is there of a currency or asset and is held by no open order."""
    return transaction.balances.get(name, Balance()).available


def check_available(transaction: LedgerTransaction, name: str, needed: Decimal) -> None:
    """Raise Refused `insufficient_funds` when less of `name` is there than is needed."""
    available = available_of(transaction, name)
    if available < needed:
        raise not_enough(name, needed=needed, available=available)


def canceled(row: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    """Return what is new in the row of an order that ends before all of it was filled."""
    status = "partly_filled" if exact(row["filled"] or "0") else "canceled"
    return {"status": status, "held": "0", "reason": reason}


def post_parts(
    transaction: LedgerTransaction, row: Mapping[str, Any], before: Execution, parts: tuple[Level, ...], fee: Decimal
) -> None:
    """Post what these parts of an order move, in all, and each as a fill; `before`: what was executed of it before.

    The row has what was posted before. `fee` is the fraction of their value that is paid.
    """
    reference, currency, asset = f"order {row['id']}", row["currency"], row["asset"]
    running, fee_before = before, exact(row["fee"] or "0")
    posted_fee = fee_before
    for part in parts:
        running = running.and_parts([part], fee)
        price, amount = part
        fill = {"order_id": row["id"], "price": plain(price), "amount": plain(amount)}
        fee_now = running.fee
        transaction.add_fill({**fill, "fee": plain(EXACT.subtract(fee_now, posted_fee))})
        posted_fee = fee_now
    amount = EXACT.subtract(running.filled, before.filled)
    spent = EXACT.subtract(running.spent, exact(row["spent"] or "0"))
    if row["side"] == "buy":
        transaction.post_entry("buy", reference, currency, spent.copy_negate())
        transaction.post_entry("buy", reference, asset, amount)
    else:
        transaction.post_entry("sell", reference, asset, amount.copy_negate())
        transaction.post_entry("sell", reference, currency, spent)
    charged = EXACT.subtract(posted_fee, fee_before)
    transaction.post_entry("fee", reference, currency, charged.copy_negate())
