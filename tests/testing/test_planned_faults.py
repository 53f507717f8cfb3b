"""What a test of a bot can let go wrong, and what the real client, over real HTTP, makes of it."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.codes import CODES
from bitmm.xwrap.errors import InsufficientFunds, InvalidRequest, NotFound, OutcomeUnknown, RateLimited, Unavailable
from bitmm.xwrap.testing.calls import CALLS, EXCHANGE_CALLS, calls_of
from bitmm.xwrap.testing.exchanges.messages import Request
from bitmm.xwrap.testing.faults import REFUSALS

pytest_plugins = ["bitmm.xwrap.testing.plugin"]

#: An address of another wallet, on the test network.
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


def buy(backend, **more):
    return backend.buy("USD", "BTC", "0.1", **more)


def test_an_order_whose_answer_is_lost_is_recovered_and_executed_once(backend, faults):
    faults.lose_answer("buy")
    assert buy(backend)["status"] == "filled"
    assert backend.balance()["BTC"] == Decimal("1.1")
    assert len(backend.orders()) == 1


def test_an_order_whose_outcome_cannot_be_looked_up_raises_and_is_found_by_its_key(backend, faults):
    faults.lose_answer("buy", recover=False)
    with pytest.raises(OutcomeUnknown) as caught:
        buy(backend)
    assert backend.order(key=caught.value.key)["status"] == "filled"
    assert backend.balance()["BTC"] == Decimal("1.1")


def test_a_send_whose_answer_is_lost_is_recovered(backend, faults):
    faults.lose_answer("send_to_address", recover=False)
    with pytest.raises(OutcomeUnknown) as caught:
        backend.send_to_address("BTC", "0.1", ADDRESS)
    assert backend.withdrawal(key=caught.value.key)["status"] == "done"


def test_a_read_whose_answer_is_lost_is_repeated(backend, faults):
    faults.lose_answer("balance")
    assert backend.balance()["BTC"] == 1


def test_a_cancel_whose_answer_is_lost_was_done(backend, faults):
    order = buy(backend, price="90000")
    faults.lose_answer("cancel")
    with pytest.raises(OutcomeUnknown):
        backend.cancel(order["id"])
    assert backend.order(order["id"])["status"] == "canceled"


def test_a_fault_is_for_the_next_calls_of_its_name_alone(backend, faults):
    faults.lose_answer("cancel_all", times=2)
    buy(backend)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            backend.cancel_all()
    assert backend.cancel_all() == 0


def test_orders_that_are_placed_together_meet_faults_too(backend, faults):
    faults.lose_answer("buy_many")
    faults.refuse("buy", code="insufficient_funds")
    refused, filled = backend.buy_many([{"currency": "USD", "asset": "BTC", "amount": "0.1"}] * 2)
    assert isinstance(refused, InsufficientFunds)
    assert filled["status"] == "filled"


def test_the_exchange_refuses_with_the_code_of_the_test(backend, faults):
    faults.refuse("buy", code="insufficient_funds", reason="no money today")
    with pytest.raises(InsufficientFunds, match="no money today"):
        buy(backend)
    assert backend.orders()[0]["status"] == "rejected"
    assert backend.balance() == {"USD": Decimal(200_000), "BTC": Decimal(1)}


@pytest.mark.parametrize("code", REFUSALS)
def test_every_code_of_a_refusal_comes_through_with_its_status(backend, faults, code):
    assert CODES[code].status is not None
    faults.refuse("sell", code=code)
    with pytest.raises((InvalidRequest, Unavailable, NotFound, Exception)) as caught:
        backend.sell("USD", "BTC", "0.1")
    assert (caught.value.code, caught.value.status) == (code, CODES[code].status)
    assert caught.value.retryable == REFUSALS[code]
    assert not caught.value.may_have_executed


@pytest.mark.parametrize("call", EXCHANGE_CALLS)
def test_the_exchange_can_refuse_each_of_these_calls(xwrap_server, backend, faults, call):
    order = buy(backend, price="90000")
    other = xwrap_server.create_backend("paper")
    calls = {
        "buy": lambda: buy(backend),
        "sell": lambda: backend.sell("USD", "BTC", "0.1"),
        "send_to_address": lambda: backend.send_to_address("BTC", "0.1", ADDRESS),
        "transfer": lambda: backend.transfer(other, "0.1"),
        "cancel": lambda: backend.cancel(order["id"]),
        "cancel_all": backend.cancel_all,
        "balance": backend.balance,
        "funds": backend.funds,
        "exchange_rate": lambda: backend.exchange_rate("USD", "BTC"),
    }
    faults.refuse(call, reason="not now")
    with pytest.raises(InvalidRequest, match="not now"):
        calls[call]()
    calls[call]()


def test_a_rate_limit_says_when_to_come_back(backend, faults):
    faults.rate_limit("buy", retry_after=7)
    with pytest.raises(RateLimited) as caught:
        buy(backend)
    assert (caught.value.retry_after, caught.value.may_have_executed) == (7, False)
    assert buy(backend)["status"] == "filled"


@pytest.mark.parametrize("executed", [True, False])
def test_an_unknown_outcome_stays_unknown_until_it_is_resolved(backend, faults, monkeypatch, executed):
    asked, is_hidden = threading.Semaphore(0), faults.is_hidden
    monkeypatch.setattr(faults, "is_hidden", lambda id: asked.release() or is_hidden(id))
    faults.unknown("buy", executed=executed)
    with pytest.raises(OutcomeUnknown) as caught:
        buy(backend)
    key = caught.value.key
    with pytest.raises(OutcomeUnknown):
        buy(backend, key=key)
    # The server's reconciler asks, and asks again.
    assert asked.acquire(timeout=20)
    assert asked.acquire(timeout=20)
    assert backend.order(key=key)["status"] == "unknown"
    faults.resolve()
    if executed:
        assert backend.order(key=key)["status"] == "filled"
    else:
        with pytest.raises(NotFound) as nothing:
            backend.order(key=key)
        assert nothing.value.code == "no_such_key"
    # The same key is executed now, or was.
    assert buy(backend, key=key)["status"] == "filled"
    assert backend.balance()["BTC"] == Decimal("1.1")


def test_a_send_can_stay_unknown_too(backend, faults):
    faults.unknown("send_to_address")
    with pytest.raises(OutcomeUnknown) as caught:
        backend.send_to_address("BTC", "0.1", ADDRESS)
    assert backend.withdrawal(key=caught.value.key)["status"] == "unknown"
    faults.resolve()
    assert backend.withdrawal(key=caught.value.key)["status"] == "done"


def test_what_is_unknown_ends_the_waiting_when_it_is_not_resolved_in_time(backend, faults, monkeypatch):
    faults.unknown("buy")
    with pytest.raises(OutcomeUnknown):
        buy(backend)
    monkeypatch.setattr(faults, "is_hidden", lambda _id: True)
    with pytest.raises(TimeoutError, match="unknown still"):
        faults.resolve(timeout=0.2)


def test_a_slow_answer_comes_late(xwrap_server, backend, faults):
    faults.slow("buy", seconds=30)
    impatient = Backend(backend.id, xwrap_server.username, xwrap_server.password, xwrap_server.url, timeout=1)
    # Its client gives the answer up, and looks up what became of the order.
    assert buy(impatient)["status"] == "filled"


def test_a_slow_answer_is_the_true_one(backend, faults):
    faults.slow("balance", seconds=0.3)
    began = time.monotonic()
    assert backend.balance()["BTC"] == 1
    assert time.monotonic() - began >= 0.3


def test_a_server_that_is_down_is_not_reached_and_nothing_was_executed(backend, faults):
    faults.down()
    for call in (lambda: buy(backend), backend.cancel_all):
        with pytest.raises(Unavailable):
            call()
    faults.up()
    assert backend.balance()["BTC"] == 1


def test_a_server_that_is_down_in_a_block_is_up_after_it_and_twice_is_no_error(backend, faults):
    with faults.down():
        faults.down()
        with pytest.raises(Unavailable):
            buy(backend)
    faults.up()
    assert buy(backend)["status"] == "filled"


def test_a_server_that_is_down_for_a_while_comes_back_by_itself(backend, faults):
    faults.down(seconds=0.2)
    while True:
        try:
            assert buy(backend)["status"] == "filled"
            break
        except Unavailable:
            time.sleep(0.02)
    assert backend.balance()["BTC"] == Decimal("1.1")


def test_a_server_that_starts_anew_in_the_middle_of_an_order_executes_it_once(backend, faults, paper):
    faults.restart("buy")
    assert buy(backend)["status"] == "filled"
    assert backend.balance()["BTC"] == Decimal("1.1")
    paper.price(90_000)
    assert backend.buy("USD", "BTC", 1)["spent"] == 90_000


def test_who_follows_is_not_told_that_the_server_was_away(backend, faults, paper):
    changes = backend.follow(timeout=30)
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(next(changes)))
    waiting.start()
    faults.restart("buy")
    order = buy(backend)
    waiting.join(30)
    assert seen[0]["id"] == order["id"]


def test_a_fault_meets_a_credential_of_the_account(xwrap_server, backend, faults):
    made = xwrap_server.xwrap.add_credential(xwrap_server.username, xwrap_server.password, "bot1", "trade")
    bot = XWrap(xwrap_server.url).backend(backend.id, made["username"], made["password"])
    faults.lose_answer("buy", recover=False)
    with pytest.raises(OutcomeUnknown):
        buy(bot)


def test_what_is_no_login_goes_to_the_server_as_it_is(xwrap_server, faults):
    faults.lose_answer("list_backends", optional=True)
    answer = requests.get(f"{xwrap_server.url}/exchanges/", headers={"Authorization": "Basic !"}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (lambda faults: faults.lose_answer("by"), "'by' is no call; did you mean 'buy'?"),
        (lambda faults: faults.lose_answer("balance", recover=False), "'balance' is no call whose outcome the client"),
        (lambda faults: faults.slow("buy", seconds=0), "seconds is 0; it must be above 0"),
        (lambda faults: faults.refuse("candles"), "'candles' is no call at which the paper exchange can fail"),
        (lambda faults: faults.refuse("buy", code="insufficient_fund"), "did you mean 'insufficient_funds'?"),
        (lambda faults: faults.unknown("cancel"), "'cancel' is no call whose outcome the server can leave unknown"),
        (lambda faults: faults.restart("buy", times=0), "times is 0; it must be at least 1"),
    ],
)
def test_a_fault_that_there_is_not_is_refused(faults, plan, words):
    with pytest.raises(ValueError) as caught:
        plan(faults)
    assert words in str(caught.value)
    assert faults.unused() == []


def test_every_call_of_the_client_has_its_name_and_no_other_has_one():
    public = {name for kind in (XWrap, Backend) for name in dir(kind) if not name.startswith("_")}
    calls = {name for name in public if callable(getattr(XWrap, name, None) or getattr(Backend, name))}
    # The first makes no request, and the second makes those of `order` and `follow`.
    assert set(CALLS) == calls - {"close", "wait"}


def test_every_request_of_the_client_is_a_call_that_has_a_name(xwrap_server, backend, request):
    """Each public call of a Backend that reads, and what the front saw of it."""
    front = request.getfixturevalue("_xwrap_shared").front
    reads = {
        "balance": (),
        "funds": (),
        "orders": (),
        "withdrawals": (),
        "markets": (),
        "exchange_rate": ("USD", "BTC"),
        "order_book": ("USD", "BTC"),
        "ticker": ("USD", "BTC"),
        "candles": ("USD", "BTC", "1m"),
        "fees": ("USD", "BTC"),
        "fills": ("USD", "BTC"),
        "permissions": (),
        "deposit_address": (),
        "get_address": (),
    }
    for name, arguments in reads.items():
        front.requests.clear()
        getattr(backend, name)(*arguments)
        assert name in calls_of(front.requests[0]), name


@pytest.mark.parametrize(
    ("method", "target", "names"),
    [
        ("GET", "/exchanges/1/orders/?status=open", {"orders", "all_orders", "iter_orders"}),
        ("GET", "/exchanges/1/orders/?key=a", {"order"}),
        ("GET", "/exchanges/1/orders/?after=0&wait=30", {"follow"}),
        ("GET", "/exchanges/1/orders/12", {"order"}),
        ("POST", "/exchanges/1/orders/12", {"amend"}),
        ("DELETE", "/exchanges/1/orders/12", {"cancel"}),
        ("DELETE", "/exchanges/1/orders/", {"cancel_all"}),
        ("POST", "/exchanges/1/orders/", {"place_many", "buy_many", "sell_many"}),
        ("PUT", "/exchanges/1/deadman", {"deadman"}),
        ("GET", "/exchange_rates/?from=USD&to=BTC", {"exchange_rates"}),
        ("GET", "/health", set()),
    ],
)
def test_a_request_is_known_by_its_method_its_path_and_its_query(method, target, names):
    path, _, query = target.partition("?")
    assert calls_of(Request(method, path, query, {}, b"")) == names
