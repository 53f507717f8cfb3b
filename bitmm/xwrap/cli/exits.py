"""The exit codes of the commands, which scripts may rely on."""

from __future__ import annotations

__all__ = ["CLOSED_PIPE", "EXIT_CODES", "FAILED", "INTERRUPTED", "UNKNOWN", "USAGE"]

FAILED = 1
USAGE = 2
UNKNOWN = 3
INTERRUPTED = 130
#: As that of a program which SIGPIPE ended: 128 + 13. Never FAILED, since an order may have been placed before.
CLOSED_PIPE = 141

#: For help texts.
EXIT_CODES = (
    "0  done",
    "1  refused, or failed: certainly nothing was executed",
    "2  the command line is wrong",
    "3  the outcome is not known, or could not be printed: ask, never order anew",
    "130  Ctrl-C        141  the reader of the output went away",
)
