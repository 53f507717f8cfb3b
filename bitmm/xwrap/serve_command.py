"""`xwrap serve`, from its options to the server, without what only other commands need.

The parser of the command line (typer, and with it pydantic) takes 0.15 s of CPU and 10 MiB, which a server would hold
as long as it runs (2026-11-28). So plain options are read here. All others, and what is wrong, are left to it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["OPTIONS", "PORTS", "WORKERS", "plain_options", "serve"]

PORTS = range(65536)
WORKERS = range(1, 100)


def _number_in(numbers: range) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdecimal() and int(text) in numbers:
            return int(text)
        raise ValueError("not one of the numbers")

    return read


#: The options of the command, and what their values are read with; None: it has none.
OPTIONS: Mapping[str, Callable[[str], Any] | None] = {
    "--host": str,
    "--port": _number_in(PORTS),
    "--data": Path,
    "--plain-http": None,
    "--workers": _number_in(WORKERS),
    "--log-json": None,
}


def plain_options(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments of `serve` for a command line like `serve --host X --port 8000`; None: it is another one."""
    if not arguments or arguments[0] != "serve":
        return None
    options: dict[str, Any] = {}
    left = iter(arguments[1:])
    for name in left:
        if name not in OPTIONS:
            return None
        read, value = OPTIONS[name], True
        if read is not None:
            text = next(left, "-")
            if not text or text.startswith("-"):
                return None
            try:
                value = read(text)
            except ValueError:
                return None
        options[name.removeprefix("--").replace("-", "_")] = value
    return options


def serve(
    report: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    data: Path | None = None,
    plain_http: bool = False,
    workers: int | None = None,
    log_json: bool = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM. `report` is called with each line that a person should read.

    Raises SetupError or OSError when the server cannot start, and SetupError when it must not go on.
    """
    # A fifth of a start would be looking for garbage, of which there is none; the server turns it on when it is ready.
    gc.disable()
    try:
        from .server.settings import Settings

        given: dict[str, Any] = {"log_format": "json"} if log_json else {}
        if workers is not None:
            given["workers"] = workers
        settings = Settings.read(os.environ, data=data, host=host, port=port, plain_http=plain_http, **given)
        if settings.workers > 1:
            from .server.supervisor import run
        else:
            from .server.runner import run
        run(settings, report)
    finally:
        gc.enable()
