"""Loses what the journal has in each of seven ways, and repeats every key of before: none is executed again.

    python -m tests.stress.loss [--orders 40] [--way NAME]

A real server trades at the local Kraken. A quarter of the orders is placed before the backup, then all `--orders`, then
the loss comes: an older copy of the file, a damaged or missing write-ahead log, a file that is removed or replaced
while the server serves, and `xwrap restore`. The next server must say that orders may be missing; then each key is
repeated, and so is one order that never came before. It prints for each way, and exits with 1 unless all is as it must
be:
  missing   how many of the orders the journal did not have any more
  again     executions beyond the first of one, by the exchange's ledger: must be 0
  wrong     repeats that were not answered with the order that was executed: must be 0
  unjournalled  orders that were executed after the file was gone: must be 0, and the server must have stopped by itself
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, OutcomeUnknown
from tests.stress.harness import EXCHANGE_CASES, Harness, executions, open_harness
from tests.support.command import xwrap

EXCHANGE = EXCHANGE_CASES["kraken"]
#: Longer than it takes until an outcome that was unknown is known.
UNKNOWN_SECONDS = 60.0
#: Orders that are tried while the file is gone.
TRIED = 5
QUICK = {"reconcile_seconds": 0.2, "reconcile_grace_seconds": 0.5, "exchange_seconds": 2.0}
#: SQLite documentation, "Database File Format", section 4.1: the heads of the log and of each page in it.
LOG_HEAD, FRAME_HEAD, PAGE = 32, 24, 4096


@dataclass
class Figures:
    """What became of the orders after one way of losing the journal."""

    way: str
    #: How many were placed, and how many of them the journal did not have any more.
    placed: int = 0
    missing: int = 0
    again: int = 0
    unjournalled: int = 0
    seconds: float = 0.0
    #: What is not as it must be, in words.
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.again or self.unjournalled or self.wrong) and self.missing > 0

    def __str__(self) -> str:
        line = (
            f"{self.way}: {self.missing} of {self.placed} orders missing in the journal, executed again {self.again}, "
            f"wrong {len(self.wrong)}, unjournalled {self.unjournalled} ({self.seconds:.0f} s)"
        )
        return "\n".join([line, *self.wrong[:10]])


class Trial:
    """One data folder: its server, its orders, and what the exchange executed of them."""

    def __init__(self, harness: Harness, figures: Figures, folder: Path) -> None:
        self.harness = harness
        self.figures = figures
        self.file = harness.data / "xwrap.sqlite3"
        self.backup = folder / "backup.sqlite3"
        self.first: dict[str, Any] = {}
        harness.server.start()
        self.backend: Backend = harness.backend(harness.register("kraken"), timeout=20.0)
        # The account and its registration are in the file itself from now on.
        self.stop()
        self.start()

    def start(self) -> None:
        self.harness.server.start()

    def stop(self) -> None:
        self.harness.server.stop(signal.SIGTERM)

    def kill(self) -> None:
        self.harness.server.stop(signal.SIGKILL)

    def place(self, number: int) -> dict[str, Any]:
        return dict(EXCHANGE.submit(self.backend, ("buy", "sell")[number % 2], number, f"key-{number}"))

    def place_all(self, numbers: range) -> None:
        for number in numbers:
            self.first[f"key-{number}"] = self.place(number)["exchange_order_id"]

    def back_up(self) -> None:
        self._command("backup", self.backup)

    def restore(self) -> None:
        self._command("restore", self.backup)

    def _command(self, *arguments: str | Path) -> None:
        done = xwrap(*arguments, "--data", self.harness.data)
        if done.returncode:
            self.figures.wrong.append(f"xwrap {arguments[0]}: {done.stderr.strip()}")

    def copy_over(self) -> None:
        """Put the older copy in the place of the file, as a person does who knows of the log."""
        for name in ("xwrap.sqlite3-wal", "xwrap.sqlite3-shm"):
            self.file.with_name(name).unlink(missing_ok=True)
        shutil.copyfile(self.backup, self.file)

    def lose_the_file(self, lose: Callable[[], object]) -> None:
        """Lose it while the server serves, and try to trade on."""
        before = self.executed()
        lose()
        for number in range(1000, 1000 + TRIED):
            try:
                self.place(number)
            except APIError:
                continue
            self.figures.wrong.append(f"order {number} was taken though the file was gone")
        self.figures.unjournalled = self.executed() - before
        line = self.harness.server.wait_for_failure()
        if "while in use" not in line or self.harness.server.wait_until_ended() != 1:
            self.figures.wrong.append(f"the server did not stop as it should: {line}")

    def executed(self) -> int:
        return executions(EXCHANGE, self.harness.venues["kraken"]).total()

    def repeat_all(self) -> None:
        """Repeat every key, and compare what is told of it."""
        self.start()
        if self.missing_since() is None:
            self.figures.wrong.append("the server does not say that orders may be missing")
        with closing(sqlite3.connect(self.file)) as connection:
            [(count,)] = connection.execute("SELECT count(*) FROM orders").fetchall()
        self.figures.placed, self.figures.missing = len(self.first), len(self.first) - count
        for key, id in self.first.items():
            found = self.repeat(int(key.partition("-")[2]))
            if found != id:
                self.figures.wrong.append(f"{key} is order {id}, and the repeat was told: {found}")
        counts = executions(EXCHANGE, self.harness.venues["kraken"])
        self.figures.again = sum(count - 1 for count in counts.values())
        self.place(2000)
        if executions(EXCHANGE, self.harness.venues["kraken"])[2000] != 1:
            self.figures.wrong.append("an order that is new was not executed once")
        self.stop()
        accepted = xwrap("history", "accept", "--data", self.harness.data).stdout
        if not accepted.startswith("accepted: "):
            self.figures.wrong.append(f"xwrap history accept: {accepted}")
        self.start()
        if self.missing_since() is not None:
            self.figures.wrong.append("the next server says again that orders may be missing")
        self.stop()

    def missing_since(self) -> str | None:
        """Return what the server says."""
        answer = requests.get(f"{self.harness.server.url}/ready", timeout=30).json()
        return None if answer["history_missing_since"] is None else str(answer["history_missing_since"])

    def repeat(self, number: int) -> str:
        """Return the id of the order that an answer names, or the error; an outcome that is unknown is waited for."""
        end = time.monotonic() + UNKNOWN_SECONDS
        while True:
            try:
                return str(self.place(number)["exchange_order_id"])
            except OutcomeUnknown as error:
                if time.monotonic() > end:
                    return repr(error)
                time.sleep(0.1)
            except APIError as error:
                return repr(error)


def older_copy(trial: Trial) -> None:
    trial.kill()
    trial.copy_over()


def log_damaged(trial: Trial) -> None:
    trial.kill()
    log = trial.file.with_name("xwrap.sqlite3-wal")
    content = bytearray(log.read_bytes())
    frames = range(LOG_HEAD, len(content), FRAME_HEAD + PAGE)
    valid = [at for at in frames if content[at + 8 : at + 16] == content[16:24]]
    content[valid[len(valid) // 2] + FRAME_HEAD + 100] ^= 0xFF
    log.write_bytes(content)


def log_missing(trial: Trial) -> None:
    trial.kill()
    trial.file.with_name("xwrap.sqlite3-wal").unlink()


def file_removed(trial: Trial) -> None:
    trial.lose_the_file(trial.file.unlink)
    trial.restore()


def file_replaced(trial: Trial) -> None:
    replacement = trial.file.with_name("replacement")
    shutil.copyfile(trial.backup, replacement)
    trial.lose_the_file(lambda: replacement.replace(trial.file))
    trial.copy_over()


def file_overwritten(trial: Trial) -> None:
    trial.lose_the_file(lambda: shutil.copyfile(trial.backup, trial.file))
    trial.copy_over()


def restored(trial: Trial) -> None:
    trial.stop()
    trial.restore()


WAYS: dict[str, Callable[[Trial], None]] = {
    "an older copy in its place": older_copy,
    "the log damaged": log_damaged,
    "the log missing": log_missing,
    "the file removed while serving": file_removed,
    "the file replaced while serving": file_replaced,
    "the file overwritten while serving": file_overwritten,
    "xwrap restore": restored,
}


def run(way: str, orders: int) -> Figures:
    """The whole test for one way; see the module."""
    began, figures = time.monotonic(), Figures(way)
    with tempfile.TemporaryDirectory(prefix="xwrap-loss-") as folder, open_harness("kraken", **QUICK) as harness:
        trial = Trial(harness, figures, Path(folder))
        trial.place_all(range(orders, orders + orders // 4))
        trial.back_up()
        trial.place_all(range(orders))
        WAYS[way](trial)
        trial.repeat_all()
    figures.seconds = time.monotonic() - began
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.loss", description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=40)
    parser.add_argument("--way", dest="ways", choices=sorted(WAYS), action="append")
    options = parser.parse_args()
    good = True
    for way in options.ways or WAYS:
        figures = run(way, options.orders)
        print(figures, flush=True)
        good = good and figures.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
