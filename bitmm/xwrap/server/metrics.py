"""Numbers for monitoring, in Prometheus' text format.

Labels are names of our own, of the offered exchanges and of routes: never an account, a key or anything else that a
caller writes. So there are only so many of them, however many calls there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .metric_sums import Numbers, numbers_of

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "Watched"]

#: Seconds. Calls that wait for changes take up to 30.
_OF_CALLS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 31.0)
#: A request ends after 7 seconds.
_OF_EXCHANGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5)
#: A call waits for 2 seconds at most, the reconciler and a cancel for 10.
_OF_WAITS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)


class Watched(NamedTuple):
    """Numbers that a part of the server counts by itself; they are read when somebody looks at them.

    `read` returns them by the values of the labels.
    """

    kind: Literal["counter", "gauge"]
    name: str
    help: str
    labels: Sequence[str]
    read: Callable[[], Mapping[tuple[str, ...], float]]


class Metrics:
    """What one server counted since its start."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._calls = Counter("xwrap_calls", "Calls answered", ["method", "path", "status"], registry=registry)
        self._call_seconds = Histogram(
            "xwrap_call_seconds",
            "From the head of a call to the beginning of its answer",
            ["method", "path"],
            buckets=_OF_CALLS,
            registry=registry,
        )
        self._orders = Counter(
            "xwrap_orders",
            "Orders and sends that were committed, by what became of them in their call",
            ["journal", "exchange", "outcome"],
            registry=registry,
        )
        self._unknown = Gauge(
            "xwrap_unknown", "Orders and sends whose outcome is unknown", ["journal", "exchange"], registry=registry
        )
        self._oldest_unknown = Gauge(
            "xwrap_unknown_oldest_seconds",
            "The age of the oldest order or send whose outcome is unknown; 0 where there is none",
            ["journal", "exchange"],
            registry=registry,
        )
        self._reconciled = Counter(
            "xwrap_reconciled",
            "Orders and sends whose outcome was unknown and was found out",
            ["journal", "exchange", "outcome"],
            registry=registry,
        )
        self._exchange_seconds = Histogram(
            "xwrap_exchange_seconds",
            "Requests to an exchange, from the end of the wait in its queue to the whole answer",
            ["exchange", "purpose", "outcome"],
            buckets=_OF_EXCHANGES,
            registry=registry,
        )
        self._wait_seconds = Histogram(
            "xwrap_queue_seconds",
            "How long requests waited in the queue of their exchange key or address",
            ["exchange"],
            buckets=_OF_WAITS,
            registry=registry,
        )
        self._not_sent = Counter(
            "xwrap_queue_refused",
            "Requests that were not sent: the wait would have been too long, or they may not leave any more",
            ["exchange"],
            registry=registry,
        )
        self._refused = Counter(
            "xwrap_refused", "Requests and connections refused before the login", ["reason"], registry=registry
        )
        self._connections = Gauge("xwrap_connections", "Open connections", registry=registry)
        self._notices_waiting = Gauge("xwrap_notices_waiting", "Notices that wait", registry=registry)
        #: Looking up a metric by its labels takes longer than counting.
        self._bound: dict[tuple[Any, ...], Any] = {}
        #: Takes the numbers of this process, and returns those of the others that share its port.
        self.numbers_of_others: Callable[[Numbers], Sequence[Numbers]] = lambda _own: ()

    def _of(self, metric: Any, *labels: str) -> Any:
        """Return the metric with these labels."""
        bound = self._bound.get((metric, labels))
        if bound is None:
            bound = self._bound[metric, labels] = metric.labels(*labels)
        return bound

    def count_call(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer of a route; `path` is the route's own, with its parameters in braces."""
        self._of(self._calls, method, path, str(status)).inc()
        self._of(self._call_seconds, method, path).observe(seconds)

    def count_order(self, journal: str, exchange: str, outcome: str) -> None:
        """Count an order or a send whose outcome was committed in its call."""
        self._of(self._orders, journal, exchange, outcome).inc()

    def count_reconciled(self, journal: str, exchange: str, outcome: str) -> None:
        """Count an order or a send whose outcome was unknown and was found out."""
        self._of(self._reconciled, journal, exchange, outcome).inc()

    def add_exchange_call(self, exchange: str, purpose: str, outcome: str, seconds: float) -> None:
        """Count a request that was sent to an exchange, and how long it took."""
        self._of(self._exchange_seconds, exchange, purpose, outcome).observe(seconds)

    def add_wait(self, exchange: str, seconds: float) -> None:
        """Count a request that has waited for so long, and is sent now."""
        self._of(self._wait_seconds, exchange).observe(seconds)

    def count_not_sent(self, exchange: str) -> None:
        """Count a request that was refused where it waited."""
        self._of(self._not_sent, exchange).inc()

    def count_refusal(self, reason: str) -> None:
        """Count a request or a connection that was refused before the login, or closed."""
        self._of(self._refused, reason).inc()

    def watch_connections(self, count: Callable[[], float]) -> None:
        """Show what `count` returns as the number of open connections."""
        self._connections.set_function(count)

    def watch(self, watched: Watched) -> None:
        """Show these numbers, too."""
        self._registry.register(_WatchedCollector(watched))

    def set_unknown(self, unknown: Mapping[tuple[str, str], tuple[int, float]]) -> None:
        """Set how many outcomes are unknown, and for how many seconds the oldest, by journal and exchange."""
        self._unknown.clear()
        self._oldest_unknown.clear()
        for labels, (count, seconds) in unknown.items():
            self._unknown.labels(*labels).set(count)
            self._oldest_unknown.labels(*labels).set(seconds)

    def set_notices_waiting(self, count: int) -> None:
        """Set how many notices wait."""
        self._notices_waiting.set(count)

    def numbers(self) -> Numbers:
        """Return all numbers of this process."""
        return numbers_of(self._registry.collect())


class _WatchedCollector(Collector):
    """Numbers of a part of the server, as the library collects them."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Read the numbers."""
        kind, name, help, labels, read = self._watched
        family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, help, labels=labels)
        for values, number in read().items():
            family.add_metric(values, number)
        yield family
