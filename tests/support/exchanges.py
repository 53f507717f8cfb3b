"""What the tests of every exchange do in the same way."""

from __future__ import annotations

import decimal
import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.testing.exchanges.venue import Reply, dumps


def connect(kind, venue, transport, *, registration=1, more=None, **context):
    """Return the exchange of this class with the venue's keys, at the venue's address."""
    keys = Credentials(apikey=venue.key, apisecret=venue.secret, more=more or {})
    return kind(ExchangeContext(transport, keys, registration=registration, url=venue.url, **context))


@contextmanager
def harsh_decimal_context():
    """Let every rounding in the program's own decimal context fail, as a program may have it."""
    with decimal.localcontext(
        decimal.Context(prec=2, traps=[decimal.Inexact, decimal.Rounded, decimal.FloatOperation])
    ):
        yield


def trade_in_a_harsh_decimal_context(exchange, currency, order, too_fine):
    """Return what the exchange answers in such a context: to the `order`, to reads after it, and to one `too_fine`."""
    with harsh_decimal_context():
        answers = SimpleNamespace(
            state=exchange.place(order),
            funds=exchange.funds(),
            fills=exchange.fills(currency, "BTC"),
            rate=exchange.rate(currency, "BTC"),
            markets=exchange.markets(),
        )
        with pytest.raises(Refused) as caught:
            exchange.place(too_fine)
    answers.refusal = caught.value
    return answers


def change_answers(venue, method, path, change):
    """Let the venue answer what `change` makes of its true answer to these calls."""
    for number, (routed_method, pattern, handler) in enumerate(venue._routes):
        if routed_method == method and pattern.fullmatch(path):

            def changed(request, handler=handler, **names):
                true_answer = handler(request, **names)
                if not isinstance(true_answer, Reply):
                    return change(true_answer)
                return true_answer._replace(body=dumps(change(json.loads(true_answer.body))).encode())

            venue._routes[number] = (method, pattern, changed)
