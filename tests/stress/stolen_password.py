"""What a thief gets who has a password of somebody else's account; the local exchange's own records count.

    python -m tests.stress.stolen_password [--postgres] [--threads 8] [--wait 20]

First the thief has a credential that may trade: it asks every route for keys, tries each call that needs more, and to
pass its limit of a day with many threads, over a kill -9 and a restart. Then it has the account's own password: it
switches sends on, adds its address, makes a credential of its own, and sends all the time. The owner gives the commands
`xwrap account passwd` and `xwrap freeze`, and revokes what the thief made. Last it has another account's password and
a credential of it: calls with them wait at the exchange while their owner does the same over HTTP and lifts the freeze.
The servers (two with --postgres) are real, on loopback, with a local Bitstamp. The waiting time of an address is
shortened to `--wait` seconds (it is 24 hours). It exits with 1 unless nothing was sent, no key was read, the limit
held, and nothing that had waited left.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import requests

from bitmm.xwrap.server.app import ROUTES
from tests.stress.harness import PASSWORD, Harness, open_harness
from tests.support.command import xwrap
from tests.support.databases import new_database, server, sql
from tests.support.sends import allow_sends
from tests.support.threads import until

#: In EUR: ten orders of 29 and one of 25.001.
LIMIT = Decimal("315.001")
THIEFS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
SEND = {"asset": "BTC", "amount": "0.01", "address": THIEFS}
_NEW_PASSWORD = "the owner's new password"
#: What a credential may do that may trade; all other calls that change something are refused.
_TRADES = {
    "POST /exchanges/{id}/buy",
    "POST /exchanges/{id}/sell",
    "POST /exchanges/{id}/orders",
    "POST /exchanges/{id}/orders/{order_id}",
    "DELETE /exchanges/{id}/orders",
    "DELETE /exchanges/{id}/orders/{order_id}",
    "PUT /exchanges/{id}/deadman",
    "PUT /deadman",
    "POST /freeze",
}
#: What the owner alone may read.
_OWNERS = {"GET /credentials", "GET /audit"}
#: What is sent where something must be, so that the owner would get it done.
_FORMS = {
    "POST /exchanges/{id}/send_to_address": SEND,
    "POST /exchanges": {"exchange": "bitstamp", "apikey": "k", "apisecret": "s"},
    "PATCH /exchanges/{id}": {"allow_send": "true"},
    "POST /addresses": {"asset": "BTC", "address": THIEFS},
    "POST /credentials": {"name": "more", "scope": "send"},
    "PATCH /account": {"password": "the thief's password"},
    "GET /exchanges/{id}/deposit_address": {"asset": "BTC"},
    "GET /exchanges/{id}/exchange_rate": {"from": "EUR", "to": "BTC"},
    "GET /exchange_rates": {"from": "EUR", "to": "BTC"},
    "GET /exchanges/{id}/fills": {"currency": "EUR", "asset": "BTC"},
}
Auth = tuple[str, str]


#: What a call is answered whose login is not valid any more when its wait is over, or when it comes.
_WRONG_LOGIN = "not_authenticated, nothing was sent", "not_authenticated"


@dataclass
class Figures:
    """What was counted. Times in seconds."""

    #: Routes that were read, and those among all answers in which a key was.
    reads: int = 0
    keys_read: int = 0
    sent: Decimal = Decimal(0)
    placed: Decimal = Decimal(0)
    #: Calls that a trade credential may not make, by status and code.
    refused: Counter[str] = field(default_factory=Counter)
    #: Sends with the account's password, by status and code.
    sends: Counter[str] = field(default_factory=Counter)
    announced: int = 0
    traded: int = 0
    last_accepted: float = 0.0
    later: Counter[str] = field(default_factory=Counter)
    #: What calls were answered that waited at the exchange, by code and whether it came after their login, and how many
    #: of them left.
    waited: Counter[str] = field(default_factory=Counter)
    left: int = 0

    @property
    def good(self) -> bool:
        """Whether everything is as promised."""
        return (
            not self.keys_read
            and self.reads >= 20
            and not self.sent
            and self.placed == LIMIT
            and all(name.startswith("403") for name in self.refused)
            and self.sends["403 address_waiting"] > 0
            and self.announced == 1
            and set(self.later) <= {"401 not_authenticated", "429 too_many_tries"}
            and self.last_accepted < 1
            and self.waited[_WRONG_LOGIN[0]] > 0
            # On a slow machine one comes so late that it finds the freeze.
            and set(self.waited) <= {*_WRONG_LOGIN, "frozen, nothing was sent"}
            and not self.left
        )

    def __str__(self) -> str:
        return (
            f"trade credential: keys read: {self.keys_read} in {self.reads} reads; refused: {dict(self.refused)}\n"
            f"trade credential: placed {self.placed} EUR of {LIMIT} EUR a day\n"
            f"account's password: sends: {dict(self.sends)}; rows address.add in the audit: {self.announced}\n"
            f"account's password: orders that the thief placed before the freeze: {self.traded}\n"
            f"last call accepted, from the end of the owner's last command: {self.last_accepted * 1000:+.0f} ms\n"
            f"sends after that (and after the waiting time, where it was shortened): {dict(self.later)}\n"
            f"calls that waited until the freeze was lifted: {dict(self.waited)}; left: {self.left}\n"
            f"lost by sends: {self.sent}"
        )


def run(threads: int, wait: float, database: str | None = None, *, stop: signal.Signals = signal.SIGKILL) -> Figures:
    """Return the figures; `database`: the URL of a PostgreSQL, for two servers. `wait`: of an address, in seconds.

    `stop`: what ends a server while orders are placed. After a kill it takes some seconds until all outcomes are known.
    """
    figures = Figures()
    count = 2 if database else 1
    with open_harness("bitstamp", database=database, servers=count, address_wait_seconds=wait) as harness:
        harness.start()
        venue, owner = harness.venues["bitstamp"], (harness.user, PASSWORD)
        form = {"exchange": "bitstamp", "apikey": venue.key, "apisecret": venue.secret}
        id = _call(harness, owner, "POST", "/exchanges/", **form).json()["id"]
        _with_trade_credential(harness, owner, id, threads, figures, stop)
        _with_password(harness, owner, id, figures)
        _with_calls_that_wait(harness, figures)
        figures.sent = sum((row.amount for row in venue.withdrawals.values()), Decimal(0))
    return figures


def _with_trade_credential(
    harness: Harness, owner: Auth, id: int, threads: int, figures: Figures, stop: signal.Signals
) -> None:
    form = {"name": "bot1", "scope": "trade", "per_day": str(LIMIT), "currency": "EUR"}
    made = _call(harness, owner, "POST", "/credentials/", **form).json()
    thief = made["username"], made["password"]
    venue = harness.venues["bitstamp"]
    for method, path, name in _routes(id):
        if name in _TRADES:
            continue
        answer = _call(harness, thief, method, path, **_FORMS.get(name, {}))
        figures.keys_read += venue.key in answer.text or venue.secret in answer.text
        if method == "GET" and name not in _OWNERS:
            figures.reads += 1
        else:
            figures.refused[_name(answer)] += 1

    def buy(number: int) -> None:
        try:
            _buy(harness, thief, id, "29000", number)
        except requests.ConnectionError:
            time.sleep(0.05)  # the server was killed

    with ThreadPoolExecutor(threads) as pool:
        first = [pool.submit(buy, number) for number in range(3 * threads)]
        until(lambda: len(venue.orders) >= 2)
        harness.server.stop(stop)
        harness.server.start()
        for call in first:
            call.result()
        list(pool.map(buy, range(4 * threads)))
    # What the kill interrupted counts until it is known that the exchange did not get it.
    until(lambda: not sql(harness.database, "SELECT id FROM orders WHERE status IN ('running', 'unknown')"))
    for price in ("29000", "25001"):
        while _buy(harness, thief, id, price, 0).status_code == 200:
            pass
    figures.placed = sum((order.limit_price * order.amount for order in venue.orders.values()), Decimal(0))


def _routes(id: int) -> Iterator[tuple[str, str, str]]:
    """Yield the method and the path of every call that the server has, and the name of its route as in `_FORMS`."""
    values = {"id": str(id), "order_id": "1", "address_id": "1", "name": "bot1"}
    for route in ROUTES:
        for method in sorted(route.methods - {"HEAD"}):
            yield method, route.path.format(**values), f"{method} {route.path}"


def _with_password(harness: Harness, owner: Auth, id: int, figures: Figures) -> None:
    before = len(harness.venues["bitstamp"].orders)
    _call(harness, owner, "PATCH", f"/exchanges/{id}", allow_send="true").raise_for_status()
    _call(harness, owner, "POST", "/addresses/", asset="BTC", address=THIEFS).raise_for_status()
    made = _call(harness, owner, "POST", "/credentials/", name="thief", scope="send").json()
    logins = [owner, (made["username"], made["password"])]
    waited = time.monotonic() + _wait_of(harness)
    ended, accepted = threading.Event(), [0.0]

    def steal(number: int, thief: Auth) -> None:
        while not ended.is_set():
            answer = _call(harness, thief, "POST", f"/exchanges/{id}/send_to_address", number, **SEND)
            figures.sends[_name(answer)] += 1
            for status in (answer, _call(harness, thief, "GET", "/account", number)):
                if status.status_code == 200:
                    accepted[0] = time.monotonic()

    workers = [threading.Thread(target=steal, args=job) for job in enumerate(logins * len(harness.servers))]
    for worker in workers:
        worker.start()
    _buy(harness, owner, id, "29000", 0)
    figures.traded = len(harness.venues["bitstamp"].orders) - before
    until(lambda: figures.sends["403 address_waiting"])
    [(figures.announced,)] = sql(harness.database, "SELECT count(*) FROM audit_log WHERE what = 'address.add'")
    _xwrap(harness, "account", "passwd", harness.user, "--password-stdin", stdin=_NEW_PASSWORD)
    _xwrap(harness, "freeze", "--account", harness.user)
    new = harness.user, _NEW_PASSWORD
    _call(harness, new, "DELETE", "/credentials/thief").raise_for_status()
    done = time.monotonic()
    # A waiting time that is not shortened is not waited for.
    while time.monotonic() < max(done + 1, waited if waited < done + 60 else 0):
        time.sleep(0.05)
    ended.set()
    for worker in workers:
        worker.join()
    figures.last_accepted = accepted[0] - done
    for number, login in enumerate(logins * 2):
        figures.later[_name(_call(harness, login, "POST", f"/exchanges/{id}/send_to_address", number, **SEND))] += 1


def _with_calls_that_wait(harness: Harness, figures: Figures) -> None:
    """An account whose sends may go to the thief: they and orders wait at the exchange until the freeze is lifted."""
    venue, owner, new = harness.venues["bitstamp"], ("ben", PASSWORD), ("ben", _NEW_PASSWORD)
    account = venue.add_account("bens-key", "bens-secret")
    harness.account("ben")
    form = {"exchange": "bitstamp", "apikey": account.key, "apisecret": account.secret, "allow_send": "true"}
    id = _call(harness, owner, "POST", "/exchanges/", **form).json()["id"]
    allow_sends(harness.database, "ben", [THIEFS])
    made = _call(harness, owner, "POST", "/credentials/", name="thief", scope="send").json()
    # What it reads of the exchange before an order is not known any more after a start.
    harness.server.stop(signal.SIGTERM)
    harness.server.start()
    arrived = len(venue.requests)
    logins = [owner, (made["username"], made["password"])]
    for login in logins:
        _call(harness, login, "GET", "/account").raise_for_status()  # So the calls that are to wait log in at once.
    with ThreadPoolExecutor(2 * len(logins)) as pool:
        with venue.lock:  # It answers nothing as long as this is held.
            waiting = [pool.submit(_buy, harness, login, id, "25001", 0) for login in logins]
            path = f"/exchanges/{id}/send_to_address"
            waiting += [pool.submit(_call, harness, login, "POST", path, **SEND) for login in logins]
            until(lambda: len(venue.requests) > arrived)
            _call(harness, owner, "POST", "/freeze").raise_for_status()
            _call(harness, owner, "PATCH", "/account", password=_NEW_PASSWORD).raise_for_status()
            _call(harness, new, "DELETE", "/credentials/thief").raise_for_status()
            _call(harness, new, "DELETE", "/freeze").raise_for_status()
        for call in waiting:
            body = call.result().json()
            words = ", nothing was sent" if "nothing was sent" in body.get("detail", "") else ""
            figures.waited[f"{body.get('code')}{words}"] += 1
    figures.left = len(venue.orders_of(account)) + len(venue.withdrawals)


def _wait_of(harness: Harness) -> float:
    """Return the seconds from when an address was added until it may be sent to, and a little more."""
    [(created, usable)] = sql(harness.database, "SELECT created, usable_from FROM addresses")
    return (datetime.fromisoformat(usable) - datetime.fromisoformat(created)).total_seconds() + 0.2


def _buy(harness: Harness, login: Auth, id: int, price: str, number: int) -> requests.Response:
    form = {"currency": "EUR", "asset": "BTC", "amount": "0.001", "price": price}
    return _call(harness, login, "POST", f"/exchanges/{id}/buy", number, **form)


def _call(harness: Harness, login: Auth, method: str, path: str, number: int = 0, **form: Any) -> requests.Response:
    """Call the server of this number."""
    url = harness.servers[number % len(harness.servers)].url + path
    headers = {"Idempotency-Key": os.urandom(12).hex()} if "send_to" in path else {}
    fields = {"params" if method == "GET" else "data": form or None}
    return requests.request(method, url, headers=headers, auth=login, timeout=60, **fields)


def _name(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.json().get('code', '')}".strip() if answer.content else "204"


def _xwrap(harness: Harness, *arguments: str, stdin: str = "") -> None:
    url = {"XWRAP_DATABASE_URL": harness.database} if isinstance(harness.database, str) else {}
    xwrap(*arguments, "--data", harness.data, stdin=stdin, **url).check_returncode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true", help="two servers on one PostgreSQL")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--wait", type=float, default=20, help="seconds that a new address waits")
    given = parser.parse_args()
    with ExitStack() as stack:
        database = new_database(stack.enter_context(server())) if given.postgres else None
        figures = run(given.threads, given.wait, database)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
