"""Every recorded answer of Mt.Gox, played over real HTTP: those that belong to a verb become exactly these records.

Of 47 recordings 38 belong to a verb, 3 to a call that only `MtGoxAPI` makes, and 6 to the streams, which are no HTTP.
Most files hold the inner value of an answer; it gets its envelope back here. Numbers keep their digits.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    OrderState,
    Rate,
    Ticker,
    Trade,
    Withdrawal,
)
from bitmm.xwrap.testing.exchanges.venue import dumps
from tests.support.mtgox_recordings import RUBY, XCHANGE, placed, ruby, sell, send, xchange

D = Decimal


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def invalid(oid: str, amount: str, date: int, price: str = "1.25000") -> OrderState:
    return OrderState(oid, "open", "buy", "USD", "BTC", D(amount), D(price), created=at(date))


def _figures(ticker: Ticker) -> tuple[D | None, ...]:
    return ticker.last, ticker.high, ticker.low, ticker.volume, ticker.bid, ticker.ask


def rate_0(play):
    rate = play(0, "ticker", xchange(0, "marketdata/example-ticker-data-v0.json")).rate("USD", "BTC")
    assert (str(rate.buy), str(rate.sell)) == ("16.80000", "16.79036")  # sent as 16.800000000000001
    ticker = play(0, "ticker", xchange(0, "marketdata/example-ticker-data-v0.json")).ticker("USD", "BTC")
    figures = ("16.80000", "16.98000", "15.63412", "60418.00000000", "16.79036", "16.80000")
    assert tuple(map(str, _figures(ticker))) == figures


def rate_1_and_2(version):
    def check(play):
        body = xchange(version, "marketdata/polling/example-ticker-data.json")
        time = datetime(2013, 3, 30, 18, 46, 0, 478556, UTC)
        exchange = play(version, "ticker", body)
        assert exchange.rate("USD", "BTC") == Rate(D("91.45898"), D("90.68502"), time)
        figures = map(D, ("91.46", "94.98", "85.5", "49524.1511002", "90.68502", "91.45898"))
        assert exchange.ticker("USD", "BTC") == Ticker(*figures, time)

    return check


DEPTHS = {
    0: "marketdata/example-depth-data-v0.json",
    **dict.fromkeys((1, 2), "marketdata/polling/example-depth-data.json"),
}
TRADES = {
    0: "marketdata/example-trades-data-v0.json",
    **dict.fromkeys((1, 2), "marketdata/polling/example-trades-data.json"),
}


def check_book(book, rows, bid, ask, level):
    """All rows of a recorded book are in it, the best ones first; `level` is what a row of the recording means."""
    assert (book.bids[0], book.asks[0]) == (bid, ask)
    assert book.bids == tuple(level(row) for row in reversed(rows["bids"]))  # the best bid was sent last
    assert book.asks == tuple(level(row) for row in rows["asks"])


def book_0(play):
    book = play(0, "getDepth", xchange(0, DEPTHS[0])).order_book("USD", "BTC", 1000)
    bid, ask = (D("16.623"), D("43.98991453")), (D("16.634"), D("21.989"))
    # Sent as 16.623000000000001.
    check_book(book, xchange(0, DEPTHS[0]), bid, ask, lambda row: (D(f"{row[0]:.5f}"), D(f"{row[1]:.8f}")))


def _units(row):
    return D(row["price_int"]) / 10**5, D(row["amount_int"]) / 10**8


def book_1_and_2(version):
    def check(play):
        book = play(version, "depth/fetch", xchange(version, DEPTHS[version])).order_book("USD", "BTC", 1000)
        bid, ask = (D("182.01001"), D("1.31671895")), (D("182.99999"), D("2.46297453"))
        check_book(book, xchange(version, DEPTHS[version]), bid, ask, _units)

    return check


def book_of_the_gem(play):
    book = play(1, "depth/fetch", ruby("depth.json"), whole=True).order_book("USD", "BTC", 1000)
    rows = ruby("depth.json")["return"]
    check_book(book, rows, _units(rows["bids"][-1]), (D("114"), D("0.43936758")), _units)


def trades_of(version):
    def check(play):
        rows = xchange(version, TRADES[version])
        trades = play(version, "rades", rows).trades("USD", "BTC", 1000)
        sides = {"bid": "buy", "ask": "sell"}
        assert trades == [
            Trade(row["tid"], sides[row["trade_type"]], *reversed(_units(row)), at(row["date"])) for row in rows[::-1]
        ]
        first = {0: ("sell", "0.01", "16.75001")}.get(version, ("buy", "0.2", "193.9999"))
        assert (trades[0].side, trades[0].amount, trades[0].price) == (first[0], D(first[1]), D(first[2]))

    return check


def trades_of_the_gem(play):
    """The first of the four is the mirror of a trade in another currency."""
    trades = play(1, "trades/fetch", ruby("trades.json"), whole=True).trades("USD", "BTC", 2)
    assert trades == [
        Trade("1365780003374123", "buy", D("0.94043572"), D("73.19258"), at(1365780003)),
        Trade("1365780002144150", "buy", D("11.76583944"), D("72.98274"), at(1365780002)),
    ]


def rate_of_the_gem(play):
    rate = play(1, "ticker", ruby("ticker.json"), whole=True).rate("USD", "BTC")
    assert (rate.buy, rate.sell) == (D("5.56031"), D("5.53587"))
    ticker = play(1, "ticker", ruby("ticker.json"), whole=True).ticker("USD", "BTC")
    figures = ("5.5594", "5.70653", "5.4145", "55829.58960346", "5.53587", "5.56031")
    assert _figures(ticker) == tuple(map(D, figures))


def cancel_0(play):
    body = xchange(0, "trade/example-cancel-order-response.json")
    exchange = play(0, "cancelOrder.php", body)
    exchange.cancel(placed("39b5cd7e-8452-4ace-890e-84ba236fe5cc"))
    # getOrders.php answers with the same document.
    assert play(0, "getOrders.php", body).open_orders() == [
        invalid("39b5cd7e-8452-4ace-890e-84ba236fe5cb", "0.92907324", 1357946434)
    ]


def info(version):
    def check(play):
        exchange = play(version, "info", xchange(version, "account/example-accountinfo-data.json"))
        nothing = Funds(D(0), None, None)  # an answer of 2012: it does not tell what orders hold
        assert exchange.funds() == {"BTC": nothing, "USD": nothing}
        assert exchange.permissions() == {"read", "trade"}

    return check


def info_of_the_gem(play):
    exchange = play(1, "info", ruby("info.json"))
    assert exchange.funds() == {"BTC": Funds(D(42), D(42), D(0)), "EUR": Funds(D(23), D(23), D(0))}
    assert exchange.permissions() == {"read", "trade", "send"}


def address(version):
    def check(play):
        exchange = play(version, "bitcoin/address", xchange(version, "account/example-deposit-response.json"))
        assert exchange.deposit_address("BTC") == DepositAddress("BTC", "15xmfK1f1BnUWVaoZpjPWJmUHaexp8FHVs")

    return check


def address_of_the_gem(play):
    exchange = play(1, "bitcoin/address", ruby("address.json"), whole=True)
    assert exchange.deposit_address("BTC") == DepositAddress("BTC", "17A1vbzQ39o8cGNnpqx8UvXNrhqwAEP8wY")


def sent(trx: str) -> Withdrawal:
    return Withdrawal(trx, "BTC", D("0.1"), "done", address=send().address, txid=trx)


def withdraw(version):
    def check(play):
        exchange = play(version, "send_simple", xchange(version, "account/example-withdrawal-response.json"))
        assert exchange.withdraw(send()) == sent("9921d2c5abecfd3604e921888b32e48256c914156cc76c4c8eca1ad2709b48e6")

    return check


def withdraw_of_the_gem(play):
    exchange = play(1, "send_simple", ruby("withdraw.json"), whole=True)
    assert exchange.withdraw(send()) == sent("311295deadbeef390a13c038e2b8ba77feebdaed2c1a59e6e0bdf001656e1314")


def failure(version, name):
    def check(play):
        with pytest.raises(Refused) as caught:
            play(version, "order/add", xchange(version, name), whole=True).place(sell())
        assert caught.value.code == "exchange_refused"
        assert str(caught.value) == 'Invalid parameter "type" (should be ask or bid)'

    return check


def place(version, body, oid):
    def check(play):
        state = play(version, "order/add", body, whole=True).place(sell())
        assert state == OrderState(oid, "open", "sell", "USD", "BTC", D(1), D("16.75"), client_id="0" * 32)

    return check


def open_orders(version, name):
    def check(play):
        assert play(version, "orders", xchange(version, name)).open_orders() == [
            invalid("055e81e4-fe38-4b3c-bbca-69e61724f64a", "0.23385868", 1333897151),
            invalid("07bdad59-247b-428a-abc7-800b3a8bd554", "0.02604846", 1330881521),
            invalid("0ea044eb-17ec-4bd2-8635-16165783dd29", "0.68275074", 1334002340),
            invalid("1739d399-9f34-499c-b199-8e249bfc2885", "1.00000000", 1331299497, "4.25000"),
            invalid("207195e7-ea08-40e8-8fd1-3d56a8807bde", "0.64146996", 1331410496),
            invalid("21fcde50-7d4f-4bac-b58a-87bcd0cf6eba", "0.62518803", 1332016602),
            invalid("26f87d17-cda1-4901-9780-b158f5a62dbc", "0.94004301", 1333574740),
            invalid("29200940-28bf-48cb-93aa-97c12cbc934a", "0.01564032", 1332616612),
            invalid("2960dce6-3137-4ec1-bd56-5e37636f3948", "0.01228569", 1332960124),
            invalid("3f031b5c-4c67-4714-80cc-2c884dcf1d6d", "0.30892090", 1332857535),
            invalid("3f54a441-2418-4227-8abf-5b37dab5113a", "0.41315095", 1331071931),
            invalid("4204cc39-9abf-4f72-904c-9b756c2ab312", "0.08473245", 1333901433),
        ]

    return check


def open_orders_of_the_gem(play):
    first, second = play(1, "orders", ruby("orders.json"), whole=True).open_orders()
    assert first == invalid("fda8917a-63d3-4415-b827-758408013690", "0.2", 1309198838, "7")
    assert second == OrderState(
        "a20329fe-c0d5-4378-b204-79a7800d41e7",
        "open",
        "sell",
        "USD",
        "BTC",
        D("0.2"),
        D(99),
        created=at(1309198820),
    )


def cancel_of_the_gem(play):
    exchange = play(1, "order/cancel", ruby("cancel.json"), whole=True)
    exchange.cancel(placed("fda8917a-63d3-4415-b827-758408013690"))
    with pytest.raises(Unknown):
        exchange.cancel(placed("a20329fe-c0d5-4378-b204-79a7800d41e7"))


def result_of_the_gem(play):
    oid = "Zda8917a-63d3-4415-b827-758408013691"
    exchange = play(1, "order/result", ruby("order_result.json"), whole=True)
    state = OrderState(
        oid,
        "filled",
        "sell",
        "USD",
        "BTC",
        D("0.1"),
        filled=D("0.1"),
        average=D("100.83227"),
        spent=D("10.08323"),
        client_id="0" * 32,
    )
    assert exchange.order(replace(placed(oid, "sell"), amount=D("0.1"))) == state
    assert exchange.order(replace(placed(oid, "sell"), amount=D("0.2"))).status == "partly_filled"


def history_2(play):
    """The other side of these trades, the USD wallet, was not recorded: here it has a row for all but the last one."""
    body = xchange(2, "account/example-wallethistory-response.json")
    tids = ["1366034751500724", "1365932809127643", "1365932740937127", "1365916713970356"]
    dollars = [{"Type": "spent", "Trade": {"tid": tid}} for tid in tids]
    play(2, "wallet/history?USD", {"result": dollars})
    exchange = play(2, "wallet/history?BTC", body, whole=True)

    def fill(tid, oid, side, amount, price, fee):
        where = None if fee is None else "BTC"
        time = at(int(tid) // 10**6)
        return Fill(tid, oid, side, "USD", "BTC", D(amount), D(price), fee and D(fee), where, time)

    assert exchange.fills("USD", "BTC") == [
        fill(tids[0], "aff7ddec-4fe8-4c5d-bdee-c8920bc3270b", "buy", "0.00010789", "97.96898", "0.00000065"),
        fill(tids[1], "a68fb5be-c0a9-41d2-9871-dad61855de63", "sell", "0.00010627", "100.00000", None),
        fill(tids[2], "dda3ab23-a450-4d21-aff9-61137cd6006f", "buy", "0.00010691", "99.99000", "0.00000064"),
        fill(tids[3], "a68fb5be-c0a9-41d2-9871-dad61855de63", "sell", "0.00010138", "106.00001", None),
    ]
    assert exchange.deposits("BTC") == exchange.withdrawals("BTC") == []


def history_of_the_gem(play):
    exchange = play(1, "wallet/history", ruby("history.json"))
    assert exchange.deposits("BTC") == [
        Deposit(
            "3cdb1d0b-9d70-45cb-b1dc-3fb44045af6e",
            "BTC",
            D(1),
            "done",
            address="1AAXCcSjgsgoTnQLqUfPh7qRsUyvbYSbGW",
            time=at(1384536197),
        )
    ]


def error_of_the_gem(play):
    with pytest.raises(Refused) as caught:
        play(1, "order/add", ruby("error.json"), whole=True).place(sell())
    assert caught.value.code == "exchange_key_refused"


def unknown_error_of_the_gem(play):
    exchange = play(1, "order/add", ruby("unknown_error.json"), whole=True)
    with pytest.raises(Unknown, match="Random Unknown error"):
        exchange.place(sell())


def mysql_error_of_the_gem(play):
    exchange = play(1, "/", RUBY["mysql_error"]["text_body"], whole=True)
    with pytest.raises(Unknown):
        exchange.place(sell())
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


OID = "662f3a5c-229c-4145-925c-6bef58575948"
OPERATIONS = {
    ("v0", DEPTHS[0]): book_0,
    ("v0", "marketdata/example-ticker-data-v0.json"): rate_0,
    ("v0", TRADES[0]): trades_of(0),
    ("v0", "trade/example-cancel-order-response.json"): cancel_0,
    ("v1", "account/example-accountinfo-data.json"): info(1),
    ("v1", "account/example-deposit-response.json"): address(1),
    ("v1", "account/example-withdrawal-response.json"): withdraw(1),
    ("v1", DEPTHS[1]): book_1_and_2(1),
    ("v1", "marketdata/polling/example-ticker-data.json"): rate_1_and_2(1),
    ("v1", TRADES[1]): trades_of(1),
    ("v1", "trade/example-failure-response-data.json"): failure(1, "trade/example-failure-response-data.json"),
    ("v1", "trade/example-openorders-data.json"): open_orders(1, "trade/example-openorders-data.json"),
    ("v1", "trade/example-success-response-data.json"): place(
        1, xchange(1, "trade/example-success-response-data.json"), OID
    ),
    ("v2", "account/example-accountinfo-data.json"): info(2),
    ("v2", "account/example-deposit-response.json"): address(2),
    ("v2", "account/example-wallethistory-response.json"): history_2,
    ("v2", "account/example-withdrawal-response.json"): withdraw(2),
    ("v2", DEPTHS[2]): book_1_and_2(2),
    ("v2", "marketdata/polling/example-ticker-data.json"): rate_1_and_2(2),
    ("v2", TRADES[2]): trades_of(2),
    ("v2", "trade/polling/example-failure-response-data.json"): failure(
        2, "trade/polling/example-failure-response-data.json"
    ),
    ("v2", "trade/polling/example-openorders-data.json"): open_orders(2, "trade/polling/example-openorders-data.json"),
    ("v2", "trade/polling/example-success-response-data.json"): place(
        2, xchange(2, "trade/polling/example-success-response-data.json"), OID
    ),
    ("gem", "address.json"): address_of_the_gem,
    ("gem", "buy.json"): place(1, ruby("buy.json"), "490a214f-9a30-449f-acb8-780f9046502f"),
    ("gem", "cancel.json"): cancel_of_the_gem,
    ("gem", "depth.json"): book_of_the_gem,
    ("gem", "error.json"): error_of_the_gem,
    ("gem", "history.json"): history_of_the_gem,
    ("gem", "info.json"): info_of_the_gem,
    ("gem", "mysql_error"): mysql_error_of_the_gem,
    ("gem", "order_result.json"): result_of_the_gem,
    ("gem", "orders.json"): open_orders_of_the_gem,
    ("gem", "sell.json"): place(1, ruby("sell.json"), "a20329fe-c0d5-4378-b204-79a7800d41e7"),
    ("gem", "ticker.json"): rate_of_the_gem,
    ("gem", "trades.json"): trades_of_the_gem,
    ("gem", "unknown_error.json"): unknown_error_of_the_gem,
    ("gem", "withdraw.json"): withdraw_of_the_gem,
}
#: Those that `MtGoxAPI` is asked for alone, too.
CALLS = {
    ("v0", "marketdata/example-depth-data-v0.json"): "data/getDepth.php",
    ("v0", "marketdata/example-trades-data-v0.json"): "data/getTrades.php",
    ("v1", "marketdata/polling/example-depth-data.json"): "BTCUSD/depth/fetch",
    ("v1", "marketdata/polling/example-trades-data.json"): "BTCUSD/trades/fetch",
    ("v2", "marketdata/polling/example-depth-data.json"): "BTCUSD/money/depth/fetch",
    ("v2", "marketdata/polling/example-trades-data.json"): "BTCUSD/money/trades/fetch",
    ("v2", "trade/polling/lag.json"): "money/order/lag",
    ("gem", "depth.json"): "BTCUSD/depth/fetch",
    ("gem", "idkey.json"): "generic/idkey",
    ("gem", "lag.json"): "generic/order/lag",
    ("gem", "trades.json"): "BTCUSD/trades/fetch",
}


def test_every_recording_has_its_place():
    every = {(version, name) for version, group in XCHANGE.items() for name in group} | {("gem", name) for name in RUBY}
    streams = {(version, name) for version, name in every if "/streaming/" in name}
    assert OPERATIONS.keys() | CALLS.keys() | streams == every
    assert (len(OPERATIONS), len(CALLS), len(streams), len(every)) == (38, 11, 6, 47)


@pytest.mark.parametrize("recording", OPERATIONS, ids="/".join)
def test_a_recorded_answer_becomes_exactly_its_records(recording, play):
    OPERATIONS[recording](play)


@pytest.mark.parametrize(
    ("recording", "amount", "cost"),
    [
        (("v0", "marketdata/example-depth-data-v0.json"), D("22"), D("365.9483586")),
        (("v1", "marketdata/polling/example-depth-data.json"), D("3"), D("548.9999753702547")),
        (("v2", "marketdata/polling/example-depth-data.json"), D("3"), D("548.9999753702547")),
    ],
)
def test_a_market_buy_costs_what_two_asks_of_a_recorded_book_make(recording, amount, cost, play):
    group, name = recording
    version = int(group[1])
    exchange = play(version, CALLS[recording], xchange(version, name))
    assert exchange.market_cost("USD", "BTC", amount) == cost
    with pytest.raises(Refused, match="lists only"):
        exchange.market_cost("USD", "BTC", D("1e9"))


@pytest.mark.parametrize("recording", CALLS, ids="/".join)
def test_a_recorded_answer_of_another_call_keeps_every_digit(recording, play):
    group, name = recording
    path, version = CALLS[recording], 1 if group == "gem" else int(group[1])
    body = ruby(name) if group == "gem" else xchange(version, name)
    answer = play(version, path, body, whole=group == "gem").api.public(path)
    assert dumps(answer) == dumps(body["return"] if group == "gem" else body)
