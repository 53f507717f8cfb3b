"""The client used as Python people use a library, against the real server and paper: threads, asyncio, JSON, copies."""

from __future__ import annotations

import asyncio
import copy
import doctest
import json
import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap import client, errors
from bitmm.xwrap.client import APIError, Backend, InsufficientFunds, Order, OutcomeUnknown, XWrap


@pytest.fixture(scope="module")
def ann(serving):
    """A server with the account of the documents, and her Backend on paper."""
    with serving() as server, XWrap(server.url) as xwrap:
        server.account("ann", "her password")
        yield xwrap.create_backend("ann", "her password", "paper", "", "", "")


@pytest.fixture
def backend(server):
    with XWrap(server.url) as xwrap:
        yield xwrap.create_backend(*server.account(), "paper", "", "", "")


def test_the_examples_in_docstrings_give_what_they_say(ann, monkeypatch):
    monkeypatch.setenv("XWRAP_URL", ann._api.url)
    failed, tried = doctest.testmod(client, raise_on_error=True)
    assert (failed, tried > 5) == (0, True)


def test_wait_returns_an_order_as_soon_as_another_caller_ends_it(backend):
    order = backend.buy("USD", "BTC", "0.1", price="20000")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(backend.wait, order, timeout=30)
        assert backend.cancel(order["id"])["status"] == "canceled"
        assert waiting.result(30) == backend.order(order["id"])


def test_what_was_bought_is_returned_by_wait_at_once(backend):
    order = backend.buy("USD", "BTC", "0.1")
    assert backend.wait(order["id"]) == backend.wait(order, 1) == order


@pytest.mark.parametrize(("name", "arguments"), [("orders", ()), ("withdrawals", ()), ("fills", ("USD", "BTC"))])
def test_an_iterator_has_two_names(backend, name, arguments):
    backend.buy("USD", "BTC", "0.1")
    assert backend.send_to_address("BTC", "0.01", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx")
    one, other = (list(getattr(backend, f"{begin}_{name}")(*arguments)) for begin in ("all", "iter"))
    assert one == other
    assert len(one) == 1


def test_200_calls_at_once_by_asyncio_to_thread_are_all_answered(backend):
    expected = backend.balance()

    async def read_all():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(200))
        return await asyncio.gather(*(asyncio.to_thread(backend.balance) for _ in range(200)))

    assert asyncio.run(read_all(), debug=True) == [expected] * 200


def test_orders_by_asyncio_to_thread_are_each_placed_once(backend):
    async def buy_all():
        return await asyncio.gather(
            *(asyncio.to_thread(backend.buy, "USD", "BTC", "0.001", key=f"k{number}") for number in range(40))
        )

    orders = asyncio.run(buy_all())
    assert [order["key"] for order in orders] == [f"k{number}" for number in range(40)]
    assert sorted(order["id"] for order in orders) == sorted(order["id"] for order in backend.all_orders())


def test_an_order_as_json_keeps_every_digit(backend):
    order = backend.buy("USD", "BTC", cost="100.01")
    read = json.loads(json.dumps(order, default=str))
    assert read.keys() == order.keys()
    for name, value in order.items():
        assert (Decimal(read[name]) if isinstance(value, Decimal) else read[name]) == value
        assert str(read[name]) == str(value)


def in_another_process(backend: Backend, order: Order, error: APIError) -> tuple[XWrap, Order, APIError]:
    return XWrap(backend._api.url), backend.buy("USD", "BTC", order["amount"], key=order["key"]), error


def test_a_process_of_its_own_takes_and_returns_backends_orders_and_errors(backend):
    order = backend.buy("USD", "BTC", "0.1")
    with pytest.raises(InsufficientFunds) as caught:
        backend.buy("USD", "BTC", 10**6, key="too-much")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        xwrap, again, error = pool.apply(in_another_process, (backend, order, caught.value))
    assert again == order
    assert xwrap.list_exchanges()
    assert (type(error), str(error), vars(error)) == (InsufficientFunds, str(caught.value), vars(caught.value))
    assert error.key == "too-much"
    xwrap.close()


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_is_copied_whole(kind, duplicate):
    error = kind("it failed", status=503, code="server_busy", retryable=True, key="k1", retry_after=2.5)
    error.add_note("a note")
    other = duplicate(error)
    assert (type(other), str(other), vars(other)) == (kind, "it failed", vars(error))
    assert OutcomeUnknown("lost").may_have_executed is True


def test_a_call_of_a_thread_that_outlives_the_with_block_is_answered(server):
    with XWrap(server.url) as xwrap:
        backend = xwrap.create_backend(*server.account(), "paper", "", "", "")
        found, is_closed = [], threading.Event()

        def read_later():
            is_closed.wait(30)
            found.append(backend.balance())

        reader = threading.Thread(target=read_later)
        reader.start()
    is_closed.set()
    reader.join()
    assert found
    backend.close()
