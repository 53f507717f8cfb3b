"""Every stable error code is met here, as a caller meets it: with its HTTP status, its class and words.

A new code needs a case: the function in `CASES` of its name provokes it, by the client wherever the client can.
"""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from sqlalchemy.exc import OperationalError

from bitmm.xwrap import exchanges
from bitmm.xwrap._responses import error_from_response
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.codes import CODES
from bitmm.xwrap.errors import (
    APIError,
    AuthenticationError,
    InsufficientFunds,
    InvalidRequest,
    NotFinal,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from bitmm.xwrap.exchanges.models import OrderState
from bitmm.xwrap.server.db import history
from bitmm.xwrap.server.db.errors import DamagedError
from bitmm.xwrap.server.db.registrations import RegistrationStore
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.testing.exchanges.hub import HubVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenError, KrakenVenue
from tests.support.exchanges import change_answers
from tests.support.raw_server import raw_server
from tests.support.sends import allow_sends
from tests.support.stub import Stub

BY_STATUS = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    408: Unavailable,
    421: APIError,
    429: RateLimited,
    500: APIError,
    503: Unavailable,
    504: OutcomeUnknown,
}
#: Where the class is not the status's own.
BY_CODE = {
    "history_missing": OutcomeUnknown,
    "insufficient_funds": InsufficientFunds,
    "cancel_pending": APIError,
    "orders_unfinished": APIError,
    "still_running": APIError,
    "order_archived": APIError,
    "answer_too_big": APIError,
    "bad_answer": APIError,
    "no_answer": Unavailable,
    "not_final": NotFinal,
}
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


class World:
    """A server, the local exchanges behind it, and callers of it."""

    def __init__(self, serving, server, kraken, hub, monkeypatch):
        self.serving, self.server, self.kraken, self.hub, self.monkeypatch = serving, server, kraken, hub, monkeypatch

    def register(self, exchange, username="", key="", secret="", *, server=None, timeout=10, allow_send=True):
        """A backend of a new account."""
        server = server or self.server
        xw, keys = XWrap(server.url, timeout=timeout), (key, secret)
        return xw.create_backend(*server.account(), exchange, username, *keys, allow_send=allow_send)

    def paper(self, **options):
        return self.register("paper", **options)

    def at_kraken(self, key=None, secret=None, **options):
        return self.register("kraken", "", key or self.kraken.key, secret or self.kraken.secret, **options)

    def at_hub(self, **options):
        return self.register("hub", "acct-1", self.hub.key, self.hub.secret, **options)

    def call(self, method, path, *, server=None, **options):
        """Call as no client of ours does, and raise what the answer means to it."""
        server = server or self.server
        options.setdefault("auth", self.server.account())
        answer = requests.request(method, server.url + path, timeout=30, **options)
        assert answer.status_code >= 400, answer.text
        raise error_from_response(answer.status_code, answer.json(), answer.headers.get("Retry-After"))

    def kraken_says(self, error):
        """Let the local Kraken refuse every order with these words."""

        def refuse(_account, _given):
            raise KrakenError(error)

        self.monkeypatch.setattr(self.kraken, "private_AddOrder", refuse, raising=False)

    @contextmanager
    def all_threads_waiting(self, **limits) -> Iterator[tuple]:
        """A server whose threads wait for the stub exchange, and a backend there."""
        self.monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        self.monkeypatch.setattr(Stub, "gate", threading.Event())
        with self.serving(exchanges=("stub",), queue_seconds=0.1, **limits) as server:
            backend = self.register("stub", server=server, timeout=20)
            reader = threading.Thread(target=backend.balance)
            reader.start()
            try:
                assert Stub.waiting.acquire(timeout=30)
                yield backend
            finally:
                Stub.gate.set()
                reader.join()


CASES: dict[str, Callable[[World], object]] = {}


def case(provoke):
    CASES[provoke.__name__] = provoke
    return provoke


# The account and the registration.


@case
def not_authenticated(world):
    name, _ = world.server.account()
    XWrap(world.server.url).list_backends(name, "wrong")


@case
def too_many_tries(world):
    name, _ = world.server.account()
    for _ in range(20):
        try:
            XWrap(world.server.url).list_backends(name, "wrong")
        except AuthenticationError:
            continue


@case
def exchange_key_refused(world):
    world.at_kraken(secret="d3Jvbmc=")


@case
def already_registered(world):
    backend = world.at_kraken()
    xw = XWrap(world.server.url)
    keys = world.kraken.key, world.kraken.secret
    xw.create_backend(backend.username, backend.password, "kraken", "", *keys, allow_send=True)


@case
def other_account(world):
    """A key of another account at Kraken, which tells the account of a key."""
    backend = world.at_kraken()
    key = str(uuid.uuid4())
    world.kraken.add_account(key, world.kraken.secret)
    form, auth = {"apikey": key, "apisecret": world.kraken.secret}, (backend.username, backend.password)
    world.call("PATCH", f"/exchanges/{backend.id}", data=form, auth=auth)


@case
def orders_unfinished(world):
    backend = world.paper()
    backend.buy("USD", "BTC", "0.1", price=1000)
    world.call("DELETE", f"/exchanges/{backend.id}", auth=(backend.username, backend.password))


@case
def key_may_send(world):
    world.at_kraken(allow_send=False)


@case
def out_of_scope(world):
    backend = world.paper()
    login = world.server.credential(backend.username, "read")
    XWrap(world.server.url).backend(backend.id, *login).buy("USD", "BTC", "0.1")


@case
def limit_exceeded(world):
    backend = world.paper()
    xw, auth = XWrap(world.server.url), (backend.username, backend.password)
    made = xw.add_credential(*auth, "bot1", "trade", per_order="10", currency="USD")
    xw.backend(backend.id, made["username"], made["password"]).buy("USD", "BTC", cost="10.01")


@case
def name_taken(world):
    xw, auth = XWrap(world.server.url), world.server.account()
    for _ in range(2):
        xw.add_credential(*auth, "bot1", "read")


@case
def permission_denied(world):
    backend = world.at_kraken()
    world.monkeypatch.setattr(world.kraken.account, "permissions", set())
    backend.balance()


@case
def frozen(world):
    backend = world.paper()
    auth = (backend.username, backend.password)
    requests.post(f"{world.server.url}/freeze", auth=auth, timeout=30).raise_for_status()
    backend.buy("USD", "BTC", "0.01")


@case
def cancel_pending(world):
    backend = world.at_kraken()
    auth = (backend.username, backend.password)
    world.kraken.fault("maintenance", times=9, path="CancelAll")
    requests.post(f"{world.server.url}/freeze", {"cancel_orders": "1"}, auth=auth, timeout=30).raise_for_status()
    world.call("PUT", f"/exchanges/{backend.id}/deadman", data={"seconds": "60"}, auth=auth)


@case
def registration_disabled(world):
    backend = world.paper()
    world.server.sql("UPDATE registrations SET enabled = false WHERE id = :id", id=backend.id)
    backend.buy("USD", "BTC", "0.01")


@case
def exchange_dead(world):
    world.register("vircurex")


@case
def unknown_exchange(world):
    world.register("nowhere")


@case
def exchange_url_missing(world):
    world.register("mtgox", "", "key", "c2VjcmV0").balance()


# The request itself.


def buy_as_no_client_does(world, **form):
    backend = world.paper()
    auth = (backend.username, backend.password)
    world.call("POST", f"/exchanges/{backend.id}/buy", data={"currency": "USD", "asset": "BTC", **form}, auth=auth)


@case
def foreign_origin(world):
    world.call("GET", "/exchanges/", headers={"Origin": "https://elsewhere.example"})


@case
def unknown_host(world):
    world.call("GET", "/exchanges/", headers={"Host": "elsewhere.example"})


@case
def not_found(world):
    XWrap(world.server.url).backend(999999, *world.server.account()).balance()


@case
def method_not_allowed(world):
    world.call("PUT", "/exchanges/")


@case
def malformed_request(world):
    raw_call(world.server, b"GET /health HTTP/1.1\nHost: localhost\n\n")


@case
def request_timeout(world):
    with world.serving(head_seconds=0) as server:
        raw_call(server, b"GET /health HTTP/1.1\r\n")


def raw_call(server, request):
    """Send these bytes, and raise what the answer means to our client."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    raise error_from_response(int(head.split()[1]), json.loads(body))


@case
def too_large(world):
    world.call("POST", "/exchanges/", data={"exchange": "x" * 2**20})


@case
def unsupported_media_type(world):
    world.call("POST", "/exchanges/", json={"exchange": "paper"})


@case
def invalid_request(world):
    buy_as_no_client_does(world, amount="1", colour="blue")


@case
def invalid_amount(world):
    buy_as_no_client_does(world, amount="0")


# Keys.


@case
def no_such_key(world):
    world.paper().order(key="never used")


@case
def key_reused(world):
    backend = world.paper()
    backend.buy("USD", "BTC", "0.01", key="mine")
    backend.buy("USD", "BTC", "0.02", key="mine")


@case
def still_running(world):
    placing, answered = threading.Event(), threading.Event()

    def act(_order):
        placing.set()
        assert answered.wait(30)
        return OrderState("X1", "filled")

    world.monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    world.monkeypatch.setattr(Stub, "act", staticmethod(act))
    with world.serving(exchanges=("stub",)) as server:
        backend = world.register("stub", server=server)
        order = threading.Thread(target=backend.buy, args=("USD", "BTC", "0.01"), kwargs={"key": "mine"})
        order.start()
        try:
            assert placing.wait(30)
            # The client waits for the end of the order until its time is up.
            auth = (backend.username, backend.password)
            world.call("GET", f"/exchanges/{backend.id}/orders/?key=mine", server=server, auth=auth)
        finally:
            answered.set()
            order.join()


@case
def outcome_unknown(world):
    world.kraken.fault("reset_after", path="AddOrder")
    world.at_kraken().buy("EUR", "BTC", "0.01")


@case
def history_missing(world):
    world.monkeypatch.setattr(history, "_CACHE_SECONDS", 0.0)
    with world.serving(exchanges=("hub",), exchange_urls={"hub": world.hub.url}) as server:
        backend = world.at_hub(server=server)
        store = Store(server.database)
        store.history.report_gap(datetime.now(UTC) - timedelta(days=1), "restored from a copy")
        store.close()
        backend.buy("USD", "BTC", "0.01", price=100, key="mine")


# Orders, sends and addresses.


@case
def order_archived(world):
    # A server of its own: soon it notices that so new an order is not in the journal any more.
    with world.serving(exchanges=("paper",)) as server:
        backend = world.paper(server=server)
        order = backend.buy("USD", "BTC", "0.001")
        store = Store(server.database)
        row = store.orders.get(backend.id, order["id"])
        store.archive.remove(store.archive.begin("a file"), [row])
        store.close()
        backend.order(order["id"])


@case
def order_not_found(world):
    world.paper().order(999999)


@case
def order_not_open(world):
    backend = world.at_kraken()
    order = backend.buy("EUR", "BTC", "0.01", price=20000)
    world.kraken.cancel(world.kraken.orders[order["exchange_order_id"]])
    world.kraken.fault("maintenance", times=9, path="QueryOrders")
    backend.cancel(order["id"])


@case
def insufficient_funds(world):
    world.paper().buy("USD", "BTC", 1000)


@case
def amount_min(world):
    world.at_kraken().buy("EUR", "BTC", "0.00000001")


@case
def amount_step(world):
    world.paper().buy("USD", "BTC", "0.000000001")


@case
def cost_min(world):
    world.at_kraken().buy("EUR", "BTC", "0.01", price=1)


@case
def price_step(world):
    world.at_kraken().buy("EUR", "BTC", "0.01", price="20000.123")


@case
def price_required(world):
    world.at_hub().buy("USD", "BTC", "0.01")


@case
def invalid_price(world):
    world.kraken_says("EOrder:Invalid price")
    world.at_kraken().buy("EUR", "BTC", "0.01", price=20000)


@case
def exchange_refused(world):
    world.kraken_says("EOrder:Margin allowance exceeded")
    world.at_kraken().buy("EUR", "BTC", "0.01", price=20000)


@case
def unknown_market(world):
    world.paper().buy("USD", "ETH", 1)


@case
def unknown_asset(world):
    world.at_kraken().deposit_address("NOSUCH")


@case
def network_required(world):
    world.at_kraken().deposit_address("USDT")


@case
def tag_required(world):
    world.at_kraken().get_address("XRP")


@case
def invalid_address(world):
    world.paper().send_to_address("BTC", "0.1", ADDRESS[:-1])


@case
def address_not_registered(world):
    backend = world.at_kraken()
    allow_sends(world.server.database, backend.username, [ADDRESS])
    backend.send_to_address("BTC", "0.1", ADDRESS)


@case
def sends_off(world):
    backend = world.at_kraken()
    world.server.sql("UPDATE registrations SET allow_send = :off WHERE id = :id", off=False, id=backend.id)
    backend.send_to_address("BTC", "0.1", ADDRESS)


@case
def address_not_allowed(world):
    backend = world.at_kraken()
    allow_sends(world.server.database, backend.username, [])
    backend.send_to_address("BTC", "0.1", ADDRESS)


@case
def address_waiting(world):
    backend = world.at_kraken()
    allow_sends(world.server.database, backend.username, [])
    XWrap(world.server.url).add_address(backend.username, backend.password, "BTC", ADDRESS)
    backend.send_to_address("BTC", "0.1", ADDRESS)


@case
def key_required(world):
    backend = world.at_kraken()
    auth, form = (backend.username, backend.password), {"asset": "BTC", "amount": "0.1", "address": ADDRESS}
    world.call("POST", f"/exchanges/{backend.id}/send_to_address", data=form, auth=auth)


@case
def unsupported(world):
    world.paper().deposits()


# The exchange.


@case
def invalid_nonce(world):
    backend = world.at_kraken()
    world.kraken.fault("nonce", times=9, path="/BalanceEx")
    backend.balance()


@case
def quota_exceeded(world):
    with world.serving(registration_quota=1) as server:
        backend = world.paper(server=server)
        XWrap(server.url).create_backend(backend.username, backend.password, "paper", "", "", "")


@case
def rate_limited(world):
    # With a key of its own, for the server does not call with it for a while.
    # The client would come back within the time that it has, if that were long enough.
    world.kraken.add_account("busy", world.kraken.secret)
    backend = world.at_kraken("busy", timeout=9)
    world.kraken.fault("rate_limit", times=9, path="/BalanceEx")
    backend.balance()


@case
def exchange_unavailable(world):
    backend = world.at_kraken()
    world.kraken.fault("maintenance", times=9, path="/BalanceEx")
    backend.balance()


@case
def overview_refused(world):
    with (
        HubVenue() as venue,
        world.serving(exchanges=("hub",), exchange_urls={"hub": venue.url}) as server,
    ):
        elsewhere = {"req_url": "https://elsewhere.example/(function_name)"}
        change_answers(venue, "GET", "/api/overview.js", lambda overview: {**overview, **elsewhere})
        world.at_hub(server=server).balance()


@case
def inexact(_world):
    library = pytest.importorskip("ccxt", reason="ccxt is not installed")
    from bitmm.xwrap.exchanges.ccxt import classes

    loss = {"parse_order_book_bid_ask": library.Exchange.parse_order_book_bid_ask}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classes, "EXACT_OVERRIDES", classes.EXACT_OVERRIDES | loss)
        classes.exchange_class.__wrapped__("ccxt:kraken")


# The server.


@case
def exchange_busy(world):
    with world.all_threads_waiting(exchange_threads=1) as backend:
        backend.buy("USD", "BTC", "0.01")


@case
def server_busy(world):
    with world.all_threads_waiting(outbound_threads=1) as backend:
        backend.buy("USD", "BTC", "0.01")


def list_while_failing(world, error):
    def fail(*_arguments, **_named):
        raise error

    world.monkeypatch.setattr(RegistrationStore, "of_account", fail)
    XWrap(world.server.url).list_backends(*world.server.account())


@case
def server_error(world):
    list_while_failing(world, RuntimeError("a bug"))


@case
def database_unavailable(world):
    list_while_failing(world, OperationalError("SELECT 1", {}, Exception("disk I/O error")))


@case
def database_damaged(world):
    list_while_failing(world, DamagedError("SELECT 1", {}, Exception("database disk image is malformed")))


# Markets.


@case
def book_exhausted(world):
    world.at_kraken().sell("EUR", "BTC", "1000000", dry_run=True)


@case
def not_amended(world):
    backend = world.paper()
    order = backend.buy("USD", "BTC", "0.1", price="20000", post_only=True)
    backend.amend(order["id"], price="900000")


@case
def would_take(world):
    world.paper().buy("USD", "BTC", "0.1", price="900000", post_only=True)


@case
def unknown_interval(world):
    world.paper().candles("USD", "BTC", "7s")


@case
def history_unavailable(world):
    world.at_kraken().candles("EUR", "BTC", "1m", since="2013-11-01T00:00:00Z")


# The client, by itself.


@case
def no_answer(_world):
    XWrap("http://127.0.0.1:1", timeout=1).list_exchanges()


@case
def answer_too_big(_world):
    def answer(connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")

    with raw_server(answer) as server:
        XWrap(server.url, timeout=5).list_exchanges()


@case
def bad_answer(_world):
    with raw_server(lambda connection: connection.answer("<p>Welcome</p>")) as server:
        XWrap(server.url, timeout=5).list_exchanges()


@case
def insecure_url(_world):
    XWrap("http://xwrap.example").list_backends("ann", "correct horse battery")


@case
def invalid_url(_world):
    XWrap("ftp://xwrap.example")


@case
def invalid_argument(world):
    world.paper().order("seven")


@case
def not_final(world):
    backend = world.paper()
    backend.wait(backend.buy("USD", "BTC", "0.01", price=1000), timeout=0.1)


@case
def invalid_key(world):
    world.paper().buy("USD", "BTC", "0.01", key="")


@pytest.fixture(scope="module")
def running(serving):
    with (
        KrakenVenue() as kraken,
        HubVenue() as hub,
        serving(
            exchanges=("paper", "kraken", "hub", "mtgox"),
            exchange_urls={"kraken": kraken.url, "hub": hub.url},
            exchange_limits={"kraken": None, "hub": None},
        ) as server,
    ):
        yield server, kraken, hub


@pytest.fixture
def world(serving, running, monkeypatch):
    server, kraken, hub = running
    yield World(serving, server, kraken, hub, monkeypatch)
    kraken.heal()


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_met_with_its_status_its_class_and_words(world, code):
    with pytest.raises(APIError) as caught:
        CASES[code](world)
    error, status = caught.value, CODES[code].status
    assert error.code == code
    assert str(error)
    if status is not None and code != "inexact":
        # An order that is unknown is answered 202; the usual status is that of a question.
        assert error.status in ({202, 504} if code == "outcome_unknown" else {status})
        assert type(error) is BY_CODE.get(code, BY_STATUS.get(status, InvalidRequest))
    elif code != "inexact":
        assert type(error) is BY_CODE.get(code, InvalidRequest)
    assert error.may_have_executed is isinstance(error, OutcomeUnknown)


def test_there_is_no_case_of_a_code_that_is_gone():
    assert set(CASES) == set(CODES)
