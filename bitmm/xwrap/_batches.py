"""The calls of one registration that place many orders at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import _arguments as arguments
from . import _parsing as parsing
from ._batch_api import submit_many
from ._registration import RegistrationCalls
from .errors import APIError, InvalidRequest

if TYPE_CHECKING:
    from .types import Order, Side

__all__ = ["BatchCalls"]

_AMOUNTS = ("amount", "price", "cost", "stop")


class BatchCalls(RegistrationCalls):
    """Placing many orders at one exchange with one call."""

    def place_many(self, orders: Iterable[Mapping[str, Any]]) -> list[Order | APIError]:
        """Place up to 15 orders, buys and sells; return for each, in their order, the order or why it was not placed.

        An order is a dict with the arguments of `buy` but `dry_run`, by their names, and its `side`. Each has its own
        `key`, a random one when not given, and its own outcome: an error that `buy` would raise is returned in its
        place, with the `key`, and hides no other. It may be an OutcomeUnknown: `order(key=...)` finds out. Where the
        exchange takes many orders with one request it is one, else they are placed one after the other, and after a
        lost answer or a rate limit no more are sent. The same call again, with the same keys, places none twice.

        Raises what concerns the whole call: InvalidRequest, also when one order cannot be read, AuthenticationError,
        PermissionDenied, RateLimited and Unavailable; then nothing was executed.
        """
        return self._place_many(orders, None)

    def buy_many(self, orders: Iterable[Mapping[str, Any]]) -> list[Order | APIError]:
        """Place up to 15 buys, as `place_many` does."""
        return self._place_many(orders, "buy")

    def sell_many(self, orders: Iterable[Mapping[str, Any]]) -> list[Order | APIError]:
        """Place up to 15 sells, as `place_many` does."""
        return self._place_many(orders, "sell")

    def _place_many(self, orders: Iterable[Mapping[str, Any]], side: Side | None) -> list[Order | APIError]:
        forms: dict[str, dict[str, str]] = {}
        for number, order in enumerate(orders, 1):
            try:
                form = _form(order, side)
            except InvalidRequest as error:
                raise InvalidRequest(f"order {number}: {error.reason}", code=error.code) from None
            if form["key"] in forms:
                raise _invalid(f"order {number}: its key is that of another one here; each has its own")
            forms[form["key"]] = form
        return submit_many(self._api, self._path, list(forms.values()), parsing.order, self._auth) if forms else []


def _form(new: Mapping[str, Any], side: Side | None) -> dict[str, str]:
    """Return the form of an order; `side`: of all orders, which need not say it. Raises InvalidRequest."""
    if not isinstance(new, Mapping):
        raise _invalid('it is no dict; write {"currency": "USD", "asset": "BTC", "amount": "0.1"}')
    order = dict(new)
    given = {name: order.pop(name, None) for name in ("currency", "asset", "side", "key", *_AMOUNTS)}
    conditions = {
        "post_only": order.pop("post_only", False),
        "time_in_force": order.pop("time_in_force", None),
        "expires": order.pop("expires", None),
    }
    for name in order:
        raise _invalid(f"'{name}' is no field of an order")
    if given["side"] not in (("buy", "sell") if side is None else (None, side)):
        raise _invalid(f"its side must be {'buy or sell' if side is None else f'{side}, or left out'}")
    form = arguments.order_form(
        *(arguments.check_text(given[name], name) for name in ("currency", "asset")),
        **{name: given[name] for name in _AMOUNTS},
    )
    form |= arguments.conditions_form(**conditions)
    return {"side": side or given["side"], "key": arguments.idempotency_key(given["key"]), **form}


def _invalid(words: str) -> InvalidRequest:
    return InvalidRequest(words, code="invalid_argument")
