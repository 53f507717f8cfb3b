"""`xwrap deploy`: files to run a server with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import examples, group, one_line_errors

if TYPE_CHECKING:
    from ..server.deploy.plans import Plan

__all__ = ["deploy"]

Out = Annotated[Path, typer.Option(help="The folder for the files, which is made when there is none.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]
Host = Annotated[str, typer.Option(metavar="NAME", help="The name under which the server is reached.")]
_OUT = Path("xwrap-deploy")

deploy = group(
    "Write files to run a server with; nothing is installed or started.",
    "xwrap deploy systemd",
    "xwrap deploy compose --host xwrap.example",
    "xwrap deploy caddy --host xwrap.example --out /tmp/site",
)


@deploy.command("systemd", epilog=examples("xwrap deploy systemd --host xwrap.example", "xwrap deploy systemd --user"))
def deploy_systemd(
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name under which a proxy on this machine is reached.")
    ] = None,
    user: Annotated[bool, typer.Option("--user", help="A service of your own in place of one of the machine.")] = False,
    out: Out = _OUT,
    force: Force = False,
) -> None:
    """Units of a service that may do little else, and of a backup each night."""
    from ..server.deploy.plans import check_host, systemd

    _write(lambda: systemd(out, check_host(host) if host else None, for_user=user), out, force=force)


@deploy.command("compose", epilog=examples("xwrap deploy compose --host xwrap.example --servers 2"))
def deploy_compose(
    host: Host,
    servers: Annotated[int, typer.Option(min=1, max=9, help="So many servers share the work, behind Caddy.")] = 1,
    out: Out = _OUT,
    force: Force = False,
) -> None:
    """An image of this bitmm, and a compose file with PostgreSQL and Caddy.

    A password for PostgreSQL is drawn; it stands in files for you alone, and is shown nowhere.
    """
    from ..server.db.files import user_id
    from ..server.deploy.plans import check_host, compose

    _write(lambda: compose(out, check_host(host), user=user_id(), servers=servers), out, force=force)


@deploy.command("caddy", epilog=examples("xwrap deploy caddy --host xwrap.example"))
def deploy_caddy(host: Host, out: Out = _OUT, force: Force = False) -> None:
    """The configuration of Caddy in front of a server on this machine."""
    from ..server.deploy.plans import caddy, check_host

    _write(lambda: caddy(out, check_host(host)), out, force=force)


@deploy.command("nginx", epilog=examples("xwrap deploy nginx --host xwrap.example"))
def deploy_nginx(host: Host, out: Out = _OUT, force: Force = False) -> None:
    """The configuration of nginx in front of a server on this machine."""
    from ..server.deploy.plans import check_host, nginx

    _write(lambda: nginx(out, check_host(host)), out, force=force)


def _write(make: Callable[[], Plan], out: Path, *, force: bool) -> None:
    """Write the files of a plan, and print what they are and which commands come next."""
    with one_line_errors():
        from ..server.deploy.writing import write_plan

        plan = make()
        written = write_plan(plan, out, force=force)
    for path, file in zip(written, plan.files, strict=True):
        typer.echo(f"wrote {path}{', for its owner alone' if file.is_secret else ''}")
    typer.echo("\nnext:")
    for command in plan.commands:
        typer.echo(f"  {command}")
