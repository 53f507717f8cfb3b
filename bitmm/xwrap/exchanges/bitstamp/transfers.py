"""Which of Bitstamp's calls moves an amount between the main account and a sub-account."""

from __future__ import annotations

from ..errors import Refused
from ..models import NewTransfer
from ..transfers import check_other_account

__all__ = ["MAIN", "transfer_call"]

#: What the main account is called here: it has no number.
MAIN = "main"


def transfer_call(name: str, own: str, transfer: NewTransfer) -> tuple[str, str | None]:
    """Return the path of a transfer from the account `own`, and the number of the sub-account that it names.

    Documentation, "Sub account", 2026-11-27. Raises Refused for two main accounts and for two sub-accounts.
    """
    if own == transfer.address == MAIN:
        raise Refused(
            f"neither registration says that it is of a sub-account at {name}; give that one its number there, in the"
            " field 'subaccount'; nothing was sent",
            code="invalid_request",
            details={"field": "to"},
        )
    check_other_account(name, own, transfer)
    if own == MAIN:
        return "transfer-from-main", transfer.address
    if transfer.address == MAIN:
        return "transfer-to-main", None
    raise Refused(
        f"{name} moves between the main account and a sub-account, and not from one sub-account to another; nothing was"
        " sent",
        code="unsupported",
        details={"field": "to"},
    )
