"""The `xwrap` command. The server is imported where a command needs it, so that `--help` is quick and needs none."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .. import __version__

if TYPE_CHECKING:
    from ..server.db.journal import Journal
    from ..server.db.store import Store


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    help="Trade on crypto exchanges through a server of your own, which holds the keys.",
    epilog=_examples(
        "xwrap demo                          see everything work, with paper money",
        "xwrap account add ann --generate    an account; its password is printed once",
        "xwrap serve                         serve at http://127.0.0.1:8000",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
account = typer.Typer(
    help="Who may log in.",
    epilog=_examples("xwrap account add ann", "xwrap account list"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(account, name="account")
orders = typer.Typer(
    help="Orders whose outcome nobody knows.",
    epilog=_examples("xwrap orders unknown", "xwrap orders settle 17 --as not-placed"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(orders, name="orders")
sends = typer.Typer(
    help="Sends whose outcome nobody knows.",
    epilog=_examples("xwrap sends unknown", "xwrap sends settle 17 --as not-sent"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(sends, name="sends")

Data = Annotated[
    Path | None,
    typer.Option(help="The folder of the data base. [default: XWRAP_DATA_DIR, else a folder of your user]"),
]


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
    epilog=_examples(
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
    with _explained():
        from ..server import runner
        from ..server.settings import Settings

        settings = Settings.read(os.environ, data=data, host=host, port=port, plain_http=plain_http)
        runner.run(settings, typer.echo)


@account.command(
    "add",
    epilog=_examples(
        "xwrap account add ann               asks for the password, twice",
        "xwrap account add bot --generate    makes a password and prints it once",
        "pass show xwrap | xwrap account add ann --password-stdin",
    ),
)
def account_add(
    name: Annotated[str, typer.Argument(help="The user name: printable text without a colon.")],
    data: Data = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
    generate: Annotated[bool, typer.Option("--generate", help="Make a password and print it once.")] = False,
) -> None:
    """Add an account; the data base is made when there is none."""
    if password_stdin and generate:
        _stop("choose one of --password-stdin and --generate")
    if not name or ":" in name or not name.isprintable():
        _stop("a user name is printable text without a colon")
    with _explained(), _opened(data) as store:
        if store.accounts.find(name):
            _stop(f"there is an account '{name}' already")
        password = secrets.token_urlsafe(24) if generate else _ask_password(from_stdin=password_stdin)
        _add(store, name, password)
    typer.echo(password if generate else f"account '{name}' added")


def _add(store: Store, name: str, password: str) -> None:
    from ..server.auth import hash_password

    try:
        store.accounts.add(name, hash_password(password))
    except ValueError as error:
        _stop(str(error))


@account.command("list", epilog=_examples("xwrap account list", "xwrap account list --data ./xwrap-data"))
def account_list(data: Data = None) -> None:
    """List the accounts."""
    with _explained(), _opened(data) as store:
        for row in store.accounts.all():
            state = "" if row["active"] else "  (switched off)"
            typer.echo(f"{row['id']:>4}  {row['name']}  since {row['created'][:10]}{state}")


@orders.command("unknown", epilog=_examples("xwrap orders unknown", "xwrap orders unknown --data ./xwrap-data"))
def orders_unknown(data: Data = None) -> None:
    """List them. The server asks their exchanges by itself; what stays here, an exchange cannot tell."""
    with _explained(), _opened(data) as store:
        _list_unknown(store.orders, _order_told)


@orders.command(
    "settle",
    epilog=_examples("xwrap orders settle 17 --as filled", "xwrap orders settle 17 --as not-placed"),
)
def orders_settle(
    id: Annotated[int, typer.Argument(help="The order, as `xwrap orders unknown` numbers it.")],
    as_: Annotated[str, typer.Option("--as", help="What you found out at the exchange: filled, or not-placed.")],
    data: Data = None,
) -> None:
    """Decide what became of an order, after you looked at the exchange. What you say is kept with the time."""
    with _explained(), _opened(data) as store:
        _settle(store.orders, "order", id, as_, done="filled", undone="not-placed")


@sends.command("unknown", epilog=_examples("xwrap sends unknown", "xwrap sends unknown --data ./xwrap-data"))
def sends_unknown(data: Data = None) -> None:
    """List them. The server asks their exchanges by itself; what stays here, an exchange cannot tell."""
    with _explained(), _opened(data) as store:
        _list_unknown(store.withdrawals, _send_told)


@sends.command("settle", epilog=_examples("xwrap sends settle 17 --as done", "xwrap sends settle 17 --as not-sent"))
def sends_settle(
    id: Annotated[int, typer.Argument(help="The send, as `xwrap sends unknown` numbers it.")],
    as_: Annotated[str, typer.Option("--as", help="What you found out at the exchange: done, or not-sent.")],
    data: Data = None,
) -> None:
    """Decide what became of a send, after you looked at the exchange. What you say is kept with the time."""
    with _explained(), _opened(data) as store:
        _settle(store.withdrawals, "send", id, as_, done="done", undone="not-sent")


def _list_unknown(journal: Journal, told: Callable[[dict[str, Any]], str]) -> None:
    for registration, row in journal.unknown():
        typer.echo(f"{row['id']:>6}  {registration.exchange}  {told(row)}  {row['created']}  key {row['key']}")


def _order_told(row: dict[str, Any]) -> str:
    amount, cost = (f"{row[name]} " if row[name] else "" for name in ("amount", "cost"))
    price = f" at {row['price']}" if row["price"] else ""
    return f"{row['side']} {amount}{row['asset']} for {cost}{row['currency']}{price}"


def _send_told(row: dict[str, Any]) -> str:
    more = "".join(f" {name} {row[name]}" for name in ("tag", "network") if row[name])
    return f"{row['amount']} {row['asset']} to {row['address']}{more}"


def _settle(journal: Journal, noun: str, id: int, as_: str, *, done: str, undone: str) -> None:
    from ..server.reconciliation import not_placed

    if as_ not in {done, undone}:
        _stop(f"--as takes {done} or {undone}")
    row = next((row for _, row in journal.unknown() if row["id"] == id), None)
    if row is None:
        _stop(f"{noun} {id} is not among the unknown ones; see: xwrap {noun}s unknown")
    executed = {"status": done} | ({"filled": row["amount"]} if "filled" in row else {})
    columns = executed if as_ == done else not_placed(row)
    if not journal.reconcile(row, columns, audit=f"xwrap {noun}s settle {id} --as {as_}"):
        _stop(f"{noun} {id} has been settled meanwhile")
    typer.echo(f"{noun} {id} is settled: {as_}")


@app.command(epilog=_examples("xwrap exchanges"))
def exchanges() -> None:
    """List the exchanges and what each can do."""
    with _explained():
        from ..exchanges import EXCHANGES, capabilities, load

        for line in capabilities.lines([load(id) for id in EXCHANGES]):
            typer.echo(line)


@app.command(epilog=_examples("xwrap demo", "xwrap demo --serve"))
def demo(
    serve: Annotated[
        bool, typer.Option("--serve", help="Leave the server running, and print how to talk to it.")
    ] = False,
) -> None:
    """Start a server with paper money and trade on it, step by step."""
    with _explained():
        from ..demo import run

        run(stay=serve)


@contextmanager
def _opened(data: Path | None) -> Iterator[Store]:
    from ..server.db.store import Store
    from ..server.settings import Settings

    settings = Settings.read(os.environ, data=data)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database)
    try:
        store.prepare()
        yield store
    finally:
        store.close()


def _ask_password(*, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            _stop("the two passwords differ")
    if len(password) < 8:
        _stop("a password has at least 8 characters")
    return password


@contextmanager
def _explained() -> Iterator[None]:
    """What a person can mend is told in one line with exit 1, never as a traceback."""
    try:
        from ..server.settings import SetupError
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("bitmm"):
            raise
        _stop("this needs the server; in a clone of bitmm: pip install '.[server]'")
    try:
        yield
    except SetupError as error:
        _stop(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _stop(f"{error.filename}: {error.strerror}; choose another folder with --data")


def _stop(line: str) -> NoReturn:
    typer.echo(f"xwrap: {line}", err=True)
    raise typer.Exit(1)
