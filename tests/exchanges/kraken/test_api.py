"""KrakenAPI on its own: every byte of a signed request, and every kind of answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
import requests

from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.kraken import KrakenAPI
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue
from bitmm.xwrap.transport import Request, Transport

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
NONCE = 1616492376594
#: Method, parameters, body, API-Sign. K1 is the example of Kraken's page "Spot REST Authentication", and krakenex,
#: python-kraken-sdk and ccxt compute the same; K2 to K4 were computed by the same rule apart from this code.
VECTORS = {
    "K1": (
        "AddOrder",
        {"ordertype": "limit", "pair": "XBTUSD", "price": 37500, "type": "buy", "volume": Decimal("1.25")},
        b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
    ),
    "K2": (
        "Balance",
        None,
        b"nonce=1616492376594",
        "1nH4vwR+8FHiYh1QT649xXkGd3JR3x0DWkgv3u9Ed/Qqv6KPtgQpEU4m+Emb/VgpEji3j1XNwI+HCbfXxmrTOg==",
    ),
    "K3": (
        "AddOrder",
        {
            "pair": "XBTEUR",
            "type": "buy",
            "ordertype": "market",
            "volume": "0.10000000",
            "cl_ord_id": "6d1b345e-2821-40e2-ad83-4ecb18a06876",
        },
        (
            b"nonce=1616492376594&pair=XBTEUR&type=buy&ordertype=market&volume=0.10000000"
            b"&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876"
        ),
        "1SSatK+9e9A0r++o9ugd5nvMd8liLNE1A/cFvDuuxNmlx6/rV4lLgBSyXRdk8nNDyOvvuiwqtl7zBO5y3JTPyw==",
    ),
    "K4": (
        "TradeVolume",
        {"pair": "XXBTZEUR"},
        b"nonce=1616492376594&pair=XXBTZEUR",
        "oliloleEUGiMpcHqcAqhjDkdp4zdq3p6I/ec2zrxEOc6sNlvaLgJyf7m4fRPIBghQ+PKULv1IJR8tHgVMijsnQ==",
    ),
}


VENUE = KrakenVenue


@pytest.fixture
def api(venue):
    with KrakenAPI(venue.key, venue.secret, url=venue.url) as api:
        yield api


class Saying(Venue):
    """Answers every call with the same reply."""

    def __init__(self, reply):
        self.reply = reply
        super().__init__()

    def routes(self):
        return {}

    def handle(self, request):
        return self.reply


def failing(reply, method="AddOrder"):
    """What KrakenAPI raises at `reply`."""
    with Saying(reply) as venue, KrakenAPI("key", SECRET, url=venue.url) as api, pytest.raises(Exception) as caught:
        api.private(method)
    return caught.value


def error(*words, status=200, **more):
    return Reply.json({"error": list(words), **more}, status)


@pytest.mark.parametrize("vector", VECTORS)
def test_a_signed_request_is_byte_for_byte_the_published_one(vector):
    method, data, body, signature = VECTORS[vector]
    request = KrakenAPI("the key", SECRET).signed(method, data, nonce=NONCE)
    assert request == Request(
        "POST",
        f"https://api.kraken.com/0/private/{method}",
        {"API-Key": "the key", "API-Sign": signature, "Content-Type": "application/x-www-form-urlencoded"},
        body,
    )


def test_a_batch_is_sent_as_json_and_signed_by_the_same_rule():
    orders = {"orders": ["OA", "OB"], "validate": True, "price": Decimal("1E-8")}
    request = KrakenAPI("key", SECRET).signed("CancelOrderBatch", orders, nonce=7)
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == b'{"nonce": "7", "orders": ["OA", "OB"], "validate": "true", "price": "0.00000001"}'
    inner = hashlib.sha256(b"7" + request.body).digest()
    mac = hmac.new(base64.b64decode(SECRET), b"/0/private/CancelOrderBatch" + inner, hashlib.sha512)
    assert request.headers["API-Sign"] == base64.b64encode(mac.digest()).decode()


def test_parameters_are_written_as_kraken_reads_them():
    data = {
        "volume": Decimal("1E-8"),
        "trades": True,
        "new": False,
        "userref": -3,
        "asset": None,
        "method": "Ether & co",
    }
    request = KrakenAPI("key", SECRET).signed("AddOrder", data, nonce=1)
    assert request.body == b"nonce=1&volume=0.00000001&trades=true&new=false&userref=-3&method=Ether+%26+co"
    assert "asset" in data, "the caller's parameters are left as they were"


def test_a_float_is_refused_before_anything_is_sent():
    with pytest.raises(InvalidRequest, match=r"volume is the float 0\.1"):
        KrakenAPI("key", SECRET).signed("AddOrder", {"volume": 0.1})


def test_nonces_rise_strictly_over_threads():
    api, bodies = KrakenAPI("key", SECRET), []
    threads = [
        threading.Thread(target=lambda: bodies.extend(api.signed("Balance").body for _ in range(500))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nonces = [int(dict(parse_qsl(body.decode()))["nonce"]) for body in bodies]
    assert len(set(nonces)) == 2000
    assert min(nonces) > 1_700_000_000_000_000, "microseconds"


@pytest.mark.parametrize("secret", ["not base64!", "abc", "AAAA!AAAA", "kQH5HW/8p1uGOVj\nbgWA"])
def test_a_secret_that_does_not_decode_is_refused_and_not_shown(secret):
    with pytest.raises(Refused) as caught:
        KrakenAPI("key", secret)
    assert caught.value.code == "invalid_request"
    assert secret not in str(caught.value)


def test_a_private_call_without_a_key_is_refused():
    with pytest.raises(Refused, match="needs an API key") as caught:
        KrakenAPI().private("Balance")
    assert caught.value.code == "invalid_request"


def test_nothing_secret_is_in_what_is_printed():
    api = KrakenAPI("the-api-key", SECRET)
    shown = f"{api!r} {api!s} {api.signed('Balance')!r}"
    assert "the-api-key" not in shown
    assert SECRET[:10] not in shown


def test_public_and_private_calls_give_the_result_with_exact_numbers(api):
    assert api.public("Ticker", {"pair": "XBTEUR"})["XXBTZEUR"]["a"][0] == "27850.10000"
    assert api.public("AssetPairs", {"pair": "XBTUSD"})["XXBTZUSD"]["fees"][0] == [0, Decimal("0.26")]
    assert api.private("OpenOrders") == {"open": {}}
    assert api.private("Balance")["XXBT"] == "100.0000000000"


def test_the_last_answer_is_kept_whole(api):
    assert api.response is None
    api.public("Time")
    assert api.response.status == 200
    assert set(api.response.json()) == {"error", "result"}
    with pytest.raises(Refused):
        api.public("Nonsense")
    assert api.response.json() == {"error": ["EGeneral:Unknown method"]}


def test_a_key_can_be_loaded_from_a_file(venue, tmp_path):
    path = tmp_path / "kraken.key"
    path.write_text(f"{venue.key}\n{venue.secret}\n")
    with KrakenAPI(url=venue.url) as api:
        api.load_key(path)
        assert api.private("GetApiKeyInfo")["api_key"] == venue.key


def test_a_session_of_the_callers_is_used_and_stays_open(venue):
    with requests.Session() as session:
        session.headers["User-Agent"] = "mine/1"
        with KrakenAPI(venue.key, venue.secret, url=venue.url, session=session) as api:
            api.private("Balance")
            assert api.session is session
        assert venue.requests[-1].headers["User-Agent"] == "mine/1"
        assert session.get(f"{venue.url}/0/public/Time", timeout=5).status_code == 200


def test_query_answers_the_whole_document_as_krakenex_does(venue, api):
    ticker = api.query_public("Ticker", {"pair": "XBTEUR"})
    assert (ticker["error"], ticker["result"]["XXBTZEUR"]["a"][0]) == ([], "27850.10000")
    order = {"pair": "XBTEUR", "type": "buy", "ordertype": "market", "volume": Decimal("0.01")}
    [txid] = api.query_private("AddOrder", order)["result"]["txid"]
    assert [row["order_id"] for row in venue.ledger()] == [txid]
    assert api.query_private("CancelOrder", {"txid": "OAAAAA-BBBBB-CCCCCC"}) == {"error": ["EOrder:Unknown order"]}
    assert api.query_public("Nonsense") == {"error": ["EGeneral:Unknown method"]}


def test_query_raises_what_is_no_document_and_a_lost_answer():
    for reply in (Reply.text("<html>", 200, "text/html"), error("EGeneral:x", status=500), Reply.json([])):
        with Saying(reply) as venue, KrakenAPI("key", SECRET, url=venue.url) as api:
            with pytest.raises(Unknown):
                api.query_private("AddOrder")
            with pytest.raises(Refused, match="cannot be read"):
                api.query_private("Balance")
            with pytest.raises(Refused, match="cannot be read"):
                api.query_public("Time")
    with pytest.raises(Refused, match="needs an API key"):
        KrakenAPI().query_private("Balance")


def test_a_batch_of_orders_is_canceled(api):
    order = {"pair": "XBTEUR", "type": "sell", "ordertype": "limit", "volume": "0.1", "price": "60000"}
    placed = [api.private("AddOrder", order)["txid"][0] for _ in range(2)]
    assert api.private("CancelOrderBatch", {"orders": placed}) == {"count": 2}


def test_a_wrong_secret_and_a_wrong_key_are_refused_in_krakens_words(venue):
    for key, secret, words in (
        (venue.key, "AAAA" + SECRET[4:], "EAPI:Invalid signature"),
        ("another-key", SECRET, "EAPI:Invalid key"),
    ):
        with KrakenAPI(key, secret, url=venue.url) as api, pytest.raises(Refused) as caught:
            api.private("AddOrder", {})
        assert (str(caught.value), caught.value.code) == (words, "exchange_key_refused")


def test_warnings_beside_a_result_are_no_failure():
    reply = error("WGeneral:Something to know", result={"count": 1})
    with Saying(reply) as venue, KrakenAPI("key", SECRET, url=venue.url) as api:
        assert api.private("CancelAll") == {"count": 1}
        assert api.response.json()["error"] == ["WGeneral:Something to know"]


#: The texts of Kraken's page "Error messages" and of client libraries, and what each is to us.
CODES = {
    "EAPI:Invalid key": "exchange_key_refused",
    "EAPI:Invalid signature": "exchange_key_refused",
    "EAuth:Failed": "exchange_key_refused",
    "EGeneral:Permission denied": "permission_denied",
    "EAccount:Invalid permissions": "permission_denied",
    "EAuth:Account temporary disabled": "permission_denied",
    "EAuth:Account unconfirmed": "permission_denied",
    "ETrade:User Locked": "permission_denied",
    "EGeneral:Invalid arguments": "invalid_request",
    "EGeneral:Invalid arguments:ordertype": "invalid_request",
    "EGeneral:Invalid arguments:viqc": "invalid_request",
    "EGeneral:Invalid arguments:volume": "invalid_amount",
    "EGeneral:Invalid arguments:price": "invalid_price",
    "EGeneral:Unknown method": "invalid_request",
    "EAPI:Bad request": "invalid_request",
    "EQuery:Unknown asset": "unknown_asset",
    "EQuery:Unknown asset pair": "unknown_market",
    "EQuery:Invalid asset pair": "unknown_market",
    "EFunding:Unknown asset": "unknown_asset",
    "EOrder:Insufficient funds": "insufficient_funds",
    "EOrder:Order minimum not met": "invalid_amount",
    "EGeneral:Invalid arguments:volume minimum not met": "invalid_amount",
    "EOrder:Cost minimum not met": "invalid_amount",
    "EOrder:Tick size check failed": "invalid_price",
    "EOrder:Invalid price:XBTEUR price can only be specified up to 1 decimals.": "invalid_price",
    "EOrder:Unknown order": "order_not_found",
    "EOrder:Invalid order": "order_not_found",
    "EOrder:Orders limit exceeded": "exchange_refused",
    "EOrder:Positions limit exceeded": "exchange_refused",
    "EService:Market in cancel_only mode": "exchange_unavailable",
    "EService:Market in post_only mode": "exchange_unavailable",
    "EFunding:Unknown withdraw key": "address_not_registered",
    "EFunding:Invalid amount": "invalid_amount",
    "EFunding:Max fee exceeded": "exchange_refused",
    "EFunding:No funding method": "unknown_asset",
    "EFunding:Too many addresses": "exchange_refused",
    "EFunding:Unknown reference id": "exchange_refused",
    "EBM:limit exceeded:CAL": "exchange_refused",
    "EOrder:Words nobody has seen before": "exchange_refused",
}
#: What an earlier delivery of the same request could have caused.
NO_PROOF = {
    "EAPI:Invalid nonce": "invalid_nonce",
    "EGeneral:Invalid arguments:cl_ord_id": "invalid_request",
    "EOrder:Duplicate order": "exchange_refused",
    "EGeneral:Too many requests": "rate_limited",
    "EAuth:Rate limit exceeded": "rate_limited",
    "EAuth:Too many requests": "rate_limited",
    "EGeneral:Temporary lockout": "rate_limited",
    "EGeneral:Rate limit exceeded": "rate_limited",
    "EService: Throttled: 1": "rate_limited",
    "EService: Throttled: 99999999999": "rate_limited",
    "EService: Throttled: " + "9" * 5000: "rate_limited",
    "EService: Throttled: soon": "rate_limited",
}
BUSY = ["EAPI:Rate limit exceeded", "EOrder:Rate limit exceeded", "EOrder:Domain rate limit exceeded"]
OPEN = [
    "EService:Unavailable",
    "EService:Busy",
    "EService:Deadline elapsed",
    "EGeneral:Internal error",
    "EDatabase:Internal error",
    "EGeneral:Words nobody has seen before",
    "ENew:Category",
]


@pytest.mark.parametrize("words", CODES)
def test_a_refusal_has_our_code_and_krakens_words(words):
    refusal = failing(error(words))
    assert type(refusal) is Refused
    assert (refusal.code, str(refusal)) == (CODES[words], words)


@pytest.mark.parametrize("method", ["AddOrder", "OpenOrders"])
@pytest.mark.parametrize("words", BUSY)
def test_a_rate_limit_is_busy_and_says_how_long(words, method):
    refusal = failing(error(words), method)
    assert type(refusal) is Busy
    assert 1 <= refusal.retry_after <= 600


@pytest.mark.parametrize("method", ["AddOrder", "CancelOrder", "CancelAll", "Withdraw", "NewCallOfKraken"])
@pytest.mark.parametrize("words", NO_PROOF, ids=lambda words: words[:30])
def test_what_an_earlier_delivery_could_have_caused_may_have_executed_and_has_the_refusal_inside(words, method):
    told = failing(error(words), method)
    assert type(told) is (Busy if NO_PROOF[words] == "rate_limited" else Unknown)
    assert told.refusal.code == NO_PROOF[words]
    assert (told.may_have_executed, told.retryable) == (True, False)
    refusal = failing(error(words), "OpenOrders")
    assert (type(refusal), str(refusal)) == (type(told.refusal), str(told.refusal)), "a read executes nothing"
    assert not refusal.may_have_executed
    if isinstance(refusal, Busy):
        assert 1 <= refusal.retry_after <= 900


@pytest.mark.parametrize("words", OPEN)
def test_a_failure_inside_kraken_leaves_an_order_unknown_but_not_a_read(words):
    assert type(failing(error(words))) is Unknown
    refusal = failing(error(words), "OpenOrders")
    assert type(refusal) is Refused
    assert (refusal.code, refusal.retryable) == ("exchange_unavailable", True)


def test_a_refusal_beside_a_failure_inside_kraken_decides_nothing():
    assert type(failing(error("EOrder:Insufficient funds", "EService:Busy"))) is Unknown
    assert type(failing(error("EOrder:Rate limit exceeded", "EService:Busy"))) is Unknown
    unknown = failing(error("EOrder:Insufficient funds", "EAPI:Invalid nonce"))
    assert (type(unknown), unknown.refusal.code) == (Unknown, "insufficient_funds")


@pytest.mark.parametrize(
    "reply",
    [
        Reply.text("<html>bad gateway</html>", 502, "text/html"),
        Reply.text("<html>all is well</html>", 200, "text/html"),
        Reply.text('{"error": [], "result": {"txid": ["O', 200, "application/json"),
        Reply.text("", 200),
        Reply.text("[]", 200),
        Reply.text('{"error": [], "result": {"a": NaN}}', 200),
        Reply.text('{"error": [], "error": [], "result": {}}', 200),
        Reply.json({"result": {"count": 1}}),
        Reply.json({"error": "nothing", "result": {}}),
        error("WGeneral:Only a warning"),
        error(status=502, result={"txid": ["OAAAAA-BBBBB-CCCCCC"]}),
        error(status=520),
    ],
    ids=str,
)
def test_an_answer_that_is_none_leaves_an_order_unknown_but_not_a_read(reply):
    assert type(failing(reply)) is Unknown
    refusal = failing(reply, "OpenOrders")
    assert type(refusal) is Refused
    assert refusal.code == "exchange_unavailable"


def test_a_read_without_a_result_has_nothing_to_tell_and_an_order_without_one_is_unknown():
    """As of the funds of an account that never had any (rotki/rotki, issue 946)."""
    with Saying(error()) as venue, KrakenAPI("key", SECRET, url=venue.url) as api:
        assert api.private("Balance") is None
        assert api.query_private("Balance") == {"error": []}
        for method in ("AddOrder", "CancelAll", "Withdraw"):
            with pytest.raises(Unknown):
                api.private(method)


def test_a_lockout_is_waited_for_and_the_key_is_not_called_refused():
    refusal = failing(error("EGeneral:Temporary lockout"), "BalanceEx")
    assert (type(refusal), refusal.code, refusal.retryable, refusal.retry_after) == (Busy, "rate_limited", True, 900)


@pytest.mark.parametrize(
    "method",
    [
        *("Earn/Strategies", "Earn/Allocations", "Earn/AllocateStatus", "Earn/DeallocateStatus"),
        *("ExportStatus", "RetrieveExport", "Level3", "ListWalletAccounts"),
    ],
)
def test_a_read_that_fails_is_never_unknown(method):
    assert type(failing(error("EService:Unavailable"), method)) is Refused
    assert type(failing(Reply.text("<html>", 502, "text/html"), method)) is Refused


@pytest.mark.parametrize("method", ["Earn/Allocate", "Earn/Deallocate", "AddExport", "RemoveExport"])
def test_what_starts_something_is_unknown_when_its_answer_is_lost(method):
    assert type(failing(error("EService:Unavailable"), method)) is Unknown


def test_an_export_is_retrieved_as_the_bytes_of_a_zip_file():
    archive = b"PK\x03\x04\x14\x00\xff\xfe\x00 trades.csv"
    reply = Reply(200, archive, {"Content-Type": "application/octet-stream"})
    with Saying(reply) as venue, KrakenAPI("key", SECRET, url=venue.url) as api:
        assert api.private("RetrieveExport", {"id": "TCJA"}) == archive
        with pytest.raises(Refused, match="cannot be read"):
            api.private("ExportStatus")
    assert str(failing(error("EExport:Not ready"), "RetrieveExport")) == "EExport:Not ready"
    assert type(failing(Reply.text("<html>", 200, "text/html"), "RetrieveExport")) is Refused


def test_a_limit_of_the_front_is_busy_for_as_long_as_it_says():
    reply = Reply.text("slow down", 429, Retry_After="17")
    refusal = failing(reply, "OpenOrders")
    assert type(refusal) is Busy
    assert refusal.retry_after == 17
    assert not refusal.may_have_executed
    busy = failing(reply)
    assert (type(busy), busy.retry_after, busy.may_have_executed) == (Busy, 17, True)


def test_krakens_words_are_bounded():
    assert len(str(failing(error("EOrder:" + "<script>" * 10_000)))) <= 300


def test_a_transport_can_be_shared():
    with KrakenVenue() as venue:
        transport = Transport(timeout=5)
        apis = [KrakenAPI(venue.key, venue.secret, url=venue.url, transport=transport) for _ in range(2)]
        assert [api.public("SystemStatus")["status"] for api in apis] == ["online", "online"]
        transport.close()
