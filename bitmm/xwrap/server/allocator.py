"""Memory: what is freed goes back to the system, and what a server has from its start on is not looked at again.

The C library would keep much of the former, where it is glibc.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

__all__ = ["freeze_objects", "give_back", "keep_no_large_blocks", "use_few_arenas"]

#: Parameters of mallopt(3).
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_ARENAS = 2


def use_few_arenas() -> None:
    """Have all threads share two arenas of the C library; to be called before the threads start.

    It would make eight for each processor, and what is freed in one is of no use to the threads of another: on two
    processors they kept 5.9 MiB that were free after 70,000 calls and 6.5 after 166,000, and two arenas 1.1 after
    72,000. Side by side a call took the same CPU time (2026-11-28). One thread runs Python at a time, so few wait.
    """
    _call("mallopt", _M_ARENA_MAX, _ARENAS)


def keep_no_large_blocks() -> None:
    """Have blocks of a megabyte and more go back when they are freed; to be called in the thread that makes them.

    Without, the C library keeps them after the first one: its threshold rises (mallopt(3), M_MMAP_THRESHOLD).
    """
    _call("mallopt", _M_MMAP_THRESHOLD, 2**20)


def give_back() -> None:
    """Give back what is free by now (malloc_trim(3)). It takes some milliseconds."""
    _call("malloc_trim", 0)


def freeze_objects() -> None:
    """Turn on the garbage collector, which passes over all that there is by now: it is there as long as the server."""
    gc.freeze()
    gc.enable()


def _call(name: str, *args: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # Another C library has no such call.
            getattr(ctypes.CDLL(None), name)(*args)
