"""What stands in for clocks, locks, threads and random numbers in the modules that are simulated.

The modules are imported while `time`, `threading`, `datetime`, `random`, `secrets` and `uuid` are replaced; so they,
and they alone, have these. Outside of a simulation's task the clocks are the real ones.
"""

from __future__ import annotations

import datetime as dt
import random as real_random
import secrets as real_secrets
import sys
import threading as real_threading
import time as real_time
import uuid as real_uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any, Self

from .scheduler import Scheduler, Task, Waiter

#: The seed that runs.
_scheduler: Scheduler | None = None
_rng = Random(0)


def begin(scheduler: Scheduler, rng: Random) -> None:
    """Let the substitutes belong to this seed. `rng`: where all that is random comes from."""
    global _scheduler, _rng
    _scheduler, _rng = scheduler, rng


def _discard(waiting: list[Waiter], waiter: Waiter) -> None:
    if waiter in waiting:
        waiting.remove(waiter)


class Lock:
    """threading.Lock and RLock: a task that waits for it lets others run."""

    reentrant = False

    def __init__(self) -> None:
        self._owner: Task | None = None
        self._depth = 0
        self._waiting: list[Waiter] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = None if _scheduler is None else _scheduler.current
        if self._depth and not (self.reentrant and self._owner is me):
            if not blocking:
                return False
            if me is None:
                raise RuntimeError("an action waits for a lock")
            deadline = None if timeout < 0 else _scheduler.now + timeout
            while self._depth:
                waiter = _scheduler.waiter()
                self._waiting.append(waiter)
                woken = _scheduler.wait(None if deadline is None else deadline - _scheduler.now)
                _discard(self._waiting, waiter)
                if not woken and self._depth:
                    return False
        self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        if not self._depth:
            raise RuntimeError("a free lock is released")
        self._depth -= 1
        if not self._depth and self._waiting:
            _scheduler.wake(self._waiting.pop(0))

    def locked(self) -> bool:
        return self._depth > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock(Lock):
    reentrant = True


class Condition:
    """threading.Condition, with a lock of its own."""

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = lock or RLock()
        self.acquire, self.release = self._lock.acquire, self._lock.release
        self._waiting: list[Waiter] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        waiter = _scheduler.waiter()
        self._waiting.append(waiter)
        self._lock.release()
        try:
            woken = _scheduler.wait(timeout)
        finally:
            _discard(self._waiting, waiter)
            self._lock.acquire()
        return woken

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        deadline = None if timeout is None else _scheduler.now + timeout
        while not (result := predicate()):
            left = None if deadline is None else deadline - _scheduler.now
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        for _ in range(min(n, len(self._waiting))):
            _scheduler.wake(self._waiting.pop(0))

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._set = False
        self._condition = Condition()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._condition.notify_all()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        with self._condition:
            return self._condition.wait_for(self.is_set, timeout)


class Semaphore:
    """threading.Semaphore."""

    def __init__(self, value: int = 1) -> None:
        self._value = value
        self._condition = Condition()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        with self._condition:
            if not self._condition.wait_for(lambda: self._value > 0, timeout if blocking else 0):
                return False
            self._value -= 1
            return True

    def release(self, n: int = 1) -> None:
        self._value += n
        self._condition.notify(n)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Thread:
    """threading.Thread: a task of the process that starts it."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self.name, self.daemon = name or "thread", daemon
        self._target, self._args, self._kwargs = target, args, kwargs or {}
        self._ended = Event()
        self._started = False

    @property
    def ident(self) -> int | None:
        """A number of a thread that was started."""
        return id(self) if self._started else None

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        self._started = True
        _scheduler.spawn(_scheduler.current.process, self.name, self._run)

    def _run(self) -> None:
        try:
            self.run()
        finally:
            self._ended.set()

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        return self._started and not self._ended.is_set()


class _DatetimeType(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, dt.datetime)


class Datetime(dt.datetime, metaclass=_DatetimeType):
    """datetime.datetime: `now` reads the virtual clock; what is made is a plain datetime."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return dt.datetime.fromtimestamp(_wall(), tz)

    fromtimestamp = dt.datetime.fromtimestamp  # type: ignore[assignment]
    fromisoformat = dt.datetime.fromisoformat  # type: ignore[assignment]
    strptime = dt.datetime.strptime  # type: ignore[assignment]
    combine = dt.datetime.combine  # type: ignore[assignment]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return dt.datetime(*args, **kwargs)  # type: ignore[return-value]  # noqa: DTZ001 - as the caller has it


def _wall() -> float:
    return real_time.time() if _scheduler is None else _scheduler.wall()


def monotonic() -> float:
    """Stand in for time.monotonic."""
    return real_time.monotonic() if _scheduler is None else _scheduler.monotonic()


def _sleep(seconds: float) -> None:
    real_time.sleep(seconds) if _scheduler is None else _scheduler.sleep(seconds)


def _drawn(name: str) -> Callable[..., Any]:
    """Return the function of this name, of the generator of the seed that runs."""

    def draw(*args: Any) -> Any:
        return getattr(_rng, name)(*args)

    return draw


def _token_bytes(nbytes: int | None = None) -> bytes:
    return _rng.randbytes(nbytes or 32)


def _random(seed: Any = None) -> Random:
    return Random(_rng.getrandbits(64) if seed is None else seed)


_REPLACED: dict[ModuleType, dict[str, Any]] = {
    real_time: {
        "time": _wall,
        "time_ns": lambda: int(_wall() * 1e9),
        "monotonic": monotonic,
        "perf_counter": monotonic,
        "sleep": _sleep,
    },
    real_threading: {
        "Lock": Lock,
        "RLock": RLock,
        "Condition": Condition,
        "Event": Event,
        "Semaphore": Semaphore,
        "BoundedSemaphore": Semaphore,
        "Thread": Thread,
        "get_ident": lambda: id(_scheduler.current),
    },
    dt: {"datetime": Datetime},
    real_random: {
        **{name: _drawn(name) for name in real_random.__all__ if hasattr(Random, name)},
        "Random": _random,
        "SystemRandom": _random,
    },
    real_secrets: {
        "SystemRandom": _random,
        "choice": _drawn("choice"),
        "randbelow": _drawn("randrange"),
        "randbits": _drawn("getrandbits"),
        "token_bytes": _token_bytes,
        "token_hex": lambda nbytes=None: _token_bytes(nbytes).hex(),
        "token_urlsafe": lambda nbytes=None: urlsafe_b64encode(_token_bytes(nbytes)).rstrip(b"=").decode(),
    },
    real_uuid: {"uuid4": lambda: real_uuid.UUID(int=_rng.getrandbits(128), version=4)},
}


def _substitute(real: ModuleType, replaced: dict[str, Any]) -> ModuleType:
    module = ModuleType(real.__name__)
    module.__dict__.update({**vars(real), **replaced})
    return module


@contextmanager
def importing() -> Iterator[None]:
    """Let the modules that are imported in the block have the substitutes."""
    sys.modules.update({real.__name__: _substitute(real, replaced) for real, replaced in _REPLACED.items()})
    try:
        yield
    finally:
        sys.modules.update({real.__name__: real for real in _REPLACED})
