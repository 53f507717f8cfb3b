"""The part of an exchange's contract that is about transfers between accounts of one owner, as a class to inherit.

A test class that inherits it has the fixture `other` besides: an adapter with the key of another account of the same
owner, to which `exchange` can transfer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from ..exchanges.base import Exchange
from ..exchanges.models import NewTransfer, TransferState
from ..money import EXACT
from .checks import check, check_equal, check_in, check_record, check_stated, expect_refusal, skip_without

__all__ = ["TransferContract"]

Ledger = Callable[[], Sequence[Mapping[str, Any]]]


class TransferContract:
    """The promises of exchanges/transfers.py; each gets the fixtures `exchange`, `other` and `ledger`."""

    asset: ClassVar[str] = "BTC"
    amount: ClassVar[Decimal] = Decimal("0.01")

    def test_a_transfer_moves_the_amount_once_and_no_more(
        self, exchange: Exchange, other: Exchange, ledger: Ledger
    ) -> None:
        before = exchange.balance(), other.balance()
        asked = self._transfer(other, self.amount)
        made = check_record(exchange.transfer(asked), TransferState)
        check_in("status", made.status, ("pending", "done"))
        check_equal("the kinds of rows in the ledger", [row["kind"] for row in ledger()], ["transfer"])
        after = exchange.balance(), other.balance()
        for old, new, sign in zip(before, after, (-1, 1), strict=True):
            moved = EXACT.subtract(new[self.asset], old[self.asset])
            check_equal("what was moved", moved, EXACT.multiply(self.amount, Decimal(sign)))
            check_equal("all else", {**new, self.asset: None}, {**old, self.asset: None})

    def test_a_transfer_is_found_by_our_id(self, exchange: Exchange, other: Exchange) -> None:
        skip_without(exchange, "find_withdrawal")
        asked, now = self._transfer(other, self.amount), datetime.now(UTC)
        made = exchange.transfer(asked)
        for client_id, id in ((asked.client_id, made.id), (uuid.uuid4().hex, None)):
            found = exchange.find_withdrawal(client_id, now - timedelta(seconds=60), now + timedelta(seconds=60))
            check_equal("find_withdrawal()", None if found is None else found.id, id)

    def test_a_transfer_of_more_than_is_there_is_refused(
        self, exchange: Exchange, other: Exchange, ledger: Ledger
    ) -> None:
        owned = check_stated("the total", exchange.funds()[self.asset].total)
        with expect_refusal("insufficient_funds", "invalid_amount", proved=False):
            exchange.transfer(self._transfer(other, EXACT.add(owned, self.amount)))
        check(not ledger(), "something was executed")

    def test_a_transfer_to_the_same_account_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        with expect_refusal("invalid_request"):
            exchange.transfer(self._transfer(exchange, self.amount))
        check(not ledger(), "something was executed")

    def test_a_transfer_of_an_unknown_asset_is_refused(
        self, exchange: Exchange, other: Exchange, ledger: Ledger
    ) -> None:
        with expect_refusal("unknown_asset"):
            exchange.transfer(self._transfer(other, self.amount, asset="NOSUCH"))
        check(not ledger(), "something was executed")

    def _transfer(self, other: Exchange, amount: Decimal, *, asset: str | None = None) -> NewTransfer:
        return NewTransfer(
            asset or self.asset,
            amount,
            other.transfer_account(),
            uuid.uuid4().hex,
            to_registration=other.context.registration,
        )
