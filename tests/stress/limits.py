"""Limits of a process's threads and memory, set by the process itself: for a server that must not lie under them."""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypedDict

__all__ = ["Limit", "address_space", "set_limit"]


class Limit(TypedDict):
    """A limit: since "start" or since it "serves", of `more` than what is used then, in threads or bytes."""

    since: Literal["start", "serves"]
    kind: Literal["threads", "memory"]
    more: int


def set_limit(limit: Limit) -> None:
    """Set a limit for this process. The number of threads is limited for its whole account, and never for root's."""
    if limit["kind"] == "threads":
        number, used = resource.RLIMIT_NPROC, _threads_of_account()
    else:
        number, used = resource.RLIMIT_AS, address_space()
    resource.setrlimit(number, (used + limit["more"], resource.getrlimit(number)[1]))


def _threads_of_account() -> int:
    """Return how many threads the account of this process has now."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has just ended
            found = dict(re.findall(r"^(Uid|Threads):\s+(\d+)", status.read_text(), re.MULTILINE))
            count += int(found["Threads"]) * (int(found["Uid"]) == os.getuid())
    return count


def address_space() -> int:
    """Return the size of the address space of this process in bytes (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
