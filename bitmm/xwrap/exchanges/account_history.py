"""The part of the contract that is about what moved an account's money, page by page. `base.py` has the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from .market_data import MarketData
from .models import Deposit, HistoryPage

__all__ = ["AccountHistory", "EntryKind", "LedgerEntry"]

#: deposit, withdrawal: what came from, or left for, a place outside the exchange; and one that is taken back, with the
#: other sign. fill: a side of a trade. fee: what was taken by itself. transfer: between one's own accounts at the
#: exchange. reward: what was earned, as by staking. other: all else.
EntryKind = Literal["deposit", "withdrawal", "fill", "fee", "transfer", "reward", "other"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What moved the balance of one asset: it is `amount` minus `fee` more than before.

    `amount` is below zero for what left. `fee` counts the asset, too, and is below zero for one that is given back.
    None: the exchange does not say, or not so that it is understood, and from then on nothing adds up. `balance`: what
    is owned of the asset afterwards, where the exchange says it. `reference`: what the exchange calls the trade, the
    deposit or the send that this belongs to; the entries of one trade share it. `description`: the exchange's word for
    the kind.
    """

    id: str
    time: datetime
    kind: EntryKind
    asset: str
    amount: Decimal | None
    fee: Decimal | None
    balance: Decimal | None = None
    reference: str | None = None
    description: str | None = None


class AccountHistory(MarketData):
    """The verbs about an account's history, beside those about markets."""

    def deposits_page(self, asset: str | None = None, cursor: str | None = None) -> HistoryPage[Deposit]:
        """Return a part of all that came in, newest first: the latest, or that where the `cursor` leads.

        What comes meanwhile may let rows come again; it leaves none out. Raises Refused for a cursor that is none of
        this exchange.
        """
        raise self._lacks("deposits_page")

    def ledger_page(self, since: datetime | None, cursor: str | None = None) -> HistoryPage[LedgerEntry]:
        """Return a part of all that moved the account's money at or after `since`, oldest first: the first part, or
        that where the `cursor` leads.

        All pages are asked for with one `since`. What comes meanwhile may let rows come again, with their ids; it
        leaves none out. Raises Refused for a cursor that is none of this exchange.
        """
        raise self._lacks("ledger_page")
