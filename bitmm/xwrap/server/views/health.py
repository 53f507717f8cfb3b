"""Whether the server is well, for people and for monitoring. Nothing here belongs to one account.

How many calls there are, and how many outcomes are unknown, is for this machine, and for those who have a password.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import __version__
from ...transport import is_loopback
from ..context import services_of
from ..db.records import time_text
from ..encoding import JSONAnswer, encode
from ..endpoints import has_login, log_in
from ..metric_sums import add_up, text_of
from ..metrics import CONTENT_TYPE_LATEST
from ..problems import too_busy
from ..services import Services

__all__ = ["health", "metrics", "ready"]

_OK = encode({"status": "ok"})


async def health(_request: Request) -> Response:
    """GET /health: the process answers."""
    return Response(_OK, media_type="application/json")


async def ready(request: Request) -> Response:
    """GET /ready: the data base takes a row, and how many orders and sends have an unknown outcome, by exchange.

    `address`: from where the server sees this call come; behind a proxy that it does not know that is the proxy's.
    `history_missing_since`: orders that were placed after this time may be missing in the journal, or null. `version`
    is bitmm's, `host` the address that the server listens on. A caller who is neither on this machine nor logged in
    gets the status and his own address alone.
    """
    services = services_of(request)
    answer = await services.threads.run("database", _check, services)
    status = {"status": "ok", "address": None if request.client is None else request.client.host}
    if not _is_local(request):
        if not has_login(request):
            return JSONAnswer(status)
        await log_in(request)
    return JSONAnswer(status | answer)


async def metrics(request: Request) -> Response:
    """GET /metrics: the calls, and the unknown outcomes at each offered exchange.

    Raises Problem 401 for a caller who is neither on this machine nor logged in.
    """
    if not _is_local(request):
        await log_in(request)
    services = services_of(request)
    services.metrics.set_unknown(await services.threads.run("database", _unknown, services))
    if services.notifier is not None:
        backlog = await services.threads.run("database", services.store.notices.backlog)
        services.metrics.set_notices_waiting(backlog.waiting)
    own = services.metrics.numbers()
    try:
        others = await services.threads.run("database", services.metrics.numbers_of_others, own)
    except TimeoutError:
        # A sum without them would be less than the last one, which Prometheus takes for a new start.
        raise too_busy("server_busy", "the numbers of the other server processes did not come in time") from None
    return Response(text_of(add_up(own, others)), media_type=CONTENT_TYPE_LATEST)


def _is_local(request: Request) -> bool:
    """Return whether the caller is on this machine; False for what a proxy passed on."""
    passed_on = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"))
    return not passed_on and request.client is not None and is_loopback(request.client.host)


def _check(services: Services) -> dict[str, Any]:
    # Who asks more often than once a second gets the result of the last write.
    services.store.heartbeat(at_most_every=1.0)
    missing_since = services.store.history_gap()
    return {
        "version": __version__,
        "host": services.settings.host,
        "unknown": _count_unknown(services),
        "history_missing_since": None if missing_since is None else time_text(missing_since),
    }


def _count_unknown(services: Services) -> dict[str, dict[str, int]]:
    journals = (services.store.orders, services.store.withdrawals)
    return {journal.name: journal.count_unknown() for journal in journals}


def _unknown(services: Services) -> dict[tuple[str, str], tuple[int, float]]:
    """Return how many outcomes are unknown, and for how many seconds the oldest, by journal and offered exchange."""
    found, now = {}, datetime.now(UTC)
    for journal in (services.store.orders, services.store.withdrawals):
        unknown = journal.unknown_by_exchange()
        for id in services.registry.ids():
            count, oldest = unknown.get(id, (0, None))
            age = 0.0 if oldest is None else (now - datetime.fromisoformat(oldest)).total_seconds()
            found[journal.name, id] = count, max(0.0, age)
    return found
