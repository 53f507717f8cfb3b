"""The allow-list of an account: what may stand there, from when on it is used, and that each change is audited."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
import requests

from bitmm.xwrap.client import InvalidRequest, NotFound, XWrap
from tests.support.answers import text_of
from tests.support.threads import in_threads

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"


@pytest.fixture
def xw(server):
    return XWrap(server.url)


def post(server, auth, **form):
    return requests.post(f"{server.url}/addresses/", data=form, auth=auth, timeout=30)


def audited(server, account):
    rows = server.sql(
        "SELECT what, subject, details FROM audit_log WHERE who = :who AND what LIKE 'address.%' ORDER BY id",
        who=account,
    )
    return [(what, subject, json.loads(details)) for what, subject, details in rows]


def test_an_address_is_used_after_a_day_and_its_owner_reads_of_it_in_the_audit(server, auth, xw):
    added = xw.add_address(*auth, "xbt", ADDRESS, label="cold", per_send="0.5", per_day="1.0")
    assert xw.addresses(*auth) == [added]
    waiting = datetime.fromisoformat(added["usable_from"]) - datetime.fromisoformat(added["created"])
    assert timedelta(hours=23, minutes=59) < waiting < timedelta(hours=24, minutes=1)
    shown = {"asset": "BTC", "address": ADDRESS, "per_send": "0.5", "per_day": "1.0"}
    shown["usable_from"] = added["usable_from"]
    assert audited(server, auth[0]) == [("address.add", f"address {added['id']}", shown)]


def test_the_waiting_time_is_the_one_that_was_set_when_an_address_was_added(serving, tmp_path):
    with serving(tmp_path, address_wait_seconds=7200) as server:
        auth = server.account()
        before = XWrap(server.url).add_address(*auth, "BTC", ADDRESS)
    with serving(tmp_path, address_wait_seconds=0) as server:
        assert XWrap(server.url).add_address(*auth, "BTC", ADDRESS) == before
        [row] = XWrap(server.url).addresses(*auth)
        added = XWrap(server.url).add_address(*auth, "ETH", WALLET)
    assert row == before
    assert added["usable_from"] <= added["created"]


@pytest.mark.parametrize(
    ("asset", "address", "again"),
    [("BTC", ADDRESS, ADDRESS.upper()), ("ETH", WALLET, WALLET.lower()), ("SOL", "So1Example", "So1Example")],
)
def test_an_address_that_is_there_stays_as_it_is(server, auth, xw, asset, address, again):
    first = xw.add_address(*auth, asset, address, label="one", network=None)
    assert xw.add_address(*auth, asset, again, label="two") == first
    assert xw.addresses(*auth) == [first]
    assert len(audited(server, auth[0])) == 1


def test_another_tag_network_or_asset_is_another_address(auth, xw):
    texts = [{}, {"tag": "7"}, {"tag": "8"}, {"network": "Ripple"}, {"network": "ripple", "tag": "7"}]
    ids = {xw.add_address(*auth, "XRP", "rN7Example", **given)["id"] for given in texts}
    ids.add(xw.add_address(*auth, "RLUSD", "rN7Example")["id"])
    assert len(ids) == 6
    assert xw.add_address(*auth, "XRP", "rN7Example", network="RIPPLE")["network"] == "Ripple"
    assert len(xw.addresses(*auth)) == 6


def test_a_letter_in_another_case_is_another_address_where_the_case_counts(auth, xw):
    assert xw.add_address(*auth, "SOL", "So1Example")["id"] != xw.add_address(*auth, "SOL", "So1example")["id"]


def test_limits_are_changed_by_removing_an_address_and_adding_it_again(server, auth, xw):
    first = xw.add_address(*auth, "BTC", ADDRESS, per_day="1")
    assert xw.add_address(*auth, "BTC", ADDRESS, per_day="1.0") == first
    for given in ({"per_day": "2"}, {}, {"per_day": "1", "per_send": "1"}):
        with pytest.raises(InvalidRequest, match=f"is on the list already, as number {first['id']}, with another"):
            xw.add_address(*auth, "BTC", ADDRESS, **given)
    assert xw.addresses(*auth) == [first]
    xw.remove_address(*auth, first["id"])
    again = xw.add_address(*auth, "BTC", ADDRESS, per_day="2")
    assert again["usable_from"] > first["usable_from"]
    assert [what for what, *_ in audited(server, auth[0])] == ["address.add", "address.remove", "address.add"]


def test_removing_twice_is_no_error_and_audited_once(server, auth, xw):
    added = xw.add_address(*auth, "BTC", ADDRESS)
    removed = xw.remove_address(*auth, added["id"])
    assert removed == {**added, "removed": removed["removed"]}
    assert removed["removed"] is not None
    assert xw.remove_address(*auth, added["id"]) == removed
    assert xw.addresses(*auth) == []
    assert [what for what, *_ in audited(server, auth[0])] == ["address.add", "address.remove"]


def test_an_address_of_another_account_is_answered_as_if_it_were_not_there(server, auth, xw):
    other = server.account()
    added = xw.add_address(*other, "BTC", ADDRESS)
    answers = [
        requests.delete(f"{server.url}/addresses/{id}", auth=auth, timeout=30)
        for id in (added["id"], 999_999, 0, "-1", "01", "1.0", "x", 2**63)
    ]
    assert {(answer.status_code, text_of(answer)) for answer in answers} == {(404, text_of(answers[0]))}
    assert answers[0].json()["code"] == "not_found"
    assert xw.addresses(*other) == [added]
    with pytest.raises(NotFound):
        xw.remove_address(*auth, added["id"])


@pytest.mark.parametrize(
    ("form", "field", "code"),
    [
        ({"asset": "BTC"}, "address", "invalid_request"),
        ({"address": ADDRESS}, "asset", "invalid_request"),
        ({"asset": "BTC", "address": ""}, "address", "invalid_request"),
        ({"asset": "BTC", "address": ADDRESS, "colour": "red"}, "colour", "invalid_request"),
        ({"asset": "BTC", "address": f" {ADDRESS}"}, "address", "invalid_request"),
        ({"asset": "XRP", "address": "rN7\u202e"}, "address", "invalid_request"),
        ({"asset": "XRP", "address": "rN7", "tag": ""}, "tag", "invalid_request"),
        ({"asset": "XRP", "address": "rN7", "label": "a\nb"}, "label", "invalid_request"),
        ({"asset": "BTC", "address": ADDRESS, "per_day": "0"}, "per_day", "invalid_amount"),
        ({"asset": "BTC", "address": ADDRESS, "per_send": "a lot"}, "per_send", "invalid_amount"),
        ({"asset": "BTC", "address": f"{ADDRESS[:-1]}5"}, "address", "invalid_address"),
        ({"asset": "BTC", "address": WALLET}, "address", "invalid_address"),
        ({"asset": "BTC", "address": "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31M"}, "address", "invalid_address"),
        ({"asset": "USDT", "address": f"{ADDRESS[:-1]}5", "network": "x"}, "address", "invalid_address"),
        ({"asset": "ETH", "address": WALLET[:-1]}, "address", "invalid_address"),
    ],
)
def test_what_is_no_address_is_refused(server, auth, form, field, code):
    answer = post(server, auth, **form)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)
    assert requests.get(f"{server.url}/addresses/", auth=auth, timeout=30).json() == []


@pytest.mark.parametrize(
    ("asset", "address", "network"),
    [
        ("BTC", "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L", None),
        ("BTC", WALLET, "BEP20"),
        ("LTC", "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9", None),
        ("USDT", WALLET, "ERC20"),
    ],
)
def test_what_may_be_an_address_is_taken(auth, xw, asset, address, network):
    assert xw.add_address(*auth, asset, address, network=network)["address"] == address


def test_an_address_that_many_add_at_once_stands_there_once(server, auth, xw):
    added = in_threads(8, lambda _: XWrap(server.url).add_address(*auth, "BTC", ADDRESS))
    assert xw.addresses(*auth) == [added[0]]
    assert all(one == added[0] for one in added)
    assert len(audited(server, auth[0])) == 1
