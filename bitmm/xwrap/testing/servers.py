"""The real server of the tests: in this process, on a port of its own, with fresh data in a temporary folder."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Self

from ..client import Backend, XWrap
from ..exchanges.base import Credentials, Exchange, ExchangeContext
from ..exchanges.paper import PaperConfig
from ..server.db.store import Store
from ..server.passwords import hash_password
from ..server.runner import run_in_background
from ..server.settings import Settings
from ..transport import Transport
from .exchanges.venue import Venue
from .faults import Faults
from .front import Front
from .local_exchanges import LocalExchange, user_name
from .paper import FaultyPaper, PaperControl

__all__ = ["RunningServer", "XWrapServer", "running_with", "settings_for"]

#: Fewer threads than a server has that strangers reach: the system may give a run of tests few.
_THREADS = {"outbound_threads": 64, "exchange_threads": 48, "urgent_threads": 16, "database_threads": 12}
#: Outcomes are asked for often, a rate of before is never the answer, and no address waits a day.
_QUICK = {"reconcile_seconds": 0.2, "rate_cache_seconds": 0.0, "address_wait_seconds": 0.0}
#: Seconds in which a request may still arrive at a local exchange. On paper none is ever on its way.
_ARRIVAL_SECONDS = 1.0


@contextmanager
def running_with(ids: Sequence[str], folder: Path) -> Iterator[RunningServer]:
    """Start local exchanges, by their ids, and give a server that offers them and knows nothing of earlier ones."""
    with ExitStack() as stack:
        modules = {id: import_module(f".exchanges.{id}", __package__) for id in ids}
        venues = {id: stack.enter_context(module.VENUE()) for id, module in modules.items()}
        yield stack.enter_context(RunningServer(folder, venues))


def settings_for(folder: Path, venues: Mapping[str, Venue]) -> Settings:
    """Return the settings of a server with its data in `folder`; nothing of the environment counts."""
    return Settings.read(
        {},
        data=folder,
        port=0,
        exchanges=("paper", *venues),
        exchange_urls={id: venue.url for id, venue in venues.items()},
        exchange_limits=dict.fromkeys(venues),
        reconcile_grace_seconds=_ARRIVAL_SECONDS if venues else 0.0,
        **_THREADS,
        **_QUICK,
    )


class RunningServer:
    """A server that several tests may share, one after the other: each has an account and a state of its own."""

    def __init__(self, folder: Path, venues: Mapping[str, Venue]) -> None:
        """`folder`: where its data are. `venues`: the local exchanges that it offers, beside paper, by their ids."""
        self.venues = venues
        self.front = Front(self.restart)
        self.settings = settings_for(folder, venues)
        #: One for all accounts: to hash another one takes longer than all else that a test needs.
        self.password = secrets.token_urlsafe(18)
        self.test: XWrapServer | None = None
        self._password_hash = hash_password(self.password)
        self._store = Store(self.settings.database)
        self._store.prepare()
        #: The server now, and all that is ended with it.
        self._running, self._all = ExitStack(), ExitStack()
        self._restarting = threading.Lock()
        self._paper_config: PaperConfig | None = None

    def __enter__(self) -> Self:
        self._all.callback(self._store.close)
        self._all.callback(self._running.close)
        self._all.enter_context(self.front)
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop. Raises AssertionError when the front itself failed."""
        self._all.close()

    @property
    def server_url(self) -> str:
        """Return the URL of the server itself, where no fault is made."""
        return self.front.server_url

    def add_account(self) -> tuple[int, str]:
        """Add an account, and return its id and its name."""
        name = f"bot-{secrets.token_hex(6)}"
        return self._store.accounts.add(name, self._password_hash), name

    def restart(self) -> None:
        """Stop the server, and start it anew with its data; no connection can be made meanwhile."""
        with self._restarting:
            self.front.down()
            self._running.close()
            self._start()
            self.front.up()

    def paper(self, registration: int, test: XWrapServer) -> FaultyPaper:
        """Return the paper exchange of a registration, as the server has it in this test."""
        return self._make_paper(test, ExchangeContext(Transport(), Credentials(), registration=registration))

    def begin(self, test: XWrapServer) -> None:
        """Let the exchanges and the way to the server be those of a test from now on."""
        self.test = test
        self.front.plan, self.front.account = test.faults, test.username

    def finish(self) -> None:
        """Make no fault any more."""
        self.front.plan = None
        self.front.up()

    def is_registration_of(self, account: int, id: int) -> bool:
        """Return whether the registration of this id is one of the account."""
        registration = self._store.registrations.get(id)
        return registration is not None and registration.account_id == account

    def wait_until_known(self, account: int, seconds: float) -> None:
        """Wait until no outcome of an account is unknown. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while any(
            registration.account_id == account
            for journal in (self._store.orders, self._store.withdrawals)
            for registration, _ in journal.unknown()
        ):
            if time.monotonic() > end:
                raise TimeoutError(f"an outcome is unknown still, after {seconds} seconds")
            time.sleep(0.01)

    def _start(self) -> None:
        self.front.server_url = self._running.enter_context(run_in_background(self.settings, self._paper_factory))

    def _paper_factory(self, config: PaperConfig) -> Callable[[ExchangeContext], Exchange]:
        self._paper_config = config
        return self._paper_of_now

    def _paper_of_now(self, context: ExchangeContext) -> Exchange:
        return self._make_paper(self.test, context)

    def _make_paper(self, test: XWrapServer | None, context: ExchangeContext) -> FaultyPaper:
        if test is None or self._paper_config is None:
            raise RuntimeError("the paper exchange is asked outside of a test")
        config = replace(self._paper_config, prices=test.paper, clock=test.paper.clock)
        return FaultyPaper(context, config, test.faults, test.is_own)


class XWrapServer:
    """The server of one test, with an account of its own: `url`, `username`, `password`, and `xwrap`, its client."""

    def __init__(self, running: RunningServer) -> None:
        self._running = running
        self.url = running.front.url
        account, self.username = running.add_account()
        self.password = running.password
        self.xwrap = XWrap(self.url)
        self.faults = Faults(running.front.down, running.front.up, partial(running.wait_until_known, account))
        self.paper = PaperControl(int(time.time()), self._read_open_orders, self._set_balances)
        self.is_own = cache(partial(running.is_registration_of, account))
        self._backend: Backend | None = None
        self._local: dict[str, LocalExchange] = {}
        running.begin(self)

    def __repr__(self) -> str:
        return f"<XWrapServer {self.url}, account {self.username}>"

    @property
    def backend(self) -> Backend:
        """Return the account's registration on paper, which is made when there is none."""
        if self._backend is None:
            self._backend = self.create_backend("paper")
        return self._backend

    def create_backend(
        self,
        exchange: str,
        uname: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        *,
        label: str = "",
        allow_send: bool = True,
        **fields: str,
    ) -> Backend:
        """Register at an exchange, past all faults, and return the Backend, which uses the URL with the faults.

        At a local exchange user name, key and secret are its own where they are not given. Paper needs none. Unlike the
        client's, it may send unless `allow_send` is False: the key of a local exchange may withdraw. Raises ValueError
        for an exchange that the server of the test does not offer, and what the client's raises.
        """
        venue = self._running.venues.get(exchange)
        if venue is None and exchange != "paper":
            offered = ", ".join(("paper", *self._running.venues))
            raise ValueError(
                f"the server of this test offers {offered}; for {exchange}, name {exchange}_exchange in it"
            )
        if venue is not None:
            uname, key = uname or user_name(venue), key or venue.key
            secret = secret or venue.secret
        with self._past_the_front() as xwrap:
            made = xwrap.create_backend(
                *(self.username, self.password, exchange, uname or "", key or "", secret or ""),
                label=label,
                allow_send=allow_send,
                **fields,
            )
        backend = Backend(made.id, self.username, self.password, self.xwrap)
        backend._take_over(made.info)  # noqa: SLF001 - what the server answered to the same registration
        return backend

    def local_exchange(self, id: str) -> LocalExchange:
        """Return a local exchange that was asked for in this test."""
        if id not in self._running.venues:
            raise ValueError(f"write {id}_exchange among the arguments of the test, so that the server offers it")
        if id not in self._local:
            self._local[id] = LocalExchange(self._running.venues[id], partial(self.create_backend, id))
        return self._local[id]

    def restart(self) -> None:
        """Stop the server and start it anew, with its data and at its URL; no connection can be made meanwhile."""
        self._running.restart()

    def unused_faults(self) -> list[str]:
        """Return a line for each fault that was planned and did not happen."""
        return [
            *self.faults.unused(),
            *(line for exchange in self._local.values() for line in exchange.unused_faults()),
        ]

    def close(self) -> None:
        """End the faults of the test, and the connections of its clients."""
        self._running.finish()
        self.faults.clear()
        self.xwrap.close()

    def _past_the_front(self) -> XWrap:
        """Return a client that meets no fault, and uses none up."""
        return XWrap(self._running.server_url)

    def _read_open_orders(self) -> None:
        """Let the server see what became of open orders on paper."""
        with self._past_the_front() as xwrap:
            for backend in xwrap.list_backends(self.username, self.password, "paper"):
                backend.orders("open")

    def _set_balances(self, balances: Mapping[str, Decimal]) -> None:
        self._running.paper(self.backend.id, self).set_balances(balances)
