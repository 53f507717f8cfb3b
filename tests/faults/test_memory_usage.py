"""An answer that is too much is refused before it takes the program's memory: at most 20 MiB above idle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_faults import FAULTS
from tests.support.raw_server import raw_server

LIMIT = 20 * 1024

CALL = """
import sys
from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

url, warm = sys.argv[1:]
Backend(1, "ann", "x", warm, timeout=30).balance()
before = peak()
try:
    Backend(1, "ann", "x", url, timeout=30).balance()
except APIError as error:
    print(type(error).__name__, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    "name",
    [
        "100 MB body",
        "endless body without length",
        "chunked without end",
        "gzip bomb",
        "storm of fat 100 Continue",
        "10,000 headers",
        "a header of 1 MB",
        "200,000 brackets",
        "a number of 100,000 digits",
    ],
)
def test_what_is_too_much_is_refused_in_little_memory(name):
    with raw_server(FAULTS[name].script) as server, raw_server(lambda conn: conn.answer("{}")) as warm:
        command = [sys.executable, "-c", CALL, server.url, warm.url]
        root = Path(__file__).parents[2]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
        kind, grown = result.stdout.split()
        assert kind in ("APIError", "Unavailable")
        assert int(grown) <= LIMIT
