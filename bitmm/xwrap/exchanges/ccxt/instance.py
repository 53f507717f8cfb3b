"""One ccxt object for each registration: its keys, its addresses, its nonces, and one call at a time."""

from __future__ import annotations

import decimal
import hashlib
import json
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..api import NonceCounter
from ..base import Credentials, ExchangeContext
from ..cache import put_newest
from ..errors import ExchangeError
from ..models import Market
from .error_codes import code_of
from .failures import exchange_error, was_raised_in
from .form import credentials_and_options, secrets_of
from .session import SessionAdapter

__all__ = [
    "AMOUNT_IS_COUNTED",
    "NONCE_COUNTERS",
    "SILENT_LOGGER",
    "Instance",
    "Markets",
    "instance_for",
]

#: Exchanges whose nonce is a counter that must rise; the others' is their clock, in units of their own.
NONCE_COUNTERS = {"kraken", "paymium"}

#: Exchanges whose markets of futures are listed by calls of their own, mostly at another host, which may be down, or
#: forbidden where spot is not: they are not loaded. The lists of open orders there are of spot markets alone.
_FUTURES_ELSEWHERE = {"binance", "gate", "htx", "kucoin"}

#: ccxt's option: whether a market buy's amount counts the asset (and a price is wanted, to calculate the cost), or is
#: the cost itself.
AMOUNT_IS_COUNTED = "createMarketBuyOrderRequiresPrice"

#: ccxt calculates in the thread's decimal context, and changes it.
_DECIMAL_CONTEXT = decimal.Context(prec=200)

#: ccxt's own logger writes headers with API keys at DEBUG. This one has no parent, and our ccxt objects have no other.
SILENT_LOGGER = logging.Logger("bitmm.ccxt", logging.CRITICAL)  # noqa: LOG001 - the manager must not know it
SILENT_LOGGER.addHandler(logging.NullHandler())

#: What ccxt's classes say of an exchange and no call changes: most of an object, 0.25 MiB of Binance's (2026-11-28).
_DESCRIPTION = ("api", "exceptions", "httpExceptions")
_DESCRIPTIONS: dict[type[Any], Mapping[str, Any]] = {}

_ADDRESS = re.compile(r"https?://\S+")
#: Long enough to be a key, a nonce or a signature.
_TOKEN = re.compile(r"[\w+/.~-]{12,}=*")


class Markets(NamedTuple):
    """The markets of an exchange at one address: a ccxt object without keys that has loaded them, the spot ones by
    (currency, asset), and which of these take no new orders.
    """

    ccxt: Any
    spot: Mapping[tuple[str, str], Market]
    closed: frozenset[tuple[str, str]] = frozenset()


class Instance:
    """One ccxt object with its keys, an object of the class `kind`; several threads may use it, one at a time."""

    def __init__(self, kind: Any, name: str, url: str | None, credentials: Credentials) -> None:
        self._lock = threading.Lock()
        self._markets: Markets | None = None
        self._nonce: Callable[[], int] = _microseconds
        given, given_options = credentials_and_options(kind.__name__, credentials)
        self._secret_names = secrets_of(credentials)
        self._secrets = [value for named, value in given.items() if len(value) > 3]
        base = None if url is None else url.rstrip("/")
        self._session = SessionAdapter(kind.__name__, name, base)
        self.ccxt = kind(
            {
                **given,
                "session": self._session,
                "logger": SILENT_LOGGER,
                # It would sleep while it holds the lock, and counts by object; our throttle counts (`per_address`).
                "enableRateLimit": False,
                # Some classes warn, by raising, that asking for the open orders of all markets costs more. Nothing is
                # sent twice: that is ccxt's default, and said here because an order depends on it. An order pays ccxt
                # no fee (`additions`).
                "options": {
                    # Some classes read the funds and the open orders of futures by default: Bybit, Hyperliquid.
                    "defaultType": "spot",
                    "warnOnFetchOpenOrdersWithoutSymbol": False,
                    "maxRetriesOnFailure": 0,
                    "builderFee": False,
                    **given_options,
                },
            }
        )
        _change_nested_options(self.ccxt)
        _share_description(self.ccxt)
        if base is not None:
            self.ccxt.urls = {**self.ccxt.urls, "api": _rebased_urls(self.ccxt.urls["api"], base)}
        if self.ccxt.id in NONCE_COUNTERS:
            self.ccxt.nonce = NonceCounter(self._clock)

    def _clock(self) -> int:
        """Return the next nonce of the registration of this call."""
        return self._nonce()

    def call(
        self,
        context: ExchangeContext,
        markets: Markets | None,
        method: str,
        *arguments: Any,
        mutates: bool = False,
        must_contain: Sequence[str] = (),
        **named: Any,
    ) -> Any:
        """Return what the unified call `method` of ccxt returns. Raises Refused, Busy or Unknown, and nothing else.

        `mutates`: it places, cancels or sends. `must_contain`: texts that no request for that may leave without.
        """
        with self._lock, decimal.localcontext(_DECIMAL_CONTEXT):
            self._session.start_call(context.transport, mutates=mutates, must_contain=must_contain)
            self._nonce = context.nonce or _microseconds
            try:
                if markets is not None and markets is not self._markets:
                    self.ccxt.set_markets_from_exchange(markets.ccxt)
                    self._markets = markets
                return getattr(self.ccxt, method)(*arguments, **named)
            except Exception as error:  # not all that ccxt raises is its own: ValueError, TypeError, KeyError ...
                failure = self._failure(error)
            finally:
                self._session.sent = ""
        # Outside, and not from `error`: its text and its frames hold addresses, headers and keys.
        raise failure

    def _failure(self, error: Exception) -> ExchangeError:
        words = f"{self._session.name}: {self._scrubbed(str(error))}"[:400]
        if not self._session.has_sent and self._secret_names and was_raised_in("sign", error):
            words = f"{words}; check {', '.join(self._secret_names)}: a request cannot be signed with it"
        return exchange_error(error, code_of(error, self.ccxt.id), words, self._session)

    def _scrubbed(self, text: str) -> str:
        """Return words of ccxt or of the exchange without addresses, keys, and anything long that we had sent."""
        sent, text = unquote(self._session.sent), _ADDRESS.sub("", unquote(text.replace("\\/", "/")))
        for secret in self._secrets:
            text = text.replace(secret, "…")
        text = _TOKEN.sub(lambda token: "…" if token[0].strip("=") in sent else token[0], text)
        return " ".join(text.removeprefix(self.ccxt.id).split())[:300]


def _change_nested_options(ccxt: Any) -> None:
    """Change the options that a class of ccxt keeps inside of others, where those given to it do not reach."""
    if isinstance(listing := ccxt.options.get("fetchOpenOrders"), dict):
        listing["warnIfNoSymbol"] = False
    if ccxt.id in _FUTURES_ELSEWHERE:
        loading = ccxt.options["fetchMarkets"]
        loading["types"] = ["spot"] if isinstance(loading["types"], list) else {"spot": True}
    for options in (ccxt.options, ccxt.options.get("createOrder")):
        if isinstance(options, dict) and options.get(AMOUNT_IS_COUNTED) is False:
            # Our amounts always count the asset (for Bybit's accounts of the old kind they would be the cost).
            options[AMOUNT_IS_COUNTED] = True


def _share_description(ccxt: Any) -> None:
    """Let a ccxt object have what never changes of its class from the first object of that class."""
    first = _DESCRIPTIONS.setdefault(type(ccxt), {name: getattr(ccxt, name) for name in _DESCRIPTION})
    for name, value in first.items():
        if getattr(ccxt, name) == value:
            setattr(ccxt, name, value)


def _microseconds() -> int:
    return time.time_ns() // 1000


def _rebased_urls(urls: Any, base: str) -> Any:
    """Return ccxt's addresses with another origin; their paths are a part of the protocol."""
    if isinstance(urls, Mapping):
        return {name: _rebased_urls(url, base) for name, url in urls.items()}
    if isinstance(urls, list):
        return [_rebased_urls(url, base) for url in urls]
    return base + urlsplit(urls).path if isinstance(urls, str) else urls


#: A server's cache of an exchange, the exchange, registration and a digest of its keys -> instance, the latest used
#: last. Its address would not do: registrations of another server of this process may trade there too.
_INSTANCES: OrderedDict[tuple[object, ...], Instance] = OrderedDict()
_INSTANCES_LOCK = threading.Lock()
_MAX_INSTANCES = 1000


def instance_for(kind: Any, id: str, name: str, context: ExchangeContext) -> Instance:
    """Return the ccxt object of this registration with these keys, a new one for new keys."""
    keys = context.credentials
    texts = [keys.username, keys.apikey, keys.apisecret, *sorted(f"{name}={text}" for name, text in keys.more.items())]
    digest = hashlib.sha256(json.dumps(texts).encode()).digest()
    key = (context.cache, id, context.registration, digest)
    with _INSTANCES_LOCK:
        instance = _INSTANCES.get(key) or Instance(kind, name, context.url, keys)
        put_newest(_INSTANCES, key, instance, most=_MAX_INSTANCES)
        return instance
