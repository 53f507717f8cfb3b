"""Which exchanges this server offers, and how each one is reached."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..exchanges import DEAD, load
from ..exchanges.base import Credentials, Exchange, ExchangeContext
from ..exchanges.cache import TTLCache
from ..exchanges.capabilities import supports
from ..exchanges.errors import ExchangeError
from ..transport import Transport
from .db.records import Registration
from .problems import Problem
from .rate_limiter import Lanes, Rank
from .settings import Settings, SettingsError
from .vault import Vault

__all__ = ["ExchangeRegistry"]


@dataclass(slots=True)
class _Entry:
    """One offered exchange: its class, its connections, its share of the threads that may wait for it, its answers."""

    kind: type[Exchange]
    transport: Transport
    share: threading.Semaphore
    cache: TTLCache = field(default_factory=TTLCache)
    url: str | None = None


class ExchangeRegistry:
    """The offered exchanges, by id."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        lanes: Lanes,
        factories: Mapping[str, Callable[[ExchangeContext], Exchange]],
    ) -> None:
        """Raises SettingsError for an exchange that cannot be loaded. `factories`: what makes an exchange, by its id,
        where its class needs more than the context.
        """
        self._vault = vault
        self._lanes = lanes
        self._settings = settings
        self._factories = factories
        self._entries = {id: self._entry(id) for id in settings.exchanges}

    def _entry(self, id: str) -> _Entry:
        try:
            kind = load(id)
        except KeyError:
            raise SettingsError(f"XWRAP_EXCHANGES names '{id}', which is not known here") from None
        except ExchangeError as error:
            raise SettingsError(f"XWRAP_EXCHANGES names '{id}': {error}") from None
        return _Entry(
            kind=kind,
            transport=Transport(timeout=self._settings.exchange_seconds),
            share=threading.Semaphore(self._settings.exchange_threads),
            url=self._settings.exchange_urls.get(id),
        )

    def close(self) -> None:
        """Close every connection to an exchange."""
        for entry in self._entries.values():
            entry.transport.close()

    def ids(self) -> list[str]:
        """The offered exchanges."""
        return list(self._entries)

    def kind(self, id: str) -> type[Exchange]:
        """The class of an exchange. Raises Problem 422 naming what is offered, or why it never will be."""
        if id in self._entries:
            return self._entries[id].kind
        if id in DEAD:
            raise Problem(422, "exchange_dead", f"{DEAD[id]}; it cannot be offered", field="exchange")
        offered = ", ".join(self._entries)
        raise Problem(422, "unknown_exchange", f"no exchange '{id}' here; offered are {offered}", field="exchange")

    def available(self, id: str) -> bool:
        """Whether this exchange can be asked from here: it is offered, and it is known where it is."""
        entry = self._entries.get(id)
        return entry is not None and (entry.url is not None or not entry.kind.requires_url)

    def public(self) -> list[dict[str, object]]:
        """The answer to `list_exchanges`."""
        return [
            {
                "id": id,
                "name": entry.kind.name,
                "description": entry.kind.description,
                "status": entry.kind.lifecycle,
                "available": self.available(id),
                "can": supports(entry.kind),
            }
            for id, entry in self._entries.items()
        ]

    @contextmanager
    def exchange(
        self, id: str, credentials: Credentials | None = None, registration: int = 0, rank: Rank = Rank.READ
    ) -> Iterator[Exchange]:
        """An exchange, ready to be asked with these credentials (or with none), within its share of the threads.

        Its requests go through the lane of the key with this rank; a cancel also needs no share of the threads.
        Raises Problem 503, before anything was sent, when all threads that may wait for this exchange are waiting.
        """
        kind = self.kind(id)
        entry = self._entries[id]
        create = self._factories.get(id, kind)
        credentials = credentials or Credentials()
        way = self._lanes.passage(kind, credentials.apikey, rank)
        transport = entry.transport.until(time.monotonic() + self._settings.call_seconds)
        context = ExchangeContext(transport, credentials, registration, entry.url, way.nonce, way.turn, entry.cache)
        if rank is Rank.CANCEL:
            yield create(context)
            return
        if not entry.share.acquire(timeout=self._settings.queue_seconds):
            raise Problem(
                503,
                "exchange_busy",
                f"too many calls wait for {kind.name}; nothing was sent",
                retryable=True,
                headers={"Retry-After": "1"},
            )
        try:
            yield create(context)
        finally:
            entry.share.release()

    @contextmanager
    def open(self, registration: Registration, rank: Rank = Rank.READ) -> Iterator[Exchange]:
        """The exchange of a registration, with its keys opened for this one use."""
        place = (registration.account_id, registration.id)
        credentials = Credentials(
            username=registration.username,
            apikey=self._vault.open(*place, "apikey", registration.sealed_apikey),
            apisecret=self._vault.open(*place, "apisecret", registration.sealed_apisecret),
            more=json.loads(self._vault.open(*place, "more", registration.sealed_more)),
        )
        with self.exchange(registration.exchange, credentials, registration.id, rank) as exchange:
            yield exchange

    def seal(self, account: int, registration: int, credentials: Credentials) -> dict[str, bytes]:
        """The sealed columns of a registration."""
        texts = {
            "apikey": credentials.apikey,
            "apisecret": credentials.apisecret,
            "more": json.dumps(dict(credentials.more)),
        }
        return {f"sealed_{name}": self._vault.seal(account, registration, name, text) for name, text in texts.items()}
