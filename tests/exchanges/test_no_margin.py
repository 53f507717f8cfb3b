"""Margin is never used unasked: no request that moves money has a word of a loan; nor has one in the survey of ccxt."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.exchanges import connect

WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"
#: Kraken's `leverage`, `margin` and `reduce_only`, Bitstamp's `margin_mode`, Backpack's `autoBorrow`,
#: `autoBorrowRepay`, `autoLend`, `autoLendRedeem` and `reduceOnly`, and whatever is called like them.
MARGIN = re.compile(r"margin|leverage|borrow|lend|loan|reduce.?only", re.IGNORECASE)


def orders(currency, conditions, ask):
    """Return an order of each kind, and one for each condition that the exchange has."""
    amount, far = Decimal("0.01"), (ask * Decimal("0.9")).quantize(Decimal(1))

    def order(side, **fields):
        return NewOrder(side, currency, "BTC", uuid.uuid4().hex, **fields)

    yield from (order("buy", amount=amount), order("sell", amount=amount), order("buy", cost=Decimal(100)))
    yield from (order("buy", amount=amount, price=far), order("sell", amount=amount, price=far))
    if "stop" in conditions:
        above = (ask * Decimal("1.1")).quantize(Decimal(1))
        yield from (order("buy", amount=amount, stop=above), order("buy", amount=amount, price=above, stop=above))
    for condition in sorted(conditions - {"stop"}):
        fields = {"post_only": True} if condition == "post_only" else {"time_in_force": condition}
        if condition == "GTD":
            fields["expires"] = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
        yield order("buy", amount=amount, price=far, **fields)


@pytest.mark.parametrize(
    ("kind", "venue", "currency"),
    [
        (Kraken, KrakenVenue, "EUR"),
        (Bitstamp, BitstampVenue, "EUR"),
        (Backpack, BackpackVenue, "USDC"),
    ],
    ids=lambda given: getattr(given, "id", ""),
)
def test_neither_an_order_nor_a_send_asks_for_a_loan(kind, venue, currency, transport):
    with venue() as local:
        exchange = connect(kind, local, transport)
        made = list(orders(currency, kind.order_conditions, exchange.rate(currency, "BTC").buy))
        for order in made:
            exchange.place(order)
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), WALLET, uuid.uuid4().hex))
        moving = [request for request in local.requests if request.body and request.method == "POST"]
        assert [row["kind"] for row in local.ledger()].count("order") == len(made)
        assert not [request.body for request in moving if MARGIN.search(f"{request.target} {request.body.decode()}")]
