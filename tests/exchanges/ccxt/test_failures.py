"""What the bridge to ccxt makes of failures, and of answers that are not to be believed."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from inspect import getsourcefile
from pathlib import Path

import pytest

from bitmm.xwrap.exchanges.base import Credentials
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt.error_codes import code_of
from bitmm.xwrap.exchanges.ccxt.session import SessionAdapter
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, Refused, Unknown
from bitmm.xwrap.exchanges.models import NewWithdrawal
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.venue import Reply
from bitmm.xwrap.transport import Response, Transport
from tests.exchanges.ccxt.support import connected, listed, order, ref_of, send
from tests.support.exchanges import change_answers

library = pytest.importorskip("ccxt", reason="ccxt is not installed")


#: fault -> what it is to an order or a send, our code (of the refusal inside, where there is one), and how many were
#: executed
FAULTS = {
    "executed_but_timeout": (Unknown, "outcome_unknown", 1),
    "refused": (Refused, "exchange_unavailable", 0),
    "reset_before": (Unknown, "outcome_unknown", 0),
    "reset_after": (Unknown, "outcome_unknown", 1),
    "slow": (Unknown, "outcome_unknown", 1),
    "drip": (Unknown, "outcome_unknown", 1),
    "cut": (Unknown, "outcome_unknown", 1),
    "html": (Unknown, "outcome_unknown", 0),
    "html_after": (Unknown, "outcome_unknown", 1),
    # An earlier delivery, which was executed, may have filled the counter.
    "rate_limit": (Busy, "rate_limited", 0),
    "nonce": (Unknown, "invalid_nonce", 0),
    # Its words leave open what became of the order (Kraken), or ccxt does not know them (Backpack).
    "maintenance": (Unknown, "outcome_unknown", 0),
}
HANGING = {"executed_but_timeout", "slow", "drip"}
ACTS = {
    "kraken, market": ("kraken", "AddOrder", lambda e: e.place(order(currency="EUR"))),
    "kraken, limit": ("kraken", "AddOrder", lambda e: e.place(order("sell", price="60000", currency="EUR"))),
    "backpack, market": ("backpack", "/api/v1/order", lambda e: e.place(order())),
    "backpack, limit": ("backpack", "/api/v1/order", lambda e: e.place(order("sell", price="35000"))),
    "backpack, withdraw": ("backpack", "/capital/withdrawals", lambda e: e.withdraw(send())),
}


def test_every_fault_that_a_venue_has_is_tried():
    assert set(FAULTS) | {"delivered_twice", "swapped"} == set(core.FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", ACTS)
def test_a_fault_is_a_refusal_or_unknown_as_the_ledger_says_and_nothing_is_repeated(request, fault, act):
    name, path, action = ACTS[act]
    kind, code, executed = FAULTS[fault]
    venue = request.getfixturevalue(name)
    transport = Transport(timeout=1 if fault in HANGING else 20)
    exchange = connected(venue, transport)
    exchange.funds()
    before = len(venue.requests)
    venue.fault(fault, path=path, seconds=30)
    with pytest.raises(ExchangeError) as caught:
        action(exchange)
    told = getattr(caught.value, "refusal", None) or caught.value
    assert (type(caught.value), told.code) == (kind, code), caught.value
    assert caught.value.may_have_executed or type(caught.value) is Refused
    assert len(venue.ledger()) == executed
    assert len(venue.requests) - before == (0 if fault == "refused" else 1)
    venue.heal()
    transport.close()


def test_an_error_that_comes_up_after_a_good_answer_is_unknown(backpack, transport):
    """ccxt's classes raise their own errors while they read answers, too: that is no refusal by the exchange."""
    exchange = connected(backpack, transport)
    honest = exchange._instance.ccxt.create_order

    def confused(*arguments):
        honest(*arguments)
        raise library.InvalidOrder("no such order")

    exchange._instance.ccxt.create_order = confused
    with pytest.raises(Unknown, match="no such order"):
        exchange.place(order())
    assert len(backpack.ledger()) == 1


def test_a_refusal_of_the_second_of_two_requests_is_unknown(backpack, transport):
    exchange = connected(backpack, transport)
    honest = exchange._instance.ccxt.create_order

    def twice(*arguments):
        honest(*arguments)
        return honest(*arguments[:3], "1000", *arguments[4:])

    exchange._instance.ccxt.create_order = twice
    with pytest.raises(Unknown, match="INSUFFICIENT_FUNDS"):
        exchange.place(order("sell"))
    assert len(backpack.ledger()) == 1


def test_a_line_that_breaks_after_a_first_request_is_unknown(backpack, transport):
    exchange = connected(backpack, transport)
    honest = exchange._instance.ccxt.create_order

    def twice(*arguments):
        honest(*arguments)
        backpack.fault("refused", seconds=30)
        return honest(*arguments)

    exchange._instance.ccxt.create_order = twice
    with pytest.raises(Unknown, match="something was sent before"):
        exchange.place(order())
    backpack.heal()
    assert len(backpack.ledger()) == 1


def test_a_question_before_an_order_leaves_its_refusal_a_refusal(backpack, transport):
    exchange = connected(backpack, transport)
    ccxt = exchange._instance.ccxt
    honest = ccxt.create_order
    ccxt.create_order = lambda *arguments: (ccxt.fetch_ticker("BTC/USDC"), honest(*arguments))[1]
    with pytest.raises(Unknown) as caught:
        exchange.place(order("sell", amount="1000"))
    assert caught.value.refusal.code == "insufficient_funds"


@pytest.mark.parametrize("name", ["backpack", "kraken"])
@pytest.mark.parametrize("fault", ["reset_before", "rate_limit", "html", "cut", "refused"])
def test_an_order_whose_first_question_fails_is_refused(request, transport, name, fault):
    """What ccxt asks in a unified read before it sends an order executes nothing, also by POST, as Kraken's balance."""
    venue, currency = request.getfixturevalue(name), {"backpack": "USDC", "kraken": "EUR"}[name]
    exchange = connected(venue, transport)
    exchange.markets()
    ccxt = exchange._instance.ccxt
    honest = ccxt.create_order
    ccxt.create_order = lambda *arguments: (ccxt.fetch_balance(), honest(*arguments))[1]
    venue.fault(fault, path={"backpack": "/api/v1/capital", "kraken": "BalanceEx"}[name])
    with pytest.raises(Refused) as caught:
        exchange.place(order(currency=currency))
    assert caught.value.code == ("rate_limited" if fault == "rate_limit" else "exchange_unavailable")
    assert not venue.ledger()
    venue.heal()
    with pytest.raises(Unknown, match=r"(?i)insufficient.funds"):
        exchange.place(order("sell", amount="1000", currency=currency))


def test_an_order_that_is_stopped_before_it_leaves_is_refused_unless_another_left(backpack, transport):
    exchange = connected(backpack, transport)
    exchange.markets()
    ccxt = exchange._instance.ccxt
    honest, elsewhere = ccxt.create_order, {"public": "http://127.0.0.2", "private": "http://127.0.0.2"}
    ccxt.urls = {**ccxt.urls, "api": elsewhere}
    with pytest.raises(Refused, match="not the administrator's"):
        exchange.place(order())
    ccxt.urls = {**ccxt.urls, "api": {"public": backpack.url, "private": backpack.url}}

    def twice(*arguments):
        honest(*arguments)
        ccxt.urls = {**ccxt.urls, "api": elsewhere}
        return honest(*arguments)

    ccxt.create_order = twice
    with pytest.raises(Unknown, match="something was sent before"):
        exchange.place(order())
    assert len(backpack.ledger()) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 408, 500, 520])
def test_a_status_alone_is_no_proof_that_an_order_was_refused(backpack, transport, status):
    backpack._routes.insert(0, ("POST", core._pattern("/api/v1/order"), lambda request: Reply.text("sorry", status)))
    with pytest.raises(Unknown, match="sorry") as caught:
        connected(backpack, transport).place(order())
    assert (caught.value.refusal is not None) == (status < 500 and status != 408)
    backpack._routes.pop(0)


#: exchange, HTTP status, answer -> our code, and whether it proves that no delivery of the order was executed.
ANSWERS = [
    ("kraken", 200, {"error": ["EAPI:Invalid nonce"]}, "invalid_nonce", False),
    ("kraken", 200, {"error": ["EOrder:Insufficient funds"]}, "insufficient_funds", False),
    ("kraken", 200, {"error": ["EOrder:Orders limit exceeded"]}, "exchange_refused", False),
    ("kraken", 200, {"error": ["EAPI:Invalid key"]}, "exchange_key_refused", False),
    ("kraken", 200, {"error": ["EGeneral:Permission denied"]}, "permission_denied", True),
    ("kraken", 404, "not found", "exchange_unavailable", False),
    ("backpack", 400, {"code": "INSUFFICIENT_FUNDS", "message": "x"}, "insufficient_funds", False),
    ("backpack", 400, {"code": "INVALID_CLIENT_REQUEST", "message": "Request has expired"}, "invalid_nonce", False),
    ("backpack", 400, {"code": "INVALID_MARKET", "message": "x"}, "unknown_market", True),
    ("backpack", 429, {"code": "TOO_MANY_REQUESTS", "message": "x"}, "rate_limited", False),
    ("backpack", 400, {"code": "NEWER_THAN_CCXT", "message": "x"}, "exchange_refused", False),
]


@pytest.mark.parametrize(("name", "status", "answer", "code", "proof"), ANSWERS, ids=lambda value: str(value)[:40])
def test_an_answer_that_a_second_delivery_could_get_proves_nothing(
    request, transport, name, status, answer, code, proof
):
    venue, currency = request.getfixturevalue(name), {"backpack": "USDC", "kraken": "EUR"}[name]
    path = {"backpack": "/api/v1/order", "kraken": "/0/private/AddOrder"}[name]
    exchange = connected(venue, transport)
    exchange.markets()
    reply = Reply.text(answer, status) if isinstance(answer, str) else Reply.json(answer, status)
    venue._routes.insert(0, ("POST", core._pattern(path), lambda request: reply))
    with pytest.raises(ExchangeError) as caught:
        exchange.place(order(currency=currency))
    told = caught.value if proof else caught.value.refusal
    assert (not caught.value.may_have_executed, told.code) == (proof, code)


def test_a_refused_key_is_proof_when_a_read_is_refused_for_it_too(backpack, transport):
    exchange = connected(backpack, transport)
    exchange.markets()
    refused = Reply.json({"code": "UNAUTHORIZED", "message": "no such key"}, 401)
    backpack._routes.insert(0, ("POST", core._pattern("/api/v1/order"), lambda request: refused))
    with pytest.raises(Unknown) as unknown:
        exchange.place(order())
    assert unknown.value.refusal.code == "exchange_key_refused"
    backpack._routes.insert(0, ("GET", core._pattern("/api/v1/capital"), lambda request: refused))
    with pytest.raises(Refused) as caught:
        exchange.place(order())
    assert caught.value.code == "exchange_key_refused"


@pytest.mark.parametrize("act", ["market", "limit"])
def test_an_order_that_is_delivered_twice_to_kraken_is_found(kraken, transport, act):
    exchange = connected(kraken, transport)
    placed = order("sell", price="60000" if act == "limit" else None, currency="EUR")
    kraken.fault("delivered_twice", path="AddOrder")
    with pytest.raises(Unknown) as caught:
        exchange.place(placed)
    assert caught.value.refusal.code == "invalid_nonce"
    (row,) = kraken.ledger()
    assert exchange.find(ref_of(placed, None)).exchange_order_id == row["order_id"]


def test_ccxt_sends_nothing_twice_by_itself(backpack, transport):
    """`maxRetriesOnFailure` makes ccxt repeat a call, also an order, after an error of the server."""
    for id in library.exchanges:
        options = getattr(library, id)().options
        nested = [value for value in options.values() if isinstance(value, dict)]
        assert not any("maxRetriesOnFailure" in given for given in (options, *nested)), id
    exchange = connected(backpack, transport)
    exchange.markets()
    backpack.fault("html", path="/api/v1/order", times=2)
    with pytest.raises(Unknown):
        exchange.place(order())
    assert len([made for made in backpack.requests if made.path == "/api/v1/order"]) == 1


@pytest.mark.parametrize(("id", "kind"), [("deribit", Unknown), ("backpack", Refused)])
def test_a_lost_get_is_unknown_where_orders_are_placed_by_it(backpack, transport, id, kind):
    line = SessionAdapter(id, id, backpack.url)
    line.start_call(transport, mutates=True)
    backpack.fault("reset_before")
    with pytest.raises(kind):
        line.request("GET", f"{backpack.url}/api/v1/buy")


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - HANGING))
def test_a_read_never_has_an_unknown_outcome(backpack, transport, fault):
    exchange = connected(backpack, transport)
    exchange.markets()
    backpack.fault(fault, path="/capital", seconds=30)
    with pytest.raises(Refused):
        exchange.funds()
    backpack.heal()
    assert exchange.funds()


@pytest.mark.parametrize("verb", ["read", "move"])
def test_a_redirect_is_not_followed(backpack, kraken, transport, verb):
    exchange = connected(backpack, transport)
    exchange.markets()
    away = Reply.text("", 307, Location=f"{kraken.url}/api/v1/order")
    backpack._routes.insert(0, ("POST", core._pattern("/api/v1/order"), lambda request: away))
    backpack._routes.insert(0, ("GET", core._pattern("/api/v1/capital"), lambda request: away))
    with pytest.raises(Unknown if verb == "move" else Refused, match="redirects are never followed"):
        exchange.place(order()) if verb == "move" else exchange.funds()
    assert not kraken.requests


@pytest.mark.parametrize(
    "lie",
    [
        {"symbol": "ETH_USDC"},
        {"side": "Bid"},
        {"quantity": "0.2"},
        {"price": "35001"},
        {"executedQuantity": "-1"},
        {"executedQuantity": "x"},
        {"id": None},
        [],
        None,
        "<script>",
    ],
    ids=str,
)
def test_the_answer_to_an_order_that_tells_another_one_is_unknown(backpack, transport, lie):
    change_answers(backpack, "POST", "/api/v1/order", lambda row: {**row, **lie} if isinstance(lie, dict) else lie)
    with pytest.raises(Unknown):
        connected(backpack, transport).place(order("sell", price="35000"))
    assert len(backpack.ledger()) == 1


@pytest.mark.parametrize("lie", [{"symbol": "ETH_USDC"}, {"side": "Bid"}, {"quantity": "0.2"}, {"price": "1"}], ids=str)
def test_an_order_told_otherwise_than_asked_for_is_not_believed(backpack, transport, lie):
    exchange, placed = connected(backpack, transport), order("sell", price="35000")
    id = exchange.place(placed).exchange_order_id
    for path in ("/api/v1/orders", "/wapi/v1/history/orders"):
        change_answers(backpack, "GET", path, lambda rows: [{**row, **lie} for row in rows])
    change_answers(backpack, "GET", "/api/v1/order", lambda row: {**row, **lie})
    with pytest.raises(Refused) as caught:
        exchange.order(ref_of(placed, id))
    assert caught.value.code in ("exchange_unavailable", "order_not_found")


def test_an_order_among_answers_to_another_question_is_not_found(kraken, transport):
    exchange = connected(kraken, transport)
    exchange.place(order("sell", price="60000", currency="EUR"))
    honest = kraken.private_OpenOrders
    kraken.private_OpenOrders = lambda account, given: honest(account, {})
    with pytest.raises(Refused) as caught:
        exchange.find(ref_of(order("sell", price="60000", currency="EUR"), None))
    assert caught.value.code == "exchange_unavailable"


@pytest.mark.parametrize("lie", [{"symbol": "ETH"}, {"quantity": "0.2"}, {"toAddress": "elsewhere"}, {"id": None}])
def test_the_answer_to_a_withdrawal_that_tells_another_one_is_unknown(backpack, transport, lie):
    change_answers(backpack, "POST", "/wapi/v1/capital/withdrawals", lambda row: {**row, **lie})
    with pytest.raises(Unknown):
        connected(backpack, transport).withdraw(send())
    assert len(backpack.ledger()) == 1


def test_the_answer_to_a_withdrawal_may_spell_the_address_in_another_case(backpack, transport):
    address = "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B"
    change_answers(backpack, "POST", "/wapi/v1/capital/withdrawals", lambda row: {**row, "toAddress": address.lower()})
    made = connected(backpack, transport).withdraw(replace(send(), address=address))
    assert (made.status, made.address) == ("pending", address)


@pytest.mark.parametrize("lie", [[], None, "text", 7, {"BTC": {"available": "x", "locked": "0"}}], ids=str)
def test_balances_that_are_none_are_refused(backpack, transport, lie):
    exchange = connected(backpack, transport)
    change_answers(backpack, "GET", "/api/v1/capital", lambda rows: lie)
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert caught.value.code == "exchange_unavailable"


#: A code that ccxt has for a missing right, in the source of a class, and what is written beside it.
_RIGHTS = re.compile(r"^ +'([^']+)': \[?(?:PermissionDenied|AccountSuspended)\b,?(.*)$", re.MULTILINE)
#: Limits that an earlier delivery of the same order or send may have used up.
_LIMITS = re.compile(
    r"daily|today|same day|remaining|withdraw(al)?s? (is )?limit|limit of|exceeded (its|the) limit", re.IGNORECASE
)


def test_a_limit_that_ccxt_calls_a_missing_right_is_no_proof():
    """A send that was executed is refused when it is delivered again, because the first one used up the day's limit."""
    limits = []
    for id in library.exchanges:
        for code, beside in _RIGHTS.findall(Path(getsourcefile(getattr(library, id))).read_text()):
            if _LIMITS.search(beside) and "everage" not in beside:
                limits.append((id, code))
    assert ("xt", "WITHDRAW_012") in limits
    assert len(limits) > 15
    told = {
        (id, code): code_of(library.PermissionDenied(f'{id} {{"code":{shown}}}'), id)
        for id, code in limits
        for shown in ([code] if code.lstrip("-").isdecimal() and id != "blofin" else [f'"{code}"'])
    }
    assert [which for which, ours in told.items() if ours == "permission_denied"] == []
    assert code_of(library.PermissionDenied("x daily withdrawal limit exceeded"), "x") == "exchange_refused"
    assert code_of(library.PermissionDenied('okx {"code":"50120"}'), "okx") == "permission_denied"


def test_a_send_that_a_limit_refuses_is_not_known_to_be_refused():
    class Line:
        def send(self, request, **_):
            return Response(200, {}, b'{"rc": 1, "mc": "WITHDRAW_012", "ma": [], "result": null}')

    kind = listed(exchange_class("ccxt:xt"), "http://127.0.0.1:1")
    exchange = kind(Line(), Credentials("", "a-key", "a-secret"))
    exchange._choose_network = lambda *_: "BTC"
    currency = {"id": "btc", "code": "BTC", "networks": {"BTC": {"id": "BTC", "network": "BTC"}}}
    exchange._markets().ccxt.currencies = {"BTC": currency}
    with pytest.raises(Unknown) as caught:
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "c"))
    assert caught.value.refusal is not None
