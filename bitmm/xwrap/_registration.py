"""The calls of one registration, all under its path and with the credentials of its account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from . import _arguments as arguments
from . import _parsing as parsing
from ._api import ServerAPI
from .types import DeadMansSwitch, Market, Order, Side

__all__ = ["RegistrationCalls"]

_T = TypeVar("_T")


class RegistrationCalls:
    """What a Backend asks its server with. `info` is the whole registration, where the server was asked for it."""

    def __init__(self, id: int, username: str, password: str, api: ServerAPI) -> None:
        self.id = arguments.check_id(id)
        self.username = username
        self.password = password
        self.info: dict[str, Any] = {}
        self._api = api
        self._auth = arguments.basic_auth(username, password)
        self._path = f"/exchanges/{self.id}"

    def markets(self) -> list[Market]:
        """Return the pairs that can be traded at the exchange, and the rules for their amounts and prices."""
        return self._get("markets", parsing.markets)

    def cancel_all(self) -> int:
        """Cancel every open order of this exchange key, also those placed elsewhere; return how many there were.

        Raises OutcomeUnknown when the answer was lost: call it again.
        """
        return self._api.delete(f"{self._path}/orders/", parsing.canceled, self._auth)

    def deadman(self, seconds: int) -> DeadMansSwitch:
        """Have all orders of this exchange key canceled in so many seconds, unless this is called again before.

        5 to 86400; 0 switches that off. It holds also for orders that are placed later, and after a restart of the
        server; then it is off. Raises OutcomeUnknown when the answer was lost, also that of the exchange, whose own
        timer is set where it has one: call it again.
        """
        form = {"seconds": str(arguments.check_id(seconds))}
        expected = {"id": self.id, "deadman_seconds": int(form["seconds"]) or None}
        path = f"{self._path}/deadman"
        return self._api.post(path, form, parsing.deadman, self._auth, expected=expected, method="PUT")

    def _get(self, path: str, parse: Callable[[Any], _T], query: Mapping[str, str] | None = None) -> _T:
        """Return what `parse` makes of the answer to a read below the registration's path."""
        path = f"{self._path}/{path}?{arguments.encode(query)}" if query else f"{self._path}/{path}"
        return self._api.get(path, parse, self._auth, expected=arguments.asked_for(query))

    def _place(self, side: Side, form: dict[str, str], key: str | None, *, dry_run: bool) -> Order:
        """Return the order that is placed, or with `dry_run` the one that would be."""
        if dry_run:
            return self._api.try_out(self._path, side, form, parsing.order_not_placed, self._auth)
        return self._api.submit(self._path, side, form, parsing.order, self._auth, key=key)
