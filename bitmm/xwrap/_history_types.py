"""What the client returns about what moved an account's money, as typed dicts; see `types`."""

# Without `from __future__ import annotations`: which fields are amounts is read from the annotations, at import.
from decimal import Decimal
from typing import Literal, TypedDict

__all__ = ["EntryKind", "LedgerEntry"]

#: deposit, withdrawal: from or to a place outside the exchange; also one that is taken back, with the other sign. fill:
#: a side of a trade. fee: what was taken by itself. transfer: between one's own accounts at the exchange, and to and
#: from what earns there. reward: what was earned. other: all else; its `description` has the exchange's word.
EntryKind = Literal["deposit", "withdrawal", "fill", "fee", "transfer", "reward", "other"]


class LedgerEntry(TypedDict):
    """What moved the balance of one asset: it is `amount` minus `fee` more than before.

    `id`: the exchange's, in this ledger. `time`: a time. `amount`: units of the asset, below zero for what left. `fee`:
    units of the asset, below zero for one that is given back. None: the exchange does not say, or not so that it is
    understood, and the sum is not known from then on. `balance`: what is owned of the asset afterwards, where the
    exchange says it. `reference`: the trade, deposit or send that it belongs to; the entries of one trade share it.
    """

    id: str
    time: str
    kind: EntryKind
    asset: str
    amount: Decimal | None
    fee: Decimal | None
    balance: Decimal | None
    reference: str | None
    description: str | None
