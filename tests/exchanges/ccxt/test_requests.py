"""What the classes of ccxt send when they place, cancel or send: which requests may have executed it, and which not.

Their source is read, so that a new release with another way to act fails here.
"""

from __future__ import annotations

import json
import re
from functools import cache
from inspect import getsourcefile
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from bitmm.xwrap.errors import OutcomeUnknown
from bitmm.xwrap.exchanges.base import Credentials
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt.placing import SELLS_BY_COST
from bitmm.xwrap.exchanges.ccxt.session import MUTATES_BY_GET
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.transport import Response
from tests.exchanges.ccxt.support import listed, order

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

#: The exchanges that have spot markets in ccxt.
SPOT = [id for id in library.exchanges if getattr(library, id)().has["spot"]]
#: The unified calls that the bridge makes to place, cancel or send.
ACTS = (
    *("create_order", "create_market_buy_order_with_cost", "create_market_sell_order_with_cost"),
    *("cancel_order", "cancel_all_orders", "withdraw"),
)
READS = ("fetch_", "load_")
#: GETs that a class makes on its way to an act, and that execute nothing: its account's kind, a login, a nonce ...
ASKED_BEFORE = {
    *("privateUtaGetV3AccountSettings", "utaPrivateGetAccountMode", "privateGetV5UserQueryApi"),
    *("privateGetV5AccountInfo", "privateGetAccountLimits", "publicGetAccountsByL1Address", "publicGetSystemConfig"),
    *("publicGetMarketExchangeInfo", "gatewayPublicGetQuery", "v1PrivateGetWithdrawNonce"),
    *("privateGetV1UsersHmacLogin", "privateGetGetWithdrawTemplate", "privateGetGetWithdrawTemplateTypes"),
}
#: Other requests before an act, outside of reads: a login; and at classes without spot markets a fee that is tried out.
POSTED_BEFORE = {"publicPostAuth", "privatePostAuth", "nodeRestPostCosmosTxV1beta1Simulate"}
_RAW = re.compile(r"[a-z0-9]\w*(Get|Post|Put|Patch|Delete)[A-Z]")


@cache
def sources(path):
    """The text of each method of each class in a file."""
    found = {}
    for text in re.split(r"^class ", Path(path).read_text(), flags=re.MULTILINE)[1:]:
        methods = re.split(r"^    def (\w+)", text, flags=re.MULTILINE)
        found[re.match(r"\w+", text)[0]] = dict(zip(methods[1::2], methods[2::2], strict=True))
    return found


def source(kind, method):
    """The text of the method that an object of this class has; nothing where there is none."""
    for base in kind.__mro__[:-1]:
        text = sources(getsourcefile(base)).get(base.__name__, {}).get(method)
        if text is not None:
            return text
    return ""


def requests_of(kind):
    """What an act of the class sends, by the method that sends it; what its reads send is left out."""
    sent, seen, left = {}, set(), list(ACTS)
    while left:
        method = left.pop()
        if method in seen:
            continue
        seen.add(method)
        for name in set(re.findall(r"\bself\.(\w+)", source(kind, method))):
            if _RAW.match(name):
                sent.setdefault(name, set()).add(method)
            elif not name.startswith(READS):
                left.append(name)
    return sent


@pytest.fixture(scope="module")
def sent():
    """Of the classes that the bridge makes, and of those of ccxt that have no spot markets."""
    kinds = {id: exchange_class(f"ccxt:{id}").kind if id in SPOT else getattr(library, id) for id in library.exchanges}
    return {id: requests_of(kind) for id, kind in kinds.items()}


def test_the_exchanges_that_act_by_a_get_are_known(sent):
    by_get = {id: {name for name in names if re.search("Get[A-Z]", name)} - ASKED_BEFORE for id, names in sent.items()}
    assert {id for id, names in by_get.items() if names} == MUTATES_BY_GET
    assert by_get["deribit"] >= {"privateGetBuy", "privateGetSell", "privateGetCancel", "privateGetWithdraw"}


def test_every_other_request_outside_of_reads_is_one_that_acts(sent):
    """So one that is lost is an act whose outcome is unknown, and a lost question before it is none."""
    others = {
        name: methods
        for names in sent.values()
        for name, methods in names.items()
        if not re.search("Get[A-Z]", name)
        and not any(method.startswith(("create_", "cancel_", "withdraw", "close_")) for method in methods)
    }
    assert others.keys() <= POSTED_BEFORE, others
    assert sum(len(names) for names in sent.values()) > 500


def test_a_wallet_signs_nothing_that_was_not_asked_for(sent):
    """Some classes have it approve a fee for ccxt, and name ccxt as who referred the user, before the first order."""
    unasked = re.compile("set_ref|approve_builder|handle_builder")
    assert "self.handle_builder_fee_approval" in source(library.hyperliquid, "initialize_client")
    for id in ("aster", "hyperliquid", "pacifica"):
        kind = exchange_class(f"ccxt:{id}").kind
        assert not [name for methods in sent[id].values() for name in methods if unasked.search(name)]
        assert kind.initialize_client(None) is True
    exchange = listed(exchange_class("ccxt:hyperliquid"), "http://127.0.0.1:1")(Line({}), Credentials(more=WALLET))
    assert exchange._instance.ccxt.options["builderFee"] is False


WALLET = {"privateKey": "0x" + "1" * 64, "walletAddress": "0x" + "2" * 40}


class Line:
    """A transport that has an answer for some addresses, and loses all other requests."""

    def __init__(self, answers, status=200):
        self.answers, self.status, self.sent = answers, status, []

    def send(self, request, *, timeout=None):
        self.sent.append(request)
        text = next((text for part, text in self.answers.items() if part in request.url), None)
        if text is None:
            raise OutcomeUnknown("no answer", code="no_answer")
        return Response(self.status, {}, text.encode())


#: What these ask before an order, and an answer to it.
QUESTIONS = {
    "gate": ("/account/detail", '{"user_id": 1, "key": {"mode": 1}}'),
    "bitget": ("/api/v3/account/settings", '{"code": "00000", "data": {"accountMode": "classic"}}'),
    "htx": ("/v1/account/accounts", '{"status": "ok", "data": [{"id": 7, "type": "spot", "state": "working"}]}'),
    "bybit": ("/v5/", '{"retCode": 0, "result": {"unified": 0, "uta": 0, "unifiedMarginStatus": 1}}'),
    "kucoin": ("/account/mode", '{"code": "200000", "data": {"selfAccountMode": "CLASSIC"}}'),
}
KEYS = Credentials("", "a-key", "a-secret", {"passphrase": "a-phrase"})


@pytest.mark.answer_kind("H", exchange="ccxt")
@pytest.mark.parametrize("id", QUESTIONS)
def test_an_order_whose_question_is_lost_or_that_ccxt_refuses_after_it_was_certainly_not_placed(id):
    path, text = QUESTIONS[id]
    placed = order("sell", amount="1", price="20000", currency="USD")
    kind = exchange_class(f"ccxt:{id}")

    line = Line({})
    exchange = listed(kind, "http://127.0.0.1:1", amount="0.001", price="0.01")(line, KEYS)
    with pytest.raises(Refused) as caught:
        exchange.place(placed)
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    assert [(request.method, path in request.url) for request in line.sent] == [("GET", True)]

    line = Line({path: text})
    exchange = listed(kind, "http://127.0.0.1:2", amount="0.001", price="0.01")(line, KEYS)
    ccxt = exchange._instance.ccxt
    sign = ccxt.sign

    def refuse(path, api="public", method="GET", *arguments):
        if method == "POST":
            raise library.InvalidOrder("below the smallest order")
        return sign(path, api, method, *arguments)

    ccxt.sign = refuse
    with pytest.raises(Refused, match="below the smallest order"):
        exchange.place(placed)
    assert {request.method for request in line.sent} == {"GET"}
    ccxt.sign = sign
    with pytest.raises(Unknown):
        exchange.place(placed)
    assert line.sent[-1].method == "POST"


@pytest.mark.answer_kind("G", exchange="ccxt")
@pytest.mark.parametrize("id", ["gate", "bitget"])
@pytest.mark.parametrize("status", [429, 500, 502])
def test_a_passing_failure_to_tell_the_kind_of_an_account_is_not_taken_for_one(id, status):
    """It was kept, and orders were placed and looked for in another account."""
    path, _ = QUESTIONS[id]
    line = Line({path: "try again"}, status)
    url = f"http://127.0.0.1:{status}"
    exchange = listed(exchange_class(f"ccxt:{id}"), url, amount="0.001", price="0.01")(line, KEYS)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            exchange.place(order("sell", amount="1", price="20000", currency="USD"))
        assert caught.value.retryable
    assert [request.method for request in line.sent] == ["GET", "GET"]
    line.answers, line.status = {path: '{"label": "FORBIDDEN", "code": "40084", "message": "no"}'}, 400
    with pytest.raises(Unknown):
        exchange.place(order("sell", amount="1", price="20000", currency="USD"))
    assert [request.method for request in line.sent[2:]] == ["GET", "POST"]


def test_only_these_classes_go_on_after_a_question_that_failed():
    """`except Exception` in a class of ccxt hides that a question was lost. (Coinbase: of its futures' markets.)"""
    hiding = {
        id
        for id in library.exchanges
        for kind in [getattr(library, id)]
        for text in sources(getsourcefile(kind)).get(kind.__name__, {}).values()
        for tried in re.findall(
            r"\n( +)try:\n(.*?)\n\1except Exception[^\n]*\n(.*?)(?=\n {0,8}\S|\Z)", text, flags=re.DOTALL
        )
        if re.search(r"self\.[a-z]\w*(Get|Post)[A-Z]", tried[1]) and "raise" not in tried[2]
    }
    assert hiding == {"aster", "bitget", "coinbase", "gate", "grvt", "hyperliquid"}


def test_no_order_leaves_with_the_word_none_for_a_number(monkeypatch):
    """ccxt's classes are written for a language in which a field without a value is left out of a form."""
    kind, market = exchange_class("ccxt:btcbox"), order("sell", amount="1", currency="USD")
    keys, line = Credentials("", "a-key", "a-secret"), Line({})
    exchange = listed(kind, "http://127.0.0.1:1", amount="0.001", price="0.01")(line, keys)
    with pytest.raises(Refused, match="takes no market orders"):
        exchange.place(market)
    monkeypatch.setattr(kind, "has", kind.has | {"createMarketOrder"})
    with pytest.raises(Refused, match="the word None"):
        exchange.place(market)
    assert line.sent == []
    exchange = listed(exchange_class("ccxt:indodax"), "http://127.0.0.1:2", amount="0.001", price="0.01")(line, keys)
    with pytest.raises(Unknown):
        exchange.place(market)
    fields = dict(parse_qsl(line.sent[-1].body.decode()))
    assert {"type": "sell", "BTC": "1"}.items() <= fields.items()
    assert "price" not in fields


#: How each says that a market sell is for so much of the currency, in the words of its documents.
SOLD_FOR = {
    **{id: {"quoteOrderQty": "100.5"} for id in ("binance", "binanceus", "mexc")},
    **{id: {"sz": "100.5", "tgtCcy": "quote_ccy"} for id in ("okx", "myokx", "okxus")},
    **{id: {"qty": "100.5", "marketUnit": "quoteCoin"} for id in ("bybit", "bybiteu", "bybitid")},
    "kucoin": {"funds": "100.5"},
}
UNIFIED = '{"retCode": 0, "result": {"unified": 1, "uta": 1, "unifiedMarginStatus": 5}}'


def test_a_sell_for_a_cost_is_taken_where_the_documents_have_it():
    assert {id for id in SPOT if exchange_class(f"ccxt:{id}").sells_by_cost} == SOLD_FOR.keys() == SELLS_BY_COST


@pytest.mark.parametrize("id", SOLD_FOR)
def test_a_sell_for_a_cost_is_never_sent_as_an_amount(id):
    path, text = QUESTIONS["kucoin"]
    line = Line({path: text, "/v5/user": UNIFIED, "/v5/account": UNIFIED})
    exchange = listed(exchange_class(f"ccxt:{id}"), "http://127.0.0.1:1", amount="0.001", price="0.01")(line, KEYS)
    placed = order("sell", amount=None, cost="100.50", currency="USD")
    exchange.check_kind(placed)
    with pytest.raises(Unknown):
        exchange.place(placed)
    [request] = [request for request in line.sent if request.method == "POST"]
    sent = dict(parse_qsl(urlsplit(request.url).query))
    if request.body:
        document = json.loads(request.body) if request.body[:1] in b"{[" else dict(parse_qsl(request.body.decode()))
        sent |= document[0] if isinstance(document, list) else document
    said = {name: value for name, value in sent.items() if name in {*SOLD_FOR[id], "quantity", "size"}}
    assert {name: value.removesuffix("0") for name, value in said.items()} == SOLD_FOR[id]


def test_a_sell_for_a_cost_that_ccxt_would_round_does_not_leave():
    """KuCoin's class cuts the cost to the market's `quoteIncrement`, here 0.01."""
    line = Line(dict([QUESTIONS["kucoin"]]))
    exchange = listed(exchange_class("ccxt:kucoin"), "http://127.0.0.1:5", amount="0.001", price="0.001")(line, KEYS)
    with pytest.raises(Refused, match=r"without '100\.505'"):
        exchange.place(order("sell", amount=None, cost="100.505", currency="USD"))
    assert {request.method for request in line.sent} == {"GET"}


def test_an_account_of_bybit_without_sells_for_a_cost_is_told_so():
    line = Line({"/v5/": QUESTIONS["bybit"][1]})
    exchange = listed(exchange_class("ccxt:bybit"), "http://127.0.0.1:3", amount="0.001", price="0.01")(line, KEYS)
    with pytest.raises(Refused, match="supports UTA accounts only"):
        exchange.place(order("sell", amount=None, cost="100.50", currency="USD"))
    assert {request.method for request in line.sent} == {"GET"}


def test_elsewhere_a_sell_for_a_cost_is_refused_unsent():
    line = Line({})
    for id in ("backpack", "kraken", "bitstamp", "woo"):
        exchange = listed(exchange_class(f"ccxt:{id}"), "http://127.0.0.1:4", amount="0.001", price="0.01")(line, KEYS)
        placed = order("sell", amount=None, cost="100.50", currency="USD")
        for refuse in (exchange.place, exchange.check_kind):
            with pytest.raises(Refused, match="takes no sells for a cost") as caught:
                refuse(placed)
            assert caught.value.code == "unsupported"
    assert line.sent == []
