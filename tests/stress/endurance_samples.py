"""What a server process, and its workers, take of the machine over time, and whether that grows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

__all__ = ["WARM_UP", "Sample", "growth", "percentile", "process_tree", "slope", "take_sample"]

#: The share of a run in which pools fill up and caches get warm.
WARM_UP = 1 / 6
_MIB = 2**20
_TICKS = os.sysconf("SC_CLK_TCK")
#: More samples than this are thinned out for the slope, which looks at every pair of them.
_MOST_FOR_SLOPE = 400


@dataclass(frozen=True)
class Sample:
    """One look at the processes: `at` in seconds of the run, memory and files in MiB, CPU time in seconds."""

    at: float
    calls: int
    memory: float
    descriptors: int
    threads: int
    log: float
    database: float
    orders: int
    cpu: float


def process_tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    pids = [pid]
    for each in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def take_sample(pid: int, at: float, calls: int, log: Path | None, database: Callable[[], tuple[float, int]]) -> Sample:
    """Return what the processes take now. `log`: the write-ahead log; `database`: its size, and how many orders."""
    memory, descriptors, threads, cpu = 0.0, 0, 0, 0.0
    for each in process_tree(pid):
        folder = Path(f"/proc/{each}")
        with suppress(OSError):
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            memory += int(status["VmRSS"].split()[0]) / 1024
            threads += int(status["Threads"])
            descriptors += len(list((folder / "fd").iterdir()))
            times = (folder / "stat").read_text().rpartition(")")[2].split()
            cpu += (int(times[11]) + int(times[12])) / _TICKS
    size, orders = database()
    waiting = log.stat().st_size / _MIB if log is not None and log.exists() else 0.0
    return Sample(at, calls, memory, descriptors, threads, waiting, size, orders, cpu)


def slope(samples: Sequence[Sample]) -> float:
    """Return by how many MiB an hour the memory grows: the median of the slopes between all pairs (Theil, Sen)."""
    thinned = samples[:: max(1, len(samples) // _MOST_FOR_SLOPE)]
    slopes = [(b.memory - a.memory) / (b.at - a.at) * 3600 for a, b in combinations(thinned, 2) if b.at > a.at]
    return median(slopes) if slopes else 0.0


def growth(samples: Sequence[Sample], name: str) -> tuple[float, float]:
    """Return the largest value of the first and of the last third of the samples."""
    third = max(1, len(samples) // 3)
    values = [float(getattr(sample, name)) for sample in samples]
    return max(values[:third]), max(values[-third:])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so many of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
