"""What an exchange allows: how its calls are queued and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..exchanges.base import Exchange, RateLimit

__all__ = ["UNCOUNTED", "ExchangeLimits"]

#: The counter of an exchange that publishes none: calls cost nothing, and only its own Busy raises it.
UNCOUNTED = RateLimit(0, 1)
#: What part of the calls from our address those without a login may make; and their least budget: one that knows
#: nothing yet asks Kraken three times for a price, and one every two seconds hardly hurts.
_ANONYMOUS_SHARE = 0.25
_LEAST_ANONYMOUS = RateLimit(3, 0.5)
#: Where no limit of an address is known.
_ANONYMOUS_UNCOUNTED = RateLimit(20, 2)


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """How the calls to one exchange are queued and counted. Made once, when the server starts."""

    exchange: str
    #: Signed calls queue by their key, all others by our address.
    queues_by_key: bool
    #: Calls of one key must arrive in the order of their nonces.
    ordered: bool
    per_key: RateLimit
    per_address: RateLimit
    #: Counts the calls for those who are not logged in, beside `per_address`.
    anonymous: RateLimit

    @classmethod
    def of(cls, kind: type[Exchange], own: Mapping[str, RateLimit | None] | None = None) -> ExchangeLimits:
        """Return the limits that the exchange publishes, or where `own` names it, those of the administrator."""
        per_key, per_address = _resolve(kind, own or {})
        return cls(
            exchange=kind.id,
            queues_by_key=kind.ordered or kind.per_key is not None,
            ordered=kind.ordered,
            per_key=per_key or UNCOUNTED,
            per_address=per_address or UNCOUNTED,
            anonymous=_anonymous(per_address),
        )


def _resolve(kind: type[Exchange], own: Mapping[str, RateLimit | None]) -> tuple[RateLimit | None, RateLimit | None]:
    """Return the counters by key and by address; None: calls are not counted there."""
    if kind.id not in own:
        return kind.per_key, kind.per_address
    limit = own[kind.id]
    if limit is None:
        return None, None
    if kind.per_key is not None and kind.per_address is not None:
        # The administrator's limit is the one of a key; the address keeps the published one.
        return _with_costs(limit, kind.per_key), kind.per_address
    return _with_costs(limit, kind.per_key), _with_costs(limit, kind.per_address)


def _anonymous(per_address: RateLimit | None) -> RateLimit:
    """Return the budget of calls without a login."""
    if per_address is None:
        return _ANONYMOUS_UNCOUNTED
    return RateLimit(
        max(int(per_address.capacity * _ANONYMOUS_SHARE), _LEAST_ANONYMOUS.capacity),
        max(per_address.refill * _ANONYMOUS_SHARE, min(per_address.refill, _LEAST_ANONYMOUS.refill)),
    )


def _with_costs(limit: RateLimit, published: RateLimit | None) -> RateLimit:
    """Return `limit` with what is published of the calls."""
    return limit if published is None else replace(limit, costs=published.costs, polls=published.polls)
