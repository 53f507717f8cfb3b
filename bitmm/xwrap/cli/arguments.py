"""The arguments that several of the client's commands take."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Asset", "BackendName", "Currency", "Limit", "SomeBackend"]

BackendName = Annotated[
    str,
    typer.Argument(
        metavar="BACKEND",
        help="A registration: its number, its label, or its exchange if it is the only one there.",
        show_default=False,
    ),
]
SomeBackend = Annotated[
    str | None,
    typer.Option("--backend", help="Only this registration: its number, label or exchange. [default: all enabled]"),
]
Currency = Annotated[str, typer.Argument(help="What is paid with, as USD.", show_default=False)]
Asset = Annotated[str, typer.Argument(help="What is bought, as BTC.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many at most.")]
