"""How a call waits for news: in the event loop, without a thread."""

from __future__ import annotations

from asyncio import Future, timeout
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request

from .params import Params, bad_field
from .problems import ON_END

__all__ = ["Waiter", "pop_wait", "until_news"]

#: Seconds that a call may wait.
_MOST_SECONDS = 30


@dataclass(eq=False, slots=True)
class Waiter:
    """A call that waits."""

    #: It is done when there are news, and failed when they cannot be had.
    news: Future[None]

    def finish(self) -> None:
        """Let the call be answered now."""
        if not self.news.done():
            self.news.set_result(None)


def pop_wait(params: Params) -> int:
    """Return for how many seconds a call may wait, which is the parameter `wait`. Raises Problem 422."""
    seconds = params.pop_int("wait", default=0)
    if seconds > _MOST_SECONDS:
        raise bad_field("wait", f"is {seconds}; it must be 0 to {_MOST_SECONDS}")
    return seconds


async def until_news(request: Request, waiter: Waiter, seconds: float) -> None:
    """Return when there are news, after so many seconds, or when the caller is gone. Raises what fails the waiter."""
    request.scope[ON_END] = waiter.finish
    try:
        with suppress(TimeoutError):
            async with timeout(seconds):
                await waiter.news
    finally:
        del request.scope[ON_END]
