"""Values in the rows of exchanges: exact, and refused when they are none."""

from __future__ import annotations

import decimal
import logging
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.models import Funds, Withdrawal
from bitmm.xwrap.exchanges.parsing import (
    address_and_tag,
    consistent_funds,
    list_or_nothing,
    listed_withdrawals,
    optional_amount,
    optional_time,
    readable_rows,
    required_text,
    step_from_places,
    time_from_field,
    time_from_microseconds,
    time_from_milliseconds,
    time_from_seconds,
    time_from_utc_text,
)

MOMENT = datetime(2023, 6, 30, 20, 48, 13, 114500, tzinfo=UTC)
UNREADABLE = (ValueError, TypeError, ArithmeticError)


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (time_from_seconds, Decimal("1688158093.1145")),
        (time_from_seconds, "1688158093.1145009"),
        (time_from_milliseconds, "1688158093114.5"),
        (time_from_microseconds, 1688158093114500),
        (time_from_utc_text, "2023-06-30 20:48:13.114500"),
        (time_from_utc_text, "2023-06-30T20:48:13.1145"),
        (time_from_utc_text, "2023-06-30T20:48:13.1145Z"),
        (time_from_utc_text, "2023-06-30T22:48:13.1145+02:00"),
        (time_from_field, "2023-06-30 20:48:13.114500"),
        (time_from_field, "2023-06-30T20:48:13.114500Z"),
        (time_from_field, Decimal("1688158093.1145")),
        (time_from_field, "1688158093.1145"),
        (time_from_field, "1688158093114.5"),
        (time_from_field, 1688158093114500),
        (optional_time, "1688158093114500"),
    ],
)
def test_a_time_is_read_to_the_microsecond_whatever_the_decimal_context_is(parse, value):
    with decimal.localcontext(decimal.Context(prec=3, traps=[decimal.Inexact])):
        assert parse(value) == MOMENT


@pytest.mark.parametrize("parse", [time_from_seconds, time_from_milliseconds, time_from_microseconds])
@pytest.mark.parametrize("value", [None, "", "soon", True, [], 1.5, "1e99"])
def test_a_time_that_is_none_is_refused(parse, value):
    with pytest.raises(UNREADABLE):
        parse(value)


def test_a_small_or_an_endless_number_is_no_time():
    assert optional_time(None) is optional_time("") is None
    for value in (7, "99999999", -1688158093, 10**17, "", "soon", True, []):
        with pytest.raises(UNREADABLE):
            time_from_field(value)


def test_a_list_of_nothing_may_be_null_or_an_empty_object():
    assert [list_or_nothing(answer) for answer in (None, {}, [], [7])] == [[], [], [], [7]]
    for answer in ("", 0, False, {"a": 1}, "rows"):
        with pytest.raises(TypeError):
            list_or_nothing(answer)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rN7n3?dt=123", ("rN7n3", "123")),
        ("rN7n3?dt=0", ("rN7n3", "0")),
        ("rN7n3?dt=", ("rN7n3", None)),
        ("?dt=7", (None, "7")),
        ("GA5?memoId=a b", ("GA5", "a b")),
        ("GA5?memo=7", ("GA5", "7")),
        ("bitcoincash:qq07?other=7", ("bitcoincash:qq07?other=7", None)),
        ("1Example", ("1Example", None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_tag_behind_an_address_is_not_a_part_of_it(text, parts):
    assert address_and_tag(text) == parts


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (("1", "0.7", "0.3"), ("1", "0.7", "0.3")),
        (("1", "-0.2", "1.2"), ("1", "0", "1.2")),
        (("-0.1", "-0.1", "0"), ("-0.1", "0", "0")),
        (("1", "2", "0"), ("1", "1", "0")),
        (("1", "1", "-0.5"), ("1", "1", "0")),
        ((None, "0.7", "0.3"), ("1.0", "0.7", "0.3")),
        (("1", None, "0.3"), ("1", "0.7", "0.3")),
        (("1", "0.7", None), ("1", "0.7", "0.3")),
        (("1", None, None), ("1", None, None)),
        ((None, "0.7", None), (None, "0.7", None)),
    ],
)
def test_funds_that_contradict_themselves_are_never_available_below_zero(told, meant):
    told, meant = ([None if text is None else Decimal(text) for text in texts] for texts in (told, meant))
    assert consistent_funds(*told) == Funds(*meant)


def test_funds_of_which_nothing_is_told_are_none():
    with pytest.raises(ValueError, match="no amount"):
        consistent_funds(None, None, Decimal(1))


@pytest.mark.parametrize("value", [None, "", 7, ["a"], b"a"])
def test_a_text_is_a_text_and_not_empty(value):
    with pytest.raises(ValueError, match="not a text"):
        required_text(value)
    assert required_text("a") == "a"


def test_an_amount_may_be_absent_but_never_negative_or_a_binary_fraction():
    assert optional_amount(None) is None
    assert str(optional_amount("0.10")) == "0.10"
    for value in ("-1", 0.1, "", True):
        with pytest.raises(ValueError, match=r"amount|number"):
            optional_amount(value)


def test_a_step_is_given_by_the_number_of_decimal_places():
    assert [str(step_from_places(places)) for places in (0, 2, 8)] == ["1", "0.01", "1E-8"]
    with pytest.raises(UNREADABLE):
        step_from_places("2")


def test_one_odd_row_hides_no_other_and_is_named_in_the_log_without_what_is_in_it(caplog):
    rows = [{"amount": "1"}, {"amount": "much", "secret": "Ssh"}, {"other": 2}, {"amount": "3"}, None]
    with caplog.at_level(logging.WARNING):
        assert readable_rows("Kraken", rows, lambda row: optional_amount(row["amount"])) == [Decimal(1), Decimal(3)]
    assert [record.getMessage() for record in caplog.records] == [
        "Kraken: a row is left out: ValueError: not a decimal number",
        "Kraken: a row is left out: KeyError: 'amount'",
        "Kraken: a row is left out: TypeError: 'NoneType' object is not subscriptable",
    ]


def test_no_rows_are_no_rows_but_rows_of_which_none_can_be_read_are_another_answer():
    assert readable_rows("Kraken", [], required_text) == []
    with pytest.raises(ValueError, match="no row can be understood: not a text"):
        readable_rows("Kraken", [7, None], required_text)


def test_a_send_that_cannot_be_understood_is_listed_without_an_id():
    """That a send is missing in a list proves that it was not sent."""

    def read(row):
        return Withdrawal(required_text(row), "BTC", None, "done")

    assert listed_withdrawals("Kraken", ["W1", None], read, None) == [
        Withdrawal("W1", "BTC", None, "done"),
        Withdrawal("", "", None, "unknown"),
    ]
    assert listed_withdrawals("Kraken", ["W1", 7], read, "ETH")[1] == Withdrawal("", "ETH", None, "unknown")
    assert listed_withdrawals("Kraken", [], read, None) == []
    for answer in ([7, None], None, {}, "W1"):
        with pytest.raises((ValueError, TypeError)):
            listed_withdrawals("Kraken", answer, read, None)


def test_what_is_no_fault_of_a_row_is_not_hidden():
    def read(row):
        raise MemoryError

    with pytest.raises(MemoryError):
        readable_rows("Kraken", [1], read)
