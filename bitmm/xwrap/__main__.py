"""`xwrap`, and `python -m bitmm.xwrap`: the command, or how to get it where only the client is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command."""
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit(
            "xwrap: the command is an extra; in a clone of bitmm: pip install '.[cli]', with the server '.[server]'"
        )
    run()


if __name__ == "__main__":
    main()
