"""Transfers on paper: an amount goes from the ledger of one registration to that of another."""

from __future__ import annotations

from ...money import plain
from ..models import Market, NewOrder, NewTransfer
from ..rules import check
from .ledger import LedgerTransaction

__all__ = ["check_amount", "post_transfer"]


def check_amount(transfer: NewTransfer, rules: Market) -> None:
    """Raise Refused for what is no amount of an asset, by its `rules`."""
    check(NewOrder("sell", rules.currency, rules.asset, transfer.client_id, amount=transfer.amount), rules)


def post_transfer(mine: LedgerTransaction, theirs: LedgerTransaction, transfer: NewTransfer) -> int:
    """Move the amount from one ledger to the other, and return the id of the send that says so in the first one."""
    row = {
        "client_id": transfer.client_id,
        "asset": transfer.asset,
        "amount": plain(transfer.amount),
        "address": transfer.address,
    }
    id = mine.add_send(row)
    mine.post_entry("transfer", f"send {id}", transfer.asset, transfer.amount.copy_negate())
    theirs.post_entry("transfer", f"send {id}", transfer.asset, transfer.amount)
    return id
