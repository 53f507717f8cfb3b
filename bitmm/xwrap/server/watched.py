"""The numbers that the parts of a server count by themselves, for its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from .metrics import Watched
from .rounds import RoundCounts, Rounds
from .services import Services

__all__ = ["watched_numbers"]


def watched_numbers(services: Services) -> Iterator[Watched]:
    """Return what is read of the parts of a server whenever somebody looks at its metrics."""
    store, threads, failures = services.store, services.threads, services.login_failures
    yield Watched(
        *("counter", "xwrap_database_errors", "How often the data base could not be used, also once more", ()),
        lambda: {(): store.database_errors()},
    )
    yield Watched(
        *("counter", "xwrap_login_failures", "Logins with a wrong name or password, or refused after too many", ()),
        lambda: {(): failures.count},
    )
    counts = {} if services.notifier is None else services.notifier.counts
    yield Watched(
        *("counter", "xwrap_notices", "Tries to deliver a notice", ("result",)),
        lambda: {(result,): count for result, count in counts.items()},
    )
    yield Watched(
        *("gauge", "xwrap_threads_busy", "Threads that carry out a call", ("pool",)),
        lambda: {(pool,): busy for pool, (busy, _size) in threads.use().items()},
    )
    yield Watched(
        *("gauge", "xwrap_threads", "Threads that there are", ("pool",)),
        lambda: {(pool,): size for pool, (_busy, size) in threads.use().items()},
    )
    rounds = _rounds(services)
    yield _of_rounds("counter", "rounds", "Rounds of the work that goes on by itself", rounds, lambda of: of.rounds)
    yield _of_rounds("counter", "round_failures", "Rounds that failed", rounds, lambda of: of.failures)
    yield _of_rounds("gauge", "round_seconds", "How long the last round took", rounds, lambda of: of.seconds)


def _rounds(services: Services) -> list[Rounds]:
    notices = [] if services.notifier is None else [services.notifier.rounds]
    return [
        services.reconciler.rounds,
        services.follower.rounds,
        services.deadman.rounds,
        services.old_refusals.rounds,
        services.login_failures.rounds,
        *notices,
    ]


def _of_rounds(
    kind: Literal["counter", "gauge"],
    name: str,
    help: str,
    rounds: Sequence[Rounds],
    number: Callable[[RoundCounts], float],
) -> Watched:
    def read() -> dict[tuple[str, ...], float]:
        return {(each.name, part): number(counts) for each in rounds for part, counts in each.counts.items()}

    return Watched(kind, f"xwrap_{name}", help, ("work", "part"), read)
