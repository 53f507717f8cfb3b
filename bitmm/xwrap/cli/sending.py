"""`xwrap send`, `sends` and `address show`: money that leaves, and where it can come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from .addresses import address as address_group
from .arguments import BackendName, Limit, SomeBackend
from .asking import Key, Yes, announced, check_that_one_can_ask, confirm
from .common import examples, stop
from .exits import UNKNOWN, USAGE
from .http import ProfileName, log_in_by_profile, sentence
from .outcomes import sends as sends_group
from .output import Json, show_record, show_rows

if TYPE_CHECKING:
    from ..client import Backend

__all__ = ["send"]

Asset = Annotated[str, typer.Argument(help="What is sent, as BTC.", show_default=False)]
Network = Annotated[str | None, typer.Option(help="Where the asset has several networks.")]

_COLUMNS = ("backend", "id", "asset", "amount", "fee", "address", "tag", "network", "status", "txid", "created")


def send(
    backend: BackendName,
    asset: Asset,
    amount: Annotated[str, typer.Argument(help="Units of the asset.", show_default=False)],
    address: Annotated[str, typer.Argument(help="Where it goes to; see `xwrap address list`.", show_default=False)],
    tag: Annotated[str | None, typer.Option(help="The memo or destination tag that belongs to the address.")] = None,
    network: Network = None,
    key: Key = None,
    yes: Yes = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Send an asset to an address. It asks first.

    The key of the send is printed on standard error before it leaves: `xwrap sends --backend BACKEND --key KEY` says
    later what became of it, and the same command with --key KEY never sends twice.
    """
    if not yes:
        check_that_one_can_ask()
    with log_in_by_profile(profile) as login:
        found = login.backend(backend)
        if not yes:
            more = "".join(f", {name} {text}" for name, text in (("tag", tag), ("network", network)) if text)
            confirm(f"send {amount} {asset} to {address}{more}, from {found.exchange} ({found.id})?")
        key = key or uuid4().hex
        with announced(f"xwrap sends --backend {found.id}{login.profile_option}", key) as asking:
            found.send_to_address(asset, amount, address, tag=tag, network=network, key=key)
            _show_sent(found, key, asking, as_json=as_json)


@sends_group.callback(
    invoke_without_command=True,
    no_args_is_help=False,
    epilog=examples(
        "xwrap sends --backend kraken",
        "xwrap sends --backend kraken --key 6b0c",
        "xwrap sends unknown          on the server's machine",
    ),
)
def list_sends(
    context: typer.Context,
    backend: SomeBackend = None,
    key: Annotated[str | None, typer.Option("--key", help="The one of this idempotency key.")] = None,
    limit: Limit = 50,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print what was sent through your registrations, newest first.

    `unknown` and `settle` are for the administrator, on the server's machine. Columns: backend, id, asset, amount,
    fee, address, tag, network, status, txid, created. With --key one record, and the exit code is 3 while it is not
    known what became of it, and 1 when nothing was sent with this key.
    """
    if context.invoked_subcommand is not None:
        return
    if key is not None and backend is None:
        stop("--key needs the registration of the send; add --backend", USAGE)
    with log_in_by_profile(profile) as login:
        if key is not None and backend is not None:
            record = login.backend(backend).withdrawal(key=key)
            show_record(record, json=as_json)
            if record["status"] == "unknown":
                raise typer.Exit(UNKNOWN)
            return
        chosen = login.backends() if backend is None else [login.backend(backend)]
        rows: list[dict[str, Any]] = [
            {"backend": each.id, **row} for each in chosen for row in each.withdrawals(limit=limit)
        ]
    show_rows(rows, _COLUMNS, json=rows if as_json else None)


@address_group.command("show", epilog=examples("xwrap address show kraken BTC"))
def address_show(
    backend: BackendName,
    asset: Annotated[str, typer.Argument(help="What is to come in, as BTC.", show_default=False)] = "BTC",
    network: Network = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print an address of an exchange to which you can send.

    Fields: asset, address, tag, network. Where there is a tag, both are needed.
    """
    with log_in_by_profile(profile) as login:
        found = login.backend(backend).deposit_address(asset, network)
    show_record(found, json=as_json)


def _show_sent(backend: Backend, key: str, asking: str, *, as_json: bool) -> None:
    """Print the record of a send that was accepted."""
    from ..client import APIError

    executed = f"it was sent; {asking}"
    try:
        record = backend.withdrawal(key=key)
    except APIError as error:
        stop(f"{executed}; its record cannot be read now: {sentence(error)}", UNKNOWN)
    show_record(record, json=as_json, executed=executed)
