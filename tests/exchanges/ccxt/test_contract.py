"""The bridge to ccxt holds the contract of an exchange, and says of itself what is true."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext, RateLimit
from bitmm.xwrap.exchanges.capabilities import OPERATIONS, supports
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from tests.exchanges.ccxt.support import WALLET, connected

library = pytest.importorskip("ccxt", reason="ccxt is not installed")


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
    assert set(OPERATIONS) - set(supports(made["paymium"])) == {
        *("find", "fills", "withdraw", "find_withdrawal", "deposits", "withdrawals", "permissions")
    }
    assert "place" not in supports(made["coinspot"])
    for id in ("coincheck", "btse"):
        assert {"order", "open_orders", "fills", "cancel"} <= set(supports(made[id]))
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
