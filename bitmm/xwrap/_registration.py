"""The calls of one registration, all under its path and with the credentials of its account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from . import _arguments as arguments
from . import _parsing as parsing
from ._api import ServerAPI
from ._connected import Connected
from ._following import OrderChanges
from .errors import NotFinal

if TYPE_CHECKING:
    from .types import DeadMansSwitch, Deposit, Order, Side

__all__ = ["RegistrationCalls"]

_T = TypeVar("_T")

#: The statuses of an order that goes on.
_NOT_FINAL = {"open", "unknown"}


class RegistrationCalls(Connected):
    """What a Backend asks its server with. `info` is the whole registration, where the server was asked for it.

    What changes a registration needs the account's own password. Where such a call raises OutcomeUnknown, its answer
    was lost: it is not repeated by itself, and may be made again.
    """

    exchange: str | None = None
    enabled: bool | None = None
    available: bool | None = None
    label: str | None = None

    def __init__(self, id: int, username: str, password: str, api: ServerAPI) -> None:
        self.id = arguments.check_id(id)
        self.username = username
        self.password = password
        self.info: dict[str, Any] = {}
        self._api = api
        self._auth = arguments.basic_auth(username, password)
        self._path = f"/exchanges/{self.id}"

    def cancel_all(self) -> int:
        """Cancel every open order of this exchange key, also those placed elsewhere; return how many there were.

        Raises OutcomeUnknown when the answer was lost: call it again.
        """
        return self._api.delete(f"{self._path}/orders/", parsing.canceled, self._auth)

    def follow(self, *, after: str | None = None, timeout: float | None = None) -> OrderChanges:
        """Return an iterator that gives each order that changes, as it is then, in the order of the changes.

        It begins now, at this call; `after`: a `cursor` of such an iterator, or "0" for all orders that there are. It
        ends when nothing changed for `timeout` seconds, and may be gone on with then; without, it never ends. Each
        change is given at least once; an order that changes again before it is read is given once, as it is then. Lost
        connections and a server that starts again are waited for; whatever else fails is raised.

        The server writes an order down before it sends it, and then its status is "unknown" for a moment. While this
        waits, the server reads the open orders at the exchange, every 1 to 15 seconds. Orders that were placed
        elsewhere are not among them.
        """
        after = None if after is None else arguments.check_text(after, "after")
        seconds = None if timeout is None else arguments.check_timeout(timeout)
        return OrderChanges(self._api, f"{self._path}/orders/", self._auth, after, seconds)

    def wait(self, order: Order | int, timeout: float | None = None) -> Order:
        """Return an order, given as it is or by its id, when it is final: neither "open" nor "unknown" any more.

        It waits as `follow` does. Raises NotFinal, a TimeoutError, when it is not final after `timeout` seconds:
        it goes on then, and may be waited for again, or canceled. Raises NotFound.
        """
        id = arguments.order_id(order)
        deadline = inf if timeout is None else monotonic() + arguments.check_timeout(timeout)
        # Before the order is read, so that no change of it falls between.
        changes = self.follow()
        latest = self._api.get(f"{self._path}/orders/{id}", parsing.order, self._auth, expected={"id": id})
        while latest["status"] in _NOT_FINAL:
            change = changes.next_until(deadline)
            if change is not None and change["id"] == id:
                latest = change
            elif change is None or monotonic() >= deadline:
                words = (
                    f"order {id} is still {latest['status']} after {timeout} s; it goes on: wait again, or cancel it"
                )
                raise NotFinal(words, code="not_final", retryable=True, key=latest.get("key"))
        return latest

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

    def rename(self, label: str) -> None:
        """Give the registration another label, a name of your own; an empty one takes it away."""
        self._change({"label": arguments.check_text(label, "label")}, label=label)

    def disable(self) -> None:
        """Switch the registration off: neither an order nor a send leaves, in any server process; cancels and reads do.

        Twice is no error.
        """
        self._change({"enabled": "false"}, enabled=False)

    def enable(self) -> None:
        """Switch the registration on again; twice is no error."""
        self._change({"enabled": "true"}, enabled=True)

    def replace_key(
        self, key: str, secret: str, *, other_account: bool = False, force: bool = False, **fields: str
    ) -> None:
        """Replace the exchange key; the id, the journal, open orders and idempotency keys stay.

        `fields`: what else the exchange's form names, all of it, as for `create_backend` (`username` for its `uname`).
        The key is tried first. `other_account`: it is of another account at the exchange, on purpose; without, that is
        InvalidRequest where the exchange tells. `force`: also where that cannot be told and orders are open or unknown,
        which is an APIError (`orders_unfinished`) else; they are not asked about any more then.
        """
        form = arguments.key_form(key, secret, fields)
        for name, flag in (("other_account", other_account), ("force", force)):
            form |= {name: "true"} if flag else {}
        self._change(form)

    def permissions(self) -> list[str]:
        """Return what the exchange says now that the key may do: of "read", "trade", "send".

        Raises InvalidRequest (`unsupported`) where it does not tell.
        """
        return self._get("permissions", parsing.permissions)

    def delete(self, force: bool = False) -> None:
        """Delete the registration and its key; the journal stays on the server. Twice is no error.

        Raises APIError (`orders_unfinished`) while something runs, is open or unknown, unless `force` lets that be: it
        is not asked about any more then.
        """
        path = f"{self._path}?force=true" if force else self._path
        self._api.delete(path, parsing.deleted, self._auth, expected={"id": self.id})

    def _change(self, form: Mapping[str, str], **expected: object) -> None:
        """Change the registration, which must have the `expected` fields then."""
        expected["id"] = self.id
        answer = self._api.post(self._path, form, parsing.registration, self._auth, expected=expected, method="PATCH")
        self._take_over(answer)

    def _take_over(self, info: dict[str, Any]) -> None:
        """Let the attributes be what the server answered."""
        self.exchange, self.enabled = info.get("exchange"), info.get("enabled")
        self.available, self.label, self.info = info.get("available"), info.get("label"), info

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """Return what came in, of one asset or of all, newest first."""
        return self._get("deposits", parsing.deposits, arguments.without_none(asset=asset))

    def _get(self, path: str, parse: Callable[[Any], _T], query: Mapping[str, str] | None = None) -> _T:
        """Return what `parse` makes of the answer to a read below the registration's path."""
        path = f"{self._path}/{path}?{arguments.encode(query)}" if query else f"{self._path}/{path}"
        return self._api.get(path, parse, self._auth, expected=arguments.asked_for(query))

    def _place(self, side: Side, form: dict[str, str], key: str | None, *, dry_run: bool) -> Order:
        """Return the order that is placed, or with `dry_run` the one that would be."""
        if dry_run:
            return self._api.try_out(self._path, side, form, parsing.order_not_placed, self._auth)
        return self._api.submit(self._path, side, form, parsing.order, self._auth, key=key)

    def _replace(self, id: int, form: dict[str, str], key: str | None) -> Order:
        """Return the order that takes the place of another one."""
        expected = {"replaces": id, **{name: text for name, text in form.items() if name == "price"}}
        path = f"orders/{id}"
        return self._api.submit(self._path, path, form, parsing.order, self._auth, key=key, expected=expected)
