"""`xwrap doctor`: what is well with an installation, and what is not."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Data, one_line_errors
from .http import Server

if TYPE_CHECKING:
    from ..server.doctor.findings import Finding

__all__ = ["doctor"]

_COLORS = {"ok": "green", "look": "yellow", "bad": "bold red", "skip": "dim"}


def doctor(
    data: Data = None,
    url: Server = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check the installation, and say for each finding what to do.

    It changes nothing, also while the server runs. ok: well. look: a person should look at it. bad: it keeps the server
    from working safely. skip: it could not be checked here. Exit 1 when something is bad.
    """
    with one_line_errors():
        from ..server.doctor.examination import examine

        findings = []
        for finding in examine(os.environ, data, url):
            findings.append(finding)
            if not as_json:
                _print(finding)
    is_good = all(finding.state != "bad" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"good": is_good, "findings": [finding._asdict() for finding in findings]}, indent=2))
    raise typer.Exit(0 if is_good else 1)


def _print(finding: Finding) -> None:
    """Print a finding as one line, in colours on a terminal."""
    line = f" {finding.check:<14} {finding.words}{'' if finding.advice is None else f'; {finding.advice}'}"
    if not sys.stdout.isatty():
        typer.echo(f"{finding.state:<4}{line}")
        return
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(f"{finding.state:<4}", _COLORS[finding.state]) + Text(line), soft_wrap=True)
