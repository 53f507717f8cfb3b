"""What an exchange can be asked about transfers between accounts of one owner, without an address outside of it."""

from __future__ import annotations

from typing import ClassVar

from .errors import Refused
from .market_data import MarketData
from .models import NewTransfer, TransferState

__all__ = ["Transfers", "check_other_account"]


class Transfers(MarketData):
    """Transfers to another account of the same owner: a sub-account, or the main one. The verbs raise as all others.

    Where an exchange has `find_withdrawal`, that finds transfers, too. Where it has not, one whose outcome is unknown
    is recognised in the ledgers of both accounts, or it stays unknown until its owner decides.
    """

    #: The `description` that `ledger_page` gives to a transfer, and to nothing else; None: it tells them not apart.
    transfer_entry: ClassVar[str | None] = None

    def transfer_account(self) -> str:
        """Return what a transfer to the account of this key calls it."""
        raise self._lacks("transfer")

    def transfer(self, transfer: NewTransfer) -> TransferState:
        """Move an amount from the account of this key with one request and return its state.

        Raises Unknown when it may have been moved. It is never moved twice.
        """
        raise self._lacks("transfer")


def check_other_account(name: str, own: str, transfer: NewTransfer) -> None:
    """Raise Refused when a transfer at the exchange called `name` goes to the account that it comes from."""
    if transfer.address == own:
        raise Refused(
            f"both registrations are of the same account at {name} ({own}); nothing was sent",
            code="invalid_request",
            details={"field": "to"},
        )
