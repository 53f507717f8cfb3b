"""The exchange contract in an outsider's project, which has no conftest.py of ours."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges import contract
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.http import unproved
from bitmm.xwrap.exchanges.models import Funds, Rate
from bitmm.xwrap.testing.checks import check_record, expect_refusal
from bitmm.xwrap.testing.exchange_contract import ExchangeContract

WRONG_EXCHANGE = '''
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Exchange, ExchangeContext
from bitmm.xwrap.exchanges.models import Funds, Rate
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.transport import Transport


class Wrong(Exchange):
    """Its prices are swapped, its funds do not add up, and it knows every market."""

    id, name, description = "wrong", "Wrong", "an exchange with mistakes"

    def rate(self, currency, asset):
        return Rate(Decimal("99.5"), Decimal("100.5"), datetime.now(UTC))

    def funds(self):
        return {name: Funds(Decimal(7), Decimal(5), Decimal(1)) for name in ("EUR", "BTC")}


class TestWrong(ExchangeContract):
    @pytest.fixture
    def exchange(self):
        return Wrong(ExchangeContext(Transport()))

    @pytest.fixture
    def ledger(self):
        return list
'''


@pytest.mark.parametrize("options", [[], ["-O"]], ids=["normally", "without assert statements"])
def test_a_wrong_exchange_fails_and_the_values_are_shown(tmp_path, options):
    (tmp_path / "test_wrong.py").write_text(WRONG_EXCHANGE)
    command = [sys.executable, *options, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "3 failed" in run.stdout
    assert "expected buy >= sell > 0, got Rate(buy=Decimal('99.5'), sell=Decimal('100.5')" in run.stdout
    assert "the total of EUR is Decimal('7'), expected Decimal('6')" in run.stdout
    assert "it was not refused, expected a refusal with one of ('unknown_market', 'unknown_asset')" in run.stdout
    assert "checks.py" not in run.stdout, "a failure shows the line of the contract"


def test_the_former_module_has_the_same_class():
    assert contract.ExchangeContract is ExchangeContract


NOW = datetime.now(UTC)
RATE = Rate(Decimal(2), Decimal(1), NOW)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (RATE, Funds),
        (replace(RATE, buy=None), Rate),
        (replace(RATE, buy=2.0), Rate),
        (replace(RATE, buy=Decimal("NaN")), Rate),
        (replace(RATE, time="2026-01-01T00:00:00Z"), Rate),
        (replace(RATE, time=NOW.replace(tzinfo=None)), Rate),
    ],
)
def test_a_record_with_a_wrong_value_is_not_accepted(record, kind):
    with pytest.raises(AssertionError, match="expected"):
        check_record(record, kind)


def test_a_right_record_is_returned():
    assert check_record(RATE, Rate) is RATE
    assert check_record(Funds(None, None, None), Funds)


@pytest.mark.parametrize("words", ["", " ", "x" * 501])
def test_a_refusal_without_readable_words_is_not_accepted(words):
    with pytest.raises(AssertionError, match="expected 1 to 500 characters"), expect_refusal("exchange_refused"):
        raise Refused(words)


def test_a_refusal_for_another_reason_is_not_accepted():
    with pytest.raises(AssertionError, match="is 'invalid_amount', expected one of"), expect_refusal("amount_min"):
        raise Refused("too small", code="invalid_amount")


def test_an_unknown_outcome_is_no_refusal():
    with pytest.raises(Unknown), expect_refusal("outcome_unknown"):
        raise Unknown("the answer was lost")


def test_an_unknown_outcome_with_a_refusal_inside_is_one_only_where_no_proof_is_wanted():
    unknown = unproved(Refused("not enough", code="insufficient_funds"))
    with pytest.raises(Unknown), expect_refusal("insufficient_funds"):
        raise unknown
    with expect_refusal("insufficient_funds", proved=False) as refusals:
        raise unknown
    assert refusals == [unknown.refusal]
    with pytest.raises(Unknown), expect_refusal("outcome_unknown", proved=False):
        raise Unknown("the answer was lost")
