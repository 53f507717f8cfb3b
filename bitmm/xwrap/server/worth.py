"""What accounts are worth, kept once a day: when their owners ask, else by a round of the server's own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from functools import partial

from ..exchanges.errors import ExchangeError
from .db.errors import UNUSABLE, driver_message
from .db.records import Caller, Registration
from .db.store import Store
from .problems import Problem
from .registry import ExchangeRegistry
from .rounds import Rounds
from .shares import account_holder
from .threads import ThreadPools
from .valuation import Valuation, add_up, read_valuation
from .vault import VaultError

__all__ = ["DailyWorth", "keep_worth"]

_log = logging.getLogger(__name__)

_SECONDS = 3600.0


async def keep_worth(
    store: Store, threads: ThreadPools, caller: Caller, currency: str, found: Sequence[Valuation | None]
) -> None:
    """Keep what an account is worth in `currency` (a common name) today; None: an exchange did not answer.

    Not of a credential that sees a part of the account only. That it cannot be written is logged only.
    """
    if not _sees_all(caller):
        return
    account = caller.account.id
    try:
        await threads.run(
            "database",
            partial(_write_worth, store, account, currency, found, asked=True),
            holders=(account_holder(account),),
        )
    except (*UNUSABLE, Problem) as error:
        _log.warning("what account %d is worth could not be written: %s", account, driver_message(error))


def _sees_all(caller: Caller) -> bool:
    return caller.credential is None or caller.credential.exchanges is None


def _write_worth(store: Store, account: int, currency: str, found: Sequence[Valuation | None], *, asked: bool) -> None:
    known = [valuation for valuation in found if valuation is not None]
    total = add_up(known).total
    # Zero is also what an account with other things has in a currency that no exchange trades.
    if total:
        store.worth.write(account, currency, total, complete=len(known) == len(found), asked=asked)


class DailyWorth:
    """Values the accounts whose owners asked lately and not yet today, in a thread of its own, once an hour.

    The registrations are asked one after the other, as reads of their keys, which go last.
    """

    def __init__(self, store: Store, registry: ExchangeRegistry) -> None:
        self._store = store
        self._registry = registry
        # Not at the start of the server, and not at the same moment in each of several.
        self._first = _SECONDS / 60 * (1 + secrets.randbelow(60))
        self._rounds = Rounds("worth", {"daily": self._run}, lambda: _SECONDS)

    def start(self) -> None:
        """Value them from now on, as long as the server runs."""
        self._rounds.start()

    def stop(self) -> None:
        """End; what was not valued today is valued by the next server."""
        self._rounds.stop()

    def _run(self) -> None:
        first, self._first = self._first, 0.0
        if not self._rounds.stopping.wait(first):
            self.value_due()

    def value_due(self) -> None:
        """Value the accounts that have no row of today, in each currency that their owners asked for lately."""
        for name, currency in self._store.worth.due():
            account = self._store.accounts.find(name)
            if self._rounds.stopping.is_set():
                return
            if account is None:
                continue
            rows = self._store.registrations.of_account(account.id, active_only=True)
            _write_worth(self._store, account.id, currency, [self._value(row, currency) for row in rows], asked=False)

    def _value(self, registration: Registration, currency: str) -> Valuation | None:
        try:
            with self._registry.open(registration) as exchange:
                return read_valuation(exchange, currency)
        except (ExchangeError, Problem, VaultError) as error:
            _log.info("registration %d was not valued: %s", registration.id, error)
            return None
