"""Bots that call a server at an even pace, with a mixture of what callers do."""

from __future__ import annotations

import base64
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlencode, urlsplit

import requests

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError

__all__ = ["Bot", "Load", "Traffic"]

#: How often each call is made, of all together.
MIXTURE: Mapping[str, int] = {
    "rates": 22,
    "list_exchanges": 10,
    "balance": 14,
    "paper_market": 10,
    "paper_limit": 6,
    "kraken_market": 4,
    "kraken_limit": 3,
    "changes": 8,
    "page": 8,
    "order_by_key": 8,
    "login": 3,
    "new_connection": 2,
    "lost_client": 2,
}
#: BTC of an order: the funds last for the fees of ten million calls (of 0.001 they were spent after two, 2026-11-28).
_AMOUNT = "0.0001"
#: Orders that a bot looks up again by their keys.
_REMEMBERED = 50
#: Seconds that a bot may be behind its pace before it gives up what it missed.
_MOST_BEHIND = 1.0


@dataclass
class Traffic:
    """What all bots did: how long each call took, what failed, and which orders they were told of."""

    started: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: When each call began, in seconds of the run, and how long it took.
    calls: list[tuple[float, float]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    #: The keys of the orders whose callers were told that they were placed.
    told: list[str] = field(default_factory=list)

    def count(self, began: float, seconds: float) -> None:
        with self.lock:
            self.calls.append((began - self.started, seconds))


class Bot:
    """One caller, with a registration at paper and one at the local Kraken."""

    def __init__(self, url: str, auth: tuple[str, str], others: list[tuple[str, str]], ids: tuple[int, int]) -> None:
        self.url, self.auth, self._others = url, auth, others
        self._ids = ids
        self._chance = random.Random(auth[0])
        self._number = 0
        self._keys: list[tuple[bool, str]] = []
        #: For what the client does only while it waits.
        self._session, self._cursor = requests.Session(), ""
        self._connect()

    def _connect(self) -> None:
        self.xwrap = XWrap(self.url, timeout=30)
        self.paper, self.kraken = (self.xwrap.backend(id, *self.auth) for id in self._ids)

    def run(self, traffic: Traffic, interval: float, stop: threading.Event) -> None:
        """Make a call each `interval` seconds (0: one after the other) until `stop` is set."""
        calls = self._chance.choices(list(MIXTURE), list(MIXTURE.values()), k=10_000)
        due, number = time.monotonic() + self._chance.random() * interval, 0
        while not stop.wait(max(0.0, due - time.monotonic())):
            name = calls[number % len(calls)]
            number += 1
            began = time.monotonic()
            try:
                getattr(self, name)(traffic)
            except (APIError, requests.RequestException) as error:
                with traffic.lock:
                    traffic.failures[f"{name}: {getattr(error, 'code', None) or type(error).__name__}"] += 1
            traffic.count(began, time.monotonic() - began)
            due = max(due + interval, time.monotonic() - _MOST_BEHIND) if interval else 0.0
        self.xwrap.close()
        self._session.close()

    def rates(self, _traffic: Traffic) -> None:
        self.xwrap.exchange_rates("USD", "BTC")

    def list_exchanges(self, _traffic: Traffic) -> None:
        self.xwrap.list_exchanges()

    def balance(self, _traffic: Traffic) -> None:
        self.paper.balance()

    def paper_market(self, traffic: Traffic) -> None:
        self._place(traffic, self.paper, "USD")

    def paper_limit(self, traffic: Traffic) -> None:
        self._place_and_cancel(traffic, self.paper, "USD")

    def kraken_market(self, traffic: Traffic) -> None:
        self._place(traffic, self.kraken, "EUR")

    def kraken_limit(self, traffic: Traffic) -> None:
        self._place_and_cancel(traffic, self.kraken, "EUR")

    def changes(self, _traffic: Traffic) -> None:
        url, query = f"{self.url}/exchanges/{self.paper.id}/orders/", {"after": self._cursor, "wait": "0"}
        answer = self._session.get(url, params=query, auth=self.auth, timeout=30)
        answer.raise_for_status()
        self._cursor = answer.json()["cursor"]

    def page(self, _traffic: Traffic) -> None:
        self.paper.orders(limit=50)

    def order_by_key(self, _traffic: Traffic) -> None:
        if not self._keys:
            return
        is_paper, key = self._chance.choice(self._keys)
        (self.paper if is_paper else self.kraken).order(key=key)

    def login(self, _traffic: Traffic) -> None:
        self.xwrap.list_backends(*self._chance.choice(self._others))

    def new_connection(self, _traffic: Traffic) -> None:
        self.xwrap.close()
        self._connect()
        self.paper.balance()

    def lost_client(self, _traffic: Traffic) -> None:
        """Place an order at the local Kraken and go away before the answer; or in the middle of the request."""
        address = urlsplit(self.url)
        body = urlencode({"currency": "EUR", "asset": "BTC", "amount": _AMOUNT})
        login = base64.b64encode(":".join(self.auth).encode()).decode()
        lines = (
            f"POST /exchanges/{self.kraken.id}/{self._side()} HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Basic {login}",
            f"Idempotency-Key: {self._new_key()}",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        )
        request = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
        if self._number % 2:
            request = request[: self._chance.randrange(1, len(request))]
        with suppress(OSError), socket.create_connection((address.hostname, address.port), 30) as connection:
            connection.sendall(request)

    def _side(self) -> str:
        """Buys and sells in turn, so that the funds stay as they are."""
        self._number += 1
        return "sell" if self._number % 2 else "buy"

    def _new_key(self) -> str:
        return f"{self.auth[0]}-{self._number}-{self._chance.getrandbits(32):08x}"

    def _place(self, traffic: Traffic, backend: Backend, currency: str, **terms: Decimal) -> int:
        trade = getattr(backend, self._side())
        key = self._new_key()
        order = trade(currency, "BTC", _AMOUNT, key=key, **terms)
        with traffic.lock:
            traffic.told.append(key)
        self._keys = [*self._keys[-_REMEMBERED:], (backend is self.paper, key)]
        return int(order["id"])

    def _place_and_cancel(self, traffic: Traffic, backend: Backend, currency: str) -> None:
        self._number += self._number % 2
        price = {"sell": Decimal(900_000), "buy": Decimal(100)}
        side = "sell" if (self._number + 1) % 2 else "buy"
        id = self._place(traffic, backend, currency, price=price[side])
        backend.cancel(id)


class Load:
    """Bots that run, each in a thread."""

    def __init__(self, bots: list[Bot], traffic: Traffic, interval: float) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=bot.run, args=(traffic, interval, self._stop)) for bot in bots]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
