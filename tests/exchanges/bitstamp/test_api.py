"""Bitstamp's own API: every byte that is signed, and what becomes of every kind of answer."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.exchanges.bitstamp import BitstampAPI
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.transport import Response

KEY, SECRET = "api_key", "api_key_secret"
NONCE, TIMESTAMP = "f93c979d-b00d-43a9-9b9c-fd4cd9547fa6", "1567755304968"


def api(url: str = "https://www.bitstamp.net", **keys: str) -> BitstampAPI:
    return BitstampAPI(
        keys.get("key", KEY), keys.get("secret", SECRET), url=url, clock=lambda: 1567755304.9685, nonce=lambda: NONCE
    )


#: V1 and V2 equal what ccxt 4.5.90 signs, V3 too; V4 to V7 follow the documentation and bitstamp-go.
VECTORS = {
    "V1": (
        ("user_transactions", {"offset": 1}),
        {},
        b"offset=1",
        "526d7cd4184c381c21c2f8e6eeca15292edcc7ab8c4a188d68ee5c5ceb11b302",
    ),
    "V2": (
        ("buy/market/btceur", {"amount": Decimal("0.10000000"), "client_order_id": "bitmm-1"}),
        {},
        b"amount=0.10000000&client_order_id=bitmm-1",
        "1aeee9727495e62e72198b950391b166f4f9c75b80d52a3b8d211b9c0e8fe8ed",
    ),
    "V3": (
        ("trade_history",),
        {"method": "GET"},
        None,
        "06ce6498aa04fc9747da902c51f844e15a8045f56ef080b6103c4ae36191cd89",
    ),
    "V4": (
        ("account_balances",),
        {},
        None,
        "8f3fefb1c2af8e3dd40457b69482f20102f44f89d6c33cf6ae328669c60a123b",
    ),
    "V5": (
        ("crypto-transactions/deposits",),
        {"method": "GET", "query": {"limit": 10, "offset": 0}},
        None,
        "c8955d3ef5a3011d01f51db2c9eb87d9cd920833cf08415c5acead534c0e760f",
    ),
    "V6": (
        ("account_balances",),
        {"url": "http://127.0.0.1:8080"},
        None,
        "b387356a247fd4a24776895ac2be92821a892771ad1077d24e26ea224643475c",
    ),
    "V7": (
        ("fees/trading/btceur",),
        {},
        None,
        "2805e3e0692345cbb3390333b2a373f4d9ea760ebc820999ec8c60cc3c132a0f",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_every_signature_vector_is_signed_byte_by_byte(name):
    arguments, options, body, signature = VECTORS[name]
    url = options.get("url", "https://www.bitstamp.net")
    request = api(url).signed(*arguments, **{key: value for key, value in options.items() if key != "url"})
    query = "?limit=10&offset=0" if name == "V5" else ""
    assert request.method == options.get("method", "POST")
    assert request.url == f"{url}/api/v2/{arguments[0]}/{query}"
    assert request.body == body
    expected = {
        "X-Auth": "BITSTAMP api_key",
        "X-Auth-Signature": signature,
        "X-Auth-Nonce": NONCE,
        "X-Auth-Timestamp": TIMESTAMP,
        "X-Auth-Version": "v2",
    }
    if body is not None:
        expected["Content-Type"] = "application/x-www-form-urlencoded"
    assert dict(request.headers) == expected


def test_a_default_port_in_the_address_is_not_signed_because_the_host_header_has_none():
    with_port, without = (api(f"https://www.bitstamp.net{port}").signed("account_balances") for port in (":443", ""))
    assert with_port.headers == without.headers


BODY = b'[{"currency":"btc","total":"1.00000000","available":"0.90000000","reserved":"0.10000000"}]'
S1 = "f7f2b1ce27ba8cc6ef6f39ee3b9f272fe96d8073e1b447b8762617eed6ba4a8b"


@pytest.mark.parametrize(
    ("headers", "body", "verified"),
    [
        ({"X-Server-Auth-Signature": S1, "Content-Type": "application/json"}, BODY, True),
        ({"X-Server-Auth-Signature": S1.upper(), "Content-Type": "application/json"}, BODY, True),
        ({"X-Server-Auth-Signature": S1, "Content-Type": "text/html"}, BODY, False),
        ({"X-Server-Auth-Signature": S1, "Content-Type": "application/json"}, BODY + b" ", False),
        ({"X-Server-Auth-Signature": S1[:-1] + "c", "Content-Type": "application/json"}, BODY, False),
        ({"X-Server-Auth-Signature": "", "Content-Type": "application/json"}, BODY, False),
        ({"X-Server-Auth-Signature": "\xe9", "Content-Type": "application/json"}, BODY, False),
        ({"Content-Type": "application/json"}, BODY, False),
    ],
)
def test_the_answers_signature_is_checked_over_nonce_timestamp_type_and_body(headers, body, verified):
    ours = api()
    assert ours.verified(ours.signed("account_balances"), Response(200, headers, body)) is verified


def test_amounts_are_sent_in_plain_digits_and_floats_are_refused():
    assert api().signed("buy/btceur", {"amount": Decimal("1E-8"), "limit_price": None}).body == b"amount=0.00000001"
    assert api().signed("buy/btceur", {"amount": 2, "ioc_order": True}).body == b"amount=2&ioc_order=True"
    with pytest.raises(InvalidRequest, match="float"):
        api().signed("buy/btceur", {"amount": 0.1})


@pytest.mark.parametrize(("key", "secret"), [("", ""), ("key", ""), ("", "secret"), ("k\r\ney", "secret"), ("ké", "s")])
def test_a_private_call_without_usable_keys_is_refused_before_anything_is_sent(key, secret):
    with pytest.raises(Refused) as caught:
        api(key=key, secret=secret).signed("account_balances")
    assert caught.value.code == "invalid_request"


def test_neither_key_nor_secret_is_in_a_repr():
    assert repr(api()) == "BitstampAPI('https://www.bitstamp.net')"


class Line:
    """A transport that answers what it is told to: the answers' reading is tested, not the network."""

    def __init__(self, status: int, body: str, **headers: str) -> None:
        self.answer = Response(status, headers, body.encode())
        self.sent = 0

    def send(self, request):
        self.sent += 1
        return self.answer


#: (status, body) -> class, code for a call that moves money, then for a read
ANSWERS = [
    (403, '{"status":"error","reason":"API key not found","code":"API0001"}', Refused, "exchange_key_refused"),
    (403, '{"status":"error","reason":"Invalid signature","code":"API0005"}', Refused, "exchange_key_refused"),
    (403, '{"status":"error","reason":"Wrong API key format","code":"API0011"}', Refused, "exchange_key_refused"),
    (403, '{"status":"error","reason":"No permission found","code":"API0003"}', Refused, "permission_denied"),
    (200, '{"error":"No permission found"}', Refused, "permission_denied"),
    (400, '{"status":"error","reason":"x","response_code":"400.002"}', Busy, "rate_limited"),
    (400, '{"status":"error","reason":"x","response_code":"400.067"}', Busy, "rate_limited"),
    (400, '{"status":"error","reason":"x","response_code":"400.003"}', Refused, "exchange_unavailable"),
    (400, '{"status":"error","reason":"x","response_code":"400.009"}', Refused, "insufficient_funds"),
    (400, '{"status":"error","reason":"x","response_code":"400.020"}', Refused, "invalid_amount"),
    (400, '{"status":"error","reason":"x","response_code":"400.021"}', Refused, "invalid_price"),
    (400, '{"status":"error","reason":"x","response_code":"500.004"}', Refused, "exchange_unavailable"),
    (400, '{"status":"error","reason":{"amount":["x"]},"response_code":"400.004"}', Refused, "invalid_request"),
    (404, '{"status":"error","reason":"x","response_code":"404.002"}', Refused, "order_not_found"),
    (404, '{"status":"error","reason":"x","response_code":"404.007"}', Refused, "unknown_market"),
    (404, "<html>no such page</html>", Refused, "unknown_market"),
    (200, '{"error":{"__all__":["You can only sell 1 BTC. Check your account balance for details."]}}', Refused,
     "insufficient_funds"),
    (400, '{"status":"error","reason":{"__all__":["Minimum order size is 10 EUR."]}}', Refused, "invalid_amount"),
    (400, '{"status":"error","reason":{"__all__":["Price is more than 20% below market price."]}}', Refused,
     "invalid_price"),
    (400, '{"status":"error","reason":"Not allowed to withdraw to specified \'btc\' address"}', Refused,
     "address_not_registered"),
    (400, '{"code":"validation-error","message":"Never seen before","errors":[]}', Refused, "exchange_refused"),
    (400, '{"status":"error","reason":"","response_code":"999.999"}', Refused, "exchange_refused"),
    (503, '{"error":"Bitstamp.net is under scheduled maintenance. We\'ll be back soon."}', Refused,
     "exchange_unavailable"),
]  # fmt: skip
#: What an earlier delivery of the same request could have caused: (status, body) -> code
NO_PROOF = [
    (403, '{"status":"error","reason":"Invalid nonce","code":"API0004"}', "invalid_nonce"),
    (403, '{"status":"error","reason":"Timestamp out of boundaries","code":"API0017"}', "invalid_nonce"),
    (403, '{"status":"error","reason":"Invalid timestamp","code":"API0018"}', "invalid_nonce"),
    (400, '{"status":"error","reason":"x","response_code":"400.019"}', "exchange_refused"),
    (429, "slow down", "rate_limited"),
    (429, '{"error":"slow down"}', "rate_limited"),
]


@pytest.mark.parametrize(("status", "body", "kind", "code"), ANSWERS)
@pytest.mark.parametrize("path", ["buy/market/btceur", "order_status"])
def test_a_refusal_is_certain_and_has_our_code_whatever_the_call(path, status, body, kind, code):
    line = Line(status, body)
    with pytest.raises(Refused) as caught:
        BitstampAPI(KEY, SECRET, transport=line).private(path)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.retryable is (code in ("rate_limited", "exchange_unavailable"))
    assert line.sent == 1


@pytest.mark.parametrize(("status", "body", "code"), NO_PROOF)
@pytest.mark.parametrize(
    "path", ["sell/btceur", "cancel_order", "cancel_all_orders", "btc_withdrawal", "never_heard_of"]
)
def test_what_an_earlier_delivery_could_have_caused_may_have_executed_and_has_the_refusal_inside(
    path, status, body, code
):
    line = Line(status, body)
    with pytest.raises(Busy if code == "rate_limited" else Unknown) as told:
        BitstampAPI(KEY, SECRET, transport=line).private(path)
    assert told.value.refusal.code == code
    assert (told.value.may_have_executed, told.value.retryable) == (True, False)
    assert line.sent == 1
    with pytest.raises(Refused) as read:
        BitstampAPI(KEY, SECRET, transport=line).private("order_status")
    assert (type(read.value), read.value.code) == (type(told.value.refusal), code)
    assert read.value.retryable is (code != "exchange_refused")


UNSURE = [
    (500, '{"status":"error","reason":"x","response_code":"500.016","order_id":14}'),
    (400, '{"status":"error","reason":"x","response_code":"500.001"}'),
    (400, '{"status":"error","reason":{"__all__":["Order could not be placed."]}}'),
    (500, '{"status":"error","reason":"Never seen before"}'),
    (502, "<html>Bad Gateway</html>"),
    (503, "down for maintenance"),
    (504, ""),
    (200, ""),
    (200, "<html></html>"),
    (200, '{"id": "14'),
    (200, '{"id": NaN}'),
    (200, '{"id": 1, "id": 2}'),
    (302, '{"id": "14"}'),
    (403, "<html>who are you</html>"),
    (200, '{"id": "14"}'),
]


@pytest.mark.parametrize(("status", "body"), UNSURE)
@pytest.mark.parametrize("path", ["sell/btceur", "cancel_order", "btc_withdrawal", "withdrawal/open", "never_heard_of"])
def test_what_a_failure_inside_or_before_the_exchange_did_to_a_moving_call_is_unknown(path, status, body):
    line = Line(status, body)
    with pytest.raises(Unknown):
        BitstampAPI(KEY, SECRET, transport=line).private(path)
    assert line.sent == 1


@pytest.mark.parametrize(("status", "body"), UNSURE)
@pytest.mark.parametrize("path", ["order_status", "account_balances/btc", "btc_address", "withdrawal/status"])
def test_the_same_failures_refuse_a_read(path, status, body):
    with pytest.raises(Refused) as caught:
        BitstampAPI(KEY, SECRET, transport=Line(status, body)).private(path)
    assert caught.value.code == "exchange_unavailable"
    assert caught.value.retryable


def test_the_exchanges_words_are_shown_but_never_at_length():
    body = '{"status":"error","reason":{"price":["Too high.", "Too odd."],"__all__":["Go away."]}}'
    with pytest.raises(Refused, match=r"^price: Too high\. Too odd\. Go away\.$"):
        BitstampAPI(KEY, SECRET, transport=Line(400, body)).private("buy/btceur")
    with pytest.raises(Refused) as caught:
        BitstampAPI(KEY, SECRET, transport=Line(400, f'{{"error":"{"x" * 5000}"}}')).private("buy/btceur")
    assert len(str(caught.value)) == 300


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", 10.0), ("soon", 10.0), ("-1", 10.0)])
def test_busy_says_when_to_come_back(header, seconds):
    line = Line(429, "", **({"Retry-After": header} if header else {}))
    with pytest.raises(Busy) as caught:
        BitstampAPI(KEY, SECRET, transport=line).private("account_balances")
    assert caught.value.retry_after == seconds
