"""`xwrap notices`: whether the administrator's receiver takes what happens."""

from __future__ import annotations

import json
import os
import secrets

import typer

from .common import Data, examples, group, one_line_errors, open_store, stop

__all__ = ["notices"]

notices = group(
    "The notices that the server sends to the receiver of XWRAP_NOTICE_URL.",
    "xwrap notices test",
    "xwrap notices show",
)


@notices.command("test", epilog=examples("xwrap notices test"))
def notices_test(data: Data = None) -> None:
    """Send a notice of the kind "test" now, and print the answer. Nothing that waits is sent by this."""
    with one_line_errors():
        from ..server.db.records import now
        from ..server.settings import Settings
        from ..server.webhook import NotTakenError, open_webhook

        webhook = open_webhook(Settings.read(os.environ, data=data))
        if webhook is None:
            stop("XWRAP_NOTICE_URL is not set, so no notices are sent")
        id = secrets.token_hex(16)
        place = dict.fromkeys(("account", "registration", "exchange", "label"))
        body = json.dumps({"id": id, "kind": "test", "time": now(), **place}, separators=(",", ":"))
        try:
            status = webhook.send(id, body)
        except NotTakenError as error:
            stop(f"notice {id} was not taken: {error}")
        finally:
            webhook.close()
    typer.echo(f"notice {id} was taken: the receiver answered {status}")


@notices.command("show", epilog=examples("xwrap notices show", "xwrap notices show --data ./xwrap-data"))
def notices_show(data: Data = None) -> None:
    """Print how many notices wait, and why the oldest one was not taken."""
    with one_line_errors(), open_store(data) as store:
        backlog = store.notices.backlog()
    if not backlog.waiting:
        typer.echo("no notice waits")
        return
    typer.echo(f"waiting  {backlog.waiting}")
    typer.echo(f"oldest   {backlog.since}, tried {backlog.tries} times")
    typer.echo(f"error    {backlog.error or 'none'}")
