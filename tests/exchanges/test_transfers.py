"""Transfers between accounts of one owner: the contract, and what Kraken and Bitstamp are sent, to their documents."""

from __future__ import annotations

import base64
import uuid
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.models import NewTransfer
from bitmm.xwrap.exchanges.paper import Paper
from bitmm.xwrap.exchanges.paper.ledger import PaperConfig
from bitmm.xwrap.exchanges.paper.prices import Prices
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.transfer_contract import TransferContract
from bitmm.xwrap.transport import Transport
from tests.support.databases import sql
from tests.support.exchanges import connect

SECRET = base64.b64encode(b"the secret of a sub-account").decode()


@pytest.fixture
def transport():
    transport = Transport(timeout=20)
    yield transport
    transport.close()


@pytest.fixture
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def bitstamp():
    with BitstampVenue() as venue:
        yield venue


class Sub:
    """The key of a sub-account at a local exchange."""

    def __init__(self, venue, name="sub"):
        self.key, self.secret, self.url = name, SECRET, venue.url
        self.account = venue.add_account(name, SECRET)


def transfer(other, amount="0.1", asset="BTC"):
    id = other.context.registration
    return NewTransfer(asset, Decimal(amount), other.transfer_account(), uuid.uuid4().hex, to_registration=id)


def last_form(venue):
    return dict(parse_qsl(venue.requests[-1].body.decode()))


class TestKraken(TransferContract):
    @pytest.fixture
    def exchange(self, kraken, transport):
        return connect(Kraken, kraken, transport)

    @pytest.fixture
    def other(self, kraken, transport):
        return connect(Kraken, Sub(kraken), transport, registration=2)

    @pytest.fixture
    def ledger(self, kraken):
        return kraken.ledger

    def test_both_accounts_are_named_by_their_iban(self, exchange, other, kraken):
        exchange.transfer(transfer(other))
        sent = last_form(kraken)
        del sent["nonce"]
        assert kraken.requests[-1].path == "/0/private/AccountTransfer"
        assert sent == {"asset": "XXBT", "amount": "0.1", "from": exchange.account_id(), "to": other.account_id()}

    def test_a_transfer_that_kraken_has_not_completed_is_pending(self, exchange, other, kraken):
        kraken.transfer_status = "pending"
        assert exchange.transfer(transfer(other)).status == "pending"

    def test_an_answer_with_another_word_is_no_success(self, exchange, other, kraken):
        kraken.transfer_status = "maybe"
        with pytest.raises(Unknown):
            exchange.transfer(transfer(other))

    def test_a_key_of_a_sub_account_is_refused(self, exchange, other, kraken):
        with pytest.raises(Refused) as caught:
            other.transfer(transfer(exchange))
        assert caught.value.code == "permission_denied"
        assert not kraken.ledger()


class TestBitstampFromMain(TransferContract):
    @pytest.fixture
    def exchange(self, bitstamp, transport):
        return connect(Bitstamp, bitstamp, transport)

    @pytest.fixture
    def other(self, bitstamp, transport):
        sub = Sub(bitstamp)
        number = str(bitstamp.number_of(sub.account))
        return connect(Bitstamp, sub, transport, registration=2, more={"subaccount": number})

    @pytest.fixture
    def ledger(self, bitstamp):
        return bitstamp.ledger

    def test_the_sub_account_is_named_by_its_number(self, exchange, other, bitstamp):
        exchange.transfer(transfer(other))
        assert bitstamp.requests[-1].path == "/api/v2/transfer-from-main/"
        assert last_form(bitstamp) == {"amount": "0.1", "currency": "BTC", "subAccount": other.transfer_account()}


class TestBitstampToMain(TestBitstampFromMain):
    @pytest.fixture
    def exchange(self, bitstamp, transport):
        sub = Sub(bitstamp)
        number = str(bitstamp.number_of(sub.account))
        return connect(Bitstamp, sub, transport, more={"subaccount": number})

    @pytest.fixture
    def other(self, bitstamp, transport):
        return connect(Bitstamp, bitstamp, transport, registration=2)

    def test_the_sub_account_is_named_by_its_number(self, exchange, other, bitstamp):
        """It calls for itself: a key of the main account that was registered with a number by mistake moves nothing."""
        exchange.transfer(transfer(other))
        assert bitstamp.requests[-1].path == "/api/v2/transfer-to-main/"
        assert last_form(bitstamp) == {"amount": "0.1", "currency": "BTC"}
        mistaken = connect(Bitstamp, bitstamp, exchange.context.transport, more={"subaccount": "70001"})
        with pytest.raises(Refused):
            mistaken.transfer(transfer(other))
        assert len(bitstamp.ledger()) == 1


@pytest.mark.parametrize(
    ("own", "others", "code"),
    [("", "", "invalid_request"), ("70001", "70002", "unsupported"), ("70001", "70001", "invalid_request")],
)
def test_bitstamp_moves_between_the_main_account_and_a_sub_account_alone(bitstamp, transport, own, others, code):
    exchange, other = (
        connect(Bitstamp, bitstamp, transport, registration=id, more={"subaccount": number})
        for id, number in ((1, own), (2, others))
    )
    with pytest.raises(Refused) as caught:
        exchange.transfer(transfer(other))
    assert (caught.value.code, caught.value.details) == (code, {"field": "to"})
    assert not [request for request in bitstamp.requests if "transfer" in request.path]


def test_a_sub_account_that_is_no_number_is_refused_by_its_name(bitstamp, transport):
    with pytest.raises(Refused) as caught:
        connect(Bitstamp, bitstamp, transport, more={"subaccount": "trading"}).transfer_account()
    assert caught.value.details == {"field": "subaccount"}


class TestPaper(TransferContract):
    @pytest.fixture
    def store(self, tmp_path, database):
        store = Store(database(tmp_path, tables=True))
        store.prepare()
        store.accounts.add("ann", "x")
        yield store
        store.close()

    @pytest.fixture
    def open_paper(self, store):
        def start():
            values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
            id = store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
            opening = {"USD": Decimal(1000), "BTC": Decimal(2)}
            config = PaperConfig(Prices.load(), opening, store.paper_ledger)
            return Paper(ExchangeContext(transport=None, registration=id), config)

        return start

    @pytest.fixture
    def exchange(self, open_paper):
        return open_paper()

    @pytest.fixture
    def other(self, exchange, open_paper):
        return open_paper()

    @pytest.fixture
    def ledger(self, store):
        return lambda: [{"kind": "transfer"} for _ in sql(store.where, "SELECT id FROM paper_sends")]

    def test_the_entries_of_both_ledgers_add_up_to_their_balances(self, exchange, other, store):
        exchange.transfer(transfer(other, "0.12345678"))
        other.transfer(transfer(exchange, "999.99", "USD"))
        other.transfer(transfer(exchange, "0.1"))
        for paper, owned in ((exchange, ("1.97654322", "1999.99")), (other, ("2.02345678", "0.01"))):
            rows = sql(
                store.where,
                "SELECT currency, amount FROM paper_entries WHERE registration_id = :id",
                id=paper.context.registration,
            )
            sums = {name: sum(Decimal(amount) for at, amount in rows if at == name) for name in ("BTC", "USD")}
            assert sums == paper.balance() == dict(zip(("BTC", "USD"), map(Decimal, owned), strict=True))

    @pytest.mark.parametrize(("amount", "asset"), [("0.000000001", "BTC"), ("0.001", "USD")])
    def test_an_amount_that_no_balance_can_have_is_refused(self, exchange, other, amount, asset):
        with pytest.raises(Refused) as caught:
            exchange.transfer(transfer(other, amount, asset))
        assert caught.value.code == "amount_step"
        assert exchange.balance() == other.balance() == {"USD": 1000, "BTC": 2}
