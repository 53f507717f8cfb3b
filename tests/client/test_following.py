"""Backend.follow, XWrap.follow_rates: call after call, each from where the one before ended, over lost connections."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses

from bitmm.xwrap import _following
from bitmm.xwrap.client import APIError, AuthenticationError, Backend, InvalidRequest, Unavailable, XWrap
from tests.support.marked_secrets import PASSWORD, USER

URL = "http://localhost:8000/exchanges/7/orders/"


class Changes:
    """Answers each call with the next of `pages`: ids of orders and a cursor, or an error's status and code."""

    def __init__(self, mock, *pages):
        self.pages, self.asked = list(pages), []
        mock.add_callback(responses.GET, URL, callback=self.answer)

    def answer(self, request):
        query = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
        self.asked.append((query["after"], int(query["wait"])))
        if not self.pages:
            return 200, {}, json.dumps({"orders": [], "cursor": query["after"]})
        first, second = self.pages.pop(0)
        if isinstance(first, int):
            return first, {}, json.dumps({"detail": "no", "code": second, "retryable": first == 503})
        return 200, {}, json.dumps({"orders": [{"id": id, "status": "open"} for id in first], "cursor": second})


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(_following.time, "sleep", lambda _seconds: None)


def test_orders_are_given_one_by_one_and_the_cursor_moves_on_with_the_last_of_a_page(mock, backend):
    server = Changes(mock, ([], "4"), ([1, 2], "6"), ([3], "7"))
    changes = backend.follow()
    seen = [(changes.cursor, order["id"], changes.cursor) for order in (next(changes) for _ in range(3))]
    assert seen == [("4", 1, "4"), ("6", 2, "6"), ("7", 3, "7")]
    assert server.asked == [("", 0), ("4", 20), ("6", 20)]


def test_a_kept_cursor_is_gone_on_with(mock, backend):
    server = Changes(mock, ([3], "7"))
    assert next(backend.follow(after="6"))["id"] == 3
    assert server.asked == [("6", 20)]


def test_it_ends_when_nothing_changes_and_goes_on_when_it_is_asked_again(mock, backend):
    server = Changes(mock, ([1], "5"))
    changes = backend.follow(after="0", timeout=0.01)
    assert [order["id"] for order in changes] == [1]
    server.pages.append(([2], "6"))
    assert [order["id"] for order in changes] == [2]
    assert {seconds for _, seconds in server.asked} <= {0, 1}


def test_a_server_that_is_away_for_a_while_is_waited_for(mock, backend):
    server = Changes(mock, *[(503, "server_busy")] * 7, ([1], "5"))
    assert next(backend.follow(after="3"))["id"] == 1
    assert {after for after, _ in server.asked} == {"3"}


def test_a_server_that_stays_away_is_not_taken_for_one_without_news(mock, backend):
    Changes(mock, *[(503, "server_busy")] * 9)
    with pytest.raises(Unavailable):
        next(backend.follow(after="3", timeout=0.01))


def test_what_will_not_be_better_later_is_raised(mock, backend):
    Changes(mock, (401, "not_authenticated"))
    with pytest.raises(AuthenticationError):
        next(backend.follow(after="3"))


@pytest.mark.parametrize("answer", [[], {"orders": []}, {"orders": [], "cursor": 5}, {"orders": [{}], "cursor": "5"}])
def test_an_answer_that_is_not_about_changes_is_refused(mock, backend, answer):
    mock.add(responses.GET, URL, json=answer)
    with pytest.raises(APIError) as caught:
        next(backend.follow(after="3"))
    assert caught.value.code == "bad_answer"


@pytest.mark.parametrize(("timeout", "wait"), [(30, 20), (3, 2), (300, 20), (1, 0)])
def test_a_call_waits_for_less_than_its_timeout(mock, timeout, wait):
    server = Changes(mock, ([1], "5"))
    next(Backend(7, USER, PASSWORD, timeout=timeout).follow(after="3"))
    assert server.asked == [("3", wait)]


@pytest.mark.parametrize("given", [{"after": 5}, {"timeout": 0}, {"timeout": "5"}, {"timeout": True}])
def test_a_bad_argument_is_refused_before_a_call(backend, given):
    with pytest.raises(InvalidRequest):
        backend.follow(**given)


RATES = "http://localhost:8000/exchange_rates/"


def rate(exchange, sell):
    return {"id": exchange, "exchange": exchange, "buy": "12", "sell": sell, "time": "2026-11-27T10:00:00Z"}


def answer_rates(mock, *pages):
    """Answer each call with the next rows and cursor, and then for ever with the last ones."""
    for rows, cursor in pages:
        mock.add(responses.GET, RATES, json={"rates": rows, "cursor": cursor})


def asked(mock):
    queries = [dict(parse_qsl(urlsplit(call.request.url).query, keep_blank_values=True)) for call in mock.calls]
    assert {(query["from"], query["to"]) for query in queries} == {("USD", "BTC")}
    return [query["after"] for query in queries]


def test_rates_are_given_when_their_prices_are_others(mock):
    known, back = [rate("kraken", "10"), rate("paper", "11")], [rate("kraken", "10")]
    answer_rates(mock, (known, "a.b"), (back, "a"), ([rate("kraken", "10.0000000000000000001")], "c"))
    rates = XWrap().follow_rates("USD", "BTC")
    found = [(row["exchange"], str(row["sell"])) for row in (next(rates) for _ in range(3))]
    assert found == [("kraken", "10"), ("paper", "11"), ("kraken", "10.0000000000000000001")]
    assert asked(mock) == ["", "a.b", "a"]


def test_rates_end_when_none_changes_and_go_on_when_they_are_asked_again(mock):
    answer_rates(mock, ([rate("kraken", "10")], "a"), ([], "a"))
    rates = XWrap().follow_rates("USD", "BTC", timeout=0.01)
    assert [row["exchange"] for row in rates] == ["kraken"]
    mock.remove(responses.GET, RATES)
    answer_rates(mock, ([rate("kraken", "9")], "b"), ([], "b"))
    assert [str(row["sell"]) for row in rates] == ["9"]


@pytest.mark.parametrize(
    "answer", [[], [rate("kraken", "1")], {"rates": []}, {"rates": [{}], "cursor": "a"}, {"rates": [], "cursor": 5}]
)
def test_an_answer_that_is_not_about_changes_of_rates_is_refused(mock, answer):
    mock.add(responses.GET, RATES, json=answer)
    with pytest.raises(APIError) as caught:
        next(XWrap().follow_rates("USD", "BTC"))
    assert caught.value.code == "bad_answer"


@pytest.mark.parametrize("given", [("", "BTC", None), ("USD", 5, None), ("USD", "BTC", 0)])
def test_a_bad_argument_for_rates_is_refused_before_a_call(given):
    with pytest.raises(InvalidRequest):
        XWrap().follow_rates(*given[:2], **({} if given[2] is None else {"timeout": given[2]}))
