"""The `xwrap` command: a module for each noun. `README.md` beside it lists what speaks to a running server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..serve_command import PORTS, WORKERS
from ..serve_command import serve as start_server
from .accounts import account
from .addresses import address
from .archive import archive
from .audit import audit
from .backups import backup, restore
from .balances import balance, value
from .common import Data, examples, one_line_errors
from .credentials import credential
from .deploy import deploy
from .doctor import doctor
from .exits import CLOSED_PIPE, EXIT_CODES, FAILED
from .exporting import export
from .freeze import freeze
from .history import history
from .keys import key
from .login import login, logout, profiles
from .markets import best, book, candles, fees, markets, rates
from .notices import notices
from .orders import cancel, cancel_all, fills, order
from .outcomes import orders, sends
from .output import discard_output
from .sending import send
from .shipped_examples import shipped_examples
from .trading import buy, sell
from .vault import vault

__all__ = ["app", "run"]

app = typer.Typer(
    help="Trade on crypto exchanges through a server of your own, which holds the keys.",
    epilog=examples(
        "xwrap demo                          see everything work, with paper money",
        "xwrap account add ann --generate    an account; its password is printed once",
        "xwrap serve                         serve at http://127.0.0.1:8000",
        "xwrap login                         then, also on other machines:",
        "xwrap rates USD BTC                 what one BTC costs, and brings, at each exchange",
        "xwrap buy paper BTC 0.1 --for USD   asks before it orders",
    )
    + "\n\n\b\nExit codes:\n"
    + "\n".join(f"  {line}" for line in EXIT_CODES),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
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
app.add_typer(shipped_examples, name="examples")
app.add_typer(deploy, name="deploy")
app.add_typer(audit, name="audit")
app.add_typer(archive, name="archive")
app.add_typer(notices, name="notices")
app.command(epilog=examples("xwrap backup xwrap-2026-11-27.sqlite3", "xwrap backup --to ./backups --keep 14"))(backup)
app.command(epilog=examples("xwrap doctor", "xwrap doctor --url https://xwrap.example --json"))(doctor)
app.command(epilog=examples("xwrap restore xwrap-2026-11-27.sqlite3"))(restore)

# What speaks to a running server.
app.command(
    epilog=examples(
        "xwrap login",
        "xwrap login --server https://xwrap.example.org --account ann/shell --profile live",
        "cat password | xwrap login --account ann/shell --password-stdin",
    )
)(login)
app.command(epilog=examples("xwrap logout", "xwrap logout --profile live"))(logout)
app.command(epilog=examples("xwrap profiles"))(profiles)
app.command(epilog=examples("xwrap rates USD BTC", "xwrap rates USD BTC --json"))(rates)
app.command(epilog=examples("xwrap best buy USD BTC 0.5", "xwrap best buy USD BTC --cost 100"))(best)
app.command(epilog=examples("xwrap balance", "xwrap balance --backend kraken --json"))(balance)
app.command(epilog=examples("xwrap value EUR"))(value)
app.command(
    epilog=examples(
        "xwrap buy paper BTC 0.1 --for USD              at the current price",
        "xwrap buy paper BTC 0.1 --for USD --price 90000 --post-only",
        "xwrap buy paper BTC --for USD --cost 100 --dry-run",
        "xwrap buy paper BTC 0.1 --for USD --yes --key monday-1 --json",
    )
)(buy)
app.command(
    epilog=examples(
        "xwrap sell paper BTC 0.1 --for USD             at the current price",
        "xwrap sell paper BTC 0.1 --for USD --stop 80000",
        "xwrap sell paper BTC 0.1 --for USD --price 120000 --yes",
    )
)(sell)
app.command(epilog=examples("xwrap order kraken 17", "xwrap order kraken --key monday-1"))(order)
app.command(epilog=examples("xwrap cancel kraken 17", "xwrap cancel kraken --key monday-1"))(cancel)
app.command(epilog=examples("xwrap cancel-all kraken"))(cancel_all)
app.command(epilog=examples("xwrap send kraken BTC 0.1 bc1q...", "xwrap send kraken XRP 20 r... --tag 7"))(send)
app.command(epilog=examples("xwrap markets kraken"))(markets)
app.command(epilog=examples("xwrap book kraken USD BTC --depth 5"))(book)
app.command(epilog=examples("xwrap candles kraken USD BTC --interval 1d --limit 30"))(candles)
app.command(epilog=examples("xwrap fees kraken USD BTC"))(fees)
app.command(epilog=examples("xwrap fills kraken USD BTC", "xwrap fills kraken USD BTC --all --json"))(fills)
app.command(
    epilog=examples(
        "xwrap export --year 2026 --out 2026.csv",
        "xwrap export --year 2026 --format koinly --backend kraken --out kraken-2026.csv",
    )
)(export)


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
        "XWRAP_DATABASE_URL=postgresql+psycopg://xwrap@/xwrap xwrap serve --workers 4",
    )
)
def serve(
    host: Annotated[str, typer.Option(help="The IP address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=PORTS[0], max=PORTS[-1], help="The port; 0 takes a free one.")] = 8000,
    data: Data = None,
    plain_http: Annotated[
        bool,
        typer.Option("--plain-http", help="Allow other machines in without TLS: only behind a proxy that does TLS."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=WORKERS[0],
            max=WORKERS[-1],
            help="So many processes share the port, on PostgreSQL. [default: XWRAP_WORKERS, else 1]",
        ),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write the log as JSON, one object a line; as XWRAP_LOG_FORMAT=json.")
    ] = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with one_line_errors():
        start_server(
            typer.echo, host=host, port=port, data=data, plain_http=plain_http, workers=workers, log_json=log_json
        )


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


def end_as_command(error: BaseException) -> None:
    """End this process as a command ends in which `error` was raised."""
    failed = typer.Typer(pretty_exceptions_enable=False)

    @failed.command()
    def fail() -> None:
        with one_line_errors():
            raise error

    run(failed, [])


def run(command: typer.Typer = app, arguments: Sequence[str] | None = None) -> None:
    """Run a command with these arguments (None: those of this process); what cannot be printed ends it in one line."""
    try:
        try:
            command(arguments, prog_name="xwrap")
        finally:
            sys.stdout.flush()
    except OSError as error:
        discard_output(sys.stdout)
        if isinstance(error, BrokenPipeError):
            sys.exit(CLOSED_PIPE)
        typer.echo(f"xwrap: the output cannot be written: {error.strerror}", err=True)
        sys.exit(FAILED)
