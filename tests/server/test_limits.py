"""The limits of a credential, at the real server: what is counted, and that no order is above them."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.server import limits
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.answers import body_of

D = Decimal
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


class Bot:
    """A credential of a new account, and its calls at one registration."""

    def __init__(self, server, auth, id, **form):
        self.server, self.owner, self.id = server, auth, id
        made = requests.post(
            f"{server.url}/credentials/", data={"name": "bot", "scope": "send", **form}, auth=auth, timeout=30
        )
        assert made.status_code == 201, made.text
        self.auth = made.json()["username"], made.json()["password"]

    def post(self, call, key=None, **form):
        headers = {"Idempotency-Key": key or secrets.token_hex(8)}
        url = f"{self.server.url}/exchanges/{self.id}/{call}"
        return requests.post(url, data=form, headers=headers, auth=self.auth, timeout=60)

    def trade(self, side, amount=None, key=None, **form):
        form = {"currency": "USD", "asset": "BTC"} | ({} if amount is None else {"amount": amount}) | form
        return self.post(side, key, **form)

    def used(self):
        [row] = requests.get(f"{self.server.url}/credentials/", auth=self.owner, timeout=30).json()
        return D(row["used"])

    def rate(self):
        url = f"{self.server.url}/exchanges/{self.id}/exchange_rate?from=USD&to=BTC"
        return {
            side: D(price)
            for side, price in requests.get(url, auth=self.auth, timeout=30).json().items()
            if side in {"buy", "sell"}
        }

    def orders(self):
        return requests.get(f"{self.server.url}/exchanges/{self.id}/orders/", auth=self.owner, timeout=30).json()


def refused(answer, code="limit_exceeded"):
    assert (answer.status_code, answer.json()["code"]) == (403, code), answer.text
    assert not answer.json()["may_have_executed"]
    assert "nothing was sent" in answer.json()["detail"]
    return body_of(answer)


def taken(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def bot(server):
    def make(**form):
        auth = server.account()
        return Bot(server, auth, server.registration(auth), **form)

    return make


def test_an_order_of_exactly_the_limit_is_taken_and_one_digit_more_is_not(bot):
    bot = bot(per_order="100", currency="USD")
    taken(bot.trade("buy", "0.1", price="1000"))
    body = refused(bot.trade("buy", "0.10000001", price="1000"))
    assert (body["limit"], body["value"]) == ("100", "100.00001000")
    taken(bot.trade("buy", cost="100"))
    refused(bot.trade("buy", cost="100.01"))
    assert len(bot.orders()) == 2


def test_a_day_is_used_up_to_the_last_digit(bot):
    bot = bot(per_day="10", currency="USD")
    taken(bot.trade("buy", "0.00999999", price="999"))
    assert bot.used() == D("9.98999001")
    refused(bot.trade("buy", "0.01000999", price="1.01"))
    taken(bot.trade("buy", "0.01000999", price="1"))
    assert bot.used() == 10
    refused(bot.trade("buy", "0.00000001", price="0.01"))


def test_a_sell_for_next_to_nothing_counts_the_best_bid(bot):
    bot = bot(per_order="100", currency="USD")
    bid = bot.rate()["sell"]
    amount = (D(100) / bid).quantize(D("0.00000001"))
    for price in ({}, {"price": "0.01"}):
        refused(bot.trade("sell", str(amount + D("0.00001")), **price))
    refused(bot.trade("sell", "0.001", price=str(bid * 1000)))
    assert bot.orders() == []
    taken(bot.trade("sell", str(amount - D("0.00001"))))


def test_a_market_buy_counts_what_it_costs(bot):
    bot = bot(per_order="100", currency="USD")
    ask = bot.rate()["buy"]
    refused(bot.trade("buy", str((D(101) / ask).quantize(D("0.00000001")))))
    taken(bot.trade("buy", str((D(99) / ask).quantize(D("0.00000001")))))


def test_a_buy_with_a_stop_counts_its_stop_where_that_is_more_than_it_costs_now(bot):
    bot = bot(per_order="100000", currency="USD")
    ask = bot.rate()["buy"]
    assert refused(bot.trade("buy", "0.5", stop="200000.02"))["value"] == "100000.010"
    taken(bot.trade("buy", "0.5", stop="200000"))
    refused(bot.trade("buy", str((D(100_001) / ask).quantize(D("0.00000001"))), stop="1"))
    refused(bot.trade("buy", "1", price="100001", stop="1"))


def test_a_sell_for_a_cost_counts_what_is_sold_and_not_what_it_brings_in_a_thin_book(serving):
    with BitstampVenue() as venue, serving(exchanges=("bitstamp",), exchange_urls={"bitstamp": venue.url}) as server:
        venue.pairs["BTC/EUR"].bids = [(D(20000), D(1)), (D(1), D(50))]
        auth = server.account()
        id = server.registration(auth, "bitstamp", apikey=venue.key, apisecret=venue.secret)
        bot = Bot(server, auth, id, per_order="30000", currency="EUR")
        assert D(refused(bot.trade("sell", cost="20010", currency="EUR"))["value"]) == 220_000
        words = refused(bot.trade("sell", cost="20051", currency="EUR"))["detail"]
        assert "lists bids for only 20050.00000000 EUR" in words
        assert venue.ledger() == []
        assert taken(bot.trade("sell", cost="20000", currency="EUR"))["status"] == "filled"


def test_limits_in_the_asset_count_the_amount(bot):
    bot = bot(per_order="0.01", currency="XBT")
    taken(bot.trade("buy", "0.01"))
    taken(bot.trade("sell", "0.01", price="999999"))
    refused(bot.trade("buy", "0.01000001", price="0.01"))
    assert "give the amount" in refused(bot.trade("buy", cost="0.01"))["detail"]


def test_what_cannot_be_counted_is_refused(bot):
    bot = bot(per_order="1000000", currency="EUR")
    assert refused(bot.trade("buy", "0.00000001", price="1"))["detail"] == (
        "limits are counted in EUR; this pair is in USD; nothing was sent"
    )
    assert "no price" in refused(bot.post("send_to_address", asset="BTC", amount="0.001", address=ADDRESS))["detail"]
    assert bot.orders() == []


def test_a_send_counts_its_amount_at_the_best_ask(bot):
    bot = bot(per_day="100", currency="USD")
    ask = bot.rate()["buy"]
    amount = (D(60) / ask).quantize(D("0.00000001"))
    taken(bot.post("send_to_address", asset="BTC", amount=str(amount), address=ADDRESS))
    assert bot.used() == amount * ask
    refused(bot.post("send_to_address", asset="BTC", amount=str(amount), address=ADDRESS))
    refused(bot.trade("buy", cost="60"))
    taken(bot.trade("buy", cost="30"))


def test_only_the_pairs_that_were_given_are_traded_and_sent(bot):
    other = bot(pairs="ETH/USD,BTC/EUR")
    body = refused(other.trade("buy", "0.001"), "out_of_scope")
    assert "was given BTC/EUR, ETH/USD, and not BTC/USD" in body["detail"]
    own = bot(pairs="xbt/usd")
    taken(own.trade("buy", "0.001"))
    taken(own.post("send_to_address", asset="BTC", amount="0.001", address=ADDRESS))
    eth = bot(pairs="ETH/USD")
    refused(eth.post("send_to_address", asset="BTC", amount="0.001", address=ADDRESS), "out_of_scope")


def test_a_dry_run_says_it_as_the_order_would(bot):
    bot = bot(per_order="100", per_day="150", currency="USD")
    dry, real = [body_of(bot.trade("buy", cost="101", **form)) for form in ({"dry_run": "true"}, {})]
    real.pop("key", None)
    assert dry == real
    taken(bot.trade("buy", cost="100"))
    assert refused(bot.trade("buy", cost="60", dry_run="true")) == refused(bot.trade("buy", cost="60"))
    assert taken(bot.trade("buy", cost="50", dry_run="true"))["dry_run"] is True
    taken(bot.trade("buy", cost="50"))


def test_a_repeat_gets_its_first_answer_when_the_limit_is_used_up(bot):
    bot = bot(per_day="100", currency="USD")
    first = bot.trade("buy", cost="100", key="k1")
    taken(first)
    refused(bot.trade("buy", cost="1"))
    again = bot.trade("buy", cost="100", key="k1")
    assert (again.status_code, again.text) == (first.status_code, first.text)


def test_many_calls_at_once_with_one_key_are_one_order_and_its_repeats(bot):
    bot = bot(per_day="100", currency="USD")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: bot.trade("buy", cost="100", key="k1"), range(16)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(bot.orders()) == 1


def test_an_order_that_is_refused_by_its_exchange_counts_nothing(bot):
    bot = bot(per_day="100000000", currency="USD")
    assert bot.trade("buy", "100", price="999999").json()["code"] == "insufficient_funds"
    assert bot.used() == 0


def test_an_order_counts_all_while_it_is_open_and_what_was_traded_after_it_was_canceled(bot):
    bot = bot(per_day="100", currency="USD")
    order = taken(bot.trade("buy", "0.09", price="1000"))
    assert bot.used() == 90
    refused(bot.trade("buy", "0.02", price="1000"))
    requests.delete(f"{bot.server.url}/exchanges/{bot.id}/orders/{order['id']}", auth=bot.auth, timeout=30)
    assert bot.used() == 0
    taken(bot.trade("buy", "0.1", price="1000"))


def test_what_was_placed_counts_for_24_hours_also_over_midnight(bot):
    bot = bot(per_day="100", currency="USD")
    taken(bot.trade("buy", cost="100"))
    used = bot.used()
    ages = "UPDATE orders SET created = :at WHERE registration_id = :id"
    bot.server.sql(ages, at=limits.now(limits.DAY_SECONDS - 60), id=bot.id)
    assert bot.used() == used > 99
    bot.server.sql(ages, at=limits.now(limits.DAY_SECONDS + 60), id=bot.id)
    assert bot.used() == 0
    taken(bot.trade("buy", cost="100"))


def row(status, side="sell", asset="BTC", value="1000", **reported):
    return (
        {"status": status, "side": side, "asset": asset, "amount": "2", "filled": None, "spent": None}
        | reported
        | {"limit_value": value}
    )


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (row("open"), 1000),
        (row("unknown"), 1000),
        (row("running"), 1000),
        (row("closed"), 1000),
        (row("canceled"), 1000),
        (row("canceled", filled="0"), 0),
        (row("canceled", filled="0", side="buy"), 0),
        (row("partly_filled", filled="1", spent="480", side="buy"), 480),
        (row("partly_filled", side="buy"), 1000),
        (row("filled", filled="2", spent="1200", side="buy"), 1200),
        (row("open", filled="2", spent="1200", side="buy"), 1200),
        (row("open", filled="1", spent="400", side="buy"), 1000),
        # Sold far below the price that it was counted at.
        (row("filled", filled="2", spent="1"), 1000),
        (row("partly_filled", filled="1", spent="1"), 500),
        (row("filled", filled="2", spent="1100"), 1100),
        # For a cost.
        (row("filled", filled="2", spent="900", amount=None), 1000),
        (row("partly_filled", filled="1", spent="1100", amount=None), 1100),
        (row("canceled", filled="0", amount=None), 0),
        (row("open", filled="1", spent="400", amount=None), 1000),
        (row("partly_filled", filled="0.5", asset="USD", value="2"), D("0.5")),
        (row("filled", asset="USD", value="2"), 2),
    ],
    ids=str,
)
def test_an_order_that_is_over_counts_what_was_traded_and_any_other_all_of_it(counted, expected):
    assert limits._traded_value(counted, "USD") == expected


def test_a_limit_holds_whatever_many_threads_do(bot):
    limit = D("10.00000001")
    bot = bot(per_day=str(limit), currency="USD")
    sizes = ["0.00000001", "0.003", "0.00199999"] * 40
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda amount: bot.trade("buy", amount, price="1000"), sizes))
    placed = [order for order in bot.orders() if order["status"] == "open"]
    assert {answer.status_code for answer in answers} == {200, 403}
    assert len(placed) == sum(answer.status_code == 200 for answer in answers)
    total = sum(D(order["amount"]) * D(order["price"]) for order in placed)
    assert bot.used() == total < limit
    # What is left is taken to the last digit, and nothing more.
    taken(bot.trade("buy", str(limit - total), price="1"))
    assert bot.used() == limit
    refused(bot.trade("buy", "0.00000001", price="0.01"))


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def at_kraken(serving, venue):
    with serving(
        exchanges=("kraken",), exchange_urls={"kraken": venue.url}, exchange_limits={"kraken": None}
    ) as server:
        auth = server.account()
        yield (
            server,
            auth,
            server.registration(auth, "kraken", apikey=venue.key, apisecret=venue.secret, allow_send="true"),
        )


def test_a_market_buy_through_the_book_counts_all_that_it_would_cost(at_kraken, venue):
    server, auth, id = at_kraken
    first = Bot(server, auth, id, name="first", per_order="1000000", currency="USD")
    document = requests.get(f"{venue.url}/0/public/Depth?pair=XBTUSD", timeout=30).json()["result"]["XXBTZUSD"]
    asks = [(D(price), D(amount)) for price, amount, _ in document["asks"][:3]]
    amount, cost = sum(amount for _, amount in asks), sum(price * amount for price, amount in asks)
    assert cost > amount * first.rate()["buy"]
    exact = Bot(server, auth, id, name="exact", per_order=str(cost), currency="USD")
    below = Bot(server, auth, id, name="below", per_order=str(cost - D("0.00000001")), currency="USD")
    body = refused(below.trade("buy", str(amount)))
    assert D(body["value"]) == cost
    assert taken(exact.trade("buy", str(amount)))["status"] == "filled"
    assert "lists only" in refused(first.trade("buy", "1000000"))["detail"]


def test_where_the_price_cannot_be_read_nothing_is_sent(at_kraken, venue):
    server, auth, id = at_kraken
    bot = Bot(server, auth, id, name="blind", per_order="1000", currency="USD")
    before = len(venue.ledger())
    for path, side in (("Depth", "buy"), ("Ticker", "sell")):
        venue.fault("maintenance", path=path)
        answer = bot.trade(side, "0.001")
        assert (answer.status_code, answer.json()["retryable"]) == (503, True)
        assert not answer.json()["may_have_executed"]
    assert len(venue.ledger()) == before
