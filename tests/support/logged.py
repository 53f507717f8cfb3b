"""What the server logs in a test, as it would be written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bitmm.xwrap.server.logs import JSONFormatter, TextFormatter

__all__ = ["Logged", "logged"]


class Logged(logging.Handler):
    """Keeps each entry, formatted in the thread that logs it."""

    def __init__(self) -> None:
        super().__init__()
        self._json, self._text = JSONFormatter(), TextFormatter()
        self.entries: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append(json.loads(self._json.format(record)))
        self.lines.append(self._text.format(record))

    def of(self, **fields: object) -> list[dict[str, Any]]:
        """The entries that have these fields."""
        return [entry for entry in self.entries if fields.items() <= entry.items()]


@contextmanager
def logged(level: int = logging.DEBUG) -> Iterator[Logged]:
    """Within the block everything is kept that is logged from this level on."""
    handler, ours, root = Logged(), logging.getLogger("bitmm"), logging.getLogger()
    before = ours.level
    ours.setLevel(level)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        ours.setLevel(before)
