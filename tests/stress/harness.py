"""What the stress tests share: local exchanges, a server in a process of its own that may be killed, accounts on it."""

from __future__ import annotations

import json
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.client import Backend
from bitmm.xwrap.exchanges import EXCHANGES
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from bitmm.xwrap.testing.exchanges.venue import Venue
from tests.stress.limits import Limit
from tests.support.databases import drop_database, new_database, server
from tests.support.sends import allow_sends

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
#: Longer than anything here takes on a busy machine.
LONGEST_WAIT = 120.0
#: Sends whose numbers differ by this go to the same address.
_ADDRESSES = 200


class HarnessError(Exception):
    """The test itself cannot go on."""


class ServerEndedError(HarnessError):
    """The server process ended before it served."""


@dataclass(frozen=True)
class ExchangeCase:
    """An exchange as it is tested: what is traded there, and the requests that execute something.

    Order `number` is for `amount` + `number` times `step`, so that its amount in the ledger identifies it.
    """

    #: The exchange's id at the server, and the module of its local exchange.
    id: str
    venue: str
    currency: str
    amount: Decimal
    step: Decimal
    address: str
    #: A part of "METHOD PATH" of the request that executes a buy, a sell, a send.
    executing_requests: Mapping[str, str]
    #: What a registration's form has beside the key and the secret.
    form: Mapping[str, str] = field(default_factory=dict)
    #: What an order has beside currency, asset and amount.
    terms: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"buy": {}, "sell": {}})
    #: Whether an order, and a send, can be looked up by our id.
    finds_orders: bool = True
    finds_sends: bool = False
    #: Whether it sends only to addresses of its own address book.
    has_address_book: bool = False
    #: Whether the answer to a send says that it was executed.
    answers_sends: bool = True
    asset: str = "BTC"

    def number_of(self, amount: Decimal) -> int | None:
        """Return the number of the order with this amount; None when it is none of ours."""
        found = (amount - self.amount) / self.step
        return int(found) if found == int(found) >= 0 else None

    def can_look_up(self, verb: str) -> bool:
        """Whether what was cut off can be looked up by our id."""
        return self.finds_sends if verb == "send" else self.finds_orders

    def amount_of(self, number: int) -> Decimal:
        return self.amount + number * self.step

    def address_of(self, number: int) -> str:
        """Where a send goes: every second one to one of a hundred addresses, the others all to the same one."""
        if self.has_address_book or number % 2:
            return self.address
        digits = f"{number % _ADDRESSES:05}".translate(
            str.maketrans("01", "zy")
        )  # no address has a 0, and some have no 1
        return self.address[: -len(digits)] + digits

    def addresses(self) -> list[str]:
        """Return all addresses that sends go to."""
        return sorted({self.address_of(number) for number in range(_ADDRESSES)})

    def submit(self, backend: Backend, verb: str, number: int, key: str) -> Any:
        """Place order `number`, or send it, through the real client."""
        amount = self.amount_of(number)
        if verb == "send":
            return backend.send_to_address(self.asset, amount, self.address_of(number), key=key)
        return getattr(backend, verb)(self.currency, self.asset, amount, key=key, **self.terms[verb])

    def order(self, verb: str, number: int, key: str) -> dict[str, Any]:
        """Return order `number` as one among many."""
        amount = self.amount_of(number)
        named = {"side": verb, "currency": self.currency, "asset": self.asset, "amount": amount, "key": key}
        return {**named, **self.terms[verb]}


_ADDRESS = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"
_OLD_ADDRESS = "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L"
_STEP = Decimal("0.00000001")


def _mtgox(version: int, buy: str, sell: str, send: str) -> ExchangeCase:
    executing_requests = {"buy": buy, "sell": sell, "send": send}
    form = {"version": str(version)}
    return ExchangeCase(
        *("mtgox", "mtgox", "USD", Decimal("0.01"), _STEP, _OLD_ADDRESS, executing_requests, form),
        finds_orders=False,
        answers_sends=version > 0,
    )


_ALL_CASES = {
    "kraken": ExchangeCase(
        "kraken",
        "kraken",
        "EUR",
        Decimal("0.01"),
        _STEP,
        _ADDRESS,
        {"buy": "AddOrder", "sell": "AddOrder", "send": "private/Withdraw"},
        has_address_book=True,
    ),
    "bitstamp": ExchangeCase(
        "bitstamp",
        "bitstamp",
        "EUR",
        Decimal("0.01"),
        _STEP,
        _ADDRESS,
        {"buy": "/buy/market/", "sell": "/sell/market/", "send": "/btc_withdrawal/"},
    ),
    "backpack": ExchangeCase(
        "backpack",
        "backpack",
        "USDC",
        Decimal("0.01"),
        Decimal("0.00001"),
        _ADDRESS,
        {"buy": "POST /api/v1/order", "sell": "POST /api/v1/order", "send": "POST /wapi/v1/capital/withdrawals"},
        finds_sends=True,
    ),
    "mtgox": _mtgox(2, "order/add", "order/add", "send_simple"),
    "mtgox-v1": _mtgox(1, "order/add", "order/add", "send_simple"),
    "mtgox-v0": _mtgox(0, "buyBTC.php", "sellBTC.php", "withdraw.php"),
    "hub": ExchangeCase(
        "hub",
        "hub",
        "USD",
        Decimal("0.01"),
        _STEP,
        _OLD_ADDRESS,
        {"buy": "place-order", "sell": "place-order", "send": "send-btc"},
        {"username": "acct-1"},
        {"buy": {"price": "380"}, "sell": {"price": "360"}},
        finds_orders=False,
    ),
}
#: Those that this checkout has.
EXCHANGE_CASES = {
    name: exchange
    for name, exchange in _ALL_CASES.items()
    if exchange.id in EXCHANGES and find_spec(f"bitmm.xwrap.testing.exchanges.{exchange.venue}")
}


def open_venue(exchange: ExchangeCase) -> Venue:
    """A local exchange of this kind, not yet started."""
    made: Venue = import_module(f"bitmm.xwrap.testing.exchanges.{exchange.venue}").VENUE()
    return made


def ledger(venue: Venue) -> list[dict[str, Any]]:
    """Everything that the exchange executed, as it tells it."""
    answer = requests.get(f"{venue.url}/_venue/ledger", timeout=30)
    answer.raise_for_status()
    return list(answer.json())


def executions(exchange: ExchangeCase, venue: Venue) -> Counter[int | None]:
    """How often each order number was executed; None: something that nobody ordered."""
    return Counter(exchange.number_of(Decimal(row["amount"])) for row in ledger(venue))


class ServerProcess:
    """Starts server processes one after the other, on one port and one data folder, and waits for their ends."""

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str], prefix: list[str]) -> None:
        self._settings = settings
        # Bound and not listening: so no other process gets the port while no server runs.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self.port: int = self._port.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid = 0
        #: How many worker processes the server has, and where those say that they serve; see crash_server.py.
        self.workers: int = settings.get("workers", 1)
        self._workers_folder = Path(tempfile.mkdtemp(prefix="xwrap-workers-"))
        paths = os.pathsep.join([str(ROOT), *sys.path])
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.stress.crash_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environ, "PYTHONPATH": paths},
        )
        self._output: queue.Queue[str] = queue.Queue()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._output.put(line.strip())
        self._output.put("gone")

    def _wait_for_output(self, *starts: str) -> str:
        reason = ""
        while True:
            try:
                output = self._output.get(timeout=LONGEST_WAIT)
            except queue.Empty:
                waited = f"within {LONGEST_WAIT:.0f} s"
                raise HarnessError(f"the server did not say {' or '.join(starts)} {waited}") from None
            if output.startswith(starts):
                return output
            if output.startswith("failed"):
                reason = f" ({output})"
            if output.startswith(("ended", "gone")):
                self.pid = 0
                raise ServerEndedError(f"the server {output} before it said {' or '.join(starts)}{reason}")

    def start(
        self,
        *,
        point: str | None = None,
        hit: int = 1,
        journal: str = "orders",
        stop: str | None = None,
        limit: Limit | None = None,
        ahead: float = 0,
        paper_clock: str | None = None,
    ) -> None:
        """Start the next process; see crash_server.py. Raises ServerEndedError when it ends before it serves."""
        life = {"point": point, "hit": hit, "journal": journal, "stop": stop, "limit": limit, "ahead": ahead}
        life["paper_clock"] = paper_clock
        life["workers_folder"] = str(self._workers_folder)
        command = {"settings": {**self._settings, "port": self.port}, **life}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._wait_for_output("lives").split()[1])
        # It may be at its point before it says that it serves.
        self._wait_for_output("serves") if point is None else None

    def worker_pids(self) -> list[int]:
        """Return the ids of the worker processes that serve."""
        pids = []
        for path in self._workers_folder.glob("ready-*"):
            if is_alive(pid := int(path.name.partition("-")[2])):
                pids.append(pid)
            else:
                path.unlink()  # with 340 threads a worker its id is soon that of another process or thread
        return pids

    def wait_for_workers(self) -> None:
        """Wait until all workers serve."""
        self._wait_until(lambda: len(self.worker_pids()) == self.workers, f"{self.workers} workers did not serve")

    def kill_worker_at(self, point: str, hit: int, journal: str) -> None:
        """Have the first worker killed that comes to a point for the `hit`-th time, and wait until it was."""
        killed = set(self._workers_folder.glob("killed-*"))
        new = self._workers_folder / "new"
        new.write_text(json.dumps({"point": point, "hit": hit, "journal": journal, "number": len(killed)}))
        new.rename(self._workers_folder / "kill")

        def is_done() -> bool:
            done = set(self._workers_folder.glob("killed-*")) - killed
            return bool(done) and not any(is_alive(int(path.name.partition("-")[2])) for path in done)

        self._wait_until(is_done, f"no worker came {point}")

    def kill_worker(self, pid: int) -> None:
        """Kill a worker, and wait until it has ended: until then it counts as one that serves."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._wait_until(lambda: not is_alive(pid), "a killed worker did not end")

    def kill_with_workers(self) -> int:
        """Kill the server process and all of its workers, and return its exit status."""
        workers = self.worker_pids()
        status = self.stop(signal.SIGKILL)
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait_until(lambda: not any(map(is_alive, workers)), "killed workers did not end")
        return status

    @staticmethod
    def _wait_until(is_so: Callable[[], bool], failure: str) -> None:
        end = time.monotonic() + LONGEST_WAIT
        while not is_so():
            if time.monotonic() > end:
                raise HarnessError(f"{failure} within {LONGEST_WAIT:.0f} s")
            time.sleep(0.01)

    def wait_until_ended(self) -> int:
        """Wait until this process has ended, and return its exit status; a signal's number is negative."""
        status = int(self._wait_for_output("ended").split()[1])
        self.pid = 0
        return status

    def wait_for_failure(self) -> str:
        """Return the line with which this process says that it cannot go on; it ends then."""
        return self._wait_for_output("failed")

    def stop(self, number: int) -> int:
        """Send the process a signal, if it has not ended by itself, and return its exit status."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait_until_ended()

    def wait_until_stopped(self) -> None:
        """Wait until SIGSTOP has stopped the process."""
        self._wait_until(lambda: state_of(self.pid) == "T", "the server did not stop")

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        if self.pid:
            self.stop(signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait(LONGEST_WAIT)
        self._listening.join()
        self._process.stdout.close()
        self._port.close()
        shutil.rmtree(self._workers_folder)


def state_of(pid: int) -> str | None:
    """Return the state of a process, as proc(5) has it; None when there is none."""
    try:
        # After the name, which is in brackets, comes the state.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid: int) -> bool:
    """Return whether a process runs: one that ended, and that nobody has waited for yet, does not.

    Of one that was killed the first thread may have ended, and others may still keep its sockets open.
    """
    try:
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return False
    return threads > 1 or state_of(pid) not in {None, "Z", "X"}


@dataclass
class Harness:
    """A running test: its local exchanges by the name of their case, its servers, and its account."""

    servers: Sequence[ServerProcess]
    venues: Mapping[str, Venue]
    data: Path
    database: Path | str
    user: str

    @property
    def server(self) -> ServerProcess:
        """The server, or the first one."""
        return self.servers[0]

    def start(self) -> None:
        """Start every server."""
        for process in self.servers:
            process.start()

    def account(self, name: str) -> None:
        _account(self.database, name)

    def register(self, name: str, user: str | None = None) -> int:
        """Return the id of a new registration at the local exchange of this case, which sends to all of its addresses.

        Cases of one exchange share its local exchange, and each of them has a key of its own there.
        """
        exchange, venue = EXCHANGE_CASES[name], self.venues[name]
        key = venue.key
        if next(case for case, other in self.venues.items() if other is venue) != name:
            key = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
            if key not in venue.accounts:
                venue.add_account(key, venue.secret)
        form = {
            "exchange": exchange.id,
            "apikey": key,
            "apisecret": venue.secret,
            "allow_send": "true",
            **exchange.form,
        }
        who = (user or self.user, PASSWORD)
        answer = requests.post(f"{self.server.url}/exchanges/", data=form, auth=who, timeout=LONGEST_WAIT)
        if answer.status_code != 201:
            raise HarnessError(f"{name}: {answer.text}")
        allow_sends(self.database, who[0], exchange.addresses())
        return int(answer.json()["id"])

    def backend(self, id: int, timeout: float, user: str | None = None, server: ServerProcess | None = None) -> Backend:
        return Backend(id, user or self.user, PASSWORD, (server or self.server).url, timeout=timeout)


@contextmanager
def open_harness(
    *names: str,
    database: str | None = None,
    prefix: list[str] | None = None,
    folder: Path | None = None,
    servers: int = 1,
    **settings: Any,
) -> Iterator[Harness]:
    """Give local exchanges for these cases (one for each exchange) and a server for them, not yet started.

    With `workers` among the settings it is `xwrap serve --workers N`, for which there must be a `database`.

    `database`: the URL of a PostgreSQL data base; without one, SQLite. `servers`: how many there are, on one data base.
    `prefix`: the start of their command line.
    """
    exchanges = {name: EXCHANGE_CASES[name] for name in names}
    venues: dict[str, Venue] = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix="xwrap-long-") as made:
        data = Path(made)
        for name, exchange in exchanges.items():
            same = [other for other in venues if exchanges[other].id == exchange.id]
            venues[name] = venues[same[0]] if same else open_venue(exchange)
        for venue in set(venues.values()):
            venue.start()
        where: Path | str = database or data / "xwrap.sqlite3"
        user = f"ann-{secrets.token_hex(4)}"
        _account(where, user)
        given = {
            "data": str(data),
            "exchanges": sorted({exchange.id for exchange in exchanges.values()}),
            # Thousands of orders cannot wait for a real exchange's counter; a venue counts no calls unless told to.
            "exchange_limits": {exchange.id: None for exchange in exchanges.values()},
            "exchange_urls": {exchange.id: venues[name].url for name, exchange in exchanges.items()},
            **settings,
        }
        environ = {"XWRAP_DATABASE_URL": database} if database else {}
        started = [ServerProcess(given, environ, prefix or []) for _ in range(servers)]
        try:
            yield Harness(started, venues, data, where, user)
        finally:
            for server in started:
                server.close()
            for venue in set(venues.values()):
                venue.stop()
        bugs = [bug for venue in set(venues.values()) for bug in venue.bugs]
        if bugs:
            raise HarnessError("the venue itself failed:\n" + "\n".join(bugs))


@contextmanager
def new_postgres() -> Iterator[str]:
    """Give the URL of a fresh data base on PostgreSQL."""
    with server() as base:
        made = new_database(base)
        try:
            yield made
        finally:
            drop_database(base, made)


def _account(where: Path | str, name: str) -> None:
    store = Store(where)
    store.prepare()
    store.accounts.add(name, hash_password(PASSWORD))
    store.close()


__all__ = [
    "EXCHANGE_CASES",
    "ExchangeCase",
    "Harness",
    "HarnessError",
    "ServerEndedError",
    "ServerProcess",
    "executions",
    "is_alive",
    "ledger",
    "new_postgres",
    "open_harness",
]
