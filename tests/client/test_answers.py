"""An answer is believed only when it is the answer to the question; after an order or a send all else is unknown."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from bitmm.xwrap.client import APIError, Backend, OutcomeUnknown, XWrap
from tests.support.client_servers import says, says_with_key
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import Connection, answer_not_found, raw_server

MISSING = object()
ADDRESS = "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L"
ORDER = {
    "id": 41,
    "exchange_order_id": "X1",
    "side": "buy",
    "type": "limit",
    "currency": "USD",
    "asset": "BTC",
    "amount": "0.1",
    "price": "100",
    "cost": None,
    "status": "filled",
    "filled": "0.1",
}
MARKET_ORDER = {**ORDER, "type": "market", "price": None}
COST_ORDER = {**MARKET_ORDER, "amount": None, "cost": "10"}
SEND = {"id": 9, "asset": "BTC", "amount": "0.1", "address": ADDRESS, "tag": None, "network": None, "status": "done"}
TAGGED_SEND = {**SEND, "tag": "Memo 5", "network": "Lightning"}

#: What is sent, and the record that answers it.
SUBMISSIONS = {
    "limit": (lambda backend, **how: backend.buy("usd", "BTC", "0.1", price="100", **how), ORDER),
    "market": (lambda backend, **how: backend.sell("USD", "BTC", "0.1", **how), {**MARKET_ORDER, "side": "sell"}),
    "cost": (lambda backend, **how: backend.buy("USD", "BTC", cost=10, **how), COST_ORDER),
    "amend": (lambda backend, **how: backend.amend(40, price="100", **how), {**ORDER, "replaces": 40}),
    "send": (lambda backend, **how: backend.send_to_address("BTC", "0.1", ADDRESS, **how), SEND),
    "send with a tag": (
        lambda backend, **how: backend.send_to_address("BTC", "0.1", ADDRESS, tag="Memo 5", network="Lightning", **how),
        TAGGED_SEND,
    ),
}
#: Whether a server knows keys, and how it answers when it is asked for one that it does not know: not at all, but not
#: as a server of 2013 either.
KNOWS_KEYS = {"knows keys": says({"detail": "no", "code": "not_authenticated"}, "401 No"), "2013": answer_not_found}

NO_ID = {"id": [MISSING, None, "41", True, Decimal("41.5"), [], {}]}
NO_AMOUNT = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 101,
    True,
    "",
    "0,1",
    [],
    {},
    "0.11",
    "0.1000000000000000001",
]
WRONG_ORDER = NO_ID | {
    "status": [MISSING, None, "banana", "done", "pending", "expired", "FILLED", "", 1, [], {}],
    "key": ["another", "MINE", 7, [], {}, True],
    "side": ["BUY", "hold", "", None, 7],
    "currency": ["EUR", "USDT", "", None, 7],
    "asset": ["ETH", "XBT", "", None, 7],
    "amount": [None, *NO_AMOUNT],
    "price": [None, *NO_AMOUNT],
    "cost": ["11", *NO_AMOUNT],
    "filled": NO_AMOUNT[:-2],
    "fee": NO_AMOUNT[:-2],
}
#: Of an amendment nothing else is known before.
WRONG_AMENDED = {name: WRONG_ORDER[name] for name in ("id", "status", "key", "price", "filled", "fee")}
WRONG_AMENDED |= {"amount": NO_AMOUNT[:-2], "replaces": [41, "40", True, None]}
WRONG_SEND = NO_ID | {
    "status": [MISSING, None, "banana", "canceled", "open", "filled", "DONE", "", 1, [], {}],
    "key": ["another", "MINE", 7, [], {}, True],
    "asset": [MISSING, "ETH", "XBT", "", None, 7],
    "amount": [MISSING, None, *NO_AMOUNT],
    "address": [MISSING, None, "", ADDRESS.upper(), ADDRESS.lower(), ADDRESS[:-1], f"{ADDRESS} ", 7],
    "tag": ["5", "memo 5", "", 7],
    "fee": NO_AMOUNT[:-2],
}


def wrong_answers(name: str):
    """Every record that differs from the right one in one field, so that it is not the answer."""
    right = SUBMISSIONS[name][1]
    table = WRONG_SEND if "send" in name else WRONG_AMENDED if name == "amend" else WRONG_ORDER
    for field, values in table.items():
        for value in values:
            # Of an order for a cost any amount may come.
            is_free = name == "cost" and field == "amount" and value in (None, *NO_AMOUNT[-2:])
            if not is_free and value != right.get(field, MISSING):
                yield {**right, field: value}
    if name == "send with a tag":
        yield {**right, "tag": None}
        yield {**right, "network": "Bitcoin"}


NO_RECORDS = [
    {},
    {"BTC": "Infinity"},
    {"detail": "frozen"},
    {"detail": "no", "code": "server_error"},
    [],
    [ORDER],
    [SEND],
]
NO_RECORDS += ["", "true", ADDRESS, False, None, 0, 41, {"status": "filled"}, {"status": "done"}, {"id": 41}]
NO_RECORDS += [{"status": "rejected"}, {"status": "failed"}, {"id": 41, "status": "rejected"}]


def without_missing(record: object) -> object:
    if not isinstance(record, dict):
        return record
    return {name: value for name, value in record.items() if value is not MISSING}


def is_refusal(document: object) -> bool:
    """Whether it says of an order or a send that it was refused."""
    return isinstance(document, dict) and document.get("id") == 41 and document.get("status") in ("rejected", "failed")


def error_of(call: Callable[[], object]) -> APIError | None:
    try:
        call()
    except APIError as error:
        return error
    return None


class Answering:
    """A server that answers every POST with `document`, under the key that was sent unless it has one."""

    def __init__(self) -> None:
        self.document: object = None
        self.names_key = True

    def __call__(self, connection: Connection) -> None:
        document = without_missing(self.document)
        if self.names_key and isinstance(document, dict):
            document = {"key": connection.request.headers.get("idempotency-key"), **document}
        says(json.loads(json.dumps(document, default=float)))(connection)


@pytest.mark.parametrize("knows_keys", KNOWS_KEYS)
@pytest.mark.parametrize("name", SUBMISSIONS)
def test_what_is_not_the_answer_to_an_order_or_a_send_leaves_it_unknown(name, knows_keys):
    submit, right = SUBMISSIONS[name]
    answering, believed = Answering(), []
    with raw_server(answering, key_lookup=KNOWS_KEYS[knows_keys]) as server:
        backend = Backend(7, USER, PASSWORD, server.url)
        for answering.names_key in (True, False):
            for answering.document in (*wrong_answers(name), *NO_RECORDS):
                before = server.posts
                error = error_of(lambda: submit(backend, key="mine"))
                if error is None:
                    believed.append(without_missing(answering.document))
                    continue
                refused = is_refusal(answering.document) and (answering.names_key or knows_keys == "2013")
                assert error.may_have_executed is not refused, answering.document
                assert (isinstance(error, OutcomeUnknown), error.retryable) == (not refused, False)
                assert (error.key, server.posts) == ("mine", before + 1)
        assert believed == []
        answering.document, answering.names_key = right, True
        assert submit(backend, key="mine")
        answering.names_key = False
        if knows_keys == "2013":
            assert submit(backend)
        else:
            with pytest.raises(OutcomeUnknown, match="does not name the key"):
                submit(backend)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("limit", {"currency": "usd", "asset": "btc", "amount": "0.10", "price": 100}),
        ("limit", {"status": "open", "filled": None, "amount": "1e-1"}),
        ("limit", {"status": "closed", "filled": None, "reason": "gone from the exchange's list"}),
        ("limit", {"news": {"of": ["a", "newer", "server"]}}),
        ("cost", {"amount": "0.00015"}),
        ("send", {"asset": "btc", "amount": "0.10", "status": "pending"}),
        ("send", {"tag": MISSING, "network": "Bitcoin", "fee": "0.0001"}),
    ],
)
def test_what_says_the_same_in_another_way_is_the_answer(name, changes):
    submit, right = SUBMISSIONS[name]
    answering = Answering()
    answering.document = {**right, **changes}
    with raw_server(answering, key_lookup=KNOWS_KEYS["knows keys"]) as server:
        assert submit(Backend(7, USER, PASSWORD, server.url))
        assert len(server.requests) == 1


def test_true_is_an_answer_to_a_send_from_a_server_of_2013_only():
    with raw_server(says(True)) as server:
        assert SUBMISSIONS["send"][0](Backend(7, USER, PASSWORD, server.url)) is True
        with pytest.raises(OutcomeUnknown):
            SUBMISSIONS["limit"][0](Backend(7, USER, PASSWORD, server.url))
    for answer in KNOWS_KEYS["knows keys"], says({"detail": "no", "code": "not_found"}, "404 Not Found"):
        with raw_server(says(True), key_lookup=answer) as server:
            with pytest.raises(OutcomeUnknown, match="does not name the key"):
                SUBMISSIONS["send"][0](Backend(7, USER, PASSWORD, server.url))
            assert server.posts == 1


@pytest.mark.parametrize(
    "answer", [{}, {"detail": "frozen"}, {"status": "rejected"}, True, MARKET_ORDER, SEND], ids=str
)
@pytest.mark.parametrize("name", ["limit", "send"])
def test_what_a_server_knows_of_the_key_counts_more_than_an_answer_that_does_not_name_it(name, answer):
    submit, right = SUBMISSIONS[name]
    with raw_server(says(answer), key_lookup=says_with_key(right)) as server:
        result = submit(Backend(7, USER, PASSWORD, server.url))
        assert result is True or result["id"] == 41
        assert server.posts == 1


@pytest.mark.parametrize(
    "document", [*NO_RECORDS, {**MARKET_ORDER, "key": "k"}, {**MARKET_ORDER, "dry_run": False}], ids=str
)
def test_an_answer_that_is_none_of_a_dry_run_may_be_an_order_that_was_placed(document):
    with raw_server(says(document)) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            Backend(7, USER, PASSWORD, server.url).buy("USD", "BTC", "0.1", dry_run=True)
        assert (caught.value.code, server.posts) == ("bad_answer", 1)


def test_a_dry_run_is_an_order_without_an_id():
    document = {**MARKET_ORDER, "id": None, "status": None, "filled": None, "dry_run": True}
    with raw_server(says(document)) as server:
        order = Backend(7, USER, PASSWORD, server.url).buy("USD", "BTC", "0.1", dry_run=True)
        assert order == {**document, "amount": Decimal("0.1")}


REGISTRATION = {"id": 7, "exchange": "kraken"}
FILL = {"id": "F1", "side": "buy", "currency": "USD", "asset": "BTC", "amount": "0.1", "price": "100", "fee": None}
ENTRY = {"id": "L1", "time": "2026-11-27T10:00:00Z", "kind": "fill", "asset": "BTC", "amount": "-0.1", "fee": "0"}
DEPOSIT = {"id": "D1", "asset": "BTC", "amount": "0.1", "address": ADDRESS}
DEPOSIT_ADDRESS = {"asset": "BTC", "address": ADDRESS, "tag": None, "network": None}
CREDENTIAL = {
    "name": "bot1",
    "scope": "trade",
    "exchanges": [7],
    "per_order": "1.0",
    "currency": "USD",
    "created": "2026-11-27T10:00:00Z",
}
NEW_CREDENTIAL = {**CREDENTIAL, "username": "ann/bot1", "password": "xwrap_0"}
ALLOWED = {
    "id": 5,
    "asset": "BTC",
    "address": ADDRESS,
    "tag": "7",
    "per_day": "1",
    "usable_from": "2026-11-28T10:00:00Z",
}
ELSEWHERE = {**ORDER, "id": None, "key": None}
KEYED = {**ORDER, "key": "mine"}
BAD = ["NaN", "Infinity", "-Infinity", "1e999", "", True, [], None]

#: Every other call, a right answer, and wrong ones. A wrong answer to those of `CHANGING` is OutcomeUnknown.
ACCOUNT = {"id": 1, "name": USER, "username": USER, "scope": "owner", "frozen": None, "created": "2026-11-27T10:00:00Z"}
DEADMAN = {"id": 7, "exchange": "kraken", "deadman_seconds": 60, "deadman_at": "2026-11-27T10:01:00Z"}
AUDIT_ROW = {
    "id": 5,
    "time": "2026-11-27T10:00:00Z",
    "who": "ann/bot1",
    "address": "127.0.0.1",
    "what": "order.buy",
    "subject": "order 7",
    "details": {"amount": "0.1"},
}


def without_each_field(record):
    """The record without one of its fields, for each of them."""
    return [{name: value for name, value in record.items() if name != field} for field in record]


NOON = "2026-11-27T12:00:00Z"
BOOK = {"bids": [["99", "1.50"], ["98", "2"]], "asks": [["100", "0.1"]], "time": NOON}
BAD_BOOKS = [
    *([], [BOOK], *without_each_field(BOOK), {**BOOK, "bids": None}, {**BOOK, "asks": {}}, {**BOOK, "asks": ["1"]}),
    *({**BOOK, "bids": [["99"]]}, {**BOOK, "bids": [["99", "1", "2"]]}),
    *({**BOOK, "asks": [["100", bad]]} for bad in BAD),
]
SPENT = {"amount": "1", "average": "100", "spent": "100", "fee": "0.26", "fee_source": "account", "total": "100.26"}
OFFER = {"id": 7, "exchange": "kraken", **SPENT, "reason": None}
RANKED = {"id": "kraken", "exchange": "kraken", "buy": "100", "sell": "99", "amount": "1", "total": "100.26"}
WORTH = {"id": 7, "exchange": "kraken", "total": "12.5", "not_priced": {"XYZ": "3", "ODD": None}}
FAILED = {"id": 8, "exchange": "paper", "total": None, "not_priced": {}, "error": "it is being repaired"}
VALUE = {"currency": "EUR", "total": "12.50", "not_priced": {"XYZ": "3"}, "backends": [WORTH, FAILED]}
TICKER = {"last": "99.5", "high": None, "low": "90", "volume": "12.5", "bid": "99", "ask": "100", "time": NOON}
CANDLE = {"time": NOON, "open": "1", "high": "3", "low": "0.5", "close": "2", "volume": "0"}
TRADE = {"id": None, "side": None, "amount": "0.1", "price": "100", "time": NOON}
FEES = {"maker": "0.0016", "taker": "0.0026", "source": "account"}
QUESTIONS = {
    "list_exchanges": (lambda xwrap, backend: xwrap.list_exchanges(), [], [{}, [{}], [{"id": "kraken"}]]),
    "exchange_rates": (
        lambda xwrap, backend: xwrap.exchange_rates("USD", "BTC"),
        [{"exchange": "kraken", "buy": "2", "sell": "1"}],
        [{}, [{}], *([{"exchange": "kraken", "buy": bad, "sell": "1"}] for bad in BAD)],
    ),
    "balance of all": (
        lambda xwrap, backend: xwrap.balance(USER, PASSWORD),
        [{**REGISTRATION, "balance": {"BTC": "1"}}],
        [
            {},
            [{}],
            [{**REGISTRATION, "id": "7", "balance": {}}],
            *([{**REGISTRATION, "balance": {"BTC": bad}}] for bad in BAD),
        ],
    ),
    "list_backends": (
        lambda xwrap, backend: xwrap.list_backends(USER, PASSWORD),
        [REGISTRATION],
        [{}, [{}], [{**REGISTRATION, "id": "7"}], [{**REGISTRATION, "exchange": None}], {"detail": "frozen"}],
    ),
    "backend": (
        lambda xwrap, backend: xwrap.backend(7, USER, PASSWORD),
        REGISTRATION,
        [
            {},
            [],
            [REGISTRATION],
            *({**REGISTRATION, "id": id} for id in (8, "7", True, None)),
            {**REGISTRATION, "exchange": 1},
        ],
    ),
    "balance": (
        lambda _, backend: backend.balance(),
        {},
        [[], True, {"detail": "frozen"}, *({"BTC": bad} for bad in BAD)],
    ),
    "exchange_rate": (
        lambda _, backend: backend.exchange_rate("USD", "BTC"),
        {"buy": "2", "sell": "1"},
        [{}, [], {"buy": "2"}, *({"buy": "2", "sell": bad} for bad in BAD)],
    ),
    "funds": (
        lambda _, backend: backend.funds(),
        {"BTC": {"total": "1", "available": None, "held": None}},
        [[], {"detail": "frozen"}, *({"BTC": {"total": bad, "available": "1", "held": "1"}} for bad in BAD[:-1])],
    ),
    "markets": (
        lambda _, backend: backend.markets(),
        [{"currency": "USD", "asset": "BTC", "price_step": None}],
        [{}, [{}], *([{"currency": "USD", "asset": "BTC", "amount_min": bad}] for bad in BAD[:-1])],
    ),
    "orders": (
        lambda _, backend: backend.orders("open"),
        [ORDER, ELSEWHERE],
        [
            *({}, [{}], ORDER, [{"detail": "frozen"}]),
            *([{**ORDER, "id": id}] for id in ("41", True)),
            *([{**ORDER, "status": status}] for status in (None, "banana", "FILLED", [])),
            *([{**ORDER, "filled": bad}] for bad in BAD[:-1]),
            *([{**ELSEWHERE, "exchange_order_id": id}] for id in (None, "", 7)),
            [{**ELSEWHERE, "status": "banana"}],
        ],
    ),
    "order": (
        lambda _, backend: backend.order(41),
        ORDER,
        [
            *({}, [], [ORDER], {"detail": "frozen"}, ELSEWHERE),
            *({**ORDER, "id": id} for id in (42, "41", True, None)),
            *({**ORDER, "status": status} for status in (None, "banana", "FILLED", [])),
            *({**ORDER, "filled": bad} for bad in BAD[:-1]),
        ],
    ),
    "order of a key": (
        lambda _, backend: backend.order(key="mine"),
        KEYED,
        [
            *({}, [], [KEYED], ORDER, {"detail": "frozen"}, {**KEYED, "key": "another"}, {**KEYED, "key": "MINE"}),
            *({**KEYED, "id": id} for id in ("41", True, None)),
            *({**KEYED, "status": status} for status in (None, "banana", "FILLED", [])),
        ],
    ),
    "withdrawals": (
        lambda _, backend: backend.withdrawals(),
        [SEND],
        [
            {},
            [{}],
            SEND,
            [{**SEND, "id": None}],
            *([{**SEND, "status": status}] for status in (None, "banana", "filled")),
        ],
    ),
    "withdrawal of a key": (
        lambda _, backend: backend.withdrawal(key="mine"),
        {**SEND, "key": "mine"},
        [
            *({}, [], SEND, [{**SEND, "key": "mine"}], {**SEND, "key": "another"}, {**SEND, "key": "mine", "id": "9"}),
            *({**SEND, "key": "mine", "status": status} for status in (None, "banana", "filled")),
        ],
    ),
    "fills": (
        lambda _, backend: backend.fills("USD", "btc"),
        [FILL],
        [
            {},
            [{}],
            [{**FILL, "asset": "ETH"}],
            [FILL, {**FILL, "currency": "EUR"}],
            *([{**FILL, "price": bad}] for bad in BAD[:-1]),
        ],
    ),
    "all_fills": (
        lambda _, backend: list(backend.all_fills("USD", "btc")),
        {"fills": [FILL], "next": None},
        [
            *({}, [], [FILL], {"fills": [FILL]}, {"fills": [{}], "next": None}, {"fills": None, "next": None}),
            *({"fills": [{**FILL, "asset": "ETH"}], "next": None}, {"fills": [FILL], "next": 7}),
            *({"fills": [{**FILL, "price": bad}], "next": None} for bad in BAD[:-1]),
        ],
    ),
    "all_deposits": (
        lambda _, backend: list(backend.all_deposits("btc")),
        {"deposits": [DEPOSIT], "next": None},
        [
            *({}, [], [DEPOSIT], {"deposits": [DEPOSIT]}, {"deposits": [{}], "next": None}),
            *({"deposits": [{**DEPOSIT, "asset": "ETH"}], "next": None}, {"deposits": [DEPOSIT], "next": 7}),
            *({"deposits": [{**DEPOSIT, "amount": bad}], "next": None} for bad in BAD[:-1]),
        ],
    ),
    "ledger": (
        lambda _, backend: list(backend.ledger("2026-11-27T00:00:00Z")),
        {"ledger": [ENTRY, {**ENTRY, "id": "L2", "amount": None, "fee": None}], "next": None},
        [
            *({}, [], [ENTRY], {"ledger": [ENTRY]}, {"ledger": [{}], "next": None}, {"ledger": [ENTRY], "next": 7}),
            *({"ledger": [{**ENTRY, "amount": bad}], "next": None} for bad in BAD[:-1]),
            *({"ledger": [{**ENTRY, "fee": bad}], "next": None} for bad in BAD[:-1]),
            *({"ledger": [{**ENTRY, name: None}], "next": None} for name in ("id", "time", "kind", "asset")),
            {"ledger": [{**ENTRY, "kind": "gift"}], "next": None},
        ],
    ),
    "all_orders": (
        lambda _, backend: list(backend.all_orders()),
        [ORDER],
        [{}, [{}], ORDER, [ORDER, ORDER], [{**ORDER, "id": None}]],
    ),
    # First the cursor is read, then the order, as by `order`.
    "wait": (
        lambda _, backend: backend.wait(41),
        {"orders": [], "cursor": "4", **ORDER},
        [{}, [], True, "closed", ORDER, {"orders": [], **ORDER}, {"orders": [], "cursor": 4, **ORDER}],
    ),
    "follow": (
        lambda _, backend: next(backend.follow(after="1")),
        {"orders": [ORDER], "cursor": "2"},
        [
            *({}, [], [ORDER], {"orders": [ORDER]}, {"orders": None, "cursor": "2"}, {"orders": [ORDER], "cursor": 2}),
            *({"orders": [{**ORDER, "id": bad}], "cursor": "2"} for bad in (None, "41", True)),
        ],
    ),
    "follow_rates": (
        lambda xwrap, _: next(xwrap.follow_rates("USD", "BTC")),
        {"rates": [{"exchange": "kraken", "buy": "2", "sell": "1"}], "cursor": "a"},
        [
            *({}, [], [{"exchange": "kraken", "buy": "2", "sell": "1"}], {"rates": []}, {"rates": None, "cursor": "a"}),
            *({"rates": [{"exchange": "kraken", "buy": bad, "sell": "1"}], "cursor": "a"} for bad in BAD),
        ],
    ),
    "follow_rate": (
        lambda _, backend: next(backend.follow_rate("USD", "BTC")),
        {"rates": [{"exchange": "kraken", "buy": "2", "sell": "1"}], "cursor": "a"},
        [{}, [], {"buy": "2", "sell": "1"}, {"rates": [{"buy": "2", "sell": "1"}], "cursor": "a"}],
    ),
    "all_withdrawals": (
        lambda _, backend: list(backend.all_withdrawals()),
        [SEND],
        [{}, [{}], SEND, [SEND, SEND], [{**SEND, "id": None}]],
    ),
    "order_book": (
        lambda _, backend: backend.order_book("USD", "BTC"),
        BOOK,
        BAD_BOOKS,
    ),
    "order_book of an exchange": (
        lambda xwrap, _: xwrap.order_book("kraken", "USD", "BTC"),
        BOOK,
        BAD_BOOKS,
    ),
    "best": (
        lambda xwrap, _: xwrap.best("USD", "BTC", USER, PASSWORD, side="buy", amount="1"),
        [OFFER, {**OFFER, "total": None, "reason": "it is being repaired"}],
        [
            *({}, [{}], OFFER, [{**OFFER, "id": "7"}], [{**OFFER, "total": None}]),
            *([{**OFFER, "spent": bad}] for bad in BAD[:-1]),
        ],
    ),
    "exchange_rates for an amount": (
        lambda xwrap, _: xwrap.exchange_rates("USD", "BTC", amount="1"),
        [{**RANKED, "reason": None}],
        [
            {},
            [{}],
            [{"exchange": "kraken", "buy": "100", "sell": "99"}],
            *([{**RANKED, "total": bad}] for bad in BAD[:-1]),
        ],
    ),
    "value": (
        lambda xwrap, _: xwrap.value("EUR", USER, PASSWORD),
        VALUE,
        [
            *({}, [], [VALUE], {**VALUE, "backends": None}, {**VALUE, "not_priced": []}),
            *({**VALUE, "total": bad} for bad in BAD),
            {**VALUE, "total": "12"},
            *({**VALUE, "not_priced": {"XYZ": bad}} for bad in BAD[:-1]),
            *({**VALUE, "backends": [{**WORTH, "total": bad}]} for bad in BAD),
            {**VALUE, "backends": [{**WORTH, "id": "7"}]},
        ],
    ),
    "ticker": (
        lambda _, backend: backend.ticker("USD", "BTC"),
        TICKER,
        [[], [TICKER], *without_each_field(TICKER), *({**TICKER, "last": bad} for bad in BAD[:-1])],
    ),
    "candles": (
        lambda _, backend: backend.candles("USD", "BTC"),
        [CANDLE],
        [{}, CANDLE, *([row] for row in without_each_field(CANDLE)), *([{**CANDLE, "close": bad}] for bad in BAD)],
    ),
    "trades": (
        lambda _, backend: backend.trades("USD", "BTC"),
        [TRADE],
        [{}, TRADE, *([row] for row in without_each_field(TRADE)), *([{**TRADE, "amount": bad}] for bad in BAD)],
    ),
    "fees": (
        lambda _, backend: backend.fees("USD", "BTC"),
        FEES,
        [[], [FEES], *without_each_field(FEES), *({**FEES, "taker": bad} for bad in BAD)],
    ),
    "deposits": (
        lambda _, backend: backend.deposits("BTC"),
        [DEPOSIT],
        [{}, [{}], [{**DEPOSIT, "asset": "ETH"}], *([{**DEPOSIT, "amount": bad}] for bad in BAD[:-1])],
    ),
    "deposit_address": (
        lambda _, backend: backend.deposit_address("BTC"),
        DEPOSIT_ADDRESS,
        [
            *(
                {},
                [],
                ADDRESS,
                {"detail": "frozen"},
                {**DEPOSIT_ADDRESS, "asset": "ETH"},
                {**DEPOSIT_ADDRESS, "asset": None},
            ),
            *({**DEPOSIT_ADDRESS, "address": address} for address in (None, "", 7, "no address", f"{ADDRESS}\n")),
            *({**DEPOSIT_ADDRESS, "tag": tag} for tag in ("", 7, [])),
        ],
    ),
    "get_address": (
        lambda _, backend: backend.get_address(),
        ADDRESS,
        [{}, [], None, True, "", " ", "no such asset", f" {ADDRESS}", f"{ADDRESS}\n", DEPOSIT_ADDRESS],
    ),
    "cancel": (
        lambda _, backend: backend.cancel(41),
        {**ORDER, "status": "canceled"},
        [
            *({}, [], True, {"detail": "frozen"}, {"canceled": 1}, ELSEWHERE),
            *({**ORDER, "id": id} for id in (42, "41", True, None)),
            *({**ORDER, "status": status} for status in (None, "banana", "CANCELED", [])),
        ],
    ),
    "cancel_all": (
        lambda _, backend: backend.cancel_all(),
        {"canceled": 0},
        [{}, [], 1, True, *({"canceled": count} for count in (None, "1", True, -1, 0.5))],
    ),
    "create_backend": (
        lambda xwrap, _: xwrap.create_backend(USER, PASSWORD, "kraken", "", "", ""),
        REGISTRATION,
        [{}, [], True, {"detail": "frozen"}, {**REGISTRATION, "id": "7"}, {**REGISTRATION, "exchange": "bitstamp"}],
    ),
    "audit": (
        lambda xwrap, _: xwrap.audit(USER, PASSWORD),
        [AUDIT_ROW],
        [
            *({}, [{}], AUDIT_ROW, [{**AUDIT_ROW, "id": "5"}]),
            *([{**AUDIT_ROW, "details": bad}] for bad in (None, [], "text", {"amount": 1}, {"amount": None})),
        ],
    ),
    "addresses": (
        lambda xwrap, _: xwrap.addresses(USER, PASSWORD),
        [ALLOWED],
        [{}, [{}], ALLOWED, [{**ALLOWED, "id": "5"}], *([{**ALLOWED, "per_day": bad}] for bad in BAD[:-1])],
    ),
    "add_address": (
        lambda xwrap, _: xwrap.add_address(USER, PASSWORD, "btc", ADDRESS, tag="7"),
        ALLOWED,
        [
            *({}, [], True, [ALLOWED], {"detail": "frozen"}, {**ALLOWED, "id": "5"}),
            *({**ALLOWED, "address": address} for address in (None, 7, "", f"{ADDRESS}x")),
            *({**ALLOWED, "asset": asset} for asset in (None, "ETH")),
            *({**ALLOWED, "tag": tag} for tag in (None, "8", 7)),
            *({**ALLOWED, "per_send": bad} for bad in BAD[:-1]),
        ],
    ),
    "remove_address": (
        lambda xwrap, _: xwrap.remove_address(USER, PASSWORD, 5),
        {**ALLOWED, "removed": "2026-11-27T10:00:00Z"},
        [{}, [], True, {"detail": "frozen"}, *({**ALLOWED, "id": id} for id in (6, "5", True, None))],
    ),
    "account": (
        lambda xwrap, _: xwrap.account(USER, PASSWORD),
        ACCOUNT,
        [{}, [], True, [ACCOUNT], {"detail": "frozen"}, *({**ACCOUNT, "id": id} for id in ("1", None, True))],
    ),
    "change_password": (
        lambda xwrap, _: xwrap.change_password(USER, PASSWORD, "another password"),
        ACCOUNT,
        [{}, [], True, {"detail": "frozen"}, *({**ACCOUNT, "name": name} for name in ("bob", None, 1))],
    ),
    "credentials": (
        lambda xwrap, _: xwrap.credentials(USER, PASSWORD),
        [CREDENTIAL],
        [{}, [{}], CREDENTIAL, *([{**CREDENTIAL, "per_day": bad}] for bad in BAD[:-1])],
    ),
    "add_credential": (
        lambda xwrap, _: xwrap.add_credential(USER, PASSWORD, "bot1", "trade"),
        NEW_CREDENTIAL,
        [
            *({}, [], True, [NEW_CREDENTIAL], {"detail": "frozen"}, CREDENTIAL),
            *({**NEW_CREDENTIAL, "name": name} for name in (None, "bot2", 7)),
            *({**NEW_CREDENTIAL, "scope": scope} for scope in (None, "send")),
            *({**NEW_CREDENTIAL, "password": bad} for bad in (None, "", 7)),
            *({**NEW_CREDENTIAL, "username": bad} for bad in (None, "", 7)),
            *({**NEW_CREDENTIAL, "per_order": bad} for bad in BAD[:-1]),
        ],
    ),
    "revoke_credential": (
        lambda xwrap, _: xwrap.revoke_credential(USER, PASSWORD, "bot1"),
        {**CREDENTIAL, "revoked": "2026-11-27T10:00:00Z"},
        [{}, [], True, {"detail": "frozen"}, *({**CREDENTIAL, "name": name} for name in ("bot2", 5, None))],
    ),
    "freeze": (
        lambda xwrap, _: xwrap.freeze(USER, PASSWORD, cancel_orders=True),
        {"frozen": "2026-11-27T10:00:00Z", "canceled": [{"id": 7, "exchange": "kraken", "canceled": 2}]},
        [
            *({}, [], True, {"detail": "frozen"}),
            *({"frozen": since, "canceled": []} for since in (None, True, 7, [])),
            *({"frozen": "2026-11-27T10:00:00Z", "canceled": bad} for bad in (None, {}, [{}], [{"id": "7"}])),
        ],
    ),
    "unfreeze": (
        lambda xwrap, _: xwrap.unfreeze(USER, PASSWORD),
        {"frozen": None},
        [{}, [], True, {"detail": "frozen"}, {"frozen": "2026-11-27T10:00:00Z"}, {"frozen": False}],
    ),
    "rename": (
        lambda _, backend: backend.rename("new"),
        {**REGISTRATION, "label": "new"},
        [
            *({}, [], True, {"detail": "frozen"}, {**REGISTRATION, "label": "old"}),
            *({**REGISTRATION, "label": "new", "id": id} for id in (8, "7", True, None)),
        ],
    ),
    "disable": (
        lambda _, backend: backend.disable(),
        {**REGISTRATION, "enabled": False},
        [{}, [], True, *({**REGISTRATION, "enabled": bad} for bad in (True, None, "false"))],
    ),
    "enable": (
        lambda _, backend: backend.enable(),
        {**REGISTRATION, "enabled": True},
        [{}, [], True, *({**REGISTRATION, "enabled": bad} for bad in (False, None, "true"))],
    ),
    "replace_key": (
        lambda _, backend: backend.replace_key("key", "secret"),
        REGISTRATION,
        [{}, [], True, {"detail": "frozen"}, *({**REGISTRATION, "id": id} for id in (8, "7", True, None))],
    ),
    "permissions": (
        lambda _, backend: backend.permissions(),
        ["read", "trade"],
        [{}, True, None, "read", [None], [1], [["read"]], {"detail": "frozen"}],
    ),
    "delete": (
        lambda _, backend: backend.delete(),
        {"id": 7, "deleted": True},
        [
            {},
            [],
            True,
            {"id": 7},
            {"id": 8, "deleted": True},
            *({"id": 7, "deleted": bad} for bad in (False, 1, "true")),
        ],
    ),
    "deadman": (
        lambda _, backend: backend.deadman(60),
        DEADMAN,
        [
            *({}, [], True, [DEADMAN], {"detail": "frozen"}),
            *({**DEADMAN, "id": id} for id in (8, "7", True, None)),
            *({**DEADMAN, "deadman_seconds": seconds} for seconds in (61, "60", None)),
        ],
    ),
}
CHANGING = (
    *("cancel", "cancel_all", "create_backend", "add_address", "remove_address", "freeze", "unfreeze", "deadman"),
    *("change_password", "rename", "disable", "enable", "replace_key", "delete"),
    *("add_credential", "revoke_credential"),
)


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_not_the_answer_to_a_question_is_refused(name):
    ask, right, wrong = QUESTIONS[name]
    answering, believed = Answering(), []
    answering.names_key = False
    with raw_server(answering, key_lookup=answering) as server:
        xwrap = XWrap(server.url)
        backend = Backend(7, USER, PASSWORD, xwrap)
        answering.document = right
        ask(xwrap, backend)
        for answering.document in wrong:
            before = len(server.requests)
            error = error_of(lambda: ask(xwrap, backend))
            if error is None:
                believed.append(answering.document)
                continue
            assert type(error) is (OutcomeUnknown if name in CHANGING else APIError), answering.document
            assert (error.code, error.may_have_executed) == ("bad_answer", name in CHANGING)
            assert len(server.requests) == before + 1
    assert believed == []


def test_every_call_of_the_client_is_in_these_tables():
    calls = {
        name for kind in (XWrap, Backend) for name in dir(kind) if name[0] != "_" and callable(getattr(kind, name))
    }
    assert calls <= {name.partition(" ")[0] for name in QUESTIONS} | {
        "buy",
        "sell",
        "amend",
        *("buy_many", "sell_many", "place_many"),
        *("iter_orders", "iter_fills", "iter_withdrawals", "iter_deposits", "close"),
        "send_to_address",
        "transfer",
        "withdrawal",
    }
