"""The local Kraken checks what the real one checks, and its ledger is the truth."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.venue import FAULTS

ROOT = Path(__file__).parents[3]
#: The fault and how a plain client sees it: an HTTP status, or None for no answer.
SEEN = {
    "executed_but_timeout": (None, 1),
    "refused": (None, 0),
    "reset_before": (None, 0),
    "reset_after": (None, 1),
    "cut": (None, 1),
    "html": (502, 0),
    "html_after": (502, 1),
    "slow": (200, 1),
    "drip": (200, 1),
    "rate_limit": ("EAPI:Rate limit exceeded", 0),
    "nonce": ("EAPI:Invalid nonce", 0),
    "maintenance": ("EService:Unavailable", 0),
    "delivered_twice": ("EAPI:Invalid nonce", 1),
    "swapped": (200, 1),
}
BUY = {"pair": "XBTEUR", "type": "buy", "ordertype": "market", "volume": "0.1"}
REST = {"pair": "XBTEUR", "type": "sell", "ordertype": "limit", "volume": "0.1", "price": "60000"}


VENUE = KrakenVenue


class Client:
    """A client written from the page "Spot REST Authentication", on the standard library alone."""

    def __init__(self, url, key, secret):
        self.url, self.key, self.secret = url, key, secret
        self.nonces = itertools.count(1)

    def __call__(self, method, fields=None, *, nonce=None, secret=None, key=None, as_json=False):
        nonce = str(next(self.nonces) if nonce is None else nonce)
        fields = {**(fields or {}), "nonce": nonce}  # last, as krakenex sends it
        body = (json.dumps(fields) if as_json else urlencode(fields)).encode()
        inner = hashlib.sha256(nonce.encode() + body).digest()
        mac = hmac.new(base64.b64decode(secret or self.secret), f"/0/private/{method}".encode() + inner, hashlib.sha512)
        headers = {"API-Key": key or self.key, "API-Sign": base64.b64encode(mac.digest()).decode()}
        if as_json:
            headers["Content-Type"] = "application/json"
        return self.fetch(f"/0/private/{method}", body, headers)

    def fetch(self, path, body=None, headers=None):
        request = urllib.request.Request(self.url + path, body, headers or {})
        with urllib.request.urlopen(request, timeout=0.5) as answer:
            return json.load(answer)


@pytest.fixture
def ask(venue):
    return Client(venue.url, venue.key, venue.secret)


def refused(answer):
    assert "result" not in answer
    [words] = answer["error"]
    return words


def test_key_then_signature_then_nonce_are_checked(venue, ask):
    assert refused(ask("Balance", key="nobody", secret="AAAA", nonce=0)) == "EAPI:Invalid key"
    assert refused(ask("Balance", secret="AAAA", nonce=0)) == "EAPI:Invalid signature"
    assert ask("Balance", nonce=5)["error"] == []
    for stale in (5, 4, 0, -1, "x", "", 2**64):
        assert refused(ask("Balance", nonce=stale)) == "EAPI:Invalid nonce"
    assert ask("Balance", nonce=6)["error"] == []
    assert ask("Balance", nonce=2**64 - 1)["error"] == []


def test_the_signature_covers_every_byte_of_the_body(venue, ask):
    nonce, body = "1", b"nonce=1&pair=XBTEUR&type=buy&ordertype=market&volume=0.1"
    inner = hashlib.sha256(nonce.encode() + body).digest()
    mac = hmac.new(base64.b64decode(venue.secret), b"/0/private/AddOrder" + inner, hashlib.sha512)
    headers = {"API-Key": venue.key, "API-Sign": base64.b64encode(mac.digest()).decode()}
    for tampered in (body.replace(b"0.1", b"9.1"), body + b"&", body.replace(b"buy", b"buy ")):
        assert refused(ask.fetch("/0/private/AddOrder", tampered, headers)) == "EAPI:Invalid signature"
    assert refused(ask.fetch("/0/private/Balance", body, headers)) == "EAPI:Invalid signature"
    assert not venue.ledger()
    assert ask.fetch("/0/private/AddOrder", body, headers)["error"] == []
    assert refused(ask.fetch("/0/private/AddOrder", body, headers)) == "EAPI:Invalid nonce", "a replay"
    assert len(venue.ledger()) == 1


def test_nonces_are_counted_for_each_key(venue, ask):
    other = venue.add_account("another-key", venue.secret)
    assert ask("Balance", nonce=1000)["error"] == []
    assert ask("Balance", nonce=1, key=other.key)["error"] == []


def test_a_nonce_window_tolerates_disorder_but_no_repeat(venue, ask):
    venue.nonce_window = 10
    assert [ask("Balance", nonce=nonce)["error"] for nonce in (100, 95)] == [[], []]
    assert [refused(ask("Balance", nonce=nonce)) for nonce in (95, 100, 90)] == ["EAPI:Invalid nonce"] * 3


def test_a_failed_call_has_used_its_nonce(venue, ask):
    assert refused(ask("Nonsense", nonce=7)) == "EGeneral:Unknown method"
    assert refused(ask("Balance", nonce=7)) == "EAPI:Invalid nonce"


def test_rights_are_checked_call_by_call(venue, ask):
    venue.account.permissions = {"query-funds"}
    assert ask("Balance")["error"] == []
    assert ask("GetApiKeyInfo")["result"]["permissions"] == ["query-funds"]
    for method in ("AddOrder", "OpenOrders", "ClosedOrders", "CancelAll", "Withdraw", "DepositAddresses"):
        assert refused(ask(method)) == "EGeneral:Permission denied"


def test_public_calls_are_get_and_private_ones_post(venue, ask):
    assert refused(ask.fetch("/0/public/Time", b"")) == "EGeneral:Unknown method"
    assert refused(ask.fetch("/0/private/Balance")) == "EGeneral:Unknown method"
    assert refused(ask.fetch("/0/public/Nonsense")) == "EGeneral:Unknown method"


def test_pairs_go_by_key_and_altname_and_answers_by_key(ask):
    for name in ("XBTEUR", "XXBTZEUR"):
        assert list(ask.fetch(f"/0/public/Ticker?pair={name}")["result"]) == ["XXBTZEUR"]
    assert refused(ask.fetch("/0/public/Ticker?pair=NOSUCH")) == "EQuery:Unknown asset pair"
    assert refused(ask.fetch("/0/public/Assets?asset=NOSUCH")) == "EQuery:Unknown asset"
    txid = ask("AddOrder", REST | {"pair": "XXBTZEUR"})["result"]["txid"][0]
    assert ask("OpenOrders")["result"]["open"][txid]["descr"]["pair"] == "XBTEUR"


@pytest.mark.parametrize(("word", "only_checked"), [("true", 1), ("True", 1), ("False", 0), ("false", 0), ("", 0)])
def test_booleans_are_read_in_any_case_and_false_is_false(venue, ask, word, only_checked):
    result = ask("AddOrder", BUY | {"validate": word})["result"]
    assert ("txid" not in result) == bool(only_checked)
    assert len(venue.ledger()) == 1 - only_checked


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pair": "NOSUCH"}, "EQuery:Unknown asset pair"),
        ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
        ({"ordertype": "stop"}, "EGeneral:Invalid arguments:ordertype"),
        ({"volume": "1e-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": ""}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.123456789"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.00001"}, "EOrder:Order minimum not met"),
        ({"volume": "5000"}, "EOrder:Insufficient funds"),
        ({"ordertype": "limit"}, "EGeneral:Invalid arguments:price"),
        ({"ordertype": "limit", "price": "0"}, "EOrder:Invalid price"),
        (
            {"ordertype": "limit", "price": "1.05"},
            "EOrder:Invalid price:XBTEUR price can only be specified up to 1 decimals.",
        ),
        ({"ordertype": "limit", "price": "1", "volume": "0.1"}, "EOrder:Cost minimum not met"),
        ({"ordertype": "limit", "price": "30000", "oflags": "post", "type": "buy"}, "EOrder:Post only order"),
        ({"price": "30000.0"}, "EGeneral:Invalid arguments:price"),
        ({"price2": "30000.0"}, "EGeneral:Invalid arguments:price2"),
        ({"trigger": "last"}, "EGeneral:Invalid arguments:trigger"),
        ({"ordertype": "stop-loss"}, "EGeneral:Invalid arguments:price"),
        ({"ordertype": "stop-loss", "price": "25000.0", "price2": "1.0"}, "EGeneral:Invalid arguments:price2"),
        ({"ordertype": "stop-loss-limit", "price": "25000.0"}, "EGeneral:Invalid arguments:price2"),
        (
            {"ordertype": "stop-loss", "price": "25000.05"},
            "EOrder:Invalid price:XBTEUR price can only be specified up to 1 decimals.",
        ),
        (
            {"ordertype": "stop-loss-limit", "price": "25000.0", "price2": "1.0", "oflags": "post"},
            "EGeneral:Invalid arguments:oflags",
        ),
        ({"oflags": "post"}, "EGeneral:Invalid arguments:oflags"),
        ({"oflags": "viqc"}, "EGeneral:Invalid arguments:viqc"),
        ({"oflags": "fcib"}, "EGeneral:Invalid arguments:oflags"),
        ({"leverage": "2:1"}, "EGeneral:Invalid arguments:leverage"),
        ({"cl_ord_id": "far-too-long-and-no-uuid"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "free text", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"userref": str(2**31)}, "EGeneral:Invalid arguments:userref"),
    ],
    ids=str,
)
def test_an_order_that_breaks_a_rule_is_refused_and_not_in_the_ledger(venue, ask, change, words):
    assert refused(ask("AddOrder", BUY | {"type": "sell"} | change)) == words
    assert not venue.ledger()


def test_a_json_body_is_read_and_signed_like_a_form(venue, ask):
    placed = [ask("AddOrder", REST, as_json=True)["result"]["txid"][0] for _ in range(2)]
    assert ask("CancelOrderBatch", {"orders": placed}, as_json=True)["result"] == {"count": 2}


def test_a_client_id_is_unique_among_open_orders_only(venue, ask):
    named = REST | {"cl_ord_id": "a" * 32}
    txid = ask("AddOrder", named)["result"]["txid"][0]
    assert refused(ask("AddOrder", named)) == "EGeneral:Invalid arguments:cl_ord_id"
    assert ask("CancelOrder", {"cl_ord_id": "a" * 32})["result"] == {"count": 1}
    again = ask("AddOrder", named)["result"]["txid"][0]
    assert list(ask("OpenOrders", {"cl_ord_id": "a" * 32})["result"]["open"]) == [again]
    assert list(ask("ClosedOrders", {"cl_ord_id": "a" * 32})["result"]["closed"]) == [txid]
    assert [row["client_id"] for row in venue.ledger()] == ["a" * 32] * 2


def test_a_group_of_orders_is_canceled_by_its_userref(ask):
    for ref in (7, 7, 8):
        ask("AddOrder", REST | {"userref": ref})
    assert ask("CancelOrder", {"txid": 7})["result"] == {"count": 2}
    assert refused(ask("CancelOrder", {"txid": 7})) == "EOrder:Unknown order"
    assert refused(ask("CancelOrder", {"txid": "nonsense"})) == "EOrder:Invalid order"
    assert ask("CancelAll")["result"] == {"count": 1}


def test_the_dead_mans_switch_cancels_all_when_its_time_is_over(venue, ask):
    now = 1_700_000_000.0
    venue.clock = lambda: now
    ask("AddOrder", REST)
    assert ask("CancelAllOrdersAfter", {"timeout": 60})["result"]["triggerTime"] == "2023-11-14T22:14:20Z"
    now += 59
    assert len(ask("OpenOrders")["result"]["open"]) == 1
    now += 1
    assert ask("OpenOrders")["result"]["open"] == {}
    ask("AddOrder", REST)
    now += 86400
    assert len(ask("OpenOrders")["result"]["open"]) == 1, "it is off again when it has canceled"


def test_the_dead_mans_switch_cancels_also_when_nobody_asks(venue, ask):
    now = 1_700_000_000.0
    venue.clock = lambda: now
    txid = ask("AddOrder", REST)["result"]["txid"][0]
    ask("CancelAllOrdersAfter", {"timeout": 60})
    now += 60
    venue.set_best_prices("BTC/EUR", Decimal(70000), Decimal(69999))
    assert venue.orders[txid].status == "canceled", "it was not there any more when the price came"


@pytest.mark.parametrize("seconds", ["", "-1", "1.5", "86401", "x"])
def test_the_dead_mans_switch_takes_whole_seconds_of_at_most_a_day(ask, seconds):
    assert refused(ask("CancelAllOrdersAfter", {"timeout": seconds})) == "EGeneral:Invalid arguments:timeout"


def test_another_accounts_orders_are_unknown(venue, ask):
    other = venue.add_account("another-key", venue.secret)
    txid = ask("AddOrder", REST)["result"]["txid"][0]
    assert refused(ask("QueryOrders", {"txid": txid}, key=other.key, nonce=1)) == "EOrder:Unknown order"
    assert refused(ask("CancelOrder", {"txid": txid}, key=other.key, nonce=2)) == "EOrder:Unknown order"


def test_every_balance_is_what_the_orders_left(venue, ask):
    ask("AddOrder", BUY)
    ask("AddOrder", {**BUY, "volume": "100", "oflags": "viqc"})
    ask("AddOrder", {**REST, "volume": "1.5"})
    ask("AddOrder", {**REST, "type": "buy", "price": "20000"})
    balances = ask("BalanceEx")["result"]
    assert balances["XXBT"] == {"balance": "100.1035906500", "hold_trade": "1.5000000000"}
    spent = Decimal("2785.01") + Decimal("7.2410") + Decimal(100) + Decimal("0.26")
    assert balances["ZEUR"] == {"balance": f"{1_000_000 - spent:.4f}", "hold_trade": "2005.2000"}


def test_two_accounts_trade_with_each_other_at_the_resting_price(venue, ask):
    other = venue.add_account("another-key", venue.secret)
    ask("AddOrder", {**REST, "price": "27850.0", "type": "sell", "volume": "20"})  # eats the bids, rests with 12
    result = ask("AddOrder", {**BUY, "volume": "2"}, key=other.key, nonce=1)["result"]
    order = venue.orders[result["txid"][0]]
    assert [(fill.price, fill.amount) for fill in order.fills] == [(Decimal("27850.0"), Decimal(2))]
    assert venue.account.balances["BTC"] == Decimal(100) - 1 - 2, "1 to the house's best bid, 2 to the other account"


def test_withdrawals_go_to_registered_addresses_only(venue, ask):
    good = {"asset": "XBT", "key": "btc-wallet-1", "amount": "0.1"}
    for change, words in (
        ({"key": "nobody"}, "EFunding:Unknown withdraw key"),
        ({"key": "btc-new"}, "EFunding:Unknown withdraw key"),
        ({"asset": "XRP"}, "EFunding:Unknown withdraw key"),
        ({"address": "bc1qother"}, "EGeneral:Invalid arguments:address"),
        ({"amount": "0.00001"}, "EFunding:Invalid amount"),
        ({"amount": "101"}, "EFunding:Invalid amount"),
        ({"max_fee": "0.0001"}, "EFunding:Max fee exceeded"),
    ):
        assert refused(ask("Withdraw", good | change)) == words
    assert not venue.ledger()
    refid = ask("Withdraw", good | {"max_fee": "0.0002"})["result"]["refid"]
    [row] = venue.ledger()
    assert (row["kind"], row["order_id"], row["pair"], row["amount"]) == ("withdrawal", refid, "BTC", "0.1")
    assert ask("WithdrawCancel", {"asset": "XBT", "refid": refid})["result"] is True
    assert refused(ask("WithdrawCancel", {"asset": "XBT", "refid": refid})) == "EFunding:Unknown reference id"
    assert ask("Balance")["result"]["XXBT"] == "100.0000000000"


def test_an_address_stays_until_a_new_one_is_asked_for(ask):
    bitcoin = {"asset": "XBT", "method": "Bitcoin"}
    first = ask("DepositAddresses", bitcoin)["result"]
    assert ask("DepositAddresses", bitcoin | {"new": "False"})["result"] == first
    assert len(ask("DepositAddresses", bitcoin | {"new": "true"})["result"]) == 2
    for _ in range(3):
        ask("DepositAddresses", bitcoin | {"new": "true"})
    assert refused(ask("DepositAddresses", bitcoin | {"new": "true"})) == "EFunding:Too many addresses"
    assert ask("DepositAddresses", {"asset": "XRP", "method": "Ripple XRP"})["result"] == []
    assert refused(ask("DepositAddresses", bitcoin | {"method": "Nonsense"})) == "EFunding:No funding method"


def test_the_rest_counter_falls_with_time(venue, ask):
    now = 1_700_000_000.0
    venue.clock = lambda: now
    venue.counter_max = 2
    assert [ask("Balance")["error"] for _ in range(3)] == [[], [], ["EAPI:Rate limit exceeded"]]
    now += 60
    assert ask("Balance")["error"] == []
    assert ask("AddOrder", BUY)["error"] == [], "orders count nothing"


def outcome(ask):
    """What a plain client sees of an order: Kraken's words, an HTTP status, or None when no complete answer came."""
    try:
        answer = ask("AddOrder", BUY)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException):
        return None
    return answer["error"][0] if answer["error"] else 200


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_switched_on_over_http_and_the_ledger_tells_what_was_executed(venue, ask, kind):
    seconds = {"executed_but_timeout": 30, "refused": 30, "drip": 0.0001}.get(kind, 0.01)
    asked = {"kind": kind, "times": 1, "path": "AddOrder", "seconds": seconds}
    assert ask.fetch("/_venue/fault", json.dumps(asked).encode()) == {}
    seen, executed = SEEN[kind]
    assert outcome(ask) == seen
    assert len(venue.ledger()) == executed
    venue.heal()
    assert ask("AddOrder", BUY)["error"] == [], "once was enough"
    rows = ask.fetch("/_venue/ledger")
    assert len(rows) == executed + 1
    assert set(rows[0]) == {"kind", "order_id", "client_id", "side", "pair", "amount", "price", "time"}


def test_a_refusing_venue_listens_again_by_itself(venue, ask):
    ask.fetch("/_venue/fault", json.dumps({"kind": "refused", "seconds": 0.2}).encode())
    with pytest.raises(urllib.error.URLError) as caught:
        ask.fetch("/0/public/Time")
    assert isinstance(caught.value.reason, ConnectionRefusedError)
    for _ in range(100):
        try:
            assert ask.fetch("/0/public/Time")["error"] == []
            break
        except OSError:
            venue.sleep(0.05)
    else:
        pytest.fail("it stayed deaf")


def test_a_fault_that_is_none_is_refused(ask):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask.fetch("/_venue/fault", b'{"kind": "earthquake"}')
    caught.value.close()
    assert caught.value.code == 422


def test_a_connection_is_kept_for_many_requests(venue):
    with socket.create_connection(("127.0.0.1", int(venue.url.rpartition(":")[2])), timeout=5) as connection:
        for _ in range(3):
            connection.sendall(b"GET /0/public/Time HTTP/1.1\r\nHost: venue\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200 OK\r\nContent-Length: ")


def test_a_mistake_of_the_venue_itself_fails_the_test_that_uses_it():
    with pytest.raises(AssertionError, match="ZeroDivisionError"), KrakenVenue() as venue:  # noqa: PT012
        venue.public_Time = lambda given: 1 / 0
        with pytest.raises(urllib.error.HTTPError) as caught:
            Client(venue.url, venue.key, venue.secret).fetch("/0/public/Time")
        caught.value.close()


def test_a_venue_is_run_from_the_command_line():
    command = [
        sys.executable,
        "-m",
        "bitmm.xwrap.testing.exchanges",
        "kraken",
        "--port",
        "0",
        "--key",
        "my-key",
        "--secret",
        "c2VjcmV0",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ.copy()) as process:
        try:
            lines = [process.stdout.readline().strip() for _ in range(3)]
            assert lines[1:] == ["key my-key", "secret c2VjcmV0"]
            ask = Client(lines[0], "my-key", "c2VjcmV0")
            assert ask("AddOrder", BUY)["error"] == []
            assert len(ask.fetch("/_venue/ledger")) == 1
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("Depth?pair=XBTEUR&count=0", "count"),
        ("Depth?pair=XBTEUR&count=501", "count"),
        ("Trades?pair=XBTEUR&count=1001", "count"),
        ("OHLC?pair=XBTEUR&interval=2", "interval"),
        ("OHLC?pair=XBTEUR&interval=1h", "interval"),
        ("OHLC?pair=XBTEUR&since=-1", "since"),
    ],
)
def test_what_is_asked_about_a_market_is_checked(ask, query, field):
    assert ask.fetch(f"/0/public/{query}")["error"] == [f"EGeneral:Invalid arguments:{field}"]


def test_candles_are_the_last_720_and_those_after_since_alone(ask):
    rows = ask.fetch("/0/public/OHLC?pair=XBTEUR&interval=1440")["result"]["XXBTZEUR"]
    assert len(rows) == 720
    since = rows[-3][0]
    later = ask.fetch(f"/0/public/OHLC?pair=XBTEUR&interval=1440&since={since}")["result"]["XXBTZEUR"]
    assert [row[0] for row in later] == [since + 86400, since + 2 * 86400]
