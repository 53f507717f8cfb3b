"""What is owned, counted in one currency: against sums by hand, in fractions of whole numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from bitmm.xwrap.exchanges.models import Rate
from bitmm.xwrap.server.valuation import Price, Valuation, add_up, appraise

D = Decimal
NAMES = ("EUR", "BTC", "ETH", "SOL", "XYZ")
amounts = st.decimals(-(10**12), 10**12, places=12, allow_nan=False)
prices = st.decimals("0.00000001", 10**8, places=8)


def price(buy, sell, *, inverse=False):
    return Price(Rate(D(buy), D(sell), datetime.now(UTC)), inverse)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.none() | amounts, max_size=5),
    st.dictionaries(st.sampled_from(NAMES[1:]), st.tuples(prices, prices), max_size=4),
)
def test_the_total_is_the_sum_by_hand_and_all_else_is_named(owned, quoted):
    found = appraise(owned, "EUR", {name: price(*quote) for name, quote in quoted.items()})
    by_hand = Fraction(0)
    named = {}
    for name, amount in owned.items():
        if amount is None:
            named[name] = None
        elif name == "EUR":
            by_hand += Fraction(amount)
        elif name in quoted:
            by_hand += Fraction(amount) * Fraction(quoted[name][0 if amount < 0 else 1])
        elif amount != 0:
            named[name] = amount
    assert Fraction(found.total) == by_hand
    assert found.not_priced == named


@given(st.lists(st.tuples(amounts, st.dictionaries(st.sampled_from(NAMES), st.none() | amounts)), max_size=5))
def test_valuations_add_up_and_what_is_not_known_stays_so(parts):
    together = add_up(Valuation(total, named) for total, named in parts)
    assert Fraction(together.total) == sum(Fraction(total) for total, _ in parts)
    for name in NAMES:
        of_name = [named[name] for _, named in parts if name in named]
        if None in of_name:
            assert together.not_priced[name] is None
        elif of_name:
            assert Fraction(together.not_priced[name]) == sum(map(Fraction, of_name))
        else:
            assert name not in together.not_priced


def test_what_is_sold_for_the_wanted_currency_brings_the_bid():
    assert appraise({"BTC": D("0.5")}, "EUR", {"BTC": price("101", "99")}).total == D("49.5")


def test_what_buys_the_wanted_currency_is_divided_by_the_ask_to_28_digits():
    found = appraise({"EUR": D(100)}, "BTC", {"EUR": price("30000", "29000", inverse=True)})
    assert found.total == D("0.003333333333333333333333333333")


def test_what_is_owed_counts_what_it_costs():
    assert appraise({"BTC": D("-0.5")}, "EUR", {"BTC": price("101", "99")}).total == D("-50.5")
    assert appraise({"EUR": D("-100")}, "BTC", {"EUR": price("50", "40", inverse=True)}).total == D("-2.5")


def test_nothing_of_an_asset_needs_no_price_and_is_not_named():
    assert appraise({"XYZ": D("0.00")}, "EUR", {}) == Valuation(D(0), {})
