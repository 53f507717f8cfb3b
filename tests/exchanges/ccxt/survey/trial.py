"""One class of ccxt tried on sample answers: our adapter, our transport, and HTTP on loopback to a stub."""

from __future__ import annotations

import base64
import itertools
import json
import re
import sys
import threading
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from unittest import mock
from urllib.parse import unquote_plus

from bitmm.xwrap.exchanges import orders as polling
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.capabilities import supports
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.errors import ExchangeError, Refused
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from bitmm.xwrap.money import plain
from bitmm.xwrap.transport import Transport
from tests.exchanges.ccxt.survey.answers import Answers, Told, is_about_futures
from tests.exchanges.ccxt.survey.samples import requests_of

__all__ = ["OPERATIONS", "Result", "Stub", "try_out"]

#: The operations of the table; "find" counts by itself.
OPERATIONS = ("rate", "funds", "limit", "market", "order", "open orders", "cancel", "find")
_NO_SAMPLE = "no sample answer"
_D = Decimal


#: What only an order on margin has. Crypto.com's "spot_margin" says which of the two an order is.
_MARGIN = re.compile(r'(?<!"spot_)margin|spot_margin(?!":"SPOT")|leverage|borrow|loan|lend', re.IGNORECASE)


class Result(NamedTuple):
    """What became of one operation: "yes", "refused" with a reason, "no sample" or "no", and the words."""

    outcome: str
    words: str = ""


class Stub:
    """A server on loopback that answers every request with what its `answer` returns: a document or a text."""

    def __init__(self) -> None:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet: two would wait for each other.
            wbufsize = -1
            disable_nagle_algorithm = True

            def log_message(self, *_) -> None:
                """Print nothing."""

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = stub.answer(f"{self.path} {body.decode(errors='replace')}")
                content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            setattr(Handler, f"do_{method}", Handler.handle_any)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_) -> None:
                """Print nothing: a connection that ends is no failure."""

        self.answer = None
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Trial:
    """The exchange of one class, at the stub, and what its requests are answered."""

    def __init__(self, id, stub) -> None:
        made = exchange_class(f"ccxt:{id}")
        base = made.kind
        self.answers = Answers(id, next(kind for kind in base.__mro__ if kind.__module__ == f"ccxt.{id}"))
        self.told = Told(self.answers)
        self.sent = []
        self.lacks_a_sample, self.asks_for_futures = False, ""
        names, trial = requests_of(base), self

        def request(self, path, api=("public",), method="GET", params=None, *rest, **named):
            """Say who asks for what before ccxt asks."""
            asking, frame = [], sys._getframe(1)
            while frame is not None and frame.f_code.co_name != "call":
                asking.append(frame.f_code.co_name)
                frame = frame.f_back
            trial.asked = asking, names.get((path, tuple(api), method), [path]), params or {}
            return base.request(self, path, api, method, params or {}, *rest, **named)

        def describe(self):
            told = base.describe(self)
            if trial.answers.written.get("without_currencies"):
                told["has"]["fetchCurrencies"] = False
            return told

        kind = type(id, (base,), {"request": request, "describe": describe})
        self.kind = type(made.__name__, (made,), {"kind": kind})
        stub.answer = self.answer
        context = ExchangeContext(Transport(), _credentials(id, self.kind), 1, url=stub.url, cache=TTLCache())
        self.exchange = self.kind(context)

    def answer(self, sent):
        self.sent.append(unquote_plus(sent) + _decoded(sent))
        methods, names, params = self.asked
        # Prices and markets of all kinds may come in one list; funds and orders of futures are not ours.
        public = {"load_markets", "fetch_markets", "fetch_ticker", "fetch_tickers"} & {*methods}
        if not public and is_about_futures(names, params):
            self.asks_for_futures = names[0]
        answer = self.answers.find(methods, names, params)
        if answer is None:
            self.lacks_a_sample = True
            return 404, {"error": _NO_SAMPLE}
        return 200, self.told.adapted(methods, answer)

    def attempt(self, act):
        """The result of one operation, and what it returned."""
        self.lacks_a_sample, self.asks_for_futures = False, ""
        try:
            answer = act()
            assert not self.asks_for_futures, f"futures are asked for: {self.asks_for_futures}"
        except (ExchangeError, AssertionError) as error:
            words = " ".join(str(error).split())
            if self.lacks_a_sample:
                return Result("no sample", words), None
            known = isinstance(error, Refused) and error.code == "unsupported"
            return Result("refused" if known else "no", words), None
        return Result("yes"), answer

    def about(self, order, order_id=None):
        """Let the stub's answers speak of this order."""
        rule = self.kind.client_ids
        self.told.order, self.told.order_id = order, order_id
        if rule is not None:
            self.told.client_id, self.told.client_field = str(rule.form(order.client_id)), rule.field

    def place(self, order):
        self.about(order)
        self.sent.clear()
        state = checked(self.exchange.place(order), order)
        borrowed = _MARGIN.search(" ".join(self.sent))
        assert borrowed is None, f"{borrowed[0]} is in an order: {self.sent}"
        if state.reason is None or "sent as a market buy" not in state.reason:
            assert _says(" ".join(self.sent), order.amount), f"the amount {order.amount} was not sent: {self.sent}"
        return state


def try_out(id, stub):
    """The results of the operations at ccxt's class `id`, and how many requests were answered by hand."""
    with _no_waiting():
        trial = Trial(id, stub)
        results = dict.fromkeys(OPERATIONS, Result("no", "its markets cannot be read"))
        listed, markets = trial.attempt(trial.exchange.markets)
        if not markets:
            words = listed.words or "the sample lists no market that takes orders"
            return dict.fromkeys(OPERATIONS, Result(listed.outcome if listed.words else "no sample", words)), 0
        market = _chosen(markets)
        pair = market.currency, market.asset
        trial.told.market = trial.exchange._markets().ccxt.markets[f"{market.asset}/{market.currency}"]
        exchange, supported = trial.exchange, supports(trial.kind)
        results["rate"], _ = trial.attempt(lambda: exchange.rate(*pair))
        results["funds"], _ = trial.attempt(lambda: _nonempty(exchange.funds()))
        price, amount = _price_and_amount(market)
        asked = {
            (side, kind): NewOrder(
                side, *pair, uuid.uuid4().hex, amount=amount, price=price if kind == "limit" else None
            )
            for side, kind in itertools.product(("buy", "sell"), ("limit", "market"))
        }
        placed = {}
        for kind in ("limit", "market"):
            tried = {
                side: trial.attempt(lambda order=asked[side, kind]: trial.place(order)) for side in ("buy", "sell")
            }
            placed |= {(side, kind): state for side, (_, state) in tried.items() if state is not None}
            results[kind] = next((result for result, _ in tried.values() if result.outcome != "yes"), Result("yes"))
        order = asked["buy", "limit"]
        made = placed.get(("buy", "limit"))
        order_id = "1234567890" if made is None else made.exchange_order_id
        trial.about(order, order_id)
        ref = OrderRef(
            *("buy", *pair, order.client_id, order_id),
            created=datetime.now(UTC) - timedelta(seconds=60),
            amount=amount,
            price=price,
        )
        results["order"], _ = trial.attempt(lambda: checked(exchange.order(ref), order))
        results["open orders"], _ = trial.attempt(lambda: _listed(exchange.open_orders_in([pair]), order, order_id))
        results["cancel"], _ = trial.attempt(lambda: exchange.cancel(ref))
        results["find"] = Result("refused", "no look-up by our id")
        if "find" in supported:
            results["find"], _ = trial.attempt(lambda: checked(_nonempty(exchange.find(ref)), order))
        return results, len(trial.answers.by_hand)


@contextmanager
def _no_waiting():
    """Let no time pass while an order's outcome is polled."""
    clock = mock.Mock(now=0.0)

    def sleep(seconds):
        clock.now += seconds

    waiting = {"sleep": sleep}
    with (
        mock.patch.object(polling, "time", mock.Mock(sleep=sleep, monotonic=lambda: clock.now)),
        mock.patch.dict(polling.poll.__kwdefaults__, waiting),
    ):
        yield


def _chosen(markets):
    known = [m for m in markets if m.currency in {"USDT", "USD", "EUR"} and m.asset in {"BTC", "ETH"}]
    return (known or markets)[0]


def _price_and_amount(market):
    """A price of about 100 and an amount that the market's rules allow."""
    price, amount = _D(100), _D("0.01")
    if market.price_step:
        price = max((price / market.price_step).quantize(_D(1)) * market.price_step, market.price_step)
    if market.amount_min:
        amount = max(amount, market.amount_min)
    if market.cost_min:
        amount = max(amount, (market.cost_min / price * _D("1.1")).quantize(_D("0.0001"), rounding=ROUND_CEILING))
    if market.amount_step:
        amount = (amount / market.amount_step).to_integral_value(rounding=ROUND_CEILING) * market.amount_step
    return price, amount.normalize()


def checked(state, order):
    """The state of the order that was asked about; what it does not tell may be missing."""
    for field in ("side", "currency", "asset", "amount", "price"):
        told, asked = getattr(state, field), getattr(order, field)
        assert told is None or asked is None or told == asked, f"{field} is {told} and not {asked}"
    return state


def _nonempty(answer):
    assert answer, "nothing is there"
    return answer


def _listed(states, order, order_id):
    ids = [state.exchange_order_id for state in states]
    assert order_id in ids, f"{order_id} is not among {ids[:3]}"
    return checked(states[ids.index(order_id)], order)


def _says(sent, amount):
    """Whether what was sent has the amount in it, or the number of its smallest units."""
    digits = re.escape(plain(amount))
    units = plain((amount * 10**8).to_integral_value())
    return re.search(rf"(?<![\d.]){digits}(\.?0*)(?!\d)", sent) or units in sent


def _decoded(sent):
    """What stands in a body of base64."""
    try:
        return base64.b64decode(sent.rpartition(" ")[2], validate=True).decode()
    except ValueError:
        return ""


def _credentials(id, kind):
    from ccxt import Exchange
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    keys = {
        "apikey": "key-0123456789abcdef",
        "apisecret": base64.b64encode(bytes(range(32))).decode(),
        "passphrase": "passphrase",
        "uid": "1234",
        "accountId": "1234567",
        "login": "login",
        "twofa": "JBSWY3DPEHPK3PXP",
        "privateKey": f"0x{'11' * 32}",
        "walletAddress": f"0x{'22' * 20}",
        "operatorId": "7",
        "subaccount_id": "30769",
    }
    no_password = forms.NoEncryption()
    if id == "gemini":
        keys["apikey"] = "account-0123456789abcdef"
    elif id == "lbank":
        keys["apisecret"] = "0123456789abcdef0123456789ABCDEF"
    elif id == "pacifica":
        keys["privateKey"] = Exchange.binary_to_base58(bytes(range(1, 65)))
    elif id == "onetrading":
        keys["apisecret"] = ""
    elif id == "coinbase":
        secret = ec.derive_private_key(12345678901234567890, ec.SECP256R1())
        keys["apikey"] = "organizations/11111111-1111-1111-1111-111111111111/apiKeys/2222"
        keys["apisecret"] = secret.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, no_password
        ).decode()
    elif id == "revolutx":
        secret = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        keys["privateKey"] = secret.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, no_password).decode()
    asked = {field.name for field in kind.form}
    more = {name: text for name, text in keys.items() if name in asked - {"apikey", "apisecret"}}
    return Credentials("", keys["apikey"], keys["apisecret"], more)
