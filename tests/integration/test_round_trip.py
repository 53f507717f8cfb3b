"""Amounts go through the client, the real server, its journal and an exchange, and back, without losing a digit.

10,000 by default; `XWRAP_ROUND_TRIPS=1000000 pytest tests/integration/test_round_trip.py` sends a million.
"""

from __future__ import annotations

import decimal
import random
from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.exchanges.models import OrderState
from tests.client.test_round_trip import CASES
from tests.support.stub import Stub


@pytest.fixture
def backend(serving, monkeypatch):
    """A backend at an exchange that fills every order with the amount and the price that it was given."""
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "act", staticmethod(filled))
    with serving(exchanges=("stub",)) as server:
        yield XWrap(server.url).create_backend(*server.account(), "stub", "", "", "")


def filled(order):
    Stub.placed.clear()
    return OrderState("X1", "filled", filled=order.amount, average=order.price, spent=order.amount, fee=order.price)


def amount(dice):
    """A positive amount that the protocol takes: at most 40 characters in plain digits."""
    decimals = dice.randint(0, 30)
    digits = dice.randint(1, 38 - max(0, decimals - 20))
    number = Decimal(dice.randint(10 ** (digits - 1), 10**digits - 1)).scaleb(-decimals, decimal.Context(prec=100))
    return number if len(format(number, "f")) <= 40 else Decimal("0.00000001")


def test_amounts_and_prices_come_back_with_the_digits_that_they_had(backend):
    dice = random.Random(2013)
    for _ in range(CASES // 2):
        asked, price = amount(dice), amount(dice)
        with decimal.localcontext(prec=dice.randint(1, 50)):
            order = backend.buy("USD", "BTC", dice.choice([asked, format(asked, "f")]), price=price)
        told = [format(order[name], "f") for name in ("amount", "filled", "spent", "price", "average", "fee")]
        assert told == [format(asked, "f")] * 3 + [format(price, "f")] * 3
