"""One seed: its machines, its programs and its faults, from the beginning to the check at the end."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from . import parts, substitutes
from .checker import Checker, Job
from .clients import PASSWORD, REGISTRATIONS, USER, Client
from .faults import HostFault, Plan, draw_plan
from .network import Answer, Link, Network
from .receivers import EXCHANGE_HOST, SERVER_HOST, Balancer, Exchange, Server
from .scheduler import Host, Process, Scheduler

if TYPE_CHECKING:
    from .postgres import PostgresServer

#: Virtual seconds after the faults in which everything must become known.
LONGEST_END = 900.0
#: The longest that a late request takes to the exchange, in seconds: what the server allows for (20 s, or the time for
#: which the exchange accepts a request).
LATEST = {"kraken": 18.0, "bitstamp": 200.0, "backpack": 18.0}
#: More of an asset than the account has.
TOO_MUCH = 500
#: After a kill at one of the first points the next process is killed at its same point, too.
SHORT_LIFE = 15


@dataclass
class Result:
    """What became of a seed."""

    seed: int
    problems: list[str]
    counts: Counter[str]
    faults: Counter[str]
    digest: str
    trace: list[str] = field(default_factory=list)


class World:
    """Everything of one seed. `template`: a data folder with an account and its registrations.

    `database`: a copy of a data base with these, on `postgres`; several servers share it.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        template: Path | None,
        *,
        postgres: PostgresServer | None = None,
        database: str | None = None,
        keep_trace: bool = False,
    ) -> None:
        self.plan = plan
        self.checker = Checker()
        self.faults: Counter[str] = Counter()
        self.trace: list[str] = []
        self._keep_trace = keep_trace
        self._digest = hashlib.sha256()
        self.scheduler = Scheduler(self._rng("scheduler"))
        substitutes.begin(self.scheduler, self._rng("code"))
        parts.simulate(self)
        if template is not None:
            shutil.copytree(template, folder)
        self.case = parts.EXCHANGE_CASES[plan.exchange]
        self.settings = _settings(plan.exchange, folder, database)
        self._sessions = postgres and postgres.sessions(self.scheduler, self._rng("sessions"), self.log)
        venue = parts.VENUES[plan.exchange](clock=self.scheduler.wall)
        self.exchange = Exchange(Host("exchange"), venue, self._read_ledger)
        names = ["server"] if plan.servers == 1 else [f"server {letter}" for letter in "abcdefgh"[: plan.servers]]
        self.servers = [
            Server(
                *(self.scheduler, Host(name), self.settings, self.log),
                *(self.database_fails, self._read_answer, self._begin_process),
            )
            for name in names
        ]
        self._journals: Any = None
        self.network = Network(self.scheduler, self._rng("network"), self.log, self._count_fault)
        self.network.faults_end = plan.faults_end
        self._connect()
        self._executions = 0
        self._disk_full_until = 0.0
        self.jobs: dict[int, Job] = {}
        self._set_up_venue()

    def _rng(self, name: str) -> Random:
        return Random(f"{name} {self.plan.seed}")

    def log(self, line: str) -> None:
        """Add a line to the history."""
        task = self.scheduler.current
        where = f"{task.process.name}/{task.name}" if task else "-"
        text = f"{self.scheduler.now:10.4f} {where}: {line}"
        self._digest.update(text.encode())
        if self._keep_trace:
            self.trace.append(text)

    def _count_fault(self, kind: str) -> None:
        self.faults[kind] += 1

    def send(self, request: Any, seconds: float) -> Answer | None:
        self._check_nonce(request)
        return self.network.send(request, seconds)

    def _check_nonce(self, request: Any) -> None:
        """Check that the nonces of Kraken's key rise with each request that is sent, whichever server sends it."""
        if self.plan.exchange == "kraken" and urlsplit(request.url).hostname == EXCHANGE_HOST:
            for nonce in parse_qs((request.body or b"").decode()).get("nonce", ()):
                self.checker.check_nonce(int(nonce), self.scheduler.now)

    def wall(self) -> float:
        return self.scheduler.wall()

    def sleep(self, seconds: float) -> None:
        self.scheduler.sleep(seconds)

    def commit_fails(self) -> bool:
        """Return whether the disk takes nothing now."""
        return self.scheduler.now < self._disk_full_until

    def database_fails(self) -> bool:
        """Return whether a server may fail to start: the disk takes nothing, or its sessions were ended meanwhile."""
        return self.commit_fails() or bool(self.faults["sessions_end"] or self._silent_servers())

    def _silent_servers(self) -> int:
        """Return how often a server stood still whose sessions PostgreSQL may have ended then."""
        return 0 if self._sessions is None else self.faults["server_stands_still"]

    def _begin_process(self, process: Process) -> None:
        if self._sessions is not None:
            process.closers.append(partial(self._sessions.end, process))

    def on_exit(self, close: Callable[[], object]) -> None:
        if self.scheduler.current is not None:
            self.scheduler.current.process.closers.append(close)

    def _connect(self) -> None:
        plan, venue = self.plan, self.exchange.venue

        def stand_in(kind: str) -> Callable[[Any], Answer]:
            def answer(request: Any) -> Answer:
                reply = venue.fault_reply(kind, Exchange.as_received(request))
                return Answer(reply.status, dict(reply.headers), reply.body)

            return answer

        self.network.connect(
            EXCHANGE_HOST,
            Link(
                self.exchange,
                plan.exchange_share,
                plan.exchange_kinds,
                latest=LATEST[plan.exchange],
                # Backpack has neither nonces nor ids that are used once: there two deliveries are two orders.
                may_repeat=lambda request: plan.exchange != "backpack" or request.method == "GET",
                stand_ins={kind: stand_in(kind) for kind in ("rate_limit", "nonce", "maintenance")},
            ),
        )
        receiver: Any = self.servers[0]
        if plan.servers > 1:
            receiver = Balancer(self.scheduler, self._rng("balancer"), self.servers)
        self.network.connect(
            SERVER_HOST, Link(receiver, plan.server_share, plan.server_kinds, latest=60.0, has_proxy=True)
        )

    def _set_up_venue(self) -> None:
        venue = self.exchange.venue
        if self.plan.exchange == "kraken":
            venue.closing_reads = self.plan.closing_reads
            venue.counter_max = 15 if self.plan.counts_calls else None
        if self.plan.exchange == "backpack":
            venue.history_lag = self.plan.history_lag

    def _read_answer(self, request: Any, answer: Answer, came: float) -> None:
        """Check an answer of the server that says of a key that nothing was executed with it."""
        if b'"no_such_key"' not in answer.body:
            return
        url = urlsplit(request.url)
        [key], registration = parse_qs(url.query)["key"], int(url.path.split("/")[2])
        [job] = [job for job in self.jobs.values() if (job.key, job.registration) == (key, registration)]
        self.checker.check_no_such_key(job, came)

    def _read_ledger(self) -> None:
        """Check each execution that is new in the exchange's ledger."""
        ledger = self.exchange.venue._ledger
        for row in ledger[self._executions :]:
            number = self.case.number_of(Decimal(row["amount"]))
            self.log(f"exchange executes {number} ({row['order_id']})")
            if number not in self.jobs:
                self.checker.add_mistake(f"the exchange executed {row}, which nobody ordered")
                continue
            self.checker.execute(self.jobs[number], self.scheduler.now)
        self._executions = len(ledger)

    def run(self) -> Result:
        """Run the seed to its end, and check it."""
        plan, rng = self.plan, self._rng("clients")
        jobs = [
            Job(number, f"key-{number}", rng.choice(("buy", "sell", "buy", "send"))) for number in range(plan.orders)
        ]
        self.jobs = {job.number: job for job in jobs}
        for server in self.servers:
            server.start()
        for fault in plan.host_faults:
            self.scheduler.at(fault.at, lambda fault=fault: self._begin(fault))
        for index in range(plan.clients):
            # A job may be of two clients: both use its key.
            mine = [job for at, job in enumerate(jobs) if at % plan.clients == index or rng.random() < 0.2]
            client = Process(f"client {index}", Host(f"client {index}"))
            program = Client(self, mine, Random(rng.getrandbits(64)))
            self.scheduler.spawn(client, "main", program.run)
        for _ in range(plan.price_moves):
            self.scheduler.at(rng.uniform(0.0, plan.faults_end), partial(self._move_prices, rng.uniform(-0.01, 0.01)))
        judge = Process("judge", Host("judge"))
        self.scheduler.spawn(judge, "main", self._wait_for_end)
        handler = _LogHandler(self)
        root = logging.getLogger("bitmm")
        root.addHandler(handler)
        try:
            self.scheduler.run()
            self._check_end()
        except Exception as error:
            self.checker.add_mistake(f"{type(error).__name__}: {error}")
            raise
        finally:
            root.removeHandler(handler)
            self.scheduler.close()
            for server in self.servers:
                server.kill()
            if self._journals is not None:
                self._journals.close()
        self.checker.counts["orders"] = len(jobs)
        self.checker.counts["sends"] = sum(job.verb == "send" for job in jobs)
        return Result(
            plan.seed, self.checker.problems, self.checker.counts, self.faults, self._digest.hexdigest(), self.trace
        )

    def _draw_job(self, index: int, rng: Random) -> Job:
        """Return a market order, a limit order or a send; now and then of more than there is."""
        too_much = int(TOO_MUCH / self.case.step) if rng.random() < 0.05 else 0
        verb = rng.choice(("buy", "sell", "buy", "sell", "send"))
        price = None
        if verb != "send" and rng.random() < 0.4:
            best = self._pair.asks[0][0] if verb == "buy" else self._pair.bids[0][0]
            price = (best * Decimal(rng.choice(("0.99", "0.995", "1", "1.005", "1.01")))).quantize(self._price_step)
        return Job(index + too_much, f"key-{index}", verb, rng.choice(REGISTRATIONS), price)

    @property
    def _pair(self) -> Any:
        return self.exchange.venue.pairs[f"{self.case.asset}/{self.case.currency}"]

    @property
    def _price_step(self) -> Decimal:
        return Decimal(1).scaleb(-self._pair.price_places)

    def _move_prices(self, by: float) -> None:
        """Move the market: a limit order may be filled."""
        factor = 1 + Decimal(round(by, 4)).quantize(Decimal("0.0001"))
        ask, bid = ((side[0][0] * factor).quantize(self._price_step) for side in (self._pair.asks, self._pair.bids))
        self.log(f"the best prices are {ask} and {bid}")
        self.exchange.venue.set_best_prices(self._pair.name, max(ask, bid + self._price_step), bid)

    def _begin(self, fault: HostFault) -> None:
        """Let something happen to a machine."""
        self.log(f"fault {fault}")
        server, exchange, now = self.servers[fault.server], self.exchange, self.scheduler.now
        if fault.kind == "kill":
            if server.process is None or server.process.kill_at is not None:
                return
            process = server.process
            process.kill_at = process.points + int(fault.amount)

            def killed() -> None:
                self._count_fault("kill")
                server.kill()
                # The next process may not come far, either.
                kill_at = int(fault.amount) if fault.amount < SHORT_LIFE else None
                self.scheduler.at(fault.seconds, lambda: start(kill_at))

            def start(kill_at: int | None) -> None:
                server.start()
                if kill_at is not None and server.process is not None:
                    self._count_fault("kill")
                    server.process.kill_at = kill_at
                    server.process.on_kill = lambda: (server.kill(), self.scheduler.at(fault.seconds, server.start))

            process.on_kill = killed
            return
        self._count_fault(fault.kind)
        if fault.kind == "older_copy":
            copy = server.copy_database()

            def replace() -> None:
                server.kill()
                server.replace_database(copy)
                self.checker.rows_may_be_lost = True
                self.log("the data base is an older copy")
                self.scheduler.at(fault.seconds, server.start)

            self.scheduler.at(fault.amount, replace)
        elif fault.kind == "clock_jump":
            server.host.clock_error += fault.amount
            until = min(now + fault.seconds, self.plan.faults_end)
            self.scheduler.at(until - now, lambda: setattr(server.host, "clock_error", 0.0))
        elif fault.kind == "sessions_end":
            if server.process is not None:
                self._sessions.end(server.process)
        elif fault.kind == "disk_full":
            self._disk_full_until = max(self._disk_full_until, now + fault.seconds)
        else:
            host = server.host if fault.kind == "server_stands_still" else exchange.host
            host.stopped_until = max(host.stopped_until, now + fault.seconds)

    def _wait_for_end(self) -> None:
        """Wait until the faults are over, every request has arrived, and nothing is unknown any more."""
        self.scheduler.sleep(self.plan.faults_end)
        while self.scheduler.now < self.plan.faults_end + LONGEST_END:
            if (
                self.clients_done == self.plan.clients
                and all(server.services is not None for server in self.servers)
                and not self.network.under_way
                and not self._open_questions()
            ):
                break
            self.scheduler.sleep(2.0)
        self.scheduler.finish()

    clients_done = 0

    def _open_questions(self) -> bool:
        """Return whether something is unknown that its exchange can look up, or called open that is over."""
        for job in self.jobs.values():
            row = self._row(job)
            if row is None:
                continue
            if row["status"] in {"running", "unknown"} and self.case.can_look_up(job.verb):
                return True
            if row["status"] == "open" and job.price is None:
                return True
        return False

    def _row(self, job: Job) -> dict[str, Any] | None:
        store = self._store()
        journal = store.withdrawals if job.verb == "send" else store.orders
        row: dict[str, Any] | None = journal.by_key(job.registration, job.key)
        return row

    def _store(self) -> Any:
        """Return what reads the journals: a connection of its own, where a server's may be in use."""
        if self._sessions is None:
            return self.servers[0].services.store
        if self._journals is None:
            self._journals = parts.Store(self.settings.database)
        return self._journals

    def _check_end(self) -> None:
        if any(server.services is None for server in self.servers):
            self.checker.add_mistake("the server does not serve in the end")
            return
        for job in self.jobs.values():
            row = self._row(job)
            self.log(f"{job.key} in the end: {row and row['status']}")
            self.checker.check_end(job, row, can_look_up=self.case.can_look_up(job.verb))
            if row is not None and job.verb != "send" and (id := row["exchange_order_id"]) is not None:
                self.checker.check_order(job, row, self.exchange.venue.orders[id])
                self.checker.check_followed(job, row, self.exchange.venue.orders[id])
        for bug in self.exchange.venue.bugs:
            self.checker.add_mistake(f"the local exchange failed: {bug[-300:]}")


class _LogHandler(logging.Handler):
    """What the server logs is part of the history; an error there is a mistake."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.log(f"{record.levelname} {record.getMessage()}")
        if record.levelno >= logging.ERROR and not self._is_expected(record.getMessage()):
            error = record.exc_info[1] if record.exc_info else None
            self._world.checker.add_mistake(f"{record.getMessage()}: {error!r}")

    def _is_expected(self, words: str) -> bool:
        """Return whether an error is what a fault of this seed causes."""
        faults = self._world.faults
        # A row that is begun anew after its server's clock was set back has an older time than before.
        return bool(
            faults["disk_full"]
            or faults["older_copy"]
            or (faults["clock_jump"] and "may be missing in the journal" in words)
            or faults["sessions_end"]
        )


def _settings(exchange: str, folder: Path, database: str | None) -> Any:
    """Return the shipped settings, with the exchange at its place in the simulated network."""
    return parts.settings.Settings(
        data=folder,
        master_key_file=folder / "master.key",
        hosts=(SERVER_HOST,),
        database_url=database,
        exchanges=(exchange,),
        exchange_urls={exchange: f"https://{EXCHANGE_HOST}"},
        **parts.other_settings,
    )


@dataclass(frozen=True)
class Template:
    """A data folder with an account and its registrations at an exchange; `database`: PostgreSQL's, if it is there."""

    folder: Path
    database: str | None


def make_template(exchange: str, folder: Path, postgres: PostgresServer | None = None) -> Template:
    """Return a new template for seeds at this exchange."""
    database = postgres and postgres.create()
    plan = Plan(0, exchange, 0, 0, 0.0, 0.0, 0.0, (), ())
    world = World(plan, folder, None, postgres=postgres, database=database)
    folder.mkdir(mode=0o700)
    [server] = world.servers

    def work() -> None:
        services = parts.services.create_services(world.settings, world.log, world.log)
        services.store.accounts.add(USER, parts.passwords.hash_password(PASSWORD))
        server._app = parts.create_app(services)
        keys, xwrap = (world.exchange.venue.key, world.exchange.venue.secret), parts.XWrap(f"https://{SERVER_HOST}")
        created = [xwrap.create_backend(USER, PASSWORD, exchange, "", *keys, allow_send=True).id]
        # The same key once more, as older servers registered it: the calls of both share one request queue.
        [first] = services.store.registrations.of_account(1)
        names = ("account_id", "exchange", "username", "label", "apikey_hint", "allow_send")
        values = {name: getattr(first, name) for name in names}
        credentials = parts.Credentials(apikey=keys[0], apisecret=keys[1])
        seal = partial(services.registry.seal, first.account_id, credentials=credentials)
        created += [services.store.registrations.add(values, seal).id for _ in REGISTRATIONS[1:]]
        assert created == [*REGISTRATIONS]
        # Long ago, so that no jump of a clock makes an address wait.
        for address in world.case.addresses():
            services.store.addresses.add(first.account_id, world.case.asset, address, usable_from="2000")
        services.close()
        world.scheduler.finish()

    server._process = Process("server 0", server.host)
    world.scheduler.spawn(server._process, "main", work)
    world.scheduler.run()
    world.scheduler.close()
    return Template(folder, database)


def run_seed(
    seed: int,
    templates: dict[str, Template],
    folder: Path,
    *,
    servers: int = 1,
    postgres: PostgresServer | None = None,
    keep_trace: bool = False,
) -> Result:
    """Run one seed in `folder`, which is made and removed."""
    plan = draw_plan(seed, servers)
    if plan.exchange not in templates:
        made = folder.with_name(f"template-{plan.exchange}")
        templates[plan.exchange] = make_template(plan.exchange, made, postgres)
    template = templates[plan.exchange]
    database = postgres and postgres.create(template.database)
    try:
        return World(plan, folder, template.folder, postgres=postgres, database=database, keep_trace=keep_trace).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if postgres is not None and database is not None:
            postgres.drop(database)
