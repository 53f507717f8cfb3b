"""Currencies and assets are taken in any case and spelling by every call, and answered by their common names."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module
from typing import ClassVar

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap import exchanges
from bitmm.xwrap._names import name_among, pair_among
from bitmm.xwrap.client import APIError, InvalidRequest, OutcomeUnknown, XWrap
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import OrderState, Withdrawal
from tests.support.sends import allow_sends
from tests.support.stub import Stub

#: id of the exchange, a pair that it trades, other ways to write it.
WAYS = [
    ("paper", ("USD", "BTC"), [("usd", "btc"), ("Usd", "XBT"), ("USD", "xbt")]),
    ("kraken", ("EUR", "BTC"), [("eur", "btc"), ("EUR", "XBT"), ("ZEUR", "XXBT"), ("zeur", "xxbt")]),
    ("ccxt:kraken", ("EUR", "BTC"), [("eur", "btc"), ("EUR", "XBT"), ("ZEUR", "XXBT")]),
    ("bitstamp", ("USD", "BTC"), [("usd", "btc"), ("USD", "XBT")]),
    ("backpack", ("USDC", "SOL"), [("usdc", "sol"), ("Usdc", "Sol")]),
    ("mtgox", ("USD", "BTC"), [("usd", "btc"), ("USD", "XBT")]),
    ("hub", ("USD", "BTC"), [("usd", "btc"), ("USD", "XBT")]),
]


@pytest.fixture(params=WAYS, ids=[way[0] for way in WAYS])
def at(request, serving):
    """A backend at one exchange, its pair, and the other ways to write it."""
    exchange, pair, ways = request.param
    if exchange == "paper":
        with serving(exchanges=("paper",)) as server:
            yield XWrap(server.url).create_backend(*server.account(), "paper", "", "", ""), pair, ways
        return
    if exchange.startswith("ccxt:"):
        pytest.importorskip("ccxt")
    venue_class = import_module(f"bitmm.xwrap.testing.exchanges.{exchange.removeprefix('ccxt:')}").VENUE
    with (
        venue_class() as venue,
        serving(exchanges=(exchange,), exchange_urls={exchange: venue.url}, exchange_limits={exchange: None}) as server,
    ):
        form = {"exchange": exchange, "apikey": venue.key, "apisecret": venue.secret}
        auth = server.account()
        yield XWrap(server.url).backend(server.registration(auth, **form), *auth), pair, ways


def test_orders_and_reads_take_names_in_every_spelling(at):
    backend, (currency, asset), ways = at
    price = (backend.exchange_rate(currency, asset)["sell"] * Decimal("0.9")).quantize(Decimal(1))
    for number, (money, thing) in enumerate(ways):
        assert backend.exchange_rate(money, thing)["buy"] > 0
        order = backend.buy(money, thing, "0.1", price=price, key=f"k{number}")
        assert (order["currency"], order["asset"], order["status"]) == (currency, asset, "open")
        # The same key in another spelling is the same order, and in that of another pair it is not.
        assert backend.buy(currency.lower(), asset, "0.1", price=price, key=f"k{number}")["id"] == order["id"]
        assert backend.buy(money, thing, "0.1", price=price, key=f"k{number}")["id"] == order["id"]
        with pytest.raises(InvalidRequest) as caught:
            backend.buy(money, "LTC", "0.1", price=price, key=f"k{number}")
        assert caught.value.code == "key_reused"
        tried = backend.sell(money, thing, "0.1", price=price, dry_run=True)
        assert (tried["currency"], tried["asset"]) == (currency, asset)
        backend.cancel(order["id"])


@pytest.mark.parametrize("asset", ["btc", "XBT"])
def test_sends_and_deposits_take_names_in_every_spelling(serving, asset):
    with (
        import_module("bitmm.xwrap.testing.exchanges.kraken").VENUE() as venue,
        serving(exchanges=("paper", "kraken"), exchange_urls={"kraken": venue.url}) as server,
    ):
        account, xw = server.account(), XWrap(server.url)
        paper = xw.create_backend(*account, "paper", "", "", "")
        assert paper.send_to_address(asset, "0.1", paper.get_address(asset))
        assert [send["asset"] for send in paper.withdrawals()] == ["BTC"]
        assert paper.deposit_address(asset)["asset"] == "BTC"
        paper.buy("usd", asset, "0.1")
        assert [fill["asset"] for fill in paper.fills("usd", asset)] == ["BTC"]
        venue.deposit("BTC", Decimal("0.5"), network="Bitcoin")
        kraken = xw.create_backend(*account, "kraken", "", venue.key, venue.secret, allow_send=True)
        assert [deposit["asset"] for deposit in kraken.deposits(asset)] == ["BTC"]
        assert kraken.deposit_address(asset)["asset"] == "BTC"


class CaseStub(Stub):
    """An exchange whose names have both cases, and spellings of their own; its lists can fail."""

    listed: ClassVar = [
        ("USD", "kPEPE"),
        ("USD", "AAPLx"),
        ("USD", "BTC"),
        ("USD", "LUNA"),
        ("USD", "Om"),
        ("USD", "OM"),
    ]
    failure: ClassVar = None

    def common_pair(self, currency, asset):
        if self.failure is not None:
            raise self.failure
        return pair_among(currency, asset, self.listed, lambda: {"LUNA2": "LUNA"})

    def common_asset(self, asset):
        return name_among(asset, [thing for _, thing in self.listed], lambda: {"LUNA2": "LUNA"})


@pytest.fixture(scope="module")
def stub_server(serving):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.server.test_common_names:CaseStub")
        with serving(exchanges=("stub",)) as server:
            yield server


@pytest.fixture
def stub(stub_server, monkeypatch):
    monkeypatch.setattr(Stub, "placed", [])
    monkeypatch.setattr(CaseStub, "failure", None)
    filled = lambda order: OrderState("X", "filled", order.side, order.currency, order.asset, filled=order.amount)
    sent = lambda send: Withdrawal("X", send.asset, send.amount, "done", address=send.address)
    act = lambda request: filled(request) if hasattr(request, "side") else sent(request)
    monkeypatch.setattr(Stub, "act", staticmethod(act))
    backend = XWrap(stub_server.url).create_backend(*stub_server.account(), "stub", "", "", "")
    for asset in ("kPEPE", "AAPLx", "Om", "OM"):
        allow_sends(stub_server.database, backend.username, ["x"], asset=asset)
    return backend


@pytest.mark.parametrize(
    ("written", "name"), [("kPEPE", "kPEPE"), ("kpepe", "kPEPE"), ("AAPLX", "AAPLx"), ("Om", "Om"), ("OM", "OM")]
)
def test_a_name_with_both_cases_stays_what_it_is(stub, written, name):
    assert stub.buy("usd", written, 1)["asset"] == name
    assert stub.send_to_address(written, 1, "x")
    assert [request.asset for request in Stub.placed] == [name, name]


def test_what_may_be_several_assets_is_none_of_them(stub):
    assert stub.buy("USD", "oM", 1)["asset"] == "oM"


def test_where_money_moves_a_spelling_that_only_the_exchange_knows_is_refused_with_the_name(stub):
    with pytest.raises(InvalidRequest, match="what Stub calls LUNA2 is LUNA here; write LUNA") as caught:
        stub.buy("USD", "LUNA2", 1)
    assert caught.value.code == "unknown_asset"
    with pytest.raises(InvalidRequest, match="write LUNA"):
        stub.send_to_address("LUNA2", 1, "x")
    assert Stub.placed == []


def test_while_the_exchange_cannot_say_what_a_name_means_nothing_is_sent_and_a_repeat_is_no_refusal(stub, monkeypatch):
    first = stub.buy("USD", "kPEPE", 1, key="k1")
    monkeypatch.setattr(CaseStub, "failure", Refused("down", code="exchange_unavailable", retryable=True))
    # Written as before, it needs no exchange.
    assert stub.buy("USD", "kPEPE", 1, key="k1") == stub.buy("usd", "kPEPE", 1, key="k1") == first
    # Written otherwise the server cannot say whether it is the same; the client asks by the key.
    assert stub.buy("USD", "KPEPE", 1, key="k1") == first
    with pytest.raises(OutcomeUnknown):
        stub.buy("USD", "BTC", 1, key="k1")
    with pytest.raises(APIError, match="down"):
        stub.buy("USD", "kPEPE", 1, key="k2")
    assert [order["key"] for order in stub.orders()] == ["k1"]
    assert len(Stub.placed) == 1


def test_a_repeat_by_a_name_that_no_order_is_placed_with_is_a_key_used_again(stub):
    first = stub.buy("USD", "LUNA", 1, key="k1")
    with pytest.raises(InvalidRequest) as caught:
        stub.buy("USD", "LUNA2", 1, key="k1")
    assert caught.value.code == "key_reused"
    assert stub.order(key="k1") == first
    assert len(Stub.placed) == 1
