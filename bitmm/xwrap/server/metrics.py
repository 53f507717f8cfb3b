"""Numbers for monitoring, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """What one server counted since its start."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter("xwrap_calls", "Calls answered", ["method", "path", "status"], registry=self._registry)
        self._unknown = Gauge(
            "xwrap_unknown",
            "Orders and sends whose outcome is unknown",
            ["journal", "exchange"],
            registry=self._registry,
        )
        self._refused = Counter(
            "xwrap_refused", "Requests and connections refused before the login", ["reason"], registry=self._registry
        )
        self._connections = Gauge("xwrap_connections", "Open connections", registry=self._registry)
        self._notices_waiting = Gauge("xwrap_notices_waiting", "Notices that wait", registry=self._registry)
        self._notices = Counter("xwrap_notices", "Tries to deliver a notice", ["result"], registry=self._registry)
        self._notices_seen: dict[str, int] = {}
        #: Looking up a counter by its labels takes longer than counting.
        self._counters: dict[tuple[str, str, int], Any] = {}

    def count_call(self, method: str, path: str, status: int) -> None:
        """Count an answer of a route; `path` is the route's own, with its parameters in braces."""
        key = (method, path, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._calls.labels(method, path, str(status))
        counter.inc()

    def count_refusal(self, reason: str) -> None:
        """Count a request or a connection that was refused before the login, or closed."""
        self._refused.labels(reason).inc()

    def watch_connections(self, count: Callable[[], float]) -> None:
        """Show what `count` returns as the number of open connections."""
        self._connections.set_function(count)

    def set_unknown(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Set how many outcomes are unknown, by journal and exchange."""
        self._unknown.clear()
        for journal, by_exchange in counts.items():
            for exchange, count in by_exchange.items():
                self._unknown.labels(journal, exchange).set(count)

    def set_notices(self, waiting: int, counts: Mapping[str, int]) -> None:
        """Set how many notices wait, and how many tries ended how since the start."""
        self._notices_waiting.set(waiting)
        for result, count in counts.items():
            self._notices.labels(result).inc(count - self._notices_seen.get(result, 0))
            self._notices_seen[result] = count

    def text(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self._registry)
