"""Orders carry our client id at 18 exchanges of ccxt, and are found by it when the answer was lost."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bitmm.xwrap import exchanges
from bitmm.xwrap.errors import OutcomeUnknown
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt.client_ids import CLIENT_IDS, lines
from bitmm.xwrap.exchanges.errors import NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from tests.exchanges.ccxt import client_id_cases
from tests.exchanges.ccxt.client_id_cases import CASES, CREATED_LATER, OURS
from tests.exchanges.ccxt.stub import class_of, connected

pytest.importorskip("ccxt", reason="ccxt is not installed")

D = Decimal
LISTS = [name for name, case in CASES.items() if len(case.looks) > 1]


def order_of(name, **changes):
    fields = {"side": "sell", "amount": D("0.1"), "price": D(20000)} | changes
    return NewOrder(fields.pop("side"), CASES[name].currency, "BTC", OURS, **fields)


def ref_of(name, *, age=60, missed=None, **changes):
    """What the server knows of the order, `age` seconds after; `missed`: seconds since a question did not find it."""
    now = datetime.now(UTC)
    fields = {"side": "sell", "amount": D("0.1"), "price": D(20000)} | changes
    return OrderRef(
        *(fields.pop("side"), CASES[name].currency, "BTC", OURS),
        created=now - timedelta(seconds=age),
        missed_since=None if missed is None else now - timedelta(seconds=missed),
        **fields,
    )


def expected(call, ref):
    """The call with the time since which orders are listed: a minute before the order was made."""
    since = ref.created - timedelta(minutes=1)
    milliseconds = int(since.timestamp() * 1000)
    day = 24 * 60 * 60 * 1000
    times = {
        client_id_cases.SINCE: str(milliseconds),
        client_id_cases.SINCE_SECONDS: str(milliseconds // 1000),
        client_id_cases.SINCE_ISO: f"{since:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z",
        client_id_cases.SINCE_AND_A_DAY: str(milliseconds + day),
        client_id_cases.SINCE_AND_TWO_DAYS: str(milliseconds + 2 * day),
    }
    method, path, fields = call
    return (
        method,
        path,
        {name: times.get(value, value) if isinstance(value, str) else value for name, value in fields.items()},
    )


def as_text(call):
    """The call with its times as text: Bitfinex gets numbers."""
    method, path, fields = call
    return method, path, {name: str(value) if name == "start" else value for name, value in fields.items()}


@pytest.mark.parametrize("name", CASES)
def test_an_order_leaves_with_our_client_id(name):
    case = CASES[name]
    exchange, stub = connected(name, (200, case.answer))
    placed = exchange.place(order_of(name))
    assert stub.calls == [case.placed]
    assert (placed.exchange_order_id, placed.status) == ("77", "open")


@pytest.mark.parametrize("state", ["open", "filled"])
@pytest.mark.parametrize("name", CASES)
def test_an_order_whose_answer_was_lost_is_found_by_it(name, state):
    case, answers, asked = CASES[name], [], []
    for look in case.looks:
        asked.append(look.call)
        found = getattr(look, state)
        answers.append(look.absent if found is None else (200, found))
        if found is not None:
            break
    exchange, stub = connected(name, OutcomeUnknown("the answer was lost", code="outcome_unknown"), *answers)
    with pytest.raises(Unknown):
        exchange.place(order_of(name))
    ref = ref_of(name)
    found = exchange.find(ref)
    made = [as_text(call) for call in stub.calls[1:]]
    assert made[: len(asked)] == [expected(call, ref) for call in asked]
    assert len(made) - len(asked) in {0, int(state == "filled")}, "and its fills are read"
    assert (found.exchange_order_id, found.status, found.client_id) == ("77", state, OURS)
    assert (found.side, found.currency, found.asset, found.amount) == ("sell", case.currency, "BTC", D("0.1"))
    assert found.filled in ((D(0), None) if state == "open" else (D("0.1"),))


@pytest.mark.parametrize("name", CASES)
def test_that_it_is_not_there_is_said_by_one_answer_and_in_its_time_only(name):
    case, rule = CASES[name], CLIENT_IDS[class_of(name)]
    absent = [look.absent for look in case.looks]
    exchange, stub = connected(name, *absent, *absent, *absent)
    if rule.lag:
        with pytest.raises(NotListedYet):
            exchange.find(ref_of(name))
        with pytest.raises(NotListedYet):
            exchange.find(ref_of(name, missed=1))
        assert exchange.find(ref_of(name, missed=31)) is None
    else:
        assert exchange.find(ref_of(name)) is None
    assert not len(stub.calls) % len(case.looks)
    exchange, _ = connected(name, *absent)
    with pytest.raises(Unsupported, match="forgotten"):
        exchange.find(ref_of(name, age=rule.listed.total_seconds() + 1, missed=60))


@pytest.mark.parametrize("name", CASES)
def test_an_order_with_another_id_is_not_believed(name):
    """Not as ours; and where one order was asked for, such an answer does not say either that ours is not there."""
    case = CASES[name]
    wrong = [(200, _with_other_id(case, look.open or look.filled)) for look in case.looks]
    exchange, _ = connected(name, *wrong)
    if class_of(name) in {"coinbase", "bitfinex"} or name == "bitget, unified":
        assert exchange.find(ref_of(name, missed=60)) is None
    else:
        with pytest.raises(Refused) as caught:
            exchange.find(ref_of(name, missed=60))
        assert (caught.value.code, type(caught.value)) == ("exchange_unavailable", Refused)


def _with_other_id(case, document):
    text = json.dumps(document)
    assert json.dumps(case.form) in text
    return json.loads(text.replace(json.dumps(case.form), json.dumps(case.other)))


@pytest.mark.parametrize("change", [{"side": "buy"}, {"amount": D("0.2")}, {"price": D(20001)}], ids=str)
@pytest.mark.parametrize("name", ["binance", "bitfinex", "coinbase", "okx"])
def test_an_order_with_our_id_and_other_terms_is_not_believed(name, change):
    case = CASES[name]
    exchange, _ = connected(name, (200, case.looks[0].open), *(look.absent for look in case.looks[1:]))
    with pytest.raises(Refused, match="another order"):
        exchange.find(ref_of(name, missed=60, **change))


@pytest.mark.parametrize(
    "answer", [(500, {}), (429, {}), (404, {}), (400, {"code": 1, "label": "X"}), (200, {})], ids=str
)
@pytest.mark.parametrize("name", CASES)
def test_any_other_answer_does_not_prove_that_the_order_is_missing(name, answer):
    exchange, _ = connected(name, *[answer] * len(CASES[name].looks))
    with pytest.raises(Refused) as caught:
        exchange.find(ref_of(name, missed=60))
    assert not isinstance(caught.value, Unsupported)


@pytest.mark.parametrize("name", CASES)
def test_a_server_that_fails_is_not_believed_that_the_order_is_missing(name):
    exchange, _ = connected(name, *((503, look.absent[1]) for look in CASES[name].looks))
    with pytest.raises(Refused) as caught:
        exchange.find(ref_of(name, missed=60))
    assert not isinstance(caught.value, Unsupported)


@pytest.mark.parametrize("name", ["bithumb", "coinbaseexchange", "upbit"])
def test_where_the_documents_name_the_status_of_that_answer_it_must_have_it(name):
    exchange, _ = connected(name, (400, CASES[name].looks[0].absent[1]))
    with pytest.raises(Refused):
        exchange.find(ref_of(name))


def test_a_request_that_may_still_arrive_is_known_to_the_reconciler():
    facts = {name: exchange_class(f"ccxt:{name}") for name in CLIENT_IDS}
    assert {kind.order_lookup for kind in facts.values()} == {"all"}
    late = {name: kind.valid_seconds for name, kind in facts.items() if kind.valid_seconds > 20}
    # Twice what the documents say where the time of a request may be ahead of the exchange's as well as behind it.
    assert late == {
        **dict.fromkeys(("bitget", "coinbaseexchange", "gemini", "okx", "myokx", "okxus"), 60),
        **dict.fromkeys(("coinbase", "cryptocom", "gate", "gateeu"), 120),
        "bitstamp": 300,
        "htx": 600,
        **dict.fromkeys(("bithumb", "upbit"), 86400),
    }


def changed(document, value, *at):
    """The document with another `value` at the end of a path; ...: the field is not there."""
    if not at:
        return value
    copy = json.loads(json.dumps(document))
    place = copy
    for step in at[:-1]:
        place = place[step]
    if value is ...:
        del place[at[-1]]
    else:
        place[at[-1]] = value
    return copy


#: Where the last question of an exchange has its list, and where the row that is shown there has our id.
LISTED_AT = {
    "bitget": (("data",), "clientOid"),
    "bitget, unified": (("data", "list"), "clientOid"),
    "bitfinex": ((), 2),
    "bitvavo": ((), None),
    "bybit": (("result", "list"), None),
    "coinbase": (("orders",), "client_order_id"),
    "gate": ((), "text"),
    "htx": (("data",), "client-order-id"),
    "kucoin": (("data", "items"), "clientOid"),
}


@pytest.mark.parametrize("name", LISTED_AT)
def test_what_is_no_list_does_not_say_that_it_is_not_there(name):
    case, (at, field) = CASES[name], LISTED_AT[name]
    look = case.looks[-1]
    odd = [changed(look.filled, value, *at) for value in ({}, "", ..., False) if at or value is not ...]
    odd.append(changed(look.filled, {}, *at, 0))
    if isinstance(field, str):
        odd.append(changed(look.filled, ..., *at, 0, field))
    for document in odd:
        exchange, _ = connected(name, *(each.absent for each in case.looks[:-1]), (200, document))
        with pytest.raises(Refused) as caught:
            exchange.find(ref_of(name, missed=60))
        assert type(caught.value) is Refused, document


def test_null_is_an_empty_list_at_bitget_where_there_is_no_next_page_either():
    for cursor in (None, "9"):
        none = {"code": "00000", "data": {"list": None, "cursor": cursor}}
        exchange, _ = connected("bitget, unified", (200, none), (200, none))
        if cursor is None:
            assert exchange.find(ref_of("bitget, unified", missed=60)) is None
        else:
            with pytest.raises(Refused, match="cannot be understood"):
                exchange.find(ref_of("bitget, unified", missed=60))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("cryptocom", {"id": 1, "method": "private/get-order-detail", "code": 0, "result": []}),
        ("gemini", []),
        ("coinbase", {"orders": [], "has_next": None, "cursor": ""}),
    ],
)
def test_an_answer_without_an_order_says_nothing_unless_it_says_so(name, document):
    exchange, _ = connected(name, *[(200, document)] * len(CASES[name].looks))
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.find(ref_of(name, missed=60))


@pytest.mark.parametrize("name", LISTS)
def test_a_question_that_fails_hides_no_order_that_the_next_one_shows(name):
    second = CASES[name].looks[1]
    exchange, _ = connected(name, (500, {}), (200, second.filled))
    assert exchange.find(ref_of(name)).status == "filled"
    exchange, _ = connected(name, (500, {}), second.absent)
    with pytest.raises(Refused) as caught:
        exchange.find(ref_of(name, missed=60))
    assert type(caught.value) is Refused, "the first question is not answered"


@pytest.mark.parametrize("name", CASES)
def test_no_order_leaves_without_our_client_id(name, monkeypatch):
    """A later ccxt may no longer know the parameter; then the order would be looked up in vain, and be placed again."""
    case = CASES[name]
    exchange, stub = connected(name, (200, case.answer))
    honest = exchange._instance.ccxt.create_order
    monkeypatch.setattr(exchange._instance.ccxt, "create_order", lambda *arguments: honest(*arguments[:-1], {}))
    with pytest.raises(Refused, match="which it has to contain"):
        exchange.place(order_of(name))
    assert not stub.calls


def test_an_answer_about_another_order_is_no_outcome():
    exchange, _ = connected("binance", (200, CASES["binance"].answer | {"clientOrderId": client_id_cases.OTHER}))
    with pytest.raises(Unknown, match="another order"):
        exchange.place(order_of("binance"))


def test_a_number_that_an_order_of_another_day_has_is_not_taken_for_ours():
    """Bitfinex takes a `cid` again on the next day (UTC)."""
    yesterday = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
    (older,) = json.loads(json.dumps(CASES["bitfinex"].looks[1].filled).replace(str(CREATED_LATER), str(yesterday)))
    exchange, _ = connected("bitfinex", (200, []), (200, [older]))
    assert exchange.find(ref_of("bitfinex", missed=60)) is None


def test_an_order_that_the_journal_lost_is_looked_for_since_the_loss():
    """Of such an order it is only known since when it may have been made; without that time nothing is proved."""
    looks = CASES["bitget"].looks
    ref = replace(ref_of("bitget", missed=60), created=None)
    exchange, stub = connected("bitget", *(look.absent for look in looks))
    with pytest.raises(Unsupported, match="forgotten"):
        exchange.find(ref)
    assert "startTime" not in stub.calls[1][2]
    ref = replace(ref, not_before=datetime.now(UTC) - timedelta(days=1))
    exchange, stub = connected("bitget", *(look.absent for look in looks))
    assert exchange.find(ref) is None
    assert stub.calls[1] == expected(looks[1].call, replace(ref, created=ref.not_before))


def test_the_forms_of_an_id_are_always_the_same_and_what_each_exchange_takes():
    for name, rule in CLIENT_IDS.items():
        form = rule.form(OURS)
        assert form == rule.form(OURS)
        assert form != rule.form(client_id_cases.OTHER), name
        if name == "bitfinex":
            assert 0 < form < 2**45
        else:
            assert len(form) <= {"gate": 28, "mexc": 32, "okx": 32, "kucoin": 40}.get(name, 36)
            assert re.fullmatch(r"[0-9a-f]{32}|t-[0-9a-f]{26}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", form)


def test_a_market_buy_that_was_sent_as_a_cost_is_found():
    """Its amount there is the cost, and that it was filled is said by its status."""
    row = CASES["okx"].looks[0].filled["data"][0] | {"side": "buy", "ordType": "market", "sz": "2000", "px": ""}
    exchange, _ = connected("okx", (200, {"code": "0", "msg": "", "data": [row | {"accFillSz": "0.0999"}]}))
    found = exchange.find(ref_of("okx", side="buy", price=None))
    assert (found.status, found.amount, found.filled) == ("filled", D("0.1"), D("0.0999"))


#: List -> the rows of a full page, the answer with these rows (None: the last page), and the field of the next call
#: that says where it begins.
FILLER = {"id": "5", "orderId": "5", "clientOid": "x", "text": "t-x", "client-order-id": "x", "clientOrderId": "x"}
PAGES = {
    "bitget": (100, lambda rows, more: {"code": "00000", "data": rows}, {"idLessThan": "5"}),
    "bitget, unified": (
        100,
        lambda rows, more: {"code": "00000", "data": {"list": rows, "cursor": "9"}},
        {"cursor": "9"},
    ),
    "htx": (100, lambda rows, more: {"status": "ok", "data": rows}, {"from": "5", "direct": "next"}),
    "bitvavo": (1000, lambda rows, more: rows, {"orderIdTo": "5"}),
    "gate": (100, lambda rows, more: rows, {"page": "2"}),
    "kucoin": (
        500,
        lambda rows, more: {"code": "200000", "data": {"totalPage": 99 if more else 2, "items": rows}},
        {"currentPage": "2"},
    ),
    "coinbase": (
        1000,
        lambda rows, more: {"orders": rows, "has_next": more, "cursor": "9" if more else ""},
        {"cursor": "9"},
    ),
    "bitfinex": (2500, lambda rows, more: rows, {"end": 8}),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_long_list_is_read_page_by_page(name):
    case, (length, answer, cursor) = CASES[name], PAGES[name]
    filler = [0, None, 1, "tBTCUST", 8, 8] if name == "bitfinex" else FILLER | {"client_order_id": "x"}
    full = (200, answer([filler] * length, True))
    look = case.looks[-1]
    exchange, stub = connected(name, case.looks[0].absent, full, (200, look.filled))
    ref = ref_of(name)
    assert exchange.find(ref).status == "filled"
    first, second = stub.calls[1:3]
    assert second == (*first[:2], first[2] | cursor)
    exchange, stub = connected(name, case.looks[0].absent, *[full] * 30)
    with pytest.raises(Unsupported, match="too many"):
        exchange.find(ref_of(name, missed=60))
    assert len(stub.calls) == 21


def test_the_documents_list_where_orders_are_found_and_for_how_long():
    readme = (Path(exchanges.__file__).parent / "README.md").read_text()
    begin, end = "<!-- client ids: made by exchanges/ccxt/client_ids.py; a test holds it here -->\n", "\n<!-- end -->"
    assert readme.partition(begin)[2].partition(end)[0] == "\n".join(lines())


#: What an exchange says of an id that it has seen.
KNOWN_ID = {
    "binance": (400, {"code": -2010, "msg": "Duplicate order sent."}),
    "bitget": (400, {"code": "40786", "msg": "Duplicate clientOid"}),
    "bitvavo": (400, {"errorCode": 220, "error": "clientOrderId conflict within the market."}),
    "bybit": (200, {"retCode": 170141, "retMsg": "Duplicate clientOrderId.", "result": {}}),
    "cryptocom": (400, {"code": 40006, "message": "DUPLICATE_REQUEST"}),
    "kucoin": (200, {"code": "126044", "msg": "clientOid duplicate"}),
    "okx": (200, {"code": "1", "msg": "", "data": [{"sCode": "51016", "sMsg": "Duplicated client order ID"}]}),
}


@pytest.mark.parametrize("name", KNOWN_ID)
def test_that_the_id_is_known_is_no_proof_that_nothing_was_executed(name):
    """The first delivery of the order, executed, makes the exchange say so of the second."""
    exchange, _ = connected(name, KNOWN_ID[name], (200, CASES[name].looks[0].open))
    with pytest.raises(Unknown) as caught:
        exchange.place(order_of(name))
    assert caught.value.refusal is not None
    assert exchange.find(ref_of(name)).status == "open"
