"""The numbers of several processes that share a port, added up, so that it does not matter which one is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

__all__ = ["Numbers", "add_up", "counted", "numbers_of", "text_of"]

#: The families of one process: name, help, type, and of each sample its name, labels and number. It can be made JSON.
Numbers = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]

#: What is read in the data base, which all processes share: the process that is asked has read it just now.
_OF_DATABASE = {"xwrap_unknown", "xwrap_unknown_oldest_seconds", "xwrap_notices_waiting"}
#: The longest counts.
_LARGEST = {"xwrap_round_seconds"}


def numbers_of(families: Iterable[Metric]) -> Numbers:
    """Return what was collected, so that it can be sent to another process."""
    return [
        (
            *(family.name, family.documentation, family.type),
            [(sample.name, dict(sample.labels), sample.value) for sample in family.samples],
        )
        for family in families
    ]


def counted(numbers: Numbers) -> Numbers:
    """Return what stays of the numbers of a process that ended: what it counted, and not what it had just then."""
    return [family for family in numbers if family[2] != "gauge"]


def add_up(own: Numbers, others: Sequence[Numbers]) -> list[Metric]:
    """Return the sum of all numbers; `own` are those of the process that was asked."""
    sums: dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for process, numbers in enumerate((own, *others)):
        for name, help, type, samples in numbers:
            if process and name in _OF_DATABASE:
                continue
            _, _, found = sums.setdefault(name, (help, type, {}))
            for sample, labels, number in samples:
                place = sample, tuple(sorted(labels.items()))
                found[place] = _together(name, sample, found[place], number) if place in found else number
    return [_family(name, help, type, found) for name, (help, type, found) in sums.items()]


def _together(name: str, sample: str, one: float, other: float) -> float:
    if name in _LARGEST:
        return max(one, other)
    # Since when it was counted.
    return min(one, other) if sample.endswith("_created") else one + other


def _family(name: str, help: str, type: str, found: dict[Any, float]) -> Metric:
    family = Metric(name, help, type)
    family.samples = [Sample(sample, dict(labels), number) for (sample, labels), number in found.items()]
    return family


def text_of(families: Sequence[Metric]) -> bytes:
    """Return numbers in Prometheus' text format."""
    return generate_latest(_Collected(families))


class _Collected(CollectorRegistry):
    """Numbers that were collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return them."""
        return iter(self._families)
