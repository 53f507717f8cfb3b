"""Names of currencies and assets: in any case, by common aliases, by an exchange's own spelling."""

from __future__ import annotations

import pytest

from bitmm.xwrap._names import common_name, is_name_of, name_among, pair_among
from bitmm.xwrap.errors import APIError

LISTED = ["USD", "BTC", "DOGE", "kPEPE", "AAPLx", "Om", "OM", "LUNA"]
SPELLINGS = {"XXBT": "BTC", "ZUSD": "USD", "LUNA2": "LUNA", "btc-id": "BTC"}


@pytest.mark.parametrize(
    ("written", "name"),
    [("USD", "USD"), ("usd", "USD"), ("Usd", "USD"), ("XBT", "BTC"), ("xbt", "BTC"), ("xdg", "DOGE"), ("eth", "ETH")],
)
def test_a_common_name_is_upper_case(written, name):
    assert common_name(written) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("usd", "USD"),
        ("xbt", "BTC"),
        ("kPEPE", "kPEPE"),
        ("kpepe", "kPEPE"),
        ("KPEPE", "kPEPE"),
        ("aaplX", "AAPLx"),
        ("Om", "Om"),
        ("OM", "OM"),
        # One of two: nothing says which.
        ("oM", "oM"),
        ("xxbt", "BTC"),
        ("ZUSD", "USD"),
        ("LUNA2", "LUNA"),
        ("LUNA", "LUNA"),
        ("BTC-ID", "BTC"),
        ("nowhere", "NOWHERE"),
        ("kBONK", "kBONK"),
    ],
)
def test_a_name_is_found_among_those_that_an_exchange_lists(written, name):
    assert name_among(written, LISTED, lambda: SPELLINGS) == name


def test_an_asset_that_is_really_called_as_another_ones_alias_is_meant_itself():
    assert name_among("xbt", ["BTC", "XBT"]) == "XBT"


def test_the_exchanges_own_spellings_are_asked_for_only_where_they_are_needed():
    def ask():
        raise AssertionError

    for written in ("USD", "usd", "XBT", "kpepe"):
        name_among(written, LISTED, ask)
    assert pair_among("usd", "KPEPE", [("USD", "kPEPE"), ("EUR", "BTC")], ask) == ("USD", "kPEPE")
    assert pair_among("EUR", "btc", [("USD", "kPEPE"), ("EUR", "BTC")], ask) == ("EUR", "BTC")


@pytest.mark.parametrize(
    ("written", "names", "others"),
    [
        ("BTC", ["BTC", "btc"], ["XBT", "XXBT", "BTCB"]),
        ("xbt", ["BTC", "XBT"], ["XXBT"]),
        ("XXBT", ["BTC", "XXBT"], ["XBT", "XRP"]),
        ("ZUSD", ["USD", "ZUSD"], ["USDT"]),
        ("kPEPE", ["kPEPE", "KPEPE"], ["PEPE"]),
        ("LUNA2", ["LUNA2"], ["LUNA"]),
    ],
)
def test_an_answer_is_about_what_was_written_in_another_spelling(written, names, others):
    assert [name for name in (*names, *others) if is_name_of(written, name)] == names


ORDER = {"id": 1, "side": "buy", "currency": "USD", "asset": "BTC", "amount": "0.1", "status": "filled"}


@pytest.mark.parametrize(("currency", "asset"), [("usd", "btc"), ("Usd", "XBT"), ("USD", "xbt")])
def test_a_record_in_common_names_is_the_answer_to_another_spelling(backend, mock, currency, asset):
    mock.get(f"{backend._api.url}/exchanges/7/fills", json=[{**ORDER, "price": "1"}])
    assert backend.fills(currency, asset)[0]["asset"] == "BTC"


def test_a_record_of_another_asset_is_not_the_answer(backend, mock):
    mock.get(f"{backend._api.url}/exchanges/7/fills", json=[{**ORDER, "price": "1"}])
    with pytest.raises(APIError, match="'asset' is not what was asked for"):
        backend.fills("usd", "ltc")
