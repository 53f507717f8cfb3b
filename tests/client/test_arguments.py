"""What callers pass: what cannot be sent is refused before anything is, the rest goes out encoded."""

from __future__ import annotations

import base64
import enum

import pytest

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError, InvalidRequest
from tests.support.marked_secrets import KEY, PASSWORD, USER


@pytest.mark.parametrize(
    ("username", "password"), [("ann", "pässwörd"), ("анна", "пароль"), ("安娜", "密码 🔑"), ("", ""), ("a b", "x:y:z")]
)
def test_names_and_passwords_of_any_script_go_out_as_utf8(server, username, password):
    Backend(1, username, password, server.url).balance()
    [request] = server.requests
    kind, _, pair = request.headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(pair).decode()) == ("Basic", f"{username}:{password}")


@pytest.mark.parametrize(
    ("username", "password"), [("a:b", "x"), ("a", None), (None, "x"), (b"a", "x"), (7, "x"), ("a", "\ud800")]
)
def test_names_and_passwords_that_cannot_be_sent_are_refused(username, password):
    with pytest.raises(InvalidRequest):
        Backend(1, username, password)
    with pytest.raises(InvalidRequest):
        XWrap().balance(username, password)


@pytest.mark.parametrize("id", ["1/../2", "", "x", 1.0, None, True, "١", b"1", "-1", "1?x"])
def test_an_id_that_is_no_number_is_refused(id):
    with pytest.raises(InvalidRequest):
        Backend(id, USER, PASSWORD)


@pytest.mark.parametrize("value", [None, 1, b"BTC", "\udfff"])
def test_what_cannot_be_text_is_refused_before_anything_is_sent(server, value):
    xwrap = XWrap(server.url)
    backend = Backend(1, USER, PASSWORD, xwrap)
    for call in (
        lambda: xwrap.exchange_rates("USD", value),
        lambda: xwrap.create_backend(USER, PASSWORD, "kraken", "", KEY, value),
        lambda: backend.exchange_rate(value, "BTC"),
        lambda: backend.buy(value, "BTC", 1),
        lambda: backend.send_to_address("BTC", 1, value),
        lambda: backend.get_address(value),
    ):
        with pytest.raises(InvalidRequest):
            call()
    assert server.connections == 0


def test_text_is_encoded_so_that_it_stays_one_field(server):
    with pytest.raises(APIError):
        Backend(1, USER, PASSWORD, server.url).exchange_rate("USD&to=ETH", "B T+C/ü#?")
    [request] = server.requests
    assert request.path == "/exchanges/1/exchange_rate?from=USD%26to%3DETH&to=B+T%2BC%2F%C3%BC%23%3F"


def test_text_that_is_a_member_of_an_enum_goes_out_as_its_value(server):
    class Currency(str, enum.Enum):  # noqa: UP042 - StrEnum is another case
        DOLLAR = "USD"

    Backend(1, USER, PASSWORD, server.url).buy(Currency.DOLLAR, "BTC", "0.1")
    [request] = server.requests
    assert request.body == b"currency=USD&asset=BTC&amount=0.1"


@pytest.mark.parametrize("name", ["asset", "address", "tag", "network"])
def test_what_is_no_text_is_refused_by_its_name(backend, name):
    with pytest.raises(InvalidRequest, match=f"^{name} must be text, and is (None|of type \\w+)$") as caught:
        backend.send_to_address(**{"asset": "BTC", "amount": "1", "address": "tb1q", name: 7})
    assert caught.value.code == "invalid_argument"


def test_what_is_no_text_in_a_registration_is_refused_by_the_name_of_the_argument():
    fields = {"exchange": "kraken", "uname": "42", "key": KEY, "secret": "s"}
    for name in fields:
        with pytest.raises(InvalidRequest, match=f"^{name} must be text, and is (None|of type \\w+)$"):
            XWrap().create_backend(USER, PASSWORD, **{**fields, name: b"x"})


def test_the_exchange_of_a_list_of_registrations_is_left_out_and_not_empty():
    for given, words in (("", "is empty; write it like kraken, or leave it out for all"), (b"paper", "must be text")):
        with pytest.raises(InvalidRequest, match=f"^exchange {words}"):
            XWrap().list_backends(USER, PASSWORD, given)


@pytest.mark.parametrize("name", ["currency", "asset"])
@pytest.mark.parametrize("ask", [XWrap().exchange_rates, Backend(1, USER, PASSWORD).exchange_rate])
def test_what_is_no_name_in_a_question_for_a_rate_is_refused_by_the_name_of_the_argument(ask, name):
    for given, words in ((None, "must be text, and is None"), ("", "is empty; write it like USD or BTC")):
        with pytest.raises(InvalidRequest, match=f"^{name} {words}$"):
            ask(**{"currency": "USD", "asset": "BTC", name: given})


@pytest.mark.parametrize(("amounts", "given"), [({}, "neither is"), ({"amount": 1, "cost": 1}, "both are")])
def test_an_order_without_one_of_amount_and_cost_says_what_was_given(backend, amounts, given):
    with pytest.raises(InvalidRequest, match=f"^an order has either an amount or a cost; {given} given$"):
        backend.buy("USD", "BTC", **amounts)


def test_a_price_below_zero_is_not_taken_for_a_way_to_sell(backend):
    with pytest.raises(InvalidRequest, match=r"^price is -5; it must be above zero$"):
        backend.buy("USD", "BTC", 1, price=-5)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("xwrap.test", "^XWRAP_URL: 'xwrap.test' does not begin with https://; write https://xwrap.test$"),
        ("localhost:8000", "^XWRAP_URL: 'localhost:8000' does not begin with http://; write http://localhost:8000$"),
        ("127.0.0.1/x", "; write http://127.0.0.1/x$"),
        ("https://", "^XWRAP_URL: 'https://' is no address of a server; write it like "),
        ("http://xwrap.test", "use https://, or pass insecure=True, or set XWRAP_INSECURE=1$"),
    ],
)
def test_a_refused_address_says_where_it_came_from_and_what_to_do(monkeypatch, url, words):
    monkeypatch.setenv("XWRAP_URL", url)
    with pytest.raises(InvalidRequest, match=words):
        XWrap()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "30", None, True])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(InvalidRequest, match="timeout"):
        XWrap(timeout=timeout)


@pytest.mark.parametrize(
    "amount", [0.1, float("nan"), "NaN", "Infinity", "1,5", "", "1_0", "٣", "1" * 101, True, None, b"1", 0, "-1"]
)
def test_an_amount_that_is_no_exact_number_is_refused_before_anything_is_sent(mock, backend, amount):
    with pytest.raises(InvalidRequest) as caught:
        backend.buy("USD", "BTC", amount)
    assert caught.value.may_have_executed is False
    assert len(mock.calls) == 0


@pytest.mark.parametrize("name", ["amount", "price", "cost"])
def test_an_amount_below_zero_is_refused_by_its_name_before_anything_is_sent(mock, backend, name):
    with pytest.raises(InvalidRequest, match=name + " is -1"):
        backend.buy("USD", "BTC", **{"amount": None, name: -1} if name != "price" else {"amount": 1, "price": -1})
    with pytest.raises(InvalidRequest, match="amount is -1"):
        backend.send_to_address("BTC", -1, "tb1q")
    assert len(mock.calls) == 0


def test_a_float_is_refused_with_the_fix(mock, backend):
    with pytest.raises(InvalidRequest, match=r"Decimal\('0\.1'\)"):
        backend.sell("USD", "BTC", 0.1)
