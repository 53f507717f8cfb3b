"""How entries of the log are written: one line each, and no call waits for who reads them."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading

import pytest

from bitmm.xwrap.server import logs
from bitmm.xwrap.server.call_log import log_with, with_fields
from bitmm.xwrap.server.logs import JSONFormatter, QueuedHandler, TextFormatter, log_to_stderr
from tests.support.threads import until

FORMATS = pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter()])


def record(message="an order", exc_info=None, level=logging.INFO, **fields):
    made = logging.LogRecord("bitmm.test", level, __file__, 1, message, None, exc_info)
    made.fields = fields
    return made


def failure(words):
    try:
        raise RuntimeError(words)
    except RuntimeError:
        return sys.exc_info()


@FORMATS
@pytest.mark.parametrize("sign", ["\n", "\r", "\r\n", "\0", "\x1b[2J", "\x85", "\u2028", "\u202e", "\udc80", "\x7f"])
def test_an_entry_is_one_line_whatever_is_in_it(formatter, sign):
    forged = f"a{sign}2026-11-28T00:00:00.000Z INFO bitmm: order 1 is filled"
    line = formatter.format(record(forged, key=forged))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert line.isascii()


def test_a_text_has_the_fields_behind_the_sentence_and_quotes_what_is_no_word():
    line = TextFormatter().format(
        record("order 1 is filled", key="a b", pair="BTC/EUR", note='say "x=y"', price="1E+2")
    )
    time, level, rest = line.split(" ", 2)
    assert time.endswith("Z")
    assert level == "INFO"
    assert rest == r'bitmm.test: order 1 is filled key="a b" pair=BTC/EUR note="say \"x=y\"" price=1E+2'


def test_json_has_the_same_as_one_object():
    with with_fields(account="ann", key="the call's"):
        entry = json.loads(JSONFormatter().format(record("order 1 is filled", key="its own", ms=1.5, code=None)))
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "INFO",
        "logger": "bitmm.test",
        "message": "order 1 is filled",
        "account": "ann",
        "key": "its own",
        "ms": 1.5,
    }


def test_no_line_of_a_traceback_can_be_taken_for_an_entry():
    entry = record("it failed", failure("words\n2026-11-28T00:00:00.000Z INFO bitmm: order 1 is filled\x1b[2J"))
    first, *others = TextFormatter().format(entry).splitlines()
    assert first.endswith("bitmm.test: it failed")
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert "INFO bitmm: order 1 is filled" in json.loads(JSONFormatter().format(entry))["traceback"]


class Reader:
    """What reads the log, or does not: while it is held, writing blocks; while it is broken, writing fails."""

    def __init__(self):
        self.reads, self.blocked, self.is_broken, self.text = threading.Event(), threading.Event(), False, ""
        self.reads.set()

    def write(self, data):
        if not self.reads.is_set():
            self.blocked.set()
        assert self.reads.wait(30)
        if self.is_broken:
            raise OSError(28, "No space left on device")
        self.text += data.decode()


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def handler(reader):
    handler = QueuedHandler(reader.write, TextFormatter())
    logger = logging.getLogger("bitmm")
    logger.addHandler(handler)
    handler.start()
    yield handler
    logger.removeHandler(handler)
    reader.reads.set()
    handler.close()


def test_who_logs_does_not_wait_for_who_reads_and_what_is_missing_is_said(reader, handler, monkeypatch):
    monkeypatch.setattr(logs, "_MOST_WAITING", 10)
    reader.reads.clear()
    handler.emit(record("the first"))
    assert reader.blocked.wait(30)
    for number in range(25):
        handler.emit(record(f"number {number}"))
    assert handler.dropped == 15
    reader.reads.set()
    until(lambda: "15 lines of the log were not written in time, and are missing" in reader.text)
    assert "number 9" in reader.text
    assert "number 10" not in reader.text


def test_a_full_disk_is_no_error_of_who_logs_and_is_said_when_there_is_room_again(reader, handler):
    reader.is_broken = True
    handler.emit(record("it is full"))
    until(lambda: handler.dropped == 1)
    reader.is_broken = False
    handler.emit(record("there is room"))
    until(lambda: "1 lines of the log" in reader.text)
    assert "there is room" in reader.text


def test_what_cannot_be_formatted_is_no_error_of_who_logs(reader, handler, capfd):
    made = record("%d orders")
    made.args = ("no number",)
    handler.emit(made)
    assert handler.dropped == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "pipe2"), reason="needs a pipe that keeps what is written at once together")
def test_what_is_written_at_once_is_whole_lines_that_no_other_process_can_tear_apart():
    lines = [b"%d %s\n" % (number, b"x" * (number * 37 % 400)) for number in range(100)] + [b"y" * 5000 + b"\n", b"z\n"]
    read, write = os.pipe2(os.O_DIRECT)
    logs._writer(write)(b"".join(lines))
    os.close(write)
    pieces = []
    while piece := os.read(read, 65536):
        pieces.append(piece)
    os.close(read)
    assert b"".join(pieces) == b"".join(lines)
    # The kernel itself takes a line of 5,001 bytes in two pieces.
    assert {piece[-1:] for piece in pieces if b"y" not in piece} == {b"\n"}
    assert max(map(len, pieces)) <= 4096
    assert len(pieces) < 10


def test_a_server_that_stops_writes_what_waits_and_waits_for_no_reader(reader, monkeypatch):
    monkeypatch.setattr(logs, "_STOP_SECONDS", 0.05)
    handlers = [QueuedHandler(reader.write, TextFormatter()) for _ in range(2)]
    for handler in handlers:
        handler.start()
    handlers[0].emit(record("the last"))
    handlers[0].close()
    until(lambda: "the last" in reader.text)
    reader.reads.clear()
    handlers[1].emit(record("nobody reads this"))
    handlers[1].close()
    assert "nobody" not in reader.text
    reader.reads.set()


def test_ours_is_logged_from_its_level_on_and_of_others_warnings(capfd):
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with log_to_stderr("INFO", "text"):
        for name in ("bitmm.test", "uvicorn.error", "sqlalchemy.engine"):
            for level in (logging.DEBUG, logging.INFO, logging.WARNING):
                log_with(logging.getLogger(name), level, f"{name} at {level}")
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "bitmm.test at 20",
        "bitmm.test at 30",
        "uvicorn.error at 30",
        "sqlalchemy.engine at 30",
    ]
    assert (root.level, root.handlers) == before


def test_without_standard_error_nothing_is_written(monkeypatch):
    """Its descriptor may be that of the data base by then."""
    monkeypatch.setattr(sys, "stderr", None)
    before = list(logging.getLogger().handlers)
    with log_to_stderr("INFO", "text") as count_dropped:
        assert logging.getLogger().handlers == before
        assert count_dropped() == 0
