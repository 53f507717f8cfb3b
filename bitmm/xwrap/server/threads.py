"""The threads of a server. Views run in them: one thread a call, from its login to its answer."""

from __future__ import annotations

import mmap
import os
import threading
from asyncio import get_running_loop, timeout
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, TypeVar

from .allocator import keep_no_large_blocks
from .problems import too_busy
from .settings import Settings, SetupError
from .shares import Holder, SharedSlots

__all__ = ["Pool", "ThreadPools", "Workers", "start_thread", "threads_of"]

T = TypeVar("T")

#: Bytes that must be free before a thread is started: its stack, 8 MiB as a rule, and what it needs to begin.
_ROOM = 16 * 2**20

#: outbound: calls that wait for an exchange. urgent: cancels, which have threads of their own. database: the rest.
#: passwords: hashes of passwords, one for each processor.
Pool = Literal["outbound", "urgent", "database", "passwords"]


#: Beside those that calls run in: the event loop, the writer of the log, the rounds that go on by themselves, and those
#: that cancel for the dead man's switch, which are 24.
_OWN_THREADS = 36


def threads_of(settings: Settings) -> int:
    """Return how many threads a server with these settings has, about; all its workers together."""
    calls = settings.outbound_threads + settings.urgent_threads + settings.database_threads
    return settings.workers * (calls + _password_threads(settings) + _OWN_THREADS)


def _password_threads(settings: Settings) -> int:
    """Return how many passwords a process hashes at once: all workers together one on each processor."""
    return max(1, (os.cpu_count() or 1) // settings.workers)


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
        self._slots = {pool: SharedSlots(size) for pool, size in sizes.items()}
        hashes = _password_threads(settings)
        self._slots["passwords"] = SharedSlots(hashes)
        # The allocator keeps the 19 MiB of a hash for the thread that made it, so these threads make all of them.
        passwords = Workers(hashes, begin=keep_no_large_blocks)
        try:
            self._workers = Workers(sum(sizes.values()))
        except BaseException:
            passwords.shutdown()
            raise
        self._passwords = passwords

    async def run(self, pool: Pool, function: Callable[..., T], *args: Any, holders: Sequence[Holder] = ()) -> T:
        """Run `function` in a thread, with the context variables of the call, and return its result.

        `holders`: who has no more than a share of the threads, the account first. Raises Problem 503, before it ran,
        when no thread of the pool is free for them for some seconds.
        """
        slots = self._slots[pool]
        try:
            async with timeout(self._seconds):
                await slots.acquire(holders)
        except TimeoutError:
            raise too_busy(
                "server_busy", "too many calls at once; this call sent nothing; try again in a second"
            ) from None
        try:
            # anyio's to_thread takes three times as long for this hop (measured 2026-11-26 with 4.12).
            workers = self._passwords if pool == "passwords" else self._workers
            return await get_running_loop().run_in_executor(workers, copy_context().run, function, *args)
        finally:
            slots.release(holders)

    def use(self) -> dict[str, tuple[int, int]]:
        """Return how many threads of each pool are busy, and how many there are; in the event loop."""
        return {pool: (slots.size - slots.free, slots.size) for pool, slots in self._slots.items()}

    def close(self) -> None:
        """Start no further call; those that still wait for an exchange are left behind."""
        self._workers.shutdown(wait=False)
        self._passwords.shutdown(wait=False)


class Workers(Executor):
    """An executor whose `size` threads all run from the start. Raises SetupError when the system gives fewer.

    ThreadPoolExecutor starts a thread when work comes, and puts the work into its queue first: when the start fails,
    `submit` raises, and another thread carries the work out all the same. An order would be called a failure and
    executed. Here a thread sleeps until work comes and no other is idle; then it is woken, as it would be started
    there. So few threads do what few can do, with warm connections to the data base: when all wait at the queue, it
    wakes each in turn (half as many calls a second, measured 2026-11-27). `begin` is run by each thread first.
    """

    def __init__(self, size: int, *, begin: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._begin = begin
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        #: The threads that wait at the queue, less the work in it.
        self._idle = 0
        self._asleep = size
        self._alarm = threading.Semaphore(0)
        self._busy: set[threading.Thread] = set()
        self._is_closed = False
        self._threads = [threading.Thread(target=self._run, name=f"xwrap-call_{number}") for number in range(size)]
        try:
            for thread in self._threads:
                start_thread(thread)
        except BaseException:
            self.shutdown()
            raise

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Run `function` in a free thread, or in the next one that becomes free."""
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the server has stopped")
            if self._idle <= 0 and self._asleep:
                self._alarm.release()
                self._asleep -= 1
                self._idle += 1
            # Last: without memory it fails, and then nothing is carried out.
            self._queue.put(_Work(future, function, args, options))
            self._idle -= 1
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Start no further work. The free threads end now; the others end with what they do, and are not waited for."""
        with self._lock:
            self._is_closed = True
            while not self._queue.empty():
                if (work := self._queue.get()) is not None:
                    work.future.cancel()
            for _ in self._threads:
                self._queue.put(None)
            self._alarm.release(len(self._threads))
        for thread in self._threads:
            if thread.ident is not None:  # else it was never started
                thread.join(None if thread not in self._busy else 0)

    def _run(self) -> None:
        this = threading.current_thread()
        self._begin()
        self._alarm.acquire()
        while (work := self._next_work(this)) is not None:
            result, error = work.run()
            # Before the caller hears of it: its next call finds this thread idle.
            with self._lock:
                self._busy.discard(this)
                self._idle += 1
            work.finish(result, error)
            del work, result, error

    def _next_work(self, thread: threading.Thread) -> _Work | None:
        """Return the next work, which makes the thread busy; None: there is none any more."""
        work = self._queue.get()
        with self._lock:
            if work is None or self._is_closed:
                if work is not None:
                    work.future.cancel()
                return None
            self._busy.add(thread)
            return work


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


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that the server cannot do without. Raises SetupError when the system gives none."""
    try:
        # A thread that has its stack and no memory to begin ends without a word, and start() waits for it for ever
        # (CPython 3.11, seen 2026-11-27 in one of 25 starts under a limit of address space).
        mmap.mmap(-1, _ROOM).close()
        thread.start()
    except (RuntimeError, MemoryError, OSError):
        raise _no_thread() from None


def _no_thread() -> SetupError:
    return SetupError(
        f"the system gives this process no more than {threading.active_count()} threads, and the server needs more; "
        "raise the limit on threads (ulimit -u, TasksMax of a systemd service, pids limit of a container) or on memory"
    )
