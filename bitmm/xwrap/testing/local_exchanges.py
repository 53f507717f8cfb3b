"""The local exchanges as fixtures have them: with a registration at the server of the test."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from ..client import Backend
from ..money import above_zero, exact
from ..types import Amount
from .exchanges.http_server import Fault
from .exchanges.hub import HubVenue
from .exchanges.venue import Venue

__all__ = ["LocalExchange", "user_name"]


class LocalExchange:
    """A local exchange of a test: `venue` is the exchange itself, `url`, `key` and `secret` are how it is reached."""

    def __init__(self, venue: Venue, register: Callable[[], Backend]) -> None:
        """`register` makes a registration with the key of the exchange."""
        self.venue = venue
        self._register = register
        self._planned: list[Fault] = []

    def __repr__(self) -> str:
        return f"<LocalExchange {self.venue.name} at {self.url}>"

    @property
    def url(self) -> str:
        """Return where the exchange is reached."""
        return self.venue.url

    @property
    def key(self) -> str:
        """Return the API key of the exchange's account."""
        return self.venue.key

    @property
    def secret(self) -> str:
        """Return the secret of that key."""
        return self.venue.secret

    @cached_property
    def backend(self) -> Backend:
        """Return the registration at this exchange, which is made when it is first asked for."""
        return self._register()

    def ledger(self) -> list[dict[str, Any]]:
        """Return every order, withdrawal and transfer that was really executed, oldest first."""
        return self.venue.ledger()

    def fault(
        self, kind: str, *, times: int = 1, path: str = "", seconds: float | None = None, optional: bool = False
    ) -> None:
        """Plan a fault between the server and the exchange: the kinds, and what a `path` is, are in `venue.FAULTS`.

        One that does not happen fails the test, as those of `faults` do, unless it is `optional`.
        """
        before = len(self.venue.faults)
        self.venue.fault(kind, times=times, path=path, seconds=seconds)
        if not optional:
            self._planned += self.venue.faults[before:]

    def price(self, pair: str, *, bid: Amount, ask: Amount) -> None:
        """Move the best offers of a pair ("BTC/EUR") to these prices; resting orders that they reach are filled.

        Raises InvalidRequest for a float, and ValueError for a pair that is not traded there.
        """
        if pair not in self.venue.pairs:
            raise ValueError(f"{self.venue.name} trades {', '.join(self.venue.pairs)}, not {pair}")
        self.venue.set_best_prices(pair, exact(above_zero(ask, "ask")), exact(above_zero(bid, "bid")))

    def unused_faults(self) -> list[str]:
        """Return a line for each fault that was planned and did not happen."""
        waiting = [fault for fault in self.venue.faults if any(fault is planned for planned in self._planned)]
        return [
            f"{self.venue.name}_exchange.fault({fault.kind!r}, path={fault.path!r}) was planned, "
            f"and no such request came to the exchange (requests to wait for: {fault.times})"
            for fault in waiting
        ]


def user_name(venue: Venue) -> str:
    """Return the user name of the exchange's account, for a registration; empty where there is none."""
    return venue.identifier(venue.account) if isinstance(venue, HubVenue) else ""
