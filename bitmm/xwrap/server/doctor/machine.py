"""What the server runs on: versions, and how many files and threads the system gives it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from ... import __version__
from ..descriptors import connections_within
from ..settings import Settings, SetupError
from ..threads import threads_of
from .findings import Finding, finding_of

__all__ = ["check_limits", "check_versions"]

try:
    _resource: Any = import_module("resource")
except ModuleNotFoundError:  # Windows
    _resource = None

#: Of a library's requirement: name, lowest version, extra. Other bounds are upper ones, which pip looks after.
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?[^;]*?>=\s*([\d.]+)[^;]*(?:;(.*))?", re.ASCII)
_EXTRAS = ("server", "postgres")


def check_versions() -> Iterator[Finding]:
    """Say which versions run, and which libraries are older than this bitmm needs."""
    words = f"bitmm {__version__}, Python {platform.python_version()}"
    try:
        requirements = metadata.requires("bitmm") or []
    except metadata.PackageNotFoundError:
        yield Finding("versions", "skip", f"{words}; it is not installed, so what it needs cannot be read")
        return
    old = [line for text in requirements if (line := _too_old(text)) is not None]
    if old:
        yield Finding("versions", "bad", f"{words}; {', '.join(old)}", "in a clone of bitmm: pip install '.[server]'")
    else:
        yield Finding("versions", "ok", f"{words}, and libraries that are new enough")


def _too_old(text: str) -> str | None:
    """Return that an installed library is older than a requirement says; None: it is not, or is not installed."""
    found = _REQUIREMENT.match(text)
    if found is None or not _counts(found[3] or ""):
        return None
    try:
        installed = metadata.version(found[1])
    except metadata.PackageNotFoundError:
        return None
    return None if _numbers(installed) >= _numbers(found[2]) else f"{found[1]} {installed} is older than {found[2]}"


def _counts(marker: str) -> bool:
    """Return whether a requirement is the server's: of no extra, or of one of the server's."""
    return "extra" not in marker or any(f'"{extra}"' in marker for extra in _EXTRAS)


def _numbers(version: str) -> list[int]:
    found = re.match(r"[\d.]+", version)
    return [int(part) for part in found[0].strip(".").split(".")] if found else []


def check_limits(settings: Settings) -> Iterator[Finding]:
    """Say how many connections and threads the system gives to a server that this user starts here."""
    if settings.workers > 1 and settings.database_url is None:
        words = f"XWRAP_WORKERS asks for {settings.workers} processes, and SQLite serves one"
        yield Finding("workers", "bad", words, "take PostgreSQL (XWRAP_DATABASE_URL), or leave XWRAP_WORKERS out")
    if _resource is None:
        yield Finding("limits", "skip", "Windows has no such limits")
        return
    files = _resource.getrlimit(_resource.RLIMIT_NOFILE)[1]
    try:
        most = connections_within(settings, None if files == _resource.RLIM_INFINITY else files)
    except SetupError as error:
        yield finding_of("limits", error)
        return
    needed, given = threads_of(settings), _most_threads()
    if given is not None and given < needed:
        words = f"a server starts {needed} threads, and the system gives {given}"
        yield Finding("limits", "bad", words, "raise ulimit -u, TasksMax of the service, or the container's pids limit")
    else:
        of_each = "" if settings.workers == 1 else f" of each of {settings.workers} workers"
        yield Finding("limits", "ok", f"{most} connections of callers{of_each}, {needed} threads")


def _most_threads() -> int | None:
    """Return how many threads this user, or this control group, may have at most; None: no limit is known."""
    limits = []
    if hasattr(_resource, "RLIMIT_NPROC"):
        own = _resource.getrlimit(_resource.RLIMIT_NPROC)[0]
        limits += [own] if own != _resource.RLIM_INFINITY else []
    with suppress(OSError, ValueError):
        group = Path("/proc/self/cgroup").read_text("ascii").strip().rpartition("::")[2]
        limits.append(int(Path(f"/sys/fs/cgroup{group}/pids.max").read_text("ascii")))  # "max": no limit
    return min(limits, default=None)
