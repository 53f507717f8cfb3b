"""Deposits and withdrawals at Backpack."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ..._addresses import same_address
from ..cursors import page_by_offset
from ..errors import NotListedYet, Refused, Unknown
from ..http import parsing_errors
from ..models import Deposit, DepositAddress, HistoryPage, NewWithdrawal, Withdrawal
from ..parsing import (
    address_and_tag,
    list_of_rows,
    list_or_nothing,
    listed_withdrawals,
    readable_rows,
    required_text,
    time_from_field,
)
from ..rules import network_required, no_such_asset
from .ledger import PAGE, BackpackLedger
from .parsing import MAX_SKEW, deposit_from_row, is_same_withdrawal, open_chain_from_row, withdrawal_from_row

__all__ = ["BackpackFunding"]

#: What is over may be missing in the histories for so long (that they lag is known, not how much).
_LAG = timedelta(seconds=30)


class BackpackFunding(BackpackLedger):
    """The verbs of deposits and withdrawals, and what reads a history back to a time."""

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        chain = self._chain(asset, network, "depositEnabled")
        row = self.api.deposit_address(chain)
        with parsing_errors(self.name):
            address, tag = address_and_tag(required_text(row["address"]))
            return DepositAddress(asset=asset, address=required_text(address), tag=tag, network=chain)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send only to addresses of the account's address book with 2FA switched off: a server has no token to type."""
        if withdrawal.tag is not None:
            raise Refused(f"{self.name} takes no tag with a withdrawal", code="invalid_request")
        chain = self._chain(withdrawal.asset, withdrawal.network, "withdrawEnabled")
        try:
            row = self.api.withdraw(
                withdrawal.address, withdrawal.asset, chain, withdrawal.amount, client_id=withdrawal.client_id
            )
        except Unknown as error:
            if error.refusal is not None and error.refusal.code == "permission_denied":
                # It wants a token. None was sent, so no earlier delivery can have used one up.
                raise error.refusal from error
            raise
        with parsing_errors(self.name, mutates=True):
            made = withdrawal_from_row(row)
            same = (made.asset, made.amount) == (withdrawal.asset, withdrawal.amount)
            if not (same and same_address(row["toAddress"], withdrawal.address)):
                raise ValueError("another withdrawal")
            # It was taken, whatever the word for how far it is.
            return replace(made, status="pending") if made.status == "unknown" else made

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        """Look by its id and in the whole history since then: a send that is found to be missing may be sent again."""
        with parsing_errors(self.name):
            named = list_of_rows(self.api.withdrawals(client_id=client_id))
            for row in itertools.chain(named, self._history_since(since, self.api.withdrawals)):
                if is_same_withdrawal(row, client_id, since, until):
                    return withdrawal_from_row(row)
        self._refuse_too_early(until)
        return None

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        return self._deposits(asset, 0)[0]

    def deposits_page(self, asset: str | None = None, cursor: str | None = None) -> HistoryPage[Deposit]:
        return page_by_offset(self.name, cursor, PAGE, partial(self._deposits, asset))

    def _deposits(self, asset: str | None, offset: int) -> tuple[list[Deposit], int]:
        """Return the deposits of an asset in a page of the list, and how many rows it had."""
        rows = self.api.deposits(limit=PAGE, offset=offset or None)
        with parsing_errors(self.name):
            listed = list_or_nothing(rows)
            found = readable_rows(self.name, listed, deposit_from_row)
        return [deposit for deposit in found if asset in (None, deposit.asset)], len(listed)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self.api.withdrawals(limit=PAGE)
        with parsing_errors(self.name):
            found = listed_withdrawals(self.name, rows, withdrawal_from_row, asset)
        return [withdrawal for withdrawal in found if asset in (None, withdrawal.asset)]

    def _chain(self, asset: str, network: str | None, switch: str) -> str:
        """Return the blockchain called `network`; without one, the only one that the asset has."""
        assets = self._assets()
        if asset not in assets:
            raise no_such_asset(self.name, asset)
        with parsing_errors(self.name):
            is_open = dict(readable_rows(self.name, assets[asset], partial(open_chain_from_row, switch=switch)))
        named = [chain for chain in is_open if network is None or chain.casefold() == network.casefold()]
        fitting = [chain for chain in named if is_open[chain]]
        if named and not fitting:
            self.context.cache.invalidate("assets")
            what = f"{'deposits' if switch == 'depositEnabled' else 'withdrawals'} of {asset} by {', '.join(named)}"
            raise Refused(f"{self.name} takes no {what} now", code="exchange_unavailable", retryable=True)
        if len(fitting) != 1:
            raise network_required(asset, [chain for chain in is_open if is_open[chain]])
        return fitting[0]

    def _history_since(self, created: datetime | None, history: Callable[..., Any]) -> Iterable[Mapping[str, Any]]:
        """Yield the rows of a history, newest first, back to some time before `created`."""
        for offset in range(0, 20 * PAGE, PAGE):
            with parsing_errors(self.name):
                rows = list_of_rows(history(limit=PAGE, offset=offset))
            yield from rows
            with parsing_errors(self.name):
                if len(rows) < PAGE or (created and time_from_field(rows[-1]["createdAt"]) < created - MAX_SKEW):
                    return
        raise Refused(f"{self.name}'s history is too long to look through", code="exchange_unavailable")

    def _refuse_too_early(self, over_since: datetime | None) -> None:
        """Raise NotListedYet when a history had no time yet to show what is nowhere, and was over, or sent, by then.

        None: not even that is known. An order may have come, or may have been over, only a moment before it was missed
        for the first time.
        """
        if over_since is None or datetime.now(UTC) < over_since + _LAG:
            raise NotListedYet(f"{self.name}'s history lags; ask again")
