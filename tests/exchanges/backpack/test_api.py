"""Backpack's own API: every byte that is signed, every method, and what becomes of every kind of answer."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.exchanges.backpack import BackpackAPI
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.transport import Response

KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
SECRET = base64.b64encode(bytes(range(32))).decode()


class Line:
    """A transport that keeps what it is given and answers what it is told to."""

    def __init__(self, body: str = "{}", status: int = 200, **headers: str) -> None:
        self.answer = Response(status, headers, body.encode())
        self.requests = []

    def send(self, request):
        self.requests.append(request)
        return self.answer


def api(line: Line | None = None, *, seconds: float = 1614550000, secret: str = SECRET, **options) -> BackpackAPI:
    return BackpackAPI(KEY, secret, transport=line or Line(), clock=lambda: seconds, **options)


#: The call, and the signature of its text at 1614550000000 with a window of 5000. The first eight are what the seed's
#: client, bpx-py 2.0.11 and ccxt sign; reduceOnly is bpx-py's and ccxt's, the withdrawal is the seed's and bpx-py's.
#: The account is what ccxt 4.5.90 signs.
VECTORS = {
    "balances": (
        lambda api: api.balances(),
        "nYfMx/rzW4i3vncDLl8SNxrjlZerfdUU1YvITOiclzGv0wbH0+CUQs4pH1hDKd/nhuhm1kBMs99y82z2j0gkDg==",
    ),
    "cancel": (
        lambda api: api.cancel_order("BTC_USDT", order_id="28"),
        "80cYcHmUHbvcO3IonY2y+nObqUTRkZrNbRsPB30r+NjqgKfP5DIFKryC0ea11fMcweyoymFT+S2cGbPACyinDw==",
    ),
    "deposit address": (
        lambda api: api.deposit_address("Bitcoin"),
        "HbsXi35426UdC8NVVzC6QEbLKKZNdXRAjJn5C6bdcXxvL7NqcNTTsxLWE7Nz5j74Dhxdzhw12E4I+e6I18SfCw==",
    ),
    "limit": (
        lambda api: api.execute_order(
            "SOL_USDC",
            "Bid",
            "Limit",
            quantity="0.07",
            price=Decimal("141.5"),
            time_in_force="GTC",
            client_id=55555,
        ),
        "lTj+9C08v+AEAg48YFh/vUW4gl9b74jrr+AMhpRc3Vb1Wzb8sgjJyUm1kOlIeKeolJB3VwFdEVvBKyZcOUpjCA==",
    ),
    "post only": (
        lambda api: api.execute_order(
            "SOL_USDC", "Ask", "Limit", quantity=Decimal("1.5"), price="180.50", post_only=True
        ),
        "a0I7TH8j7dr1OMB7veYvB3QGaTIxxVWpuFsNstcEpK43T/Pvi8g6b5Cj59LBljz6882ZGSE+6cwMb3ttXE7VDA==",
    ),
    "quote quantity": (
        lambda api: api.execute_order("DOGE_USDC", "Bid", "Market", quote_quantity=5),
        "J5SXZf5XzdB9sCXH7PHLvXpwumuYvJ2ouKw/+RJYCqxH/1O8az+68uvmJ+AODMsdt+qQxzvSMI1PQPtHzxhMBw==",
    ),
    "reduce only": (
        lambda api: api.execute_order("SOL_USDC_PERP", "Ask", "Market", quantity=1, reduce_only=True),
        "f/JwS9KimZTtG8+wfg0ZQOlVDBHXYPH7eA+KII++I84AnwigCwgnwZ7CqvZ+CxpZsZAJyV7PImvdxykdjfmXDQ==",
    ),
    "withdraw, not percent-encoded": (
        lambda api: api.withdraw(
            "bitcoincash:qq07l6rr5lsdm3m80qxw80ku2ex0tj76vvsxpvmgme", "BCH", "BitcoinCash", Decimal("0.1")
        ),
        "/tZuiwCtYfQAxMFscXv+SFkblTVI50VeByFMHYhrBYwT9rDiTowjCEY5eNKwW/m1KINfBLh8ceRYnof+MOCKCQ==",
    ),
    "account": (
        lambda api: api.account(),
        "l+USZ6/lu1JbnMDrAGwcWHrodrUD4J3bmU/YegMzAXcb2iMkwDhWF0KXfYj896lGWs8d+BG82GhXKa4usTgFAA==",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_every_signature_vector_is_signed_byte_by_byte(name):
    call, signature = VECTORS[name]
    line = Line()
    call(api(line))
    (request,) = line.requests
    expected = {
        "X-API-Key": KEY,
        "X-Signature": signature,
        "X-Timestamp": "1614550000000",
        "X-Window": "5000",
    }
    if request.method != "GET":
        expected["Content-Type"] = "application/json"
    assert dict(request.headers) == expected


def test_a_batch_is_signed_as_the_documentation_does():
    order = {"symbol": "SOL_USDC_PERP", "side": "Bid", "orderType": "Limit"}
    batch = [{**order, "price": "141", "quantity": "12"}, {**order, "price": Decimal(140), "quantity": Decimal(11)}]
    request = api(seconds=1750793021.5195).signed("POST", "api/v1/orders", "orderExecute", batch)
    assert request.headers["X-Timestamp"] == "1750793021519"
    assert request.headers["X-Signature"] == (
        "/RiVIEmATq6bDKSR8I9tEY3qY/MRt45Y5/Wi4mKYjt3SaqoLFfOiYrYNRddqSXfrcDdY/b0n3duPew5JKrn/CA=="
    )
    assert json.loads(request.body) == [
        {**order, "price": "141", "quantity": "12"},
        {**order, "price": "140", "quantity": "11"},
    ]


#: method, path with query, body of every method, in the order of the class
METHODS = [
    (lambda a: a.status(), "GET", "/api/v1/status", None),
    (lambda a: a.assets(), "GET", "/api/v1/assets", None),
    (lambda a: a.markets(), "GET", "/api/v1/markets", None),
    (lambda a: a.ticker("SOL_USDC"), "GET", "/api/v1/ticker?symbol=SOL_USDC", None),
    (lambda a: a.depth("SOL_USDC", limit=5), "GET", "/api/v1/depth?symbol=SOL_USDC&limit=5", None),
    (lambda a: a.trades("SOL_USDC"), "GET", "/api/v1/trades?symbol=SOL_USDC", None),
    (lambda a: a.account(), "GET", "/api/v1/account", None),
    (lambda a: a.balances(), "GET", "/api/v1/capital", None),
    (lambda a: a.deposits(start=0, limit=10), "GET", "/wapi/v1/capital/deposits?from=0&limit=10", None),
    (lambda a: a.deposit_address("Solana"), "GET", "/wapi/v1/capital/deposit/address?blockchain=Solana", None),
    (lambda a: a.withdrawals(client_id="7"), "GET", "/wapi/v1/capital/withdrawals?clientId=7", None),
    (
        lambda a: a.withdraw("addr", "SOL", "Solana", "1.50", two_factor_token="123456", client_id="7"),
        "POST",
        "/wapi/v1/capital/withdrawals",
        {
            "address": "addr",
            "blockchain": "Solana",
            "quantity": "1.50",
            "symbol": "SOL",
            "twoFactorToken": "123456",
            "clientId": "7",
        },
    ),
    (
        lambda a: a.execute_order(
            "SOL_USDC",
            "Bid",
            "Limit",
            quantity=Decimal("1E-8"),
            price=0,
            time_in_force="IOC",
            post_only=False,
            client_id=0,
            trigger_price="90",
            trigger_quantity="1",
            self_trade_prevention="RejectBoth",
        ),
        "POST",
        "/api/v1/order",
        {
            "symbol": "SOL_USDC",
            "side": "Bid",
            "orderType": "Limit",
            "quantity": "0.00000001",
            "price": "0",
            "timeInForce": "IOC",
            "postOnly": False,
            "clientId": 0,
            "triggerPrice": "90",
            "triggerQuantity": "1",
            "selfTradePrevention": "RejectBoth",
        },
    ),
    (lambda a: a.order("SOL_USDC", order_id="28"), "GET", "/api/v1/order?symbol=SOL_USDC&orderId=28", None),
    (lambda a: a.order("SOL_USDC", client_id=0), "GET", "/api/v1/order?symbol=SOL_USDC&clientId=0", None),
    (lambda a: a.open_orders(), "GET", "/api/v1/orders", None),
    (lambda a: a.open_orders("SOL_USDC"), "GET", "/api/v1/orders?symbol=SOL_USDC", None),
    (
        lambda a: a.cancel_order("SOL_USDC", client_id=7),
        "DELETE",
        "/api/v1/order",
        {"symbol": "SOL_USDC", "clientId": 7},
    ),
    (lambda a: a.cancel_open_orders("SOL_USDC"), "DELETE", "/api/v1/orders", {"symbol": "SOL_USDC"}),
    (
        lambda a: a.order_history("SOL_USDC", limit=1000, offset=0),
        "GET",
        "/wapi/v1/history/orders?symbol=SOL_USDC&limit=1000&offset=0",
        None,
    ),
    (lambda a: a.fill_history(start=5), "GET", "/wapi/v1/history/fills?from=5&fillType=User", None),
]


@pytest.mark.parametrize(("call", "method", "target", "body"), METHODS)
def test_every_method_sends_what_the_documentation_says_and_nothing_that_was_not_given(call, method, target, body):
    line = Line()
    call(api(line))
    (request,) = line.requests
    assert request.method == method
    assert request.url == f"https://api.backpack.exchange{target}"
    assert (None if request.body is None else json.loads(request.body)) == body


def test_what_is_signed_is_what_is_sent_for_parameters_with_colons_and_booleans():
    line = Line()
    api(line).private("GET", "api/v1/x", "anyQuery", {"b": True, "a": "x:y z", "gone": None, "c": Decimal("1E+3")})
    (request,) = line.requests
    assert request.url.endswith("?b=true&a=x%3Ay+z&c=1000")
    text = b"instruction=anyQuery&a=x:y z&b=true&c=1000&timestamp=1614550000000&window=5000"
    Ed25519PublicKey.from_public_bytes(base64.b64decode(KEY)).verify(
        base64.b64decode(request.headers["X-Signature"]), text
    )


def test_floats_are_refused_wherever_an_amount_goes():
    line = Line()
    for call in (
        lambda: api(line).execute_order("SOL_USDC", "Bid", "Market", quantity=0.1),
        lambda: api(line).withdraw("addr", "SOL", "Solana", 1.5),
        lambda: api(line).private("POST", "api/v1/order", "orderExecute", {"quantity": 0.1}),
    ):
        with pytest.raises(InvalidRequest, match="float"):
            call()
    assert not line.requests


@pytest.mark.parametrize("window", [0, -1, 60_001])
def test_a_window_that_the_exchange_would_refuse_is_refused_here(window):
    with pytest.raises(Refused, match="window"):
        api(window=window)


def test_a_secret_of_64_bytes_is_taken_when_its_tail_is_the_public_key():
    raw = bytes(range(32)) + base64.b64decode(KEY)
    line = Line()
    api(line, secret=base64.b64encode(raw).decode()).balances()
    assert line.requests[0].headers["X-Signature"] == VECTORS["balances"][1]


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        (KEY, "not base64!"),
        (KEY, ""),
        ("", SECRET),
        (KEY, base64.b64encode(bytes(31)).decode()),
        (KEY, base64.b64encode(bytes(32)).decode()),
        (KEY, base64.b64encode(bytes(range(32)) + bytes(32)).decode()),
        ("B" + KEY[1:], SECRET),
        (KEY, "é" * 44),
    ],
)
def test_keys_that_do_not_decode_or_belong_together_are_refused_at_once_and_not_repeated(key, secret):
    with pytest.raises(Refused) as caught:
        BackpackAPI(key, secret, transport=Line())
    assert caught.value.code == "invalid_request"
    assert not secret or secret not in str(caught.value)


def test_without_keys_public_calls_work_and_private_ones_are_refused_unsent():
    line = Line("[]")
    public = BackpackAPI(transport=line)
    assert public.markets() == []
    with pytest.raises(Refused) as caught:
        public.balances()
    assert caught.value.code == "invalid_request"
    assert len(line.requests) == 1
    assert repr(api()) == "BackpackAPI('https://api.backpack.exchange')"


def test_the_clock_answers_a_bare_number_in_plain_text():
    line = Line("1753131712992")
    assert api(line).time() == datetime(2025, 7, 21, 21, 1, 52, 992000, UTC)


def test_an_answer_202_without_a_body_means_accepted_and_not_yet_done():
    assert api(Line("", 202)).cancel_order("SOL_USDC", order_id="28") is None
    assert api(Line("", 202)).cancel_open_orders("SOL_USDC") is None


MOVES = {
    "execute": lambda a: a.execute_order("SOL_USDC", "Bid", "Market", quantity=1),
    "cancel": lambda a: a.cancel_order("SOL_USDC", order_id="28"),
    "cancel all": lambda a: a.cancel_open_orders("SOL_USDC"),
    "withdraw": lambda a: a.withdraw("addr", "SOL", "Solana", 1),
}
READS = {"balances": lambda a: a.balances(), "order": lambda a: a.order("SOL_USDC", order_id="1")}

REFUSALS = {
    "UNAUTHORIZED": "exchange_key_refused",
    "INVALID_SIGNATURE": "exchange_key_refused",
    "FORBIDDEN": "permission_denied",
    "ACCOUNT_DEACTIVATED": "permission_denied",
    "INVALID_MARKET": "unknown_market",
    "INVALID_SYMBOL": "unknown_market",
    "INVALID_ASSET": "unknown_asset",
    "INVALID_PRICE": "invalid_price",
    "INVALID_QUANTITY": "invalid_amount",
    "RESOURCE_NOT_FOUND": "order_not_found",
    "MAINTENANCE": "exchange_unavailable",
    "TRADING_PAUSED": "exchange_unavailable",
}
#: What an earlier delivery of the same request could have caused; a code that is not known may be one of these.
NO_PROOF = {
    "INVALID_TWO_FACTOR_CODE": "permission_denied",
    "INSUFFICIENT_FUNDS": "insufficient_funds",
    "INSUFFICIENT_MARGIN": "insufficient_funds",
    "INVALID_CLIENT_REQUEST": "invalid_request",
    "INVALID_ORDER": "exchange_refused",
    "ORDER_LIMIT": "exchange_refused",
    "NEVER_SEEN_BEFORE": "exchange_refused",
}


@pytest.mark.parametrize("call", [*MOVES.values(), *READS.values()])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_certain_and_has_our_code_whatever_the_call(call, code):
    line = Line(json.dumps({"code": code, "message": "Words of theirs"}), 503 if code == "MAINTENANCE" else 400)
    with pytest.raises(Refused, match=r"^Words of theirs$") as caught:
        call(api(line))
    assert type(caught.value) is Refused
    assert caught.value.code == REFUSALS[code]
    assert caught.value.retryable is (REFUSALS[code] == "exchange_unavailable")
    assert len(line.requests) == 1


def refused_words(code):
    return Line(json.dumps({"code": code, "message": "Words of theirs"}), 400)


@pytest.mark.parametrize("call", MOVES.values())
@pytest.mark.parametrize("code", NO_PROOF)
def test_what_an_earlier_delivery_could_have_caused_is_unknown_with_the_refusal_inside(call, code):
    line = refused_words(code)
    with pytest.raises(Unknown, match=r"^Words of theirs; ") as caught:
        call(api(line))
    assert (str(caught.value.refusal), caught.value.refusal.code) == ("Words of theirs", NO_PROOF[code])
    assert caught.value.may_have_executed
    assert len(line.requests) == 1


@pytest.mark.parametrize("call", READS.values())
@pytest.mark.parametrize("code", NO_PROOF)
def test_the_same_refusal_of_a_read_is_certain(call, code):
    with pytest.raises(Refused, match=r"^Words of theirs$") as caught:
        call(api(refused_words(code)))
    assert caught.value.code == NO_PROOF[code]


@pytest.mark.parametrize("call", [*MOVES.values(), *READS.values()])
def test_what_the_exchange_could_not_parse_it_did_not_execute(call):
    text = 'Bad Request parse request payload error: failed to parse "MarketSymbol": Invalid market symbol'
    with pytest.raises(Refused, match=r"^Bad Request parse") as caught:
        call(api(Line(text, 400)))
    assert caught.value.code == "unknown_market"
    with pytest.raises(Refused) as caught:
        call(api(Line("failed to parse parameter `interval`: " + "x" * 999, 400)))
    assert caught.value.code == "invalid_request"
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("body", "header", "seconds"),
    [('{"code":"TOO_MANY_REQUESTS","message":"Slow down"}', "", 1.0), ("<html>slow down</html>", "3", 3.0)],
)
def test_a_rate_limit_is_busy_and_says_when_to_come_back(body, header, seconds):
    """To a call that executes it proves nothing: an earlier delivery was counted, too."""
    line = Line(body, 429, **({"Retry-After": header} if header else {}))
    for call in READS.values():
        with pytest.raises(Busy) as busy:
            call(api(line))
        assert busy.value.retry_after == seconds
    for call in MOVES.values():
        with pytest.raises(Busy) as unproved:
            call(api(line))
        assert (unproved.value.retry_after, unproved.value.may_have_executed) == (seconds, True)


UNSURE = [
    (500, '{"code":"SERVER_ERROR","message":"x"}'),
    (400, '{"code":"TIMEOUT","message":"x"}'),
    (503, '{"code":"NEVER_SEEN_BEFORE","message":"x"}'),
    (502, "<html>Bad Gateway</html>"),
    (504, ""),
    (200, ""),
    (200, "<html></html>"),
    (200, '{"id": "14'),
    (200, '{"id": Infinity}'),
    (202, "{"),
    (307, "{}"),
    (400, "[]"),
    (403, "<html>who are you</html>"),
]


@pytest.mark.parametrize("call", MOVES.values())
@pytest.mark.parametrize(("status", "body"), UNSURE)
def test_what_a_failure_inside_or_before_the_exchange_did_to_a_moving_call_is_unknown(call, status, body):
    line = Line(body, status)
    with pytest.raises(Unknown):
        call(api(line))
    assert len(line.requests) == 1


@pytest.mark.parametrize("call", READS.values())
@pytest.mark.parametrize(("status", "body"), UNSURE)
def test_the_same_failures_refuse_a_read(call, status, body):
    with pytest.raises(Refused) as caught:
        call(api(Line(body, status)))
    assert caught.value.code == "exchange_unavailable"
    assert caught.value.retryable
