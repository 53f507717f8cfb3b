"""The seconds that a Retry-After asks to wait."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from bitmm.xwrap import _retry_after
from bitmm.xwrap._retry_after import retry_after_seconds
from bitmm.xwrap.exchanges.http import retry_after
from bitmm.xwrap.transport import Response


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (" 17 ", 17),
        ("017", 17),
        ("1.5", 2),
        ("0.001", 1),
        ("2.000", 2),
        ("2.", 2),
        ("9" * 5000, 999_999_999),
        ("999999999.5", 999_999_999),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_seconds_are_rounded_up_and_the_past_is_now(header, seconds):
    assert retry_after_seconds(header) == seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_a_date_is_read_in_each_form_of_the_rfc_and_never_too_early(form):
    in_90_seconds = time.strftime(form, time.gmtime(int(time.time()) + 90))
    assert 80 <= retry_after_seconds(in_90_seconds) <= 90


def test_the_wait_for_a_date_is_rounded_up(monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 11, 27, 10, 0, 0, 400_000, tzinfo=tz)

    monkeypatch.setattr(_retry_after, "datetime", Clock)
    assert retry_after_seconds("Fri, 27 Nov 2026 10:01:30 GMT") == 90
    assert retry_after_seconds("Fri, 27 Nov 2026 10:00:00 GMT") == 0


@pytest.mark.parametrize(
    "header", [None, "", "soon", "-1", "+1", "1e3", "1,5", "²", "٣", "1.5.1", "Fri, 99 Foo 2026", "120s"]
)
def test_what_is_neither_seconds_nor_a_date_asks_for_nothing(header):
    assert retry_after_seconds(header) is None


@pytest.mark.parametrize(("header", "seconds"), [("90.5", 91), ("86400", 600), ("soon", 5), ("", 5)])
def test_an_adapter_waits_as_long_as_an_exchange_asks_but_ten_minutes_at_most(header, seconds):
    assert retry_after(Response(429, {"Retry-After": header}, b""), seconds=5) == seconds
