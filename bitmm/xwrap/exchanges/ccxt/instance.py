"""One ccxt object for each registration, and what becomes of its failures."""

from __future__ import annotations

import decimal
import hashlib
import json
import logging
import re
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..base import Credentials, ExchangeContext, Field
from ..errors import Busy, ExchangeError, Refused, Unknown
from ..http import unknown_or_refused
from ..models import Market
from .session import SessionAdapter

#: Exchanges whose nonce is a counter that must rise; the others' is their clock, in units of their own.
NONCE_COUNTERS = {"kraken", "paymium"}
#: Answers that ccxt calls by a wrong name: (exchange, text in the answer) -> our code.
_MISNAMED = {
    ("backpack", "RESOURCE_NOT_FOUND"): "order_not_found",
    ("kraken", "EAPI:Invalid signature"): "exchange_key_refused",
}

#: The credentials that ccxt knows; nothing else that a user gives reaches its constructor.
CREDENTIAL_FIELDS = {
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

#: Whether a market buy's amount counts the asset (and a price is wanted, to calculate the cost), or is the cost itself.
AMOUNT_IS_COUNTED = "createMarketBuyOrderRequiresPrice"

#: ccxt calculates in the thread's decimal context, and changes it.
_DECIMAL_CONTEXT = decimal.Context(prec=200)

#: ccxt's own logger writes headers with API keys at DEBUG. This one has no parent, and our ccxt objects have no other.
SILENT_LOGGER = logging.Logger("bitmm.ccxt", logging.CRITICAL)  # noqa: LOG001 - the manager must not know it
SILENT_LOGGER.addHandler(logging.NullHandler())


class Markets(NamedTuple):
    """The markets of an exchange at an address: a ccxt object without keys that has loaded them, and the spot ones."""

    ccxt: Any
    markets: Mapping[tuple[str, str], Market]


class Instance:
    """One ccxt object with its keys; it is not thread-safe, so one call at a time."""

    def __init__(self, kind: Any, name: str, url: str | None, credentials: Credentials) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._markets: Markets | None = None
        self._nonce: Callable[[], int] = _microseconds
        self._last = 0
        keys = {"apiKey": credentials.apikey, "secret": credentials.apisecret, **credentials.more}
        given = {named: keys[named] for named in CREDENTIAL_FIELDS if keys.get(named)}
        self._secrets = [value for named, value in given.items() if len(value) > 3]
        base = None if url is None else url.rstrip("/")
        self._session = SessionAdapter(name, base)
        self.ccxt = kind(
            {
                **given,
                "session": self._session,
                "logger": SILENT_LOGGER,
                # It would sleep while it holds the lock, and counts by object; the lanes count (`per_address`).
                "enableRateLimit": False,
                # Some classes warn, by raising, that asking for the open orders of all markets costs more.
                "options": {"warnOnFetchOpenOrdersWithoutSymbol": False},
            }
        )
        for options in (self.ccxt.options, self.ccxt.options.get("createOrder")):
            if isinstance(options, dict) and options.get(AMOUNT_IS_COUNTED) is False:
                # Our amounts always count the asset (for Bybit's accounts of the old kind they would be the cost).
                options[AMOUNT_IS_COUNTED] = True
        if base is not None:
            self.ccxt.urls = {**self.ccxt.urls, "api": _rebased_urls(self.ccxt.urls["api"], base)}
        if self.ccxt.id in NONCE_COUNTERS:
            self.ccxt.nonce = self._rising

    def call(
        self,
        context: ExchangeContext,
        markets: Markets | None,
        method: str,
        *arguments: Any,
        mutates: bool = False,
        must_contain: str | None = None,
        **named: Any,
    ) -> Any:
        """What the unified call `method` of ccxt returns. Raises Refused, Busy or Unknown, and nothing else."""
        with self._lock, decimal.localcontext(_DECIMAL_CONTEXT):
            self._session.start_call(context.transport, mutates=mutates, must_contain=must_contain)
            self._nonce = context.nonce or _microseconds
            try:
                if markets is not None and markets is not self._markets:
                    self.ccxt.set_markets_from_exchange(markets.ccxt)
                    self._markets = markets
                return getattr(self.ccxt, method)(*arguments, **named)
            except Exception as error:  # not all that ccxt raises is its own: ValueError, TypeError, KeyError ...
                failure = self._translate(error, mutates=mutates)
            finally:
                self._session.sent = ""
        # Outside, and not from `error`: its text and its frames hold addresses, headers and keys.
        raise failure

    def _rising(self) -> int:
        self._last = max(self._last + 1, self._nonce())
        return self._last

    def _translate(self, error: Exception, *, mutates: bool) -> ExchangeError:
        session, name = self._session, self._name
        unsure = mutates and session.has_sent
        if isinstance(error, ExchangeError):  # ours, raised on the line
            return (
                Unknown(f"{error}; something was sent before")
                if unsure and not session.only_the_last_mutates
                else error
            )
        words = f"{name}: {self._scrub(str(error))}"[:400]
        code = self._code_of(error)
        if not session.has_sent:
            unclear = code in (None, "exchange_refused", "exchange_unavailable")
            return Refused(f"{words} (nothing was sent)", code="invalid_request" if unclear else str(code))
        if unsure and not (session.only_the_last_mutates and _is_refusal(error, code, session.status)):
            return unknown_or_refused(words, mutates=True)
        if code == "rate_limited":
            return Busy(words, retry_after=session.retry_after)
        if code is None:
            return unknown_or_refused(f"{name}'s answer cannot be understood ({type(error).__name__})", mutates=False)
        return Refused(words, code=code, retryable=code in _RETRYABLE)

    def _code_of(self, error: Exception) -> str | None:
        """Our code for an error; None for one that is not ccxt's."""
        for (id, text), code in _MISNAMED.items():
            if id == self.ccxt.id and text in str(error):
                return code
        ancestors = [kind.__name__ for kind in type(error).__mro__]
        if "BaseError" not in ancestors:
            return None
        return next((_CODES[kind] for kind in ancestors if kind in _CODES), "exchange_refused")

    def _scrub(self, text: str) -> str:
        """The words of ccxt or of the exchange without addresses, keys, and anything long that we had sent."""
        sent, text = unquote(self._session.sent), _ADDRESS.sub("", unquote(text.replace("\\/", "/")))
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
    if code is None or status >= 500 or not _raised_by_handle_errors(error):
        return False
    return code != "exchange_unavailable"


def _raised_by_handle_errors(error: BaseException | None) -> bool:
    """Whether it, or the error that it replaces (Kraken's cancel_order), was raised by a `handle_errors`."""
    if error is None:
        return False
    frames = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
    return "handle_errors" in frames or _raised_by_handle_errors(error.__context__)


def _microseconds() -> int:
    return time.time_ns() // 1000


def _rebased_urls(urls: Any, base: str) -> Any:
    """ccxt's addresses with another origin; their paths are a part of the protocol."""
    if isinstance(urls, Mapping):
        return {name: _rebased_urls(url, base) for name, url in urls.items()}
    if isinstance(urls, list):
        return [_rebased_urls(url, base) for url in urls]
    return base + urlsplit(urls).path if isinstance(urls, str) else urls


_INSTANCES: OrderedDict[tuple[object, ...], Instance] = OrderedDict()
_INSTANCES_LOCK = threading.Lock()
_MAX_INSTANCES = 1000


def instance_for(kind: Any, id: str, name: str, context: ExchangeContext) -> Instance:
    """The ccxt object of this registration with these keys."""
    keys = context.credentials
    texts = [keys.username, keys.apikey, keys.apisecret, *sorted(f"{name}={text}" for name, text in keys.more.items())]
    digest = hashlib.sha256(json.dumps(texts).encode()).digest()
    key = (id, context.url, context.registration, digest)
    with _INSTANCES_LOCK:
        instance = _INSTANCES.get(key)
        if instance is None:
            instance = _INSTANCES[key] = Instance(kind, name, context.url, keys)
        _INSTANCES.move_to_end(key)
        while len(_INSTANCES) > _MAX_INSTANCES:
            _INSTANCES.popitem(last=False)
        return instance
