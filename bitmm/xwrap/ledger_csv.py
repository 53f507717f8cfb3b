"""A ledger as a file that tax tools import: CoinTracking and Koinly.

    with open("ledger.csv", "w", newline="", encoding="utf-8") as file:
        write_koinly(file, backend.ledger())

The rows of a file add up to the entries, by asset and to the last digit, in the way that the tool adds them. What an
entry means for a tax is not decided here: look through `description` or `comment` of what is no plain trade.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TextIO

from .errors import InvalidRequest
from .money import EXACT, plain
from .types import LedgerEntry

__all__ = ["COINTRACKING_COLUMNS", "KOINLY_COLUMNS", "write_cointracking", "write_koinly"]

#: cointracking.info/import/import_csv: the columns of a file of one's own, in this order.
COINTRACKING_COLUMNS = (
    *("Type", "Buy Amount", "Buy Currency", "Sell Amount", "Sell Currency", "Fee", "Fee Currency"),
    *("Exchange", "Trade-Group", "Comment", "Date"),
)
#: support.koinly.io, article 9489976, the universal template: five required columns, and the optional ones.
KOINLY_COLUMNS = (
    *("Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount", "Fee Currency"),
    *("Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash"),
)
_ZERO = Decimal(0)


@dataclass(slots=True)
class _Event:
    """What happened at once: a trade with its fees, or one other entry. By asset: what moved, and the fees beside."""

    time: str
    kind: str
    description: str
    moved: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)

    def add(self, entry: LedgerEntry) -> None:
        """Take an entry in. Raises InvalidRequest for one whose amount or fee is not known."""
        asset, amount, fee = entry["asset"], entry["amount"], entry["fee"]
        if amount is None or fee is None:
            words = f"the entry {entry['id']} of {entry['time']} does not say what it moved, so a file would not add up"
            raise InvalidRequest(words, code="invalid_argument")
        if entry["kind"] == "fee":
            amount, fee = _ZERO, EXACT.subtract(fee, amount)
        self.moved[asset] = EXACT.add(self.moved.get(asset, _ZERO), amount)
        self.fees[asset] = EXACT.add(self.fees.get(asset, _ZERO), fee)

    def parts(self) -> Iterator[_Event]:
        """Yield this event where at most one asset came and one left, else one event for each asset of it."""
        net = [self._net(asset) for asset in self.moved if self.moved[asset]]
        if sum(amount > 0 for amount in net) <= 1 and sum(amount < 0 for amount in net) <= 1 and all(net):
            yield self
            return
        for asset, amount in self.moved.items():
            yield _Event(self.time, self.kind, self.description, {asset: amount}, {asset: self.fees[asset]})

    def net_amounts(self) -> dict[str, Decimal]:
        """Return what moved, with the fees that the same asset paid; an asset that paid a fee alone is not there."""
        return {asset: self._net(asset) for asset, amount in self.moved.items() if amount and self._net(asset)}

    def own_fees(self) -> dict[str, Decimal]:
        """Return the fees of assets that moved nothing else; one that is given back is below zero."""
        return {asset: fee for asset, fee in self.fees.items() if fee and not self.moved[asset]}

    def fee_beside(self, net: Mapping[str, Decimal]) -> str | None:
        """Return the asset of a fee that can stand beside the amounts `net` of the event without turning one around."""
        for asset, fee in self.fees.items():
            moved = self.moved[asset]
            if fee > 0 and net and (not moved or (asset in net and (moved > 0) == (net[asset] > 0))):
                return asset
        return None

    def _net(self, asset: str) -> Decimal:
        return EXACT.subtract(self.moved[asset], self.fees[asset])


def write_cointracking(file: TextIO, entries: Iterable[LedgerEntry], *, exchange: str = "") -> None:
    """Write a ledger in the columns of CoinTracking; `exchange` is what it calls the place.

    Amounts have their fees in them, and the fee stands beside as a note; one of a third currency is a row of its own
    (cointracking.freshdesk.com, "Entering fees"). Raises InvalidRequest for an entry whose amount is not known.
    """
    rows = []
    for event in _events(entries):
        net = event.net_amounts()
        bought, sold = _first(net, above=True), _first(net, above=False)
        noted = next((asset for asset in (bought, sold) if asset and event.fees[asset] > 0), None)
        common = {"Exchange": exchange, "Comment": event.description, "Date": event.time}
        if net:
            row = {"Type": _cointracking_type(event, bought, sold), **common}
            row |= _amount("Buy Amount", "Buy Currency", bought, net)
            row |= _amount("Sell Amount", "Sell Currency", sold, net)
            rows.append(row | _amount("Fee", "Fee Currency", noted, event.fees))
        for asset, fee in event.own_fees().items():
            if fee > 0:
                row = {"Type": "Other Fee"} | _amount("Sell Amount", "Sell Currency", asset, {asset: fee})
            else:
                row = {"Type": "Deposit"} | _amount("Buy Amount", "Buy Currency", asset, {asset: fee})
            rows.append(row | common)
    _write(file, COINTRACKING_COLUMNS, rows)


def write_koinly(file: TextIO, entries: Iterable[LedgerEntry]) -> None:
    """Write a ledger in the columns of Koinly's universal template.

    A fee stands beside the amounts, one in a row; a second one, and one that is given back, is in them. Tags are those
    of support.koinly.io, article 9490023.
    Raises InvalidRequest for an entry whose amount is not known.
    """
    rows = []
    for event in _events(entries):
        amounts = event.net_amounts()
        beside = event.fee_beside(amounts)
        if beside in amounts:
            amounts[beside] = event.moved[beside]
        received, sent = _first(amounts, above=True), _first(amounts, above=False)
        common = {"Date": event.time, "Description": event.description}
        if amounts:
            row = {**common, "Label": "reward" if event.kind == "reward" and received and not sent else ""}
            row |= _amount("Sent Amount", "Sent Currency", sent, amounts)
            row |= _amount("Received Amount", "Received Currency", received, amounts)
            rows.append(row | _amount("Fee Amount", "Fee Currency", beside, event.fees))
        for asset, fee in event.own_fees().items():
            if asset == beside:
                continue
            if fee > 0:
                row = {**common, "Label": "cost"} | _amount("Sent Amount", "Sent Currency", asset, {asset: fee})
            else:
                row = {**common} | _amount("Received Amount", "Received Currency", asset, {asset: fee})
            rows.append(row)
    _write(file, KOINLY_COLUMNS, rows)


def _events(entries: Iterable[LedgerEntry]) -> list[_Event]:
    """Return the entries as events, oldest first: the sides of a trade and its fees, of one reference, are one."""
    events: dict[object, _Event] = {}
    for entry in entries:
        is_shared = entry["kind"] in {"fill", "fee"} and entry["reference"] is not None
        key = ("trade", entry["reference"]) if is_shared else ("entry", entry["id"])
        description = " ".join(filter(None, (entry.get("description"), entry.get("reference"))))
        events.setdefault(key, _Event(_utc(entry["time"]), entry["kind"], description)).add(entry)
    return [part for event in events.values() for part in event.parts()]


def _cointracking_type(event: _Event, bought: str | None, sold: str | None) -> str:
    """Return the type of a row (cointracking.freshdesk.com, "Transaction types")."""
    if bought and sold:
        return "Trade"
    if bought:
        return "Reward / Bonus" if event.kind == "reward" else "Deposit"
    return "Withdrawal"


def _first(amounts: Mapping[str, Decimal], *, above: bool) -> str | None:
    """Return the asset whose amount is above zero, or below."""
    return next((asset for asset, amount in amounts.items() if (amount > 0) == above), None)


def _amount(amount: str, currency: str, asset: str | None, amounts: Mapping[str, Decimal]) -> dict[str, str]:
    """Return the two fields of an amount, which is never below zero in a file; none where there is no asset."""
    return {} if asset is None else {amount: plain(amounts[asset].copy_abs()), currency: asset}


def _utc(time: str) -> str:
    """Return a time of an entry as both tools read it: "2026-11-27 10:00:00", in UTC."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _write(file: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    writer = csv.DictWriter(file, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
