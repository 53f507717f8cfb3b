"""What an order would cost by an order book and the fees: exactly, and what rests at its limit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.estimates import estimate_from_book
from bitmm.xwrap.exchanges.models import Fees, NewOrder, OrderBook

D = Decimal
BOOK = OrderBook(
    bids=((D(99), D(1)), (D(95), D(2))),
    asks=((D(100), D(1)), (D(110), D(2))),
    time=datetime(2026, 11, 27, tzinfo=UTC),
)
FEES = Fees(D("0.001"), D("0.002"), "account")


def estimate(side: Any, *, fees: Fees | None = FEES, **sizes: str) -> Any:
    order = NewOrder(side, "USD", "BTC", "0" * 32, **{name: D(size) for name, size in sizes.items()})
    return estimate_from_book("Kraken", order, BOOK, fees)


def figures(side: Any, **sizes: str) -> tuple[Any, ...]:
    found = estimate(side, **sizes)
    return found.price, found.average, found.spent, found.fee, found.slippage


@pytest.mark.parametrize(
    ("side", "sizes", "expected"),
    [
        ("buy", {"amount": "2"}, (D(100), D(105), D(210), D("0.420"), D("0.05"))),
        ("sell", {"amount": "2"}, (D(99), D(97), D(194), D("0.388"), D("2") / D("99"))),
        ("buy", {"cost": "155"}, (D(100), D(155) / D("1.5"), D(155), D("0.310"), None)),
        ("buy", {"amount": "1", "price": "105"}, (D(100), D(100), D(100), D("0.200"), D(0))),
        # One unit is executed at once, by the taker's fee, and another one rests, by the maker's.
        ("buy", {"amount": "2", "price": "105"}, (D(100), D("102.5"), D(205), D("0.305"), D(0))),
        ("buy", {"amount": "2", "price": "90"}, (D(90), D(90), D(180), D("0.180"), None)),
        ("sell", {"amount": "3", "price": "96"}, (D(99), D(97), D(291), D("0.390"), D(0))),
    ],
)
def test_an_estimate_is_what_the_levels_and_the_fees_say(side, sizes, expected):
    found = figures(side, **sizes)
    assert found[2:4] == expected[2:4]
    assert found[0] == expected[0]
    for name, value, right in (("average", found[1], expected[1]), ("slippage", found[4], expected[4])):
        if right is not None:
            assert abs(value - right) < D("1e-25"), name


@pytest.mark.parametrize(
    ("side", "sizes", "words"),
    [
        ("buy", {"amount": "3.5"}, "lists only 3 BTC of the 3.5"),
        ("sell", {"amount": "4"}, "lists only 3 BTC of the 4"),
        ("buy", {"cost": "400"}, "lists only 320 USD of the 400"),
    ],
)
def test_a_market_order_that_is_larger_than_the_book_is_refused_with_what_it_holds(side, sizes, words):
    with pytest.raises(Refused, match=words) as caught:
        estimate(side, **sizes)
    assert caught.value.code == "book_exhausted"


def test_a_fee_that_is_taken_in_the_asset_counts_the_asset_of_a_buy():
    for side, fee, unit in (("buy", "0.004", "BTC"), ("sell", "0.388", "USD")):
        order = NewOrder(side, "USD", "BTC", "0" * 32, amount=D(2))
        found = estimate_from_book("Backpack", order, BOOK, FEES, buy_fee_in_asset=True)
        assert (found.fee, found.fee_currency) == (D(fee), unit)


def test_without_known_fees_there_is_no_fee():
    found = estimate("buy", amount="1", fees=None)
    assert (found.spent, found.fee, found.fee_currency) == (D(100), None, None)
