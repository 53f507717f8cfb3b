"""Where the rates come from that calls wait for: all exchanges, for everybody, or the exchange of a registration."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from ..exchanges.models import Rate
from .db.records import Registration
from .market_reads import read_rate_of_now
from .rates import Rates, rate_row
from .registry import ExchangeRegistry
from .shares import account_holder
from .threads import Pool, ThreadPools

__all__ = ["PublicRates", "RateSource", "RegisteredRate"]


class RateSource(Protocol):
    """The rates of a pair, by exchange."""

    @property
    def key(self) -> Hashable:
        """Return what is the same for two sources of the same rates."""

    def ids(self) -> list[str]:
        """Return the exchanges that are asked."""

    async def current(self) -> list[dict[str, Any]]:
        """Return the rows of the exchanges that answer now. Raises Problem and ExchangeError."""

    async def renewed(self, id: str) -> Rate:
        """Return the next rate at an exchange, which is asked when the known one is too old. Raises as above."""


@dataclass(frozen=True, slots=True)
class PublicRates:
    """What `/exchange_rates` tells, which needs no account."""

    rates: Rates
    currency: str
    asset: str

    @property
    def key(self) -> Hashable:
        return (self.currency, self.asset)

    def ids(self) -> list[str]:
        return self.rates.ids()

    async def current(self) -> list[dict[str, Any]]:
        return await self.rates.all(self.currency, self.asset)

    async def renewed(self, id: str) -> Rate:
        return await self.rates.renewed(id, self.currency, self.asset)


@dataclass(frozen=True, slots=True)
class RegisteredRate:
    """The rate at the exchange of a registration, which counts in the limits of its key."""

    registry: ExchangeRegistry
    threads: ThreadPools
    registration: Registration
    currency: str
    asset: str

    @property
    def key(self) -> Hashable:
        return (self.registration.id, self.currency, self.asset)

    def ids(self) -> list[str]:
        return [self.registration.exchange]

    async def current(self) -> list[dict[str, Any]]:
        id = self.registration.exchange
        return [rate_row(id, await self.renewed(id))]

    async def renewed(self, id: str) -> Rate:
        pool: Pool = "database" if self.registry.answers_at_once(id) else "outbound"
        return await self.threads.run(pool, self._fetch, holders=[account_holder(self.registration.account_id)])

    def _fetch(self) -> Rate:
        with self.registry.open(self.registration) as exchange:
            return read_rate_of_now(exchange, *exchange.common_pair(self.currency, self.asset))
