"""The pytest plugin: a real server for the tests of a bot, and the fixtures that say what happens at its exchanges.

pytest loads this module in every run, also where no test of a bot is: it imports nothing but pytest. What the fixtures
need is imported when the first test asks for one. See the README beside this file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..client import Backend
    from .faults import Faults
    from .local_exchanges import LocalExchange
    from .paper import PaperControl
    from .servers import RunningServer, XWrapServer

_EXCHANGES = ("kraken", "bitstamp", "backpack", "mtgox", "hub")
_SERVER = pytest.StashKey["XWrapServer"]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed although a fault that it planned did not happen."""
    result = yield
    server = item.stash.get(_SERVER, None)
    if server is not None and (lines := server.unused_faults()):
        pytest.fail("\n".join([*lines, "say optional=True where it need not happen"]), pytrace=False)
    return result


def _servers() -> ModuleType:
    """Return the module with the servers, which is costly to import. Fails the test when the extra is missing."""
    try:
        return import_module(".servers", __package__)
    except ModuleNotFoundError as error:
        pytest.fail(f"{error}; the fixtures run a real server: pip install 'bitmm[testing]'", pytrace=False)


@pytest.fixture(scope="session")
def _xwrap_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Give the server of all tests that need no local exchange."""
    with _servers().RunningServer(tmp_path_factory.mktemp("xwrap"), {}) as running:
        yield running


@pytest.fixture
def xwrap_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XWrapServer]:
    """A real server with an account of this test's own: `url`, `username`, `password`, `xwrap`, `create_backend`."""
    servers = _servers()
    wanted = [id for id in _EXCHANGES if f"{id}_exchange" in request.fixturenames]
    with ExitStack() as stack:
        if wanted:
            folder = tmp_path_factory.mktemp("xwrap")
            running = stack.enter_context(servers.running_with(wanted, folder))
        else:
            running = request.getfixturevalue("_xwrap_shared")
        server = servers.XWrapServer(running)
        stack.callback(server.close)
        request.node.stash[_SERVER] = server
        yield server


@pytest.fixture
def xwrap_backend(xwrap_server: XWrapServer) -> Backend:
    """A Backend on paper with 200,000 USD and 1 BTC."""
    return xwrap_server.backend


@pytest.fixture
def xwrap_paper(xwrap_server: XWrapServer) -> PaperControl:
    """Price, clock and money of the paper exchange."""
    return xwrap_server.paper


@pytest.fixture
def xwrap_faults(xwrap_server: XWrapServer) -> Faults:
    """What goes wrong between client, server and paper exchange."""
    return xwrap_server.faults


@pytest.fixture
def backend(xwrap_backend: Backend) -> Backend:
    """A Backend on paper with 200,000 USD and 1 BTC; also `xwrap_backend`."""
    return xwrap_backend


@pytest.fixture
def paper(xwrap_paper: PaperControl) -> PaperControl:
    """Price, clock and money of the paper exchange; also `xwrap_paper`."""
    return xwrap_paper


@pytest.fixture
def faults(xwrap_faults: Faults) -> Faults:
    """What goes wrong between client, server and paper exchange; also `xwrap_faults`."""
    return xwrap_faults


@pytest.fixture
def kraken_exchange(xwrap_server: XWrapServer) -> LocalExchange:
    """A local Kraken, true to its protocol, with a `backend` and a `ledger()`."""
    return xwrap_server.local_exchange("kraken")


@pytest.fixture
def bitstamp_exchange(xwrap_server: XWrapServer) -> LocalExchange:
    """A local Bitstamp, true to its protocol, with a `backend` and a `ledger()`."""
    return xwrap_server.local_exchange("bitstamp")


@pytest.fixture
def backpack_exchange(xwrap_server: XWrapServer) -> LocalExchange:
    """A local Backpack, true to its protocol, with a `backend` and a `ledger()`."""
    return xwrap_server.local_exchange("backpack")


@pytest.fixture
def mtgox_exchange(xwrap_server: XWrapServer) -> LocalExchange:
    """A local Mt.Gox, true to its protocol, with a `backend` and a `ledger()`."""
    return xwrap_server.local_exchange("mtgox")


@pytest.fixture
def hub_exchange(xwrap_server: XWrapServer) -> LocalExchange:
    """A local hub, true to its protocol, with a `backend` and a `ledger()`."""
    return xwrap_server.local_exchange("hub")
