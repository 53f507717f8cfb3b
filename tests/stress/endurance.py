"""A server with the settings that are shipped, for hours at half of what it can do: whether anything grows.

    python -m tests.stress.endurance [--hours 2] [--postgres] [--workers N] [--bots 8]

The server runs as a process of its own, with paper and a local Kraken, which is another process. First the bots call as
fast as they can for half a minute; then they keep to half of that: rates, balances, orders on paper and at Kraken that
are filled or canceled, changes, pages, keys, logins, connections that are opened anew, and callers who go away before
the answer or in the middle of a request (`endurance_load.py`). The environment is the one that `xwrap deploy systemd`
writes into its unit. Other than shipped are the quota of orders, which would stop the run, and the limit of Kraken's
calls, which the local one has not.

Each 10 seconds it looks at the server: memory, descriptors, threads, the write-ahead log, the data base, CPU time. It
prints a row for each window. At the end a fresh server is started beside it, and both get the load in turns: what grew
with the work makes the old one slower, and a machine that is faster or slower by now does not (in two hours the CPU
time of a call went up by 13 % at the server, and by 15 % at the bots, whose work did not grow, 2026-11-28).

It exits with 1 when, after a sixth of the time (warm-up), the memory grows by 1 MiB an hour or more (the median of all
slopes), descriptors, threads or the log grow, the p99 of the old server is above 1.1 of that of the fresh one, or an
order is doubled, lost or unknown by the ledgers of the exchanges. A run of minutes says little about a slope of an
hour: it is printed with the spread of the memory.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import requests

from bitmm.xwrap.server.db.sqlite_file import wal_of
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.deploy.plans import systemd
from bitmm.xwrap.server.passwords import hash_password
from tests.benchmarks.ratios import ratio_of
from tests.stress.endurance_load import Bot, Load, Traffic
from tests.stress.endurance_samples import WARM_UP, Sample, growth, percentile, slope, take_sample
from tests.support.databases import drop_database, new_database, server, sql
from tests.support.sends import allow_sends

ROOT = Path(__file__).parents[2]
CALIBRATION_SECONDS, SAMPLE_SECONDS = 30.0, 10.0
#: The old server and a fresh one get the load in so many turns each, of so many seconds, the fresh one after a warm-up.
#: The p99 of a turn is between 11 and 21 ms for one and the same server, so that 20 turns say too little (2026-11-28).
TURNS, TURN_SECONDS, FRESH_SECONDS = 60, 10.0, 60.0
#: Accounts beside the bots that log in now and then.
OTHERS = 40
MOST_SLOPE, MOST_P99 = 1.0, 1.1
#: More descriptors and threads than in the first third, and how many times the log, are growth.
MORE_DESCRIPTORS, MORE_THREADS, TIMES_LOG = 8, 2, 1.5


class Place(NamedTuple):
    """The server that is looked at, its data folder and data base, and the local Kraken with its key."""

    url: str
    pid: int
    data: Path
    where: Path | str
    venue: str
    key: str
    secret: str

    def size(self) -> tuple[float, int]:
        """Return the MiB of the data base, and how many orders it has."""
        if isinstance(self.where, Path):
            size = self.where.stat().st_size
        else:
            [(size,)] = sql(self.where, "SELECT pg_database_size(current_database())")
        # To count them would take the longer the more there are, and hold up the write-ahead log meanwhile.
        [(newest,)] = sql(self.where, "SELECT max(id) FROM orders")
        return size / 2**20, newest or 0


@contextmanager
def process(command: list[str], until: str, log: Path, **environ: str) -> Iterator[tuple[int, list[str]]]:
    """Run a program until the block ends; give its id, and what it printed until a line with these words."""
    # Unbuffered, a printed line is written in two pieces, and one of the log came between them (seen 2026-11-28).
    settings = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONUNBUFFERED": "", **environ}
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env={**os.environ, **settings})
    try:
        while until not in (text := log.read_text(errors="replace")):
            if child.poll() is not None:
                raise SystemExit(f"{command[2]} ended: {text[-2000:]}")
            time.sleep(0.05)
        yield child.pid, text.splitlines()
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


def unit_environment() -> dict[str, str]:
    """Return the variables of the unit that `xwrap deploy systemd --user` writes."""
    [unit] = [file for file in systemd(Path(), None, for_user=True).files if file.name == "xwrap.service"]
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.content.decode(), re.MULTILINE))


@contextmanager
def open_place(workers: int, *, postgres: bool) -> Iterator[Place]:
    """Start the local Kraken and the server."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-endurance-")))
        data = folder / "data"
        data.mkdir(mode=0o700)
        where: Path | str = data / "xwrap.sqlite3"
        if postgres:
            url = stack.enter_context(server())
            where = new_database(url)
            stack.callback(drop_database, url, where)
        python = [sys.executable, "-m"]
        _, lines = stack.enter_context(
            process([*python, "bitmm.xwrap.testing.exchanges", "kraken"], "secret ", folder / "venue.log")
        )
        venue, key, secret = lines[0], lines[1].split()[1], lines[2].split()[1]
        environ = {
            **unit_environment(),
            "XWRAP_EXCHANGES": "kraken,paper",
            "XWRAP_EXCHANGE_URL_KRAKEN": venue,
            "XWRAP_EXCHANGE_LIMIT_KRAKEN": "none",
            "XWRAP_QUOTA_ORDERS": "9999999",
            "XWRAP_DATABASE_URL": where if isinstance(where, str) else "",
        }
        command = [*python, "bitmm.xwrap", "serve", "--port", "0", "--data", str(data)]
        command += ["--workers", str(workers)] if workers > 1 else []
        pid, lines = stack.enter_context(process(command, "serves at", folder / "server.log", **environ))
        [line] = [line for line in lines if "serves at" in line]
        yield Place(line.split()[-1], pid, data, where, venue, key, secret)


def make_bots(place: Place, count: int) -> list[Bot]:
    """Add accounts, with a registration at paper and one at Kraken for each bot."""
    password = secrets.token_urlsafe(12)
    hashed = hash_password(password)
    store = Store(place.where)
    names = [f"bot{number}" for number in range(count)] + [f"other{number}" for number in range(OTHERS)]
    for name in names:
        store.accounts.add(name, hashed)
    store.close()
    bots = []
    others = [(name, password) for name in names[count:]]
    for name in names[:count]:
        auth, ids = (name, password), []
        for form in (
            {"exchange": "paper"},
            {"exchange": "kraken", "apikey": place.key, "apisecret": place.secret, "allow_send": "true"},
        ):
            answer = requests.post(f"{place.url}/exchanges/", data=form, auth=auth, timeout=60)
            answer.raise_for_status()
            ids.append(int(answer.json()["id"]))
        allow_sends(place.where, name, [])
        bots.append(Bot(place.url, auth, others, (ids[0], ids[1])))
    return bots


def calibrate(bots: list[Bot]) -> float:
    """Return how many calls a second the bots get answered when they make one after the other."""
    return len(carry_out(bots, 0.0, CALIBRATION_SECONDS).calls) / CALIBRATION_SECONDS


def watch(place: Place, traffic: Traffic, seconds: float) -> list[Sample]:
    """Look at the server each 10 seconds."""
    log = wal_of(place.where) if isinstance(place.where, Path) else None
    samples, pause = [], threading.Event()
    while (at := time.monotonic() - traffic.started) < seconds:
        samples.append(take_sample(place.pid, at, len(traffic.calls), log, place.size))
        pause.wait(SAMPLE_SECONDS - (time.monotonic() - traffic.started - at))
    return samples


def print_windows(samples: list[Sample], traffic: Traffic, seconds: float) -> list[float]:
    """Print a row for each window after the warm-up, and return the p99 of each."""
    warm = seconds * WARM_UP
    window = min(600.0, (seconds - warm) / 6)
    print("  from s   calls/s   CPU ms/call   p50 ms   p99 ms   MiB   descriptors   threads   log MiB   DB bytes/order")
    p99s = []
    for number in range(int((seconds - warm) / window + 0.01)):
        start = warm + number * window
        inside = [sample for sample in samples if start <= sample.at < start + window]
        times = [took * 1000 for began, took in traffic.calls if start <= began < start + window]
        if len(inside) < 2:
            continue
        first, last = inside[0], inside[-1]
        calls, orders = last.calls - first.calls, last.orders - first.orders
        p99s.append(percentile(times, 0.99))
        print(
            f"{start:8.0f}{calls / (last.at - first.at):10.1f}{(last.cpu - first.cpu) / max(calls, 1) * 1000:14.2f}"
            f"{percentile(times, 0.5):9.1f}{p99s[-1]:9.1f}{last.memory:6.0f}{last.descriptors:14}{last.threads:10}"
            f"{last.log:10.1f}{(last.database - first.database) * 2**20 / max(orders, 1):17.0f}",
            flush=True,
        )
    return p99s


def compare_with_fresh(old: list[Bot], traffic: Traffic, interval: float, workers: int, *, postgres: bool) -> float:
    """Give the load to the old server and to a fresh one in turns; return the median of the ratios of their p99s."""
    with open_place(workers, postgres=postgres) as place:
        fresh = make_bots(place, len(old))
        carry_out(fresh, interval, FRESH_SECONDS)
        p99s: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(2 * TURNS):
            # old, fresh, fresh, old ...
            is_old = turn % 4 in {0, 3}
            done = carry_out(old if is_old else fresh, interval, TURN_SECONDS)
            p99s[is_old].append(percentile([took * 1000 for _, took in done.calls], 0.99))
            traffic.told += done.told if is_old else []
            traffic.failures += done.failures
    aged, young, ratio = median(p99s[True]), median(p99s[False]), ratio_of(p99s[True], p99s[False])
    print(f"p99 of {TURNS} turns of {TURN_SECONDS:.0f} s: {aged:.1f} ms, fresh {young:.1f} ms, ratio {ratio}")
    return ratio.median


def carry_out(bots: list[Bot], interval: float, seconds: float) -> Traffic:
    """Let the bots call for so long, and return what they did."""
    traffic = Traffic()
    load = Load(bots, traffic, interval)
    time.sleep(seconds)
    load.stop()
    return traffic


def find_wrong_orders(place: Place, traffic: Traffic) -> dict[str, int]:
    """Compare the journal with the ledgers of both exchanges, and with what the callers were told."""
    rows = sql(
        place.where,
        "SELECT orders.key, orders.client_id, orders.status, registrations.exchange FROM orders"
        " JOIN registrations ON registrations.id = orders.registration_id",
    )
    ledger = requests.get(f"{place.venue}/_venue/ledger", timeout=120).json()
    executed = Counter(row["client_id"] for row in ledger)
    executed.update(client_id for (client_id,) in sql(place.where, "SELECT client_id FROM paper_orders"))
    placed = {client_id for _, client_id, status, _ in rows if status != "rejected"}
    keys = {key for key, _, status, _ in rows if status != "rejected"}
    return {
        "doubled": sum(count - 1 for count in executed.values()),
        "lost by an exchange": len(placed - executed.keys()),
        "lost by the journal": len(executed.keys() - placed),
        "told and not there": len(set(traffic.told) - keys),
        "unknown or running": sum(status in {"unknown", "running"} for _, _, status, _ in rows),
    }


def judge(samples: list[Sample], p99s: list[float], ratio: float, wrong: dict[str, int]) -> list[str]:
    """Print what was found after the warm-up, and return what is not as it must be."""
    warm = [sample for sample in samples if sample.at >= samples[-1].at * WARM_UP]
    per_hour = slope(warm)
    memory = [sample.memory for sample in warm]
    print(f"memory: {per_hour:+.2f} MiB an hour, between {min(memory):.1f} and {max(memory):.1f} MiB")
    print(f"p99 of the last window: {p99s[-1] / p99s[0] if p99s and p99s[0] else 1.0:.2f} of the first")
    print(f"p99 of the old server: {ratio:.2f} of that of a fresh one")
    problems = [] if per_hour < MOST_SLOPE else [f"the memory grows by {per_hour:.2f} MiB an hour"]
    bounds = {"descriptors": MORE_DESCRIPTORS, "threads": MORE_THREADS}
    for name in ("descriptors", "threads", "log"):
        first, last = growth(warm, name)
        print(f"{name}: at most {first:g} in the first third, {last:g} in the last")
        if last > (first + bounds[name] if name in bounds else first * TIMES_LOG):
            problems.append(f"{name}: {first:g} became {last:g}")
    if ratio > MOST_P99:
        problems.append(f"the p99 of the old server is {ratio:.2f} of that of a fresh one")
    print("orders: " + ", ".join(f"{name} {count}" for name, count in wrong.items()))
    return problems + [f"orders {name}: {count}" for name, count in wrong.items() if count]


def run(seconds: float, bots: int, workers: int, *, postgres: bool) -> list[str]:
    """The whole test; see the module. Return what is not as it must be."""
    with open_place(workers, postgres=postgres) as place:
        callers = make_bots(place, bots)
        rate = calibrate(callers)
        print(f"{rate:.0f} calls a second at most; {rate / 2:.0f} from now on, for {seconds / 3600:.2f} h", flush=True)
        traffic = Traffic()
        load = Load(callers, traffic, interval := bots * 2 / rate)
        try:
            samples = watch(place, traffic, seconds)
        finally:
            load.stop()
        print(f"{len(traffic.calls)} calls, failed: {dict(traffic.failures) or 'none'}")
        p99s = print_windows(samples, traffic, seconds)
        ratio = compare_with_fresh(callers, traffic, interval, workers, postgres=postgres)
        time.sleep(10)  # callers who went away left orders that may still be executed
        return judge(samples, p99s, ratio, find_wrong_orders(place, traffic))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--bots", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="on PostgreSQL alone")
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    problems = run(options.hours * 3600, options.bots, options.workers, postgres=options.postgres)
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
