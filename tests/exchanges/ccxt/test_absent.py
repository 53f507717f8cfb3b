"""The bridge to ccxt where ccxt is not installed."""

from __future__ import annotations

import sys

import pytest

from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.errors import Refused


def test_without_ccxt_an_exchange_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(Refused, match=r"pip install .*ccxt") as caught:
        exchange_class.__wrapped__("ccxt:kraken")
    assert caught.value.code == "unsupported"


def test_an_id_of_another_kind_is_a_key_error_with_and_without_ccxt(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(KeyError):
        exchange_class("kraken")
