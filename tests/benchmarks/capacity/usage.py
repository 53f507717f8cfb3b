"""What the processes of an installation use: CPU time and memory."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.databases import sql

from .rows import Place

__all__ = ["cpu_clocks", "cpu_since", "resident_bytes"]


def cpu_clocks(pid: int, where: Place) -> dict[int, float]:
    """Return the seconds of CPU of a server process and of its sessions of PostgreSQL, by process."""
    pids = [pid]
    if not isinstance(where, Path):
        sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        pids += [int(session) for (session,) in sql(where, sessions)]
    return {one: seconds for one in pids if (seconds := _cpu_clock(one)) is not None}


def cpu_since(before: dict[int, float], pid: int, where: Place) -> float:
    """Return the seconds of CPU that were used since then; a session that is new counts from its start."""
    return sum(seconds - before.get(one, 0.0) for one, seconds in cpu_clocks(pid, where).items())


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
