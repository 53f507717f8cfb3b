"""The deadline of the call that a thread makes, and how far its request came."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import monotonic

__all__ = ["begin_call", "call_state", "seconds_left"]


class CallState(threading.local):
    """The state of the call that this thread makes.

    A thread-local, since urllib3 hands nothing of ours through to a connection, nor back from it: a call does not learn
    which connection of the pool it got, nor a connection for which call it sends.
    """

    deadline = float("inf")
    #: False: the request's first byte has not left. None: no connection of ours was asked.
    sent: bool | None = None
    #: The exception that the program was handling when it called; it says nothing about this call.
    outer: BaseException | None = None
    #: Returns whether the call may connect to an IP address.
    may_connect: Callable[[str], bool] | None = None


call_state = CallState()


def begin_call(deadline: float, may_connect: Callable[[str], bool] | None = None) -> None:
    """Begin a call of this thread that must be over at `deadline`, of time.monotonic().

    `may_connect`: whether it may connect to an IP address; None: to any.
    """
    call_state.deadline = deadline
    call_state.sent = None
    call_state.outer = sys.exception()
    call_state.may_connect = may_connect


def seconds_left(deadline: float | None = None) -> float:
    """Return the seconds until the deadline of this thread's call. Raises TimeoutError when none are left.

    Never zero, which would mean to a socket: do not block.
    """
    left = (call_state.deadline if deadline is None else deadline) - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
