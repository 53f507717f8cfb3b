"""The calls of one registration that place orders."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from . import _arguments as arguments
from ._registration import RegistrationCalls

if TYPE_CHECKING:
    from .types import Amount, Order, TimeInForce

__all__ = ["TradingCalls"]


class TradingCalls(RegistrationCalls):
    """Buying and selling at one exchange."""

    def buy(
        self,
        currency: str,
        asset: str,
        amount: Amount | None = None,
        *,
        price: Amount | None = None,
        cost: Amount | None = None,
        stop: Amount | None = None,
        post_only: bool = False,
        time_in_force: TimeInForce | None = None,
        expires: datetime | str | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Order:
        """Buy `amount` units of `asset` for `currency` at the current price, or at `price` or better; return the order.

        `price`: units of `currency` for one unit. `cost`: spend this many units of `currency` instead of naming an
        amount, at the current price. `dry_run`: check and estimate, send nothing. `key`: the idempotency key of the
        order, a random one when not given; a server that knows keys executes it once, whatever is repeated.

        With `price`, where the exchange itself has it: `post_only`, refused (code `would_take`) when it would be
        executed at once; `time_in_force` "GTC" (until canceled), "IOC" (what is not filled at once is canceled), "FOK"
        (whole at once, or canceled) or "GTD", with `expires`, an aware datetime or its text in ISO 8601.

        `stop`, where the exchange itself holds such orders: the order begins when the market's price rises to it (a
        sell: falls to it), and is then what it would be without; "open" until it is filled. The server holds none
        itself, since it would fail to act while it is down. A stop that is reached already may begin at once.

        Raises InsufficientFunds; InvalidRequest, also when the exchange or its rules for the pair refuse the order (the
        `code` says why); RateLimited and Unavailable, when nothing was executed; OutcomeUnknown when the order may have
        been executed: `order(key=...)` finds out. Whatever else ends the call, as Ctrl-C, has the key in a note.
        """
        form = arguments.order_form(currency, asset, amount=amount, price=price, cost=cost, stop=stop)
        form |= arguments.conditions_form(post_only=post_only, time_in_force=time_in_force, expires=expires)
        return self._place("buy", form, key, dry_run=dry_run)

    def sell(
        self,
        currency: str,
        asset: str,
        amount: Amount | None = None,
        *,
        price: Amount | None = None,
        cost: Amount | None = None,
        stop: Amount | None = None,
        post_only: bool = False,
        time_in_force: TimeInForce | None = None,
        expires: datetime | str | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Order:
        """Sell `amount` units of `asset` for `currency` at the current price, or at `price` or better; see `buy`.

        `cost`, where the exchange has it: sell as much as brings this many units of `currency` at the current price,
        without the fee.
        """
        form = arguments.order_form(currency, asset, amount=amount, price=price, cost=cost, stop=stop)
        form |= arguments.conditions_form(post_only=post_only, time_in_force=time_in_force, expires=expires)
        return self._place("sell", form, key, dry_run=dry_run)

    def amend(
        self, id: int, *, price: Amount | None = None, amount: Amount | None = None, key: str | None = None
    ) -> Order:
        """Give an open limit order another `price`, or another `amount`; return the order that takes its place.

        `amount`: in all, with what was filled before, so that a fill meanwhile is not bought twice. The new order has
        an `id` of its own, and the same conditions; `replaces` is the order before. Where the exchange amends in place
        (its `can` has `amend`) they are one order there, whose fills the new one has; elsewhere it is canceled first,
        and what is left is placed. There are never two. `key` as for `buy`: of the new order.

        Raises InvalidRequest: `order_not_open` when it was over before, and nothing was done; `not_amended` when it was
        canceled, or may be, and nothing is in its place, as when the exchange refuses the new order. NotFound;
        Unavailable; OutcomeUnknown when it may have been done: `order(key=...)` finds out.
        """
        return self._replace(arguments.check_id(id), arguments.amounts_form(price=price, amount=amount), key)
