"""`xwrap buy` and `sell`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

import typer

from .arguments import BackendName
from .asking import Key, Yes, announced, check_that_one_can_ask, confirm
from .common import stop
from .exits import USAGE
from .http import Login, ProfileName, log_in_by_profile
from .output import Json, show_record
from .text import in_plain

if TYPE_CHECKING:
    from ..client import Backend, Order

__all__ = ["buy", "sell"]

Asset = Annotated[str, typer.Argument(help="What is bought or sold, as BTC.", show_default=False)]
Amount = Annotated[str | None, typer.Argument(help="Units of the asset; or give --cost.", show_default=False)]
Currency = Annotated[str, typer.Option("--for", help="What is paid with, as USD.", show_default=False)]
Price = Annotated[str | None, typer.Option(help="At this price or better; without it at the current one.")]
Cost = Annotated[str | None, typer.Option(help="Instead of an amount: so many units of the currency.")]
Stop = Annotated[str | None, typer.Option("--stop", help="Begin when the market's price has come to this one.")]
PostOnly = Annotated[bool, typer.Option("--post-only", help="With --price: refuse it if it would be executed at once.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check it, print what it would cost or bring, send nothing.")]

#: What is shown of an estimate before the question.
_ESTIMATES = ("price", "stop", "average", "spent", "fee", "fee_currency", "slippage", "remaining")


def buy(
    backend: BackendName,
    asset: Asset,
    currency: Currency,
    amount: Amount = None,
    price: Price = None,
    cost: Cost = None,
    stop_at: Stop = None,
    post_only: PostOnly = False,
    dry_run: DryRun = False,
    key: Key = None,
    yes: Yes = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Buy an asset. It estimates and asks first.

    The key of the order is printed on standard error before it is sent: `xwrap order BACKEND --key KEY` says later what
    became of it, and the same command with --key KEY never buys twice.
    """
    terms = _terms(currency, asset, amount, price=price, cost=cost, stop=stop_at, post_only=post_only)
    _place_order("buy", backend, terms, dry_run=dry_run, key=key, yes=yes, profile=profile, as_json=as_json)


def sell(
    backend: BackendName,
    asset: Asset,
    currency: Currency,
    amount: Amount = None,
    price: Price = None,
    cost: Cost = None,
    stop_at: Stop = None,
    post_only: PostOnly = False,
    dry_run: DryRun = False,
    key: Key = None,
    yes: Yes = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Sell an asset. It estimates and asks first.

    The key of the order is printed on standard error before it is sent: `xwrap order BACKEND --key KEY` says later what
    became of it, and the same command with --key KEY never sells twice.
    """
    terms = _terms(currency, asset, amount, price=price, cost=cost, stop=stop_at, post_only=post_only)
    _place_order("sell", backend, terms, dry_run=dry_run, key=key, yes=yes, profile=profile, as_json=as_json)


def _terms(currency: str, asset: str, amount: str | None, **more: Any) -> dict[str, Any]:
    """Return the arguments of `Backend.buy` and `sell`."""
    if amount is None and more["cost"] is None:
        stop("there is no amount; write how many units of the asset, or --cost. Nothing was sent", USAGE)
    return {"currency": currency, "asset": asset, "amount": amount, **more}


def _place_order(
    side: Literal["buy", "sell"],
    name: str,
    terms: dict[str, Any],
    *,
    dry_run: bool,
    key: str | None,
    yes: bool,
    profile: str | None,
    as_json: bool,
) -> None:
    if not (yes or dry_run):
        check_that_one_can_ask()
    with log_in_by_profile(profile) as login:
        backend = login.backend(name)
        place = backend.buy if side == "buy" else backend.sell
        if dry_run:
            show_record(place(**terms, dry_run=True), json=as_json)
            return
        if not yes and not _is_placed(backend, key):
            _confirm_order(login, backend, place(**terms, dry_run=True), terms)
        key = key or uuid4().hex
        with announced(f"xwrap order {backend.id}{login.profile_option}", key) as asking:
            order = place(**terms, key=key)
            show_record(order, json=as_json, executed=f"the order was sent; {asking}")


def _is_placed(backend: Backend, key: str | None) -> bool:
    """Return whether a key has an order already: with it none is placed anew, and an estimate would be of another."""
    from ..client import NotFound

    try:
        return key is not None and backend.order(key=key)["status"] != "rejected"
    except NotFound:
        return False


def _confirm_order(login: Login, backend: Backend, estimate: Order, terms: dict[str, Any]) -> None:
    shown = {name: value for name, value in estimate.items() if name in _ESTIMATES}
    show_record(shown, json=False, file=sys.stderr)
    what = f"{in_plain(estimate['amount'])} {estimate['asset']}" if terms["cost"] is None else estimate["asset"]
    money = f"{terms['cost'] or ''} {estimate['currency']}".strip()
    where = f"{backend.exchange} ({backend.id}{f', {backend.label}' if backend.label else ''})"
    at = f" at {terms['price']} or better" if terms["price"] else ""
    confirm(f"{estimate['side']} {what} for {money}{at}, at {where} as {login.username}?")
