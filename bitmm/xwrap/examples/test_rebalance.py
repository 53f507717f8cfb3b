"""Tests of the rebalancing bot, for a laptop and for CI: a real server, prices of their own, lost answers, restarts.

    xwrap examples copy rebalance && xwrap examples copy test_rebalance
    pip install 'bitmm[testing]' && python -m pytest test_rebalance.py

The fixtures `backend`, `paper` and `faults` come with bitmm: there is nothing to set up, no key, and no real money.
"""

from decimal import Decimal
from pathlib import Path

import pytest
from rebalance import rebalance

from bitmm.xwrap.client import Backend, InsufficientFunds, OutcomeUnknown, Unavailable
from bitmm.xwrap.testing.faults import Faults
from bitmm.xwrap.testing.paper import PaperControl


@pytest.fixture
def due(tmp_path: Path, paper: PaperControl) -> Path:
    """Return the file of the order that is due; of 400,000 USD a quarter is in BTC, so that 1 BTC is to be bought."""
    paper.price(100_000)
    paper.fund(USD=300_000, BTC=1)
    return tmp_path / "rebalance.json"


def test_it_buys_until_half_is_in_btc_and_then_waits(backend: Backend, due: Path) -> None:
    order = rebalance(backend, due)
    assert (order["side"], order["filled"]) == ("buy", Decimal(1))
    assert rebalance(backend, due) is None
    assert not due.exists()


def test_it_sells_when_the_price_has_risen(backend: Backend, paper: PaperControl, due: Path) -> None:
    rebalance(backend, due)
    paper.price(101_000)
    assert rebalance(backend, due) is None  # within its tolerance
    paper.price(120_000)
    order = rebalance(backend, due)
    assert (order["side"], order["average"]) == ("sell", Decimal(120_000))


def test_an_order_whose_answer_is_lost_is_placed_once(backend: Backend, faults: Faults, due: Path) -> None:
    faults.lose_answer("buy", recover=False)
    with pytest.raises(OutcomeUnknown):
        rebalance(backend, due)
    assert due.exists()
    assert rebalance(backend, due)["status"] == "filled"
    assert backend.balance()["BTC"] == 2


@pytest.mark.parametrize("executed", [True, False])
def test_an_order_that_is_unknown_at_the_exchange_is_placed_once(
    backend: Backend, faults: Faults, due: Path, executed: bool
) -> None:
    faults.unknown("buy", executed=executed)
    with pytest.raises(OutcomeUnknown):
        rebalance(backend, due)
    faults.resolve()
    assert rebalance(backend, due)["status"] == "filled"
    assert backend.balance()["BTC"] == 2


def test_it_outlives_a_server_that_is_away_and_one_that_starts_anew(
    backend: Backend, faults: Faults, due: Path
) -> None:
    with faults.down(), pytest.raises(Unavailable):
        rebalance(backend, due)
    faults.restart("buy")
    assert rebalance(backend, due)["status"] == "filled"
    assert backend.balance()["BTC"] == 2


def test_an_order_that_is_refused_is_not_tried_for_ever(backend: Backend, faults: Faults, due: Path) -> None:
    faults.refuse("buy", code="insufficient_funds")
    with pytest.raises(InsufficientFunds):
        rebalance(backend, due)
    assert not due.exists()
