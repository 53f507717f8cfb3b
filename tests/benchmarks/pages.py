"""What a page of records costs the server: `python -m tests.benchmarks.pages` (half a minute).

CPU time of a call for a page of orders, sends, rows of the audit, fills and entries of a ledger, from the middleware to
the bytes of the body, as a ratio to `json.dumps` of the same document. It is a real server on SQLite with what 500
orders and 500 sends on paper leave behind; only the socket is missing. A round is one of each; the quartiles over the
rounds are printed. The exit status is 1 when a median is above the limit, which is one for pages of the journals and
the audit: fills and ledgers are read at an exchange, here at the one on paper, and made records first.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from bitmm.xwrap.server.app import create_app
from bitmm.xwrap.server.passwords import hash_password
from bitmm.xwrap.server.services import create_services
from bitmm.xwrap.server.settings import Settings

ROWS = 500
ROUNDS = 40
LIMIT = 3.0
#: A valid address that nobody has the key of: the hash of a public key that is all zeros.
ADDRESS = "1111111111111111111114oLvT2"
#: The pages of what is kept here, which have the limit, and those of an exchange.
PAGES = {
    "orders": f"/exchanges/1/orders/?limit={ROWS}",
    "closed orders": f"/exchanges/1/orders/?limit={ROWS}&status=closed",
    "withdrawals": f"/exchanges/1/withdrawals/?limit={ROWS}",
    "audit": f"/audit?limit={ROWS}",
}
OF_AN_EXCHANGE = {"fills": "/exchanges/1/fills?currency=USD&asset=BTC", "ledger": "/exchanges/1/ledger"}


class Caller:
    """Calls an application without a socket."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._headers = [
            (b"host", b"127.0.0.1"),
            (b"authorization", b"Basic " + base64.b64encode(b"ann:password")),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ]

    async def call(self, method: str, url: str, form: str = "") -> bytes:
        """Return the body of a successful answer."""
        path, _, query = url.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [*self._headers, (b"content-length", str(len(form)).encode())],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": form.encode(), "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        body: bytes = b"".join(message.get("body", b"") for message in sent)
        if sent[0]["status"] >= 300:
            raise RuntimeError(f"{method} {url}: {sent[0]['status']} {body.decode()}")
        return body


@contextmanager
def server(folder: Path) -> Iterator[Starlette]:
    """Run the services of a server with one account."""
    services = create_services(Settings.read({}, data=folder), print, lambda _: None)
    try:
        services.store.accounts.add("ann", hash_password("password"))
        yield create_app(services)
    finally:
        services.close()


async def fill(caller: Caller) -> None:
    """Place the orders and sends."""
    await caller.call("POST", "/exchanges/", "exchange=paper")
    for number in range(ROWS):
        price = f"&price={1000 + number}.25" if number % 2 else ""
        form = f"currency=USD&asset=BTC&amount=0.{number + 1:08}{price}"
        await caller.call("POST", "/exchanges/1/buy", form)
        await caller.call(
            "POST", "/exchanges/1/send_to_address", f"asset=BTC&amount=0.0000{number + 1:04}&address={ADDRESS}"
        )
    await caller.call("DELETE", "/exchanges/1/orders/")


async def measure(caller: Caller, url: str) -> tuple[int, float, float]:
    """Return how many rows a page has, and the CPU seconds of the call and of `json.dumps` of its document."""
    start = time.process_time()
    body = await caller.call("GET", url)
    ours = time.process_time() - start
    document = json.loads(body)
    start = time.process_time()
    json.dumps(document)
    theirs = time.process_time() - start
    return len(document if isinstance(document, list) else document["ledger"]), ours, theirs


async def run(app: Starlette) -> int:
    caller = Caller(app)
    await fill(caller)
    pages = PAGES | OF_AN_EXCHANGE
    rounds = [{name: await measure(caller, url) for name, url in pages.items()} for _ in range(ROUNDS + 1)]
    bad = False
    for name in pages:
        measured = [each[name] for each in rounds[1:]]  # The first call of each is a warm-up.
        low, median, high = statistics.quantiles((ours / theirs for _, ours, theirs in measured), n=4)
        us = statistics.median(ours / rows for rows, ours, _ in measured) * 1e6
        bad |= name in PAGES and median > LIMIT
        print(
            f"{name}: {us:.1f} us a row of {measured[0][0]}, {median:.2f} ({low:.2f} to {high:.2f}) of json.dumps"
            + (f" (limit {LIMIT})" if name in PAGES else "")
        )
    return int(bad)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as app:
        return asyncio.run(run(app))


if __name__ == "__main__":
    sys.exit(main())
