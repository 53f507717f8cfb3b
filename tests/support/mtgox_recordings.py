"""The recorded answers of Mt.Gox, a server that plays them, and what the tests with them ask for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bitmm.xwrap.exchanges.models import (
    NewOrder,
    NewWithdrawal,
    OrderRef,
)
from bitmm.xwrap.testing.exchanges.mtgox import RECORDED
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue

XCHANGE, RUBY = RECORDED["xchange"], RECORDED["ruby_gem_v1"]
D = Decimal


class Player(Venue):
    """Answers each path with one recorded text; what is not set is an empty list of that version."""

    name = "player"

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.status = 200
        super().__init__()

    def routes(self):
        return {}

    def handle(self, request):
        called = f"{request.path}?{request.form.get('currency', '')}"
        found = [text for part, text in self.texts.items() if part in called]
        return Reply.text(found[0] if found else '{"result":"success","return":[],"data":[]}', self.status)


def xchange(version: int, name: str) -> Any:
    return XCHANGE[f"v{version}"][name]["body"]


def ruby(name: str) -> Any:
    return RUBY[name]["body"]


def sell(amount: str = "1", price: str | None = "16.75") -> NewOrder:
    return NewOrder("sell", "USD", "BTC", "0" * 32, amount=D(amount), price=None if price is None else D(price))


def placed(oid: str, side: str = "buy") -> OrderRef:
    return OrderRef(side, "USD", "BTC", "0" * 32, oid)


def send(address: str = "15xmfK1f1BnUWVaoZpjPWJmUHaexp8FHVs") -> NewWithdrawal:
    return NewWithdrawal("BTC", D("0.1"), address, "0" * 32)


def units(value_int: int, currency: str) -> dict[str, str]:
    return {"value_int": str(value_int), "currency": currency}
