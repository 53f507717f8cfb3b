"""Any exchange that the library ccxt knows, as "ccxt:ID"; for those without a file of their own.

ccxt is imported on first use (`pip install 'bitmm[ccxt]'`). Its classes speak the exchanges' protocols; what they do
with numbers and failures is put right here:

- Numbers stay exact: JSON fractions are read as text, ccxt's own number type is text, order books are Decimal. A
  self-test refuses a class that loses a digit.
- Every request goes through our transport: it has a deadline, is sent once, follows no redirect, and is certainly
  unsent or perhaps received.
- ccxt rounds amounts and prices silently; an order that it would change is refused before anything is sent.

Quirks without a date were seen in ccxt 4.5.64 and 4.5.90, in November 2026.
"""

from __future__ import annotations

import decimal
import hashlib
import importlib
import inspect
import io
import json
import logging
import re
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

import requests

from ..money import EXACT, exact, mean, parse_decimal, parse_unsigned, plain, total
from ..transport import Request, Transport
from .base import Credentials, Exchange, ExchangeContext, Field, RateLimit
from .capabilities import OPERATIONS
from .errors import Busy, ExchangeError, Refused, Unknown
from .http import parsing_errors, poll_until_final, retry_after, send, unknown_or_refused
from .models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Side,
    Status,
    Withdrawal,
)
from .rules import check, no_such_market

__all__ = ["exchange_class"]

# --- what is known of single exchanges --------------------------------------------------------------------------------

#: Exchanges whose nonce is a counter that must rise; the others' is their clock, in units of their own.
_COUNTERS = {"kraken", "paymium"}
#: Exchanges where ccxt sends our id with an order, and finds open and closed orders by it.
_FINDS = {"kraken"}
#: Verbs that ccxt's unified call does not really have. Kraken sends to names of its address book only.
_LACKS = {"kraken": {"withdraw"}}
#: Exchanges where ccxt sends a withdrawal's tag as something else. Backpack gets it as the client's id.
_NO_TAGS = {"backpack"}
#: Answers that ccxt calls by a wrong name: (exchange, text in the answer) -> our code.
_MISNAMED = {
    ("backpack", "RESOURCE_NOT_FOUND"): "order_not_found",
    ("kraken", "EAPI:Invalid signature"): "exchange_key_refused",
}

# --- what ccxt calls things -------------------------------------------------------------------------------------------

#: The credentials that ccxt knows; nothing else that a user gives reaches its constructor.
_FIELDS = {
    "apiKey": Field("apikey", "the API key"),
    "secret": Field("apisecret", "the secret of the API key", secret=True),
    "password": Field("password", "the passphrase that was chosen for the API key", secret=True),
    "uid": Field("uid", "the user's id at the exchange"),
    "accountId": Field("accountId", "the account's id at the exchange"),
    "login": Field("login", "the login name"),
    "twofa": Field("twofa", "the seed of the one-time passwords", secret=True),
    "privateKey": Field("privateKey", "the wallet's private key", secret=True),
    "walletAddress": Field("walletAddress", "the wallet's address"),
    "token": Field("token", "the access token", secret=True),
}

#: A verb -> the unified calls that it needs, in ccxt's names; one set must be there.
_CALLS: dict[str, tuple[set[str], ...]] = {
    "rate": ({"fetchTicker"}, {"fetchOrderBook"}),
    "markets": ({"fetchMarkets"},),
    "funds": ({"fetchBalance"},),
    "place": ({"createOrder"},),
    "order": ({"fetchOrder"}, {"fetchOpenOrders", "fetchOrders"}, {"fetchOpenOrders", "fetchClosedOrders"}),
    "find": ({"fetchOpenOrders", "fetchClosedOrders"},),
    "open_orders": ({"fetchOpenOrders"},),
    "cancel": ({"cancelOrder"},),
    "cancel_all": ({"fetchOpenOrders", "cancelAllOrders"}, {"fetchOpenOrders", "cancelOrder"}),
    "fills": ({"fetchMyTrades"},),
    "deposit_address": ({"fetchDepositAddress"},),
    "withdraw": ({"withdraw"},),
    "deposits": ({"fetchDeposits"},),
    "withdrawals": ({"fetchWithdrawals"},),
}

#: Calls without a key.
_UNSIGNED = {"fetch_ticker", "fetch_order_book"}

#: ccxt's error -> our code; the nearest of its ancestors counts. What is not listed stays exchange_refused.
_CODES = {
    "InsufficientFunds": "insufficient_funds",
    "BadSymbol": "unknown_market",
    "PermissionDenied": "permission_denied",
    "AccountSuspended": "permission_denied",
    "AuthenticationError": "exchange_key_refused",
    "OrderNotFound": "order_not_found",
    "InvalidAddress": "invalid_address",
    "ArgumentsRequired": "invalid_request",
    "BadRequest": "invalid_request",
    "NotSupported": "unsupported",
    "InvalidNonce": "invalid_nonce",
    "RateLimitExceeded": "rate_limited",
    "DDoSProtection": "rate_limited",
    "OperationFailed": "exchange_unavailable",
}
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}

_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_OVER = {"canceled", "expired", "rejected"}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {"ok": "done", "failed": "failed", "canceled": "failed"}
_WITHDRAWN: dict[str, Literal["pending", "done", "failed"]] = {**_DEPOSITED, "pending": "pending"}

#: ccxt names the milliseconds between two calls at each exchange (`rateLimit`), and no burst. So many calls may come at
#: once before they are that far apart, so that an order and the reading of its outcome do not wait.
_AT_ONCE = 5

#: ccxt's precisionMode: the number of decimals, or the size of a step. Significant digits (3) are no step.
_DECIMALS, _STEPS = 2, 4

#: Whether a market buy's amount counts the asset (and a price is wanted, to calculate the cost), or is the cost itself.
_AMOUNT_IS_COUNTED = "createMarketBuyOrderRequiresPrice"

#: ccxt calculates in the thread's decimal context, and changes it.
_CONTEXT = decimal.Context(prec=200)

#: ccxt's own logger writes headers with API keys at DEBUG. This one has no parent, and our ccxt objects have no other.
_SILENT = logging.Logger("bitmm.ccxt", logging.CRITICAL)  # noqa: LOG001 - the manager must not know it
_SILENT.addHandler(logging.NullHandler())


def _without_query(record: logging.LogRecord) -> bool:
    """A filter: some exchanges are sent key and signature in the query, and urllib3 writes paths with it at DEBUG."""
    if isinstance(record.args, tuple):
        record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_query)


# --- the classes ------------------------------------------------------------------------------------------------------


@cache
def exchange_class(id: str) -> type[Exchange]:
    """The class of the exchange `id`, as "ccxt:kraken", with the verbs that ccxt has for it.

    Raises KeyError for an id that ccxt does not know, and Refused: `unsupported` when ccxt is not installed, `inexact`
    when this class of ccxt loses digits.
    """
    prefix, _, name = id.partition(":")
    if prefix != "ccxt":
        raise KeyError(id)
    library = _library()
    if name not in library.exchanges:
        raise KeyError(id)
    kind = type(name, (getattr(library, name),), dict(_EXACT))
    sample = kind({"session": _Line(name, None), "logger": _SILENT})
    _self_test(library, sample)
    has = {call for call, there in sample.has.items() if there}
    if not _buys_for_a_cost(library, sample):
        has -= {"createMarketBuyOrderWithCost"}
    there = {verb for verb, needs in _CALLS.items() if any(need <= has for need in needs)} - _LACKS.get(name, set())
    if name not in _FINDS:
        there -= {"find"}
    facts = {
        "id": id,
        "name": f"{sample.name} (ccxt)",
        "description": f"{sample.name}, spot markets, through the library ccxt",
        "form": tuple(field for named, field in _FIELDS.items() if sample.requiredCredentials.get(named)),
        "order_lookup": "all" if "find" in there else "none",
        "ordered": name in _COUNTERS,
        "per_address": RateLimit(_AT_ONCE, 1000 / sample.rateLimit),
        "kind": kind,
        "has": frozenset(has),
    }
    # What is missing is put back to the verb that says so.
    lacking = {verb: getattr(Exchange, verb) for verb in OPERATIONS if verb not in there}
    return type(f"Ccxt_{name}", (_Ccxt,), {"__doc__": facts["description"], **facts, **lacking})


def _buys_for_a_cost(library: Any, sample: Any) -> bool:
    """Whether the call is real. The inherited one passes the cost as the amount, at a price of 1, which is an order for
    so many units of the asset unless this class takes amount times price for the cost (seen: not Backpack's).
    """
    inherited = type(sample).create_market_buy_order_with_cost is library.Exchange.create_market_buy_order_with_cost
    return not inherited or sample.options.get(_AMOUNT_IS_COUNTED) is True


def _library() -> Any:
    try:
        return importlib.import_module("ccxt")
    except ImportError:
        raise Refused(
            "exchanges with ccxt: need the library ccxt; pip install 'bitmm[ccxt]' on the server", code="unsupported"
        ) from None


def _read_json(text: str) -> Any:
    """JSON with its fractions as text: ccxt 4.5.90, and 4.5.64 beside orjson, would read floats."""
    return json.loads(text, parse_float=str)


def _read_level(self: Any, level: Any, price: Any = 0, amount: Any = 1, _count: Any = 2) -> list[Decimal]:
    """A level of an order book: ccxt makes floats, and sorts the levels, which would be wrong for text."""
    return [parse_decimal(self.safe_string(level, key)) for key in (price, amount)]


#: What our subclass of a class of ccxt has instead of its own. Decimal as number type loses the fees (4.5.90).
_EXACT = {
    "number": str,
    "on_json_response": staticmethod(_read_json),
    "parse_order_book_bid_ask": _read_level,
}

_DIGITS = ("0.12345678901234567890", "12345678901234567.123456789", "9007199254740993", "0.00000001")


def _self_test(library: Any, sample: Any) -> None:
    """Refuse a class that loses a digit of a JSON text or a JSON number on the way through ccxt's own functions."""
    rows = sample.parse_json(f'{{"texts": [{", ".join(map(json.dumps, _DIGITS))}], "numbers": [{", ".join(_DIGITS)}]}}')
    want = [Decimal(digits) for digits in _DIGITS]
    for told in rows["texts"], rows["numbers"]:
        texts = [sample.safe_string(told, place) for place in range(len(want))]
        first, last, whole, small = texts
        ticker = sample.safe_ticker({"bid": first, "ask": last, "last": whole, "info": {}})
        funds = sample.safe_balance({"info": {}, "BTC": {"free": first, "used": last}})["BTC"]
        fee = sample.safe_trade({"fee": {"cost": small, "currency": "BTC"}, "amount": first, "price": last, "info": {}})
        book = library.Exchange.parse_order_book(sample, {"bids": [[told[0], "1"], [told[1], "1"]], "asks": []}, "A/B")
        got = [
            ([sample.safe_number(told, place) for place in range(len(want))], want),
            ([ticker["bid"], ticker["ask"]], want[:2]),
            ([funds["free"], funds["used"], funds["total"]], [*want[:2], total(want[:2])]),
            ([fee["fee"]["cost"], fee["amount"], fee["price"]], [want[3], *want[:2]]),
            ([level[0] for level in book["bids"]], [want[1], want[0]]),
        ]
        for values, wanted in got:
            # A float that happens to be exact is still a float.
            if any(not isinstance(value, (str, Decimal)) for value in values) or list(map(Decimal, values)) != wanted:
                raise Refused(f"ccxt's class {sample.id} loses digits and is not used", code="inexact")


# --- one ccxt object for each registration ----------------------------------------------------------------------------


class _Line:
    """What a ccxt object has in the place of a requests.Session: our transport, and a record of what went out.

    ccxt uses `headers`, `cookies`, `request` and `close` of a session. `base`: the address that requests must go to.
    """

    def __init__(self, name: str, base: str | None) -> None:
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}
        self.name = name
        self._base = None if base is None else str(requests.Request("GET", base).prepare().url).rstrip("/")
        self.begin(None)

    def begin(self, transport: Transport | None, *, mutates: bool = False, carries: str | None = None) -> None:
        """A new call. `carries`: text that no request but a GET may leave without."""
        self._transport = transport
        self._mutates = mutates
        self._carries = carries
        self._methods: list[str] = []
        self.status = 0
        self.retry_after = 0.0
        #: What was sent, to be kept out of the words of errors.
        self.sent = ""

    @property
    def used(self) -> bool:
        """Whether a request went out in this call."""
        return bool(self._methods)

    @property
    def sure(self) -> bool:
        """Whether the last request is the only one of this call that may have moved something."""
        before = self._methods[:-1]
        return not before or (set(before) == {"GET"} and self._methods[-1] != "GET")

    def request(self, method: str, url: str, **given: Any) -> requests.Response:
        """Send one request, as `requests.Session.request` would; a redirect is a failure."""
        content = {name: given.get(name) for name in ("data", "headers", "files")}
        made = requests.Request(method, url, **content).prepare()
        body = made.body.encode() if isinstance(made.body, str) else made.body
        sent = " ".join([str(made.url), *map(str, made.headers.values()), (body or b"").decode(errors="replace")])
        if self._base is not None and not f"{made.url}/".startswith(f"{self._base}/"):
            raise Refused(f"{self.name}: ccxt knows an address that is not the administrator's", code="unsupported")
        if self._carries and method != "GET" and self._carries not in unquote_plus(sent):
            raise Refused(f"{self.name}: ccxt would send it without the tag", code="unsupported")
        if self._transport is None:
            raise Refused(f"{self.name}: no request belongs here", code="unsupported")
        self._methods.append(method)
        self.sent += sent
        self.status = 0
        request = Request(method, str(made.url), dict(made.headers), body)
        answer = send(self._transport, request, self.name, mutates=self._mutates)
        if 300 <= answer.status < 400:
            words = f"{self.name} sent the call elsewhere, and redirects are never followed"
            raise unknown_or_refused(words, mutates=self._mutates)
        self.status = answer.status
        self.retry_after = retry_after(answer, seconds=1.0)
        response = requests.Response()
        response.status_code, response.reason, response.url = answer.status, "", str(made.url)
        response.headers.update(answer.headers)
        response.raw = io.BytesIO(answer.body)
        return response

    def close(self) -> None:
        """The connections are the transport's."""


class _Listing(NamedTuple):
    """The markets of an exchange at an address: a ccxt object without keys that has loaded them, and the spot ones."""

    ccxt: Any
    markets: Mapping[tuple[str, str], Market]


class _Seat:
    """One ccxt object with its keys; it is not thread-safe, so one call at a time."""

    def __init__(self, exchange: type[_Ccxt], url: str | None, credentials: Credentials) -> None:
        self._exchange = exchange
        self._lock = threading.Lock()
        self._listing: _Listing | None = None
        self._nonce: Callable[[], int] = _microseconds
        self._last = 0
        keys = {"apiKey": credentials.apikey, "secret": credentials.apisecret, **credentials.more}
        given = {named: keys[named] for named in _FIELDS if keys.get(named)}
        self._secrets = [value for named, value in given.items() if len(value) > 3]
        base = None if url is None else url.rstrip("/")
        self._line = _Line(exchange.name, base)
        self.ccxt = exchange.kind(
            {
                **given,
                "session": self._line,
                "logger": _SILENT,
                # It would sleep while it holds the lock, and counts by object; the lanes count (`per_address`).
                "enableRateLimit": False,
                # Some classes warn, by raising, that asking for the open orders of all markets costs more.
                "options": {"warnOnFetchOpenOrdersWithoutSymbol": False},
            }
        )
        for options in (self.ccxt.options, self.ccxt.options.get("createOrder")):
            if isinstance(options, dict) and options.get(_AMOUNT_IS_COUNTED) is False:
                # Our amounts always count the asset (for Bybit's accounts of the old kind they would be the cost).
                options[_AMOUNT_IS_COUNTED] = True
        if base is not None:
            self.ccxt.urls = {**self.ccxt.urls, "api": _moved(self.ccxt.urls["api"], base)}
        if self.ccxt.id in _COUNTERS:
            self.ccxt.nonce = self._rising

    def ask(
        self,
        context: ExchangeContext,
        listing: _Listing | None,
        method: str,
        *arguments: Any,
        mutates: bool = False,
        carries: str | None = None,
        **named: Any,
    ) -> Any:
        """What the unified call `method` of ccxt returns. Raises Refused, Busy or Unknown, and nothing else."""
        with self._lock, decimal.localcontext(_CONTEXT):
            self._line.begin(context.transport, mutates=mutates, carries=carries)
            self._nonce = context.nonce or _microseconds
            try:
                if listing is not None and listing is not self._listing:
                    self.ccxt.set_markets_from_exchange(listing.ccxt)
                    self._listing = listing
                return getattr(self.ccxt, method)(*arguments, **named)
            except Exception as error:  # not all that ccxt raises is its own: ValueError, TypeError, KeyError ...
                failure = self._failure(error, mutates=mutates)
            finally:
                self._line.sent = ""
        # Outside, and not from `error`: its text and its frames hold addresses, headers and keys.
        raise failure

    def _rising(self) -> int:
        self._last = max(self._last + 1, self._nonce())
        return self._last

    def _failure(self, error: Exception, *, mutates: bool) -> ExchangeError:
        line, name = self._line, self._exchange.name
        unsure = mutates and line.used
        if isinstance(error, ExchangeError):  # ours, raised on the line
            return Unknown(f"{error}; something was sent before") if unsure and not line.sure else error
        words = f"{name}: {self._scrubbed(str(error))}"[:400]
        code = self._code(error)
        if not line.used:
            unclear = code in (None, "exchange_refused", "exchange_unavailable")
            return Refused(f"{words} (nothing was sent)", code="invalid_request" if unclear else str(code))
        if unsure and not (line.sure and _is_refusal(error, code, line.status)):
            return unknown_or_refused(words, mutates=True)
        if code == "rate_limited":
            return Busy(words, retry_after=line.retry_after)
        if code is None:
            return unknown_or_refused(f"{name}'s answer cannot be understood ({type(error).__name__})", mutates=False)
        return Refused(words, code=code, retryable=code in _RETRYABLE)

    def _code(self, error: Exception) -> str | None:
        """Our code for an error; None for one that is not ccxt's."""
        for (id, text), code in _MISNAMED.items():
            if id == self.ccxt.id and text in str(error):
                return code
        ancestors = [kind.__name__ for kind in type(error).__mro__]
        if "BaseError" not in ancestors:
            return None
        return next((_CODES[kind] for kind in ancestors if kind in _CODES), "exchange_refused")

    def _scrubbed(self, text: str) -> str:
        """The words of ccxt or of the exchange without addresses, keys, and anything long that we had sent."""
        sent, text = unquote(self._line.sent), _ADDRESS.sub("", unquote(text.replace("\\/", "/")))
        for secret in self._secrets:
            text = text.replace(secret, "…")
        text = _TOKEN.sub(lambda token: "…" if token[0].strip("=") in sent else token[0], text)
        return " ".join(text.removeprefix(self.ccxt.id).split())[:300]


_ADDRESS = re.compile(r"https?://\S+")
_TOKEN = re.compile(r"[\w+/.~-]{12,}=*")


def _is_refusal(error: Exception, code: str | None, status: int) -> bool:
    """Whether an answer certainly says that nothing was executed.

    That is a client error of HTTP, or an error that ccxt's class read in the answer (in its `handle_errors`): not an
    error of the server, and not one that came up while a good answer was read.
    """
    if 400 <= status < 500 and status != 408:
        return True
    if code is None or status >= 500 or not _was_told(error):
        return False
    return code != "exchange_unavailable"


def _was_told(error: BaseException | None) -> bool:
    """Whether it, or the error that it replaces (Kraken's cancel_order), was raised by a `handle_errors`."""
    if error is None:
        return False
    frames = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
    return "handle_errors" in frames or _was_told(error.__context__)


def _microseconds() -> int:
    return time.time_ns() // 1000


def _moved(urls: Any, base: str) -> Any:
    """ccxt's addresses with another origin; their paths are a part of the protocol."""
    if isinstance(urls, Mapping):
        return {name: _moved(url, base) for name, url in urls.items()}
    if isinstance(urls, list):
        return [_moved(url, base) for url in urls]
    return base + urlsplit(urls).path if isinstance(urls, str) else urls


#: Seconds for which the markets are not read again.
_LISTED = 3600.0

_SEATS: OrderedDict[tuple[object, ...], _Seat] = OrderedDict()
_SEATS_LOCK = threading.Lock()
_MOST_SEATS = 1000


def _seat(exchange: type[_Ccxt], context: ExchangeContext) -> _Seat:
    """The ccxt object of this registration with these keys."""
    keys = context.credentials
    texts = [keys.username, keys.apikey, keys.apisecret, *sorted(f"{name}={text}" for name, text in keys.more.items())]
    digest = hashlib.sha256(json.dumps(texts).encode()).digest()
    key = (exchange.id, context.url, context.registration, digest)
    with _SEATS_LOCK:
        seat = _SEATS.get(key)
        if seat is None:
            seat = _SEATS[key] = _Seat(exchange, context.url, keys)
        _SEATS.move_to_end(key)
        while len(_SEATS) > _MOST_SEATS:
            _SEATS.popitem(last=False)
        return seat


# --- the verbs --------------------------------------------------------------------------------------------------------


class _Ccxt(Exchange):
    """Our verbs in ccxt's unified calls; `exchange_class` takes away those that an exchange lacks.

    Where an exchange tells no cost, `spent` is ccxt's product of amount and mean price, unless the fills tell it.
    """

    kind: ClassVar[Any]
    has: ClassVar[frozenset[str]]

    def __init__(self, context: ExchangeContext) -> None:
        """Raises Refused when a credential that the exchange needs is missing."""
        super().__init__(context)
        keys = context.credentials
        given = {"apikey": keys.apikey, "apisecret": keys.apisecret, **keys.more}
        missing = [field.name for field in self.form if not given.get(field.name)]
        if keys != Credentials() and missing:
            raise Refused(f"{self.name} needs {', '.join(missing)}", code="exchange_key_refused")
        self._seat = _seat(type(self), context)

    def rate(self, currency: str, asset: str) -> Rate:
        symbol = self._symbol(currency, asset)
        row = self._ask("fetch_ticker", symbol) if "fetchTicker" in self.has else {}
        with parsing_errors(self.name):
            buy, sell = row.get("ask"), row.get("bid")
        if (buy is None or sell is None) and "fetchOrderBook" in self.has:
            row = self._ask("fetch_order_book", symbol)
            with parsing_errors(self.name):
                buy, sell = row["asks"][0][0], row["bids"][0][0]
        with parsing_errors(self.name):
            rate = Rate(parse_decimal(buy), parse_decimal(sell), _moment(row.get("timestamp")) or datetime.now(UTC))
            if not rate.buy >= rate.sell > 0:
                raise ValueError(f"ask {buy}, bid {sell}")
            return rate

    def markets(self) -> list[Market]:
        return list(self._listing().markets.values())

    def funds(self) -> dict[str, Funds]:
        rows = self._ask("fetch_balance")
        with parsing_errors(self.name):
            return {
                name: Funds(
                    total=_told(rows["total"][name]),
                    available=_told(rows["free"].get(name)),
                    held=_told(rows["used"].get(name)),
                )
                for name in rows["total"]
            }

    def place(self, order: NewOrder) -> OrderState:
        symbol = self._symbol(order.currency, order.asset)
        self._refuse_rounding(order, symbol)
        extra = {"clientOrderId": order.client_id} if type(self).order_lookup != "none" else {}
        if order.cost is not None:
            call: tuple[Any, ...] = ("create_market_buy_order_with_cost", symbol, plain(order.cost), extra)
            needs = "createMarketBuyOrderWithCost"
        else:
            kind, price = ("market", None) if order.price is None else ("limit", plain(order.price))
            call = ("create_order", symbol, kind, order.side, plain(order.amount or 0), price, extra)
            needs = "createMarketOrder" if price is None else "createLimitOrder"
        if needs not in self.has:
            raise Refused(f"{self.name} takes no such order", code="unsupported")
        row = self._ask(*call, mutates=True)
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, amount=order.amount, price=order.price)
        with parsing_errors(self.name, mutates=True):
            ref = replace(ref, exchange_order_id=_text(row["id"]))
            placed = self._state(row, ref)
        if order.price is None and placed.status == "open" and type(self).order is not Exchange.order:
            placed = poll_until_final(placed, lambda: self._read(ref))
        return self._with_fills(placed, patient=True)

    def order(self, ref: OrderRef) -> OrderState:
        return self._with_fills(self._read(ref))

    def find(self, ref: OrderRef) -> OrderState | None:
        """Open orders are asked first: an order that is filled between the two questions is seen by the second."""
        asked = {"clientOrderId": ref.client_id}
        for method in ("fetch_open_orders", "fetch_closed_orders"):
            rows = self._ask(method, params=asked)
            with parsing_errors(self.name):
                if any(row["clientOrderId"] != ref.client_id for row in rows):
                    raise ValueError("orders with other ids than the one asked for")
                if rows:
                    return self._state(rows[0], ref)
        return None

    def open_orders(self) -> list[OrderState]:
        rows = self._ask("fetch_open_orders")
        with parsing_errors(self.name):
            return [self._state(row) for row in rows if _is_spot(row["symbol"])]

    def cancel(self, ref: OrderRef) -> None:
        if ref.exchange_order_id is None:
            found = self.find(ref)
            if found is None:
                raise Refused(f"{self.name} knows no such order", code="order_not_open")
            ref = replace(ref, exchange_order_id=found.exchange_order_id)
        try:
            self._ask("cancel_order", ref.exchange_order_id, self._symbol(ref.currency, ref.asset), mutates=True)
        except Refused as refusal:
            if refusal.code == "order_not_found":
                raise Refused(refusal.words, code="order_not_open") from None
            raise

    def cancel_all(self) -> int:
        """Counted are the orders that are open before and not after, for ccxt's answers differ."""
        before = {state.exchange_order_id: state for state in self.open_orders()}
        began = False
        try:
            for step in self._cancellations(before.values()):
                step()
                began = True
            left = {state.exchange_order_id for state in self.open_orders()} if before else set()
        except Refused as refusal:
            if not began:
                raise
            raise Unknown(f"some orders were canceled, then: {refusal}") from None
        return len(before.keys() - left)

    def fills(self, currency: str, asset: str) -> list[Fill]:
        symbol = self._symbol(currency, asset)
        rows = self._ask("fetch_my_trades", symbol)
        with parsing_errors(self.name):
            fills = [_fill(row, symbol) for row in rows if row["symbol"] == symbol]
        return sorted(fills, key=lambda fill: fill.time, reverse=True)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        chosen = self._network(asset, network, "deposit")
        row = self._ask("fetch_deposit_address", asset, {"network": chosen} if chosen else {})
        with parsing_errors(self.name):
            if row.get("currency") not in (None, asset):
                raise ValueError("another asset")
            return DepositAddress(asset, _text(row["address"]), row.get("tag") or None, row.get("network") or chosen)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        chosen = self._network(withdrawal.asset, withdrawal.network, "withdraw")
        params = {"network": chosen} if chosen else {}
        tag: dict[str, str] = {}
        if withdrawal.tag is not None:
            if self._seat.ccxt.id in _NO_TAGS:
                raise Refused(f"{self.name} takes no tag with a withdrawal", code="invalid_request")
            # A parameter of its own up to ccxt 4.5.64, one of `params` in 4.5.90.
            own = "tag" in inspect.signature(self._seat.ccxt.withdraw).parameters
            (tag if own else params)["tag"] = withdrawal.tag
        row = self._ask(
            "withdraw",
            code=withdrawal.asset,
            amount=self._exact_withdrawal(withdrawal),
            address=withdrawal.address,
            params=params,
            mutates=True,
            carries=withdrawal.tag,
            **tag,
        )
        with parsing_errors(self.name, mutates=True):
            made = _withdrawal(row)
            # Some tell what leaves, some what arrives.
            net = EXACT.subtract(withdrawal.amount, made.fee or Decimal(0))
            if (
                made.asset != withdrawal.asset
                or made.address not in (None, withdrawal.address)
                or made.amount not in (None, withdrawal.amount, net)
            ):
                raise ValueError("another withdrawal")
            return replace(
                made,
                amount=withdrawal.amount,
                address=withdrawal.address,
                tag=withdrawal.tag,
                network=made.network or chosen,
            )

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows = self._ask("fetch_deposits", asset)
        with parsing_errors(self.name):
            made = [_deposit(row) for row in rows if asset in (None, row["currency"])]
        return sorted(made, key=lambda row: row.time or _EPOCH, reverse=True)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self._ask("fetch_withdrawals", asset)
        with parsing_errors(self.name):
            made = [_withdrawal(row) for row in rows if asset in (None, row["currency"])]
        return sorted(made, key=lambda row: row.created or _EPOCH, reverse=True)

    # --- what the verbs share ---

    def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A unified call, with all its requests under one throttle: its nonces and times are made in it."""
        listing = self._listing()
        with self.context.throttle(method, signed=method not in _UNSIGNED):
            return self._seat.ask(self.context, listing, method, *arguments, **named)

    def _kept(self, field: str, *of: str) -> str:
        """What ccxt would make of a number; nothing is asked for this."""
        text: str = self._seat.ask(self.context, self._listing(), f"{field}_to_precision", *of)
        return text

    def _listing(self) -> _Listing:
        def fetch() -> _Listing:
            seat = _Seat(type(self), self.context.url, Credentials())
            with self.context.throttle("load_markets", signed=False):
                seat.ask(ExchangeContext(self.context.transport), None, "load_markets")
            with parsing_errors(self.name):
                return _Listing(seat.ccxt, _spot_markets(seat.ccxt))

        listing: _Listing = self.context.cache.get_or_fetch("markets", fetch, seconds=_LISTED)
        return listing

    def _symbol(self, currency: str, asset: str) -> str:
        markets = self._listing().markets
        if (currency, asset) not in markets:
            raise no_such_market(self.name, currency, asset, markets)
        return f"{asset}/{currency}"

    def _refuse_rounding(self, order: NewOrder, symbol: str) -> None:
        """By the market's rules, and by what ccxt itself would make of the numbers."""
        listing = self._listing()
        check(order, listing.markets[order.currency, order.asset])
        precision = listing.ccxt.markets[symbol]["precision"]
        for field, value in (("amount", order.amount), ("price", order.price), ("cost", order.cost)):
            step = precision.get(field) or (precision.get("price") if field == "cost" else None)
            if value is not None and step is not None:
                self._refuse_change(field, value, self._kept(field, symbol, plain(value)))

    def _refuse_change(self, field: str, value: Decimal, kept: str) -> None:
        if exact(kept) != value:
            raise Refused(
                f"{self.name} would make {kept} of the {field} {plain(value)}",
                code=f"{field}_step",
                details={"field": field, "value": plain(value), "rule": f"{field}_step", "nearest": kept},
            )

    def _exact_withdrawal(self, withdrawal: NewWithdrawal) -> str:
        amount = plain(withdrawal.amount)
        if (self._listing().ccxt.currencies.get(withdrawal.asset) or {}).get("precision") is not None:
            self._refuse_change("amount", withdrawal.amount, self._kept("currency", withdrawal.asset, amount))
        return amount

    def _network(self, asset: str, network: str | None, switch: Literal["deposit", "withdraw"]) -> str | None:
        """ccxt's name of the network; None where it lists none. A chain that it would choose by itself is not taken."""
        currency = self._listing().ccxt.currencies.get(asset)
        if currency is None:
            raise Refused(f"{self.name} does not list {asset}", code="unknown_asset")
        rows = currency.get("networks") or {}
        offered = {name: row for name, row in rows.items() if False not in (row.get(switch), row.get("active"))}
        if network is None and not rows:
            return None
        wanted: list[str] = [
            name
            for name, row in offered.items()
            if network is None or network.casefold() in (name.casefold(), str(row.get("id")).casefold())
        ]
        if len(wanted) != 1:
            words = ", ".join(offered) or "ccxt lists none there"
            raise Refused(f"name the network for {asset}: {words}"[:300], code="network_required")
        return wanted[0]

    def _read(self, ref: OrderRef) -> OrderState:
        """An order by its id; where no single order can be asked for, among the open ones and in the history."""
        id, symbol = ref.exchange_order_id, self._symbol(ref.currency, ref.asset)
        if "fetchOrder" in self.has:
            rows = [self._ask("fetch_order", id, symbol)]
        else:
            history = "fetch_orders" if "fetchOrders" in self.has else "fetch_closed_orders"
            rows = [row for method in ("fetch_open_orders", history) for row in self._ask(method, symbol)]
        with parsing_errors(self.name):
            for row in rows:
                if row["id"] == id:
                    return self._state(row, ref)
        raise Refused(f"{self.name} knows no order {id}", code="order_not_found")

    def _state(self, row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
        """An order of ccxt. Raises ValueError when it contradicts `ref`."""
        currency, asset = _pair(row.get("symbol"))
        limit = row.get("type") == "limit" or (ref is not None and ref.price is not None)
        filled, spent = _told(row.get("filled")), _told(row.get("cost"))
        # A market buy for a cost has no amount, and some classes then tell the cost as one.
        amount = None if ref is not None and ref.amount is None else _told(row.get("amount"))
        client_id = row.get("clientOrderId") if type(self).order_lookup != "none" else None
        state = OrderState(
            exchange_order_id=_text(row["id"]),
            status=_status(row.get("status"), amount, filled),
            side=None if row.get("side") is None else _SIDES[row["side"]],
            currency=currency,
            asset=asset,
            amount=amount,
            price=_told(row.get("price")) if limit else None,
            filled=filled,
            average=mean(spent, filled) if spent and filled else None,
            spent=spent,
            client_id=client_id or None,
            created=_moment(row.get("timestamp")),
        )
        state = replace(state, **(_fee(row) or {}))
        if ref is not None:
            told = (state.exchange_order_id, state.side, currency, asset, amount, state.price)
            known = (ref.exchange_order_id, ref.side, ref.currency, ref.asset, ref.amount, ref.price)
            if any(None not in (one, other) and one != other for one, other in zip(told, known, strict=True)):
                raise ValueError("another order than the one asked for")
        return state

    def _with_fills(self, state: OrderState, *, patient: bool = False) -> OrderState:
        """The order with what its fills tell, when all of them can be read; `patient`: wait for them for a moment."""
        if not state.filled or type(self).fills is Exchange.fills or state.asset is None or state.currency is None:
            return state
        symbol = f"{state.asset}/{state.currency}"
        for pause in (0.0, 0.2, 0.4, 0.8) if patient and state.fee is None else (0.0,):
            time.sleep(pause)
            try:
                rows = self._ask("fetch_my_trades", symbol)
                with parsing_errors(self.name):
                    rows = [row for row in rows if row["order"] == state.exchange_order_id]
                    if total(parse_decimal(row["amount"]) for row in rows) == state.filled:
                        spent = total(parse_decimal(row["cost"]) for row in rows)
                        state = replace(state, spent=spent, average=mean(spent, state.filled))
                        fees = [fee for row in rows for fee in row.get("fees") or [row.get("fee")]]
                        return replace(state, **(_fee({"fees": fees}) or {}))
            except Refused:
                return state
        return state

    def _cancellations(self, states: Iterable[OrderState]) -> list[Callable[[], object]]:
        """The steps that cancel all these orders: one a market where there is such a call, or else one an order."""
        pairs = {(state.currency, state.asset) for state in states}
        if "cancelAllOrders" in self.has:
            symbols = sorted(f"{asset}/{currency}" for currency, asset in pairs)
            return [partial(self._ask, "cancel_all_orders", symbol, mutates=True) for symbol in symbols]
        return [partial(self._cancel_if_open, state) for state in states]

    def _cancel_if_open(self, state: OrderState) -> None:
        symbol = f"{state.asset}/{state.currency}"
        try:
            self._ask("cancel_order", state.exchange_order_id, symbol, mutates=True)
        except Refused as refusal:
            if refusal.code != "order_not_found":
                raise


# --- reading what ccxt tells ------------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _spot_markets(ccxt: Any) -> dict[tuple[str, str], Market]:
    """(currency, asset) -> market, of the spot markets that take orders."""
    markets = {}
    for symbol, row in ccxt.markets.items():
        if row["spot"] and row["active"] is not False and symbol == f"{row['base']}/{row['quote']}":
            markets[row["quote"], row["base"]] = Market(
                currency=row["quote"],
                asset=row["base"],
                price_step=_step(row["precision"].get("price"), ccxt.precisionMode),
                amount_step=_step(row["precision"].get("amount"), ccxt.precisionMode),
                amount_min=_told(row["limits"]["amount"].get("min")),
                cost_min=_told(row["limits"]["cost"].get("min")),
            )
    return markets


def _step(precision: object, mode: int) -> Decimal | None:
    if precision is None or mode not in (_DECIMALS, _STEPS):
        return None
    value = parse_decimal(str(precision))
    return Decimal(1).scaleb(-int(value)) if mode == _DECIMALS else value or None


def _told(value: object) -> Decimal | None:
    return None if value is None else parse_unsigned(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("no text")
    return value


def _moment(milliseconds: object) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=int(parse_decimal(milliseconds)))


def _is_spot(symbol: object) -> bool:
    return isinstance(symbol, str) and ":" not in symbol


def _pair(symbol: object) -> tuple[str | None, str | None]:
    """Currency and asset of a spot symbol ("BTC/EUR"); futures ("BTC/EUR:EUR") are not ours to name."""
    if not isinstance(symbol, str) or not _is_spot(symbol):
        return None, None
    asset, _, currency = symbol.partition("/")
    return currency or None, asset or None


def _status(word: object, amount: Decimal | None, filled: Decimal | None) -> Status:
    """ccxt's "closed" says that an order is over. An order that was accepted without a word is open."""
    if word in (None, "open", "canceling"):
        return "open"
    if word == "closed":
        if amount is None or filled is None or filled >= amount:
            return "filled"
        return "partly_filled" if filled else "canceled"
    if word in _OVER:
        return "partly_filled" if filled else "rejected" if word == "rejected" else "canceled"
    return "unknown"


def _fee(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields `fee` and `fee_currency`; None when the fees are not told, or not in one currency."""
    rows = row.get("fees") or [row.get("fee")]
    names = {fee.get("currency") if fee and fee.get("cost") is not None else None for fee in rows}
    if len(names) != 1 or None in names:
        return None
    return {"fee": total(parse_decimal(fee["cost"]) for fee in rows), "fee_currency": names.pop()}


def _fill(row: Mapping[str, Any], symbol: str) -> Fill:
    asset, _, currency = symbol.partition("/")
    amount, price, time = _told(row["amount"]), _told(row["price"]), _moment(row["timestamp"])
    if amount is None or price is None or time is None:
        raise ValueError("a fill without amount, price or time")
    return Fill(
        id=_text(row["id"]),
        exchange_order_id=row.get("order"),
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=amount,
        price=price,
        time=time,
        **(_fee(row) or {"fee": None, "fee_currency": None}),
    )


def _transfer(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _text(row.get("id") or row.get("txid")),
        "asset": _text(row["currency"]),
        "amount": _told(row.get("amount")),
        "address": row.get("address") or row.get("addressTo") or None,
        "tag": row.get("tag") or row.get("tagTo") or None,
        "network": row.get("network") or None,
        "txid": row.get("txid") or None,
    }


def _deposit(row: Mapping[str, Any]) -> Deposit:
    facts = _transfer(row)
    if facts["amount"] is None:
        raise ValueError("a deposit without an amount")
    return Deposit(**facts, status=_DEPOSITED.get(row.get("status", ""), "pending"), time=_moment(row.get("timestamp")))


def _withdrawal(row: Mapping[str, Any]) -> Withdrawal:
    return Withdrawal(
        **_transfer(row),
        status=_WITHDRAWN.get(row.get("status", ""), "unknown"),
        fee=(_fee(row) or {}).get("fee"),
        created=_moment(row.get("timestamp")),
    )
