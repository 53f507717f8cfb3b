"""Every recorded answer of Backpack that belongs to a verb becomes exactly the records it should.

The recordings (tests/recorded/backpack-response.json, provenance in the file) are read through the adapter; only the
network is replaced. They were made without a client id, so answers to orders get the one that was asked for.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack, BackpackAPI
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderBook,
    OrderRef,
    OrderState,
    Rate,
    Trade,
    Withdrawal,
)
from bitmm.xwrap.transport import Response

RECORDED = json.loads(Path("tests/recorded/backpack-response.json").read_text(encoding="utf-8"), parse_float=Decimal)
METHODS = {name: [entry["httpResponse"] for entry in entries] for name, entries in RECORDED["methods"].items()}
COMMENTS = {name: answer for name, answer in RECORDED["from_comments"].items() if name != "provenance"}
KEY, SECRET = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=", base64.b64encode(bytes(range(32))).decode()
CLIENT = "0123456789abcdef0123456789abcdef"
NUMBER = 0x89ABCDEF


def market(asset: str) -> dict:
    return {**COMMENTS["fetchMarkets_spot"], "symbol": f"{asset}_USDC", "baseSymbol": asset}


class Recording:
    """Answers each path with what was recorded for it; several answers of one path come one after the other."""

    def __init__(self, **answers: object) -> None:
        eth = market("ETH")
        eth["filters"] = {**eth["filters"], "quantity": {"minQuantity": "0.001", "stepSize": "0.001"}}
        nothing_lent = {"capital/collateral": {"collateral": []}}
        self.answers = {"markets": [eth], "assets": METHODS["fetchCurrencies"][0], **nothing_lent, **answers}

    def send(self, request):
        path = request.url.partition("api/v1/")[2].partition("?")[0]
        document = self.answers[f"{request.method} {path}" if f"{request.method} {path}" in self.answers else path]
        if isinstance(document, Response):
            return document
        return Response(200, {}, json.dumps(document, default=str).encode())


def backpack(**answers: object) -> Backpack:
    keys = Credentials(apikey=KEY, apisecret=SECRET)
    return Backpack(ExchangeContext(Recording(**answers), keys, 1, "http://127.0.0.1"))


NOT_FOUND = Response(404, {}, b'{"code":"RESOURCE_NOT_FOUND","message":"Not Found"}')


def ref(order_id: str = "8284661092", asset: str = "ETH") -> OrderRef:
    return OrderRef("buy", "USDC", asset, CLIENT, order_id)


def millis(number: int) -> datetime:
    return datetime.fromtimestamp(number // 1000, UTC).replace(microsecond=number % 1000 * 1000)


def resting(**changes: object) -> OrderState:
    fields = {
        "exchange_order_id": "8284661092",
        "status": "open",
        "side": "buy",
        "currency": "USDC",
        "asset": "ETH",
        "amount": Decimal("0.001"),
        "price": Decimal(4000),
        "filled": Decimal(0),
        "spent": Decimal(0),
        "client_id": CLIENT,
        "created": millis(1757621440699),
    }
    return OrderState(**{**fields, **changes})


def assets():
    """USDT has three chains there: without a name for one, none is guessed."""
    exchange = backpack(**{"capital/deposit/address": METHODS["fetchDepositAddress"][0]})
    with pytest.raises(Refused, match="Solana, Ethereum, Bsc") as caught:
        exchange.deposit_address("USDT")
    assert caught.value.code == "network_required"
    address = exchange.deposit_address("USDT", "ethereum")
    assert address == DepositAddress("USDT", "0xfBe7CbfCde93c8a4204a4be6B56732Eb32690170", None, "Ethereum")


def history():
    state = backpack(**{"order": NOT_FOUND, "history/orders": METHODS["fetchOrders"][0]}).order(ref())
    assert state == resting(status="canceled")


def nothing_canceled():
    open_one = METHODS["fetchOpenOrders"][0]
    assert backpack(**{"GET orders": open_one, "DELETE orders": METHODS["cancelAllOrders"][0]}).cancel_all() == 0


def cancel():
    backpack(**{"DELETE order": METHODS["cancelOrder"][0]}).cancel(ref())


def open_order():
    assert backpack(order=METHODS["fetchOpenOrder"][0]).order(ref()) == resting()


def open_orders():
    assert backpack(orders=METHODS["fetchOpenOrders"][0]).open_orders() == [resting(client_id=None)]
    assert backpack(orders=[COMMENTS["fetchOpenOrders_one"]]).open_orders() == [
        resting(exchange_order_id="4228978331", price=Decimal(3000), client_id=None, created=millis(1753626206762))
    ]


def futures():
    """Orders of futures are told without a pair: spot is what the verbs speak of."""
    rows = [METHODS["createOrder"][2], METHODS["createOrder"][3]]
    bought, waiting = backpack(orders=rows).open_orders()
    assert bought == OrderState(
        exchange_order_id="8338878740",
        status="filled",
        side="buy",
        amount=Decimal(1),
        filled=Decimal(1),
        average=Decimal("0.8921"),
        spent=Decimal("0.8921"),
        created=millis(1757675111334),
    )
    assert waiting == resting(
        exchange_order_id="8285014287",
        currency=None,
        asset=None,
        amount=Decimal(0),
        client_id=None,
        created=millis(1757621948260),
    )


def place(row: dict, **answers: object) -> OrderState:
    price = Decimal(row["price"]) if "price" in row else None
    order = NewOrder("buy", "USDC", "ETH", CLIENT, amount=Decimal("0.001"), price=price)
    return backpack(**{"POST order": {**row, "clientId": NUMBER}, **answers}).place(order)


def limit_orders():
    limit, _, _, _, other = METHODS["createOrder"]
    assert place(limit) == resting()
    assert place(other) == resting(exchange_order_id="11153371095", price=Decimal(3500), created=millis(1759227073430))


def market_orders():
    """The fee is told by the fills alone; while they are not all there, it is not told."""
    row = METHODS["createOrder"][1]
    fill = {**METHODS["fetchMyTrades"][0][0], "orderId": row["id"]}
    bought = resting(
        exchange_order_id="8284519971",
        status="filled",
        price=None,
        filled=Decimal("0.001"),
        average=Decimal("4425.06"),
        spent=Decimal("4.42506"),
        fee=Decimal("0.000001"),
        fee_currency="ETH",
        created=millis(1757621263050),
    )
    assert place(row, **{"history/fills": [fill]}) == bought
    other = COMMENTS["createOrder_market"]
    assert place(other, **{"history/fills": Response(429, {}, b"")}) == resting(
        exchange_order_id="4227701917",
        status="filled",
        price=None,
        filled=Decimal("0.001"),
        average=Decimal("3814.28"),
        spent=Decimal("3.81428"),
        created=millis(1753624283415),
    )


def deposit_address():
    answers = {"capital/deposit/address": METHODS["fetchDepositAddress"][0]}
    address = backpack(**answers).deposit_address("USDT", "Ethereum")
    assert address.address == "0xfBe7CbfCde93c8a4204a4be6B56732Eb32690170"


def withdrawals():
    (row,) = backpack(**{"capital/withdrawals": METHODS["fetchWithdrawals"][0]}).withdrawals("USDC")
    assert row == Withdrawal(
        id="5479929",
        asset="USDC",
        amount=Decimal(10),
        status="done",
        address="0x0ad42b8e602c2d3d475ae52d678cf63d84ab2749",
        network="Ethereum",
        fee=Decimal(3),
        txid="0x658b6d082af4afa0d3cf85caf344ff7c19d980117726bf193b00d8850f8746a1",
        created=millis(1755113233817),
    )


def withdraw():
    """The recorded answer is of USDC; the assets that were recorded with it are USDT's."""
    address = "0x0ad42b8e602c2d3d475ae52d678cf63d84ab2749"
    exchange = backpack(**{"capital/withdrawals": {**COMMENTS["withdraw"], "symbol": "USDT"}})
    made = exchange.withdraw(NewWithdrawal("USDT", Decimal("10.0"), address, CLIENT, network="Ethereum"))
    assert made == Withdrawal(
        "5479929", "USDT", Decimal(10), "pending", address, None, "Ethereum", Decimal(3), created=millis(1755113233817)
    )


def deposits():
    (row,) = backpack(**{"capital/deposits": METHODS["fetchDeposits"][0]}).deposits()
    assert row == Deposit(
        id="6695353",
        asset="USDC",
        amount=Decimal(120),
        status="done",
        address="0xfBe7CbfCde93c8a4204a4be6B56732Eb32690170",
        network="ethereum",
        txid="0x58edaac415398d617b34c6673fffcaf0024990d5700565030119db5cbf3765d1",
        time=millis(1753278954267),
    )


def fills():
    one = Fill(
        id="2959284",
        exchange_order_id="5578417289",
        side="buy",
        currency="USDC",
        asset="ETH",
        amount=Decimal("0.001"),
        price=Decimal("4732.9"),
        fee=Decimal("0.000001"),
        fee_currency="ETH",
        time=millis(1755105961197),
    )
    first, second = METHODS["fetchMyTrades"]
    assert backpack(**{"history/fills": first}).fills("USDC", "ETH") == [one]
    three = backpack(**{"history/fills": second}).fills("USDC", "ETH")
    assert three[0] == one
    assert [(f.id, f.side, f.price, f.fee, f.fee_currency) for f in three[1:]] == [
        ("2959285", "sell", Decimal("4732.5"), Decimal("0.0047325"), "USDC"),
        ("2958908", "sell", Decimal("4725.4"), Decimal("0.0047254"), "USDC"),
    ]


def balance():
    assert backpack(capital=METHODS["fetchBalance"][0]).funds() == {
        "ETH": Funds(Decimal("0.0019918"), Decimal("0.0019918"), Decimal(0), Decimal(0)),
        "POINTS": Funds(Decimal(2), Decimal(2), Decimal(0), Decimal(0)),
        "USDC": Funds(Decimal("112.847976936"), Decimal("112.847976936"), Decimal(0), Decimal(0)),
    }


def order_book():
    """Both sides ascend in the answer."""
    exchange = backpack(depth=COMMENTS["fetchOrderBook"])
    time = datetime(2025, 7, 21, 12, 54, 7, 307501, tzinfo=UTC)
    assert exchange.rate("USDC", "ETH") == Rate(Decimal("118318.3"), Decimal("12.9"), time)
    bids = ((Decimal("12.9"), Decimal(1)), (Decimal("1.0"), Decimal("0.38647")))
    asks = ((Decimal("118318.3"), Decimal("0.00633")), (Decimal("118567.2"), Decimal("0.08450")))
    assert exchange.order_book("USDC", "ETH", 20) == OrderBook(bids, asks, time)
    assert exchange.order_book("USDC", "ETH", 1) == OrderBook(bids[:1], asks[:1], time)


def ticker():
    """The second one has a percentage that is none, which nobody reads."""
    for answer in METHODS["fetchTicker"]:
        day = backpack(ticker=answer).ticker("USDC", "ETH")
        assert (day.last, day.high, day.low) == (Decimal("4182.41"), Decimal("4349.75"), Decimal("4161.84"))
        assert (day.volume, day.bid, day.ask) == (Decimal("6732.4927"), None, None)
        assert abs(day.time - datetime.now(UTC)).total_seconds() < 60


def public_trades():
    """Where the buyer was the maker, the one who took the offer sold."""
    rows = METHODS["fetchTrades"][0]
    assert backpack(trades=rows).trades("USDC", "ETH", 5) == [
        Trade("7558558", "sell", Decimal("0.0333"), Decimal("1626.15"), millis(1781067801978)),
        Trade("7558557", "sell", Decimal("0.1311"), Decimal("1626.24"), millis(1781067801927)),
        Trade("7558556", "sell", Decimal("0.0005"), Decimal("1626.3"), millis(1781067801813)),
        Trade("7558555", "buy", Decimal("0.0376"), Decimal(1624), millis(1781067762954)),
        Trade("7558554", "buy", Decimal("0.1684"), Decimal(1624), millis(1781067762954)),
    ]
    assert len(backpack(trades=rows).trades("USDC", "ETH", 2)) == 2


def markets():
    (listed,) = backpack(markets=[COMMENTS["fetchMarkets_spot"]]).markets()
    assert listed == Market("USDC", "SOL", Decimal("0.01"), Decimal("0.01"), Decimal("0.01"), None)


def errors():
    for body, code in zip(COMMENTS["errors"], ["exchange_refused", "invalid_request", "invalid_price"], strict=True):
        with pytest.raises((Refused, Unknown)) as caught:
            place({}, **{"POST order": Response(400, {}, json.dumps(body).encode())})
        refusal = caught.value.refusal if isinstance(caught.value, Unknown) else caught.value
        assert (refusal.reason, refusal.code) == (body["message"], code)
        assert (refusal is caught.value) == (code == "invalid_price"), "the others an earlier delivery could cause"


def error_texts():
    for body, code in zip(COMMENTS["error_text_bodies"], ["unknown_market", "invalid_request"], strict=True):
        with pytest.raises(Refused) as caught:
            place({}, **{"POST order": Response(400, {}, body.encode())})
        assert (caught.value.reason, caught.value.code) == (body, code)


#: recorded answer -> how its verb reads it
OF_A_VERB = {
    "fetchCurrencies 0": assets,
    "fetchOrders 0": history,
    "cancelAllOrders 0": nothing_canceled,
    "cancelOrder 0": cancel,
    "fetchOpenOrder 0": open_order,
    "fetchOpenOrders 0": open_orders,
    "createOrder 0": limit_orders,
    "createOrder 1": market_orders,
    "createOrder 2": futures,
    "createOrder 3": futures,
    "createOrder 4": limit_orders,
    "fetchDepositAddress 0": deposit_address,
    "fetchWithdrawals 0": withdrawals,
    "fetchDeposits 0": deposits,
    "fetchMyTrades 0": fills,
    "fetchMyTrades 1": fills,
    "fetchTrades 0": public_trades,
    "fetchTicker 0": ticker,
    "fetchTicker 1": ticker,
    "fetchBalance 0": balance,
    "fetchOrderBook": order_book,
    "fetchMarkets_spot": markets,
    "createOrder_market": market_orders,
    "fetchOpenOrders_one": open_orders,
    "withdraw": withdraw,
    "errors": errors,
    "error_text_bodies": error_texts,
}
#: recorded answer -> the call of the API class that no verb asks for
OF_NO_VERB = {
    "fetchStatus 0": lambda api: api.status(),
    "fetchTime": lambda api: api.time(),
}


def recorded() -> dict[str, object]:
    answers = {f"{name} {n}": answer for name, entries in METHODS.items() for n, answer in enumerate(entries)}
    return answers | COMMENTS


def test_every_recorded_answer_is_accounted_for():
    assert set(OF_A_VERB) | set(OF_NO_VERB) == set(recorded())
    assert (len(OF_A_VERB), len(OF_NO_VERB)) == (27, 2)


@pytest.mark.parametrize("name", OF_A_VERB)
def test_a_recorded_answer_becomes_exactly_its_records(name):
    OF_A_VERB[name]()


@pytest.mark.parametrize("name", OF_NO_VERB)
def test_the_api_class_gives_the_other_recorded_answers_as_they_are(name):
    document = recorded()[name]
    paths = dict.fromkeys(("status", "time"), document)
    answer = OF_NO_VERB[name](BackpackAPI(transport=Recording(**paths)))
    assert answer == (millis(document) if name == "fetchTime" else document)


def test_recorded_trades_a_deposit_and_a_send_are_a_ledger():
    """By their times; the fees of trades count what they brought."""
    exchange = backpack(
        **{
            "history/fills": METHODS["fetchMyTrades"][1],
            "capital/deposits": METHODS["fetchDeposits"][0],
            "capital/withdrawals": METHODS["fetchWithdrawals"][0],
        }
    )
    page = exchange.ledger_page(None)
    assert page.next is None
    assert [(entry.kind, entry.asset, entry.amount, entry.fee) for entry in page.rows] == [
        ("deposit", "USDC", Decimal(120), Decimal(0)),
        ("fill", "ETH", Decimal("-0.001"), Decimal(0)),
        ("fill", "USDC", Decimal("4.7254"), Decimal("0.0047254")),
        ("fill", "ETH", Decimal("0.001"), Decimal("0.000001")),
        ("fill", "USDC", Decimal("-4.7329"), Decimal(0)),
        ("fill", "ETH", Decimal("-0.001"), Decimal(0)),
        ("fill", "USDC", Decimal("4.7325"), Decimal("0.0047325")),
        ("withdrawal", "USDC", Decimal(-7), Decimal(3)),
    ]
    assert page.rows[0].id == "deposit-6695353"
    assert page.rows[-1].id == "withdrawal-5479929"
