"""The document as one page of HTML, without a script, with an anchor for each call, schema and code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ...codes import CODES
from .document import document, resolved
from .operations import groups

__all__ = ["STYLE", "page"]

_FOLDER = Path(__file__).parent
STYLE = (_FOLDER / "style.css").read_bytes()
#: The limits of a value, in words.
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minProperties": "at least {} field",
    "pattern": "matches {}",
    "format": "{}",
    "default": "else {}",
}


@cache
def page() -> str:
    """Return the page."""
    # Imported with the first one, as yaml is in `document`: few servers ever show it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"paragraphs": _paragraphs, "literal": json.dumps, "limits": _limits, "resolved": resolved}
    codes = document()["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
    return environment.get_template("page.html").render(
        document=document(), groups=groups(), codes={name: CODES[name] for name in codes}
    )


def _paragraphs(text: str) -> Markup:
    """Return a text as HTML: what stands in backticks is code, and an empty line begins a paragraph."""
    paragraphs = [part for part in re.split(r"\n\s*\n", text.strip()) if part]
    return Markup("").join(Markup("<p>{}</p>").format(_inline(part)) for part in paragraphs)


def _inline(text: str) -> Markup:
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _limits(schema: Mapping[str, Any]) -> list[Markup]:
    """Return what a schema says of the size and the form of a value."""
    return [_inline(words.format(f"`{schema[name]}`")) for name, words in _LIMITS.items() if name in schema]
