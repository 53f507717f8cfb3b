"""How long a call is accepted after what allowed it was taken away, in each of several server processes.

    python -m tests.stress.revocation [--processes 4] [--sqlite]

Callers ask every server without a pause, with a login that the server remembers. Then the right is taken away: in the
data base, as the command does it, the password is changed, the account switched off, the credential revoked; by a call
of the first server the account is frozen, the registration switched off. Printed are the milliseconds from then to the
last accepted answer of each process, which must be less than a second. Four processes share a PostgreSQL; with
--sqlite, one server has SQLite.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from bitmm.xwrap.server.credential_passwords import make_password
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from tests.support.databases import drop_database, new_database, server

MOST_SECONDS = 1.0
PASSWORD = "correct horse battery"
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.001", "price": "1"}
Auth = tuple[str, str]


class Case:
    """An account with a registration and a credential, of which something is taken away."""

    def __init__(self, where: Path | str, url: str) -> None:
        self.store, self.url = Store(where), url
        self.name = f"user-{secrets.token_hex(4)}"
        self.id = self.store.accounts.add(self.name, hash_password(PASSWORD))
        self.auth = self.name, PASSWORD
        answer = requests.post(f"{url}/exchanges/", data={"exchange": "paper"}, auth=self.auth, timeout=30)
        answer.raise_for_status()
        self.registration = int(answer.json()["id"])
        password = make_password()
        self.bot = f"{self.name}/bot", password
        values = {"account_id": self.id, "name": "bot", "scope": "trade"}
        self.store.credentials.add(values, password, self.bot[0])

    def read(self, session: requests.Session, url: str, auth: Auth) -> int:
        return session.get(f"{url}/account", auth=auth, timeout=30).status_code

    def buy(self, session: requests.Session, url: str, auth: Auth) -> int:
        path = f"{url}/exchanges/{self.registration}/buy"
        return session.post(path, data=ORDER, auth=auth, timeout=30).status_code

    def freeze(self) -> None:
        requests.post(f"{self.url}/freeze", auth=self.auth, timeout=30).raise_for_status()

    def disable_registration(self) -> None:
        url = f"{self.url}/exchanges/{self.registration}"
        requests.patch(url, data={"enabled": "false"}, auth=self.auth, timeout=30).raise_for_status()


#: By name: who calls, what, and what takes the right away.
CASES: Mapping[str, tuple[bool, Callable[..., int], Callable[[Case], object]]] = {
    "changed password": (
        False,
        Case.read,
        lambda case: case.store.accounts.set_password(case.id, hash_password("new")),
    ),
    "disabled account": (False, Case.read, lambda case: case.store.accounts.set_active(case.id, active=False)),
    "its credential": (True, Case.read, lambda case: case.store.accounts.set_active(case.id, active=False)),
    "revoked credential": (True, Case.read, lambda case: case.store.credentials.revoke(case.id, "bot")),
    "frozen account": (False, Case.buy, Case.freeze),
    "disabled registration": (True, Case.buy, Case.disable_registration),
}


@contextmanager
def start_servers(count: int, folder: Path, url: str | None) -> Iterator[list[str]]:
    """Start servers that share the data base at `url`, or one with SQLite; give their URLs."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("XWRAP_")}
    settings |= {"XWRAP_EXCHANGES": "paper", "PYTHONPATH": os.pathsep.join(sys.path), "XWRAP_DATABASE_URL": url or ""}
    command = [sys.executable, "-m", "bitmm.xwrap", "serve", "--port", "0", "--data", str(folder)]
    with ExitStack() as stack:
        urls = []
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=settings))
            stack.callback(process.terminate)
            urls.append(next(line for line in process.stdout or () if "serves at" in line).split()[-1])
        yield urls


def measure(name: str, where: Path | str, urls: list[str]) -> list[float]:
    """Return for each server the seconds from the change to the last accepted answer; negative: it came before."""
    by_credential, call, take_away = CASES[name]
    case = Case(where, urls[0])
    auth = case.bot if by_credential else case.auth
    last, refused = [0.0] * len(urls), [threading.Event() for _ in urls]
    accepted = [threading.Event() for _ in urls]
    changed = threading.Event()

    def call_all_the_time(number: int) -> None:
        with requests.Session() as session:
            while not (changed.is_set() and refused[number].wait(0)):
                if call(case, session, urls[number], auth) in (200, 201):
                    last[number] = time.monotonic()
                    accepted[number].set()
                elif changed.is_set():
                    refused[number].set()

    callers = [threading.Thread(target=call_all_the_time, args=(number,)) for number in range(len(urls))]
    for caller in callers:
        caller.start()
    for event in accepted:
        assert event.wait(60), "a server accepts nothing"
    take_away(case)
    time_of_change = time.monotonic()
    changed.set()
    for caller in callers:
        caller.join()
    # Nothing is accepted later either.
    with requests.Session() as session:
        for url in urls * 3:
            assert call(case, session, url, auth) not in (200, 201)
    case.store.close()
    return [seconds - time_of_change for seconds in last]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.revocation", description=__doc__)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--sqlite", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-revocation-")))
        url = None
        if not options.sqlite:
            postgres = stack.enter_context(server())
            url = new_database(postgres)
            stack.callback(drop_database, postgres, url)
        urls = stack.enter_context(start_servers(1 if options.sqlite else options.processes, folder, url))
        where: Path | str = url or folder / "xwrap.sqlite3"
        worst = 0.0
        for name in CASES:
            seconds = measure(name, where, urls)
            worst = max(worst, *seconds)
            print(f"{name}: " + ", ".join(f"{one * 1000:+.1f} ms" for one in seconds), flush=True)
    print(f"the last accepted answer came at most {worst * 1000:.1f} ms after the change")
    sys.exit(worst >= MOST_SECONDS)


if __name__ == "__main__":
    main()
