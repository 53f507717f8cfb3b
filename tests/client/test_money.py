"""Exact numbers: what goes out, what comes in, and what is refused, whatever the program's decimal context."""

import decimal
from decimal import Decimal

import pytest

from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.money import above_zero, decode, exact, parse_decimal, plain

ALL_TRAPS = list(decimal.Context().traps)


@pytest.fixture(params=[1, 2, 28, 50])
def narrow(request):
    """A program with a decimal context of its own, every trap set."""
    with decimal.localcontext(decimal.Context(prec=request.param, traps=ALL_TRAPS, Emin=-1, Emax=1, capitals=0)):
        yield


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("amount", "digits"),
    [
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("1E+5"), "100000"),
        (Decimal("0.10"), "0.10"),
        (
            Decimal("123456789012345678901234567890.000000000000000001"),
            "123456789012345678901234567890.000000000000000001",
        ),
        (Decimal("-0"), "-0"),
        (10**30, "1" + "0" * 30),
        (10**100 - 1, "9" * 100),
        (-5, "-5"),
        ("0.00000001", "0.00000001"),
        ("1e-8", "0.00000001"),
        (".5", "0.5"),
        ("+5.", "5"),
    ],
)
def test_amounts_go_out_in_plain_digits_in_any_decimal_context(amount, digits):
    assert plain(amount) == digits


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("digits", ["0.12345678901234567890", "1.10", "0", "1e2", "100000000000000000000.5", "-0.0"])
def test_numbers_come_in_with_every_digit_in_any_decimal_context(digits):
    assert str(parse_decimal(digits)) == str(parse_decimal(decode(f'["{digits}"]')[0]))
    assert (
        parse_decimal(digits).as_tuple()
        == exact(digits).as_tuple()
        == decimal.Context(prec=60).create_decimal(digits).as_tuple()
    )


def test_a_json_number_keeps_its_digits():
    document = decode('{"a": 0.12345678901234567890, "b": 12345678901234567890123, "c": 1.10, "d": 5}')
    assert {name: str(parse_decimal(value)) for name, value in document.items()} == {
        "a": "0.12345678901234567890",
        "b": "12345678901234567890123",
        "c": "1.10",
        "d": "5",
    }


REFUSED = [0.1, 1e300, float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), True, None, b"1", [1]]
REFUSED += [10**100, 10**10000, Decimal("1E+101"), Decimal("1E-101"), "1" * 101, "1" * 100_000, "1e999999"]
REFUSED += ["", " 1", "1 ", "1\n", "1,5", "0x1", "1_0", "٣", "−1", "--1", ".", "e5", "1e", "NaN", "inf"]


@pytest.mark.parametrize("amount", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_exact_number_is_refused(amount):
    with pytest.raises(InvalidRequest) as caught:
        plain(amount)
    assert len(str(caught.value)) < 200


def test_the_name_of_the_amount_is_in_the_refusal():
    with pytest.raises(InvalidRequest, match=r"^price is the float 0\.1.*pass Decimal\('0\.1'\) or '0\.1'"):
        plain(0.1, "price")


def test_amounts_at_the_bounds_are_above_zero():
    assert above_zero("1e100", "amount") == "1" + "0" * 100
    assert above_zero(Decimal("1E-100"), "amount") == "0." + "0" * 99 + "1"
    assert above_zero("9" * 100, "amount") == "9" * 100


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("", "is empty; write digits, like 0.1"),
        ("0,1", 'is "0,1"; an amount has digits and at most one point: write "0.1"'),
        (" 1 ", 'is " 1 "; an amount has digits and at most one point: write "1"'),
        ("1\n", "is '1\\n'; an amount has digits and at most one point: write \"1\""),
        ("1_000", 'is "1_000"; an amount has digits and at most one point: write "1000"'),
        ("1,000", 'is "1,000"; write "1000", or "1.000" if the comma is a point'),
        ("1,234.50", 'is "1,234.50"; an amount has digits and at most one point: write "1234.50"'),
        ("1.234,50", 'is "1.234,50"; an amount has digits and at most one point: write "1234.50"'),
        ("1,2,3", 'is "1,2,3", which is no number in the digits 0 to 9; write it like 0.1'),
        ("five", 'is "five", which is no number in the digits 0 to 9; write it like 0.1'),
        (Decimal("NaN"), 'is "NaN", which is no number in the digits 0 to 9; write it like 0.1'),
        (float("nan"), "is the float nan; write digits, like '0.1'"),
        (True, "is True; pass a Decimal, an int or decimal text, like '0.1'"),
        (None, "is None; pass a Decimal, an int or decimal text, like '0.1'"),
        ([1], "is a list; pass a Decimal, an int or decimal text, like '0.1'"),
        (Decimal(-1), "is -1; it must be above zero: whether you buy, sell or send is said by the call"),
        ("-0", "is -0; it must be above zero"),
        (0, "is 0; it must be above zero"),
        ("1" * 101, "has more than 100 digits"),
        (10**100, "has more than 100 digits"),
    ],
    ids=str,
)
def test_a_refused_amount_says_what_was_given_and_what_to_write_instead(amount, words):
    with pytest.raises(InvalidRequest) as caught:
        above_zero(amount, "cost")
    assert (str(caught.value), caught.value.code) == (f"cost {words}", "invalid_amount")


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{} {}", "not JSON"),
        ("﻿{}", "not JSON"),
        ('"\n"', "not JSON"),
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ('{"a": 1, "a": 2}', "twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "twice"),
        ("9" * 101, "100 digits"),
        ("-" + "9" * 101, "100 digits"),
        ("9" * 100_000, "100 digits"),
        ("0." + "9" * 101, "digits"),
        ("1e999999", "number"),
        ("1e101", "digits"),
        ("1e-101", "digits"),
        ("[" * 101 + "]" * 101, "nested"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested"),
        ("[" * 200_000 + "]" * 200_000, "nested"),
        ("[" + "{}," * 500 + "[" * 100 + "]" * 100 + "]", "nested"),
        ('{"a": "' + "]}" * 100 + '", "b": ' + '{"c": [' * 50 + "]}" * 50 + "}", "nested"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
    ],
    ids=range(23),
)
def test_a_document_that_is_not_sound_is_refused_by_name(text, trouble):
    with pytest.raises(ValueError, match=trouble):
        decode(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 100 + "]" * 100, None),
        ("[" * 100 + "1" + "]" * 100, None),
        ("[" + "{}," * 500 + "[" * 99 + "]" * 99 + "]", None),
        ('["' + "[{" * 200 + '"]', None),
        ("9" * 100, 10**100 - 1),
        ("1e100", Decimal("1e100")),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\ud800"', "\\ud800"),
        (' {"a": [1, 2.50, null, true]} ', {"a": [1, Decimal("2.50"), None, True]}),
    ],
    ids=range(9),
)
def test_the_bounds_themselves_are_within(text, value):
    document = decode(text)
    assert value is None or document == value


@pytest.mark.parametrize("value", [True, None, [], {}, 1.5, "x", "NaN"])
def test_a_document_without_a_number_where_one_belongs_is_refused(value):
    with pytest.raises(ValueError, match="not a decimal number"):
        parse_decimal(value)
