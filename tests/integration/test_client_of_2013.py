"""The client of November 2013 works against the real server: its requests, byte for byte, and what it reads.

What it sends was read in bitmm-exchange-wrapper, commit 85d5151 of 13 November 2013. It sends no Idempotency-Key and no
User-Agent of its own, writes user and password in Latin-1 (as requests does with text), and forgets last slashes.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.sends import allow_sends

#: A name and a password that are other bytes in Latin-1 than in UTF-8.
USER, PASSWORD = "jürgen", "correct horse: grüße"
ADDRESS = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


class Error(Exception):
    """What the client of 2013 raised: the words that it found in an answer."""


class Client:
    """The calls of the client of 2013, and what each of them read of its answer."""

    def __init__(self, url: str, user: str = USER, password: str = PASSWORD) -> None:
        self.url = url.removesuffix("/")
        self.auth = (user, password)
        self.answers: list[requests.Response] = []

    def get(self, target: str, *, login: bool = True) -> Any:
        return self.read(requests.get(self.url + target, auth=self.auth if login else None, timeout=60))

    def post(self, target: str, **form: str) -> Any:
        return self.read(requests.post(self.url + target, data=form, auth=self.auth, timeout=60))

    def read(self, answer: requests.Response) -> Any:
        self.answers.append(answer)
        if answer.status_code >= 500:
            is_document = answer.headers.get("content-type") == "application/json"
            raise Error(answer.json() if is_document else answer.reason)
        if not 200 <= answer.status_code < 400:
            raise Error(answer.json()["detail"])
        return answer.json()

    def list_exchanges(self) -> Any:
        return self.get("/list_exchanges/", login=False)

    def exchange_rates(self, currency: str, asset: str) -> list[dict[str, Any]]:
        rows = self.get(f"/exchange_rates/?from={quote(currency)}&to={quote(asset)}", login=False)
        return [
            {name: row[name] for name in ("id", "exchange")} | {name: Decimal(row[name]) for name in ("buy", "sell")}
            for row in rows
        ]

    def balances(self) -> list[dict[str, Decimal]]:
        return [decimals(row["balance"]) for row in self.get("/balance")]

    def list_backends(self, exchange: str | None = None) -> list[tuple[int, str]]:
        rows = [(row["id"], row["exchange"]) for row in self.get("/exchanges/")]
        return [row for row in rows if exchange in (None, row[1])]

    def create_backend(self, exchange: str, uname: str, key: str, secret: str) -> tuple[int, str]:
        form = {"account": self.auth[0], "exchange": exchange, "username": uname, "apikey": key, "apisecret": secret}
        row = self.post("/exchanges/", **form)
        return row["id"], row["exchange"]

    def backend(self, id: int) -> str:
        exchange: str = self.get(f"/exchanges/{id}")["exchange"]
        return exchange

    def balance(self, id: int) -> dict[str, Decimal]:
        return decimals(self.get(f"/exchanges/{id}/balance?"))

    def exchange_rate(self, id: int, currency: str, asset: str) -> Any:
        return self.get(f"/exchanges/{id}/exchange_rate?to={quote(asset)}&from={quote(currency)}")

    def trade(self, id: int, side: str, currency: str, asset: str, amount: object) -> Any:
        form = {"currency": currency, "asset": asset, "amount": str(Decimal(str(amount)))}
        return self.post(f"/exchanges/{id}/{side}", **form)

    def send_to_address(self, id: int, asset: str, amount: object, address: str) -> Any:
        form = {"asset": asset, "amount": str(Decimal(str(amount))), "address": address}
        return self.post(f"/exchanges/{id}/send_to_address", **form)

    def get_address(self, id: int) -> Any:
        return self.get(f"/exchanges/{id}/get_address?")


def decimals(amounts: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in amounts.items()}


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def server(serving, venue):
    urls = {"kraken": venue.url}
    with serving(exchanges=("paper", "kraken"), exchange_urls=urls, exchange_limits={"kraken": None}) as server:
        server.account(USER, PASSWORD)
        yield server


@pytest.fixture
def client(server):
    """The client; none of its answers may be a redirect, which requests would have followed, a POST as a GET."""
    client = Client(server.url)
    yield client
    assert client.answers
    for answer in client.answers:
        assert answer.history == []
        assert answer.headers["content-type"] == "application/json"


@pytest.fixture
def paper(client):
    return client.create_backend("paper", "", "", "")[0]


@pytest.fixture(scope="module")
def kraken(server, venue):
    """A key that may withdraw: its owner registers it by a client of now, since that of 2013 has no `allow_send`."""
    keys = {"apikey": venue.key, "apisecret": venue.secret}
    return server.registration((USER, PASSWORD), "kraken", username="ann", **keys)


def test_the_exchanges_are_listed(client):
    assert {"paper", "kraken"} <= {row["id"] for row in client.list_exchanges()}


def test_every_rate_has_an_id_an_exchange_and_two_prices(client):
    (row,) = client.exchange_rates("USD", "BTC")[:1]
    assert isinstance(row["id"], str)
    rows = {row["exchange"]: row for row in client.exchange_rates("USD", "BTC")}
    assert set(rows) == {"paper", "kraken"}
    assert all(row["buy"] >= row["sell"] > 0 for row in rows.values())


def test_a_registration_is_made_listed_and_opened(client, venue, kraken):
    id, exchange = client.create_backend("paper", "a name there", "", "")
    assert exchange == "paper"
    assert (id, "paper") in client.list_backends()
    assert (id, "paper") in client.list_backends("paper")
    assert client.list_backends("kraken") == [(kraken, "kraken")]
    assert client.backend(id) == "paper"


def test_the_balances_of_all_registrations_are_mappings_of_numbers(client, paper, kraken):
    balances = client.balances()
    assert {"USD": Decimal(200_000), "BTC": Decimal(1)} in balances
    assert client.balance(kraken) in balances


def test_the_readme_of_2013_works_with_paper_money(client, paper):
    assert client.balance(paper) == {"USD": 200_000, "BTC": 1}
    rate = client.exchange_rate(paper, "USD", "BTC")
    assert Decimal(rate["buy"]) > Decimal(rate["sell"]) > 0
    assert client.trade(paper, "buy", "USD", "BTC", 1)["status"] == "filled"
    assert client.balance(paper)["BTC"] == 2
    address = client.get_address(paper)
    assert address.startswith("tb1q")
    assert client.send_to_address(paper, "BTC", "0.5", address), "true, as the README says"
    assert client.trade(paper, "sell", "USD", "BTC", "1.5")["filled"] == "1.5"
    assert client.balance(paper)["BTC"] == 0


def test_a_credential_works_as_an_account_does_and_its_limit_has_words(client, server, paper):
    form = {"name": "bot1", "scope": "send", "exchanges": str(paper), "per_order": "10", "currency": "BTC"}
    made = client.post("/credentials/", **form)
    bot = Client(server.url, made["username"], made["password"])
    assert bot.list_backends() == [(paper, "paper")]
    assert bot.trade(paper, "buy", "USD", "BTC", "0.5")["status"] == "filled"
    assert bot.send_to_address(paper, "BTC", "0.5", bot.get_address(paper))
    with pytest.raises(Error, match="may place at most 10 BTC at once"):
        bot.trade(paper, "sell", "USD", "BTC", 11)
    assert all(answer.request.headers["authorization"].startswith("Basic ") for answer in bot.answers)


@pytest.mark.parametrize(("amount", "sent"), [("0.00000001", "1E-8"), ("1E+0", "1"), ("0.10", "0.10")])
def test_amounts_are_sent_as_decimal_writes_them(client, paper, amount, sent):
    order = client.trade(paper, "sell", "USD", "BTC", amount)
    assert f"amount={sent}" in client.answers[-1].request.body
    assert Decimal(order["filled"]) == Decimal(amount)


def test_a_round_amount_is_sent_with_an_exponent(client, paper):
    with pytest.raises(Error, match=r"not enough BTC: 100 needed"):
        client.trade(paper, "sell", "USD", "BTC", Decimal("1E+2"))
    assert "amount=1E%2B2" in client.answers[-1].request.body


def test_every_call_of_a_backend_but_the_send_works_at_kraken(client, venue, kraken):
    before = client.balance(kraken)
    rate = client.exchange_rate(kraken, "EUR", "BTC")
    assert Decimal(rate["buy"]) >= Decimal(rate["sell"]) > 0
    assert client.trade(kraken, "buy", "EUR", "BTC", "0.01")["status"] == "filled"
    assert client.trade(kraken, "sell", "EUR", "BTC", "0.004")["status"] == "filled"
    assert client.balance(kraken)["BTC"] == before["BTC"] + Decimal("0.006")
    assert client.get_address(kraken) in venue.account.addresses["Bitcoin"]
    assert [row["kind"] for row in venue.ledger()] == ["order", "order"]


def test_a_send_at_a_real_exchange_is_refused_in_words_because_it_has_no_key(client, server, venue, kraken):
    """The one call of 2013 that no longer works: it knew no keys, and a send that is repeated would leave twice."""
    allow_sends(server.database, USER, [ADDRESS])
    with pytest.raises(Error, match="a send at Kraken needs the header Idempotency-Key"):
        client.send_to_address(kraken, "BTC", "0.003", ADDRESS)
    assert client.answers[-1].json()["code"] == "key_required"
    assert "withdrawal" not in {row["kind"] for row in venue.ledger()}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda client, id: client.trade(id, "buy", "USD", "BTC", 1000), "not enough USD"),
        (lambda client, id: client.trade(id, "buy", "USD", "DOGE", 1), "DOGE"),
        (lambda client, id: client.send_to_address(id, "BTC", 1, "no address"), "no bitcoin address"),
        (lambda client, id: client.backend(id + 1_000_000), "registration"),
        (lambda client, id: client.create_backend("mtgux", "", "", ""), "mtgux"),
    ],
)
def test_a_refusal_has_words_under_detail(client, paper, call, words):
    with pytest.raises(Error, match=words):
        call(client, paper)
    assert client.answers[-1].status_code in (404, 422)


def test_a_wrong_password_has_words_under_detail(client, server):
    with pytest.raises(Error, match="wrong user name or password"):
        Client(server.url, USER, "grüße").balances()
    assert client.balances()


def test_a_failure_of_the_exchange_is_a_document_of_json(client, venue, kraken):
    venue.fault("html", times=100)
    with pytest.raises(Error, match=r"'code': 'exchange_unavailable'"):
        client.balance(kraken)
    venue.heal()
    assert client.answers[-1].status_code == 503


TARGETS = [
    "/list_exchanges/",
    "/exchange_rates/?from=USD&to=BTC",
    "/balance",
    "/exchanges/",
    "/exchanges/ID",
    "/exchanges/ID/balance?",
    "/exchanges/ID/exchange_rate?from=USD&to=BTC",
    "/exchanges/ID/get_address?",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_request_is_answered_with_these_very_bytes(client, paper, server, target):
    """The requests of today writes no "?" with nothing behind it, so the bytes go through a plain socket."""
    prepared = requests.Request("GET", server.url, auth=client.auth).prepare()
    # base64("jürgen:correct horse: grüße") in Latin-1, where ü is FC.
    assert prepared.headers["Authorization"] == "Basic avxyZ2VuOmNvcnJlY3QgaG9yc2U6IGdy/N9l"
    parts = urlsplit(server.url)
    head = (
        f"GET {target.replace('ID', str(paper))} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: {prepared.headers['Authorization']}\r\nAccept-Encoding: gzip, deflate, compress\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as line:
        line.sendall(head.encode("ascii"))
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-type: application/json\r\n" in answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n"
