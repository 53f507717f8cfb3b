"""Amounts go through client and server and back without losing a digit, whatever the program's decimal context.

10,000 amounts by default; `XWRAP_ROUND_TRIPS=1000000 pytest tests/client/test_round_trip.py` sends a million.

The server here reads the form, checks that the amount is in plain digits, and answers with the order. A module that
imports the test and `backend`, and has a `base` fixture of its own, holds any other server to it.
"""

from __future__ import annotations

import decimal
import json
import os
import re
from collections import deque
from decimal import Decimal
from urllib.parse import parse_qs

import pytest

from bitmm.xwrap.client import Backend
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import JSON, Connection, raw_server

hypothesis = pytest.importorskip("hypothesis", reason="the round trips need hypothesis, from the test extra")
st = hypothesis.strategies

CASES = int(os.environ.get("XWRAP_ROUND_TRIPS", "10000"))
#: Amounts in one example: hypothesis keeps a record of every example, and a million of them would fill the memory.
BATCH = 25

#: Positive numbers of 1 to 40 digits with exponents of -30 to 30, and the ways in which a program may pass them.
WAYS = (
    lambda amount: amount,
    str,
    lambda amount: format(amount, "f"),
    lambda amount: f"+{amount:f}",
    lambda amount: int(amount) if amount == int(amount) else amount,
)
SPELLED = st.builds(
    lambda digits, exponent, way: way(Decimal(f"{digits}E{exponent}")),
    st.integers(1, 40).flatmap(lambda length: st.integers(10 ** (length - 1), 10**length - 1)),
    st.integers(-30, 30),
    st.sampled_from(WAYS),
)
#: Decimal contexts of a program's own.
CONTEXTS = st.builds(
    decimal.Context,
    prec=st.integers(1, 50),
    rounding=st.sampled_from([decimal.ROUND_DOWN, decimal.ROUND_UP, decimal.ROUND_HALF_EVEN]),
    Emin=st.sampled_from([-1, -999999]),
    Emax=st.sampled_from([1, 999999]),
    capitals=st.integers(0, 1),
    traps=st.sampled_from([[], list(decimal.Context().traps)]),
)


def answer_with_order(connection: Connection) -> None:
    """The order, with its amount as text, as a JSON number, and in scientific notation."""
    [amount] = parse_qs(connection.request.body.decode())["amount"]
    if not re.fullmatch(r"\d+(\.\d+)?", amount):
        connection.answer(json.dumps({"detail": f"{amount} is not in plain digits"}), "422 Unprocessable", JSON)
        return
    order = f'"amount": "{amount}", "filled": {amount}, "average": "{Decimal(amount):e}", "status": "filled"'
    key = connection.request.headers["idempotency-key"]
    connection.answer(f'{{"id": 1, "key": "{key}", {order}}}', "200 OK", JSON)


@pytest.fixture(scope="module")
def base():
    """The address of a server that executes every order of registration 1 and answers with it."""
    with raw_server(answer_with_order) as server:
        server.requests = deque(maxlen=1)
        yield server.url


@pytest.fixture(scope="module")
def backend(base):
    return Backend(1, USER, PASSWORD, base)


@hypothesis.settings(max_examples=CASES // BATCH, deadline=None, derandomize=True, database=None)
@hypothesis.given(amounts=st.lists(SPELLED, min_size=BATCH, max_size=BATCH), context=CONTEXTS)
def test_amounts_come_back_with_the_digits_that_they_had(backend, amounts, context):
    for amount in amounts:
        with decimal.localcontext(context):
            order = backend.buy("USD", "BTC", amount)
        exact = format(Decimal(amount), "f")
        assert [format(order[name], "f") for name in ("amount", "filled", "average")] == [exact] * 3
