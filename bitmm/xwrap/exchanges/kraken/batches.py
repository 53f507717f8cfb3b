"""A question about many orders at once, where one that the exchange does not know refuses the whole question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ..errors import Busy, Refused

__all__ = ["read_in_batches"]

_T = TypeVar("_T")


def read_in_batches(read: Callable[[Sequence[str]], Mapping[str, _T]], ids: Sequence[str], most: int) -> dict[str, _T]:
    """Return what `read` returns for all `ids`, asked for at most so many at once; what cannot be read is missing.

    `read` raises Refused `order_not_found` for a question with an unknown id, which is then asked in two halves; any
    other Refused ends the reading. Raises Busy when nothing was read for a rate limit.
    """
    found: dict[str, _T] = {}
    questions = [ids[start : start + most] for start in range(0, len(ids), most)]
    while questions:
        asked = questions.pop(0)
        try:
            found |= read(asked)
        except Busy:
            if not found:
                raise
            break
        except Refused as error:
            if error.code != "order_not_found":
                break
            half = len(asked) // 2
            questions[:0] = [asked[:half], asked[half:]] if half else []
    return found
