"""Bad input gets a clear error, and nothing is lost."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
import requests

GOOD = {"currency": "USD", "asset": "BTC", "amount": "0.1"}


@pytest.fixture(scope="module")
def owner(server):
    auth = server.account()
    return auth, server.registration(auth)


def balance(server, owner):
    auth, id = owner
    return requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=30).json()


def post(server, owner, body, path="buy", **more):
    auth, id = owner
    return requests.post(f"{server.url}/exchanges/{id}/{path}", data=body, auth=auth, timeout=30, **more)


BAD_FIELDS = [
    ("no amount", {"currency": "USD", "asset": "BTC"}, "amount"),
    ("empty amount", GOOD | {"amount": ""}, "amount"),
    ("zero", GOOD | {"amount": "0"}, "amount"),
    ("zero with decimals", GOOD | {"amount": "0.000"}, "amount"),
    ("negative", GOOD | {"amount": "-1"}, "amount"),
    ("signed", GOOD | {"amount": "+1"}, "amount"),
    ("exponent", GOOD | {"amount": "1e5"}, "amount"),
    ("huge exponent", GOOD | {"amount": "1e999999999"}, "amount"),
    ("NaN", GOOD | {"amount": "NaN"}, "amount"),
    ("infinity", GOOD | {"amount": "Infinity"}, "amount"),
    ("hexadecimal", GOOD | {"amount": "0x10"}, "amount"),
    ("a comma", GOOD | {"amount": "0,1"}, "amount"),
    ("an underscore", GOOD | {"amount": "1_000"}, "amount"),
    ("a space", GOOD | {"amount": " 1"}, "amount"),
    ("a newline", GOOD | {"amount": "1\n"}, "amount"),
    ("other digits", GOOD | {"amount": "١"}, "amount"),
    ("no digit before the point", GOOD | {"amount": ".5"}, "amount"),
    ("no digit after the point", GOOD | {"amount": "5."}, "amount"),
    ("two points", GOOD | {"amount": "1.2.3"}, "amount"),
    ("60 digits", GOOD | {"amount": "1" * 60}, "amount"),
    ("60 decimals", GOOD | {"amount": "0." + "1" * 60}, "amount"),
    ("nine decimals", GOOD | {"amount": "0.123456789"}, "amount"),
    ("repeated", "currency=USD&asset=BTC&amount=0.1&amount=9", "amount"),
    ("repeated alike", "currency=USD&asset=BTC&amount=0.1&amount=0.1", "amount"),
    ("unknown field", GOOD | {"owner": "2"}, "owner"),
    ("mass assignment", GOOD | {"status": "filled"}, "status"),
    ("prototype", GOOD | {"__proto__": "x"}, "__proto__"),
    ("unknown currency", GOOD | {"currency": "XYZ"}, "currency"),
    ("unknown asset", GOOD | {"asset": "XYZ"}, "asset"),
    ("no currency", {"asset": "BTC", "amount": "1"}, "currency"),
    ("an odd currency", GOOD | {"currency": "US D"}, "currency"),
    ("a long currency", GOOD | {"currency": "U" * 300}, "currency"),
    ("a path as an asset", GOOD | {"asset": "../x"}, "asset"),
]


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(("body", "field"), [row[1:] for row in BAD_FIELDS], ids=[row[0] for row in BAD_FIELDS])
def test_a_bad_field_is_422_and_named_and_changes_nothing(server, owner, side, body, field):
    before = balance(server, owner)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = post(server, owner, body, side, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert answer.json()["may_have_executed"] is False
    assert balance(server, owner) == before


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("", "'amount' is empty; write digits, like 0.1"),
        ("0,1", '\'amount\' is "0,1"; an amount has digits and at most one point: write "0.1"'),
        (" 1 ", '\'amount\' is " 1 "; an amount has digits and at most one point: write "1"'),
        ("1_000", '\'amount\' is "1_000"; an amount has digits and at most one point: write "1000"'),
        ("NaN", "'amount' is \"NaN\", which is no number in the digits 0 to 9; write it like 0.1"),
        ("-1", "'amount' is -1; it must be above zero: whether you buy, sell or send is said by the call"),
        ("0.00", "'amount' is 0.00; it must be above zero"),
        (".5", '\'amount\' is ".5"; write "0.5"'),
        ("+1", '\'amount\' is "+1"; write "1"'),
        ("1e5", '\'amount\' is "1e5"; write "100000"'),
        ("1E+50", "'amount' has more than 40 digits"),
        (
            "0.1000000000000000055511151231257827021181583404541015625",
            "'amount' has more than 40 digits; made of a float it has so many, as text it has those that are written",
        ),
    ],
)
@pytest.mark.parametrize("path", ["buy", "sell", "send_to_address"])
def test_a_refused_amount_says_what_was_given_and_what_to_write_instead(server, owner, path, amount, words):
    form = {"asset": "BTC", "address": "tb1qx"} if path == "send_to_address" else GOOD
    answer = post(server, owner, form | {"amount": amount}, path).json()
    assert answer["detail"] == words


def test_amounts_are_read_as_decimal_writes_them(server, owner):
    """The client of 2013 sends `str(Decimal(amount))`."""
    form = {"currency": "USD", "asset": "BTC", "amount": "1E-8", "price": "1E+3"}
    order = post(server, owner, form).json()
    assert (order["amount"], order["price"], order["status"]) == ("0.00000001", "1000", "open")
    assert post(server, owner, {"currency": "USD", "asset": "BTC", "cost": "1E+1"}).json()["status"] == "filled"
    address = requests.get(f"{server.url}/exchanges/{owner[1]}/get_address", auth=owner[0], timeout=30).json()
    sent = post(server, owner, {"asset": "BTC", "amount": "1E-7", "address": address}, "send_to_address").json()
    assert (sent["amount"], sent["status"]) == ("0.0000001", "done")


def test_an_unknown_market_names_what_is_traded(server, owner):
    assert "BTC for USD" in post(server, owner, GOOD | {"asset": "ETH"}).json()["detail"]


def test_too_many_decimals_name_the_nearest_allowed_amount(server, owner):
    answer = post(server, owner, GOOD | {"amount": "0.123456789"}).json()
    assert answer["code"] == "amount_step"
    assert answer["nearest"] == "0.12345679"


def test_an_unknown_exchange_names_what_is_offered(server, owner):
    answer = requests.post(f"{server.url}/exchanges/", data={"exchange": "nowhere"}, auth=owner[0], timeout=30)
    assert answer.status_code == 422
    assert answer.json()["field"] == "exchange"
    assert "paper" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["", "from=USD", "to=BTC", "from=USD&to=BTC&x=1", "from=USD&from=USD&to=BTC", "from=&to=BTC"]
)
def test_rates_need_both_names_once_and_nothing_else(server, query):
    answer = requests.get(f"{server.url}/exchange_rates/?{query}", timeout=30)
    assert answer.status_code == 422
    assert answer.json()["field"] in {"from", "to", "x"}


def test_rates_of_an_unknown_pair_say_what_is_traded(server):
    answer = requests.get(f"{server.url}/exchange_rates/?from=EUR&to=BTC", timeout=30)
    assert answer.status_code == 422
    assert "USD" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"currency": "USD", "asset": "BTC", "amount": "0.1"}', "application/json"),
        ("currency=USD&asset=BTC&amount=0.1", "text/plain"),
        ("currency=USD&asset=BTC&amount=0.1", "multipart/form-data; boundary=x"),
    ],
)
def test_a_post_that_is_not_form_encoded_is_415(server, owner, body, content_type):
    before = balance(server, owner)
    answer = post(server, owner, body, headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert balance(server, owner) == before


def test_a_body_over_64_kib_is_413(server, owner):
    before = balance(server, owner)
    assert post(server, owner, GOOD | {"label": "x" * 70_000}).status_code == 413
    assert balance(server, owner) == before


def test_an_endless_body_is_413_before_its_end(server, owner):
    """A body in chunks has no length: it is refused when it has become too large, although the sender never ends."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        token = requests.Request(auth=owner[0], url=server.url, method="GET").prepare().headers["Authorization"]
        connection.sendall(
            f"POST /exchanges/{owner[1]}/buy HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: {token}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n10\r\n" + b"x" * 0x10 + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_parameters_in_the_url_of_a_post_are_refused(server, owner):
    auth, id = owner
    answer = requests.post(f"{server.url}/exchanges/{id}/buy?amount=5", data=GOOD, auth=auth, timeout=30)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "body", [b"currency=%ff&asset=BTC&amount=1", b"\xff\xfe=1", b"amount", b"&".join([b"a=1"] * 60)]
)
def test_a_body_that_is_not_form_encoded_text_is_422(server, owner, body):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert post(server, owner, body, headers=headers).status_code == 422


def test_insufficient_funds_are_refused_with_their_code_and_nothing_changes(server, owner):
    before = balance(server, owner)
    answer = post(server, owner, GOOD | {"amount": "1000"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "insufficient_funds"
    assert balance(server, owner) == before


def test_sending_more_than_there_is_changes_nothing(server, owner):
    before = balance(server, owner)
    answer = post(
        server,
        owner,
        {"asset": "BTC", "amount": "1000", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"},
        "send_to_address",
    )
    assert answer.json()["code"] == "insufficient_funds"
    assert balance(server, owner) == before


@pytest.mark.parametrize("address", ["", " tb1q", "tb1q\n", "x" * 300])
def test_an_address_that_is_none_is_422(server, owner, address):
    answer = post(server, owner, {"asset": "BTC", "amount": "0.1", "address": address}, "send_to_address")
    assert answer.status_code == 422
    assert answer.json()["field"] == "address"


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel".encode("latin-1")])
def test_a_bad_idempotency_key_is_422(server, owner, key):
    assert post(server, owner, GOOD, headers={"Idempotency-Key": key}).status_code == 422


@pytest.mark.parametrize(
    ("path", "field", "form"),
    [
        ("", "label", {"exchange": "paper", "label": "a\0b"}),
        ("", "exchange", {"exchange": "pa\0per"}),
        ("", "apikey", {"exchange": "paper", "apikey": "a\0b"}),
        ("/{id}/buy", "currency", GOOD | {"currency": "US\0D"}),
        ("/{id}/send_to_address", "address", {"asset": "BTC", "amount": "1", "address": "tb1q\0"}),
    ],
)
def test_a_nul_character_is_refused_by_the_name_of_its_field(server, owner, path, field, form):
    """PostgreSQL has no text with one."""
    auth, id = owner
    answer = requests.post(f"{server.url}/exchanges{path.format(id=id)}", data=form, auth=auth, timeout=30)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_disabled_filter_needs_true_or_false(server, owner):
    answer = requests.get(f"{server.url}/exchanges/?active_only=perhaps", auth=owner[0], timeout=30)
    assert answer.json()["field"] == "active_only"


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("btce", "2017"),
        ("BTC-e", "2017"),
        ("btc_E", "2017"),
        ("WEX", "2018"),
        ("Vircurex", "2014"),
        ("vircurex ", "2014"),
    ],
)
def test_a_dead_exchange_is_refused_by_name(server, owner, name, year):
    answer = requests.post(f"{server.url}/exchanges/", data={"exchange": name}, auth=owner[0], timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (422, "exchange_dead")
    assert year in answer.json()["detail"]
    answer = requests.get(f"{server.url}/exchanges/", params={"exchange": name}, auth=owner[0], timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (422, "exchange_dead")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Kraken", "does not offer 'kraken'; its administrator can, by the setting XWRAP_EXCHANGES=paper,kraken;"),
        ("Mt.Gox", "XWRAP_EXCHANGES=paper,mtgox and where it is, XWRAP_EXCHANGE_URL_MTGOX;"),
        ("hub", "XWRAP_EXCHANGES=paper,hub and where it is, XWRAP_EXCHANGE_URL_HUB;"),
        ("paymium", "XWRAP_EXCHANGES=paper,ccxt:paymium"),
        ("ccxt:Paymium", "XWRAP_EXCHANGES=paper,ccxt:paymium"),
        ("Bitcoin Central", "paymium is what this exchange is called today, and this server does not offer 'ccxt:pay"),
        ("papper", "no exchange 'papper' here (did you mean 'paper'?); offered"),
        ("kracken", "did you mean 'kraken'"),
        ("nowhere at all", "no exchange 'nowhere at all' here;"),
        ("x\n" * 50, "no exchange of this name here;"),
    ],
)
def test_an_exchange_that_is_not_offered_is_refused_with_the_way_to_it(server, owner, name, words):
    answer = requests.post(f"{server.url}/exchanges/", data={"exchange": name}, auth=owner[0], timeout=30).json()
    assert (answer["code"], answer["field"]) == ("unknown_exchange", "exchange")
    assert words in answer["detail"]
    assert answer["detail"].endswith("; offered are paper")


def test_an_exchange_that_ccxt_knows_is_offered_under_its_whole_id():
    pytest.importorskip("ccxt")
    from bitmm.xwrap.server.exchange_names import find_exchange
    from bitmm.xwrap.server.problems import Problem

    assert find_exchange("CCXT:Gate", ["paper", "ccxt:gate"]) == "ccxt:gate"
    with pytest.raises(Problem, match="it is offered here as 'ccxt:gate'; offered are paper, ccxt:gate"):
        find_exchange("Gate", ["paper", "ccxt:gate"])
    with pytest.raises(Problem, match="does not offer 'ccxt:binance'; its administrator can"):
        find_exchange("Binance", ["paper"])
    many = [f"exchange{number}" for number in range(100)]
    with pytest.raises(Problem, match=r"XWRAP_EXCHANGES=\.\.\.,kraken; offered are .* and 88 more"):
        find_exchange("kraken", many)
    with pytest.raises(Problem, match="did you mean 'ccxt:bitvavo' or"):
        find_exchange("bitvaso", ["paper"])


def test_where_ccxt_is_not_installed_the_way_to_its_exchanges_says_how_to(monkeypatch):
    from bitmm.xwrap.server import exchange_names

    monkeypatch.setattr(exchange_names, "ccxt_ids", list)
    with pytest.raises(
        exchange_names.Problem, match=r"paymium and the library ccxt \(in a clone of bitmm: pip install"
    ):
        exchange_names.find_exchange("paymium", ["paper"])


@pytest.mark.parametrize("name", ["paper", "Paper", "PAPER", " paper "])
def test_an_exchange_is_registered_and_listed_by_its_name_in_any_case(server, owner, name):
    auth = server.account()
    answer = requests.post(f"{server.url}/exchanges/", data={"exchange": name}, auth=auth, timeout=30)
    assert (answer.status_code, answer.json()["exchange"]) == (201, "paper")
    listed = requests.get(f"{server.url}/exchanges/", params={"exchange": name}, auth=auth, timeout=30).json()
    assert [row["id"] for row in listed] == [answer.json()["id"]]
