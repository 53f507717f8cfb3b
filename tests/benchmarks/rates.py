"""How long the rates of ten exchanges take, each of which takes 300 ms, against one of them.

python -m tests.benchmarks.rates [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.models import Rate
from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings
from tests.support.stub import Stub

SECONDS = 0.3


def slow(*_pair: str) -> Rate:
    time.sleep(SECONDS)
    return Rate(Decimal(2), Decimal(1), datetime.now(UTC))


def took(ids: tuple[str, ...], cached: float) -> float:
    """Seconds that one call took on a fresh server that offers these exchanges."""
    with (
        tempfile.TemporaryDirectory() as folder,
        run_in_background(
            Settings.read({}, data=Path(folder), port=0, exchanges=ids, rate_cache_seconds=cached)
        ) as url,
        requests.Session() as session,
    ):
        session.get(f"{url}/list_exchanges/", timeout=30)
        start = time.perf_counter()
        rows = session.get(f"{url}/exchange_rates/?from=EUR&to=BTC", timeout=30).json()
        assert len(rows) == len(ids)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    Stub.act = staticmethod(slow)
    ten = tuple(f"stub{number}" for number in range(10))
    exchanges.EXCHANGES.update(dict.fromkeys(ten, "tests.support.stub:Stub"))
    ratios = [took(ten, 10.0) / took(ten[:1], 10.0) for _ in range(parser.parse_args().rounds)]
    print(
        f"ten exchanges / one of them: {statistics.median(ratios):.2f} (limit 1.20), "
        f"{min(ratios):.2f} to {max(ratios):.2f} in single rounds"
    )


if __name__ == "__main__":
    main()
