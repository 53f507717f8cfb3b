"""One seed: its machines, its programs and its faults, from the beginning to the check at the end."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from . import parts, substitutes
from .checker import Call, Checker, Job
from .faults import HostFault, Plan, draw_plan
from .network import Answer, Link, Network
from .receivers import EXCHANGE_HOST, SERVER_HOST, Exchange, Server
from .scheduler import Host, Process, Scheduler

USER, PASSWORD = "ann", "correct horse battery"
#: Virtual seconds after the faults in which everything must become known.
LONGEST_END = 900.0
#: Pauses of a client before it repeats what is unknown, in seconds.
PAUSES = (0.1, 1.0, 5.0)


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
    """Everything of one seed. `template`: a data folder with one account and one registration."""

    def __init__(self, plan: Plan, folder: Path, template: Path | None, *, keep_trace: bool = False) -> None:
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
        self.settings = _settings(plan.exchange, folder)
        venue = parts.VENUES[plan.exchange](clock=self.scheduler.wall)
        self.exchange = Exchange(Host("exchange"), venue, self._read_ledger)
        self.server = Server(self.scheduler, Host("server"), self.settings, self.log)
        self.network = Network(self.scheduler, self._rng("network"), self.log, self._count_fault)
        self.network.faults_end = plan.faults_end
        self._connect()
        self._executions = 0
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
        return self.network.send(request, seconds)

    def wall(self) -> float:
        return self.scheduler.wall()

    def sleep(self, seconds: float) -> None:
        self.scheduler.sleep(seconds)

    def open_connection(self, connection: Any) -> None:
        if self.scheduler.current is not None:
            self.scheduler.current.process.resources.append(connection)

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
                # Backpack has neither nonces nor ids that are used once: there two deliveries are two orders.
                may_repeat=lambda request: plan.exchange != "backpack" or request.method == "GET",
                stand_ins={kind: stand_in(kind) for kind in ("rate_limit", "nonce", "maintenance")},
            ),
        )
        self.network.connect(SERVER_HOST, Link(self.server, plan.server_share, plan.server_kinds))

    def _set_up_venue(self) -> None:
        venue = self.exchange.venue
        if self.plan.exchange == "kraken":
            venue.closing_reads = self.plan.closing_reads
            venue.counter_max = 15 if self.plan.counts_calls else None
        if self.plan.exchange == "backpack":
            venue.history_lag = self.plan.history_lag

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
        self.server.start()
        for fault in plan.host_faults:
            self.scheduler.at(fault.at, lambda fault=fault: self._begin(fault))
        for index in range(plan.clients):
            # A job may be of two clients: both use its key.
            mine = [job for job in jobs if job.number % plan.clients == index or rng.random() < 0.2]
            client = Process(f"client {index}", Host(f"client {index}"))
            program = Client(self, mine, Random(rng.getrandbits(64)))
            self.scheduler.spawn(client, "main", program.run)
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
            self.server.kill()
        self.checker.counts["orders"] = len(jobs)
        self.checker.counts["sends"] = sum(job.verb == "send" for job in jobs)
        return Result(
            plan.seed, self.checker.problems, self.checker.counts, self.faults, self._digest.hexdigest(), self.trace
        )

    def _begin(self, fault: HostFault) -> None:
        """Let something happen to a machine."""
        self.log(f"fault {fault}")
        server, exchange, now = self.server, self.exchange, self.scheduler.now
        if fault.kind == "kill":
            if server.process is None or server.process.kill_at is not None:
                return
            process = server.process
            process.kill_at = process.points + int(fault.amount)

            def killed() -> None:
                self._count_fault("kill")
                server.kill()
                self.scheduler.at(fault.seconds, server.start)

            process.on_kill = killed
            return
        self._count_fault(fault.kind)
        if fault.kind == "clock_jump":
            server.host.clock_error += fault.amount
            until = min(now + fault.seconds, self.plan.faults_end)
            self.scheduler.at(until - now, lambda: setattr(server.host, "clock_error", 0.0))
        else:
            host = server.host if fault.kind == "server_stands_still" else exchange.host
            host.stopped_until = max(host.stopped_until, now + fault.seconds)

    def _wait_for_end(self) -> None:
        """Wait until the faults are over and nothing is unknown any more."""
        self.scheduler.sleep(self.plan.faults_end)
        while self.scheduler.now < self.plan.faults_end + LONGEST_END:
            if (
                self.clients_done == self.plan.clients
                and self.server.services is not None
                and not self._open_questions()
            ):
                break
            self.scheduler.sleep(2.0)
        self.scheduler.finish()

    clients_done = 0

    def _open_questions(self) -> bool:
        return any(
            row is None or row["status"] in {"running", "unknown"}
            for job in self.jobs.values()
            if self.case.can_look_up(job.verb) and self.checker.calls[job]
            for row in [self._row(job)]
            if row is not None
        )

    def _row(self, job: Job) -> dict[str, Any] | None:
        store = self.server.services.store
        journal = store.withdrawals if job.verb == "send" else store.orders
        row: dict[str, Any] | None = journal.by_key(1, job.key)
        return row

    def _check_end(self) -> None:
        if self.server.services is None:
            self.checker.add_mistake("the server does not serve in the end")
            return
        for job in self.jobs.values():
            row = self._row(job)
            self.log(f"{job.key} in the end: {row and row['status']}")
            self.checker.check_end(job, row and row["status"], can_look_up=self.case.can_look_up(job.verb))
            if row is not None and job.verb != "send" and (id := row["exchange_order_id"]) is not None:
                self.checker.check_state(job, row, self.exchange.venue.orders[id])
        for bug in self.exchange.venue.bugs:
            self.checker.add_mistake(f"the local exchange failed: {bug[-300:]}")


class Client:
    """A program that wants some jobs done, each once, and asks until it knows."""

    def __init__(self, world: World, jobs: list[Job], rng: Random) -> None:
        self._world, self._jobs, self._rng = world, jobs, rng

    def run(self) -> None:
        seconds = self._rng.choice((5.0, 12.0, 30.0))
        self._backend = parts.Backend(1, USER, PASSWORD, f"https://{SERVER_HOST}", timeout=seconds)
        for job in self._jobs:
            self._world.scheduler.sleep(self._rng.uniform(0.0, 0.3 * self._world.plan.faults_end))
            self._do(job)
        self._world.clients_done += 1

    def _do(self, job: Job) -> None:
        """Call until the outcome is known, or the end has come."""
        world, rng = self._world, self._rng
        deadline = world.plan.faults_end + LONGEST_END / 2
        while world.scheduler.now < deadline:
            outcome = self._call(job)
            if outcome == "+" and rng.random() < 0.7:
                return
            if outcome == "-" and rng.random() < 0.5:
                return
            if outcome == "?" and job.verb == "send" and world.scheduler.now > world.plan.faults_end + 60.0:
                return
            is_over = world.scheduler.now > world.plan.faults_end
            world.scheduler.sleep(rng.choice(PAUSES) * rng.uniform(0.5, 1.5) * (5.0 if is_over else 1.0))

    def _call(self, job: Job) -> str:
        world = self._world
        call = Call(job, world.scheduler.now)
        world.checker.begin(call)
        by_server = True
        try:
            world.case.submit(self._backend, job.verb, job.number, job.key)
        except parts.APIError as error:
            outcome, words = ("?" if error.may_have_executed else "-"), f"{error.status} {error.code}: {error}"
            by_server = error.status is not None
        else:
            outcome, words = "+", "done"
        world.log(f"{job.key} {job.verb} told {outcome} {words}")
        world.checker.end(call, world.scheduler.now, outcome, words, by_server=by_server)
        return outcome


class _LogHandler(logging.Handler):
    """What the server logs is part of the history; an error there is a mistake."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.log(f"{record.levelname} {record.getMessage()}")
        if record.levelno >= logging.ERROR:
            error = record.exc_info[1] if record.exc_info else None
            self._world.checker.add_mistake(f"{record.getMessage()}: {error!r}")


def _settings(exchange: str, folder: Path) -> Any:
    """Return the shipped settings, with the exchange at its place in the simulated network."""
    return parts.settings.Settings(
        data=folder,
        master_key_file=folder / "master.key",
        hosts=(SERVER_HOST,),
        exchanges=(exchange,),
        exchange_urls={exchange: f"https://{EXCHANGE_HOST}"},
        **parts.other_settings,
    )


def make_template(exchange: str, folder: Path) -> Path:
    """Return a data folder with an account, and its registration at this exchange, id 1."""
    plan = Plan(0, exchange, 0, 0, 0.0, 0.0, 0.0, (), ())
    world = World(plan, folder, None)
    folder.mkdir()

    def work() -> None:
        services, _ = parts.services.create_services(world.settings)
        services.store.accounts.add(USER, parts.auth.hash_password(PASSWORD))
        world.server._app = parts.create_app(services)
        form = {"exchange": exchange, "apikey": world.exchange.venue.key, "apisecret": world.exchange.venue.secret}
        xwrap = parts.XWrap(f"https://{SERVER_HOST}")
        backend = xwrap.create_backend(USER, PASSWORD, exchange, "", form["apikey"], form["apisecret"])
        assert backend.id == 1
        services.close()
        world.scheduler.finish()

    world.server._process = Process("server 0", world.server.host)
    world.scheduler.spawn(world.server._process, "main", work)
    world.scheduler.run()
    world.scheduler.close()
    return folder


def run_seed(seed: int, templates: dict[str, Path], folder: Path, *, keep_trace: bool = False) -> Result:
    """Run one seed in `folder`, which is made and removed."""
    plan = draw_plan(seed)
    if plan.exchange not in templates:
        templates[plan.exchange] = make_template(plan.exchange, folder.with_name(f"template-{plan.exchange}"))
    try:
        return World(plan, folder, templates[plan.exchange], keep_trace=keep_trace).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
