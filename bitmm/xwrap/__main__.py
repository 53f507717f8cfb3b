"""`xwrap`, and `python -m bitmm.xwrap`: the command, or how to get it where only the client is installed."""

from __future__ import annotations

import sys
from types import ModuleType

from .serve_command import plain_options, serve


def main() -> None:
    """Run the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if (options := plain_options(sys.argv[1:])) is not None:
        try:
            serve(_report, **options)
        except (Exception, KeyboardInterrupt) as error:
            _load_command().end_as_command(error)
    else:
        _load_command().run()


def _report(line: str) -> None:
    # With PYTHONUNBUFFERED `print` writes the end of a line by itself, and one of the log came between (2026-11-28).
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _load_command() -> ModuleType:
    try:
        from . import cli
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit(
            "xwrap: the command is an extra; in a clone of bitmm: pip install '.[cli]', with the server '.[server]'"
        )
    return cli


if __name__ == "__main__":
    main()
