"""The `xwrap` command: a module for each noun."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .. import __version__
from .accounts import account
from .addresses import address
from .audit import audit
from .backups import backup, restore
from .common import Data, examples, one_line_errors
from .credentials import credential
from .doctor import doctor
from .freeze import freeze
from .history import history
from .keys import key
from .outcomes import orders, sends
from .vault import vault

__all__ = ["app"]

app = typer.Typer(
    help="Trade on crypto exchanges through a server of your own, which holds the keys.",
    epilog=examples(
        "xwrap demo                          see everything work, with paper money",
        "xwrap account add ann --generate    an account; its password is printed once",
        "xwrap serve                         serve at http://127.0.0.1:8000",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(account, name="account")
app.add_typer(key, name="key")
app.add_typer(credential, name="credential")
app.add_typer(address, name="address")
app.add_typer(orders, name="orders")
app.add_typer(sends, name="sends")
app.add_typer(history, name="history")
app.command(epilog=examples("xwrap freeze", "xwrap freeze --account ann --cancel-orders"))(freeze)
app.add_typer(vault, name="vault")
app.add_typer(audit, name="audit")
app.command(epilog=examples("xwrap backup xwrap-2026-11-27.sqlite3", "xwrap backup --to ./backups --keep 14"))(backup)
app.command(epilog=examples("xwrap doctor", "xwrap doctor --url https://xwrap.example --json"))(doctor)
app.command(epilog=examples("xwrap restore xwrap-2026-11-27.sqlite3"))(restore)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xwrap {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command(
    epilog=examples(
        "xwrap serve",
        "xwrap serve --port 8100 --data ./xwrap-data",
        "XWRAP_PAPER_PRICES=prices.csv xwrap serve",
    )
)
def serve(
    host: Annotated[str, typer.Option(help="The IP address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    data: Data = None,
    plain_http: Annotated[
        bool,
        typer.Option("--plain-http", help="Allow other machines in without TLS: only behind a proxy that does TLS."),
    ] = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with one_line_errors():
        from ..server import runner
        from ..server.settings import Settings

        settings = Settings.read(os.environ, data=data, host=host, port=port, plain_http=plain_http)
        runner.run(settings, typer.echo)


@app.command(epilog=examples("xwrap exchanges"))
def exchanges() -> None:
    """List the exchanges and what each can do."""
    with one_line_errors():
        from ..exchanges import EXCHANGES, capabilities, load

        for line in capabilities.lines([load(id) for id in EXCHANGES]):
            typer.echo(line)


@app.command(epilog=examples("xwrap demo", "xwrap demo --serve"))
def demo(
    serve: Annotated[
        bool, typer.Option("--serve", help="Leave the server running, and print how to talk to it.")
    ] = False,
) -> None:
    """Start a server with paper money and trade on it, step by step."""
    with one_line_errors():
        from ..demo import run

        run(stay=serve)
