"""The exchanges of all registrations of an account, asked at the same time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
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

__all__ = ["read_each"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: So many registrations of one call are asked at the same time.
_AT_ONCE = 32


async def read_each(
    context: RequestContext,
    read: Callable[[Registration, Exchange], _T],
    failed: Callable[[Registration, str], _T],
) -> list[_T]:
    """Return what `read` returns of each active registration that the caller may use, the oldest first.

    Each is asked in a thread of its own, `_AT_ONCE` at the same time at most, as long as a call may take. Where one
    fails, what `failed` returns stands in its place, with the reason in words; it delays no other.
    """
    services, holders = context.services, (account_holder(context.account.id),)
    registrations = await services.threads.run("database", _active_registrations, context, holders=holders)
    turns, until = asyncio.Semaphore(_AT_ONCE), time.monotonic() + services.settings.call_seconds

    async def read_one(registration: Registration) -> _T:
        pool: Pool = "database" if services.registry.answers_at_once(registration.exchange) else "outbound"
        async with turns:
            if time.monotonic() >= until:
                return failed(registration, "it was not asked, because the others took all the time")
            try:
                return await services.threads.run(
                    pool, partial(_read_one, context, registration, read, failed), holders=holders
                )
            except Problem as problem:
                return failed(registration, str(problem))

    return await asyncio.gather(*map(read_one, registrations))


def _active_registrations(context: RequestContext) -> list[Registration]:
    rows = context.services.store.registrations.of_account(context.account.id, active_only=True)
    return [row for row in rows if may_use(context.caller, row)]


def _read_one(
    context: RequestContext,
    registration: Registration,
    read: Callable[[Registration, Exchange], _T],
    failed: Callable[[Registration, str], _T],
) -> _T:
    try:
        with context.services.registry.open(registration) as exchange:
            return read(registration, exchange)
    except (ExchangeError, Problem) as error:
        return failed(registration, str(error))
    except VaultError as error:
        _log.error("registration %d: %s", registration.id, error)
        words = (
            "the server cannot open the key of this registration; replace the key, or ask the server's administrator"
        )
        return failed(registration, words)
