"""What the log and the metrics say of calls: enough for an operator, and nothing that a caller could forge."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, AuthenticationError, OutcomeUnknown
from bitmm.xwrap.server.login_failures import LoginFailures
from bitmm.xwrap.server.reconciliation import Reconciler
from tests.stress.harness import EXCHANGE_CASES, open_venue
from tests.support.logged import logged
from tests.support.reconciling import make_due

KRAKEN = EXCHANGE_CASES["kraken"]
README = Path(__file__).parents[2] / "bitmm/xwrap/server/README.md"


class World:
    """A server, an account with a registration at paper and at a local Kraken, and the server's reconciler, which works
    when it is told to.
    """

    def __init__(self, server, venue, reconciler):
        self.server, self.venue, self.reconciler = server, venue, reconciler
        self.auth = server.account("ann")
        self.paper = server.registration(self.auth)
        form = {"apikey": venue.key, "apisecret": venue.secret, **KRAKEN.form}
        self.kraken = server.registration(self.auth, "kraken", **form)

    def backend(self, id):
        return XWrap(self.server.url).backend(id, *self.auth)

    def call(self, method, path, auth=None, headers=None, **form):
        url = self.server.url + path
        return requests.request(method, url, auth=auth or self.auth, data=form, headers=headers, timeout=30)

    def metrics(self):
        """The metrics, by name and labels as they are written."""
        text = requests.get(f"{self.server.url}/metrics", timeout=30).text
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    @contextmanager
    def changes(self):
        """Gives a dict, which has after the block by how much each number changed."""
        changed = {}
        before = self.metrics()
        yield changed
        after = self.metrics()
        changed |= {name: value - before.get(name, 0.0) for name, value in after.items()}


@pytest.fixture(scope="module")
def world(serving):
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reconciler, "start", lambda reconciler: made.append(reconciler))  # noqa: PLW0108 - must be bound
        patch.setattr(Reconciler, "stop", lambda _: None)
        settings = {"exchanges": ("paper", "kraken"), "exchange_seconds": 1.0, "reconcile_grace_seconds": 0.0}
        with (
            open_venue(KRAKEN) as venue,
            serving(exchange_urls={"kraken": venue.url}, exchange_limits={"kraken": None}, **settings) as server,
        ):
            yield World(server, venue, made[0])


def of_operator(log):
    """What is logged at the level that is usual."""
    return [entry for entry in log.entries if entry["level"] != "DEBUG"]


def test_each_call_has_an_id_of_its_own_in_its_answer_its_error_and_its_lines(world):
    with logged() as log:
        answers = [
            world.call("GET", "/account"),
            world.call("GET", "/account", headers={"X-Request-ID": "of the caller"}),
            world.call("GET", "/exchanges/999999999"),
            world.call("GET", "/nothing"),
            world.call("PUT", "/account"),
            world.call("GET", "/health", headers={"Origin": "http://evil.example"}),
            world.call("GET", "/account", auth=("ann", "a wrong password")),
        ]
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == len(answers)
    assert all(re.fullmatch("[0-9a-f]{12}", id) for id in ids)
    for answer, id in list(zip(answers, ids, strict=True))[2:]:
        assert answer.status_code >= 400
        assert answer.json()["request_id"] == id
    [read] = log.of(request_id=ids[0])
    assert (read["level"], read["message"]) == ("DEBUG", "GET /account is answered")
    assert (read["account"], read["http_status"]) == ("ann", 200)
    [refused] = log.of(request_id=ids[2])
    assert (refused["code"], refused["http_status"]) == ("not_found", 404)


def test_an_error_of_the_client_has_the_id_under_which_the_log_has_the_call(world):
    with logged() as log, pytest.raises(APIError) as caught:
        world.backend(world.paper).order(999_999_999)
    [line] = log.of(request_id=caught.value.request_id)
    assert line["code"] == caught.value.code == "order_not_found"


def test_an_order_is_one_line_with_all_that_an_operator_asks_for(world):
    with logged() as log, world.changes() as changed:
        order = world.backend(world.kraken).buy("EUR", "BTC", "0.01", key="one line")
    [line] = of_operator(log)
    expected = {
        "level": "INFO",
        "message": f"order {order['id']} is filled",
        "account": "ann",
        "registration": world.kraken,
        "exchange": "kraken",
        "key": "one line",
        "side": "buy",
        "pair": "BTC/EUR",
        "amount": "0.01",
        "order": order["id"],
        "status": "filled",
        "exchange_order_id": order["exchange_order_id"],
    }
    assert expected.items() <= line.items()
    assert 0 < line["exchange_ms"] <= line["ms"]
    assert changed['xwrap_orders_total{exchange="kraken",journal="orders",outcome="filled"}'] == 1
    assert changed['xwrap_exchange_seconds_count{exchange="kraken",outcome="answered",purpose="order"}'] >= 2
    assert changed['xwrap_queue_seconds_count{exchange="kraken"}'] >= 2
    assert changed['xwrap_call_seconds_count{method="POST",path="/exchanges/{id}/buy"}'] == 1


def test_what_is_refused_canceled_amended_sent_or_checked_is_one_line_each(world):
    backend = world.backend(world.paper)
    order = backend.buy("USD", "BTC", "0.01", price="1000", key="open")
    with logged() as log:
        amended = backend.amend(order["id"], price="1001", key="amended")
        backend.cancel(amended["id"])
        backend.cancel_all()
        backend.send_to_address("BTC", "0.01", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", key="sent")
        backend.buy("USD", "BTC", "0.01", dry_run=True)
        for amount, price in (("0.01", None), ("1000000", "1")):
            with suppress(APIError):
                backend.buy("USD", "XXX" if price is None else "BTC", amount, price=price, key=f"refused {amount}")
        backend.disable()
        with suppress(APIError):
            backend.sell("USD", "BTC", "0.02", key="disabled")
        backend.enable()
    shown = [(line["message"], line.get("status"), line.get("code")) for line in of_operator(log)]
    id = amended["id"]
    assert shown[:5] == [
        (f"order {id} is open", "open", None),
        (f"after its cancel order {id} is canceled", "canceled", None),
        ("all open orders were canceled", None, None),
        ("send 1 is done", "done", None),
        ("POST /exchanges/{id}/buy is answered", None, None),
    ]
    assert shown[-3:] == [
        ("PATCH /exchanges/{id} is answered", None, None),
        ("POST /exchanges/{id}/sell is answered", None, "registration_disabled"),
        ("PATCH /exchanges/{id} is answered", None, None),
    ]
    assert [code for _, _, code in shown[5:-3]] == ["unknown_market", "insufficient_funds"]
    refused = of_operator(log)[-2]
    assert (refused["key"], refused["side"], refused["pair"], refused["amount"]) == (
        "disabled",
        "sell",
        "BTC/USD",
        "0.02",
    )


def test_orders_of_one_call_are_a_line_each(world):
    orders = [
        {"side": "buy", "currency": "USD", "asset": "BTC", "amount": f"0.0{n}", "key": f"b{n}"} for n in (1, 2, 3)
    ]
    with logged() as log:
        world.backend(world.paper).place_many(orders)
    lines = of_operator(log)
    assert [(line["key"], line["amount"], line["status"]) for line in lines] == [
        (f"b{n}", f"0.0{n}", "filled") for n in (1, 2, 3)
    ]
    assert len({line["request_id"] for line in lines}) == 1


def test_who_has_no_login_cannot_fill_the_log(world):
    with logged() as log:
        for auth in (("ann", "a wrong password"), ("eve\nINFO forged", "x" * 20)):
            assert world.call("POST", f"/exchanges/{world.paper}/buy", auth=auth).status_code == 401
        assert world.call("POST", "/nothing", auth=("eve", "nothing")).status_code == 404
    assert of_operator(log) == []
    assert "eve" not in "".join(log.lines)


def test_failed_logins_are_summed_up(serving, monkeypatch):
    written = []
    monkeypatch.setattr(LoginFailures, "start", lambda failures: written.append(failures))  # noqa: PLW0108 - bound
    with serving() as server, logged() as log:
        server.account("bob")
        for name in ("bob", "bob", "nobody's name"):
            with pytest.raises(AuthenticationError):
                XWrap(server.url).list_backends(name, "a wrong password")
        written[0].write()
        text = requests.get(f"{server.url}/metrics", timeout=30).text
    lines = [entry for entry in log.entries if entry["message"] == "logins failed"]
    assert [(line["subject"], line["address"], line["tries"]) for line in lines] == [
        ("account bob", "127.0.0.1", 2),
        ("unknown user", "127.0.0.1", 1),
    ]
    assert "xwrap_login_failures_total 3.0" in text.splitlines()
    assert "nobody's name" not in "".join(log.lines)


def test_a_refused_order_is_answered_with_the_same_bytes_and_another_id_each_time(world):
    form = {"currency": "EUR", "asset": "BTC", "amount": "0.00000001"}
    path, key = f"/exchanges/{world.kraken}/buy", {"Idempotency-Key": "too small"}
    first, second = (world.call("POST", path, headers=key, **form) for _ in range(2))
    assert (first.status_code, first.json()["code"]) == (422, "amount_min")
    assert first.content == second.content
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


def test_an_order_whose_answer_is_lost_is_in_the_log_from_its_intent_to_its_outcome(world):
    backend, venue = world.backend(world.kraken), world.venue
    with logged() as log, world.changes() as changed:
        venue.fault("executed_but_timeout", path=KRAKEN.executing_requests["buy"], seconds=30)
        with pytest.raises(OutcomeUnknown) as caught:
            backend.buy("EUR", "BTC", "0.01", key="lost")
        venue.heal()
        unknown = world.metrics()
        make_due(world.reconciler)
        world.reconciler.reconcile("kraken")
    found = backend.order(key="lost")
    name = f"order {found['id']}"
    story = [
        ("DEBUG", f"{name} is committed, and was not sent yet"),
        ("DEBUG", "AddOrder goes to kraken"),
        ("DEBUG", "AddOrder at kraken: unknown"),
        ("WARNING", "outcome unknown: no answer from Kraken, the outcome is unknown"),
        ("WARNING", f"{name} may have been executed: its outcome is unknown"),
        ("DEBUG", "POST /exchanges/{id}/buy is answered"),
        ("DEBUG", "the exchange is asked what became of unknown orders"),
        ("WARNING", f"kraken says what became of {name}: filled"),
    ]
    left = iter(log.entries)
    lines = [
        next(line for line in left if line["level"] == level and line["message"].startswith(sentence))
        for level, sentence in story
    ]
    of_call, reconciled = lines[:6], lines[-1]
    assert {line["request_id"] for line in of_call} == {caught.value.request_id}
    assert {line["key"] for line in of_call} == {reconciled["key"]} == {"lost"}
    assert (lines[4]["status"], reconciled["status"], reconciled["registration"]) == ("unknown", "filled", world.kraken)
    assert reconciled["unknown_seconds"] > 0
    assert of_operator(log) == [lines[3], lines[4], reconciled]
    at_kraken = 'exchange="kraken",journal="orders"'
    assert unknown[f"xwrap_unknown{{{at_kraken}}}"] == 1
    assert unknown[f"xwrap_unknown_oldest_seconds{{{at_kraken}}}"] > 0
    assert changed[f'xwrap_orders_total{{{at_kraken},outcome="unknown"}}'] == 1
    assert changed['xwrap_exchange_seconds_count{exchange="kraken",outcome="unknown",purpose="order"}'] == 1
    assert changed['xwrap_exchange_seconds_count{exchange="kraken",outcome="answered",purpose="reconcile"}'] >= 1
    assert changed[f'xwrap_reconciled_total{{{at_kraken},outcome="filled"}}'] == 1
    assert changed[f"xwrap_unknown{{{at_kraken}}}"] == 0
    assert changed[f"xwrap_unknown_oldest_seconds{{{at_kraken}}}"] == 0
    print(*log.lines, sep="\n")  # `pytest -s` shows the transcript that the server's README has


def test_no_secret_is_in_any_line(world):
    with logged() as log:
        world.backend(world.kraken).balance()
        world.backend(world.kraken).buy("EUR", "BTC", "0.01")
        with suppress(APIError):
            world.backend(999_999_999).balance()
    text = "\n".join(log.lines)
    assert log.lines
    assert not [secret for secret in (world.auth[1], world.venue.key, world.venue.secret) if secret in text]


def test_labels_are_names_of_ours(world):
    """So there are only so many of them: no account, key, pair or id of a call is one."""
    world.backend(world.kraken).exchange_rate("EUR", "BTC")
    names = {label for name in world.metrics() for label in re.findall(r'(\w+)="', name)}
    assert names == {
        *("method", "path", "status", "le", "journal", "exchange", "outcome", "purpose"),
        *("pool", "work", "part"),
    }


def test_the_parts_of_the_server_show_what_they_did(world):
    numbers = world.metrics()
    assert numbers['xwrap_threads{pool="outbound"}'] == 256
    assert numbers['xwrap_threads_busy{pool="outbound"}'] == 0
    assert numbers['xwrap_rounds_total{part="look",work="deadman"}'] >= 1
    assert numbers['xwrap_round_failures_total{part="look",work="deadman"}'] == 0
    assert numbers['xwrap_round_seconds{part="kraken",work="follower"}'] >= 0
    assert numbers["xwrap_database_errors_total"] == 0


def test_the_documents_name_each_metric(world):
    text = requests.get(f"{world.server.url}/metrics", timeout=30).text
    families = set(re.findall(r"^# TYPE (xwrap_\w+) (?:counter|gauge|histogram)$", text, re.MULTILINE))
    section = README.read_text(encoding="utf-8").partition("## Metrics")[2]
    table = "\n".join(line for line in section.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`(xwrap_\w+)`", table))
    # Only a server that logs to standard error has the first, and only one with several workers the others.
    elsewhere = {"xwrap_log_lines_dropped_total", "xwrap_workers", "xwrap_worker_deaths_total"}
    assert named - elsewhere == {name for name in families if not name.endswith("_created")}
