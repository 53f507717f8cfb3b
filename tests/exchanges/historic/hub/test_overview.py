"""A hub's overview document: what is believed of it, and where credentials may go."""

from __future__ import annotations

import json

import pytest

from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.errors import Refused, Unsupported
from bitmm.xwrap.exchanges.historic.hub import HubAPI, Overview
from bitmm.xwrap.testing.exchanges.hub import FORM, HubVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.support.historic import overview

VENUE = HubVenue


@pytest.mark.parametrize(
    "template",
    [
        "https://mtgox.com/code/(function_name).php",
        "https://hub.example.evil.com/(function_name)",
        "https://hub.example:444/(function_name)",
        "http://hub.example/(function_name)",
        "https://hub.example@evil.com/(function_name)",
        "https://evil.com\\@hub.example/(function_name)",
        "https://hub.example\\.evil.com/(function_name)",
        "https://(function_name).hub.example/",
        "https://hub.example/(function_name)#.evil.com",
        "https://hub.example",
        "https://hub.example /(function_name)",
        "//hub.example/(function_name)",
        "/code/(function_name)",
        "file:///etc/(function_name)",
        "http://127.0.0.1/(function_name)",
    ],
)
@pytest.mark.parametrize("authentication", [1, 2])
def test_calls_go_to_the_hubs_own_origin_alone(template, authentication):
    api = HubAPI("https://hub.example", account="acct-7", password="p", token="t", key="k")
    with pytest.raises(Refused) as caught:
        api.signed("my-balance", overview=overview(authentication=authentication, url=template))
    assert caught.value.code == "overview_refused"


@pytest.mark.parametrize(
    "template",
    [
        "https://hub.example/(function_name)",
        "https://HUB.example:443/a?f=(function_name)",
        "https://hub.example/x(function_name)y/z",
    ],
)
def test_the_gap_may_be_anywhere_in_the_path(template):
    api = HubAPI("https://hub.example", token="t", key="k")
    assert api.signed("my-balance", overview=overview(url=template)).url == template.replace(
        "(function_name)", "my-balance"
    )


def test_a_host_that_the_operator_lists_is_allowed():
    there = overview(url="https://other.example:8443/(function_name)")
    api = HubAPI("https://hub.example", token="t", key="k", hosts=["other.example:8443"])
    assert api.signed("my-balance", overview=there).url == "https://other.example:8443/my-balance"
    with pytest.raises(Refused):
        HubAPI("https://hub.example", token="t", key="k", hosts=["other.example"]).signed("my-balance", overview=there)


@pytest.mark.parametrize("url", ["http://hub.example", "ftp://hub.example", "hub.example", "https://user@hub.example"])
def test_a_hub_without_tls_is_refused(url):
    with pytest.raises(Refused) as caught:
        HubAPI(url, token="t", key="k")
    assert caught.value.code == "overview_refused"


def test_a_key_is_never_sent_as_a_password(venue, hub_api):
    venue.authentication = 1
    with pytest.raises(Refused) as caught:
        hub_api(token="t", key="the key", password="").my_balance()
    assert caught.value.code == "invalid_request"
    assert [made.path for made in venue.requests] == ["/api/overview.js"]


def test_a_password_is_never_sent_in_a_url(venue, hub_api):
    venue.authentication, venue.method = 1, "GET"
    with pytest.raises(Refused, match="passwords in URLs") as caught:
        hub_api().my_balance()
    assert caught.value.code == "overview_refused"
    assert len(venue.requests) == 1


def test_without_a_gap_only_type_2_names_the_function():
    api = HubAPI("https://hub.example", account="acct-7", password="p", token="t", key="k")
    there = "https://hub.example/call"
    assert api.signed("my-balance", overview=overview(url=there)).url == there
    with pytest.raises(Refused) as caught:
        api.signed("my-balance", overview=overview(url=there, authentication=1))
    assert caught.value.code == "overview_refused"


GOOD = {
    "req_url": "https://hub.example/(function_name)",
    "req_method": "POST",
    "post_body_encoding": FORM,
    "req_authentication_type": 2,
    "supported_functions": ["my-balance"],
}


@pytest.fixture
def served(venue, hub_api):
    """A function: the API in front of a hub with this overview document."""

    def serve(text, status=200):
        venue._routes = [
            (method, pattern, (lambda request: Reply.text(text, status)) if "overview" in pattern.pattern else handler)
            for method, pattern, handler in venue._routes
        ]
        return hub_api()

    return serve


def test_a_good_overview_is_read_and_unknown_keys_are_ignored(served):
    assert served(json.dumps({**GOOD, "motto": "x"})).overview() == Overview(
        GOOD["req_url"], "POST", FORM, 2, frozenset({"my-balance"})
    )


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named(served, key):
    with pytest.raises(Refused, match=f"lacks {key}") as caught:
        served(json.dumps({name: value for name, value in GOOD.items() if name != key})).overview()
    assert caught.value.code == "overview_refused"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD).replace("{", "{ // a note\n"),
        json.dumps({**GOOD, "req_method": "DELETE"}),
        json.dumps({**GOOD, "post_body_encoding": "text/xml"}),
        json.dumps({**GOOD, "req_authentication_type": 3}),
        json.dumps({**GOOD, "req_authentication_type": "2"}),
        json.dumps({**GOOD, "req_authentication_type": True}),
        json.dumps({**GOOD, "supported_functions": 5}),
        json.dumps({**GOOD, "supported_functions": "my-balance"}),
        json.dumps({**GOOD, "supported_functions": {"my-balance": 1}}),
        json.dumps({**GOOD, "supported_functions": [[]]}),
        json.dumps({**GOOD, "supported_functions": [5]}),
        json.dumps({**GOOD, "req_url": 5}),
        json.dumps({**GOOD, "padding": "x" * 64 * 1024}),
        json.dumps([GOOD]),
        "<html>",
        "",
    ],
)
def test_an_overview_that_is_not_one_is_refused(served, text):
    with pytest.raises(Refused) as caught:
        served(text).overview()
    assert caught.value.code == "overview_refused"


def test_a_hub_without_an_overview_is_unavailable(served, venue):
    with pytest.raises(Refused) as caught:
        served("nothing here", 404).my_balance()
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


def test_the_overview_is_asked_once_in_ten_minutes(venue, hub_api):
    now = [0.0]
    api = hub_api(cache=TTLCache(clock=lambda: now[0]))

    def asked():
        return [made.path for made in venue.requests].count("/api/overview.js")

    for _ in range(3):
        api.my_balance()
    assert asked() == 1
    now[0] = 601.0
    api.my_balance()
    assert asked() == 2


def test_the_overview_is_asked_again_after_a_function_was_not_there(venue, hub_api):
    api = hub_api()
    api.my_balance()
    venue.functions.remove("ticker")
    with pytest.raises(Unsupported):
        api.ticker("BTC", "USD")
    with pytest.raises(Unsupported, match="this hub has no ticker"):
        api.ticker("BTC", "USD")
    assert [made.path for made in venue.requests] == [
        *("/api/overview.js", "/api/my-balance", "/api/ticker", "/api/overview.js")
    ]
