"""Attacks by somebody who has an account: cancels that hang at an exchange, and thousands of registrations."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import requests

from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from tests.stress.attacks import Attack, Target, in_threads

__all__ = ["HANGING_CANCELS", "REGISTRATIONS"]

#: On how many connections registrations are made at the same time.
_CONNECTIONS = 16


@contextmanager
def _hanging_exchange() -> Iterator[Mapping[str, str]]:
    """Run a Bitstamp that answers no cancel of all; give the settings of the server.

    Its calls do not queue by key, so that all of them hang.
    """
    with BitstampVenue() as venue:
        venue.fault("executed_but_timeout", times=1_000_000, path="cancel_all_orders", seconds=60)
        yield {
            "XWRAP_EXCHANGES": "paper,bitstamp",
            "XWRAP_EXCHANGE_URL_BITSTAMP": venue.url,
        }


@contextmanager
def _repeating(work: Callable[[], str], count: int) -> Iterator[Counter[str]]:
    """Do it again and again in so many threads; give what it returned."""
    seen: Counter[str] = Counter()

    def repeat(_number: int, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                seen[work()] += 1
            except requests.RequestException as error:
                seen[type(error).__name__] += 1
                stop.wait(0.1)

    with in_threads(count, repeat):
        yield seen


@contextmanager
def _cancel(target: Target, size: int) -> Iterator[Counter[str]]:
    auth = (target.user, target.password)
    form = {
        "exchange": "bitstamp",
        "apikey": BitstampVenue.default_key,
        "apisecret": BitstampVenue.default_secret,
    }
    answer = requests.post(f"{target.url}/exchanges/", form, auth=auth, timeout=30)
    assert answer.status_code == 201, answer.text
    path = f"{target.url}/exchanges/{answer.json()['id']}/orders/"

    def cancel() -> str:
        return str(requests.delete(path, auth=auth, timeout=30).status_code)

    with _repeating(cancel, size) as seen:
        yield seen


HANGING_CANCELS = Attack(
    "hanging-cancels", "cancels of another account that hang at their exchange", _cancel, 64, _hanging_exchange
)


@contextmanager
def _register(target: Target, size: int) -> Iterator[Counter[str]]:
    """Register on paper as fast as the server answers, until the block ends, and so many times at least."""
    seen: Counter[str] = Counter()

    def repeat(_number: int, stop: threading.Event) -> None:
        with requests.Session() as session:
            session.auth = (target.user, target.password)
            while not stop.is_set() or seen.total() < size:
                try:
                    answer = session.post(f"{target.url}/exchanges/", {"exchange": "paper"}, timeout=30)
                    seen[str(answer.status_code)] += 1
                except requests.RequestException as error:
                    seen[type(error).__name__] += 1

    with in_threads(_CONNECTIONS, repeat):
        yield seen


REGISTRATIONS = Attack("registrations", "registrations of another account, as fast as it can", _register, 3000)
