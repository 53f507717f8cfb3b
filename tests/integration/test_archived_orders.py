"""`xwrap archive` beside a running server: what was archived is never executed again, and its callers are told so."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
import requests
from typer.testing import CliRunner

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.cli import app
from bitmm.xwrap.client import APIError, OutcomeUnknown, XWrap
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.state_file import KEPT_INTENTS, IntentRef
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.databases import CLIENT_IDS, ORDER, add_registration

DAY = 86_400


class Caller:
    """Somebody with a registration at a local Kraken, and the administrator of his server."""

    def __init__(self, venue, serve, folder):
        self.venue, self.folder, self.serve = venue, folder, serve
        self._running = ExitStack()
        self.server = self._running.enter_context(serve(None))
        self.auth = self.server.account()
        self._id = self.server.registration(self.auth, "kraken", apikey=venue.key, apisecret=venue.secret)
        self._connect()

    def _connect(self):
        self.backend = XWrap(self.server.url).backend(self._id, *self.auth)
        self.url = f"{self.server.url}/exchanges/{self._id}"

    def let_time_pass(self):
        """Make all orders old, place as many newer ones as stay in any case, and let another server go on."""
        self.stop()
        data, then = self.server.data, now(400 * DAY)
        self.server.sql("UPDATE orders SET created = :t, updated = :t", t=then)
        state = json.loads(self.state_file().read_text())
        state["intents"] = [[name, id, then, digest] for name, id, _created, digest in state["intents"]]
        self.state_file().write_text(json.dumps(state).ljust(4095) + "\n")
        store = Store(self.server.database)
        other = add_registration(store, "other")
        for number in range(KEPT_INTENTS):
            store.orders.finish(
                store.orders.begin(other, f"{number}", "f", ORDER, CLIENT_IDS).row, {"status": "filled"}
            )
        store.close()
        self.server = self._running.enter_context(self.serve(data))
        self._connect()

    def state_file(self):
        [file] = self.server.data.glob("*.state")
        return file

    def stop(self):
        self._running.close()

    def xwrap(self, *args, exit_code=0):
        url = self.server.database if isinstance(self.server.database, str) else ""
        result = CliRunner().invoke(app, ["archive", *map(str, args)], env={"XWRAP_DATABASE_URL": url})
        assert result.exit_code == exit_code, result.output
        return result.output

    def archive(self, *more, days="365d"):
        return self.xwrap("--older-than", days, "--to", self.folder, "--data", self.server.data, *more)


@pytest.fixture
def caller(serving, tmp_path):
    with KrakenVenue() as venue:
        settings = {
            "exchanges": ("kraken", "paper"),
            "exchange_urls": {"kraken": venue.url},
            "exchange_limits": {"kraken": None},
            "exchange_seconds": 5.0,
        }
        caller = Caller(venue, lambda data: serving(data, **settings), tmp_path / "archive")
        try:
            yield caller
        finally:
            caller.stop()


def refused(call):
    with pytest.raises(APIError) as caught:
        call()
    error = caught.value
    assert (error.status, error.code, error.retryable) == (410, "order_archived", False)
    assert not isinstance(error, OutcomeUnknown)
    return error


def test_an_archived_key_executes_nothing_and_says_what_became_of_its_order(caller):
    order = caller.backend.buy("EUR", "BTC", "0.01", key="mine")
    resting = caller.backend.buy("EUR", "BTC", "0.01", price=100, key="resting")
    caller.let_time_pass()
    backend = caller.backend
    assert "1 orders would be archived" in caller.archive("--dry-run")
    assert backend.order(key="mine")["id"] == order["id"]
    assert caller.archive().startswith("1 orders were moved to")
    ledger = caller.venue.ledger()
    for call in (
        lambda: backend.buy("EUR", "BTC", "0.01", key="mine"),
        lambda: backend.sell("EUR", "BTC", "0.5", price=9, key="mine"),
        lambda: backend.amend(resting["id"], price=101, key="mine"),
        lambda: backend.order(key="mine"),
    ):
        error = refused(call)
        assert (error.may_have_executed, error.key) == (True, "mine")
        assert str(error).startswith(f"order {order['id']} was placed at ")
        assert "is filled, and was moved to an archive" in str(error)
    for call in (lambda: backend.order(order["id"]), lambda: backend.cancel(order["id"])):
        assert refused(call).may_have_executed is False
    assert caller.venue.ledger() == ledger
    assert [row["id"] for row in backend.orders()] == [resting["id"]]
    assert backend.cancel(resting["id"])["status"] == "canceled"
    [kept] = map(json.loads, caller.xwrap("show", caller.folder).splitlines())
    assert (kept["key"], kept["id"], kept["filled"]) == ("mine", str(order["id"]), "0.01000000")
    assert caller.xwrap("verify", caller.folder) == "1 archives with 1 orders are as they were written\n"


def test_of_many_orders_the_archived_one_is_refused_and_the_others_are_placed(caller):
    caller.backend.buy("EUR", "BTC", "0.01", key="mine")
    caller.let_time_pass()
    caller.archive()
    before = len(caller.venue.ledger())
    order = {"side": "buy", "currency": "EUR", "asset": "BTC", "amount": "0.01"}
    orders = [{**order, "key": key} for key in ("mine", "new")]
    answer = requests.post(f"{caller.url}/orders/", json={"orders": orders}, auth=caller.auth, timeout=30)
    assert [row["status"] for row in answer.json()] == [410, 200]
    assert answer.json()[0]["body"]["code"] == "order_archived"
    assert len(caller.venue.ledger()) == before + 1


def test_the_same_key_of_another_registration_and_of_a_send_is_a_new_one(caller):
    caller.backend.buy("EUR", "BTC", "0.01", key="mine")
    caller.let_time_pass()
    caller.archive()
    paper = XWrap(caller.server.url).backend(caller.server.registration(caller.auth), *caller.auth)
    assert paper.buy("USD", "BTC", "0.001", key="mine")["status"] == "filled"
    with pytest.raises(APIError) as caught:
        caller.backend.withdrawal(key="mine")
    assert caught.value.code == "no_such_key"


def test_neither_a_runningserver_nor_the_next_one_takes_archived_orders_for_lost(caller):
    caller.backend.buy("EUR", "BTC", "0.01", key="mine")
    caller.let_time_pass()
    caller.archive()
    store = Store(caller.server.database)
    state = json.loads(caller.state_file().read_text())
    assert ["orders", 1] in [intent[:2] for intent in state["intents"]]
    assert store.history.missing([IntentRef(*intent) for intent in state["intents"]]) == []
    store.close()
    caller.stop()
    with caller.serve(caller.server.data) as server:
        assert requests.get(f"{server.url}/ready", timeout=30).json().get("history_missing_since") is None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--older-than", "29d", "--to", "x"], "orders stay in the data base for 30 days at least: --older-than 30d"),
        (["--older-than", "1y", "--to", "x"], "--older-than is '1y'; it takes days, as 400d"),
        (["--older-than", "400d"], "say both --older-than DAYS and --to DIR, or --dry-run"),
        (["--to", "x"], "say both --older-than DAYS and --to DIR, or --dry-run"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(caller, args, words):
    assert caller.xwrap(*args, "--data", caller.server.data, exit_code=2) == f"xwrap: {words}\n"


def test_what_is_no_folder_of_archives_is_refused_in_one_line(caller, tmp_path):
    assert caller.xwrap("show", tmp_path / "none", exit_code=1) == f"xwrap: {tmp_path / 'none'} is no folder\n"
    file = tmp_path / "file"
    file.write_text("")
    words = caller.xwrap("--older-than", "400d", "--to", file, "--data", caller.server.data, exit_code=1)
    assert words == f"xwrap: {file} is a file; name a folder\n"
