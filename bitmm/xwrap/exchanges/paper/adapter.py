"""The adapter of the paper exchange: the verbs of `Exchange` on a ledger."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

from ...money import EXACT, exact, plain
from ..account_history import LedgerEntry
from ..base import Exchange, ExchangeContext
from ..conditions import check_offered
from ..cursors import numbers_of
from ..errors import Refused
from ..models import (
    DepositAddress,
    Estimate,
    Fill,
    Funds,
    HistoryPage,
    Market,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    TransferState,
    Withdrawal,
)
from ..orders import cost_of
from ..rules import check
from ..transfers import check_other_account
from .addresses import is_bitcoin_address
from .bech32 import testnet_address
from .bookings import canceled, check_available, given_by, post_parts
from .executions import Execution
from .ledger import Balance, LedgerTransaction, PaperConfig
from .looks import Look, LookSource, taken_of
from .matching import ASSET, CURRENCY, MARKET
from .parsing import entry_from_row, fill_from_row, order_from_row, withdrawal_from_row
from .plans import Plan, estimate, plan_order
from .resting import RestingOrders, to_microseconds
from .transfers import check_amount, post_transfer

__all__ = ["PaperExchange"]

#: How many of the latest orders and sends are listed.
_LATEST = 100
#: How many entries of the ledger are in a page.
_ENTRIES = 500


class PaperExchange(Exchange, ABC):
    """Orders on a ledger against the offers of a price source, which a subclass has.

    A market order, and as much of a limit order as others offer at its price or better, is filled at once at what is
    offered, from the best price on. What the book does not list is canceled of a market order, and rests of another
    one, with its money held, until a later look reaches its price (see `resting`). One with a stop begins when the best
    price reaches it. For a market buy as much is held as it costs at the stop; when it costs more then, and that is not
    there, it is canceled. What was taken is still offered to the next order: nobody there saw it.
    """

    id = "paper"
    name = "Paper"
    lifecycle = "paper"
    order_lookup = "all"
    order_conditions = frozenset({"post_only", "GTC", "IOC", "FOK", "GTD", "stop"})
    sells_by_cost = True
    in_process = True

    def __init__(self, context: ExchangeContext, config: PaperConfig) -> None:
        super().__init__(context)
        self._config = config
        self._ledger = config.open_ledger(context.registration)
        #: What an order is placed at that was prepared.
        self._prepared: Look | None = None

    @property
    @abstractmethod
    def _source(self) -> LookSource:
        """Return where the prices come from."""

    def with_context(self, context: ExchangeContext) -> Self:
        return type(self)(context, self._config)

    def funds(self) -> dict[str, Funds]:
        self._catch_up()
        balances = self._ledger.balances()
        if not balances:
            balances = {name: Balance(amount) for name, amount in self._opening().items()}
        return {
            name: Funds(balance.total, balance.available, balance.held, earning=Decimal(0))
            for name, balance in balances.items()
        }

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        look = self._source.look(currency, asset)
        cost_of(self.name, amount, look.asks, unit=asset)
        return Execution("buy", look.money_step).and_parts(taken_of(look.asks, amount), look.taker).spent

    def estimate(self, order: NewOrder) -> Estimate:
        """Return what the order costs if it is placed now, or later at its limit."""
        look = self._source.look(order.currency, order.asset)
        return estimate(order, look, plan_order(self.name, order, look))

    def prepare(self, order: NewOrder) -> None:
        self._prepared = None
        self._prepared = self._source.look(order.currency, order.asset)

    def check_kind(self, order: NewOrder) -> None:
        check_offered(self.name, order, self.order_conditions, now=self._now())

    def place(self, order: NewOrder) -> OrderState:
        look = self._prepared or self._source.look(order.currency, order.asset)
        self.check_kind(order)
        plan = plan_order(self.name, order, look)
        row = self._new_row(order, look, plan)
        nothing = Execution(order.side, look.money_step)
        executed = nothing.and_parts(plan.parts, look.taker)
        if plan.reason is None and plan.rest:
            price = order.price or order.stop or look.best(order.side)
            row["held"] = plain(executed.needed_for([(price, plan.rest)], look.highest_fee))
        needed = EXACT.add(executed.given, exact(row["held"]))
        with self._transaction() as transaction:
            # Who sells must have all of it, also what the book does not list.
            check_available(transaction, given_by(row), plan.amount if order.side == "sell" else needed)
            if row["status"] == "open":
                self._check_room(transaction)
            columns = executed.columns()
            row["id"] = transaction.add_order(row | columns)
            if plan.parts:
                post_parts(transaction, row, nothing, plan.parts, look.taker)
            row |= columns
            if row["status"] == "open":
                row = self._resting().add(transaction, row)
        return self._order_from_row(row)

    def _check_room(self, transaction: LedgerTransaction) -> None:
        """Raise Refused `quota_exceeded` when no more orders of the registration may be open."""
        most = self._config.most_open
        if sum(market.open_orders for market in transaction.markets) >= most:
            raise Refused(
                f"a registration may have {most} open orders on paper, and this one has them; cancel some of them, or"
                " their administrator sets XWRAP_QUOTA_OPEN_ORDERS; nothing was executed",
                code="quota_exceeded",
                details={"limit": str(most)},
            )

    def _new_row(self, order: NewOrder, look: Look, plan: Plan) -> dict[str, Any]:
        """Return the row of a new order, without what it holds and what was executed of it."""
        status = "open"
        if plan.reason is not None:
            status = "partly_filled" if plan.parts else "canceled"
        elif not plan.rest:
            status = "filled"
        return {
            "client_id": order.client_id,
            "side": order.side,
            "currency": order.currency,
            "asset": order.asset,
            "amount": plain(plan.amount),
            "price": None if order.price is None else plain(order.price),
            "status": status,
            "held": "0",
            "spent": None,
            "fee": None,
            "average": None,
            "checked": self._config.minute(),
            "looked": to_microseconds(look.time),
            "expires": None if order.expires is None else order.expires.astimezone(UTC).isoformat(),
            "reason": plan.reason,
            "stop": plain(order.stop) if plan.waits and order.stop is not None else None,
        }

    def order(self, ref: OrderRef) -> OrderState:
        if (found := self.find(ref)) is None:
            raise Refused(f"the paper exchange has no order of the id {ref.client_id}", code="order_not_found")
        return found

    def find(self, ref: OrderRef) -> OrderState | None:
        self._catch_up()
        row = self._ledger.order(ref.client_id)
        return None if row is None else self._order_from_row(row)

    def read_orders(self, refs: Iterable[OrderRef]) -> dict[str, OrderState]:
        self._catch_up()
        rows = self._ledger.orders(int(ref.exchange_order_id) for ref in refs if ref.exchange_order_id is not None)
        return {str(row["id"]): self._order_from_row(row) for row in rows}

    def open_orders(self) -> list[OrderState]:
        self._catch_up()
        return [self._order_from_row(row) for row in self._ledger.open_orders()]

    def cancel(self, ref: OrderRef) -> None:
        with self._transaction() as transaction:
            row = transaction.order(ref.client_id)
            if row is None or row["status"] != "open":
                raise Refused("this order is not open any more, so it cannot be canceled", code="order_not_open")
            transaction.change_order(row, canceled(row))

    def cancel_all(self) -> int:
        with self._transaction() as transaction:
            return transaction.cancel_orders()

    def fills(self, currency: str, asset: str) -> list[Fill]:
        return self.fills_page(currency, asset).rows

    def fills_page(self, currency: str, asset: str, cursor: str | None = None) -> HistoryPage[Fill]:
        """Return the fills before the one that the cursor names."""
        before = None if cursor is None else numbers_of(self.name, cursor, 1)[0]
        if before is None:
            self._catch_up()
        rows = self._ledger.fills(currency, asset, _LATEST, before)
        return HistoryPage([fill_from_row(row) for row in rows], str(rows[-1]["id"]) if len(rows) == _LATEST else None)

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
            check_available(transaction, withdrawal.asset, withdrawal.amount)
            row["id"] = transaction.add_send(row)
            transaction.post_entry("send", f"send {row['id']}", withdrawal.asset, withdrawal.amount.copy_negate())
        return withdrawal_from_row(row)

    def transfer_account(self) -> str:
        return f"paper registration {self.context.registration}"

    def transfer(self, transfer: NewTransfer) -> TransferState:
        """Move to the ledger of another registration; both are written, or neither."""
        check_other_account(self.name, self.transfer_account(), transfer)
        check_amount(transfer, self._rules_of(transfer.asset))
        other = self.with_context(replace(self.context, registration=transfer.to_registration))
        # Always in the same order: so two transfers that cross do not wait for each other.
        papers = sorted((self, other), key=lambda paper: paper.context.registration)
        with ExitStack() as stack:
            transactions = {
                paper.context.registration: stack.enter_context(paper._transaction())  # noqa: SLF001 - of this class
                for paper in papers
            }
            mine, theirs = transactions[self.context.registration], transactions[transfer.to_registration]
            check_available(mine, transfer.asset, transfer.amount)
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
            self._catch_up()
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

    @abstractmethod
    def _rules_of(self, asset: str) -> Market:
        """Return the rules of amounts of an asset. Raises Refused `unknown_asset` where there is none on paper."""

    def _opening(self) -> dict[str, Decimal]:
        return {CURRENCY: Decimal(0), ASSET: Decimal(0), **self._config.opening}

    def _resting(self) -> RestingOrders:
        return RestingOrders(self._config, self._source)

    def _catch_up(self) -> None:
        """Fill the open orders whose price was reached meanwhile, and end those that are over."""
        if self._resting().are_due(self._ledger):
            with self._transaction():
                # It does that first.
                pass

    @contextmanager
    def _transaction(self) -> Iterator[LedgerTransaction]:
        """Open a transaction on the ledger, in which the opening and every fill that is due are posted first."""
        with self._ledger.transaction() as transaction:
            if not transaction.balances:
                for name, amount in self._opening().items():
                    transaction.post_entry("opening", None, name, amount)
            self._resting().update(transaction)
            yield transaction

    def _order_from_row(self, row: dict[str, Any]) -> OrderState:
        """Return an order; of an open one the reason why it waits now, if there is one."""
        state = order_from_row(row)
        if state.status != "open":
            return state
        reason = self._source.pause(row["currency"], row["asset"])
        # In a list of thousands a copy of each would take half of the time.
        return state if reason == state.reason else replace(state, reason=reason)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._config.clock(), UTC)


def _check_has_addresses(asset: str) -> None:
    if asset != ASSET:
        raise Refused(
            f"the paper exchange has addresses for {ASSET} only, not for '{asset}'",
            code="unknown_asset",
            details={"field": "asset"},
        )
