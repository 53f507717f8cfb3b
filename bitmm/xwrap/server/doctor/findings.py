"""What a check has found."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Finding", "State", "finding_of"]

#: look: a person should look at it. skip: it could not be checked here, or does not apply.
State = Literal["ok", "look", "bad", "skip"]


class Finding(NamedTuple):
    """What a check has found, in words, and what to do about it where something is to be done. No secret is in it."""

    check: str
    state: State
    words: str
    advice: str | None = None


def finding_of(check: str, error: Exception | str, state: State = "bad") -> Finding:
    """Return the finding for one of our errors, whose line ends with what to do, after its last semicolon."""
    line = str(error)
    words, semicolon, advice = line.rpartition("; ")
    return Finding(check, state, words, advice) if semicolon else Finding(check, state, line)
