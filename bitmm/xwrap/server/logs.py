"""The log of `xwrap serve`: each entry one line on standard error, for people or as JSON.

Who logs never waits for who reads: a line goes into a queue of bounded length, and a thread of its own writes it. When
standard error is a pipe that is not read, or a file on a full disk, lines are dropped and counted, and orders go on.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from .call_log import current_fields
from .threads import start_thread

__all__ = ["JSONFormatter", "QueuedHandler", "TextFormatter", "log_to_stderr"]

#: So many lines wait at most, about 3 MB; what comes then is dropped.
_MOST_WAITING = 10_000
#: So many are written at once.
_MOST_AT_ONCE = 500
#: POSIX's PIPE_BUF on Linux; what is longer may be torn apart by what other processes write.
_PIPE_BYTES = 4096
#: Seconds for which a server that stops waits until the last lines are written.
_STOP_SECONDS = 1.0
#: A value that needs no quotes.
_PLAIN = re.compile(r"[!#-<>-~]+", re.ASCII)
_exceptions = logging.Formatter()


class JSONFormatter(logging.Formatter):
    """Writes an entry as a line of JSON: time, level, logger, message, the fields, and the traceback if it has one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time_text(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if traceback := _traceback(record):
            entry["traceback"] = traceback
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """Writes an entry for people: time, level, logger, a sentence, and the fields as name=value.

    What is no plain text is quoted and escaped as in JSON, so that an entry is one line whatever is in it. The lines of
    a traceback are indented, and no other line is.
    """

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time_text(record)} {record.levelname} {record.name}: {_one_line(record.getMessage())}"
        entry = " ".join([head, *(f"{name}={_value_text(value)}" for name, value in _fields(record).items())])
        lines = _traceback(record).splitlines()
        return "\n    ".join([entry, *map(_one_line, lines)])


def _time_text(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of the call in which the record was made, and its own; without those that are not known."""
    fields = {**current_fields(), **getattr(record, "fields", {})}
    return {name: value for name, value in fields.items() if value is not None}


def _traceback(record: logging.LogRecord) -> str:
    # Without local variables: they may be secrets.
    return _exceptions.formatException(record.exc_info) if record.exc_info else ""


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def _value_text(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class QueuedHandler(logging.Handler):
    """Formats an entry in the thread that logs it, and hands it to a thread that calls `write` with lines.

    `write` may block or raise OSError. Nothing that goes wrong here is raised, and no call waits.
    """

    def __init__(self, write: Callable[[bytes], None], formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._write = write
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        #: So many lines were not written: too many waited, or writing failed.
        self.dropped = 0
        self._count_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="xwrap-log", daemon=True)

    def start(self) -> None:
        """Write from now on. Raises SetupError when the system gives no thread."""
        start_thread(self._thread)

    def close(self) -> None:
        """Write what waits, for a second at most, and end."""
        self._lines.put(None)
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        super().close()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take an entry without the lock of the base: formatting needs none, and the queue has its own."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on an entry, unless too many wait."""
        try:
            if self._lines.qsize() < _MOST_WAITING:
                self._lines.put(self.format(record) + "\n")
                return
        except Exception:  # noqa: S110 - where would it be logged?
            pass
        self._drop(1)

    def _drop(self, count: int) -> None:
        with self._count_lock:
            self.dropped += count

    def _run(self) -> None:
        reported = 0
        while (line := self._lines.get()) is not None:
            lines, is_last = self._with_waiting(line)
            dropped = self.dropped
            notice = self._notice(dropped - reported) if dropped != reported else ""
            try:
                self._write("".join([*lines, notice]).encode("utf-8", "backslashreplace"))
                reported = dropped
            except OSError:
                self._drop(len(lines))
            if is_last:
                return

    def _notice(self, count: int) -> str:
        """Return the line that says that lines are missing before it; it waits in no queue, which may be full."""
        words = f"{count} lines of the log were not written in time, and are missing"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, None, None)) + "\n"

    def _with_waiting(self, line: str) -> tuple[list[str], bool]:
        """Return the lines that wait, behind this one; and whether they are the last ones."""
        lines = [line]
        try:
            while len(lines) < _MOST_AT_ONCE:
                if (next_line := self._lines.get_nowait()) is None:
                    return lines, True
                lines.append(next_line)
        except Empty:
            pass
        return lines, False


@contextmanager
def log_to_stderr(level: str, format: str) -> Iterator[Callable[[], int]]:
    """Within the block write what the server logs from `level` on to standard error; of other libraries warnings.

    `format`: "text" or "json". What is given returns how many lines could not be written. Where there is no standard
    error, nothing is. Raises SetupError when the system gives no thread.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError):  # closed: its descriptor may be another file's by now; or no file at all
        yield lambda: 0
        return
    handler = QueuedHandler(_writer(descriptor), JSONFormatter() if format == "json" else TextFormatter())
    handler.start()
    root, ours = logging.getLogger(), logging.getLogger("bitmm")
    levels = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    ours.setLevel(level)
    try:
        yield lambda: handler.dropped
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        handler.close()


def _writer(descriptor: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        while data:
            # Whole lines, and no more than a pipe takes in one piece: other workers write into it, too.
            end = data.rfind(b"\n", 0, _PIPE_BYTES) + 1 or data.find(b"\n") + 1 or len(data)
            data = data[os.write(descriptor, data[:end]) :]

    return write
