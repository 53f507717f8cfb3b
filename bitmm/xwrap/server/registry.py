"""The exchanges that this server offers, and how each one is opened with keys."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

from .._addresses import is_caseless
from ..exchanges import load
from ..exchanges.base import Credentials, Exchange, ExchangeContext, RateLimit
from ..exchanges.cache import TTLCache, put_newest
from ..exchanges.capabilities import supports
from ..exchanges.errors import ExchangeError
from ..transport import Transport
from .db.notices import NoticeStore
from .db.records import Registration
from .db.registrations import RegistrationStore
from .encoding import encode
from .exchange_calls import MeasuredThrottle
from .exchange_limits import ExchangeLimits
from .exchange_names import find_exchange, nearest_names, no_such_exchange
from .key_refusals import watch_key
from .last_calls import LastCalls
from .metrics import Metrics
from .passwords import Secret
from .problems import too_busy
from .rate_limiter import KeyHolder, Priority, RateLimiter, RequestSlot
from .settings import Settings, SettingsError
from .vault import Vault, VaultError

__all__ = ["ExchangeRegistry"]

#: So many keys that were accepted are remembered in memory; the others are proven anew, or their registrations say it.
_MOST_PROOFS = 10_000


@dataclass(slots=True)
class _Entry:
    """One offered exchange: its class, its connections, its share of the threads that wait for it, its answers."""

    kind: type[Exchange]
    create: Callable[[ExchangeContext], Exchange]
    transport: Transport
    share: threading.Semaphore
    limits: ExchangeLimits
    cache: TTLCache = field(default_factory=TTLCache)
    url: str | None = None


class ExchangeRegistry:
    """The offered exchanges, by id."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        limiter: RateLimiter,
        registrations: RegistrationStore,
        notices: NoticeStore,
        factories: Mapping[str, Callable[[ExchangeContext], Exchange]],
        metrics: Metrics,
        kinds: Mapping[str, type[Exchange]] | None = None,
    ) -> None:
        """Raises SettingsError for an exchange that cannot be loaded.

        `factories`: what makes an exchange, by its id, where its class needs more than the context. `kinds`: its class,
        where that is another one than the one that is shipped under this id.
        """
        self._vault = vault
        self._limiter = limiter
        self._registrations = registrations
        self._notices = notices
        #: When each exchange last answered, and failed.
        self.last_calls = LastCalls()
        self._proofs: OrderedDict[bytes, None] = OrderedDict()
        self._proofs_lock = threading.Lock()
        self._proof_key = secrets.token_bytes(32)
        self._settings = settings
        self._factories = factories
        self._kinds = kinds or {}
        self._metrics = metrics
        self._entries = {id: self._entry(id) for id in settings.exchanges}
        #: The answer to GET /list_exchanges, and its bytes; nothing in it changes while the server runs.
        self.listing = [self._describe(id, entry.kind) for id, entry in self._entries.items()]
        self.listing_json = encode(self.listing)

    def _entry(self, id: str) -> _Entry:
        try:
            kind = self._kinds.get(id) or load(id)
        except KeyError:
            raise SettingsError(f"XWRAP_EXCHANGES: {nearest_names(id, ())}") from None
        except ExchangeError as error:
            raise SettingsError(f"XWRAP_EXCHANGES names '{id}': {error}") from None
        return _Entry(
            kind=kind,
            create=self._factories.get(id, kind),
            transport=Transport(timeout=self._settings.exchange_seconds),
            share=threading.Semaphore(self._settings.exchange_threads),
            limits=ExchangeLimits.of(kind, self._settings.exchange_limits),
            url=self._settings.exchange_urls.get(id),
        )

    def close(self) -> None:
        """Close every connection to an exchange."""
        for entry in self._entries.values():
            entry.transport.close()

    def ids(self) -> list[str]:
        """Return the ids of the offered exchanges."""
        return list(self._entries)

    def find(self, name: str) -> str:
        """Return the id of the offered exchange that a caller calls `name`. Raises Problem 422, as `kind` does."""
        return find_exchange(name, self._entries)

    def kind(self, id: str) -> type[Exchange]:
        """Return the class of an exchange. Raises Problem 422 naming what is offered, or why it never will be."""
        if id not in self._entries:
            raise no_such_exchange(id, self._entries)
        return self._entries[id].kind

    def available(self, id: str) -> bool:
        """Return whether this exchange can be asked: it is offered, and its URL is known."""
        entry = self._entries.get(id)
        return entry is not None and (entry.url is not None or not entry.kind.requires_url)

    def anonymous_limit(self, id: str) -> RateLimit:
        """Return the limit of the calls to an exchange for those who are not logged in."""
        return self._entries[id].limits.anonymous

    def answers_at_once(self, id: str) -> bool:
        """Return whether an exchange is a part of this server, so that nothing is waited for."""
        return id in self._entries and self._entries[id].kind.answers_at_once

    def _describe(self, id: str, kind: type[Exchange]) -> dict[str, object]:
        return {
            "id": id,
            "name": kind.name,
            "description": kind.description,
            "status": kind.lifecycle,
            "available": self.available(id),
            "can": supports(kind),
            "form": [
                {"name": field.name, "help": field.help, "required": field.required, "secret": field.secret}
                for field in kind.form
            ],
        }

    @contextmanager
    def exchange(
        self,
        id: str,
        credentials: Credentials | None = None,
        priority: Priority = Priority.READ,
        *,
        account: int = 0,
        registration: Registration | None = None,
        seconds: float = inf,
        check: Callable[[], None] | None = None,
    ) -> Iterator[Exchange]:
        """Give an exchange, ready to be asked with these credentials (or with none), within its share of the threads.

        Its requests go through the queue of the key with this priority, and end within `seconds` where that is less
        than the `call_seconds` of any call. A cancel needs no share of the threads. Until the exchange has accepted the
        key, the queue is the `account`'s own. `check` is run before each request is made, after its wait; it raises
        Refused.
        Raises Problem 503, before anything was sent, when all threads that may wait for this exchange are waiting.
        """
        kind = self.kind(id)
        entry = self._entries[id]
        context = ExchangeContext(
            transport=entry.transport.until(time.monotonic() + min(seconds, self._settings.call_seconds)),
            credentials=credentials or Credentials(),
            registration=registration.id if registration is not None else 0,
            url=entry.url,
            cache=entry.cache,
        )
        if not kind.in_process:  # else it makes no requests
            slot = self._slot(id, context.credentials, priority, account, registration, check)
            throttle = slot.acquire if registration is None else watch_key(self._notices, registration, slot.acquire)
            measured = MeasuredThrottle(throttle, self._metrics, id, priority)
            context = replace(context, nonce=slot.nonce, throttle=measured)
        # Of an exchange that answers at once no call waits, nor a cancel of any.
        is_unshared = kind.answers_at_once or priority is Priority.CANCEL
        with nullcontext() if is_unshared else self._share(entry), self.last_calls.watch(id, context.registration):
            yield entry.create(context)

    def _slot(
        self,
        id: str,
        credentials: Credentials,
        priority: Priority,
        account: int,
        registration: Registration | None,
        check: Callable[[], None] | None,
    ) -> RequestSlot:
        """Return the place of a caller in the queue of a key."""
        entry = self._entries[id]
        is_proven = (registration is not None and registration.proven) or self.is_proven(id, credentials)
        holder = KeyHolder(_identity(entry.kind, credentials), account, is_proven)
        on_accepted = partial(self._mark_proven, id, credentials, registration)
        return RequestSlot(self._limiter, entry.limits, holder, priority, check, on_accepted)

    @contextmanager
    def _share(self, entry: _Entry) -> Iterator[None]:
        """Hold a part of the threads that may wait for an exchange. Raises Problem as `exchange`."""
        if not entry.share.acquire(timeout=self._settings.queue_seconds):
            raise too_busy(
                "exchange_busy", f"too many calls wait for {entry.kind.name}; nothing was sent; try again in a second"
            )
        try:
            yield
        finally:
            entry.share.release()

    def open(
        self,
        registration: Registration,
        priority: Priority = Priority.READ,
        *,
        seconds: float = inf,
        check: Callable[[], None] | None = None,
    ) -> AbstractContextManager[Exchange]:
        """Give the exchange of a registration, with its keys opened for this one use, as `exchange` does.

        Where an exchange has none (paper), nothing is opened.
        """
        return self.exchange(
            registration.exchange,
            self._unsealed(registration) if self.kind(registration.exchange).form else None,
            priority,
            account=registration.account_id,
            registration=registration,
            seconds=seconds,
            check=check,
        )

    def is_proven(self, id: str, credentials: Credentials) -> bool:
        """Return whether this process saw that the exchange accepted this key with this secret."""
        return self._proof(id, credentials) in self._proofs

    def _mark_proven(self, id: str, credentials: Credentials, registration: Registration | None) -> None:
        """Remember that the exchange accepted this key with this secret, also in the data base."""
        if registration is not None:
            self._registrations.set_proven(registration)
        with self._proofs_lock:
            put_newest(self._proofs, self._proof(id, credentials), None, most=_MOST_PROOFS)

    def _proof(self, id: str, credentials: Credentials) -> bytes:
        """Return a digest of a key and all that was given with it, which tells nothing outside of this process."""
        texts = [id, credentials.username, credentials.apikey, credentials.apisecret, sorted(credentials.more.items())]
        return hashlib.blake2b(json.dumps(texts).encode(), key=self._proof_key, digest_size=16).digest()

    def _unsealed(self, registration: Registration) -> Credentials:
        owner = (registration.account_id, registration.id)
        return Credentials(
            username=registration.username,
            apikey=self._vault.open(*owner, "apikey", registration.sealed_apikey),
            apisecret=self._vault.open(*owner, "apisecret", registration.sealed_apisecret),
            more=json.loads(self._vault.open(*owner, "more", registration.sealed_more)),
        )

    def is_same_key(self, registration: Registration, id: str, credentials: Credentials) -> bool:
        """Return whether a registration holds the key of these credentials at the exchange `id`, or at it through ccxt.

        The sealed key is opened for that, and nothing is kept by which it could be recognised. False where there is no
        key (paper), or the kept one cannot be opened.
        """
        if registration.exchange.removeprefix("ccxt:") != id.removeprefix("ccxt:"):
            return False
        try:
            kept = self._unsealed(registration)
        except VaultError:
            return False
        kind = self.kind(id)
        return _identity(kind, kept) == _identity(kind, credentials) != ""

    def seal(self, account_id: int, registration_id: int, credentials: Credentials) -> dict[str, bytes]:
        """Return the sealed columns of a registration."""
        texts = {
            "apikey": Secret(credentials.apikey),
            "apisecret": Secret(credentials.apisecret),
            "more": Secret(json.dumps(dict(credentials.more))),
        }
        return {
            f"sealed_{name}": self._vault.seal(account_id, registration_id, name, text) for name, text in texts.items()
        }


def _identity(kind: type[Exchange], credentials: Credentials) -> str:
    """Return what an exchange knows its user by: the API key; where there is none, a user's or a wallet's name, or a
    wallet's private key alone. It is the same with spaces around it, which HTTP takes off a header, and for each
    spelling of a wallet's address.

    It is digested into a name in the data base: a password, which could be guessed from that, is no part of it.
    """
    if key := credentials.apikey.strip():
        return key
    texts = {name: text.strip() for name, text in {"username": credentials.username, **credentials.more}.items()}
    names = [texts[field.name] for field in kind.form if not field.secret and texts.get(field.name)]
    one_case = [text.lower() if is_caseless(text) else text for text in names or [texts.get("privateKey", "")]]
    return "\0".join(one_case)
