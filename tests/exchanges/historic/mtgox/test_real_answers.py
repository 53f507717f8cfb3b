"""Answers of the kinds that broke adapters of real exchanges, given to Mt.Gox's adapter, and what is right to tell.

The kinds are those of `python -m tests.answer_kinds`. Mt.Gox closed in 2014: the answers are made in the forms of its
recordings, and where PHP wrote them, as PHP writes what is empty.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.models import Funds, NewOrder
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.support.canned import http_date
from tests.support.mtgox_recordings import Player, placed, sell, send, units

D = Decimal
OID = "055e81e4-fe38-4b3c-bbca-69e61724f64a"
WALLET = "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L"
ABSENT = object()


def kind(letter):
    return pytest.mark.answer_kind(letter, exchange="mtgox")


def changed(row, **changes):
    """The row with other fields; without those that are ABSENT."""
    return {name: value for name, value in (row | changes).items() if value is not ABSENT}


def booked(number, type="in", **changes):
    """A row of a wallet's history that books a part of a trade."""
    value = {"in": units(50_000_000, "BTC"), "out": units(5_000_000, "USD"), "fee": units(300, "BTC")}[type]
    row = {"Index": str(number), "Date": 1366034751 + number, "Type": type, "Value": value}
    row |= {"Info": "BTC bought: [tid:1] 0.50000000 BTC at $100.00000", "Link": [OID, "Money_Trade", str(number)]}
    return changed(row | {"Trade": {"oid": OID, "tid": str(number)}}, **changes)


def transferred(number, type="withdraw", **changes):
    row = {"Index": str(number), "Date": 1384536197 + number, "Type": type, "Value": units(100_000_000, "BTC")}
    row |= {"Info": WALLET, "Link": [f"3cdb1d0b-9d70-45cb-b1dc-3fb44045af{number:02}", "Money", "24f2:!"]}
    return changed(row, **changes)


def listed(**changes):
    row = {"oid": OID, "currency": "USD", "item": "BTC", "type": "ask", "amount": units(100_000_000, "BTC")}
    row |= {"effective_amount": units(100_000_000, "BTC"), "price": units(1_675_000, "USD"), "status": "open"}
    return changed(row | {"date": 1357946434, "priority": "1357946434000000", "actions": []}, **changes)


@kind("A")
@pytest.mark.parametrize(
    "odd", [{}, None, {"Balance": units(1, "EUR")}, {"Balance": {"value_int": "1.5", "currency": "USD"}}]
)
def test_one_odd_wallet_hides_no_other(play, caplog, odd):
    wallets = {"USD": odd, "BTC": {"Balance": units(5, "BTC"), "Open_Orders": units(2, "BTC")}}
    with caplog.at_level(logging.WARNING):
        assert play(2, "info", {"Wallets": wallets}).funds() == {
            "BTC": Funds(D("0.00000005"), D("0.00000003"), D("0.00000002"))
        }
    assert "Mt.Gox: a row is left out" in caplog.text


@kind("A")
@pytest.mark.parametrize(
    "odd",
    [
        booked(2, Info="BTC bought, at a price"),
        booked(2, Value=ABSENT),
        booked(2, Date="yesterday"),
        booked(2, Type="in-kind"),
        booked(2, Type=ABSENT),
        booked(2, Trade={"oid": OID, "tid": "two"}),
        booked(2, Trade={"oid": OID}),
        "odd",
    ],
)
def test_one_odd_row_of_history_hides_no_other_trade(play, odd):
    play(2, "history?BTC", {"result": [odd, booked(1)]})
    exchange = play(2, "history?USD", {"result": [booked(2, "out"), booked(1, "out"), None]})
    (fill,) = exchange.fills("USD", "BTC")
    assert (fill.id, fill.amount, fill.price) == ("1", D("0.5"), D(100))


@kind("A")
@pytest.mark.parametrize("odd", [{"Value": ABSENT}, {"Value": units(1, "USD")}, {"Date": "x"}, {"Type": ABSENT}])
def test_one_odd_transfer_hides_no_other(play, odd):
    rows = [transferred(3, "deposit", **odd), transferred(2, "deposit"), transferred(1, **odd), transferred(0)]
    exchange = play(2, "history?BTC", {"result": rows})
    assert [deposit.id[-2:] for deposit in exchange.deposits("BTC")] == ["02"]
    # A send of ours may be it, so it does not vanish; it has no id.
    assert {withdrawal.id[-2:] for withdrawal in exchange.withdrawals("BTC")} == {"", "00"}


@kind("A")
@pytest.mark.parametrize("odd", [{"Value": ABSENT}, {"Date": "x"}, {"Type": ABSENT}])
def test_a_wallet_with_one_odd_row_alone_hides_no_transfer_of_another(play, odd):
    """There are as many lists as wallets, so a list of one odd row is a part of what was asked for."""
    play(2, "info", {"Wallets": {"USD": {"Balance": units(1, "USD")}, "BTC": {"Balance": units(5, "BTC")}}})
    play(2, "history?USD", {"result": [transferred(2, "deposit", **odd), transferred(1, **odd)]})
    exchange = play(2, "history?BTC", {"result": [transferred(2, "deposit"), transferred(0)]})
    assert [deposit.id[-2:] for deposit in exchange.deposits()] == ["02"]
    assert "00" in {withdrawal.id[-2:] for withdrawal in exchange.withdrawals()}


@kind("A")
@pytest.mark.parametrize("odd", [{"type": "loan"}, {"amount": units(1, "USD")}, {"date": "x"}, {"item": ABSENT}])
def test_one_odd_order_hides_no_other_and_does_not_vanish(play, odd):
    exchange = play(2, "orders", [listed(**odd), listed(oid="f" * 36)])
    first, second = exchange.open_orders()
    assert (first.exchange_order_id, first.status, first.amount) == (OID, "open", None)
    assert (second.status, second.amount, second.price) == ("open", D(1), D("16.75"))


@kind("A")
def test_a_list_of_orders_with_one_that_cannot_be_told_proves_nothing(play):
    """The order that has no id may be the one that is looked for."""
    exchange = play(2, "orders", [listed(oid=None), listed(oid="f" * 36)])
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.order(placed(OID, "sell"))


@kind("B")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("answer", [None, {}, ""])
def test_that_no_order_is_open_is_believed_of_a_list_alone(play, version, answer):
    """An order that is not in the list is taken for closed."""
    with pytest.raises(Refused, match="cannot be understood"):
        play(version, "orders", answer).order(placed(OID, "sell"))


@kind("B")
@pytest.mark.parametrize("version", [1, 2])
def test_an_account_without_wallets_owns_nothing(play, version):
    """PHP writes an empty mapping as an empty list."""
    exchange = play(version, "info", {"Wallets": [], "Rights": []})
    assert exchange.funds() == {}
    assert exchange.permissions() == frozenset()
    assert exchange.deposits() == exchange.withdrawals() == []


@kind("B")
@pytest.mark.parametrize("nothing", [{"records": "0"}, {"records": "0", "result": None}, {"result": []}])
def test_a_wallet_without_history_has_no_fills_and_no_deposits(play, nothing):
    play(2, "history?BTC", nothing)
    exchange = play(2, "history?USD", nothing)
    assert exchange.fills("USD", "BTC") == []
    assert exchange.deposits("BTC") == []


@kind("B")
@pytest.mark.parametrize("nothing", [{"records": "0"}, {"records": "0", "result": None}])
def test_that_no_send_is_listed_is_believed_of_a_list_alone(play, nothing):
    """A send that is not listed may be sent again."""
    with pytest.raises(Refused, match="cannot be understood"):
        play(2, "history?BTC", nothing).withdrawals("BTC")


@kind("C")
def test_an_order_of_a_pair_that_is_not_offered_is_read_and_canceled(play, player):
    """Mt.Gox added and removed currencies; BTC/INR is not in its documentation."""
    row = listed(currency="INR", price=units(50_000_000, "INR"))
    exchange = play(1, "orders", [row])
    (state,) = exchange.open_orders()
    assert (state.currency, state.amount, state.price) == ("INR", D(1), D(500))
    ref = replace(placed(OID, "sell"), currency="INR", amount=D(1))
    play(1, "order/result", {"result": "error", "error": "Order not found"}, whole=True)
    assert exchange.order(ref).status == "open"
    play(1, "BTCINR/order/cancel", {"oid": OID, "qid": "1"})
    exchange.cancel(ref)
    assert "BTCINR/order/cancel" in player.requests[-1].path
    with pytest.raises(Refused) as caught:
        exchange.place(NewOrder("sell", "INR", "BTC", "0" * 32, amount=D(1)))
    assert caught.value.code == "unknown_market"


@kind("C")
@pytest.mark.parametrize("currency", ["../USD", "usd", "", None])
def test_what_can_be_no_pair_becomes_no_part_of_a_path(play, player, currency):
    exchange = play(1, "orders", [listed(currency=currency)])
    with pytest.raises(Refused):
        exchange.cancel_all()
    assert not [request for request in player.requests if "cancel" in request.path]


@kind("C")
def test_the_trades_of_a_pair_that_is_not_offered_are_read(play):
    play(2, "history?BTC", {"result": [booked(1)]})
    exchange = play(2, "history?INR", {"result": [booked(1, "out", Value=units(5_000_000, "INR"))]})
    (fill,) = exchange.fills("INR", "BTC")
    assert (fill.currency, fill.price) == ("INR", D(100))


@kind("D")
def test_a_fee_is_in_the_currency_of_the_wallet_that_paid_it(play):
    rows = [booked(1), booked(1, "fee"), booked(2), booked(3), booked(3, "fee", Value=units(300, "USD"))]
    paid = [booked(1, "out"), booked(2, "out"), booked(2, "fee", Value=units(700, "USD")), booked(3, "out")]
    play(2, "history?BTC", {"result": rows})
    fills = {fill.id: fill for fill in play(2, "history?USD", {"result": paid}).fills("USD", "BTC")}
    assert (fills["1"].fee, fills["1"].fee_currency) == (D("0.000003"), "BTC")
    assert (fills["2"].fee, fills["2"].fee_currency) == (D("0.007"), "USD")
    # A fee in dollars does not stand in a wallet of bitcoins: it is not told.
    assert (fills["3"].fee, fills["3"].fee_currency) == (None, None)


class Scripted(Player):
    """Answers with these replies, one after the other; the last one for ever."""

    def __init__(self, *replies):
        super().__init__()
        self.replies = list(replies)

    def handle(self, request):
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def scripted(transport):
    """A function: the adapter of a version in front of these replies."""
    from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
    from bitmm.xwrap.exchanges.historic.mtgox import MtGox
    from bitmm.xwrap.testing.exchanges.mtgox import MtGoxVenue

    venues = []

    def start(version, *replies):
        venues.append(Scripted(*replies).__enter__())
        keys = Credentials(apikey="key", apisecret=MtGoxVenue.default_secret, more={"version": str(version)})
        exchange = MtGox(ExchangeContext(transport, keys, registration=1, url=venues[-1].url))
        exchange.requests = venues[-1].requests
        return exchange

    yield start
    for venue in venues:
        venue.stop()


def error(words, status=200, **more):
    return Reply.json({"result": "error", "error": words, **more}, status)


def pauses():
    soon = http_date(95)
    return [(soon, 80, 95), ("2.25", 3, 3), ("0", 0, 0), ("soon", 10, 10), ("7200", 600, 600)]


@kind("F")
@pytest.mark.parametrize("number", range(5))
def test_a_pause_is_kept_however_it_is_written(scripted, number):
    header, least, most = pauses()[number]
    page = Reply.text("<html>slow down</html>", 429)._replace(headers={"Retry-After": header})
    with pytest.raises(Busy) as caught:
        scripted(2, page).funds()
    assert least <= caught.value.retry_after <= most
    with pytest.raises(Busy) as lost:
        scripted(2, page).place(sell())
    assert least <= lost.value.retry_after <= most
    assert lost.value.may_have_executed


@kind("F")
@pytest.mark.parametrize("body", ["<html>back soon</html>", '{"result": "error", "error": "unknown error"}'])
def test_how_long_an_exchange_is_not_there_is_told(scripted, body):
    """RFC 9110, 15.6.4."""
    with pytest.raises(Refused) as caught:
        scripted(2, Reply.text(body, 503)._replace(headers={"Retry-After": "120"})).funds()
    assert (caught.value.code, caught.value.retry_after) == ("exchange_unavailable", 120)


@kind("G")
@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("token", [ABSENT, None, ""])
def test_a_login_that_is_refused_for_a_nonce_is_no_dead_key(scripted, version, token):
    """Without a token the words are the same for a wrong key and for a nonce that another program was ahead of."""
    words = "Identification required to access private API"
    refusal = error(words, 403) if token is ABSENT else error(words, 403, token=token)
    word = "data" if version == 2 else "return"
    info = {"Wallets": {"BTC": {"Balance": units(5, "BTC")}}, "Rights": []}
    exchange = scripted(version, refusal, Reply.json(info if version == 0 else {"result": "success", word: info}))
    assert exchange.funds() == {"BTC": Funds(D("0.00000005"), None, None)}
    first, second = exchange.requests
    assert int(second.form["nonce"]) > int(first.form["nonce"])


@kind("G")
def test_a_key_that_is_refused_twice_is_refused(scripted):
    exchange = scripted(1, error("Identification required to access private API", 403))
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert (caught.value.code, caught.value.retryable, len(exchange.requests)) == ("exchange_key_refused", False, 2)


@kind("G")
@pytest.mark.parametrize("token", [None, ""])
def test_an_order_is_not_placed_again_for_a_login_that_was_refused(scripted, token):
    """The refusal may be the answer to a second delivery, whose nonce was used by the first; a read tells apart."""
    words = "Identification required to access private API"
    good = Reply.json({"result": "success", "data": {"Wallets": [], "Rights": []}})
    exchange = scripted(2, error(words, 403, token=token), good)
    with pytest.raises(Unknown):
        exchange.place(sell())
    assert ["order/add" in request.path for request in exchange.requests] == [True, False]


@kind("H")
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Order amount is too low", "invalid_amount"),
        ('Invalid parameter "type" (should be ask or bid)', "exchange_refused"),
        ("Invalid call", "exchange_refused"),
        ("Too many orders placed", "exchange_refused"),
    ],
)
def test_a_refusal_in_known_words_is_certain_whatever_its_status(scripted, status, words, code):
    with pytest.raises(Refused) as caught:
        scripted(2, error(words, status)).place(sell())
    assert (caught.value.code, caught.value.reason) == (code, words)


@kind("H")
@pytest.mark.parametrize("document", [{"result": "error"}, {"result": "error", "error": "Something new"}])
def test_a_refusal_in_unknown_words_with_a_server_error_stays_unknown(scripted, document):
    with pytest.raises(Unknown):
        scripted(2, Reply.json(document, 500)).withdraw(send())


@kind("I")
@pytest.mark.parametrize(
    ("owned", "held", "right"),
    [
        (5, 7, Funds(D("0.00000005"), None, D("0.00000007"))),  # orders are taken without funds
        (-3, 0, Funds(D("-0.00000003"), None, D(0))),
        (-3, None, Funds(D("-0.00000003"), None, None)),
        (5, 5, Funds(D("0.00000005"), D(0), D("0.00000005"))),
        (5, -1, Funds(D("0.00000005"), None, None)),  # an odd field hides not what is owned
        (5, "x", Funds(D("0.00000005"), None, None)),
    ],
)
def test_available_is_never_less_than_nothing(play, owned, held, right):
    wallet = {"Balance": units(owned, "BTC"), "Open_Orders": None if held is None else units(held, "BTC")}
    assert play(2, "info", {"Wallets": {"BTC": wallet}}).funds() == {"BTC": right}


@kind("J")
@pytest.mark.parametrize("absent", [ABSENT, None])
def test_an_order_without_what_may_be_absent_is_told(play, absent):
    rows = [listed(price=absent, date=absent, effective_amount=absent, priority=absent, actions=absent)]
    (state,) = play(2, "orders", rows).open_orders()
    assert (state.status, state.side, state.amount, state.price, state.created) == ("open", "sell", D(1), None, None)
    assert state.reason is None


@kind("J")
@pytest.mark.parametrize("absent", [ABSENT, None])
def test_the_sums_of_trades_may_be_absent(play, absent):
    trade = {"trade_id": "1", "amount": units(50_000_000, "BTC"), "price": units(1_000_000, "USD")}
    result = changed({"trades": [trade]}, order_id=absent, total_amount=absent, total_spent=absent, avg_cost=absent)
    play(2, "order/result", result)
    state = play(2, "history", {"result": absent if absent is None else []}).order(
        replace(placed(OID), amount=D("0.5"))
    )
    assert (state.status, state.filled, state.spent, state.average, state.fee) == (
        "filled",
        D("0.5"),
        None,
        D(10),
        None,
    )


@kind("J")
@pytest.mark.parametrize("absent", [ABSENT, None])
def test_a_transfer_without_what_may_be_absent_is_told(play, absent):
    rows = [transferred(7, Info=absent, Link=absent, Date=absent, Balance=absent, Trade=absent)]
    exchange = play(2, "history?BTC", {"result": rows})
    (made,) = exchange.withdrawals("BTC")
    assert (made.id, made.amount, made.address, made.txid, made.created) == ("7", D(1), None, None, None)


@kind("J")
@pytest.mark.parametrize("absent", [ABSENT, None])
def test_a_ticker_without_a_time_is_a_ticker(play, absent):
    prices = changed({"buy": units(1_000_000, "USD"), "sell": units(1_100_000, "USD")}, now=absent)
    rate = play(2, "ticker", prices).rate("USD", "BTC")
    assert (rate.buy, rate.sell) == (D(11), D(10))


@kind("J")
def test_an_error_that_is_null_is_none(play):
    document = {"result": "success", "error": None, "token": None, "data": OID}
    assert play(2, "order/add", json.dumps(document), whole=True).place(sell()).exchange_order_id == OID
