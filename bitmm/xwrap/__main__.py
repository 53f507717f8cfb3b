"""`xwrap`, and `python -m bitmm.xwrap`: the command, or how to get it where only the client is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command."""
    try:
        from .cli import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("xwrap: the command and the server are an extra; in a clone of bitmm: pip install '.[server]'")
    app(prog_name="xwrap")


if __name__ == "__main__":
    main()
