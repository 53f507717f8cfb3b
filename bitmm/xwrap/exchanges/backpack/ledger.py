"""What moved an account's money at Backpack: its trades, deposits and sends, in the order of their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ...money import EXACT, parse_decimal
from ..account_history import EntryKind, LedgerEntry
from ..cursors import numbers_of
from ..errors import Refused
from ..http import parsing_errors
from ..models import HistoryPage
from ..parsing import id_from_number, list_of_rows, list_or_nothing, optional, required_text, time_from_field
from .market_data import BackpackMarkets
from .parsing import deposit_from_row, fill_from_row, withdrawal_from_row

__all__ = ["PAGE", "BackpackLedger", "entries_of_fill"]

#: The most rows that a history gives at once.
PAGE = 1000
#: How many pages of deposits or sends of one time are read.
_MOST_PAGES = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = Decimal(0)


class BackpackLedger(BackpackMarkets):
    """The verb about all that moved the account's money, as far as Backpack lists it."""

    def ledger_page(self, since: datetime | None, cursor: str | None = None) -> HistoryPage[LedgerEntry]:
        """Return what there was from a time on until the last of a page of trades; the cursor has that time, in ms.

        What was lent, borrowed or staked, and futures, have histories of their own, which are not read here. A deposit
        is there when it is done, with the time at which it began.
        """
        if cursor is not None:
            [start] = numbers_of(self.name, cursor, 1)
        else:
            start = 0 if since is None else max(_milliseconds(since), 0)
        answer = self.api.fill_history(start=start or None, limit=PAGE, fill_type=None, oldest_first=True)
        with parsing_errors(self.name):
            fills = list_or_nothing(answer)
            end = _milliseconds(time_from_field(fills[-1]["timestamp"])) if len(fills) >= PAGE else None
            entries = [entry for row in fills for entry in entries_of_fill(row)]
            if end is not None and not any(_milliseconds(entry.time) < end for entry in entries):
                raise Refused(f"{self.name} has more than {PAGE} trades of one moment", code="history_unavailable")
            entries += [entry for row in self._transfers(self.api.deposits, start, end) for entry in _of_deposit(row)]
            entries += [_of_withdrawal(row) for row in self._transfers(self.api.withdrawals, start, end)]
        is_wanted = [
            (end is None or _milliseconds(entry.time) < end) and (since is None or entry.time >= since)
            for entry in entries
        ]
        rows = sorted((entry for entry, wanted in zip(entries, is_wanted, strict=True) if wanted), key=_time)
        return HistoryPage(rows, None if end is None else str(end))

    def _transfers(self, history: Callable[..., Any], start: int, end: int | None) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a list of transfers between two times, newest first."""
        for page in range(_MOST_PAGES):
            rows = list_of_rows(history(limit=PAGE, offset=page * PAGE or None, start=start or None, end=end))
            yield from rows
            if len(rows) < PAGE:
                return
        raise Refused(f"{self.name}'s list of transfers is too long to read", code="history_unavailable")


def entries_of_fill(row: Mapping[str, Any]) -> list[LedgerEntry]:
    """Return what a trade moved: the asset, the currency, and what else its fee counts. A future moves neither.

    Where the row does not tell its fee, those of its entries are not known.

    Raises ValueError where the row cannot be read.
    """
    if required_text(row["symbol"]).count("_") != 1:
        return []
    fill = fill_from_row(row)
    sign = 1 if fill.side == "buy" else -1
    moved = {
        fill.asset: EXACT.multiply(fill.amount, Decimal(sign)),
        fill.currency: EXACT.multiply(EXACT.multiply(fill.amount, fill.price), Decimal(-sign)),
    }
    fee = optional(parse_decimal, row.get("fee"))
    fee_asset = required_text(row["feeSymbol"]) if fee else None
    no_fee = None if fee is None else _ZERO
    # A trade has an id in its market alone, and is twice in the history of who trades with himself.
    reference = f"{fill.exchange_order_id or row['symbol']}-{fill.id}"
    word = row.get("systemOrderType") or "fill"

    def entry(asset: str, amount: Decimal, taken: Decimal | None) -> LedgerEntry:
        kind: EntryKind = "fill" if asset in moved else "fee"
        id = f"fill-{reference}:{asset}"
        return LedgerEntry(id, fill.time, kind, asset, amount, taken, reference=reference, description=str(word))

    entries = [entry(asset, amount, fee if asset == fee_asset else no_fee) for asset, amount in moved.items()]
    if fee is not None and fee_asset is not None and fee_asset not in moved:
        entries.append(entry(fee_asset, fee.copy_negate(), _ZERO))
    return entries


def _of_deposit(row: Mapping[str, Any]) -> list[LedgerEntry]:
    """Return what a deposit moved; nothing before it is done."""
    deposit = deposit_from_row(row)
    if deposit.status != "done":
        return []
    time, reference = time_from_field(row["createdAt"]), deposit.id
    return [
        LedgerEntry(f"deposit-{reference}", time, "deposit", deposit.asset, deposit.amount, _ZERO, reference=reference)
    ]


def _of_withdrawal(row: Mapping[str, Any]) -> LedgerEntry:
    """Return what a send moved. Its `quantity` is what the caller asked for, of which the fee is taken."""
    sent, time, id = withdrawal_from_row(row), time_from_field(row["createdAt"]), id_from_number(row["id"])
    fee = sent.fee or _ZERO
    amount = None if sent.amount is None else EXACT.subtract(fee, sent.amount)
    return LedgerEntry(
        f"withdrawal-{id}",
        time,
        "withdrawal",
        sent.asset,
        amount,
        None if amount is None else fee,
        reference=id,
        description=None if row.get("status") is None else str(row["status"]),
    )


def _milliseconds(time: datetime) -> int:
    """Return the whole milliseconds from 1970 to a time."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _time(entry: LedgerEntry) -> datetime:
    return entry.time
