"""The clients: programs that want some orders and sends done, each once, and ask until they know."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from . import parts
from .checker import Call, Job
from .receivers import SERVER_HOST

if TYPE_CHECKING:
    from .world import World

USER, PASSWORD = "ann", "correct horse battery"
#: The registrations that they use; both have the same exchange key.
REGISTRATIONS = (1, 2)
#: Pauses before what is unknown is repeated, in seconds; and how many times longer they are after the faults.
PAUSES, LATER = (0.1, 1.0, 5.0), 2.0
#: How often a client asks what became of a key before it repeats the call.
ASKS = 0.3
#: A send that an exchange cannot look up is given up so many seconds after the faults.
GIVE_UP_SENDS = 60.0
#: An order that never becomes known is given up so many seconds after the faults.
GIVE_UP = 450.0


class Client:
    """One program, with jobs of its own or that another one has, too."""

    def __init__(self, world: World, jobs: list[Job], rng: Random) -> None:
        self._world, self._jobs, self._rng = world, jobs, rng

    def run(self) -> None:
        """Do the jobs one after the other."""
        xwrap = parts.XWrap(f"https://{SERVER_HOST}", timeout=self._rng.choice((5.0, 12.0, 30.0)))
        self._backends = {id: parts.Backend(id, USER, PASSWORD, xwrap) for id in REGISTRATIONS}
        for job in self._jobs:
            self._world.scheduler.sleep(self._rng.uniform(0.0, 0.3 * self._world.plan.faults_end))
            self._do(job)
        self._world.clients_done += 1

    def _do(self, job: Job) -> None:
        """Call until the outcome is known, now and then once more; follow a limit order for a while."""
        world, rng, end = self._world, self._rng, self._world.plan.faults_end
        while world.scheduler.now < end + (GIVE_UP_SENDS if job.verb == "send" else GIVE_UP):
            outcome, answer = self._call(job)
            if outcome == "+" and job.price is not None:
                self._follow(job, answer)
            if (outcome == "+" and rng.random() < 0.7) or (outcome == "-" and rng.random() < 0.5):
                return
            if outcome == "?" and rng.random() < ASKS:
                self._ask(job)
            pause = rng.choice(PAUSES) * rng.uniform(0.5, 1.5)
            world.scheduler.sleep(pause * (LATER if world.scheduler.now > end else 1.0))

    def _call(self, job: Job) -> tuple[str, Any]:
        """Return what this client is told of a job, and the answer."""
        world = self._world
        call = Call(job, world.scheduler.now)
        world.checker.begin(call)
        by_server, answer = True, None
        try:
            answer = self._submit(job)
        except parts.APIError as error:
            outcome, words = ("?" if error.may_have_executed else "-"), f"{error.status} {error.code}: {error}"
            by_server = error.status is not None
        else:
            outcome, words = "+", "done"
        world.log(f"{job.key} {job.verb} told {outcome} {words}")
        world.checker.end(call, world.scheduler.now, outcome, words, by_server=by_server)
        if answer is not None and job.verb != "send":
            self._check(job, answer)
        return outcome, answer

    def _ask(self, job: Job) -> None:
        """Ask what became of a key, which executes nothing."""
        world, backend = self._world, self._backends[job.registration]
        try:
            found = (backend.withdrawal if job.verb == "send" else backend.order)(key=job.key)
        except parts.APIError as error:
            world.log(f"{job.key} asked, told {error.status} {error.code}: {error}")
            return
        world.log(f"{job.key} asked, told {found['status']}")
        world.checker.check_found(job, found["status"], world.scheduler.now)
        if found.get("exchange_order_id") is not None:
            self._check(job, found)

    def _submit(self, job: Job) -> Any:
        case, backend = self._world.case, self._backends[job.registration]
        amount = case.amount_of(job.number)
        if job.verb == "send":
            return backend.send_to_address(case.asset, amount, case.address_of(job.number), key=job.key)
        terms = {} if job.price is None else {"price": job.price}
        return getattr(backend, job.verb)(case.currency, case.asset, amount, key=job.key, **terms)

    def _follow(self, job: Job, order: Any) -> None:
        """Look at a limit order, and cancel it."""
        backend = self._backends[job.registration]
        for _ in range(self._rng.randint(0, 3)):
            self._world.scheduler.sleep(self._rng.choice(PAUSES))
            verb = self._rng.choice(("order", "cancel", "orders"))
            try:
                if verb == "orders":
                    rows = [row for row in backend.orders("open") if row["id"] == order["id"]]
                else:
                    rows = [getattr(backend, verb)(order["id"])]
            except parts.APIError as error:
                self._world.log(f"{job.key} {verb} told {error.status} {error.code}: {error}")
                continue
            for row in rows:
                self._world.log(f"{job.key} {verb} told {row['status']}")
                self._check(job, row)
                if verb == "cancel" and row["status"] == "open":
                    self._world.checker.check_canceled(job, self._order(row))

    def _check(self, job: Job, row: Any) -> None:
        self._world.checker.check_order(job, row, self._order(row), self._world.scheduler.now)

    def _order(self, row: Any) -> Any:
        return self._world.exchange.venue.orders[row["exchange_order_id"]]
