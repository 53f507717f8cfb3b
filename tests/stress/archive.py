"""Archives old orders under load, kills the command again and again, and looks for what is lost, doubled or repeated.

    python -m tests.stress.archive [--orders 100000] [--kills 20] [--postgres] [--seed N]

The server of `endurance.py` with its bots, at half of what they can do, and so many orders that are 400 days old. The
command `xwrap archive` is started, killed at a random moment, and started again; the last one runs to its end. All the
while old keys are repeated: each is answered from the journal or as archived, and executes nothing.

It prints, and exits with 1 unless lost, doubled, executed and wrong are 0 and no batch held up other writes for 50 ms:
  lost      old orders that are neither in the data base nor in an archive, and those without a row for their key
  doubled   old orders that are in both, or in the archives twice
  executed  repeats of old keys that were executed
  wrong     repeats with any other answer
and the longest calls of the bots before and meanwhile, the milliseconds for which a batch held up other writes, and the
bytes of an order in the journal, in an archive, and of what stays of it.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import requests

from bitmm.xwrap.server.archive_files import read_rows
from bitmm.xwrap.server.db.records import now
from tests.stress.endurance import ROOT, Place, calibrate, make_bots, open_place
from tests.stress.endurance_load import Bot, Load, Traffic
from tests.stress.endurance_samples import percentile
from tests.support.databases import sql

DAY = 86_400
MOST_MILLISECONDS = 50.0
#: Seconds of the load before the first command, and from a command's first batch to its kill, at most.
BASELINE_SECONDS, MOST_UNTIL_KILL = 20.0, 1.0
#: Orders that are added in one statement.
_TOGETHER = 2000
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.001"}
#: Columns of an old order that are not those of the order that it is a copy of.
_OWN = {
    "key": "'old-' || {digest}",
    "client_id": "{digest}",
    "created": ":then",
    "updated": ":then",
    "change": "number",
}
_DIGEST = {True: "md5(number::text)", False: "lower(hex(randomblob(16)))"}


@dataclass
class Repeats:
    """Old keys that are repeated all the time by a thread of their own."""

    url: str
    auth: tuple[str, str]
    keys: list[str]
    answers: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        chance, session = random.Random(1), requests.Session()
        while not self.stop.wait(0.05):
            headers = {"Idempotency-Key": chance.choice(self.keys)}
            answer = session.post(self.url, data=ORDER, headers=headers, auth=self.auth, timeout=60)
            is_repeat = answer.status_code == 200 and answer.headers.get("Idempotent-Replayed") == "true"
            is_archived = answer.status_code == 410 and answer.json()["code"] == "order_archived"
            self.answers["journal" if is_repeat else "archived" if is_archived else answer.text] += 1
        session.close()


def add_old_orders(place: Place, bot: Bot, count: int) -> list[str]:
    """Add copies of an order of the bot that are 400 days old, and return their keys."""
    order = bot.paper.buy(ORDER["currency"], ORDER["asset"], ORDER["amount"])
    is_postgres = isinstance(place.where, str)
    columns = [
        "registration_id",
        *("fingerprint", "exchange_order_id", "side", "type", "currency", "asset", "amount", "status", "filled"),
        *("average", "spent", "fee", "fee_currency", "post_only", "attempt", "released"),
    ]
    values = [*columns, *(text.format(digest=_DIGEST[is_postgres]) for text in _OWN.values())]
    statement = (
        "WITH RECURSIVE numbers(number) AS"
        " (SELECT CAST(:first AS BIGINT) UNION ALL SELECT number + 1 FROM numbers WHERE number < :last)"
        f" INSERT INTO orders ({', '.join([*columns, *_OWN])}) SELECT {', '.join(values)} FROM orders, numbers"
        " WHERE orders.id = :id"
    ).replace("number::text", "number\\:\\:text")
    for first in range(1, count + 1, _TOGETHER):
        last = min(first + _TOGETHER - 1, count)
        sql(place.where, statement, first=first, last=last, then=now(400 * DAY), id=order["id"])
    return [key for (key,) in sql(place.where, "SELECT key FROM orders WHERE key LIKE 'old-%'")]


def archive(place: Place, data: Path, folder: Path, *, kill_after: float | None = None) -> str:
    """Run the command, and kill it so many seconds after it wrote something; return what it printed."""
    command = [sys.executable, "-m", "bitmm.xwrap", "archive", "--older-than", "365d", "--to", str(folder)]
    environ = {"XWRAP_DATABASE_URL": place.where if isinstance(place.where, str) else ""}
    environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    child = subprocess.Popen(
        [*command, "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environ},
    )
    if kill_after is not None:
        before = _written(folder)
        while child.poll() is None and _written(folder) == before:
            time.sleep(0.01)
        time.sleep(kill_after)
        child.kill()
    output, _ = child.communicate()
    if child.returncode not in {0, -signal.SIGKILL}:
        raise SystemExit(f"xwrap archive failed: {output}")
    return output


def _written(folder: Path) -> int:
    """Return how many bytes the files of archives have."""
    return sum(path.stat().st_size for path in folder.glob("*.jsonl.gz.partial"))


def find_wrong(place: Place, folder: Path, keys: list[str], repeats: Repeats) -> dict[str, int]:
    """Return how many old orders are lost, doubled and executed, and how many answers were wrong."""
    left = Counter(key for (key,) in sql(place.where, "SELECT key FROM orders WHERE key LIKE 'old-%'"))
    archived = Counter(row["key"] for row in read_rows(folder))
    lines = sum(len(gzip.decompress(path.read_bytes()).splitlines()) for path in folder.glob("*.jsonl.gz"))
    [(kept,)] = sql(place.where, "SELECT count(*) FROM archived_keys")
    found = left + archived
    executed = "SELECT count(*) FROM paper_orders JOIN orders USING (registration_id, client_id) WHERE key LIKE 'old-%'"
    [(repeated,)] = sql(place.where, executed)
    return {
        "lost": len(set(keys) - found.keys()) + abs(kept - archived.total()),
        "doubled": found.total() - len(found) + abs(lines - archived.total()),
        "executed": repeated + len(found.keys() - set(keys)),
        "wrong": sum(count for answer, count in repeats.answers.items() if answer not in {"journal", "archived"}),
    }


def print_sizes(place: Place, folder: Path, count: int, used: float) -> None:
    """Print the bytes of an order where it was, where it is, and of what stays. `used`: what the old ones took."""
    files = sum(path.stat().st_size for path in folder.glob("*.jsonl.gz"))
    if isinstance(place.where, str):
        [(kept,)] = sql(place.where, "SELECT pg_total_relation_size('archived_keys')")
    else:
        [(kept,)] = sql(place.where, "SELECT sum(pgsize) FROM dbstat WHERE name LIKE '%archived_keys%'")
    print(
        f"bytes an order: {used / count:.0f} in the journal, {files / count:.0f} in an archive, {kept / count:.0f} stay"
    )


def longest(traffic: Traffic, start: float, end: float) -> str:
    """Return how long calls took that began in this time."""
    took = [seconds * 1000 for began, seconds in traffic.calls if start <= began < end]
    p50, p99 = (percentile(took, share) for share in (0.5, 0.99))
    return f"p50 {p50:.1f}, p99 {p99:.1f}, longest {max(took, default=0.0):.0f} ms of {len(took)} calls"


def run(orders: int, kills: int, seed: int, *, postgres: bool) -> bool:
    """The whole test; see the module. Return whether all is as it must be."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="xwrap-archive-") as made, open_place(1, postgres=postgres) as place:
        folder, data = Path(made) / "archive", place.data
        bots = make_bots(place, 4)
        rate = calibrate(bots)
        before, _ = place.size()
        keys = add_old_orders(place, bots[0], orders)
        used = (place.size()[0] - before) * 2**20
        url = f"{place.url}/exchanges/{bots[0].paper.id}/buy"
        repeats, traffic = Repeats(url, bots[0].auth, keys), Traffic()
        load, thread = Load(bots, traffic, len(bots) * 2 / rate), threading.Thread(target=repeats.run)
        thread.start()
        try:
            time.sleep(BASELINE_SECONDS)
            start = time.monotonic() - traffic.started
            for _ in range(kills):
                archive(place, data, folder, kill_after=chance.uniform(0.0, MOST_UNTIL_KILL))
            output = archive(place, data, folder)
            end = time.monotonic() - traffic.started
        finally:
            repeats.stop.set()
            thread.join()
            load.stop()
        print(f"seed {seed}: {orders} old orders, {kills} kills, {end - start:.0f} s; repeats: {dict(repeats.answers)}")
        print(output, end="")
        wrong = find_wrong(place, folder, keys, repeats)
        print(
            ", ".join(f"{name} {count}" for name, count in wrong.items()) + f"; failed calls {dict(traffic.failures)}"
        )
        print(f"before    {longest(traffic, 0.0, start)}\nmeanwhile {longest(traffic, start, end)}")
        print_sizes(place, folder, orders, used)
        held_up = re.search(r"took (\d+) ms at most; other writes waited", output)
        return not any(wrong.values()) and (held_up is None or float(held_up[1]) < MOST_MILLISECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    return 0 if run(options.orders, options.kills, options.seed, postgres=options.postgres) else 1


if __name__ == "__main__":
    sys.exit(main())
