"""What the transaction of an intent checks: it is locked and read with one question."""

from __future__ import annotations

from typing import Any, NamedTuple

from .accounts import LOCK
from .base import Database
from .credentials import LOCK_LIVE, credential_from_row
from .records import Account, Credential, Registration
from .registrations import BY_ID
from .statements import Statement
from .usage import SUM_PLACED, Placed, placed_from_row, placed_values

__all__ = ["AdmissionStore", "Locked"]


class Locked(NamedTuple):
    """What an account is now, a registration (None: it was deleted), what the account has placed, and a credential
    (None: there is none, or it was revoked).
    """

    account: Account | None
    registration: Registration | None
    placed: Placed
    credential: Credential | None


class AdmissionStore:
    """The admissions of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lock(self, account: int, registration: int, credential: int | None) -> Locked:
        """Return what is asked of a call that places an order, or makes a send. Within a write.

        Until that ends, every other write that locks the account waits, and none changes the account, its
        registrations, or the credential.
        """
        # In this order: what is read after the account was waited for is as it is then.
        asked: list[tuple[Statement, dict[str, Any]]] = [
            (LOCK, {"id": account}),
            (BY_ID, {"id": registration}),
            (SUM_PLACED, placed_values(account)),
        ]
        if credential is not None:
            asked.append((LOCK_LIVE, {"id": credential}))
        with self._database.reading() as runner:
            accounts, registrations, [placed], *credentials = runner.rows_of_each(*asked)
        return Locked(
            Account(**accounts[0]) if accounts else None,
            Registration(**registrations[0]) if registrations else None,
            placed_from_row(placed),
            credential_from_row(credentials[0][0]) if any(credentials) else None,
        )
