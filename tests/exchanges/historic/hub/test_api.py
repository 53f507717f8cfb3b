"""The hub protocol itself: every byte of a signed call, its functions and errors, and what the local hub checks."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import parse_qsl

import pytest
import requests

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.historic.hub import HubAPI
from bitmm.xwrap.testing.exchanges.hub import FORM, JSON, HubVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from bitmm.xwrap.transport import Request
from tests.support.historic import overview

TEXT_KEY, BASE64_KEY = "correct horse battery", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BALANCE = ("my-balance", {}, "1294790400000", "c0ffee00c0ffee00")
BALANCE_BODY = "f=my-balance&account=acct-7&nonce_ms=1294790400000&nonce_random=c0ffee00c0ffee00"
ORDER = {"trade_amt": "0.39", "trade_cur": "USD", "for_amt": "1.05", "for_cur": "BTC"}
PLACE = ("place-order", ORDER, "1294790400001", "00c0ffee00c0ffee")
PLACE_BODY = (
    "f=place-order&account=acct-7&nonce_ms=1294790400001&nonce_random=00c0ffee00c0ffee"
    "&trade_amt=0.39&trade_cur=USD&for_amt=1.05&for_cur=BTC"
)
PLACE_JSON = (
    '{"f":"place-order","account":"acct-7","nonce_ms":"1294790400001","nonce_random":"00c0ffee00c0ffee",'
    '"trade_amt":"0.39","trade_cur":"USD","for_amt":"1.05","for_cur":"BTC"}'
)
SEND = {"to_btc_address": "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L", "amount": "17.50"}
SEND_BODY = (
    "f=send-btc&account=acct-7&nonce_ms=1294790400002&nonce_random=0123456789abcdef"
    "&to_btc_address=1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L&amount=17.50"
)
#: Key, its encoding, the body's encoding, account, call, body, signature: computed with Python's hmac and openssl.
VECTORS = [
    (
        *(TEXT_KEY, "utf-8", FORM, "acct-7", BALANCE, BALANCE_BODY),
        "GMMl7wtLgHFCmROhiuJ81k4g1D5kZtl3h8IGhAddZJc=",
    ),
    (
        *(TEXT_KEY, "utf-8", JSON, "acct-7", BALANCE),
        '{"f":"my-balance","account":"acct-7","nonce_ms":"1294790400000","nonce_random":"c0ffee00c0ffee00"}',
        "Jnq9MrYm3r94r6aac3iN7snO3R+x+1KrBqPZj7fRHqU=",
    ),
    (*(TEXT_KEY, "utf-8", FORM, "acct-7", PLACE, PLACE_BODY), "O73GuZYhr6iPmSaVV6CdE/YXiWmI6fM+dzcp1VMC37I="),
    (*(TEXT_KEY, "utf-8", JSON, "acct-7", PLACE, PLACE_JSON), "ApxuJ3TyPDEcifMhE9G5t8mxKeNqLw032AbiBl2vUys="),
    (
        *(TEXT_KEY, "utf-8", FORM, "acct-7", ("send-btc", SEND, "1294790400002", "0123456789abcdef")),
        SEND_BODY,
        "Ok4Ovhi+55S3wCiLJrbUs0C2NLbuiuzUTzWI81Db5hI=",
    ),
    (
        TEXT_KEY,
        *("utf-8", FORM, "acct 7&x", ("cancel-order", {"oid": "a/b+c=d"}, "1294790400003", "fedcba9876543210")),
        "f=cancel-order&account=acct+7%26x&nonce_ms=1294790400003&nonce_random=fedcba9876543210&oid=a%2Fb%2Bc%3Dd",
        "0YcI81CdWiglIDyJ1jZgKqe+wOWdej17QpvSK4i5yEE=",
    ),
    (
        *(BASE64_KEY, "base64", FORM, "acct-7", BALANCE, BALANCE_BODY),
        "D/iT/lR5MPODADGsnjaXEjXqWR68N81CWFVoaBrXu4k=",
    ),
    (*(BASE64_KEY, "base64", FORM, "acct-7", PLACE, PLACE_BODY), "6yEMd4mK8wxvX7YY3vjDRaU/tRElP7SJMs//a74eO24="),
    (*(BASE64_KEY, "base64", JSON, "acct-7", PLACE, PLACE_JSON), "IWGdP53pwMaZFWcqa9+fW8KYyYJMr7OoL9LOkR3yPJc="),
]


VENUE = HubVenue


@pytest.mark.parametrize(("key", "key_encoding", "encoding", "account", "call", "body", "signature"), VECTORS)
def test_every_byte_of_a_signed_call_is_that_of_the_vectors(
    key, key_encoding, encoding, account, call, body, signature
):
    api = HubAPI("https://hub.example", account=account, token="token", key=key, key_encoding=key_encoding)
    function, parameters, ms, random = call
    request = api.signed(function, parameters, overview=overview(encoding), nonce_ms=int(ms), nonce_random=random)
    assert request == Request(
        "POST",
        f"https://hub.example/code/{function}.php",
        {"Content-Type": encoding, "X-Signature": signature, "X-Authkey-Token": "token"},
        body.encode(),
    )


def test_the_vectors_are_all_nine():
    assert len(VECTORS) == len({vector[-1] for vector in VECTORS}) == 9


def test_the_clock_and_the_random_text_are_the_nonce():
    api = HubAPI("https://hub.example", token="t", key="k", clock=lambda: 1294790400.1239, random=lambda: "0" * 16)
    body = api.signed("my-balance", overview=overview()).body
    assert body == b"f=my-balance&account=t&nonce_ms=1294790400123&nonce_random=0000000000000000"


def test_nonces_are_never_the_same():
    api = HubAPI("https://hub.example", token="t", key="k")
    bodies = {api.signed("my-balance", overview=overview(), nonce_ms=1).body for _ in range(100)}
    assert len(bodies) == 100
    assert all(re.search(rb"nonce_random=[0-9a-f]{16,}$", body) for body in bodies)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (FORM, b"name=acct-7&pass=p%26%C3%A4%22&oid=1"),
        (JSON, '{"name":"acct-7","pass":"p&\u00e4\\"","oid":"1"}'.encode()),
    ],
)
def test_type_1_sends_name_and_password_first_and_signs_nothing(encoding, body):
    api = HubAPI("https://hub.example", account="acct-7", password='p&\u00e4"')
    request = api.signed("cancel-order", {"oid": "1"}, overview=overview(encoding, authentication=1))
    url = "https://hub.example/code/cancel-order.php"
    assert request == Request("POST", url, {"Content-Type": encoding}, body)


def test_get_signs_the_whole_query():
    api = HubAPI("https://hub.example", account="acct-7", token="token", key=TEXT_KEY)
    request = api.signed(
        "my-balance", overview=overview(method="GET"), nonce_ms=1294790400000, nonce_random="c0ffee00c0ffee00"
    )
    assert request == Request(
        "GET",
        f"https://hub.example/code/my-balance.php?{BALANCE_BODY}",
        {"X-Signature": "GMMl7wtLgHFCmROhiuJ81k4g1D5kZtl3h8IGhAddZJc=", "X-Authkey-Token": "token"},
        None,
    )


def test_secrets_are_in_no_repr_and_no_error():
    api = HubAPI("https://hub.example", account="acct-7", password="hush", token="token", key="hush-key")
    shown = repr(api) + repr(api.signed("my-balance", overview=overview(authentication=1)))
    assert "hush" not in shown
    with pytest.raises(Refused) as caught:
        HubAPI("https://hub.example", token="t", key="hush!", key_encoding="base64")
    assert caught.value.code == "invalid_request"
    assert "hush" not in str(caught.value)


SHAPES = [(1, "form"), (1, "json"), (2, "form"), (2, "json")]


@pytest.mark.parametrize(("authentication", "encoding"), SHAPES)
def test_every_function_works_in_both_types_and_encodings(venue, hub_api, authentication, encoding):
    venue.authentication, venue.encoding = authentication, encoding
    venue.functions.append("create-account")
    api = hub_api()
    assert api.my_balance() == {"available": {"btc": "100", "usd": "1000000", "eur": "1000000"}, "pending": {}}
    oid = api.place_order("1", "BTC", "1000", "USD")["oid"]
    (row,) = api.my_open_orders()
    assert (row["oid"], row["trade_amt"], row["for_cur"]) == (oid, "1", "USD")
    assert api.my_balance()["pending"] == {"btc": "1"}
    assert api.cancel_order(oid) == {}
    assert api.my_open_orders() == []
    assert api.new_btc_address() != api.new_btc_address()
    assert len(api.send_btc(**SEND)["txid"]) == 64
    assert api.find_invoices(t="1294790400000") == {"invoices": [], "more_exist": False}
    assert api.ticker("BTC", "USD") == {"bid": "370.8", "ask": "371.2"}
    made = api.create_account()
    assert made["account"] == "acct-2"
    key = made["authkey"]
    assert key["type"] == ("password" if authentication == 1 else "hmac-sha256")
    own = hub_api(account="acct-2", **{name: text for name, text in key.items() if name != "type"})
    assert own.my_balance() == {"available": {}, "pending": {}}
    assert api.create_authkey()["authkey"]["type"] == key["type"]


def test_a_second_authkey_opens_the_same_account(venue, hub_api):
    key = hub_api().create_authkey()["authkey"]
    assert hub_api(token=key["token"], key=key["key"]).my_balance() == hub_api().my_balance()


def test_get_works(venue, hub_api):
    venue.method = "GET"
    oid = hub_api().place_order(**ORDER | {"trade_amt": "371.3", "for_amt": "1"})["oid"]
    assert [row["order_id"] for row in venue.ledger()] == [oid]


def test_a_key_in_base64_works(venue, hub_api):
    venue.key_encoding = "base64"
    venue.authkeys[venue.key] = venue.account, BASE64_KEY
    assert hub_api(key=BASE64_KEY, key_encoding="base64").my_balance()


@pytest.mark.parametrize("function", ["ticker", "create-account"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(("authentication", "f"), [(1, []), (2, ["f"])])
def test_what_everybody_may_call_carries_no_credentials(function, method, authentication, f):
    there = overview(JSON, authentication, method)._replace(supported_functions=frozenset({function}))
    api = HubAPI("https://hub.example", account="a", password="hush", token="token", key="hush")
    request = api.unsigned(function, overview=there)
    assert request.headers == ({"Content-Type": JSON} if method == "POST" else {})
    sent = json.loads(request.body) if request.body else dict(parse_qsl(request.url.partition("?")[2]))
    assert sent == dict.fromkeys(f, function)


def test_prices_need_no_credentials(venue, transport):
    assert HubAPI(venue.url, transport=transport).ticker("BTC", "USD") == {"bid": "370.8", "ask": "371.2"}


@pytest.mark.parametrize(
    "function",
    ["attach-identity-to-transfer", "pay-invoice", "post-invoice", "withdraw-invoice", "change-authkey-permissions"],
)
def test_what_the_page_leaves_as_todo_is_not_supported_with_those_words(venue, hub_api, function):
    venue.functions.append(function)
    with pytest.raises(Unsupported, match=f"TODO to {function}"):
        hub_api().private(function)
    assert len(venue.requests) == 1


def refusal(call, *arguments):
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value.code, str(caught.value)


def inner_refusal(call, *arguments):
    with pytest.raises((Unknown, Busy)) as caught:
        call(*arguments)
    assert caught.value.may_have_executed
    return caught.value.refusal.code, str(caught.value.refusal)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"key": "wrong"}, "wrong signature"),
        ({"token": "wrong"}, "no such authkey"),
        ({"account": "acct-2"}, "signed for another function or account"),
        ({"clock": lambda: 1294790400.0}, "the nonce is not of this time"),
        ({"random": lambda: "short"}, "not a nonce"),
    ],
)
def test_a_call_that_is_not_well_signed_is_refused(hub_api, settings, words):
    assert refusal(hub_api(**settings).my_balance) == ("exchange_key_refused", words)


def test_a_nonce_works_once(hub_api):
    now = time.time()
    api = hub_api(clock=lambda: now, random=lambda: "0" * 16)
    assert api.my_balance()
    assert refusal(api.my_balance) == ("invalid_nonce", "the nonce was used before")


def test_a_signature_holds_for_its_function_alone(venue, hub_api, transport):
    api = hub_api()
    signed = api.signed("my-balance", overview=api.overview())
    answer = transport.send(signed._replace(url=f"{venue.url}/api/my-open-orders"))
    assert (answer.status, answer.json()) == (401, {"error": "signed for another function or account"})


def test_a_wrong_password_is_refused(venue, hub_api):
    venue.authentication = 1
    assert refusal(hub_api(password="wrong").my_balance) == ("exchange_key_refused", "wrong name or password")


def test_a_key_without_the_right_is_refused(venue, hub_api):
    venue.account.permissions.remove("send")
    assert refusal(hub_api().private, "send-btc", SEND) == ("permission_denied", "this key may not send")
    assert not venue.ledger()


def test_a_number_in_json_is_no_amount(venue, hub_api, transport):
    venue.encoding, venue.authentication = "json", 1
    url, headers = f"{venue.url}/api/send-btc", {"Content-Type": JSON}
    document = {"name": "acct-1", "pass": venue.secret, **SEND}
    answer = transport.send(Request("POST", url, headers, json.dumps(document | {"amount": 17.5}).encode()))
    assert answer.status == 400
    assert not venue.ledger()
    assert transport.send(Request("POST", url, headers, json.dumps(document).encode())).status == 200


def test_another_encoding_than_the_overviews_is_refused(venue, hub_api, transport):
    api = hub_api()
    signed = api.signed("my-balance", overview=api.overview()._replace(post_body_encoding=JSON))
    assert transport.send(signed).status == 400


@pytest.fixture
def answering(venue, hub_api):
    """A function: the API in front of a hub that answers every function so."""

    def answer(text, status, **headers):
        venue.function = lambda request, function: Reply.text(text, status, **headers)
        venue._routes = [(m, p, venue.function if "function" in p.pattern else h) for m, p, h in venue._routes]
        return hub_api()

    return answer


@pytest.mark.parametrize(
    ("text", "status", "code", "words"),
    [
        ('{"error": "no", "code": "order_not_open"}', 400, "order_not_open", "no"),
        ('{"error": "no", "code": "rm -rf"}', 400, "invalid_request", "no"),
        ('{"message": "no"}', 401, "exchange_key_refused", "no"),
        ('{"detail": "no"}', 403, "permission_denied", "no"),
        ("no such thing", 404, "unsupported", "no such thing"),
        ("used", 409, "invalid_nonce", "used"),
        ('{"error": "poor"}', 422, "insufficient_funds", "poor"),
        ('{"error": "teapot"}', 418, "exchange_refused", "teapot"),
        ("slow down", 429, "rate_limited", "slow down"),
        ("<html>slow down</html>", 429, "rate_limited", "the hub says: too many requests"),
    ],
)
@pytest.mark.parametrize("function", ["my-balance", "cancel-order"])
@pytest.mark.parametrize("authentication", [1, 2])
def test_an_error_keeps_its_words_and_gets_our_code(
    venue, answering, text, status, code, words, function, authentication
):
    """What a second delivery of an executed call could be answered proves nothing of it."""
    venue.authentication = authentication
    no_proof = {
        1: {"invalid_nonce", "insufficient_funds", "exchange_refused", "rate_limited"},
        2: {"invalid_nonce", "exchange_key_refused", "rate_limited"},
    }[authentication]
    read = inner_refusal if function == "cancel-order" and code in no_proof else refusal
    assert read(answering(text, status).private, function) == (code, words)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("not json", 200),
        ("{", 200),
        ("<html>", 404),
        ("", 400),
        ("gone", 302),
        ('{"error": "broken"}', 500),
        ('{"error": "back soon"}', 503),
    ],
)
def test_what_is_no_answer_is_unknown_where_something_may_have_moved(answering, text, status):
    api = answering(text, status)
    with pytest.raises(Unknown):
        api.private("send-btc", SEND)
    assert refusal(api.private, "my-balance")[0] == "exchange_unavailable"


def test_an_empty_answer_is_an_empty_object(answering):
    assert answering("", 200).private("cancel-order", {"oid": "1"}) == {}


def test_a_bare_list_of_orders_is_taken_too(answering):
    assert answering('[{"oid": "1"}]', 200).my_open_orders() == [{"oid": "1"}]


def test_the_session_and_the_last_answer_are_at_hand_as_with_every_exchange(venue):
    with requests.Session() as session, HubAPI(venue.url, session=session) as api:
        assert api.ticker("BTC", "USD") == api.response.json()
        assert (api.response.status_code, api.session) == (200, session)


def test_what_is_called_as_public_carries_no_credentials(venue, hub_api):
    assert refusal(hub_api().public, "my-balance")[0] == "exchange_key_refused"
    assert not [name for name in venue.requests[-1].headers if name.lower().startswith("x-")]
