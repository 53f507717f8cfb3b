"""How many connections callers may have follows from the descriptors that the system gives."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.server import descriptors
from bitmm.xwrap.server.descriptors import most_connections, raise_descriptor_limit
from bitmm.xwrap.server.settings import Settings, SetupError

SETTINGS = Settings.read({})
THREADS = SETTINGS.outbound_threads + SETTINGS.urgent_threads + SETTINGS.database_threads


@pytest.fixture
def limits(monkeypatch):
    """Set the soft and the hard limit of descriptors that the process believes to have; returns what it sets."""

    def set_limits(soft, hard=None, refusal=None):
        given = []

        def setrlimit(_resource, pair):
            if refusal:
                raise refusal
            given.append(pair)

        fake = SimpleNamespace(
            RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _resource: (soft, hard or soft), setrlimit=setrlimit
        )
        monkeypatch.setattr(descriptors, "_resource", fake)
        return given

    return set_limits


@pytest.mark.parametrize(
    ("limit", "most"),
    [(1024, 231), (1_048_576, 10_000), (20_000, 10_000), (4096, 4096 - 100 - 3 * THREADS), (-1, 10_000)],
)
def test_what_the_data_base_and_the_exchanges_need_is_left_to_them(limits, limit, most):
    limits(limit)
    assert most_connections(SETTINGS) == most
    calls = min(most, THREADS)
    assert limit == -1 or most + 3 * calls + 100 <= limit


def test_where_there_are_too_few_descriptors_the_server_says_how_many_it_needs(limits):
    limits(128)
    with pytest.raises(SetupError, match=r"128 file descriptors, and the server needs at least 164; .*ulimit -n"):
        most_connections(SETTINGS)


def test_the_limit_is_raised_to_what_the_system_allows(limits):
    given = limits(1024, 4096)
    raise_descriptor_limit()
    assert given == [(4096, 4096)]


def test_where_the_limit_cannot_be_raised_or_there_is_none_it_stays(limits, monkeypatch):
    limits(1024, -1, refusal=ValueError("current limit exceeds maximum limit"))
    raise_descriptor_limit()
    monkeypatch.setattr(descriptors, "_resource", None)
    raise_descriptor_limit()
    assert most_connections(SETTINGS) == 10_000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_server_that_is_given_too_few_descriptors_does_not_start(tmp_path):
    command = f"ulimit -n 128; exec {sys.executable} -m bitmm.xwrap serve --port 0 --data {tmp_path}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "128 file descriptors" in done.stderr
    assert "Traceback" not in done.stderr
