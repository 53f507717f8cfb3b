"""Mt.Gox's own API: every byte of a signed call, the 10 second rule, and what the local Mt.Gox checks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.historic.mtgox import MtGoxAPI
from bitmm.xwrap.testing.exchanges.mtgox import MtGoxVenue
from bitmm.xwrap.transport import Request

KEY = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
NONCE = 1364767201933187

BID = {"type": "bid", "amount_int": "50000000", "price_int": "9250000"}
SEND = {"address": "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L", "amount_int": "100000000"}
OID = {"oid": "fda8917a-63d3-4415-b827-758408013690"}
#: Version, path, form, nonce or tonce, the body, its signature: equal in Python's hmac, openssl, node and the
#: exchange's own client.
VECTORS = [
    (
        *(0, "info.php", {}, "nonce", "nonce=1364767201933187"),
        "N8TYwcFZ7xNvoPdJBwxrkAJ0GMY2oeqURbuEzkGppfoZfnSoW23FrxekXFOluVAKmVixHDwdVePceew/kA2kuQ==",
    ),
    (
        *(1, "generic/info", {}, "nonce", "nonce=1364767201933187"),
        "N8TYwcFZ7xNvoPdJBwxrkAJ0GMY2oeqURbuEzkGppfoZfnSoW23FrxekXFOluVAKmVixHDwdVePceew/kA2kuQ==",
    ),
    (
        *(0, "buyBTC.php", {"amount": "1", "price": "15", "Currency": "USD"}, "nonce"),
        "amount=1&price=15&Currency=USD&nonce=1364767201933187",
        "T91ZmAl9Z0xb6Qp8IhNligV5I+Xa/rqnyMM52ZkXuQCa8jZSjVKIDqVk0z0WNVaCWpFPccy1OJOTeQCKfoiTVA==",
    ),
    (
        *(1, "BTCUSD/order/add", BID, "nonce"),
        "type=bid&amount_int=50000000&price_int=9250000&nonce=1364767201933187",
        "/8y3T/BFdlBLcyuaSqCGn+5s46RewOJsAOOCFABOtkdzWdC3EpqqMt15ZyZqStmhGl0rdEpt20T62bh97gHn0g==",
    ),
    (
        *(2, "money/info", {}, "nonce", "nonce=1364767201933187"),
        "y0JHmd4xuazFTLE5sXQGUiJmP5oVc9sAvi5llWDm0cQYVej9GGO8FZpl4dTc9tPkMIujLa7CKxMPMypCN9fBjw==",
    ),
    (
        *(2, "money/info", {}, "tonce", "tonce=1364767201933187"),
        "FnRlaAJUnih0pv7PrSxAvL3cAFcYP6uYNBQMV3+icdzrzHUur6ZRmAhS71JZ1sTLEW49qORZa4rVcpEX+LBeog==",
    ),
    (
        *(2, "BTCUSD/money/order/add", BID, "nonce"),
        "nonce=1364767201933187&type=bid&amount_int=50000000&price_int=9250000",
        "AzFmyugXL2gd00q1efVvlyT0qtB/DlqdgcA1AFcUFRaxV5+7d/WwanowOZen/xB8lyU37iG1dSasp/elloJ2AA==",
    ),
    (
        *(2, "money/order/cancel", OID, "nonce"),
        "nonce=1364767201933187&oid=fda8917a-63d3-4415-b827-758408013690",
        "Aktvz05In1ajz23kJyLUQ2XFbYZ5UjUrnlATLB5knIiQDPlQb4Gf5HtTY354krmS8B9uatXrHzwzrLY3zSyutA==",
    ),
    (
        *(2, "money/bitcoin/send_simple", SEND, "nonce"),
        "nonce=1364767201933187&address=1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L&amount_int=100000000",
        "Zydad9IF2cA3u+TIAF9IyXUDYNF6XJ9IjcGjSDZWg5fZ9wDU7FwvojA9V1jF7HQAE/0LD111KbFzT6A+DRuOIw==",
    ),
]


VENUE = MtGoxVenue


@pytest.mark.parametrize(("version", "path", "form", "once", "body", "sign"), VECTORS)
def test_every_byte_of_a_signed_call_is_that_of_the_vectors(version, path, form, once, body, sign):
    api = MtGoxAPI("https://mtgox.example/", KEY, SECRET, version=version, tonce=once == "tonce", nonce=lambda: NONCE)
    assert api.signed(path, form) == Request(
        "POST",
        f"https://mtgox.example/api/{version}/{path}",
        {
            "User-Agent": "bitmm",
            "Rest-Key": KEY,
            "Rest-Sign": sign,
            "Content-Type": "application/x-www-form-urlencoded",
        },
        body.encode(),
    )


def test_the_vectors_are_all_nine():
    assert len(VECTORS) == len({(version, path, once) for version, path, _, once, *_ in VECTORS}) == 9


def test_the_secret_is_in_no_repr_and_no_error():
    api = MtGoxAPI("https://mtgox.example", KEY, SECRET)
    assert "AAEC" not in repr(api) + repr(api.signed("money/info"))
    with pytest.raises(Refused) as caught:
        MtGoxAPI("https://mtgox.example", KEY, "no base64!")
    assert caught.value.code == "invalid_request"
    assert "no base64!" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "two\r\nlines", "k\u00e9y"])
def test_a_key_that_is_no_header_is_refused_before_anything_is_sent(key):
    with pytest.raises(Refused) as caught:
        MtGoxAPI("https://mtgox.example", key, SECRET).signed("money/info")
    assert caught.value.code == "invalid_request"


def test_nonces_rise_while_the_clock_stands_still(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000)
    api = MtGoxAPI("https://mtgox.example", KEY, SECRET)
    assert [api.signed("money/info").body for _ in range(3)] == [b"nonce=5000", b"nonce=5001", b"nonce=5002"]


def test_nonces_rise_over_threads():
    api = MtGoxAPI("https://mtgox.example", KEY, SECRET)
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda _: api.signed("money/info").body, range(400)))
    assert len(set(bodies)) == 400
    assert abs(int(bodies[-1].removeprefix(b"nonce=")) - time.time() * 10**6) < 60 * 10**6


@pytest.mark.parametrize(
    ("version", "path", "query"),
    [
        *((0, f"data/{name}.php", {"Currency": "USD"}) for name in ("ticker", "getDepth", "getTrades")),
        *((1, f"BTCUSD/{name}", None) for name in ("ticker", "public/ticker", "depth/fetch", "trades/fetch")),
        *((2, f"BTCUSD/money/{name}", None) for name in ("ticker", "ticker_fast", "depth/full", "trades/fetch")),
        (1, "generic/order/lag", None),
        (2, "money/order/lag", None),
    ],
)
def test_public_calls_need_no_key(venue, transport, version, path, query):
    assert MtGoxAPI(venue.url, version=version, transport=transport).public(path, query)


def test_a_public_call_is_asked_once_in_ten_seconds(venue, transport):
    now = [1000.0]
    cache = TTLCache(clock=lambda: now[0])
    apis = [MtGoxAPI(venue.url, version=version, transport=transport, cache=cache) for version in (2, 2, 1)]
    for _ in range(3):
        apis[0].public("BTCUSD/money/ticker")
        apis[1].public("BTCUSD/money/ticker")
    assert [made.path for made in venue.requests] == ["/api/2/BTCUSD/money/ticker"]
    apis[0].public("BTCEUR/money/ticker")
    apis[2].public("BTCUSD/ticker")
    assert len(venue.requests) == 3
    now[0] += 9.9
    apis[0].public("BTCUSD/money/ticker")
    assert len(venue.requests) == 3
    now[0] += 0.2
    apis[0].public("BTCUSD/money/ticker")
    assert len(venue.requests) == 4


def test_a_failure_is_not_kept(venue, transport):
    api = MtGoxAPI(venue.url, transport=transport)
    venue.fault("html", path="ticker")
    with pytest.raises(Refused) as caught:
        api.public("BTCUSD/money/ticker")
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    assert api.public("BTCUSD/money/ticker")["sell"]["value_int"] == "9145898"


def test_many_threads_ask_once():
    asked, gate = [], threading.Event()

    def fetch():
        asked.append(1)
        gate.wait(5)
        return "answer"

    cache = TTLCache()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(cache.get_or_fetch, "key", fetch, seconds=10) for _ in range(8)]
        gate.set()
        assert {answer.result() for answer in answers} == {"answer"}
    assert len(asked) == 1


def test_numbers_keep_their_digits(venue, transport):
    ticker = MtGoxAPI(venue.url, version=0, transport=transport).public("data/ticker.php")["ticker"]
    assert ticker["sell"] == Decimal(f"{91.45898:.17g}")


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("tonce", [False, True])
def test_the_signature_of_every_version_is_accepted(venue, transport, version, tonce):
    api = MtGoxAPI(venue.url, venue.key, venue.secret, version=version, tonce=tonce, transport=transport)
    path = ("info.php", "generic/info", "money/info")[version]
    assert api.private(path)["Rights"] == ["deposit", "get_info", "trade", "withdraw"]


def test_tonces_may_come_in_any_order_but_once(venue, transport):
    now = int(time.time() * 10**6)
    numbers = iter([now, now - 5 * 10**6, now - 5 * 10**6, now - 11 * 10**6])
    api = MtGoxAPI(venue.url, venue.key, venue.secret, tonce=True, transport=transport, nonce=lambda: next(numbers))
    assert api.private("money/info")
    assert api.private("money/info")
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            api.private("money/info")
        assert caught.value.code == "invalid_nonce"


def test_a_nonce_that_does_not_rise_is_refused(venue, transport):
    numbers = iter([5, 5, 4])
    api = MtGoxAPI(venue.url, venue.key, venue.secret, transport=transport, nonce=lambda: next(numbers))
    assert api.private("money/info")
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            api.private("money/info")
        assert (caught.value.code, caught.value.retryable) == ("invalid_nonce", True)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_a_wrong_key_or_secret_is_refused_in_the_exchanges_words(venue, transport, version, wrong):
    keys = {"key": venue.key, "secret": venue.secret} | {wrong: "d3Jvbmc="}
    api = MtGoxAPI(venue.url, **keys, version=version, transport=transport)
    with pytest.raises(Refused) as caught:
        api.private(("info.php", "generic/info", "money/info")[version])
    assert caught.value.code == "exchange_key_refused"
    assert str(caught.value) == "Identification required to access private API"


def test_a_signature_for_another_call_of_version_2_is_refused(venue, transport):
    api = MtGoxAPI(venue.url, venue.key, venue.secret, transport=transport)
    signed = api.signed("money/info")
    answer = transport.send(signed._replace(url=f"{venue.url}/api/2/money/orders"))
    assert answer.status == 403
    assert answer.json()["token"] == "login_error_invalid_rest_sign"
    assert transport.send(signed._replace(body=signed.body + b"&page=2")).status == 403
    assert transport.send(signed).status == 200


def test_a_call_without_a_key_gets_the_recorded_error(venue, transport):
    answer = transport.send(Request("POST", f"{venue.url}/api/1/generic/info", {"User-Agent": "x"}, b""))
    assert (answer.status, answer.json()) == (
        403,
        {
            "result": "error",
            "error": "Identification required to access private API",
            "token": "login_error_missing_rest_key",
        },
    )


def test_a_call_without_a_user_agent_is_refused(venue, transport):
    request = Request("GET", f"{venue.url}/api/2/BTCUSD/money/ticker", {"User-Agent": ""})
    assert transport.send(request).status == 403


@pytest.mark.parametrize(
    ("path", "right"),
    [
        *(("money/info", "get_info"), ("BTCUSD/money/order/add", "trade"), ("money/order/cancel", "trade")),
        *(("money/bitcoin/address", "deposit"), ("money/bitcoin/send_simple", "withdraw")),
    ],
)
def test_each_call_needs_its_right(venue, transport, path, right):
    venue.account.permissions.discard(right)
    with pytest.raises(Refused) as caught:
        MtGoxAPI(venue.url, venue.key, venue.secret, transport=transport).private(path, {**BID, **SEND, **OID})
    assert caught.value.code == "exchange_key_refused"
    assert not venue.ledger()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_nonce_that_does_not_rise_does_not_prove_that_an_order_was_not_executed(venue, transport, version):
    """A proxy may deliver the request twice, and the first delivery is executed."""
    api = MtGoxAPI(venue.url, venue.key, venue.secret, version=version, transport=transport)
    path, form = ("buyBTC.php", {"amount": "0.1", "Currency": "USD"}) if version == 0 else ("BTCUSD/order/add", BID)
    if version == 2:
        path = "BTCUSD/money/order/add"
    venue.fault("delivered_twice", path=path)
    with pytest.raises(Unknown) as caught:
        api.private(path, form)
    assert caught.value.refusal.code == "invalid_nonce"
    assert len(venue.ledger()) == 1
    with pytest.raises(Refused) as refused:
        api.private(path, {"type": "bid", "amount_int": "1", "amount": "0.00000001", "Currency": "USD"})
    assert refused.value.code == "invalid_amount"


def test_the_history_of_version_0_is_a_text(venue, transport):
    api = MtGoxAPI(venue.url, venue.key, venue.secret, version=0, transport=transport)
    api.private("buyBTC.php", {"amount": "0.1", "Currency": "USD"})
    assert len(api.private("history_BTC.csv").splitlines()) == 3


def test_a_call_that_is_not_known_to_read_is_taken_to_move(venue, transport):
    api = MtGoxAPI(venue.url, venue.key, venue.secret, transport=transport)
    venue.fault("html", times=2)
    with pytest.raises(Unknown):
        api.private("money/something/new")
    with pytest.raises(Refused):
        api.private("money/wallet/history", {"currency": "BTC"})


def test_deprecated_amounts_and_old_paths_still_work(venue, transport):
    api = MtGoxAPI(venue.url, venue.key, venue.secret, version=1, transport=transport)
    oid = api.private("BTCUSD/private/order/add", {"type": "ask", "amount": "0.5", "price": "200.00001"})
    (order,) = api.private("generic/private/orders")
    assert (order["oid"], order["amount"]["value_int"], order["price"]["value_int"]) == (oid, "50000000", "20000001")


def test_a_call_that_is_none_is_refused_with_the_exchanges_words(venue, transport):
    for version in (0, 1, 2):
        with pytest.raises(Refused) as caught:
            MtGoxAPI(venue.url, version=version, transport=transport).public("nonsense")
        assert (str(caught.value), caught.value.code) == ("Invalid call", "exchange_refused")


def test_the_session_and_the_last_answer_are_at_hand_as_with_every_exchange(venue):
    with requests.Session() as session, MtGoxAPI(venue.url, session=session) as api:
        assert api.public("BTCUSD/money/ticker") == api.response.json()["data"]
        assert (api.response.status_code, api.session) == (200, session)
