"""What a response means: its document, or the error that it reports."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from bitmm.xwrap import _parsing as parsing
from bitmm.xwrap._responses import apply, read_document
from bitmm.xwrap.errors import APIError
from bitmm.xwrap.transport import Response

BASE = "http://localhost:8000"


def test_a_failure_is_told_in_the_words_of_the_server(mock, backend):
    mock.get(f"{BASE}/exchanges/7/balance", status=422, json={"detail": "Kraken says: EAPI:Invalid key"})
    with pytest.raises(APIError) as caught:
        backend.balance()
    assert str(caught.value) == caught.value.reason == "Kraken says: EAPI:Invalid key"


def test_a_failure_without_words_is_a_server_error(mock, backend):
    mock.get(f"{BASE}/exchanges/7/balance", status=500, body="<html>oops</html>")
    with pytest.raises(APIError, match=r"^server error$"):
        backend.balance()


def test_an_order_is_read_from_its_answer_in_at_most_four_of_our_functions():
    """So that a reader can follow it."""
    depth = deepest = 0

    def profile(frame, event, _argument):
        nonlocal depth, deepest
        if "bitmm" in frame.f_globals["__name__"] and not frame.f_code.co_name.startswith("<"):
            depth += {"call": 1, "return": -1}.get(event, 0)
            deepest = max(deepest, depth)

    body = b'{"id": 41, "side": "buy", "amount": "0.10", "average": 64251.1, "status": "filled"}'
    sys.setprofile(profile)
    try:
        document = read_document(Response(200, {}, body), mutates=True)
        order = apply(parsing.order, document, mutates=True, expected={"side": "buy", "amount": "0.1"}, executes=True)
    finally:
        sys.setprofile(None)
    assert order["average"] == Decimal("64251.1")
    assert 0 < deepest <= 4


@pytest.mark.parametrize(
    ("status", "json"), [(422, {"detail": "no"}), (500, None), (200, "no balance"), (429, {"detail": "later"})]
)
def test_an_error_has_the_id_that_the_server_gave_the_call(mock, backend, status, json):
    mock.get(f"{BASE}/exchanges/7/balance", status=status, json=json, headers={"X-Request-ID": "ab12"})
    with pytest.raises(APIError) as caught:
        backend.balance()
    assert caught.value.request_id == "ab12"
    assert "ab12" not in str(caught.value)


@pytest.mark.parametrize("headers", [{}, {"X-Request-ID": ""}, {"X-Request-ID": "x" * 101}, {"X-Request-ID": "a\xadb"}])
def test_an_id_that_is_none_is_none(mock, backend, headers):
    mock.get(f"{BASE}/exchanges/7/balance", status=422, json={"detail": "no"}, headers=headers)
    with pytest.raises(APIError) as caught:
        backend.balance()
    assert caught.value.request_id is None


@pytest.mark.parametrize(("status", "key"), [(202, "k1"), (422, "k1"), (200, None)])
def test_the_error_of_an_order_has_it_too(mock, backend, status, key):
    answer = {"detail": "no", "id": 1, "key": key, "status": "unknown" if status == 202 else "filled"}
    mock.post(f"{BASE}/exchanges/7/buy", status=status, json=answer, headers={"X-Request-ID": "ab12"})
    if key is None:
        mock.get(f"{BASE}/exchanges/7/orders/", status=422, json={"detail": "no"}, headers={"X-Request-ID": "cd34"})
    with pytest.raises(APIError) as caught:
        backend.buy("USD", "BTC", "1", key="k1")
    assert caught.value.request_id == "ab12"


def test_the_errors_of_many_orders_have_the_id_of_their_call(mock, backend):
    rows = [
        {"status": 422, "headers": {}, "body": {"detail": "no", "code": "amount_min"}},
        {"status": 202, "headers": {}, "body": {"id": 1, "key": "k2", "status": "unknown"}},
    ]
    mock.post(f"{BASE}/exchanges/7/orders/", json=rows, headers={"X-Request-ID": "ab12"})
    order = {"currency": "USD", "asset": "BTC", "amount": "1"}
    errors = backend.buy_many([{**order, "key": "k1"}, {**order, "key": "k2"}])
    assert [(error.key, error.request_id) for error in errors] == [("k1", "ab12"), ("k2", "ab12")]
