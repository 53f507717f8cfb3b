"""How long the best of ten registrations takes, whose exchanges take 300 ms for each answer, against that of one.

python -m tests.benchmarks.best [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pytest
import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings
from tests.support.markets import add_markets

SECONDS = 0.3
AUTH = ("ann", "correct horse battery")


def took(ids: tuple[str, ...]) -> float:
    """Return the seconds of one call on a fresh server, whose account has a registration at each exchange."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.read({}, data=Path(folder), port=0, exchanges=ids)
        store = Store(settings.database)
        store.prepare()
        store.accounts.add(AUTH[0], hash_password(AUTH[1]))
        store.close()
        with run_in_background(settings) as url:
            xwrap = XWrap(url, session=requests.Session())
            for id in ids:
                xwrap.create_backend(*AUTH, id, "", "", "")
            start = time.perf_counter()
            rows = xwrap.best("USD", "BTC", *AUTH, side="buy", amount="1")
            seconds = time.perf_counter() - start
    assert [row["reason"] for row in rows] == [None] * len(ids)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with pytest.MonkeyPatch.context() as patch:
        kinds = add_markets(patch, 10)
        for kind in kinds:
            kind.seconds = SECONDS
        ids = tuple(kind.id for kind in kinds)
        pairs = [(took(ids), took(ids[:1])) for _ in range(rounds)]
    ratios = [ten / one for ten, one in pairs]
    print(
        f"ten registrations / one of them: {statistics.median(ratios):.2f} (limit 1.20), {min(ratios):.2f} to"
        f" {max(ratios):.2f} in single rounds; one takes {statistics.median(one for _, one in pairs):.2f} s"
    )


if __name__ == "__main__":
    main()
