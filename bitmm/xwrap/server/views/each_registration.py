"""The exchanges of all registrations of an account, asked at the same time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TypeVar

from ...exchanges.base import Exchange
from ...exchanges.errors import ExchangeError
from ..context import RequestContext
from ..db.records import Registration
from ..policy import may_use
from ..problems import Problem
from ..shares import account_holder
from ..threads import Pool
from ..vault import VaultError

__all__ = ["call_each", "read_each"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: So many registrations of one call are asked at the same time.
_AT_ONCE = 32


async def read_each(
    context: RequestContext,
    read: Callable[[Registration, Exchange], _T],
    failed: Callable[[Registration, str], _T],
    *,
    seconds: float = inf,
) -> list[_T]:
    """Return what `read` returns of each active registration and its exchange, as `call_each` does."""

    def call(registration: Registration, left: float) -> _T:
        with context.services.registry.open(registration, seconds=left) as exchange:
            return read(registration, exchange)

    return await call_each(context, call, failed, seconds=seconds)


async def call_each(
    context: RequestContext,
    call: Callable[[Registration, float], _T],
    failed: Callable[[Registration, str], _T],
    *,
    seconds: float = inf,
    active_only: bool = True,
) -> list[_T]:
    """Return what `call` returns of each registration that the caller may use, the oldest first.

    Each is called in a thread of its own, `_AT_ONCE` at the same time at most, for so many `seconds`, and no longer
    than a call may take; it is given the seconds that are left. Where one fails, what `failed` returns stands in its
    place, with the reason in words; it delays no other.
    """
    services, holders = context.services, (account_holder(context.account.id),)
    registrations = await services.threads.run("database", _registrations, context, active_only, holders=holders)
    turns, until = asyncio.Semaphore(_AT_ONCE), time.monotonic() + min(seconds, services.settings.call_seconds)

    async def call_one(registration: Registration) -> _T:
        pool: Pool = "database" if services.registry.answers_at_once(registration.exchange) else "outbound"
        async with turns:
            left = until - time.monotonic()
            if left <= 0:
                return failed(registration, "it was not asked, because the others took all the time")
            work = partial(_call_one, registration, left, call, failed)
            try:
                return await services.threads.run(pool, work, holders=holders)
            except Problem as problem:
                return failed(registration, str(problem))

    return await asyncio.gather(*map(call_one, registrations))


def _registrations(context: RequestContext, active_only: bool) -> list[Registration]:
    rows = context.services.store.registrations.of_account(context.account.id, active_only=active_only)
    return [row for row in rows if may_use(context.caller, row)]


def _call_one(
    registration: Registration,
    left: float,
    call: Callable[[Registration, float], _T],
    failed: Callable[[Registration, str], _T],
) -> _T:
    try:
        return call(registration, left)
    except (ExchangeError, Problem) as error:
        return failed(registration, str(error))
    except VaultError as error:
        _log.error("registration %d: %s", registration.id, error)
        words = (
            "the server cannot open the key of this registration; replace the key, or ask the server's administrator"
        )
        return failed(registration, words)
