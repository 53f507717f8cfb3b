"""Kills the bot of the README, again and again, and compares with what it orders when nobody disturbs it.

    python -m tests.stress.grid_bot [--kills 100] [--every 5] [--seed N] [--broken]

The bot is the very text of the README, in a process of its own; only its pauses are shortened. It trades through the
real client with a real server, on paper, at the packed prices of one day. It is killed (SIGKILL) at random moments:
while it starts, finds out where it was, reads, orders or pauses; half of the kills wait until an order is on its way,
or was a moment ago. With every fifth kill the server is killed at a random moment, too, and started again.

The time of the paper exchange goes in steps of `--every` minutes, each as soon as every level has its open order, the
exchange has held all of them against this minute, and the bot has made a whole round after the step began. So a kill
takes no price from the bot: both runs see the same prices at the same orders, however long a restart takes, and must
have ordered the same. What is compared are the tables of the paper exchange: each order with its key, side, price,
amount, status and what it cost, and the balances. The run without kills is at a registration of its own, whose number
is all that differs in its bot.

`--broken`: the bot has another name for its grid in each of its lives, as one with random keys has. That must be found.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.exchanges.paper import PACKED_PRICES, Prices
from bitmm.xwrap.exchanges.paper.matching import quote_around
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from tests.stress.grid_bot_process import STATE
from tests.stress.harness import LONGEST_WAIT, ROOT, Harness, HarnessError, open_harness

#: What the bot of the README logs in with.
USER = ("ann", "her password")
#: Of so many kills of the bot, one is with the server.
SERVER_KILLS = 5
#: A kill comes at most so many seconds after the step, or after the start of the bot before it: some rounds of the bot.
LONGEST_LIFE = 0.15
#: A kill that waits for an order comes at most so many seconds after that was seen; an order takes about as long.
LONGEST_ORDER = 0.005

_ORDERS = """
    SELECT orders.key, paper.side, paper.price, paper.amount, paper.status, paper.average, paper.spent, paper.fee
    FROM paper_orders AS paper LEFT JOIN orders
    ON orders.client_id = paper.client_id AND orders.registration_id = paper.registration_id
    WHERE paper.registration_id = ?
"""
_OPEN = "SELECT coalesce(sum(open_orders), 0), min(checked) FROM paper_markets WHERE registration_id = ?"
_BALANCES = "SELECT currency, total FROM paper_balances WHERE registration_id = ?"


@dataclass
class Figures:
    """What a run found. `orders`: what the paper exchange has, as often as it has it. `balances`: what is owned."""

    orders: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    balances: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    kills: int = 0
    #: What the bot was doing when it was killed: see grid_bot_process.py.
    doing: Counter[str] = field(default_factory=Counter)
    server_kills: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        status = Counter(str(order[4]) for order in self.orders.elements())
        return (
            f"{self.steps} steps, {self.seconds:.0f} s: {self.orders.total()} orders"
            f" ({', '.join(f'{count} {name}' for name, count in sorted(status.items()))}); the bot was killed"
            f" {self.kills} times, {self.doing['P']} of them with an order on its way, {self.doing['G']} with a"
            f" question, {self.doing['-']} before its first line; the server {self.server_kills} times"
        )


@dataclass
class Comparison:
    """An undisturbed run and one with kills."""

    undisturbed: Figures
    killed: Figures

    @property
    def missing(self) -> Counter[tuple[Any, ...]]:
        return _without_keys(self.undisturbed) - _without_keys(self.killed)

    @property
    def too_many(self) -> Counter[tuple[Any, ...]]:
        return _without_keys(self.killed) - _without_keys(self.undisturbed)

    @property
    def other_keys(self) -> int:
        """Return how many orders have another key than the same one of the other run."""
        return (self.killed.orders - self.undisturbed.orders).total()

    @property
    def good(self) -> bool:
        same = self.undisturbed.orders == self.killed.orders and self.undisturbed.balances == self.killed.balances
        keys = Counter(order[0] for order in self.killed.orders.elements())
        return same and None not in keys and max(keys.values(), default=0) == 1

    def __str__(self) -> str:
        lines = [
            f"undisturbed: {self.undisturbed}",
            f"with kills:  {self.killed}",
            (
                f"missing {self.missing.total()}, too many {self.too_many.total()}, under other keys"
                f" {self.other_keys}; balances {self.killed.balances}, undisturbed {self.undisturbed.balances}"
            ),
        ]
        lines += [f"missing: {order}" for order in list(self.missing)[:5]]
        return "\n".join([*lines, *(f"too many: {order}" for order in list(self.too_many)[:5])])


def _without_keys(figures: Figures) -> Counter[tuple[Any, ...]]:
    """Return what was ordered, whatever it was named."""
    return Counter(order[1:] for order in figures.orders.elements())


def readme_bot() -> str:
    """Return the text of the bot in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [bot] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "while True:" in block]
    return bot


def broken_bot() -> str:
    """Return the bot with keys that are others in each of its lives."""
    bot = readme_bot().replace('GRID = "grid-1"', "GRID = __import__('uuid').uuid4().hex")
    assert bot != readme_bot()
    return bot


def compare(*, kills: int, every: int = 5, seed: int = 0, bot: str = "") -> Comparison:
    """Return an undisturbed run of the README's bot, and one of `bot` (without it, of the same) with so many kills."""
    with serving() as harness:
        killed = run(harness, bot or readme_bot(), kills=kills, every=every, seed=seed)
        return Comparison(run(harness, readme_bot(), every=every), killed)


@contextmanager
def serving() -> Iterator[Harness]:
    """Give a running server that has the account of the README."""
    with open_harness(exchanges=["paper"], reconcile_seconds=0.2, reconcile_grace_seconds=0.5) as harness:
        store = Store(harness.database)
        store.accounts.add(USER[0], hash_password(USER[1]))
        store.close()
        _start_server(harness)
        yield harness
        harness.server.stop(signal.SIGTERM)


def run(
    harness: Harness, bot: str, *, kills: int = 0, every: int = 5, steps: int | None = None, seed: int = 0
) -> Figures:
    """Let `bot` trade at a new registration, and return what was ordered there.

    `steps`: how many there are, of `every` minutes each; all of the day for None.
    """
    figures, chance, began = Figures(), random.Random(seed), time.monotonic()
    prices, grid = Prices.load(PACKED_PRICES), _grid(bot)
    minutes = range(prices.first, prices.first + len(prices.closes), every)[:steps]
    plan = _plan(prices, minutes, grid, kills, chance)
    _set_clock(harness, minutes[0])
    id = XWrap(harness.server.url).create_backend(*USER, "paper", "", "", "").id
    database_url = f"file:{harness.database}?mode=ro"
    with closing(sqlite3.connect(database_url, uri=True, timeout=30)) as database:
        with _Bot(bot.replace("Backend(1,", f"Backend({id},"), harness).running() as program:
            for minute in minutes:
                _set_clock(harness, minute)
                program.begin_step()

                def is_settled(minute: int = minute) -> bool:
                    """Return whether all that is due in this step has been done, and the bot has looked again."""
                    if program.has_ended():
                        raise HarnessError(f"the bot ended: {program.last_words()}")
                    count, checked = database.execute(_OPEN, [id]).fetchone()
                    return bool(count >= len(grid["LEVELS"]) and checked == minute and program.has_made_a_round())

                for with_order in plan[minute]:
                    _kill(program, harness, is_settled if with_order else None, figures, chance)
                _wait_for(is_settled, f"not all that was due was placed: {program.last_words()}")
                figures.steps += 1
        figures.orders = Counter(tuple(row) for row in database.execute(_ORDERS, [id]))
        figures.balances = dict(database.execute(_BALANCES, [id]).fetchall())
    figures.seconds = time.monotonic() - began
    return figures


class _Bot:
    """The bot in a process of its own, which is started again and again."""

    def __init__(self, text: str, harness: Harness) -> None:
        self._program, self._state = harness.data / "bot.py", harness.data / "bot.state"
        self._program.write_text(text, encoding="utf-8")
        paths = os.pathsep.join([str(ROOT), *sys.path])
        self._environ = {**os.environ, "PYTHONPATH": paths, "XWRAP_URL": harness.server.url}
        self._log = harness.data / "bot.log"

    @contextmanager
    def running(self) -> Iterator[_Bot]:
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def start(self) -> None:
        self._state.write_bytes(STATE.pack(b"-", 0))
        self._rounds = 0
        command = [sys.executable, "-m", "tests.stress.grid_bot_process", str(self._program), str(self._state)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=self._environ)

    def kill(self) -> str:
        """Kill the process and return what it was doing."""
        self._process.kill()
        self._process.wait()
        return self.doing()

    def doing(self) -> str:
        """Return what it is doing: see grid_bot_process.py."""
        return str(self._read()[0].decode())

    def begin_step(self) -> None:
        self._rounds = self._read()[1]

    def has_made_a_round(self) -> bool:
        """Return whether it has made a whole round since it was started and the step began."""
        return bool(self._read()[1] >= self._rounds + 2)  # the first one may have begun before

    def _read(self) -> tuple[Any, ...]:
        return STATE.unpack(self._state.read_bytes())

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        return self._log.read_text(encoding="utf-8")[-2000:]


def _kill(
    program: _Bot, harness: Harness, is_settled: Callable[[], bool] | None, figures: Figures, chance: random.Random
) -> None:
    """Kill the bot at a random moment, every now and then also the server, and start what was killed.

    `is_settled`: wait for an order, unless this says that none is due any more.
    """
    figures.kills += 1
    with_server = figures.kills % SERVER_KILLS == 2
    if is_settled is not None:
        _wait_for(lambda: program.doing() == "P" or is_settled(), "no order came")
        longest = LONGEST_ORDER
    else:
        if chance.random() < 0.8:  # the others come at any moment of its start
            _wait_for(lambda: program.doing() != "-" or program.has_ended(), "the bot did not start")
        longest = LONGEST_LIFE
    time.sleep(chance.uniform(0, longest))
    if with_server:
        harness.server.stop(signal.SIGKILL)
        figures.server_kills += 1
        time.sleep(chance.uniform(0, LONGEST_LIFE))
    figures.doing[program.kill()] += 1
    program.start()
    if with_server:
        _start_server(harness)


def _wait_for(condition: Callable[[], bool], words: str) -> None:
    end = time.monotonic() + LONGEST_WAIT
    while not condition():
        if time.monotonic() > end:
            raise HarnessError(words)
        time.sleep(0.001)


def _plan(
    prices: Prices, minutes: Sequence[int], grid: dict[str, Any], kills: int, chance: random.Random
) -> dict[int, list[bool]]:
    """Return the kills of the step to each minute: whether they wait for an order, as every second one does.

    Those come in steps in which a price of the grid was crossed.
    """
    busy, before = [], None
    for minute in minutes:
        level = (quote_around(prices.at(minute * 60)).bid - grid["MIDDLE"]) // grid["STEP"]
        if level != before:
            busy.append(minute)
        before = level
    plan: dict[int, list[bool]] = {minute: [] for minute in minutes}
    for number in range(kills):
        with_order = bool(number % 2)
        plan[chance.choice(busy if with_order else minutes)].append(with_order)
    return {minute: sorted(of_step, reverse=True) for minute, of_step in plan.items()}


def _grid(bot: str) -> dict[str, Any]:
    """Return the names that the bot has at its top: MIDDLE, STEP, LEVELS."""
    names: dict[str, Any] = {}
    exec(bot.partition("def key_of")[0], names)
    return names


def _clock(harness: Harness) -> Path:
    return harness.data / "clock"


def _set_clock(harness: Harness, minute: int) -> None:
    """Let the paper exchange's clock stand at the beginning of this minute."""
    new = harness.data / "clock.new"
    new.write_text(str(minute * 60), encoding="ascii")
    new.replace(_clock(harness))


def _start_server(harness: Harness) -> None:
    harness.server.start(paper_clock=str(_clock(harness)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=int, default=5, help="minutes of a step (5)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--broken", action="store_true", help="a bot with random keys, which must be found")
    given = parser.parse_args(arguments)
    print("seed", given.seed, flush=True)
    bot = broken_bot() if given.broken else ""
    figures = compare(kills=given.kills, every=given.every, seed=given.seed, bot=bot)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
