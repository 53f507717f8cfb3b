"""Keys and secrets in the bridge to ccxt: they are used for what they are for, and shown nowhere."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.ccxt import exchange_class, instance
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue
from tests.exchanges.ccxt.support import connected, listed, order

library = pytest.importorskip("ccxt", reason="ccxt is not installed")


def test_no_key_secret_or_signature_reaches_a_log_at_debug(backpack, kraken, transport, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("ccxt", "ccxt.base.exchange"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for venue in (backpack, kraken):
        exchange = connected(venue, transport)
        exchange.place(order("sell", currency="EUR" if venue is kraken else "USDC"))
        venue.fault("html", path="BalanceEx" if venue is kraken else "/capital")
        with pytest.raises(Refused):
            exchange.funds()
        sent = {request.headers.get(name) for request in venue.requests for name in ("API-Sign", "X-Signature")}
        assert len(sent) > 1
        for secret in {venue.key, venue.secret, *sent} - {None}:
            assert secret not in caplog.text
            assert secret not in repr(exchange.context)


class QueryVenue(Venue):
    """An exchange that is asked with the signature in the query, and that says it back."""

    def routes(self):
        return {
            ("GET", "/api/v3/account"): lambda request: Reply.text(f'{{"code": -1, "msg": "{request.target}"}}', 400)
        }


def test_a_signature_in_the_query_reaches_no_log_and_no_words(transport, caplog):
    caplog.set_level(logging.DEBUG)
    with QueryVenue() as venue:
        exchange = listed(exchange_class("ccxt:binance"), venue.url)(transport, Credentials("", "a-key", "a-secret"))
        with pytest.raises(Refused) as caught:
            exchange.funds()
        [request] = venue.requests
    assert len(request.args["signature"]) == 64
    assert "/api/v3/account" in caplog.text, "the connection's own log is on"
    for words in (caplog.text, str(caught.value)):
        assert request.args["signature"][:16] not in words
        assert request.args["timestamp"] not in words


@pytest.mark.parametrize("escape", [str, lambda text: text.replace("/", "\\/"), lambda text: text.replace("+", "%2B")])
def test_an_exchange_that_says_our_secrets_back_is_not_quoted(kraken, transport, escape):
    def echo(request, method):
        said = [kraken.key, kraken.secret, request.headers["API-Sign"], request.body.decode()]
        words = escape(" ".join(said))
        return Reply.text(f'{{"error": ["EGeneral:Strange {words} https://x.test/?sign={words} end"]}}')

    exchange = connected(kraken, transport)
    exchange.markets()
    kraken._routes.insert(0, ("POST", core._pattern("/0/private/{method}"), echo))
    with pytest.raises(Unknown, match="EGeneral:Strange") as caught:
        exchange.place(order(currency="EUR"))
    words = f"{caught.value} {caught.value.refusal}"
    assert caught.value.refusal.code == "exchange_refused"
    assert len(str(caught.value)) < 500
    signature = kraken.requests[-1].headers["API-Sign"]
    for secret in (kraken.key, kraken.secret, signature):
        for piece in (secret, secret[:20], secret[-20:]):
            assert piece not in words
    assert "http" not in words


def test_a_failure_shows_no_trace_of_ccxt(backpack, transport):
    """Its frames and texts hold addresses, headers and keys."""
    backpack.fault("html", path="/capital")
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).funds()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_that_the_exchange_does_not_know_is_refused_with_its_words(kraken, backpack, transport):
    for venue, wrong, words in ((kraken, "d3Jvbmc=", "EAPI:Invalid signature"), (backpack, None, "INVALID_SIGNATURE")):
        secret = wrong or BackpackVenue.default_key
        keys = Credentials(apikey=venue.key, apisecret=secret)
        exchange = exchange_class(f"ccxt:{venue.name}")(ExchangeContext(transport, keys, 1, url=venue.url))
        with pytest.raises(Refused, match=words) as caught:
            exchange.place(order(currency="EUR" if venue is kraken else "USDC"))
        assert caught.value.code == "exchange_key_refused"
        assert not venue.ledger()


def test_a_secret_that_does_not_decode_sends_nothing(kraken, transport):
    keys = Credentials(apikey=kraken.key, apisecret="not base64!")
    exchange = exchange_class("ccxt:kraken")(ExchangeContext(transport, keys, 1, url=kraken.url))
    with pytest.raises(
        Refused, match=r"check apisecret: a request cannot be signed with it \(nothing was sent\)"
    ) as caught:
        exchange.place(order(currency="EUR"))
    assert caught.value.code == "invalid_request"
    assert not [request for request in kraken.requests if "private" in request.path]


@pytest.mark.parametrize(
    ("id", "names"),
    [("backpack", ["apisecret"]), ("coinbaseexchange", ["apisecret", "passphrase"]), ("revolutx", ["privateKey"])],
)
def test_a_secret_that_cannot_sign_is_named_and_the_exchange_is_not_said_to_refuse_it(transport, id, names):
    given = dict.fromkeys(names, "not base64!")
    keys = Credentials("", "a-key", given.pop("apisecret", ""), given)
    exchange = listed(exchange_class(f"ccxt:{id}"), "http://127.0.0.1:9")(transport, keys)
    with pytest.raises(Refused, match=f"check {', '.join(names)}: a request cannot be signed with it") as caught:
        exchange.funds()
    assert (caught.value.code, caught.value.retryable) == ("invalid_request", False)


def test_new_keys_of_a_registration_are_used_at_once(kraken, transport):
    cache = TTLCache()
    connected(kraken, transport, cache=cache).funds()
    kraken.add_account("another-key-of-the-same-owner", kraken.secret, {"BTC": Decimal(7)})
    keys = Credentials(apikey="another-key-of-the-same-owner", apisecret=kraken.secret)
    exchange = exchange_class("ccxt:kraken")(ExchangeContext(transport, keys, 1, url=kraken.url, cache=cache))
    assert exchange.balance()["BTC"] == 7


def test_a_user_sets_credentials_and_nothing_else(backpack, kraken, transport):
    strange = {
        "urls": json.dumps({"api": {"public": kraken.url, "private": kraken.url}}),
        "hostname": kraken.url,
        "proxies": kraken.url,
        "httpProxy": kraken.url,
        "proxyUrl": f"{kraken.url}/?",
        "verbose": "1",
        "session": "x",
        "number": "x",
        "id": "kraken",
    }
    exchange = connected(backpack, transport, more=strange)
    assert exchange.funds()
    assert exchange.rate("USDC", "BTC")
    assert not kraken.requests


def test_the_administrators_address_is_the_only_one(backpack, transport):
    exchange = connected(backpack, transport)
    exchange.markets()
    exchange._instance.ccxt.urls["api"] = library.backpack().urls["api"]
    before = len(backpack.requests)
    with pytest.raises(Refused, match="not the administrator's"):
        exchange.place(order())
    assert len(backpack.requests) == before
    moved = instance._rebased_urls(
        {"a": "https://{hostname}/api/v5", "b": {"c": "https://x.test"}, "d": ["https://y.test/"]}, "B"
    )
    assert moved == {"a": "B/api/v5", "b": {"c": "B"}, "d": ["B/"]}
