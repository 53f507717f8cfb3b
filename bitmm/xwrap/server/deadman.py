"""The dead man's switch: all orders of a registration are canceled unless it is renewed in time.

The deadline is in the data base, in the time of its clock: it holds for all server processes and after a restart. Each
process looks once a second. What is due is claimed by one of them, which cancels and tries again until that worked. A
clock that is set back delays nothing: a process also measures by its own monotonic clock what it has seen of a
deadline. One that is set forward lets the switch fire early.

Where the exchange has such a switch of its own, that one is set as well. It works when this server is dead, too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ..exchanges.capabilities import supports
from ..exchanges.errors import Busy, ExchangeError
from .call_log import log_with
from .db.records import Caller, Registration, time_text
from .db.safety import Switch
from .db.store import Store
from .execution import ExecutionService
from .policy import check_enabled, check_login
from .problems import Problem, from_exchange, log_failure
from .rate_limiter import Priority
from .registry import ExchangeRegistry
from .rounds import Rounds
from .threads import Workers

__all__ = ["LONGEST", "SHORTEST", "DeadMansSwitch", "deadman_to_json", "switch_to_json"]

_log = logging.getLogger(__name__)

#: The seconds that a switch may be set to.
SHORTEST, LONGEST = 5, 86_400
#: Threads that cancel, and how many of them for one exchange: one that hangs must not hold up the others.
_THREADS, _PER_EXCHANGE = 24, 8
#: Seconds between two tries of a cancel that failed: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: Seconds for which a claim outlasts the call that cancels. Then another process takes the cancel for abandoned.
_CLAIM_MARGIN = 10.0
#: Seconds by which the data base's clock may be behind the monotonic one before that counts.
_CLOCK_MARGIN = 1.0
#: Seconds after which an order that is still not known to be placed is not waited for any more.
_UNDER_WAY_SECONDS = 60.0


@dataclass(slots=True)
class _Attempts:
    """What this process knows of a cancel that it tries."""

    failures: int = 0
    #: The code of the last error, which the audit has.
    code: str | None = None
    #: The orders that were on their way to the exchange when the first cancel was sent; None before that.
    under_way: set[int] | None = None

    def pause(self) -> float:
        """Return the seconds until the next try."""
        return min(_FIRST_PAUSE * 2.0 ** max(0, self.failures - 1), _LONGEST_PAUSE)


class DeadMansSwitch:
    """The switches of all registrations. `every`: seconds between two looks."""

    def __init__(
        self,
        store: Store,
        registry: ExchangeRegistry,
        execution: ExecutionService,
        *,
        every: float,
        call_seconds: float,
    ) -> None:
        self._store = store
        self._registry = registry
        self._execution = execution
        self._call_seconds = call_seconds
        self._workers = Workers(_THREADS)
        self._lock = threading.Lock()
        #: The cancels that run or wait for a thread: registration -> exchange, and the result to come.
        self._busy: dict[int, tuple[str, Future[dict[str, Any]]]] = {}
        self._attempts: dict[int, _Attempts] = {}
        #: Registration -> its deadline, and when that is by the monotonic clock.
        self._deadlines: dict[int, tuple[float, float]] = {}
        self.rounds = Rounds("deadman", {"look": self.look}, lambda: min(every, 1.0))

    def start(self) -> None:
        """Start the thread that looks."""
        self.rounds.start()

    def stop(self) -> None:
        """Start no further cancel; one that waits for its exchange is left behind, and another process does it."""
        self.rounds.stop()
        self._workers.shutdown()

    def look(self) -> None:
        """Begin every cancel that is due, without waiting for it."""
        switches = self._store.safety.switches()
        deadlines = {switch.id: self._deadline(switch) for switch in switches}
        self._deadlines = deadlines
        with self._lock:
            # What is neither set nor due any more was done by another process.
            for id in self._attempts.keys() - deadlines.keys() - self._busy.keys():
                del self._attempts[id]
        for switch in sorted(switches, key=lambda switch: switch.at):
            if switch.at <= switch.now or time.monotonic() >= deadlines[switch.id][1] + _CLOCK_MARGIN:
                self._begin(switch)

    def _deadline(self, switch: Switch) -> tuple[float, float]:
        """Return the deadline of a switch, and when that is by the monotonic clock: as it was first seen."""
        known = self._deadlines.get(switch.id)
        if known is not None and known[0] == switch.at:
            return known
        return switch.at, time.monotonic() + max(0.0, switch.at - switch.now)

    def _begin(self, switch: Switch) -> Future[dict[str, Any]] | None:
        """Cancel in a thread, unless that is done already; return the result to come.

        None: so many cancels wait for this exchange that the others are left to a later look.
        """
        with self._lock:
            if switch.id in self._busy:
                return self._busy[switch.id][1]
            if sum(exchange == switch.exchange for exchange, _ in self._busy.values()) >= _PER_EXCHANGE:
                return None
            future = self._workers.submit(self._cancel, switch)
            self._busy[switch.id] = switch.exchange, future
            return future

    def _cancel(self, switch: Switch) -> dict[str, Any]:
        """Claim what is due and cancel; return what is shown of it: the number of orders, or an error."""
        result: dict[str, Any] = {"id": switch.id, "exchange": switch.exchange, "canceled": None}
        try:
            claimed = self._store.safety.claim(switch, self._call_seconds + _CLAIM_MARGIN)
            if claimed is None:
                return result | {"error": "another server process cancels them"}
            with self._lock:
                attempts = self._attempts.setdefault(switch.id, _Attempts())
            under_way = self._store.orders.under_way(claimed.id, _UNDER_WAY_SECONDS)
            attempts.under_way = under_way if attempts.under_way is None else attempts.under_way & under_way
            try:
                canceled = self._execution.cancel_open_orders(claimed)
            except Exception as error:
                return result | {"error": self._failed(claimed, attempts, error)}
            self._fired(claimed, attempts, canceled)
            return result | {"canceled": canceled}
        except Exception as error:
            # Its claim ends by itself.
            _log.exception("the orders of registration %d could not be canceled", switch.id)
            return result | {"error": f"it failed ({type(error).__name__}), and is tried again"}
        finally:
            with self._lock:
                self._busy.pop(switch.id, None)

    def _fired(self, claimed: Registration, attempts: _Attempts, canceled: int) -> None:
        """Write that the orders were canceled. What was under way may have come after that: it is canceled later."""
        is_last = not attempts.under_way
        attempts.failures, attempts.code = attempts.failures + 1, None

        def work() -> None:
            if is_last:
                self._store.safety.finish(claimed)
            else:
                self._store.safety.postpone(claimed, attempts.pause())
            self._report(claimed, {"canceled": str(canceled)})

        self._store.atomic(work)
        sentence = f"the dead man's switch of registration {claimed.id} canceled its orders"
        log_with(_log, logging.WARNING, sentence, exchange=claimed.exchange, canceled=canceled)
        if is_last:
            with self._lock:
                self._attempts.pop(claimed.id, None)

    def _failed(self, claimed: Registration, attempts: _Attempts, error: Exception) -> str:
        """Let a cancel that failed be tried again; return what is shown of the error. The audit has each kind once."""
        log_failure(_log, error, f"the orders of registration {claimed.id} could not be canceled")
        words, code = type(error).__name__, "server_error"
        if isinstance(error, ExchangeError | Problem):
            words, code = str(error), error.code
        attempts.failures += 1
        pause = max(attempts.pause(), error.retry_after) if isinstance(error, Busy) else attempts.pause()
        is_new, attempts.code = code != attempts.code, code

        def work() -> None:
            # What the exchange has no call for is not tried for ever.
            is_ours = (
                self._store.safety.finish(claimed)
                if code == "unsupported"
                else self._store.safety.postpone(claimed, pause)
            )
            if is_ours and is_new:
                self._report(claimed, {"error": words, "code": code})

        self._store.atomic(work)
        return words

    def _report(self, registration: Registration, details: dict[str, str]) -> None:
        """Write what became of a cancel into the audit and the notices, within a write."""
        subject = f"registration {registration.id}"
        self._store.notices.add("deadman.fired", details, registration=registration.id)
        self._store.audit.add("server", "deadman.fired", subject, details, account_id=registration.account_id)

    def cancel_now(self, switches: Sequence[Switch]) -> list[dict[str, Any]]:
        """Cancel what was made due just now; return a row for each registration: how many orders, or an error.

        It takes no longer than one call may take. What is not done then is gone on with.
        """
        begun = {switch.id: self._begin(switch) for switch in switches}
        wait([future for future in begun.values() if future is not None], timeout=self._call_seconds)
        rows = []
        for switch in switches:
            future = begun[switch.id]
            if future is not None and future.done():
                rows.append(future.result())
            else:
                error = "they are being canceled; this goes on until it worked"
                rows.append({"id": switch.id, "exchange": switch.exchange, "canceled": None, "error": error})
        return rows

    def set(self, caller: Caller, registration: Registration, seconds: int) -> dict[str, Any]:
        """Set the switch of a registration, renew it, or switch it off (0), here and at the exchange.

        Return what is shown of it. Here it is set whatever the exchange does. Raises Problem.
        """
        updated = self._set_here(caller, registration, seconds)
        return self._set_at_exchange(updated, seconds)

    def set_each(self, caller: Caller, registrations: Sequence[Registration], seconds: int) -> list[dict[str, Any]]:
        """Do that for many: here at once, then at their exchanges side by side. A row that failed has an `error`."""
        rows: dict[int, dict[str, Any]] = {}
        futures: dict[int, Future[dict[str, Any]]] = {}
        for registration in registrations:
            try:
                updated = self._set_here(caller, registration, seconds)
            except Problem as problem:
                rows[registration.id] = deadman_to_json(registration) | {"error": str(problem)}
            else:
                rows[registration.id] = deadman_to_json(updated) | {"error": "its exchange did not answer in time"}
                futures[updated.id] = self._workers.submit(partial(self._set_at_exchange, updated, seconds))
        wait(futures.values(), timeout=self._call_seconds)
        for id, future in futures.items():
            if future.done():
                try:
                    rows[id] = future.result()
                except Exception as error:
                    log_failure(_log, error, f"the switch of registration {id} could not be set at its exchange")
                    rows[id] |= {"error": str(error) if isinstance(error, Problem) else "server error"}
        return list(rows.values())

    def _set_here(self, caller: Caller, registration: Registration, seconds: int) -> Registration:
        if seconds:
            check_enabled(registration)
        kind = self._registry.kind(registration.exchange)
        if "cancel_all" not in supports(kind):
            raise Problem(
                422, "unsupported", f"{kind.name} has no call that cancels all orders, so no switch can be set"
            )

        def work() -> Registration:
            check_login(self._store, caller)
            updated, before = self._store.safety.set_switch(registration.id, seconds)
            if updated is None:
                raise Problem(
                    409,
                    "cancel_pending",
                    "all orders of this registration are being canceled; set its switch when that is done",
                    retryable=True,
                    headers={"Retry-After": "1"},
                )
            if (before or 0) != seconds:
                self._store.audit.add(
                    caller, "deadman.set", f"registration {registration.id}", {"seconds": str(seconds)}
                )
            return updated

        return self._store.atomic(work)

    def _set_at_exchange(self, registration: Registration, seconds: int) -> dict[str, Any]:
        kind = self._registry.kind(registration.exchange)
        if "deadman" not in supports(kind):
            return deadman_to_json(registration)
        try:
            # As urgent as a cancel: a renewal that comes too late cancels all orders.
            with self._registry.open(registration, Priority.CANCEL) as exchange:
                exchange.deadman(seconds)
        except ExchangeError as error:
            done = "is set on this server" if seconds else "is off on this server"
            raise from_exchange(error, f"the switch {done}, but {kind.name}'s own may not be") from error
        return deadman_to_json(registration) | {"at_exchange": seconds > 0}


def deadman_to_json(registration: Registration) -> dict[str, Any]:
    """Return what is shown of the switch of a registration."""
    return {"id": registration.id, "exchange": registration.exchange, "at_exchange": False} | switch_to_json(
        registration
    )


def switch_to_json(registration: Registration) -> dict[str, Any]:
    """Return the seconds of a switch and its deadline; null: it is off. 0 seconds: its cancel is due, or is tried."""
    at = registration.deadman_at
    return {
        "deadman_seconds": registration.deadman_seconds,
        "deadman_at": None if at is None else time_text(datetime.fromtimestamp(at, UTC)),
    }
