"""The tests of the client and of the faults, run again with every log at DEBUG: no secret in anything they print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.marked_secrets import NEEDLES

ROOT = Path(__file__).parents[2]
#: Not what takes its time, nor this test again; of the table of faults the orders.
SLOW = "drips or silent or for_ever or hesitates or test_memory or test_round_trip or test_no_secret"
CHOICE = f"not ({SLOW} or (test_every_fault and (read or send)))"


@pytest.mark.parametrize(("tests", "least"), [("tests/client", 200), ("tests/faults", 300)])
def test_no_secret_is_in_anything_that_the_tests_print_at_debug(tests, least):
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.log_everything"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-vv", "-s", "--tb=no", "--log-cli-level=DEBUG", "-k", CHOICE, tests]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=200, check=False)
    everything = run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", everything)
    assert passed, everything[-1000:]
    assert int(passed[1]) > least
    # It did hear the connections, and http.client where nothing stops it.
    assert everything.count("DEBUG") > 100
    assert "Starting new HTTP connection" in everything
    assert "canary heard: send: b'GET / HTTP/1.1" in everything
    assert [needle for needle in NEEDLES if needle in everything] == []
