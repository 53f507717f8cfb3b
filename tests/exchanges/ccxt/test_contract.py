"""The bridge to ccxt holds the contract of an exchange, and says of itself what is true."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext, RateLimit
from bitmm.xwrap.exchanges.capabilities import OPERATIONS, supports
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt.client_ids import CLIENT_IDS
from bitmm.xwrap.exchanges.ccxt.form import credentials_and_options, missing_credentials
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from tests.exchanges.ccxt.support import WALLET, connected, listed, order

library = pytest.importorskip("ccxt", reason="ccxt is not installed")
#: The exchanges that have spot markets in ccxt.
SPOT = [id for id in library.exchanges if getattr(library, id)().has["spot"]]


class TestTheContractAtKraken(ExchangeContract):
    conditions = frozenset({"stop"})

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
    made = {id: exchange_class(f"ccxt:{id}") for id in SPOT}
    for id, kind in made.items():
        has = getattr(library, id)().has
        assert kind.id == f"ccxt:{id}"
        assert kind.name
        assert kind.form
        verbs = supports(kind)
        assert ("funds" in verbs) == bool(has["fetchBalance"])
        assert ("cancel" in verbs) == (bool(has["cancelOrder"]) and id != "lighter")
        assert ("deposit_address" in verbs) == bool(has["fetchDepositAddress"])
        assert ("withdraw" in verbs) == (bool(has["withdraw"]) and id not in {"kraken", "lighter"})
        assert ("find" in verbs) == (kind.order_lookup == "all") == (id in CLIENT_IDS)
        assert "permissions" not in verbs
        assert kind.per_address == RateLimit(5, 1000 / getattr(library, id)().rateLimit)
    assert made["kraken"] is exchange_class("ccxt:kraken")
    assert set(OPERATIONS) - set(supports(made["paymium"])) == {
        *("deadman", "find", "fills", "withdraw", "find_withdrawal", "deposits", "withdrawals", "permissions"),
        *("amend", "candles", "fills_page", "ledger_page", "deposits_page", "transfer"),
    }
    assert "place" not in supports(made["coinspot"])
    for id in ("coincheck", "btse"):
        assert {"order", "open_orders", "fills", "cancel"} <= set(supports(made[id]))
    assert set(OPERATIONS) - set(supports(made["kraken"])) == {
        *(
            "amend",
            "deadman",
            "withdraw",
            "find_withdrawal",
            "permissions",
            "fills_page",
            "ledger_page",
            "deposits_page",
            "transfer",
        )
    }
    assert set(OPERATIONS) - set(supports(made["backpack"])) == {
        *(
            "amend",
            "deadman",
            "find",
            "find_withdrawal",
            "permissions",
            "fees",
            "fills_page",
            "ledger_page",
            "deposits_page",
            "transfer",
        )
    }


@pytest.mark.parametrize("id", sorted({*library.exchanges} - {*SPOT}))
def test_an_exchange_without_spot_markets_is_refused_by_name(id):
    with pytest.raises(Refused, match=f"{re.escape(getattr(library, id)().name)} has no spot markets") as caught:
        exchange_class(f"ccxt:{id}")
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("id", ["ccxt:nosuch", "ccxt:", "kraken", "ccxt:Exchange", "ccxt:base", "ccxt:__class__"])
def test_an_unknown_id_is_a_key_error(id):
    with pytest.raises(KeyError):
        exchange_class(id)


FORMS = {
    "kucoin": {"apikey": False, "apisecret": True, "passphrase": True},
    "coinmate": {"apikey": False, "apisecret": True, "uid": False},
    "hyperliquid": {"privateKey": True, "walletAddress": False},
    "ndax": {"apikey": False, "apisecret": True, "passphrase": True, "uid": False, "login": False, "twofa": True},
    "bitvavo": {"apikey": False, "apisecret": True, "operatorId": False},
    "cex": {"apikey": False, "apisecret": True, "accountId": False},
}


@pytest.mark.parametrize("id", FORMS)
def test_a_form_asks_for_what_the_exchange_needs_and_marks_the_secrets(id):
    assert {field.name: field.secret for field in exchange_class(f"ccxt:{id}").form} == FORMS[id]


def test_every_credential_that_a_class_of_ccxt_needs_is_a_field_of_its_form():
    """And no field is called as an argument of `create_backend` is."""
    taken = {"username", "password", "exchange", "uname", "key", "secret", "label", "account"}
    asking_for_more = 0
    for id in SPOT:
        needs = {name for name, needed in getattr(library, id)().requiredCredentials.items() if needed}
        form = exchange_class(f"ccxt:{id}").form
        keys = Credentials("", "a key", "a secret", {field.name: f"the {field.name}" for field in form})
        given, _ = credentials_and_options(id, keys)
        assert given.keys() >= needs, id
        assert not missing_credentials(form, id, keys)
        assert not taken & {field.name for field in form}
        asking_for_more += not needs <= {"apiKey", "secret"}
    assert asking_for_more >= 18


@pytest.mark.parametrize("name", ["passphrase", "password"])
def test_ccxt_gets_a_passphrase_under_either_name(transport, name):
    exchange = exchange_class("ccxt:kucoin")(
        ExchangeContext(transport, Credentials("", "key", "secret", {name: "open sesame"}), 1)
    )
    assert exchange._instance.ccxt.password == "open sesame"
    assert "open sesame" in exchange._instance._secrets


@pytest.mark.parametrize(("id", "name"), [("bitvavo", "operatorId"), ("cex", "accountId")])
def test_an_option_without_which_ccxt_places_no_order_is_a_field(transport, id, name):
    def ask(more):
        context = ExchangeContext(transport, Credentials("", "key", "secret", more), 1)
        ccxt = exchange_class(f"ccxt:{id}")(context)._instance.ccxt
        sent = []
        ccxt.load_markets = lambda: None
        names = {"id": "BTC-EUR", "base": "BTC", "quote": "EUR", "baseId": "BTC", "quoteId": "EUR"}
        ccxt.market = lambda symbol: {"symbol": symbol, "spot": True, **names}
        ccxt.amount_to_precision = ccxt.price_to_precision = lambda symbol, number: number
        ccxt.fetch2 = lambda path, api, method, params, *rest: sent.append(params) or {}
        ccxt.create_order("BTC/EUR", "limit", "buy", "1", "2")
        return sent[0]

    assert str(ask({name: "77"})[name]) == "77"
    with pytest.raises(library.ArgumentsRequired, match=name):
        ask({})


@pytest.mark.parametrize(("id", "name"), [("bitvavo", "operatorId"), ("cex", "accountId")])
def test_a_registration_without_such_an_option_is_read_and_told_how_it_orders(transport, id, name):
    """It is older than the field."""
    keys = Credentials("", "key", "secret")
    exchange = listed(exchange_class(f"ccxt:{id}"), "http://127.0.0.1:9", amount="0.1", price="0.1")(transport, keys)
    with pytest.raises(Refused, match=f"needs '{name}' for orders and sends; register a key with it") as caught:
        exchange.place(order(price="20000", currency="USD"))
    assert caught.value.code == "invalid_request"
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert caught.value.code == "exchange_unavailable", "this one went out"


def test_a_missing_credential_is_refused_at_once(transport):
    keys = Credentials(apikey="key", apisecret="secret")
    with pytest.raises(Refused, match="needs 'passphrase'") as caught:
        exchange_class("ccxt:kucoin")(ExchangeContext(transport, keys, 1))
    assert caught.value.code == "invalid_request"


def test_only_spot_markets_that_take_orders_are_listed(backpack, transport):
    assert {row["symbol"] for row in backpack.markets(None)} > {"OLD_USDC", "BTC_USDC_PERP"}
    assert [market.asset for market in connected(backpack, transport).markets()] == ["BTC", "SOL", "ETH"]
