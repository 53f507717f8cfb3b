"""An XWrap and a Backend can be closed, by hand and at the end of a with block; nothing is left open, in any way."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from bitmm.xwrap._http import Adapter
from bitmm.xwrap.client import Backend, XWrap
from tests.support.client_servers import answer_well
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import Connection, raw_server

ROOT = Path(__file__).parents[2]


def test_the_end_of_a_with_block_closes_the_connections_also_those_of_its_backends(server):
    with XWrap(server.url) as xwrap:
        xwrap.list_exchanges()
        with Backend(7, USER, PASSWORD, xwrap) as backend:
            assert backend.balance()
            first = idle_connections(xwrap)
        assert are_closed(first)
        assert backend.balance()
        second = idle_connections(xwrap)
        assert not are_closed(second)
    assert are_closed(second)
    assert server.connections == len(first + second) == 2


def test_closing_twice_or_before_the_first_call_is_no_error(server):
    xwrap = XWrap(server.url)
    xwrap.close()
    xwrap.list_exchanges()
    xwrap.close()
    xwrap.close()
    assert server.connections == 1


def test_a_call_after_closing_opens_a_connection_as_a_requests_session_does(server):
    xwrap = XWrap(server.url)
    backend = Backend(7, USER, PASSWORD, xwrap)
    xwrap.close()
    assert backend.buy("USD", "BTC", "0.1")["id"] == 41
    xwrap.close()
    assert backend.balance() == {"BTC": Decimal("1.5")}
    assert server.connections == 2


def test_an_error_passes_through_the_with_block(server):
    with pytest.raises(ZeroDivisionError), XWrap(server.url):
        raise ZeroDivisionError


def test_a_callers_session_stays_open(server):
    with requests.Session() as session:
        session.get(f"{server.url}/list_exchanges/", timeout=5)
        with XWrap(server.url, session=session) as xwrap:
            xwrap.list_exchanges()
            ours = idle_connections(xwrap)
        assert are_closed(ours)
        session.get(f"{server.url}/list_exchanges/", timeout=5)
    assert server.connections == 2


def test_orders_of_other_threads_are_not_disturbed_by_closing():
    with raw_server(slowly) as server, ThreadPoolExecutor(9) as pool:
        xwrap = XWrap(server.url)
        backend = Backend(7, USER, PASSWORD, xwrap)
        callers = [pool.submit(lambda: [backend.buy("USD", "BTC", "0.1")["id"] for _ in range(20)]) for _ in range(8)]
        while not all(caller.done() for caller in callers):
            xwrap.close()
        assert [caller.result() for caller in callers] == [[41] * 20] * 8
        # Each was one request: none was lost and looked up, or sent again.
        assert len(server.requests) == 160
        xwrap.list_exchanges()
        last = idle_connections(xwrap)
        xwrap.close()
        assert are_closed(last)


def test_an_order_that_is_about_to_take_a_connection_while_another_thread_closes_is_placed(server, monkeypatch):
    xwrap, get_pool = XWrap(server.url), Adapter.get_connection_with_tls_context

    def get_pool_that_is_closed(*arguments, **settings):
        pool = get_pool(*arguments, **settings)
        xwrap.close()
        return pool

    backend = Backend(7, USER, PASSWORD, xwrap)
    backend.balance()
    monkeypatch.setattr(Adapter, "get_connection_with_tls_context", get_pool_that_is_closed)
    assert backend.buy("USD", "BTC", "0.1")["id"] == 41
    assert [request.method for request in server.requests] == ["GET", "POST"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_closes_leaves_the_connections_of_its_parent_open(server):
    program = (
        "import os, sys\n"
        "from bitmm.xwrap.client import XWrap\n"
        "xwrap = XWrap(sys.argv[1])\n"
        "xwrap.list_exchanges()\n"
        "if not (pid := os.fork()):\n"
        "    xwrap.close()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "xwrap.list_exchanges()\n"
    )
    run(program, server.url)
    assert server.connections == 1


@pytest.mark.parametrize(
    "use",
    [
        "with XWrap(url) as xwrap: xwrap.list_exchanges()",
        "xwrap = XWrap(url); xwrap.list_exchanges(); xwrap.close()",
        "xwrap = XWrap(url); xwrap.list_exchanges(); del xwrap",
        "xwrap = XWrap(url); xwrap.list_exchanges()",
        "Backend(7, 'ann', 'her password', url).balance()",
        "pickle.loads(pickle.dumps(Backend(7, 'ann', 'her password', XWrap(url)))).balance()",
    ],
)
def test_no_resource_warning_is_given(server, use):
    program = (
        f"import gc, pickle, sys\nfrom bitmm.xwrap.client import Backend, XWrap\nurl = sys.argv[1]\n{use}\ngc.collect()"
    )
    assert run(program, server.url) == ""


def slowly(connection: Connection) -> None:
    connection.wait(0.001)
    answer_well(connection)


def idle_connections(xwrap):
    """The connections that wait for the next call."""
    pools = xwrap._api._transport._connections._adapter._pools.values()
    return [connection for pool in pools for connection in pool.pool.queue if connection is not None]


def are_closed(connections):
    return [connection.sock for connection in connections] == [None] * len(connections) != []


def run(program, url):
    """What a Python prints that shows every warning."""
    command = [sys.executable, "-X", "dev", "-W", "always", "-c", program, url]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
