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
