"""What moved an account's money at Kraken: every row of its ledger, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...money import parse_decimal
from ..account_history import EntryKind, LedgerEntry
from ..cursors import numbers_of
from ..errors import Refused
from ..http import PARSING_ERRORS, parsing_errors
from ..models import HistoryPage
from ..parsing import required_text, time_from_seconds
from .history import KrakenHistory
from .names import balance_name
from .parsing import CREDITS, count_of, shown_rows

__all__ = ["KrakenLedger", "entry_from_row"]

#: A page of Ledgers ("Get Ledgers Info"), newest first.
_PAGE = 50
#: How often a page is asked for when the list grows meanwhile.
_TRIES = 4
#: "Get Ledgers Info", type of an entry, and support.kraken.com, "How to interpret Ledger history fields". What is not
#: here is "other", with its word in `description`: as what margin trades bring, and conversions after a delisting.
_KINDS: dict[str, EntryKind] = {
    "deposit": "deposit",
    "withdrawal": "withdrawal",
    **dict.fromkeys(("trade", "spend", "receive", "conversion"), "fill"),
    # A charge for a margin trade.
    "rollover": "fee",
    "transfer": "transfer",
    **dict.fromkeys(("staking", "reward", "dividend", "invite bonus"), "reward"),
}
#: The subtypes of "earn", which is all that is about staking and rewards since 2024.
_EARN_KINDS: dict[str, EntryKind] = {
    "reward": "reward",
    **dict.fromkeys(("allocation", "deallocation", "autoallocation"), "transfer"),
}

_Rows = Mapping[str, Mapping[str, Any]]


class KrakenLedger(KrakenHistory):
    """The verb about all that moved the account's money."""

    def ledger_page(self, since: datetime | None, cursor: str | None = None) -> HistoryPage[LedgerEntry]:
        """Return a page of Ledgers, the one at the old end first.

        Kraken lists the newest rows first. The cursor has the `end` of the list, Kraken's second after the newest row
        at the first page, so that later rows are not in it; the place of the page; and how many rows there were.
        """
        # `start` is exclusive and counts whole seconds.
        start = None if since is None else max(int(since.timestamp()) - 1, 0)
        if cursor is None:
            rows, count = self._read_ledger({"start": start, "end": None, "ofs": None})
            if not rows:
                return HistoryPage([], None)
            with parsing_errors(self.name):
                end = max(int(parse_decimal(row["time"])) for row in rows.values()) + 1
            offset = (count - 1) // _PAGE * _PAGE
        else:
            end, offset, count = numbers_of(self.name, cursor, 3)
        if cursor is not None or offset:
            rows, offset, count = self._read_place({"start": start, "end": end}, offset, count)
        with parsing_errors(self.name):
            entries = [entry_from_row(id, row, self._assets()) for id, row in rows.items() if row["asset"] != CREDITS]
        # Rows of one time are listed newest first, too.
        entries.reverse()
        entries.sort(key=lambda entry: entry.time)
        wanted = [entry for entry in entries if since is None or entry.time >= since]
        return HistoryPage(wanted, f"{end}:{max(offset - _PAGE, 0)}:{count}" if offset else None)

    def _read_place(self, asked: Mapping[str, int | None], offset: int, count: int) -> tuple[_Rows, int, int]:
        """Return the page at `offset` of a list that had `count` rows, where it is now, and how many rows there are.

        Rows that came since stand before it, so it is asked for again as much farther back. Raises Refused when the
        list goes on growing.
        """
        for _ in range(_TRIES):
            rows, found = self._read_ledger({**asked, "ofs": offset})
            if found == count:
                with parsing_errors(self.name):
                    if len(rows) != min(_PAGE, max(count - offset, 0)):
                        raise ValueError("a page with another number of rows than it must have")
                return rows, offset, count
            offset, count = max(offset + found - count, 0), found
        raise Refused(
            f"the ledger at {self.name} changes while it is read; go on a second later",
            code="exchange_unavailable",
            retryable=True,
        )

    def _read_ledger(self, parameters: Mapping[str, int | None]) -> tuple[_Rows, int]:
        """Return the rows of a page of Ledgers by their ids, and how many the whole list has."""
        result = self.api.private("Ledgers", parameters)
        with parsing_errors(self.name):
            rows = shown_rows(result, "ledger")
            count = count_of(result) if rows else 0
            if count is None:
                raise ValueError("how many rows there are is not said")
            return rows, count


def entry_from_row(id: str, row: Mapping[str, Any], assets: Mapping[str, str]) -> LedgerEntry:
    """Return a row of Ledgers. Its `fee` is taken beside its `amount`, both of the same asset ("Get Ledgers Info").

    A line of rewards (`XBT.F`) counts to its asset, as in `funds`; its `balance` is a part of what is owned then, and
    left out. Raises ValueError where time, asset or kind cannot be read.
    """
    key, word = required_text(row["asset"]), required_text(row["type"])
    amount, fee = _amounts(row)
    is_part = key.endswith(".F")
    subtype = row["subtype"] if isinstance(row.get("subtype"), str) else ""
    return LedgerEntry(
        id=id,
        time=time_from_seconds(row["time"]),
        kind=(_EARN_KINDS.get(subtype) if word == "earn" else _KINDS.get(word)) or "other",
        asset=balance_name(key.removesuffix(".F"), assets),
        amount=amount,
        fee=fee,
        balance=None if is_part or amount is None or row.get("balance") is None else parse_decimal(row["balance"]),
        reference=required_text(row["refid"]) if row.get("refid") not in (None, "", "Unknown") else None,
        description=f"{word}, {subtype}" if subtype.strip() else word,
    )


def _amounts(row: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return amount and fee; None for both where one of them is not understood."""
    try:
        return parse_decimal(row["amount"]), parse_decimal(row["fee"])
    except PARSING_ERRORS:
        return None, None
