"""`xwrap key`: the exchange keys of an account, on a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import examples, group, say, stop
from .http import AccountName, Login, PasswordStdin, Server, log_in

if TYPE_CHECKING:
    from ..client import Backend, Exchange, FormField

__all__ = ["key"]

key = group(
    "The exchange keys of an account, on a running server.",
    "xwrap key list --account ann",
    "xwrap key add kraken --account ann --label main",
    "xwrap key replace 3 --account ann",
)

Id = Annotated[int, typer.Argument(help="The number of the registration, as `xwrap key list` shows it.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", help="What else the exchange wants and is no secret, as uid=1234; may be given again."),
]


@key.command("list", epilog=examples("xwrap key list --account ann", "xwrap key list --account ann --server URL"))
def key_list(account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False) -> None:
    """List the registrations: number, exchange, beginning of the key, what it may do, and the label."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        for backend in login.xwrap.list_backends(login.username, login.password, active_only=False):
            say(_line(backend))


@key.command(
    "add",
    epilog=examples(
        "xwrap key add kraken --account ann --label main      asks for the password, the key and the secret",
        "xwrap key add bitstamp --account ann --field username=1234",
        "cat password key secret | xwrap key add kraken --account ann --password-stdin",
    ),
)
def key_add(
    exchange: Annotated[str, typer.Argument(help="The exchange, by its id in `xwrap exchanges`.")],
    account: AccountName = None,
    label: Annotated[str, typer.Option(help="A name of your own for it.")] = "",
    field: Fields = None,
    allow_send: Annotated[
        bool, typer.Option("--allow-send", help="Let sends leave, and take a key that may withdraw.")
    ] = False,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Register a key. What is secret is asked for in the order of the exchange's form, and never an argument."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        form = _read_form(login, exchange, field or [], "")
        backend = login.xwrap.create_backend(
            *(login.username, login.password, exchange, form.pop("username", "")),
            *(form.pop("apikey", ""), form.pop("apisecret", "")),
            label=label,
            allow_send=allow_send,
            **form,
        )
        say(f"key {backend.id} at {backend.exchange} is registered{_rights(backend.info.get('permissions'))}")


@key.command("check", epilog=examples("xwrap key check 3 --account ann"))
def key_check(
    id: Id, account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False
) -> None:
    """Ask the exchange whether the key works, and what it may do."""
    from ..client import APIError

    with log_in(account, server, password_stdin=password_stdin) as login:
        backend = _backend(login, id)
        rights = None
        try:
            rights = backend.permissions()
        except APIError as error:
            if error.code != "unsupported":
                raise
            backend.balance()
        say(f"key {id} at {backend.exchange} works{_rights(rights)}")


@key.command(
    "replace",
    epilog=examples(
        "xwrap key replace 3 --account ann      asks for the password, the new key and its secret",
        "cat password key secret | xwrap key replace 3 --account ann --password-stdin",
    ),
)
def key_replace(
    id: Id,
    account: AccountName = None,
    field: Fields = None,
    other_account: Annotated[
        bool, typer.Option("--other-account", help="The key is of another account at the exchange, on purpose.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also while orders are open or unknown, which are left to you then.")
    ] = False,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Give a registration another key; its number, journal and open orders stay."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        backend = _backend(login, id)
        form = _read_form(login, backend.exchange or "", field or [], "new ")
        key, secret = form.pop("apikey", ""), form.pop("apisecret", "")
        backend.replace_key(key, secret, other_account=other_account, force=force, **form)
        say(f"key {id} at {backend.exchange} is replaced{_rights(backend.info.get('permissions'))}")


@key.command("disable", epilog=examples("xwrap key disable 3 --account ann"))
def key_disable(
    id: Id, account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False
) -> None:
    """Let neither an order nor a send leave any more; reads and cancels pass."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        _backend(login, id).disable()
        option = f" --account {account}" if account else ""
        say(f"key {id} is switched off; on again with: xwrap key enable {id}{option}")


@key.command("enable", epilog=examples("xwrap key enable 3 --account ann"))
def key_enable(
    id: Id, account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False
) -> None:
    """Switch a registration on again."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        _backend(login, id).enable()
        say(f"key {id} is switched on")


@key.command("rename", epilog=examples("xwrap key rename 3 'main account' --account ann"))
def key_rename(
    id: Id,
    label: Annotated[str, typer.Argument(help="A name of your own for it.")],
    account: AccountName = None,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Give a registration another label."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        _backend(login, id).rename(label)
        say(f"key {id} is called '{label}'")


@key.command("remove", epilog=examples("xwrap key remove 3 --account ann", "xwrap key remove 3 --account ann --force"))
def key_remove(
    id: Id,
    account: AccountName = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also while orders are open or unknown, which are left to you then.")
    ] = False,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Delete a registration and its key; the journal stays."""
    from ..client import Backend

    with log_in(account, server, password_stdin=password_stdin) as login:
        Backend(id, login.username, login.password, login.xwrap).delete(force=force)
        say(f"key {id} is removed; delete it at the exchange, too")


def _backend(login: Login, id: int) -> Backend:
    return login.xwrap.backend(id, login.username, login.password)


def _line(backend: Backend) -> str:
    info = backend.info
    rights = ",".join(info.get("permissions") or ["not told"])
    state = "" if backend.enabled else "  (switched off)"
    sends = "  (sends allowed)" if info.get("allow_send") else ""
    label = f"  {backend.label}" if backend.label else ""
    return f"{backend.id:>4}  {backend.exchange}  {info.get('apikey') or '-'}  {rights}{sends}{state}{label}"


def _rights(permissions: list[str] | None) -> str:
    """Return the end of a line: what a key may do."""
    if permissions is None:
        return "; its exchange does not say what it may do"
    return f"; it may {', '.join(permissions)}" if permissions else "; it may do nothing"


def _read_form(login: Login, exchange: str, given: list[str], which: str) -> dict[str, str]:
    """Return the fields of a key: those that are `given` as name=value, and those that are asked for."""
    form = _form_of(login, exchange)
    open_names = [row["name"] for row in form if not _is_asked_for(row)]
    fields: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in open_names:
            # Of a secret, which is no argument, only the name is shown.
            takes = ", ".join(f"{name}=VALUE" for name in open_names) or "none"
            stop(f"--field {name[:40]} is not taken at {exchange}; it takes {takes}; what is secret is asked for")
        fields[name] = value
    for row in form:
        if row["required"] and not _is_asked_for(row) and not fields.get(row["name"]):
            stop(f"{exchange} wants '{row['name']}' ({row['help']}); add: --field {row['name']}=VALUE")
    for row in form:
        if _is_asked_for(row):
            value = login.read_secret(f"{exchange}'s {which}{row['name']} ({row['help']})", required=row["required"])
            fields |= {row["name"]: value} if value else {}
    return fields


def _is_asked_for(row: FormField) -> bool:
    return row["secret"] or row["name"] == "apikey"


def _form_of(login: Login, exchange: str) -> list[FormField]:
    """Return the form of an exchange that the server offers."""
    rows: list[Exchange] = login.xwrap.list_exchanges()
    names = {name.lower(): row for row in rows for name in (row["id"], row["name"])}
    if exchange.lower() not in names:
        offered = ", ".join(row["id"] for row in rows)
        stop(f"this server does not offer '{exchange[:40]}'; it offers {offered}")
    return names[exchange.lower()].get("form", [])
