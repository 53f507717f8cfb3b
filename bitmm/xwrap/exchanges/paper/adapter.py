"""The adapter of the paper exchange: the verbs of `Exchange` on a ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

from ...money import EXACT, exact, plain, total
from ..account_history import LedgerEntry
from ..base import ExchangeContext
from ..conditions import check_offered, ends_at_once, would_take
from ..cursors import numbers_of
from ..errors import Refused
from ..models import (
    DepositAddress,
    Estimate,
    Fill,
    Funds,
    HistoryPage,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    TransferState,
    Withdrawal,
)
from ..rules import check, not_enough
from ..transfers import check_other_account
from .addresses import is_bitcoin_address
from .bech32 import testnet_address
from .ledger import LedgerTransaction, PaperConfig
from .market_data import PaperMarkets, check_pair
from .matching import ASSET, CURRENCY, MARKET, Execution, amount_to_trade, execute
from .parsing import entry_from_row, fill_from_row, order_from_row, withdrawal_from_row
from .transfers import check_amount, post_transfer

__all__ = ["Paper"]

#: Every amount is traded at one price.
_NO_SLIPPAGE = Decimal(0)
_CANCELED = {"status": "canceled", "held": "0"}
#: How many of the latest orders and sends are listed.
_LATEST = 100
#: How many entries of the ledger are in a page.
_ENTRIES = 500


class Paper(PaperMarkets):
    """Orders against the recorded prices; fee 0.26 % in USD, every rounding against the user.

    A market order, and a limit order whose price is reached at once, are filled at the current price. Another limit
    order stays open, with its money held, until a later minute's price reaches its own, at which it is filled. Every
    order is filled whole, so IOC and FOK are the same. One with a stop begins in the minute whose price reaches it. For
    a market buy as much is held as it costs at the stop; when it costs more then, and that is not there, it is
    canceled.
    """

    id = "paper"
    name = "Paper"
    description = "An exchange without real money, at recorded BTC/USD prices: for trying, teaching and tests"
    lifecycle = "paper"
    order_lookup = "all"
    order_conditions = frozenset({"post_only", "GTC", "IOC", "FOK", "GTD", "stop"})
    sells_by_cost = True
    in_process = True

    def __init__(self, context: ExchangeContext, config: PaperConfig) -> None:
        super().__init__(context, config)
        self._ledger = config.open_ledger(context.registration)

    def with_context(self, context: ExchangeContext) -> Self:
        return type(self)(context, self._config)

    def funds(self) -> dict[str, Funds]:
        orders = self._open_orders()
        balances = self._ledger.balances() or self._opening()
        return {
            name: Funds(balance, _available(balances, orders, name), _held(orders, name), earning=Decimal(0))
            for name, balance in balances.items()
        }

    def estimate(self, order: NewOrder) -> Estimate:
        """Return what the order costs if it is placed in this minute, or later at its limit."""
        check_pair(order.currency, order.asset)
        quote = self._quote(self._minute())
        price = quote.price(order.side)
        if order.stop is not None:
            price = order.price or order.stop
        elif order.price is not None and not quote.reaches(order.side, order.price):
            price = order.price
        elif order.post_only:
            raise would_take(self.name)
        amount = amount_to_trade(order, price)
        if ends_at_once(order) and price == order.price and not quote.reaches(order.side, price):
            amount = Decimal(0)
        execution = execute(order.side, amount, price)
        by_cost = None if order.cost is None else amount
        return Estimate(price, execution.spent, execution.fee, order.currency, price, _NO_SLIPPAGE, by_cost)

    def check_kind(self, order: NewOrder) -> None:
        check_offered(self.name, order, self.order_conditions, now=self._now())

    def place(self, order: NewOrder) -> OrderState:
        check_pair(order.currency, order.asset)
        self.check_kind(order)
        minute = self._minute()
        quote = self._quote(minute)
        price = quote.price(order.side)
        amount = amount_to_trade(order, price)
        check(replace(order, amount=amount, cost=None), MARKET)
        waits = order.stop is not None and not quote.reaches_stop(order.side, order.stop)
        filled = not waits and (order.price is None or quote.reaches(order.side, order.price))
        if filled and order.post_only:
            raise would_take(self.name)
        execution = execute(order.side, amount, price if filled else order.price or order.stop or price)
        row: dict[str, Any] = {
            "client_id": order.client_id,
            "side": order.side,
            "currency": order.currency,
            "asset": order.asset,
            "amount": plain(amount),
            "price": None if order.price is None else plain(order.price),
            "status": "open",
            "held": plain(execution.needed),
            "checked": minute,
            "expires": None if order.expires is None else order.expires.isoformat(),
            "reason": None,
            "stop": plain(order.stop) if waits and order.stop is not None else None,
        }
        if filled:
            row |= _filled_columns(execution)
        elif ends_at_once(order):
            row |= {**_CANCELED, "reason": f"{order.time_in_force}: nobody takes it at this price now"}
        with self._transaction() as transaction:
            _check_available(transaction, _given(row), execution.needed)
            row["id"] = transaction.add_order(row)
            if filled:
                _post_execution(transaction, row, execution)
        return order_from_row(row)

    def order(self, ref: OrderRef) -> OrderState:
        if (found := self.find(ref)) is None:
            raise Refused(f"the paper exchange has no order of the id {ref.client_id}", code="order_not_found")
        return found

    def find(self, ref: OrderRef) -> OrderState | None:
        self._open_orders()
        row = self._ledger.order(ref.client_id)
        return None if row is None else order_from_row(row)

    def open_orders(self) -> list[OrderState]:
        return [order_from_row(row) for row in self._open_orders()]

    def cancel(self, ref: OrderRef) -> None:
        with self._transaction() as transaction:
            row = next((row for row in transaction.open_orders() if row["client_id"] == ref.client_id), None)
            if row is None:
                raise Refused("this order is not open any more, so it cannot be canceled", code="order_not_open")
            transaction.change_order(row["id"], _CANCELED)

    def cancel_all(self) -> int:
        with self._transaction() as transaction:
            rows = transaction.open_orders()
            for row in rows:
                transaction.change_order(row["id"], _CANCELED)
        return len(rows)

    def fills(self, currency: str, asset: str) -> list[Fill]:
        return self.fills_page(currency, asset).rows

    def fills_page(self, currency: str, asset: str, cursor: str | None = None) -> HistoryPage[Fill]:
        """Return those of the orders before the one that the cursor names; an order has one fill."""
        check_pair(currency, asset)
        before = None if cursor is None else numbers_of(self.name, cursor, 1)[0]
        if before is None:
            self._open_orders()
        rows = self._ledger.orders(_LATEST, before)
        fills = [fill_from_row(row) for row in rows if row["status"] == "filled"]
        return HistoryPage(fills, str(rows[-1]["id"]) if len(rows) == _LATEST else None)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        if withdrawal.tag or withdrawal.network:
            raise Refused("the paper exchange knows no tags and no networks; leave them out", code="unsupported")
        _check_has_addresses(withdrawal.asset)
        if not is_bitcoin_address(withdrawal.address):
            raise Refused(
                f"'{withdrawal.address}' is no bitcoin address: its characters, its length or its checksum are wrong",
                code="invalid_address",
                details={"field": "address"},
            )
        check(NewOrder("sell", CURRENCY, withdrawal.asset, withdrawal.client_id, amount=withdrawal.amount), MARKET)
        row: dict[str, Any] = {
            "client_id": withdrawal.client_id,
            "asset": withdrawal.asset,
            "amount": plain(withdrawal.amount),
            "address": withdrawal.address,
        }
        with self._transaction() as transaction:
            _check_available(transaction, withdrawal.asset, withdrawal.amount)
            row["id"] = transaction.add_send(row)
            transaction.post_entry("send", f"send {row['id']}", withdrawal.asset, withdrawal.amount.copy_negate())
        return withdrawal_from_row(row)

    def transfer_account(self) -> str:
        return f"paper registration {self.context.registration}"

    def transfer(self, transfer: NewTransfer) -> TransferState:
        """Move to the ledger of another registration; both are written, or neither."""
        check_other_account(self.name, self.transfer_account(), transfer)
        check_amount(transfer)
        other = self.with_context(replace(self.context, registration=transfer.to_registration))
        # Always in the same order: so two transfers that cross do not wait for each other.
        papers = sorted((self, other), key=lambda paper: paper.context.registration)
        with ExitStack() as stack:
            transactions = {
                paper.context.registration: stack.enter_context(paper._transaction())  # noqa: SLF001 - of this class
                for paper in papers
            }
            mine, theirs = transactions[self.context.registration], transactions[transfer.to_registration]
            _check_available(mine, transfer.asset, transfer.amount)
            id = post_transfer(mine, theirs, transfer)
        return TransferState(str(id), "done")

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        row = self._ledger.send(client_id)
        return None if row is None else withdrawal_from_row(row)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        return [withdrawal_from_row(row) for row in self._ledger.sends(_LATEST) if asset in (None, row["asset"])]

    def ledger_page(self, since: datetime | None, cursor: str | None = None) -> HistoryPage[LedgerEntry]:
        after = 0 if cursor is None else numbers_of(self.name, cursor, 1)[0]
        if cursor is None:
            self._open_orders()
            if not self._ledger.balances():
                with self._transaction():
                    # The opening is posted first in any.
                    pass
        rows = self._ledger.entries(since, after, _ENTRIES)
        last = str(rows[-1]["id"]) if len(rows) == _ENTRIES else None
        return HistoryPage([entry_from_row(row) for row in rows], last)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        _check_has_addresses(asset)
        if network:
            raise Refused(
                "the paper exchange knows no networks; leave it out", code="unsupported", details={"field": "network"}
            )
        program = hashlib.sha256(f"paper registration {self.context.registration}".encode()).digest()[:20]
        return DepositAddress(asset, testnet_address(program))

    def permissions(self) -> frozenset[str]:
        return frozenset({"read", "trade", "send"})

    def _opening(self) -> dict[str, Decimal]:
        return {CURRENCY: Decimal(0), ASSET: Decimal(0), **self._config.opening}

    def _open_orders(self) -> list[dict[str, Any]]:
        """Return the open orders, after those were filled whose price was reached meanwhile, and those ended that are
        over.
        """
        rows = self._ledger.open_orders()
        if all(row["checked"] == self._minute() and not self._is_expired(row) for row in rows):
            return rows
        with self._transaction() as transaction:
            return transaction.open_orders()

    @contextmanager
    def _transaction(self) -> Iterator[LedgerTransaction]:
        """Open a transaction on the ledger, in which the opening and every fill that is due are posted first."""
        with self._ledger.transaction() as transaction:
            if not transaction.balances:
                for name, amount in self._opening().items():
                    transaction.post_entry("opening", None, name, amount)
            for row in transaction.open_orders():
                self._fill_if_due(transaction, row)
            yield transaction

    def _fill_if_due(self, transaction: LedgerTransaction, row: dict[str, Any]) -> None:
        """Fill an open order when a minute since it was last looked at reached its price, before the order's end.

        It is canceled when its end was first.
        """
        minute = self._minute()
        # After as many minutes as there are prices each of them has been looked at.
        since = max(row["checked"], minute - self._config.prices.period)
        last = minute if row["expires"] is None else min(minute, int(_end_of(row).timestamp() - 1) // 60)
        stop, price = (None if row[name] is None else exact(row[name]) for name in ("stop", "price"))
        for passed in range(since + 1, last + 1):
            quote = self._quote(passed)
            begins = stop is not None and quote.reaches_stop(row["side"], stop)
            if stop is not None and not begins:
                continue
            if price is None or quote.reaches(row["side"], price):
                # What rests is filled at its own price, what begins now at the price now.
                self._fill(transaction, row, quote.price(row["side"]) if begins or price is None else price)
                return
            stop = None
        if stop is None and row["stop"] is not None:
            transaction.change_order(row["id"], {"stop": None})
        if self._is_expired(row):
            transaction.change_order(row["id"], {**_CANCELED, "reason": "it expired"})
        elif minute > row["checked"]:
            transaction.change_order(row["id"], {"checked": minute})

    @staticmethod
    def _fill(transaction: LedgerTransaction, row: Mapping[str, Any], price: Decimal) -> None:
        """Fill an open order whole at this price, or cancel it when it needs more than it holds and than is there."""
        execution = execute(row["side"], exact(row["amount"]), price)
        free = _available(transaction.balances, transaction.open_orders(), _given(row))
        if execution.needed > EXACT.add(free, exact(row["held"])):
            reason = f"not enough {_given(row)} when its stop was reached"
            transaction.change_order(row["id"], {**_CANCELED, "reason": reason})
            return
        transaction.change_order(row["id"], _filled_columns(execution))
        _post_execution(transaction, row, execution)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._config.clock(), UTC)

    def _is_expired(self, row: Mapping[str, Any]) -> bool:
        return row["expires"] is not None and _end_of(row) <= self._now()


def _end_of(row: Mapping[str, Any]) -> datetime:
    """Return the time at which an order ends that was placed with one."""
    return datetime.fromisoformat(row["expires"])


def _check_has_addresses(asset: str) -> None:
    if asset != ASSET:
        raise Refused(
            f"the paper exchange has addresses for {ASSET} only, not for '{asset}'",
            code="unknown_asset",
            details={"field": "asset"},
        )


def _given(row: Mapping[str, Any]) -> str:
    """Return what an order gives: the currency of a buy, the asset of a sell."""
    name: str = row["currency"] if row["side"] == "buy" else row["asset"]
    return name


def _held(orders: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return total(exact(row["held"]) for row in orders if _given(row) == name)


def _available(balances: Mapping[str, Decimal], orders: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return EXACT.subtract(balances.get(name, Decimal(0)), _held(orders, name))


def _check_available(transaction: LedgerTransaction, name: str, needed: Decimal) -> None:
    """Raise Refused `insufficient_funds` when less of `name` is there than is needed."""
    available = _available(transaction.balances, transaction.open_orders(), name)
    if available < needed:
        raise not_enough(name, needed=needed, available=available)


def _post_execution(transaction: LedgerTransaction, row: Mapping[str, Any], execution: Execution) -> None:
    """Post what the execution of an order moves."""
    reference, currency, asset, amount = f"order {row['id']}", row["currency"], row["asset"], exact(row["amount"])
    if row["side"] == "buy":
        transaction.post_entry("buy", reference, currency, execution.spent.copy_negate())
        transaction.post_entry("buy", reference, asset, amount)
    else:
        transaction.post_entry("sell", reference, asset, amount.copy_negate())
        transaction.post_entry("sell", reference, currency, execution.spent)
    transaction.post_entry("fee", reference, currency, execution.fee.copy_negate())


def _filled_columns(execution: Execution) -> dict[str, Any]:
    """Return what is new in the row of an order that is filled."""
    return {
        "status": "filled",
        "held": "0",
        "average": plain(execution.price),
        "spent": plain(execution.spent),
        "fee": plain(execution.fee),
    }
