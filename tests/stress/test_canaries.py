"""No secret that comes to the server comes out of it: some of its tests again, with everything logged and looked at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

ROOT = Path(__file__).parents[2]
LEAK = """
import logging
import requests

def test_leak(server):
    auth = server.account("ann", "canary password äöü")
    assert requests.get(f"{server.url}/exchanges", auth=tuple(map(str.encode, auth)), timeout=30).status_code == 200
    logging.getLogger("bitmm.anything").debug("the password is %s", auth[1])
"""


def run(*tests):
    """What a run with the plugin ends with: its status, how many secrets it looked for, its hits, all that it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.canaries", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    found = re.search(r"canaries: (\d+) secrets looked for in .*: (\d+) hits", done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode, int(found[1]), int(found[2]), done.stdout


def test_no_secret_of_the_registrations_comes_out():
    status, secrets, hits, said = run("tests/server/test_vault.py", "tests/server/views/test_registrations.py")
    assert (status, hits) == (0, 0), said[-3000:]
    # Fewer, when the password of the tests stands in the code and is taken for a word of it.
    assert secrets > 15


def test_a_secret_that_comes_out_is_found(tmp_path):
    (tmp_path / "test_leak.py").write_text(LEAK, encoding="utf-8")
    status, _, hits, said = run("-p", "tests.conftest", str(tmp_path))
    assert (status, hits) == (1, 1), said[-3000:]
    assert "canaries: log records: bitmm.anything, DEBUG has cana…" in said
