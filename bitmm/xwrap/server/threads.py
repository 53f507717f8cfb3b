"""The threads of a server. Views run in them: one thread a call, from its login to its answer."""

from __future__ import annotations

import threading
from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from anyio import CapacityLimiter, WouldBlock, fail_after

from .problems import too_busy
from .settings import Settings, SetupError

__all__ = ["Pool", "ThreadPools", "start_thread"]

T = TypeVar("T")

#: outbound: calls that wait for an exchange. urgent: cancels, which have threads of their own. database: the rest.
Pool = Literal["outbound", "urgent", "database"]


class ThreadPools:
    """The threads of one server. Their number, and how long a call waits for one, are in its settings.

    All are started at once. Raises SetupError when the system does not give that many.
    """

    def __init__(self, settings: Settings) -> None:
        sizes: dict[Pool, int] = {
            "outbound": settings.outbound_threads,
            "urgent": settings.urgent_threads,
            "database": settings.database_threads,
        }
        self._seconds = settings.queue_seconds
        self._limiters = {pool: CapacityLimiter(size) for pool, size in sizes.items()}
        self._executor = _full_executor(sum(sizes.values()))

    async def run(self, pool: Pool, function: Callable[..., T], *args: Any) -> T:
        """Run `function` in a thread and return its result.

        Raises Problem 503, before it ran, when no thread of the pool is free for some seconds.
        """
        limiter, borrower = self._limiters[pool], object()
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
        except WouldBlock:
            await self._wait(limiter, borrower)
        try:
            # anyio's to_thread takes three times as long for this hop (measured 2026-11-26 with 4.12).
            return await get_running_loop().run_in_executor(self._executor, function, *args)
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _wait(self, limiter: CapacityLimiter, borrower: object) -> None:
        try:
            with fail_after(self._seconds):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise too_busy("server_busy", "too many calls at once; this call sent nothing") from None

    def close(self) -> None:
        """Start no further call; those that still wait for an exchange are left behind."""
        self._executor.shutdown(wait=False)


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that the server cannot do without. Raises SetupError when the system gives none."""
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        raise _no_thread() from None


def _full_executor(size: int) -> ThreadPoolExecutor:
    """Return an executor that has all its `size` threads. Raises SetupError when the system does not give that many.

    An executor that may still start one puts the work into its queue first: when the start fails, `submit` raises, and
    another thread carries the work out all the same. An order would be called a failure and executed.
    """
    executor = ThreadPoolExecutor(size, "xwrap-call")
    all_started = threading.Event()
    try:
        for _ in range(size):
            # None of them is idle while all of them wait, so each `submit` starts one more.
            executor.submit(all_started.wait)
    except (RuntimeError, MemoryError):
        executor.shutdown(wait=False, cancel_futures=True)
        raise _no_thread() from None
    finally:
        all_started.set()
    return executor


def _no_thread() -> SetupError:
    return SetupError(
        f"the system gives this process no more than {threading.active_count()} threads, and the server needs more; "
        "raise the limit on threads (ulimit -u, TasksMax of a systemd service, pids limit of a container) or on memory"
    )
