"""The threads of a server. Views run in them: one thread a call, from its login to its answer."""

from __future__ import annotations

import threading
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, TypeVar

from anyio import CapacityLimiter, WouldBlock, fail_after

from .problems import too_busy
from .settings import Settings, SetupError

__all__ = ["Pool", "ThreadPools", "Workers", "start_thread"]

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
        self._workers = Workers(sum(sizes.values()))

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
            return await get_running_loop().run_in_executor(self._workers, function, *args)
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
        self._workers.shutdown(wait=False)


class Workers(Executor):
    """An executor whose `size` threads all run from the start. Raises SetupError when the system gives fewer.

    ThreadPoolExecutor starts a thread when work comes, and puts the work into its queue first: when the start fails,
    `submit` raises, and another thread carries the work out all the same. An order would be called a failure and
    executed. Work goes to the thread that became free last: its connection to the data base is warm, where a queue for
    all wakes each of the threads in turn (half as many calls a second, measured 2026-11-27).
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        #: Where the free threads wait for work, the last one that became free at the end.
        self._free: list[_Inbox] = [SimpleQueue() for _ in range(size)]
        #: Work that found no thread free.
        self._waiting: deque[_Work] = deque()
        self._is_closed = False
        self._threads = {
            inbox: threading.Thread(target=self._run, args=(inbox,), name=f"xwrap-call_{number}")
            for number, inbox in enumerate(self._free)
        }
        try:
            for thread in self._threads.values():
                start_thread(thread)
        except BaseException:
            self.shutdown()
            raise

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Run `function` in a free thread, or in the next one that becomes free."""
        future: Future[T] = Future()
        work = _Work(future, function, args, options)
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the server has stopped")
            if self._free:
                self._free[-1].put(work)
                self._free.pop()  # afterwards: without memory `put` fails, and the thread stays free
            else:
                self._waiting.append(work)
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Start no further work. The free threads end now; the others end with what they do, and are not waited for."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, deque()
            free, self._free = self._free, []
        for work in waiting:
            work.future.cancel()
        for inbox in self._threads:
            inbox.put(None)
        for inbox in free:
            if self._threads[inbox].ident is not None:  # else it was never started
                self._threads[inbox].join()

    def _run(self, inbox: _Inbox) -> None:
        while (work := inbox.get()) is not None:
            result, error = work.run()
            # Before the caller hears of it: its next call finds this thread free.
            with self._lock:
                if self._waiting:
                    inbox.put(self._waiting.popleft())
                else:
                    self._free.append(inbox)
            work.finish(result, error)
            del work, result, error


class _Work(NamedTuple):
    """A call that a thread is to make, and the future that its caller waits for."""

    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]

    def run(self) -> tuple[Any, BaseException | None]:
        """Return the result, or what was raised; (None, None) when the caller gave up before."""
        if not self.future.set_running_or_notify_cancel():
            return None, None
        try:
            return self.function(*self.args, **self.options), None
        except BaseException as error:
            return None, error

    def finish(self, result: Any, error: BaseException | None) -> None:
        """Hand the outcome to the caller, unless it gave up."""
        if self.future.cancelled():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


_Inbox = SimpleQueue[_Work | None]


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that the server cannot do without. Raises SetupError when the system gives none."""
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        raise _no_thread() from None


def _no_thread() -> SetupError:
    return SetupError(
        f"the system gives this process no more than {threading.active_count()} threads, and the server needs more; "
        "raise the limit on threads (ulimit -u, TasksMax of a systemd service, pids limit of a container) or on memory"
    )
