"""An exchange that does what a test tells it: for what no real exchange does on demand."""

from __future__ import annotations

import threading
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from bitmm.xwrap.exchanges.base import Exchange, Field
from bitmm.xwrap.exchanges.errors import Unsupported
from bitmm.xwrap.exchanges.models import (
    DepositAddress,
    Funds,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Withdrawal,
)


class Stub(Exchange):
    """`act` answers orders and sends; `gate` holds up every read of the funds until it is opened."""

    id = "stub"
    name = "Stub"
    description = "Does what a test says"
    form = (Field("apikey", "any text", required=False), Field("apisecret", "any text", required=False, secret=True))

    act: ClassVar = None
    gate: ClassVar[threading.Event] = threading.Event()
    waiting: ClassVar[threading.Semaphore] = threading.Semaphore(0)
    placed: ClassVar[list] = []
    #: What `find` and `withdrawals` answer, or raise.
    found: ClassVar = None
    find_one: ClassVar = None
    #: What `find_withdrawal` answers, or raises.
    sent: ClassVar = Unsupported("no call for a send by our id")
    asked: ClassVar[list[OrderRef]] = []
    order_lookup = "all"

    def rate(self, currency: str, asset: str) -> Rate:
        return type(self).act(currency, asset)

    def funds(self) -> dict[str, Funds]:
        self.waiting.release()
        assert self.gate.wait(60)
        return {"BTC": Funds(Decimal(1), Decimal(1), Decimal(0))}

    def permissions(self) -> set[str]:
        raise Unsupported("it does not tell what a key may do")  # and so no registration reads the funds

    def place(self, order: NewOrder) -> OrderState:
        self.placed.append(order)
        return type(self).act(order)

    def find(self, ref: OrderRef) -> OrderState | None:
        self.asked.append(ref)
        found = type(self).find_one() if type(self).find_one else type(self).found
        if isinstance(found, Exception):
            raise found
        return found

    def find_withdrawal(self, client_id: str, since: datetime, until: datetime) -> Withdrawal | None:
        if isinstance(type(self).sent, Exception):
            raise type(self).sent
        return type(self).sent

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        return type(self).found

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        self.placed.append(withdrawal)
        return type(self).act(withdrawal)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        keys = self.context.credentials
        return DepositAddress(asset, f"{keys.apikey}/{keys.apisecret}", tag="9" if asset == "XRP" else None)


class Silent(Stub):
    """Looking up an order takes until `silence` is over; `asked_first` tells that somebody has begun."""

    id = "silent"
    name = "Silent"
    silence: ClassVar[threading.Event] = threading.Event()
    asked_first: ClassVar[threading.Event] = threading.Event()

    def find(self, ref: OrderRef) -> OrderState | None:
        self.asked_first.set()
        assert self.silence.wait(60)
        return super().find(ref)
