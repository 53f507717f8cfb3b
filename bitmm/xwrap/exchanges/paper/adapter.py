"""Our verbs on the books of the paper exchange."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Any, Self

from ...money import EXACT, ROUNDED, exact, plain, total
from ..base import Exchange, ExchangeContext
from ..errors import Refused
from ..models import (
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Side,
    Withdrawal,
)
from ..rules import check
from .bech32 import testnet_address
from .ledger import LedgerTransaction, PaperConfig

CURRENCY, ASSET = "USD", "BTC"
#: Half the distance between bid and ask, as a part of the price.
HALF_SPREAD = Decimal("0.0002")
FEE = Decimal("0.0026")
CENT, SATOSHI = Decimal("0.01"), Decimal("0.00000001")


class Paper(Exchange):
    """Orders against the recorded prices; fee 0.26 % in USD, every rounding against the user.

    A market order, and a limit order whose price is reached at once, are filled at the current price. Another limit
    order waits, with its money held, until a later minute's price reaches its own, at which it is filled.
    """

    id = "paper"
    name = "Paper"
    description = "An exchange without real money, at recorded BTC/USD prices: for trying, teaching and tests"
    lifecycle = "paper"
    order_lookup = "all"
    in_process = True

    def __init__(self, context: ExchangeContext, config: PaperConfig) -> None:
        super().__init__(context)
        self._config = config
        self._ledger = config.open_ledger(context.registration)

    def with_context(self, context: ExchangeContext) -> Self:
        return type(self)(context, self._config)

    def rate(self, currency: str, asset: str) -> Rate:
        _traded(currency, asset)
        moment = self._config.clock()
        buy, sell = self._prices(int(moment // 60))
        return Rate(buy, sell, datetime.fromtimestamp(moment, UTC))

    def markets(self) -> list[Market]:
        return [_MARKET]

    def funds(self) -> dict[str, Funds]:
        waiting = self._waiting()
        balances = self._ledger.balances() or self._opening()
        return {
            name: Funds(total, _available(balances, waiting, name), _held(waiting, name))
            for name, total in balances.items()
        }

    def place(self, order: NewOrder) -> OrderState:
        _traded(order.currency, order.asset)
        minute = self._minute()
        now = self._prices(minute)[0 if order.side == "buy" else 1]
        amount = order.amount
        if order.cost is not None:
            amount = ROUNDED.divide(order.cost, now).quantize(SATOSHI, ROUND_FLOOR, ROUNDED)
        if amount is None:
            raise Refused("an order needs an amount or a cost", code="invalid_amount", details={"field": "amount"})
        check(replace(order, amount=amount, cost=None), _MARKET)
        reached = order.price is None or (now <= order.price if order.side == "buy" else now >= order.price)
        fill = _fill(order.side, amount, now if order.price is None or reached else order.price)
        values: dict[str, Any] = {
            "client_id": order.client_id,
            "side": order.side,
            "currency": order.currency,
            "asset": order.asset,
            "amount": plain(amount),
            "price": None if order.price is None else plain(order.price),
            "status": "open",
            "held": plain(fill.needs),
            "checked": minute,
        }
        if reached:
            values |= _filled(fill)

        with self._transaction() as transaction:
            _check_available(transaction, order.currency if order.side == "buy" else order.asset, fill.needs)
            values["id"] = transaction.add_order(values)
            if reached:
                _post_fill(transaction, values, fill)
        return _state(values)

    def order(self, ref: OrderRef) -> OrderState:
        if (found := self.find(ref)) is None:
            raise Refused("there is no such order", code="order_not_found")
        return found

    def find(self, ref: OrderRef) -> OrderState | None:
        self._waiting()
        row = self._ledger.order(ref.client_id)
        return None if row is None else _state(row)

    def open_orders(self) -> list[OrderState]:
        return [_state(row) for row in self._waiting()]

    def cancel(self, ref: OrderRef) -> None:
        with self._transaction() as transaction:
            row = next((row for row in transaction.open_orders() if row["client_id"] == ref.client_id), None)
            if row is None:
                raise Refused("this order is not open", code="order_not_open")
            transaction.change_order(row["id"], _CANCELED)

    def cancel_all(self) -> int:
        with self._transaction() as transaction:
            rows = transaction.open_orders()
            for row in rows:
                transaction.change_order(row["id"], _CANCELED)
        return len(rows)

    def fills(self, currency: str, asset: str) -> list[Fill]:
        _traded(currency, asset)
        self._waiting()
        return [
            Fill(
                id=str(row["id"]),
                exchange_order_id=str(row["id"]),
                side=row["side"],
                currency=row["currency"],
                asset=row["asset"],
                amount=exact(row["amount"]),
                price=exact(row["average"]),
                fee=exact(row["fee"]),
                fee_currency=row["currency"],
                time=datetime.fromisoformat(row["created"]),
            )
            for row in self._ledger.orders(_LATEST)
            if row["status"] == "filled"
        ]

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        if withdrawal.tag or withdrawal.network:
            raise Refused("the paper exchange knows no tags and no networks", code="unsupported")
        check(NewOrder("sell", CURRENCY, withdrawal.asset, withdrawal.client_id, amount=withdrawal.amount), _MARKET)
        values: dict[str, Any] = {
            "client_id": withdrawal.client_id,
            "asset": withdrawal.asset,
            "amount": plain(withdrawal.amount),
            "address": withdrawal.address,
        }

        with self._transaction() as transaction:
            if withdrawal.asset not in transaction.balances:
                known = ", ".join(sorted(transaction.balances))
                raise Refused(
                    f"there is no '{withdrawal.asset}' here; this book has {known}",
                    code="unknown_asset",
                    details={"field": "asset"},
                )
            _check_available(transaction, withdrawal.asset, withdrawal.amount)
            values["id"] = transaction.add_send(values)
            transaction.post_entry("send", f"send {values['id']}", withdrawal.asset, withdrawal.amount.copy_negate())
        return _sent(values)

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        row = self._ledger.send(client_id)
        return None if row is None else _sent(row)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        return [_sent(row) for row in self._ledger.sends(_LATEST) if asset in (None, row["asset"])]

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        if asset != ASSET or network:
            raise Refused(
                f"the paper exchange has addresses for {ASSET} only", code="unknown_asset", details={"field": "asset"}
            )
        program = hashlib.sha256(f"paper registration {self.context.registration}".encode()).digest()[:20]
        return DepositAddress(asset, testnet_address(program))

    def permissions(self) -> frozenset[str]:
        return frozenset({"read", "trade", "send"})

    def _minute(self) -> int:
        return int(self._config.clock() // 60)

    def _prices(self, minute: int) -> tuple[Decimal, Decimal]:
        """What one unit costs, and what it brings, in this minute."""
        return _around(self._config.prices.at(minute * 60))

    def _opening(self) -> dict[str, Decimal]:
        return {CURRENCY: Decimal(0), ASSET: Decimal(0), **self._config.opening}

    def _waiting(self) -> list[dict[str, Any]]:
        """The open orders, after those are filled whose price came by meanwhile."""
        waiting = self._ledger.open_orders()
        if all(row["checked"] == self._minute() for row in waiting):
            return waiting
        with self._transaction() as transaction:
            return transaction.open_orders()

    @contextmanager
    def _transaction(self) -> Iterator[LedgerTransaction]:
        """A transaction on the ledger, after the starting funds and every fill that is due were posted in it."""
        with self._ledger.transaction() as transaction:
            if not transaction.balances:
                for name, amount in self._opening().items():
                    transaction.post_entry("opening", None, name, amount)
            for row in transaction.open_orders():
                self._fill_if_due(transaction, row)
            yield transaction

    def _fill_if_due(self, transaction: LedgerTransaction, row: dict[str, Any]) -> None:
        minute, price = self._minute(), exact(row["price"])
        after_a_round = max(row["checked"], minute - len(self._config.prices.closes))
        for passed in range(after_a_round + 1, minute + 1):
            buy, sell = self._prices(passed)
            if buy <= price if row["side"] == "buy" else sell >= price:
                fill = _fill(row["side"], exact(row["amount"]), price)
                transaction.change_order(row["id"], _filled(fill))
                _post_fill(transaction, row, fill)
                return
        if minute > row["checked"]:
            transaction.change_order(row["id"], {"checked": minute})


_MARKET = Market(CURRENCY, ASSET, price_step=CENT, amount_step=SATOSHI, amount_min=SATOSHI)
_CANCELED = {"status": "canceled", "held": "0"}
#: So many of the latest orders and sends are told.
_LATEST = 100


@dataclass(frozen=True, slots=True)
class _Fill:
    """What an execution moves; `needs` is what must be there for it."""

    price: Decimal
    spent: Decimal
    fee: Decimal
    needs: Decimal


def _fill(side: Side, amount: Decimal, price: Decimal) -> _Fill:
    value = EXACT.multiply(amount, price)
    spent = _cents(value, ROUND_CEILING if side == "buy" else ROUND_FLOOR)
    fee = _cents(EXACT.multiply(value, FEE), ROUND_CEILING)
    return _Fill(price, spent, fee, EXACT.add(spent, fee) if side == "buy" else amount)


def _filled(fill: _Fill) -> dict[str, Any]:
    """What is new in the row of an order that is filled."""
    return {
        "status": "filled",
        "held": "0",
        "average": plain(fill.price),
        "spent": plain(fill.spent),
        "fee": plain(fill.fee),
    }


def _post_fill(transaction: LedgerTransaction, row: Mapping[str, Any], fill: _Fill) -> None:
    """Move what the fill of an order moves."""
    reference, currency, asset, amount = f"order {row['id']}", row["currency"], row["asset"], exact(row["amount"])
    if row["side"] == "buy":
        transaction.post_entry("buy", reference, currency, fill.spent.copy_negate())
        transaction.post_entry("buy", reference, asset, amount)
    else:
        transaction.post_entry("sell", reference, asset, amount.copy_negate())
        transaction.post_entry("sell", reference, currency, fill.spent)
    transaction.post_entry("fee", reference, currency, fill.fee.copy_negate())


def _held(waiting: list[dict[str, Any]], name: str) -> Decimal:
    return total(exact(row["held"]) for row in waiting if row["currency" if row["side"] == "buy" else "asset"] == name)


def _available(balances: Mapping[str, Decimal], waiting: list[dict[str, Any]], name: str) -> Decimal:
    return EXACT.subtract(balances.get(name, Decimal(0)), _held(waiting, name))


def _check_available(transaction: LedgerTransaction, name: str, amount: Decimal) -> None:
    available = _available(transaction.balances, transaction.open_orders(), name)
    if available < amount:
        raise Refused(
            f"not enough {name}: {plain(amount)} needed, {plain(available)} available", code="insufficient_funds"
        )


def _traded(currency: str, asset: str) -> None:
    field = "asset" if currency == CURRENCY else "currency"
    if (currency, asset) != (CURRENCY, ASSET):
        raise Refused(
            f"the paper exchange trades {ASSET} for {CURRENCY}, not '{asset}' for '{currency}'",
            code="unknown_market",
            details={"field": field},
        )


@lru_cache(maxsize=10_000)
def _around(close: Decimal) -> tuple[Decimal, Decimal]:
    """The ask and the bid around a price."""
    spread = EXACT.multiply(close, HALF_SPREAD)
    return _cents(EXACT.add(close, spread), ROUND_CEILING), _cents(EXACT.subtract(close, spread), ROUND_FLOOR)


def _cents(amount: Decimal, rounding: str) -> Decimal:
    return amount.quantize(CENT, rounding, ROUNDED)


def _state(row: Mapping[str, Any]) -> OrderState:
    amount = exact(row["amount"])
    filled = row["status"] == "filled"
    return OrderState(
        exchange_order_id=str(row["id"]),
        status=row["status"],
        side=row["side"],
        currency=row["currency"],
        asset=row["asset"],
        amount=amount,
        price=exact(row["price"]) if row["price"] else None,
        filled=amount if filled else Decimal(0),
        average=exact(row["average"]) if filled else None,
        spent=exact(row["spent"]) if filled else Decimal(0),
        fee=exact(row["fee"]) if filled else Decimal(0),
        fee_currency=row["currency"],
        client_id=row["client_id"],
        created=datetime.fromisoformat(row["created"]) if "created" in row else None,
    )


def _sent(row: Mapping[str, Any]) -> Withdrawal:
    return Withdrawal(
        id=str(row["id"]),
        asset=row["asset"],
        amount=exact(row["amount"]),
        status="done",
        address=row["address"],
        fee=Decimal(0),
        client_id=row["client_id"],
        created=datetime.fromisoformat(row["created"]) if "created" in row else None,
    )
