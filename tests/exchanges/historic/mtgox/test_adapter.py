"""Mt.Gox's adapter, over real HTTP against the local Mt.Gox: the contract in every version, and what is its own."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.exchanges import orders
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.capabilities import supports
from bitmm.xwrap.exchanges.errors import NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.historic.mtgox import MtGox
from bitmm.xwrap.exchanges.models import Funds, OrderRef, OrderState
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges.mtgox import MtGoxVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.support.historic import ADDRESS, ref_of, send
from tests.support.historic import mtgox_order as order

VERSIONS = ("0", "1", "2")


VENUE = MtGoxVenue


class TestVersion2(ExchangeContract):
    currency, asset, amount = "USD", "BTC", Decimal("0.05")
    takes = frozenset({"market", "limit"})
    send_to, send_amount = ADDRESS, Decimal("0.1")
    version = "2"

    @pytest.fixture
    def exchange(self, mtgox):
        return mtgox(self.version)

    def _check_resting(self, state, order, status):
        # A cancelled order is gone and has no trades, and so is one that is not booked yet.
        super()._check_resting(state, order, "closed" if status == "canceled" else status)

    test_an_order_that_is_refused_for_funds_stops_no_other = None

    def test_more_than_is_there_is_refused(self, exchange, ledger):
        """Mt.Gox takes such an order and lets it wait for funds: it is told as open, and can be cancelled."""
        placed = exchange.place(order("sell", amount="1000", price="500"))
        assert [row["order_id"] for row in ledger()] == [placed.exchange_order_id]
        assert [state.status for state in exchange.open_orders()] == ["open"]
        exchange.cancel(ref_of(placed))
        assert exchange.open_orders() == []


class TestVersion1(TestVersion2):
    version = "1"


class TestVersion0(TestVersion2):
    """Version 0 tells nothing of an order that is no longer open, and has no history but a text."""

    version = "0"

    @pytest.fixture
    def exchange(self, mtgox, monkeypatch):
        monkeypatch.setattr(orders, "LISTED_SECONDS", 0)
        return mtgox(self.version)

    def _check_market_order(self, side, exchange, ledger):
        before = exchange.balance()
        state = self._place(exchange, self._new(side, amount=self.amount))
        (row,) = ledger()
        assert (row["order_id"], row["side"]) == (state.exchange_order_id, side)
        assert (state.status, state.filled) == ("open", None)
        assert exchange.order(ref_of(state)).status == "closed"
        assert exchange.balance()["BTC"] != before["BTC"]

    def test_a_withdrawal_is_sent_once_and_listed(self, exchange, ledger):
        asked = send()
        made = exchange.withdraw(asked)
        assert (made.id, made.status, made.amount, made.address) == (
            asked.client_id,
            "unknown",
            asked.amount,
            asked.address,
        )
        assert [row["kind"] for row in ledger()] == ["withdrawal"]

    @pytest.mark.parametrize("verb", ["fills", "deposits", "withdrawals"])
    def test_version_0_has_no_history(self, exchange, verb):
        with pytest.raises(Unsupported, match="version 0"):
            getattr(exchange, verb)(*(("USD", "BTC") if verb == "fills" else ()))

    def test_fills_tell_what_was_executed_newest_first(self, exchange):
        self.test_version_0_has_no_history(exchange, "fills")

    def test_deposits_are_told_newest_first(self, exchange):
        self.test_version_0_has_no_history(exchange, "deposits")


def test_without_a_base_url_every_verb_says_so(transport):
    exchange = MtGox(ExchangeContext(transport, Credentials(apikey="key", apisecret="c2VjcmV0")))
    placed = OrderState("055e81e4-fe38-4b3c-bbca-69e61724f64a", "open", "buy", "USD", "BTC", client_id="0" * 32)
    arguments = {
        **dict.fromkeys(("rate", "ticker", "fills"), ("USD", "BTC")),
        **dict.fromkeys(("order_book", "trades"), ("USD", "BTC", 10)),
        **dict.fromkeys(("order", "cancel"), (ref_of(placed),)),
        "place": (order(),),
        "withdraw": (send(),),
        "deposit_address": ("BTC",),
    }
    verbs = supports(MtGox)
    assert len(verbs) == 17
    for verb in verbs:
        with pytest.raises(Refused, match="closed in February 2014") as caught:
            getattr(exchange, verb)(*arguments.get(verb, ()))
        assert caught.value.code == "exchange_url_missing", verb


def test_a_version_that_never_was_is_refused(mtgox):
    with pytest.raises(Refused) as caught:
        mtgox("3")
    assert caught.value.code == "invalid_request"


def test_a_secret_that_is_not_base64_is_refused(mtgox):
    with pytest.raises(Refused) as caught:
        mtgox(apisecret="?")
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("currency", "buy", "sell"),
    [("USD", "91.45898", "90.68502"), ("EUR", "71.30000", "70.90000"), ("JPY", "8640.500", "8601.250")],
)
def test_buy_is_mt_goxs_sell_with_the_digits_of_the_currency(mtgox, version, currency, buy, sell):
    rate = mtgox(version).rate(currency, "BTC")
    assert (str(rate.buy), str(rate.sell)) == (buy, sell)


def test_the_divisors_are_those_of_each_currency(mtgox):
    steps = {market.currency: market.price_step for market in mtgox().markets()}
    assert len(steps) == 18
    assert {currency for currency, step in steps.items() if step == Decimal("0.001")} == {"JPY", "SEK"}
    assert {step for currency, step in steps.items() if currency not in ("JPY", "SEK")} == {Decimal("0.00001")}


@pytest.mark.parametrize("version", VERSIONS)
def test_rights_become_permissions(mtgox, venue, version):
    exchange = mtgox(version)
    assert exchange.permissions() == {"read", "trade", "send"}
    venue.account.permissions = {"get_info", "deposit"}
    assert exchange.permissions() == {"read"}


@pytest.mark.parametrize("version", VERSIONS)
def test_open_orders_hold_funds(mtgox, version):
    exchange = mtgox(version)
    exchange.place(order("sell", "2.5", "200"))
    assert exchange.funds()["BTC"] == Funds(Decimal(100), Decimal("97.5"), Decimal("2.5"))
    assert exchange.balance()["BTC"] == 100


@pytest.mark.parametrize("version", VERSIONS)
def test_an_open_order_that_cannot_be_understood_hides_no_other(mtgox, venue, version):
    exchange = mtgox(version)
    odd, placed = (exchange.place(order("sell", "0.1", price)) for price in ("200", "300"))
    honest = venue.listed
    venue.listed = lambda account, view: [
        row | ({"type": "?"} if row["oid"] == odd.exchange_order_id else {}) for row in honest(account, view)
    ]
    unclear, clear = exchange.open_orders()
    assert (unclear.exchange_order_id, unclear.status, unclear.amount) == (odd.exchange_order_id, "open", None)
    assert (clear.exchange_order_id, clear.price) == (placed.exchange_order_id, Decimal(300))


@pytest.mark.parametrize("version", ["1", "2"])
def test_what_is_filled_of_an_open_order_is_told(mtgox, venue, version):
    exchange = mtgox(version)
    other = venue.add_account("other", venue.secret, {"BTC": Decimal(1), "USD": Decimal(0)})
    placed = exchange.place(order("buy", "0.5", "91.00000"))
    assert exchange.order(ref_of(placed)).filled is None
    venue.place(other, "BTC/USD", "sell", amount=Decimal("0.2"), price=Decimal("91.00000"))
    state = exchange.order(ref_of(placed))
    assert (state.status, state.amount, state.filled, state.spent) == (
        "open",
        Decimal("0.5"),
        Decimal("0.20000000"),
        Decimal("18.20000"),
    )
    exchange.cancel(ref_of(placed))
    with pytest.raises(NotListedYet):
        exchange.order(replace(ref_of(placed), created=datetime.now(UTC)))
    state = exchange.order(replace(ref_of(placed), created=datetime.now(UTC), is_over=True))
    assert (state.status, state.filled, state.fee, state.fee_currency) == (
        "partly_filled",
        Decimal("0.20000000"),
        Decimal("0.00120000"),
        "BTC",
    )


@pytest.mark.parametrize(("side", "where"), [("buy", "BTC"), ("sell", "USD")])
def test_the_fee_of_a_market_order_over_several_trades_is_told(mtgox, venue, side, where):
    state = mtgox().place(order(side, "2.5"))
    fills = [fill for made in venue.orders.values() for fill in made.fills]
    assert len(fills) == 2
    assert state.average == sum(fill.price * fill.amount for fill in fills) / Decimal("2.5")
    assert (state.status, state.filled, state.fee_currency) == ("filled", Decimal("2.5"), where)
    assert state.fee == sum(fill.fee for fill in fills)
    assert state.spent == sum(fill.cost for fill in fills)


def test_a_fee_that_is_not_booked_yet_is_not_told(mtgox, venue):
    venue.fault("html", path="wallet/history")
    state = mtgox().place(order())
    assert (state.status, state.filled, state.fee) == ("filled", Decimal("0.05"), None)


def test_a_market_order_whose_state_cannot_be_read_is_still_an_order(mtgox, venue):
    venue.lag = 0
    venue.fault("html", times=100, path="/orders")
    state = mtgox().place(order())
    assert (state.status, state.filled) == ("open", None)
    assert state.exchange_order_id == venue.ledger()[0]["order_id"]


def test_a_market_order_that_is_nowhere_for_a_moment_is_waited_for(mtgox, venue):
    venue.result_lag = 2
    state = mtgox().place(order())
    assert (state.status, state.filled) == ("filled", Decimal("0.05"))
    assert len(venue.ledger()) == 1


def test_two_adapters_ask_for_a_rate_once_in_ten_seconds(mtgox, venue):
    assert mtgox().rate("USD", "BTC") == mtgox().rate("USD", "BTC")
    assert len(venue.requests) == 1


def test_fills_have_both_sides_of_the_booking(mtgox, venue):
    exchange = mtgox()
    bought = exchange.place(order("buy", "0.05"))
    sold = exchange.place(order("sell", "0.1"))
    exchange.place(order("buy", "0.05", currency="JPY"))
    newer, older = exchange.fills("USD", "BTC")
    assert (newer.side, newer.amount, newer.price, newer.fee, newer.fee_currency, newer.exchange_order_id) == (
        "sell",
        Decimal("0.1"),
        Decimal("90.68502"),
        sold.fee,
        "USD",
        sold.exchange_order_id,
    )
    assert (older.side, older.amount, older.price, older.fee, older.fee_currency, older.exchange_order_id) == (
        "buy",
        Decimal("0.05"),
        Decimal("91.45898"),
        bought.fee,
        "BTC",
        bought.exchange_order_id,
    )
    (yen,) = exchange.fills("JPY", "BTC")
    assert yen.price == Decimal("8640.500")


def test_deposits_and_withdrawals_come_from_the_history(mtgox, venue):
    exchange = mtgox()
    venue.deposit("BTC", Decimal("0.25"))
    made = exchange.withdraw(send("0.5"))
    (deposit,) = exchange.deposits()
    assert (deposit.asset, deposit.amount, deposit.status) == ("BTC", Decimal("0.25"), "done")
    assert deposit.address == venue.account.addresses["BTC"][0]
    (listed,) = exchange.withdrawals("BTC")
    assert (listed.id, listed.txid, listed.amount, listed.address) == (made.id, made.txid, Decimal("0.5"), ADDRESS)
    assert exchange.deposits("USD") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_an_address_stays_until_it_was_used(mtgox, venue, version):
    exchange = mtgox(version)
    first = exchange.deposit_address("BTC")
    assert exchange.deposit_address("BTC") == first
    venue.deposit("BTC", Decimal(1))
    assert exchange.deposit_address("BTC") != first


def test_a_transfer_inside_has_no_transaction(mtgox, venue):
    other = venue.add_account("other", venue.secret, {"BTC": Decimal(0), "USD": Decimal(0)})
    made = mtgox().withdraw(send("0.5", venue.address(other, "BTC")))
    assert (len(made.id), made.txid) == (36, None)
    assert other.balances["BTC"] == Decimal("0.5")


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_buy_through_client_and_server_tells_what_it_did(serving, venue, version):
    with serving(exchanges=("mtgox",), exchange_urls={"mtgox": venue.url}) as server:
        auth = server.account()
        keys = {"apikey": venue.key, "apisecret": venue.secret, "version": version}
        backend = Backend(server.registration(auth, "mtgox", **keys), *auth, server.url)
        venue.requests.clear()
        bought = backend.buy("USD", "BTC", Decimal("0.1"))
    told = [bought[name] for name in ("status", "filled", "average", "spent", "fee", "fee_currency")]
    assert told == ["filled", *map(Decimal, ("0.1", "91.45898", "9.14590", "0.0006")), "BTC"]
    assert "order/add" in venue.requests[0].path
    assert [row["order_id"] for row in venue.ledger()] == [bought["exchange_order_id"]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("asked", "code", "nearest"),
    [
        (order(amount="0.123456789"), "invalid_amount", "0.12345679"),
        (order(amount="0"), "invalid_amount", "0.00000001"),
        (order(amount="-1"), "invalid_amount", "0.00000001"),
        (order(price="91.000001"), "invalid_price", "91.00000"),
        (order(price="9000.0005", currency="JPY"), "invalid_price", "9000.001"),
    ],
)
def test_an_amount_that_is_no_whole_number_of_units_is_refused(mtgox, venue, version, asked, code, nearest):
    with pytest.raises(Refused) as caught:
        mtgox(version).place(asked)
    assert (caught.value.code, caught.value.details["nearest"]) == (code, nearest)
    assert not venue.requests


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (send("0.123456789"), "invalid_amount"),
        (send(tag="7"), "invalid_request"),
        (send(network="lightning"), "unsupported"),
    ],
)
def test_a_send_that_cannot_be_said_is_refused(mtgox, venue, asked, code):
    with pytest.raises(Refused) as caught:
        mtgox().withdraw(asked)
    assert caught.value.code == code
    assert not venue.requests


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (order(amount="0.001"), "invalid_amount", "Order amount is too low"),
        (order(currency="PLN"), "exchange_refused", "Invalid call"),
    ],
)
def test_the_exchanges_own_refusals_keep_their_words(mtgox, venue, version, asked, code, words):
    with pytest.raises(Refused) as caught:
        mtgox(version).place(asked)
    assert (caught.value.code, str(caught.value)) == (code, words)
    assert not venue.ledger()


@pytest.mark.parametrize("verb", ["cancel", "order"])
@pytest.mark.parametrize("oid", [None, "", "../../info"])
def test_an_order_without_mt_goxs_id_is_not_asked_for(mtgox, venue, verb, oid):
    with pytest.raises(Refused) as caught:
        getattr(mtgox(), verb)(OrderRef("buy", "USD", "BTC", "0" * 32, oid))
    assert caught.value.code == "order_not_found"
    assert not venue.requests


def test_an_amount_and_a_cost_together_are_refused(mtgox, venue):
    with pytest.raises(Unsupported):
        mtgox().place(order(cost=Decimal(5)))
    assert not venue.requests


def test_an_unknown_pair_says_what_is_offered(mtgox, venue):
    with pytest.raises(Refused, match="AUD, CAD") as caught:
        mtgox().rate("BRL", "BTC")
    assert caught.value.code == "unknown_market"
    assert not venue.requests


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_order_is_one_request_and_none_before_it(mtgox, venue, version):
    mtgox(version).place(order("sell", "0.1", "200"))
    assert len(venue.requests) == 1


def test_in_version_0_one_request_before_an_order_tells_it_from_the_others(mtgox, venue):
    exchange = mtgox("0")
    placed = [exchange.place(order("sell", "0.1", "200")).exchange_order_id for _ in range(3)]
    assert placed == [row["order_id"] for row in venue.ledger()]
    assert len(venue.requests) == 6


def test_in_version_0_an_order_that_is_not_in_the_list_is_unknown(mtgox, venue):
    venue.lag = 0
    with pytest.raises(Unknown, match="0 new orders"):
        mtgox("0").place(order())
    assert len(venue.ledger()) == 1


def test_a_failed_login_without_a_token_is_proof_when_a_read_fails_too(mtgox, venue):
    """Version 0 and the early version 1 had the same words for a used nonce and for a wrong key."""
    failed = Reply.json({"error": "Identification required to access private API"}, 403)
    venue._routes.insert(0, ("POST", re.compile(r"/api/0/sellBTC\.php"), lambda request: failed))
    with pytest.raises(Unknown) as unknown:
        mtgox("0").place(order("sell", "0.1", "200"))
    assert unknown.value.refusal.code == "exchange_key_refused"
    venue._routes.insert(0, ("POST", re.compile(r"/api/0/info\.php"), lambda request: failed))
    with pytest.raises(Refused) as caught:
        mtgox("0").place(order("sell", "0.1", "200"))
    assert caught.value.code == "exchange_key_refused"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("verb", ["place", "withdraw", "cancel"])
def test_what_is_delivered_twice_is_never_called_refused(mtgox, venue, version, verb):
    exchange = mtgox(version)
    placed = exchange.place(order("sell", "0.1", "200"))
    path = {"place": "sellBTC.php" if version == "0" else "order/add", "cancel": "cancel", "withdraw": "send_simple"}
    if version == "0":
        path |= {"cancel": "cancelOrder.php", "withdraw": "withdraw.php"}
    venue.fault("delivered_twice", path=path[verb])
    asked = {"place": order("sell", "0.1", "300"), "withdraw": send(), "cancel": ref_of(placed)}[verb]
    with pytest.raises(Unknown) as caught:
        getattr(exchange, verb)(asked)
    assert caught.value.refusal.code == "invalid_nonce"
    assert len(venue.ledger()) == (1 if verb == "cancel" else 2)


def test_an_order_that_is_gone_without_trades_is_closed_once_it_must_be_listed(mtgox, venue):
    exchange = mtgox()
    placed = exchange.place(order("sell", "0.1", "200"))
    exchange.cancel(ref_of(placed))
    now = datetime.now(UTC)
    with pytest.raises(NotListedYet):
        exchange.order(replace(ref_of(placed), created=now))
    state = exchange.order(replace(ref_of(placed), created=now - timedelta(seconds=11)))
    assert (state.status, state.filled) == ("closed", None)
    assert state.reason == "no longer open at Mt.Gox, which does not tell whether it was filled or canceled"
    bought = exchange.order(replace(ref_of(exchange.place(order())), created=now))
    assert (bought.status, bought.filled, bought.reason) == ("filled", Decimal("0.05"), None)
