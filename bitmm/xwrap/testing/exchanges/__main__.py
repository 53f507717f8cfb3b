"""`python -m bitmm.xwrap.testing.exchanges NAME --port N [--key K --secret S]` serves one local exchange."""

from __future__ import annotations

import argparse
import signal
import threading
from importlib import import_module

from . import EXCHANGES


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bitmm.xwrap.testing.exchanges", description=__doc__)
    parser.add_argument("name", choices=EXCHANGES)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--key")
    parser.add_argument("--secret")
    options = parser.parse_args()
    interrupted = threading.Event()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: interrupted.set())
    venue_class = import_module(f".{options.name}", __package__).VENUE
    with venue_class(key=options.key, secret=options.secret, port=options.port) as venue:
        print(f"{venue.url}\nkey {venue.key}\nsecret {venue.secret}", flush=True)
        interrupted.wait()


if __name__ == "__main__":
    main()
