"""What the owner decides about orders and sends whose outcome stays unknown, after he looked at the exchange."""

from __future__ import annotations

from typing import Any, NamedTuple

from .db.journal import Journal
from .db.records import Caller, Registration
from .db.store import Store
from .reconciliation import not_placed

__all__ = ["DECISIONS", "Decidable", "find_unknown", "order_in_words", "record_decision", "send_in_words", "unknown_of"]

Row = dict[str, Any]


class Decidable(NamedTuple):
    """A journal by its noun, with the two answers that its owner may give."""

    noun: str
    done: str
    undone: str

    def journal(self, store: Store) -> Journal:
        """Return the journal."""
        return store.orders if self.noun == "order" else store.withdrawals


#: By the name of the command's noun and the page's path.
DECISIONS = {"orders": Decidable("order", "filled", "not-placed"), "sends": Decidable("send", "done", "not-sent")}


def find_unknown(journal: Journal, id: int, account: int | None = None) -> tuple[Registration, Row] | None:
    """Return the row of this id with its registration, if its outcome is unknown and it is of the `account`."""
    rows = journal.unknown() if account is None else unknown_of(journal, account)
    return next((each for each in rows if each[1]["id"] == id), None)


def unknown_of(journal: Journal, account: int) -> list[tuple[Registration, Row]]:
    """Return the rows of an account whose outcome is unknown, with their registrations, oldest first."""
    return [each for each in journal.unknown() if each[0].account_id == account]


def record_decision(
    store: Store, what: Decidable, found: tuple[Registration, Row], answer: str, who: Caller | str
) -> bool:
    """Write one of the two answers as the outcome of a row, and into the audit; within a write.

    False: its outcome has become known meanwhile, and nothing was written.
    """
    registration, row = found
    executed = {"status": what.done} | ({"filled": row["amount"]} if "filled" in row else {})
    if not what.journal(store).reconcile(row, executed if answer == what.done else not_placed(row)):
        return False
    subject = f"{what.noun} {row['id']} of registration {registration.id}"
    store.audit.add(who, "settle", subject, {"as": answer}, account_id=registration.account_id)
    return True


def order_in_words(row: Row) -> str:
    """Return an order in one line: buy 0.1 BTC for USD at 20000."""
    amount, cost = (f"{row[name]} " if row[name] else "" for name in ("amount", "cost"))
    price, stop = (f" {word} {row[name]}" if row[name] else "" for word, name in (("at", "price"), ("stop", "stop")))
    return f"{row['side']} {amount}{row['asset']} for {cost}{row['currency']}{price}{stop}"


def send_in_words(row: Row) -> str:
    """Return a send in one line, with the tag and the network of its address."""
    more = "".join(f" {name} {row[name]}" for name in ("tag", "network") if row[name])
    return f"{row['amount']} {row['asset']} to {row['address']}{more}"
