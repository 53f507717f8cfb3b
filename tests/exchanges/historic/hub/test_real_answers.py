"""Answers of the kinds that broke adapters of real exchanges, given to the hub's adapter, and what is right to tell.

The kinds are those of `python -m tests.answer_kinds`. No hub is known to run: the answers are in the forms of the page.
"""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.models import Funds
from bitmm.xwrap.testing.exchanges.hub import HubVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.support.canned import http_date
from tests.support.historic import hub_order as order
from tests.support.historic import ref_of, send

D = Decimal
VENUE = HubVenue
ABSENT = object()


def kind(letter):
    return pytest.mark.answer_kind(letter, exchange="hub")


@pytest.fixture
def answering(venue, hub):
    """A function: the adapter in front of a hub that answers every function so."""

    def answer(document, status=200, *, authentication=2, **headers):
        text = document if isinstance(document, str) else json.dumps(document)
        venue.authentication = authentication
        reply = Reply.text(text, status, **headers)
        venue._routes = [
            (method, pattern, (lambda request, function: reply) if "function" in pattern.pattern else handler)
            for method, pattern, handler in venue._routes
        ]
        return hub()

    return answer


def listed(oid="o-1", **changes):
    row = {"oid": oid, "trade_amt": "1.5", "trade_cur": "BTC", "for_amt": "450", "for_cur": "USD"}
    row |= {"remaining_trade_amt": "0.5", "created_ms": "1294790400000", **changes}
    return {name: value for name, value in row.items() if value is not ABSENT}


@kind("A")
@pytest.mark.parametrize("odd", ["x", None, [], "1,5"])
def test_one_odd_amount_hides_no_other_currency(answering, caplog, odd):
    exchange = answering({"available": {"eur": odd, "btc": "2"}, "pending": {"usd": odd, "btc": "0"}})
    with caplog.at_level(logging.WARNING):
        assert exchange.funds() == {"BTC": Funds(D(2), D(2), D(0))}
    assert "Hub: a row is left out" in caplog.text


@kind("A")
def test_a_currency_that_is_named_twice_hides_no_other(answering):
    exchange = answering({"available": {"usd": "1", "USD": "2", "btc": "3"}})
    assert exchange.funds() == {"BTC": Funds(D(3), D(3), D(0))}


@kind("A")
@pytest.mark.parametrize("odd", [{"trade_amt": "x"}, {"for_cur": "BTC"}, {"trade_cur": ABSENT}, {"created_ms": "soon"}])
def test_one_odd_order_hides_no_other_and_does_not_vanish(answering, odd):
    first, second = answering({"orders": [listed("o-1", **odd), listed("o-2")]}).open_orders()
    assert (first.exchange_order_id, first.status, first.amount) == ("o-1", "open", None)
    assert (second.side, second.amount, second.price, second.filled) == ("sell", D("1.5"), D(300), D(1))


@kind("A")
def test_a_list_of_orders_with_one_that_cannot_be_told_proves_nothing(venue, hub):
    """The order that has no id may be the one that is looked for."""
    exchange = hub()
    placed = exchange.place(order())
    venue.my_open_orders = lambda account, given: {"orders": [listed(oid=None), listed("another")]}
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.order(ref_of(placed))


@kind("B")
@pytest.mark.parametrize("nothing", [{}, [], None])
@pytest.mark.parametrize("pending", [{}, [], None, ABSENT])
def test_an_account_that_owns_nothing_owns_nothing(answering, nothing, pending):
    document = {"available": nothing} | ({} if pending is ABSENT else {"pending": pending})
    assert answering(document).funds() == {}


@kind("B")
@pytest.mark.parametrize("answer", ["", "{}", "null", '{"orders": null}', '{"orders": {}}', '{"orders": ""}'])
def test_that_no_order_is_open_is_believed_of_a_list_alone(venue, hub, answer):
    """An order that is not in the list is taken for closed."""
    exchange = hub()
    placed = exchange.place(order())
    venue.my_open_orders = lambda account, given: Reply.text(answer)
    with pytest.raises(Refused):
        exchange.order(ref_of(placed))


def pauses():
    soon = http_date(95)
    return [(soon, 80, 95), ("2.25", 3, 3), ("soon", 10, 10), ("7200", 600, 600)]


@kind("F")
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("authentication", [1, 2])
def test_a_pause_is_kept_however_it_is_written(answering, number, authentication):
    header, least, most = pauses()[number]
    exchange = answering({"error": "slow down"}, 429, authentication=authentication, Retry_After=header)
    with pytest.raises(Busy) as caught:
        exchange.funds()
    assert least <= caught.value.retry_after <= most
    with pytest.raises(Busy) as lost:
        exchange.place(order())
    assert least <= lost.value.retry_after <= most
    assert lost.value.may_have_executed


@kind("F")
@pytest.mark.parametrize("authentication", [1, 2])
def test_how_long_a_hub_is_not_there_is_told(answering, authentication):
    """RFC 9110, 15.6.4."""
    with pytest.raises(Refused) as caught:
        answering({"error": "back soon"}, 503, authentication=authentication, Retry_After="120").funds()
    assert (caught.value.code, caught.value.retry_after) == ("exchange_unavailable", 120)


@kind("G")
@pytest.mark.parametrize("status", [408, 425])
def test_a_request_that_came_too_slowly_or_too_early_may_come_again(answering, status):
    exchange = answering({"error": "try again"}, status)
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    with pytest.raises(Unknown):
        exchange.withdraw(send())


@kind("G")
def test_a_nonce_that_was_used_is_passing(answering):
    exchange = answering({"error": "this nonce was used", "code": "invalid_nonce"}, 401)
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert (caught.value.code, caught.value.retryable) == ("invalid_nonce", True)
    with pytest.raises(Unknown) as lost:
        exchange.place(order())
    assert (lost.value.refusal.code, lost.value.refusal.retryable) == ("invalid_nonce", True)


@kind("H")
@pytest.mark.parametrize("status", [400, 405, 411, 413, 414, 415])
@pytest.mark.parametrize("authentication", [1, 2])
@pytest.mark.parametrize("text", ['{"error": "cannot be parsed"}', "Failed to parse the body: expected ',' at 17"])
def test_a_request_that_was_not_understood_was_not_executed(answering, status, authentication, text):
    """Also where nothing tells a second delivery from the first one (type 1): both are the same bytes."""
    with pytest.raises(Refused) as caught:
        answering(text, status, authentication=authentication).place(order())
    assert caught.value.code == "invalid_request"


@kind("H")
@pytest.mark.parametrize("code", ["invalid_amount", "permission_denied", "unknown_market"])
def test_a_code_without_words_is_a_refusal(answering, code):
    with pytest.raises(Refused) as caught:
        answering({"code": code, "error": None}, 400).place(order())
    assert (caught.value.code, caught.value.reason) == (code, code)


@kind("H")
@pytest.mark.parametrize("document", ["", "<html>400 Bad Request</html>", {"code": ["x"]}, {"errors": []}, "[]"])
def test_an_error_that_says_nothing_leaves_the_outcome_unknown(answering, document):
    with pytest.raises(Unknown):
        answering(document, 400).withdraw(send())


@kind("I")
@pytest.mark.parametrize(
    ("available", "pending", "right"),
    [
        ("-0.0003", ABSENT, Funds(D("-0.0003"), D(0), D(0))),
        ("1.5", "-0.5", Funds(None, D("1.5"), None)),  # on its way out
        ("-0.1", "0.4", Funds(None, D(0), D("0.4"))),
        ("0", "0", Funds(D(0), D(0), D(0))),
    ],
)
def test_available_is_never_less_than_nothing(answering, available, pending, right):
    document = {"available": {"btc": available}} | ({} if pending is ABSENT else {"pending": {"btc": pending}})
    assert answering(document).funds() == {"BTC": right}


@kind("J")
@pytest.mark.parametrize("absent", [ABSENT, None])
def test_an_order_without_what_may_be_absent_is_told(answering, absent):
    (state,) = answering([listed(remaining_trade_amt=absent, created_ms=absent)]).open_orders()
    assert (state.status, state.amount, state.filled, state.created, state.reason) == (
        "open",
        D("1.5"),
        None,
        None,
        None,
    )


@kind("J")
@pytest.mark.parametrize("answer", ["", "{}", '{"txid": null}'])
def test_a_send_without_a_transaction_is_done(answering, answer):
    made = answering(answer).withdraw(asked := send())
    assert (made.id, made.status, made.txid) == (asked.client_id, "done", None)
