"""What the processes of an installation use: CPU time and memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.databases import sql

from .rows import Place

__all__ = ["cpu_clocks", "cpu_since", "resident_bytes", "session_clocks", "used"]

_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def cpu_clocks(pid: int, where: Place) -> dict[int, float]:
    """Return the seconds of CPU of a server process and of its sessions of PostgreSQL, by process."""
    sessions = {} if isinstance(where, Path) else session_clocks(where)
    return _clocks_of([pid]) | sessions


def cpu_since(before: dict[int, float], pid: int, where: Place) -> float:
    """Return the seconds of CPU that were used since then; a session that is new counts from its start."""
    return used(before, cpu_clocks(pid, where))


def session_clocks(database: str) -> dict[int, float]:
    """Return the seconds of CPU of each session of a data base of PostgreSQL; those of another machine are missing."""
    return _clocks_of(int(pid) for (pid,) in sql(database, _SESSIONS))


def used(before: dict[int, float], after: dict[int, float]) -> float:
    """Return the seconds that processes used between two looks at them."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def _clocks_of(pids: Iterable[int]) -> dict[int, float]:
    return {pid: seconds for pid in pids if (seconds := _cpu_clock(pid)) is not None}


def _cpu_clock(pid: int) -> float | None:
    """Return the CPU time of a process, to the nanosecond, where /proc/PID/stat has hundredths; None: it is gone."""
    try:
        # What clock_getcpuclockid(3) returns for the process: Python has it for threads alone.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def resident_bytes(pid: int) -> int:
    """Return the memory of a process (RSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
