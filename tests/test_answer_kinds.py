"""Every adapter is given every kind of answer that it can meet."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.answer_kinds import EXCHANGES, KINDS, REASONS, faults


def test_each_adapter_is_given_each_kind_of_answer_or_cannot_meet_it():
    """In a process of its own, which collects the tests again."""
    shown = subprocess.run(
        [sys.executable, "-m", "tests.answer_kinds"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_a_cell_without_a_test_or_a_reason_is_found_and_so_is_a_reason_that_is_no_longer_true():
    full = Counter(dict.fromkeys({(kind, name) for kind in KINDS for name in EXCHANGES} - set(REASONS), 1))
    assert faults(full) == []
    assert faults(full - Counter({("A", "kraken"): 1})) == ["A kraken: no test, and no reason why there is none"]
    [explained] = sorted(REASONS)[:1]
    assert faults(full + Counter({explained: 1})) == [
        f"{' '.join(explained)}: a reason why it is not tested, and a test"
    ]
    assert faults(full + Counter({("Z", "kraken"): 1})) == ["Z kraken: there is no such kind or adapter"]
