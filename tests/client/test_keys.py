"""A key: what became of it is asked for, and whatever ends an order or a send carries it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap import _http
from bitmm.xwrap.client import APIError, Backend, InvalidRequest, NotFound, OutcomeUnknown, Unavailable
from bitmm.xwrap.transport import Transport
from tests.support.client_servers import in_turn, says, says_with_key
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import Connection, answer_not_found, raw_server
from tests.support.threads import until

RECORDS = {
    "order": {"id": 41, "amount": "0.1", "side": "buy", "status": "filled"},
    "withdrawal": {"id": 9, "asset": "BTC", "amount": "0.1", "address": "tb1q", "status": "pending"},
}
RUNNING = says(
    {"detail": "runs", "code": "still_running", "retryable": True, "may_have_executed": True}, "409 Conflict"
)


@pytest.fixture(params=RECORDS)
def kind(request):
    return request.param


def ask(kind, server, key="my key", **how):
    return getattr(Backend(7, USER, PASSWORD, server.url, **how), kind)(key=key)


@pytest.mark.parametrize("status", [None, "rejected", "unknown"])
def test_what_became_of_a_key_is_asked_and_nothing_is_sent(kind, status):
    record = {**RECORDS[kind], "status": status or RECORDS[kind]["status"]}
    # Of what is unknown our server says so with 202, also when it is only asked.
    answer = says_with_key(record, "202 Accepted" if status == "unknown" else "200 OK")
    with raw_server(Connection.wait, key_lookup=answer) as server:
        assert ask(kind, server) == {**record, "key": "my key", "amount": Decimal("0.1")}
        [request] = server.requests
        assert (request.method, request.path) == ("GET", f"/exchanges/7/{kind}s/?key=my+key")


def test_a_key_with_which_nothing_was_executed_is_not_found(kind):
    answer = says({"detail": "nothing was executed", "code": "no_such_key"}, "404 Not Found")
    with raw_server(Connection.wait, key_lookup=answer) as server:
        with pytest.raises(NotFound, match="nothing was executed") as caught:
            ask(kind, server)
        assert (caught.value.code, caught.value.key) == ("no_such_key", "my key")
        assert len(server.requests) == 1


def test_a_server_that_knows_no_keys_does_not_say_that_nothing_was_executed(kind):
    with raw_server(Connection.wait, key_lookup=answer_not_found) as server:
        with pytest.raises(APIError, match="cannot be asked") as caught:
            ask(kind, server)
        assert (type(caught.value), caught.value.code, caught.value.key) == (APIError, "unsupported", "my key")


def test_a_call_that_still_runs_is_waited_for_and_is_unknown_at_the_end(kind):
    with raw_server(Connection.wait, key_lookup=in_turn(RUNNING, RUNNING, says_with_key(RECORDS[kind]))) as server:
        assert ask(kind, server)["id"] == RECORDS[kind]["id"]
        assert len(server.requests) == 3
    with raw_server(Connection.wait, key_lookup=RUNNING) as server:
        with pytest.raises(OutcomeUnknown, match="runs") as caught:
            ask(kind, server, timeout=0.5)
        assert (caught.value.code, caught.value.key) == ("still_running", "my key")


def test_a_question_that_got_no_answer_carries_its_key(kind):
    with raw_server(Connection.wait, key_lookup=Connection.hang_up) as server:
        with pytest.raises(Unavailable) as caught:
            ask(kind, server, timeout=0.5)
        assert caught.value.key == "my key"


@pytest.mark.parametrize("key", ["", "\u00e4", " a", "x" * 256, 7])
def test_what_is_no_key_is_not_asked_for(kind, key):
    with raw_server(Connection.wait) as server:
        with pytest.raises(InvalidRequest, match="printable ASCII"):
            ask(kind, server, key)
        assert server.connections == 0


def test_an_order_has_an_id_or_a_key():
    backend = Backend(7, USER, PASSWORD)
    with pytest.raises(InvalidRequest, match="not by both"):
        backend.order(41, key="my key")
    with pytest.raises(InvalidRequest, match="whole number"):
        backend.order()
    with pytest.raises(InvalidRequest, match="printable ASCII"):
        backend.withdrawal(key=None)


CALLS = {
    "buy": ("order", lambda backend, **how: backend.buy("USD", "BTC", "0.1", **how)),
    "sell": ("order", lambda backend, **how: backend.sell("USD", "BTC", "0.1", **how)),
    "send": ("withdrawal", lambda backend, **how: backend.send_to_address("BTC", "0.1", "tb1q", **how)),
}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, RecursionError])
@pytest.mark.parametrize("name", CALLS)
def test_what_interrupts_an_order_or_a_send_has_the_key_in_a_note(monkeypatch, name, error):
    """Whatever it is: only an APIError has the key in a field."""
    record, call = CALLS[name]

    def interrupt(*_, **__):
        raise error

    monkeypatch.setattr(Transport, "send", interrupt)
    with pytest.raises(error) as caught:
        call(Backend(7, USER, PASSWORD), key="my key")
    assert caught.value.__notes__ == [
        f"It may have been executed; backend.{record}(key='my key') says what became of it."
    ]
    with pytest.raises(error) as caught:
        call(Backend(7, USER, PASSWORD))
    assert "key='" in caught.value.__notes__[0]


def test_after_an_interrupted_call_a_late_answer_is_not_the_answer_to_the_next_one(monkeypatch):
    interrupted = []
    read = _http.DeadlineReader.readinto

    def interrupt_once(self, buffer):
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return read(self, buffer)

    monkeypatch.setattr(_http.DeadlineReader, "readinto", interrupt_once)
    with raw_server(says_with_key({**RECORDS["order"], "amount": "0.1"})) as server:
        backend = Backend(7, USER, PASSWORD, server.url)
        with pytest.raises(KeyboardInterrupt):
            backend.buy("USD", "BTC", "0.1", key="first")
        assert backend.buy("USD", "BTC", "0.1", key="second")["key"] == "second"
        # The server may still be reading the first one.
        until(lambda: (server.posts, server.connections) == (2, 2))
