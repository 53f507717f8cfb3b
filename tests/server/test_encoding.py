"""Answers are the bytes that the standard library would write without spaces, and records are encoded as they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmm.xwrap.exchanges.models import Fill, Funds, HistoryPage, Market, OrderBook
from bitmm.xwrap.server.encoding import JSONAnswer, encode
from bitmm.xwrap.server.views.shared import page_to_json, record_to_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)
FILL = Fill(
    "1", None, "buy", "USD", "BTC", Decimal("1E-8"), Decimal("20000.50"), None, None, datetime(2026, 1, 2, tzinfo=UTC)
)


@given(DOCUMENTS)
def test_a_document_is_the_same_bytes_as_with_the_standard_library(document):
    assert encode(document) == json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**20), max_value=10**20))
def test_an_amount_is_text_in_plain_digits_all_of_them(amount):
    assert encode([amount]) == f'["{amount:f}"]'.encode()


@given(st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30)))))
def test_a_time_is_as_iso_8601_has_it_and_z_is_utc(time):
    assert json.loads(encode(time)) == time.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("record", [FILL, Funds(Decimal(3), None, Decimal("0.10")), Market("USD", "BTC")])
def test_a_record_is_its_fields(record):
    assert json.loads(encode(record)) == record_to_json(record)
    assert json.loads(encode({"USD": record, "rows": [record]})) == {
        "USD": record_to_json(record),
        "rows": [record_to_json(record)],
    }


def test_a_page_has_its_records_and_the_next_cursor():
    assert json.loads(encode(page_to_json("fills", HistoryPage([FILL], "7")))) == {
        "fills": [record_to_json(FILL)],
        "next": "7",
    }


def test_a_level_of_an_order_book_is_a_pair():
    book = OrderBook(((Decimal("1E+2"), Decimal("0.5")),), (), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
    assert encode(book) == b'{"bids":[["100","0.5"]],"asks":[],"time":"2026-01-02T03:04:05.000006Z"}'


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {1: "a key that is no text"}])
def test_what_is_no_document_is_an_error_and_never_something_else(value):
    with pytest.raises(TypeError):
        encode(value)


def test_an_answer_says_that_it_is_json():
    answer = JSONAnswer({"a": Decimal("1.0")}, 201, {"X-More": "yes"})
    assert (answer.status_code, answer.body, answer.headers["x-more"]) == (201, b'{"a":"1.0"}', "yes")
    assert answer.headers["content-type"] == "application/json"
