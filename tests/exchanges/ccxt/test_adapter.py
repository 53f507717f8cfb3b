"""The bridge to ccxt, over real HTTP: against the local Kraken and the local Backpack, and a Paymium of three answers.

ccxt is no dependency of the tests: `pip install '.[test,ccxt]'`, then run pytest on this file.
"""

from __future__ import annotations

import decimal
import json
import logging
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext, RateLimit
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.capabilities import OPERATIONS, supports
from bitmm.xwrap.exchanges.ccxt import adapter, classes, exchange_class, instance
from bitmm.xwrap.exchanges.ccxt.parsing import spot_markets
from bitmm.xwrap.exchanges.ccxt.session import SessionAdapter
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, Refused, Unknown
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue
from bitmm.xwrap.transport import Transport
from tests.support.exchanges import change_answers, connect

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

RECORDED = Path(__file__).parents[2] / "recorded" / "paymium-response.json"
WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


@pytest.fixture
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def backpack():
    with BackpackVenue() as venue:
        yield venue


def connected(venue, transport, **context):
    """The exchange of this venue, with its keys."""
    return connect(exchange_class(f"ccxt:{venue.name}"), venue, transport, **context)


def order(side="buy", amount="0.1", price=None, currency="USDC", cost=None):
    return NewOrder(
        side,
        currency,
        "BTC",
        uuid.uuid4().hex,
        amount=None if amount is None else Decimal(amount),
        price=None if price is None else Decimal(price),
        cost=None if cost is None else Decimal(cost),
    )


def send(amount="0.1", **fields):
    return NewWithdrawal("BTC", Decimal(amount), WALLET, uuid.uuid4().hex, **fields)


def ref_of(placed, id):
    return OrderRef(
        *(placed.side, placed.currency, placed.asset, placed.client_id, id),
        created=datetime.now(UTC),
        amount=placed.amount,
        price=placed.price,
    )


def calls(venue):
    """How often each path was asked for."""
    return Counter(request.path.rpartition("/")[2] for request in venue.requests)


# --- the contract -----------------------------------------------------------------------------------------------------


class TestTheContractAtKraken(ExchangeContract):
    @pytest.fixture
    def exchange(self, kraken, transport):
        return connected(kraken, transport)

    @pytest.fixture
    def ledger(self, kraken):
        return kraken.ledger


class TestTheContractAtBackpack(ExchangeContract):
    currency = "USDC"
    takes = frozenset({"market", "limit"})
    far_price = Decimal(35000)
    send_to = WALLET

    @pytest.fixture
    def exchange(self, backpack, transport):
        backpack.deposit("BTC", Decimal("0.5"))
        return connected(backpack, transport)

    @pytest.fixture
    def ledger(self, backpack):
        return backpack.ledger


# --- what a class says of itself --------------------------------------------------------------------------------------


def test_every_exchange_that_ccxt_knows_makes_a_class_with_honest_verbs():
    made = {id: exchange_class(f"ccxt:{id}") for id in library.exchanges}
    for id, kind in made.items():
        has = getattr(library, id)().has
        assert kind.id == f"ccxt:{id}"
        assert kind.name
        assert bool(kind.form) == (id != "dydx"), "ccxt names no credentials of dYdX"
        verbs = supports(kind)
        assert ("funds" in verbs) == bool(has["fetchBalance"])
        assert ("cancel" in verbs) == bool(has["cancelOrder"])
        assert ("deposit_address" in verbs) == bool(has["fetchDepositAddress"])
        assert ("withdraw" in verbs) == (bool(has["withdraw"]) and id != "kraken")
        assert ("find" in verbs) == (kind.order_lookup != "none") == (id == "kraken")
        assert "permissions" not in verbs
        assert kind.per_address == RateLimit(5, 1000 / getattr(library, id)().rateLimit)
    assert made["kraken"] is exchange_class("ccxt:kraken")
    assert not set(supports(made["paymium"])) & {"find", "open_orders", "cancel_all", "fills", "withdraw", "order"}
    assert set(supports(made["paymium"])) >= {"rate", "markets", "funds", "place", "cancel", "deposit_address"}
    assert set(OPERATIONS) - set(supports(made["kraken"])) == {"withdraw", "find_withdrawal", "permissions"}
    assert set(OPERATIONS) - set(supports(made["backpack"])) == {"find", "find_withdrawal", "permissions"}


@pytest.mark.parametrize("id", ["ccxt:nosuch", "ccxt:", "kraken", "ccxt:Exchange", "ccxt:base", "ccxt:__class__"])
def test_an_unknown_id_is_a_key_error(id):
    with pytest.raises(KeyError):
        exchange_class(id)


def test_a_form_asks_for_what_the_exchange_needs_and_marks_the_secrets():
    form = {field.name: field.secret for field in exchange_class("ccxt:kucoin").form}
    assert form == {"apikey": False, "apisecret": True, "password": True}
    form = {field.name: field.secret for field in exchange_class("ccxt:hyperliquid").form}
    assert form == {"privateKey": True, "walletAddress": False}


def test_a_missing_credential_is_refused_at_once(transport):
    keys = Credentials(apikey="key", apisecret="secret")
    with pytest.raises(Refused, match="needs password") as caught:
        exchange_class("ccxt:kucoin")(ExchangeContext(transport, keys, 1))
    assert caught.value.code == "exchange_key_refused"


def test_only_spot_markets_that_take_orders_are_listed(backpack, transport):
    assert {row["symbol"] for row in backpack.markets(None)} > {"OLD_USDC", "BTC_USDC_PERP"}
    assert [market.asset for market in connected(backpack, transport).markets()] == ["BTC", "SOL", "ETH"]


# --- exact numbers ----------------------------------------------------------------------------------------------------

LONG = Decimal("12345678901234567.12345678901234567891")


def test_text_amounts_of_many_digits_stay_exact(backpack, transport):
    backpack.account.balances["BTC"] = LONG
    exchange = connected(backpack, transport)
    exchange.place(order("sell", price="35000"))
    funds = exchange.funds()["BTC"]
    assert (funds.total, funds.held) == (LONG, Decimal("0.1"))
    assert str(funds.available) == "12345678901234567.02345678901234567891"


def test_the_book_is_exact_and_sorted_as_numbers(backpack, transport):
    pair = backpack.pairs["BTC/USDC"]
    pair.asks[:] = [(Decimal("10.5"), Decimal(1)), (LONG, Decimal(1)), (Decimal("9.50000000000000000001"), Decimal(1))]
    pair.bids[:] = [(Decimal("9.4"), Decimal(1)), (Decimal("9.40000000000000000001"), Decimal(2))]
    rate = connected(backpack, transport).rate("USDC", "BTC")
    assert (str(rate.buy), str(rate.sell)) == ("9.50000000000000000001", "9.40000000000000000001")


class PaymiumVenue(Venue):
    """Recorded answers with JSON numbers; nothing is checked here but that the nonce rises."""

    name = "paymium"
    default_key, default_secret = "paymium-key-0123456789", "paymium-secret-0123456789"

    def __init__(self) -> None:
        self.recorded = json.loads(RECORDED.read_text(), parse_float=Decimal)
        self.user = {}
        self.nonces = []
        super().__init__()

    def routes(self):
        return {
            ("GET", "/api/v1/data/eur/ticker"): lambda request: self.recorded["Example_TickerData.json"],
            ("GET", "/api/v1/data/eur/depth"): lambda request: self.recorded["Example_DepthData.json"],
            ("GET", "/api/v1/user"): self.funds,
        }

    def funds(self, request):
        self.nonces.append(int(request.headers["Api-Nonce"]))
        return self.user


@pytest.fixture
def paymium():
    with PaymiumVenue() as venue:
        yield venue


def test_the_recorded_ticker_of_paymium_is_read_exactly(paymium, transport):
    rate = connected(paymium, transport).rate("EUR", "BTC")
    assert (rate.buy, rate.sell) == (Decimal("20.4"), Decimal("20.1"))


def test_the_recorded_book_of_paymium_is_read_exactly(paymium, transport):
    for side in ("bid", "ask"):
        del paymium.recorded["Example_TickerData.json"][side]
    rate = connected(paymium, transport).rate("EUR", "BTC")
    assert (rate.buy, rate.sell) == (Decimal("24.48996"), Decimal("24.05"))


def test_json_numbers_of_many_digits_stay_exact(paymium, transport):
    paymium.user = {
        "balance_btc": LONG,
        "locked_btc": Decimal("0.00000000000000000001"),
        "balance_eur": 9007199254740993,
        "locked_eur": 0,
    }
    paymium.recorded["Example_TickerData.json"] |= {"ask": LONG, "bid": Decimal("19999.99999999999999")}
    exchange = connected(paymium, transport)
    funds = exchange.funds()
    assert str(funds["BTC"].total) == "12345678901234567.12345678901234567892"
    assert (funds["BTC"].available, str(funds["EUR"].total)) == (LONG, "9007199254740993")
    rate = exchange.rate("EUR", "BTC")
    assert (rate.buy, str(rate.sell)) == (LONG, "19999.99999999999999")


def test_fees_are_kept_and_what_was_spent_is_what_the_fills_tell(backpack, kraken, transport):
    state = connected(backpack, transport).place(order())
    assert (state.fee, state.fee_currency) == (Decimal("0.0001"), "BTC")
    assert (state.spent, state.average) == (Decimal("3001.00"), Decimal("30010.0"))
    # Kraken books 5 decimals; ccxt multiplies the mean price by the amount.
    exchange = connected(kraken, transport)
    exchange.place(order(currency="EUR"))
    state = exchange.place(order(currency="EUR", amount="0.12345678"))
    [fill] = kraken.orders[state.exchange_order_id].fills
    assert state.spent == Decimal(f"{fill.cost:.5f}")
    assert (state.fee, state.fee_currency) == (fill.fee, "EUR")


@pytest.mark.parametrize("fault", ["html", "rate_limit"])
def test_an_order_is_told_without_its_fills_when_they_cannot_be_read(kraken, transport, fault):
    exchange, placed = connected(kraken, transport), order(currency="EUR")
    exchange.markets()
    kraken.fault(fault, path="TradesHistory", times=99)
    state = exchange.place(placed)
    assert (state.status, state.filled) == ("filled", Decimal("0.1"))
    assert (state.fee, state.fee_currency) == (kraken.orders[state.exchange_order_id].fee, "EUR")
    assert exchange.order(ref_of(placed, state.exchange_order_id)) == state


def test_a_programs_decimal_context_changes_nothing_and_is_not_changed(backpack, transport):
    exchange = connected(backpack, transport)
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP, traps=[decimal.Inexact])) as context:
        state = exchange.place(order(amount="0.12345"))
        assert (context.prec, context.rounding) == (3, decimal.ROUND_UP)
        assert [signal for signal, on in context.traps.items() if on] == [decimal.Inexact]
    assert (state.filled, state.spent) == (Decimal("0.12345"), Decimal("3704.7345"))


@pytest.mark.parametrize(
    "loss",
    [
        {"number": float},
        {"on_json_response": staticmethod(json.loads)},
        {"parse_order_book_bid_ask": library.Exchange.parse_order_book_bid_ask},
    ],
    ids=lambda loss: next(iter(loss)),
)
def test_a_class_that_loses_a_digit_is_refused(loss, monkeypatch):
    monkeypatch.setattr(classes, "EXACT_OVERRIDES", classes.EXACT_OVERRIDES | loss)
    with pytest.raises(Refused, match="loses digits") as caught:
        exchange_class.__wrapped__("ccxt:kraken")
    assert caught.value.code == "inexact"


# --- nothing is rounded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "nearest"),
    [
        ({"amount": "0.123457"}, "amount_step", "0.12346"),
        ({"amount": "0.079", "price": "30000.07", "side": "sell"}, "price_step", "30000.1"),
        ({"amount": "0.00001"}, "amount_min", "0.0001"),
    ],
)
def test_an_order_that_ccxt_would_change_is_refused_unsent(backpack, transport, fields, code, nearest):
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).place(order(**fields))
    assert caught.value.code == code
    assert Decimal(caught.value.details["nearest"]) == Decimal(nearest)
    assert not [request for request in backpack.requests if request.method != "GET"]


def listed(kind, url, **precision):
    """The exchange at `url`, with one market that is not read from it."""
    offline = kind.kind()
    offline.set_markets(
        [
            offline.safe_market_structure()
            | {"id": "BTCUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True, "type": "spot"}
            | {"precision": precision, "baseId": "BTC", "quoteId": "USD"}
        ]
    )
    listing = instance.Markets(offline, spot_markets(offline))
    cache = TTLCache()
    cache.get_or_fetch("markets", lambda: listing, seconds=3600)
    return lambda transport, keys: kind(ExchangeContext(transport, keys, 1, url=url, cache=cache))


def test_significant_digits_are_kept_too(transport):
    """Bitfinex takes prices of five digits; ccxt would round one of six."""
    made = listed(exchange_class("ccxt:bitfinex"), "http://127.0.0.1:9", amount=8, price=5)
    exchange = made(transport, Credentials(apikey="key", apisecret="secret"))
    with pytest.raises(Refused) as caught:
        exchange.place(order(currency="USD", price="12345.6"))
    assert (caught.value.code, caught.value.details["nearest"]) == ("price_step", "12346")
    with pytest.raises(Refused) as caught:
        exchange.place(order(currency="USD", price="12346"))
    assert caught.value.code == "exchange_unavailable", "this one went out"


def test_a_market_buy_for_a_cost_is_no_order_for_so_many_units(backpack, transport):
    """ccxt says that Backpack has such a call, and would buy 100 BTC."""
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).place(order(amount=None, cost="100"))
    assert caught.value.code == "unsupported"
    assert not backpack.ledger()


# --- faults of the line -----------------------------------------------------------------------------------------------

#: fault -> what it is to an order or a send, our code, and how many were executed
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
    "rate_limit": (Busy, "rate_limited", 0),
    "nonce": (Refused, "invalid_nonce", 0),
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
    assert set(FAULTS) == set(core.FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", ACTS)
def test_a_fault_is_a_refusal_or_unknown_as_the_ledger_says_and_nothing_is_repeated(request, fault, act):
    name, path, action = ACTS[act]
    kind, code, executed = FAULTS[fault]
    if (name, fault) == ("backpack", "nonce"):
        code = "invalid_request"
    venue = request.getfixturevalue(name)
    transport = Transport(timeout=1 if fault in HANGING else 20)
    exchange = connected(venue, transport)
    exchange.funds()
    before = len(venue.requests)
    venue.fault(fault, path=path, seconds=30)
    with pytest.raises(ExchangeError) as caught:
        action(exchange)
    assert (type(caught.value), caught.value.code) == (kind, code), caught.value
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
    with pytest.raises(Refused) as caught:
        exchange.place(order("sell", amount="1000"))
    assert caught.value.code == "insufficient_funds"


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (403, Refused), (404, Refused), (408, Unknown), (500, Unknown), (520, Unknown)]
)
def test_a_status_alone_says_whether_an_order_was_refused(backpack, transport, status, kind):
    backpack._routes.insert(0, ("POST", core._pattern("/api/v1/order"), lambda request: Reply.text("sorry", status)))
    with pytest.raises(kind, match="sorry"):
        connected(backpack, transport).place(order())
    backpack._routes.pop(0)


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


# --- answers that are not to be believed ------------------------------------------------------------------------------


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
    kraken.private_OpenOrders = lambda account, given: {"open": kraken._selected(account, {}, "open")}
    with pytest.raises(Refused) as caught:
        exchange.find(ref_of(order("sell", price="60000", currency="EUR"), None))
    assert caught.value.code == "exchange_unavailable"


@pytest.mark.parametrize("lie", [{"symbol": "ETH"}, {"quantity": "0.2"}, {"toAddress": "elsewhere"}, {"id": None}])
def test_the_answer_to_a_withdrawal_that_tells_another_one_is_unknown(backpack, transport, lie):
    change_answers(backpack, "POST", "/wapi/v1/capital/withdrawals", lambda row: {**row, **lie})
    with pytest.raises(Unknown):
        connected(backpack, transport).withdraw(send())
    assert len(backpack.ledger()) == 1


@pytest.mark.parametrize("lie", [[], None, "text", 7, {"BTC": {"available": "-1", "locked": "0"}}], ids=str)
def test_balances_that_are_none_are_refused(backpack, transport, lie):
    exchange = connected(backpack, transport)
    change_answers(backpack, "GET", "/api/v1/capital", lambda rows: lie)
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert caught.value.code == "exchange_unavailable"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_key_secret_or_signature_reaches_a_log_at_debug(backpack, kraken, transport, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("ccxt", "ccxt.base.exchange"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for venue in (backpack, kraken):
        exchange = connected(venue, transport)
        exchange.place(order("sell", currency="EUR" if venue is kraken else "USDC"))
        venue.fault("html", path="BalanceEx" if venue is kraken else "/capital")
        with pytest.raises(Refused):
            exchange.funds()
        sent = {request.headers.get(name) for request in venue.requests for name in ("API-Sign", "X-Signature")}
        assert len(sent) > 1
        for secret in {venue.key, venue.secret, *sent} - {None}:
            assert secret not in caplog.text
            assert secret not in repr(exchange.context)


class QueryVenue(Venue):
    """An exchange that is asked with the signature in the query, and that says it back."""

    def routes(self):
        return {
            ("GET", "/api/v3/account"): lambda request: Reply.text(f'{{"code": -1, "msg": "{request.target}"}}', 400)
        }


def test_a_signature_in_the_query_reaches_no_log_and_no_words(transport, caplog):
    caplog.set_level(logging.DEBUG)
    with QueryVenue() as venue:
        exchange = listed(exchange_class("ccxt:binance"), venue.url)(transport, Credentials("", "a-key", "a-secret"))
        with pytest.raises(Refused) as caught:
            exchange.funds()
        [request] = venue.requests
    assert len(request.args["signature"]) == 64
    assert "/api/v3/account" in caplog.text, "the connection's own log is on"
    for words in (caplog.text, str(caught.value)):
        assert request.args["signature"][:16] not in words
        assert request.args["timestamp"] not in words


@pytest.mark.parametrize("escape", [str, lambda text: text.replace("/", "\\/"), lambda text: text.replace("+", "%2B")])
def test_an_exchange_that_says_our_secrets_back_is_not_quoted(kraken, transport, escape):
    def echo(request, method):
        said = [kraken.key, kraken.secret, request.headers["API-Sign"], request.body.decode()]
        words = escape(" ".join(said))
        return Reply.text(f'{{"error": ["EGeneral:Strange {words} https://x.test/?sign={words} end"]}}')

    exchange = connected(kraken, transport)
    exchange.markets()
    kraken._routes.insert(0, ("POST", core._pattern("/0/private/{method}"), echo))
    with pytest.raises(Refused, match="EGeneral:Strange") as caught:
        exchange.place(order(currency="EUR"))
    words = str(caught.value)
    assert caught.value.code == "exchange_refused"
    assert len(words) < 500
    signature = kraken.requests[-1].headers["API-Sign"]
    for secret in (kraken.key, kraken.secret, signature):
        for piece in (secret, secret[:20], secret[-20:]):
            assert piece not in words
    assert "http" not in words


def test_a_failure_shows_no_trace_of_ccxt(backpack, transport):
    """Its frames and texts hold addresses, headers and keys."""
    backpack.fault("html", path="/capital")
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).funds()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_that_the_exchange_does_not_know_is_refused_with_its_words(kraken, backpack, transport):
    for venue, wrong, words in ((kraken, "d3Jvbmc=", "EAPI:Invalid signature"), (backpack, None, "INVALID_SIGNATURE")):
        secret = wrong or BackpackVenue.default_key
        keys = Credentials(apikey=venue.key, apisecret=secret)
        exchange = exchange_class(f"ccxt:{venue.name}")(ExchangeContext(transport, keys, 1, url=venue.url))
        with pytest.raises(Refused, match=words) as caught:
            exchange.place(order(currency="EUR" if venue is kraken else "USDC"))
        assert caught.value.code == "exchange_key_refused"
        assert not venue.ledger()


def test_a_secret_that_does_not_decode_sends_nothing(kraken, transport):
    keys = Credentials(apikey=kraken.key, apisecret="not base64!")
    exchange = exchange_class("ccxt:kraken")(ExchangeContext(transport, keys, 1, url=kraken.url))
    with pytest.raises(Refused, match="nothing was sent") as caught:
        exchange.place(order(currency="EUR"))
    assert caught.value.code == "invalid_request"
    assert not [request for request in kraken.requests if "private" in request.path]


def test_new_keys_of_a_registration_are_used_at_once(kraken, transport):
    connected(kraken, transport).funds()
    kraken.add_account("another-key-of-the-same-owner", kraken.secret, {"BTC": Decimal(7)})
    keys = Credentials(apikey="another-key-of-the-same-owner", apisecret=kraken.secret)
    exchange = exchange_class("ccxt:kraken")(ExchangeContext(transport, keys, 1, url=kraken.url))
    assert exchange.balance()["BTC"] == 7


def test_a_user_sets_credentials_and_nothing_else(backpack, kraken, transport):
    strange = {
        "urls": json.dumps({"api": {"public": kraken.url, "private": kraken.url}}),
        "hostname": kraken.url,
        "proxies": kraken.url,
        "httpProxy": kraken.url,
        "proxyUrl": f"{kraken.url}/?",
        "verbose": "1",
        "session": "x",
        "number": "x",
        "id": "kraken",
    }
    exchange = connected(backpack, transport, more=strange)
    assert exchange.funds()
    assert exchange.rate("USDC", "BTC")
    assert not kraken.requests


def test_the_administrators_address_is_the_only_one(backpack, transport):
    exchange = connected(backpack, transport)
    exchange.markets()
    exchange._instance.ccxt.urls["api"] = library.backpack().urls["api"]
    before = len(backpack.requests)
    with pytest.raises(Refused, match="not the administrator's"):
        exchange.place(order())
    assert len(backpack.requests) == before
    moved = instance._rebased_urls(
        {"a": "https://{hostname}/api/v5", "b": {"c": "https://x.test"}, "d": ["https://y.test/"]}, "B"
    )
    assert moved == {"a": "B/api/v5", "b": {"c": "B"}, "d": ["B/"]}


# --- threads ----------------------------------------------------------------------------------------------------------


def nonces(venue):
    return [int(request.form["nonce"]) for request in venue.requests if "private" in request.path]


def test_threads_on_one_key_send_rising_nonces_one_at_a_time(kraken, transport):
    connected(kraken, transport).markets()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: connected(kraken, transport).funds(), range(80)))
    sent = nonces(kraken)
    assert len(sent) == 80
    assert sent == sorted(set(sent)), "as they arrived"
    assert kraken.account.nonce == sent[-1], "the venue refuses any other"


def test_the_nonces_of_the_registration_are_used_where_there_are_some(kraken, paymium, transport):
    counter = iter(range(2**60, 2**60 + 100))
    for venue in (kraken, paymium):
        exchange = connected(venue, transport, nonce=lambda: next(counter))
        for _ in range(3):
            exchange.funds()
    assert nonces(kraken) == [2**60, 2**60 + 1, 2**60 + 2]
    assert paymium.nonces == [2**60 + 3, 2**60 + 4, 2**60 + 5]


def test_a_clock_is_no_counter(backpack, transport):
    """Backpack refuses timestamps that are not now."""
    assert connected(backpack, transport, nonce=lambda: 2**60).funds()


def test_what_ccxt_only_calculates_takes_no_turn(backpack, transport):
    """A throttled call costs a part of the exchange's limit."""
    taken = []

    @contextmanager
    def throttle(call, *, signed):
        taken.append((call, signed))
        yield

    exchange = connected(backpack, transport, throttle=throttle)
    exchange.place(order("sell", price="35000"))
    exchange.rate("USDC", "BTC")
    reads = [("fetch_ticker", False), ("fetch_order_book", False)]
    assert taken == [("load_markets", False), ("create_order", True), *reads]


def test_one_registration_that_waits_does_not_hold_up_another(kraken, transport):
    other = kraken.add_account("the-key-of-somebody-else", kraken.secret)
    stuck, free = connected(kraken, transport), connected(kraken, transport, registration=2)
    keys = Credentials(apikey=other.key, apisecret=kraken.secret)
    free = exchange_class("ccxt:kraken")(ExchangeContext(transport, keys, 2, url=kraken.url))
    stuck.funds(), free.funds()
    kraken.fault("slow", path="BalanceEx", seconds=4)
    before = len(kraken.requests)
    waiting = threading.Thread(target=stuck.funds)
    waiting.start()
    while len(kraken.requests) == before:
        waiting.join(0.01)
    assert free.funds()
    assert waiting.is_alive()
    kraken._stopping.set()
    waiting.join()


def test_markets_are_read_once_whoever_asks(kraken, transport):
    cache = TTLCache()
    exchanges = [connected(kraken, transport, registration=number, cache=cache) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        listed = list(pool.map(lambda exchange: len(exchange.markets()), exchanges))
        rates = list(pool.map(lambda exchange: exchange.rate("EUR", "BTC").buy, exchanges))
    assert (set(listed), set(rates)) == ({len(kraken.pairs)}, {Decimal("27850.1")})
    assert calls(kraken)["AssetPairs"] == 1


def test_ccxt_objects_are_bounded(kraken, transport, monkeypatch):
    monkeypatch.setattr(instance, "_MAX_INSTANCES", 3)
    first = connected(kraken, transport, registration=1)
    for registration in range(2, 9):
        connected(kraken, transport, registration=registration)
    assert len(instance._INSTANCES) == 3
    assert first.funds(), "who has one keeps it"


# --- canceling --------------------------------------------------------------------------------------------------------


def resting(exchange):
    for asset, price in (("BTC", 35000), ("ETH", 2300), ("ETH", 2400)):
        exchange.place(NewOrder("sell", "USDC", asset, uuid.uuid4().hex, amount=Decimal("0.1"), price=Decimal(price)))


def test_all_markets_are_canceled_and_counted(backpack, transport):
    exchange = connected(backpack, transport)
    resting(exchange)
    assert exchange.cancel_all() == 3
    assert not backpack.open


def test_a_cancellation_that_breaks_off_half_way_is_unknown(backpack, transport):
    exchange = connected(backpack, transport)
    resting(exchange)

    def half(account, given):
        return backpack.cancel_all(account, given) if given["symbol"] == "BTC_USDC" else Reply.json({"code": "X"}, 400)

    call = backpack.private("orderCancelAll", "trade", half)
    backpack._routes.insert(0, ("DELETE", core._pattern("/api/v1/orders"), call))
    with pytest.raises(Unknown, match="some orders were canceled"):
        exchange.cancel_all()
    assert len(backpack.open) == 2


def test_an_order_without_an_id_is_canceled_by_ours(kraken, transport):
    exchange, placed = connected(kraken, transport), order("sell", price="60000", currency="EUR")
    exchange.place(placed)
    exchange.cancel(ref_of(placed, None))
    assert not kraken.open
    with pytest.raises(Refused) as caught:
        exchange.cancel(ref_of(order(currency="EUR"), None))
    assert caught.value.code == "order_not_open"


@pytest.mark.parametrize("id", ["bybit", "okx"])
def test_a_market_buys_amount_is_never_taken_for_its_cost(transport, id):
    """By default a market buy of 100 DOGE is one for 100 USDT in Bybit's accounts of the old kind."""

    def told(ccxt):
        places = (ccxt.options, ccxt.options.get("createOrder") or {})
        return {place[name] for place in places for name in ("createMarketBuyOrderRequiresPrice",) if name in place}

    exchange = exchange_class(f"ccxt:{id}")(
        ExchangeContext(transport, Credentials("", "key", "secret", {"password": "phrase"}), 1)
    )
    assert (told(getattr(library, id)()), told(exchange._instance.ccxt)) == ({False}, {True})


# --- transfers --------------------------------------------------------------------------------------------------------


def test_an_asset_on_several_networks_needs_the_name_of_one(backpack, transport):
    exchange = connected(backpack, transport)
    for act in (lambda: exchange.deposit_address("USDC"), lambda: exchange.deposit_address("USDC", "Tron")):
        with pytest.raises(Refused, match="SOL, ERC20") as caught:
            act()
        assert caught.value.code == "network_required"
    assert exchange.deposit_address("USDC", "solana").address == exchange.deposit_address("SOL").address
    assert exchange.deposit_address("USDC", "Ethereum").address != exchange.deposit_address("SOL").address


def test_a_network_that_ccxt_does_not_list_is_refused_before_it_takes_another(kraken, transport):
    with pytest.raises(Refused) as caught:
        connected(kraken, transport).deposit_address("BTC", "Lightning")
    assert caught.value.code == "network_required"


def test_a_tag_is_never_dropped(backpack, transport):
    """ccxt sends a tag to Backpack as the client's id of the withdrawal, and other classes may not send it at all."""
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).withdraw(send(tag="4711"))
    assert caught.value.code == "invalid_request"
    line = SessionAdapter("Backpack", backpack.url)
    line.start_call(transport, mutates=True, must_contain="47 11")
    with pytest.raises(Refused, match="without the tag"):
        line.request("POST", f"{backpack.url}/api/v1/order", data=b'{"address": "x"}')
    assert not [request for request in backpack.requests if request.method == "POST"]
    line.request("POST", f"{backpack.url}/api/v1/order", data="tag=47+11")
    assert [request.body for request in backpack.requests if request.method == "POST"] == [b"tag=47+11"]


def test_a_tag_goes_where_the_release_wants_it(backpack, transport, monkeypatch):
    monkeypatch.setattr(adapter, "_NO_TAGS", set())
    made = connected(backpack, transport).withdraw(send(tag="4711"))
    assert made.tag == "4711"
    assert backpack.withdrawals[made.id].client_id == "4711"
