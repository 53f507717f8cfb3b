"""Tasks that run one at a time on a virtual clock, so that a run depends on nothing but its seed.

A task has a thread of its own, because it stops in the middle of functions that know nothing of tasks; it runs until
it sleeps or waits for something, and then hands over to the task whose time comes next. Time passes in between only.
"""

from __future__ import annotations

import _thread
import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import NamedTuple

#: Where the virtual clock starts: 2026-11-27 00:00 UTC, in seconds since 1970; and its monotonic clock, in seconds.
WALL_START, MONOTONIC_START = 1795737600.0, 100_000.0
#: The shortest wait, in seconds. A shorter one may leave the clock where it is, and a task that waits so for what needs
#: time would wait for ever: a rate limit that is over in 1e-15 s (seed 5366).
_TICK = 1e-6
#: The longest that a task waits after it was woken, in seconds: who of several goes first differs from seed to seed.
_WAKE_JITTER = 0.0001
#: A task that is ended at the end of a seed, and still goes on after so many exceptions, is a mistake.
_MOST_ENDS = 1000


class Ended(BaseException):
    """Raised in a task that is still there when its seed is over; nothing that it does then counts."""


@dataclass(eq=False)
class Host:
    """A machine: its clock may be wrong, and it may stand still."""

    name: str
    #: Seconds by which its wall clock is ahead.
    clock_error: float = 0.0
    #: Nothing runs here before this time.
    stopped_until: float = 0.0


@dataclass(eq=False)
class Process:
    """A program on a host. `points`: how often its tasks have reached a place where another task may go on."""

    name: str
    host: Host
    alive: bool = True
    points: int = 0
    #: It is killed when it reaches this many points.
    kill_at: int | None = None
    on_kill: Callable[[], None] | None = None
    #: Close what the system closes when a process ends: connections to data bases, files.
    closers: list[Callable[[], object]] = field(default_factory=list)


@dataclass(eq=False)
class Task:
    """A thread of a process."""

    name: str
    process: Process
    work: Callable[[], object]
    worker: _Worker | None = None
    #: Counts its waits: what would wake it from an earlier one comes too late.
    wait_number: int = 0
    #: Whether it was woken before its time was over.
    woken: bool = False


class Waiter(NamedTuple):
    """A task that waits, for `Scheduler.wake`."""

    task: Task
    wait_number: int


class _Event(NamedTuple):
    time: float
    number: int
    host: Host | None
    #: Either a task that goes on, or something that is called.
    waiter: Waiter | None
    woken: bool
    action: Callable[[], object] | None


class _Worker:
    """A thread, used for one task after the other."""

    def __init__(self) -> None:
        self.baton = _thread.allocate_lock()
        self.baton.acquire()


class Scheduler:
    """The clock and the tasks of one seed."""

    def __init__(self, rng: Random) -> None:
        self.now = 0.0
        self.current: Task | None = None
        #: The first exception of a task or an action: a mistake of the simulation or of what it runs.
        self.failure: BaseException | None = None
        self._rng = rng
        self._events: list[_Event] = []
        self._numbers = count()
        self._main = _Worker()
        self._tasks: dict[Task, None] = {}
        self._finished = False
        self._closing = False
        self._ends = 0

    def wall(self) -> float:
        """Return the seconds since 1970, as the clock of the running task's host shows them."""
        error = self.current.process.host.clock_error if self.current else 0.0
        return WALL_START + self.now + error

    def monotonic(self) -> float:
        return MONOTONIC_START + self.now

    def at(self, delay: float, action: Callable[[], object], host: Host | None = None) -> None:
        """Call `action` after `delay` seconds, later while `host` stands still. It must not wait for anything."""
        self._push(self.now + delay, host, None, action=action)

    def spawn(self, process: Process, name: str, work: Callable[[], object]) -> Task:
        """Start a task."""
        task = Task(name, process, work)
        self._tasks[task] = None
        self._push(self.now + self._jitter(), process.host, Waiter(task, 0))
        return task

    def waiter(self) -> Waiter:
        """Return the running task as one that will wait next."""
        assert self.current is not None
        return Waiter(self.current, self.current.wait_number + 1)

    def wake(self, waiter: Waiter) -> None:
        """Let a task go on that waits; one that does not wait any more is left alone."""
        self._push(self.now + self._jitter(), waiter.task.process.host, waiter, woken=True)

    def wait(self, seconds: float | None = None) -> bool:
        """Let others run until this task is woken (True), or for `seconds` (False)."""
        task = self.current
        if self._closing or task is None:
            self._count_end()
            raise Ended
        self.point()
        task.wait_number += 1
        if seconds is not None:
            end = self.now + (max(seconds, _TICK) if seconds > 0 else 0.0)
            self._push(end, task.process.host, Waiter(task, task.wait_number))
        assert task.worker is not None
        self._hand_over(task.worker)
        if self._closing:
            raise Ended
        return task.woken

    def sleep(self, seconds: float) -> None:
        self.wait(seconds)

    def point(self) -> None:
        """Count a place where the process may be killed, and kill it when its time has come."""
        task = self.current
        if task is None or self._closing:
            return
        process = task.process
        process.points += 1
        if process.kill_at is not None and process.points >= process.kill_at and process.alive:
            assert process.on_kill is not None
            process.on_kill()
        if not process.alive:
            assert task.worker is not None
            self._hand_over(task.worker)
            raise Ended  # nothing wakes the task of a dead process before the end of the seed

    def run(self) -> None:
        """Run all tasks until `finish` is called, or nothing is left to happen. Raises what a task raised."""
        self._hand_over(self._main)
        if self.failure is not None:
            raise self.failure

    def finish(self) -> None:
        """End `run`."""
        self._finished = True

    def close(self) -> None:
        """End the tasks that are still there."""
        self._closing = True
        for task in list(self._tasks):
            if task.worker is not None:
                self.current = task
                task.worker.baton.release()
                self._main.baton.acquire()
        self.current = None

    def _count_end(self) -> None:
        self._ends += 1
        if self._ends > _MOST_ENDS:
            raise SystemExit("a task cannot be ended")

    def _jitter(self) -> float:
        return self._rng.random() * _WAKE_JITTER

    def _push(
        self,
        time: float,
        host: Host | None,
        waiter: Waiter | None,
        *,
        woken: bool = False,
        action: Callable[[], object] | None = None,
    ) -> None:
        heapq.heappush(self._events, _Event(time, next(self._numbers), host, waiter, woken, action))

    def _hand_over(self, me: _Worker) -> None:
        """Run what comes next, until it is the turn of the thread that calls this."""
        following = self._next_worker()
        if following is not me:
            following.baton.release()
            me.baton.acquire()

    def _next_worker(self) -> _Worker:
        """Call the actions that come next; return the thread of the task that comes then, at the end the main one."""
        self.current = None
        while self._events and not self._finished and self.failure is None:
            event = heapq.heappop(self._events)
            if event.host is not None and event.host.stopped_until > event.time:
                heapq.heappush(self._events, event._replace(time=event.host.stopped_until))
                continue
            self.now = max(self.now, event.time)
            if event.waiter is None:
                try:
                    event.action()
                except BaseException as error:
                    self.failure = error
                continue
            task = event.waiter.task
            if not task.process.alive or task.wait_number != event.waiter.wait_number or task not in self._tasks:
                continue
            task.woken = event.woken
            task.wait_number += 1  # whatever else would have ended this wait comes too late
            self.current = task
            if task.worker is None:
                task.worker = _idle.pop() if _idle else _start_worker()
                _begin[task.worker] = (self, task)
            return task.worker
        return self._main

    def _carry_out(self, task: Task) -> _Worker:
        """Do the work of a task, in its thread; return the thread that goes on then."""
        try:
            task.work()
        except Ended:
            pass
        except BaseException as error:
            if not self._closing:
                self.failure = self.failure or error
        del self._tasks[task]
        assert task.worker is not None
        _idle.append(task.worker)
        return self._main if self._closing else self._next_worker()


#: Threads without a task, and the task that each of the others is to begin with.
_idle: list[_Worker] = []
_begin: dict[_Worker, tuple[Scheduler, Task]] = {}


def _start_worker() -> _Worker:
    worker = _Worker()
    threading.Thread(target=_work, args=(worker,), daemon=True).start()
    return worker


def _work(worker: _Worker) -> None:
    while True:
        worker.baton.acquire()
        scheduler, task = _begin.pop(worker)
        following = scheduler._carry_out(task)
        # Nothing of the seed is to be kept alive by a thread that waits.
        del scheduler, task
        following.baton.release()
        del following
