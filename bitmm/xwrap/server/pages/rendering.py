"""Templates become answers, with the headers that let a browser run nothing and tell nobody."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["redirect", "render", "send_file"]

_FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    # Other sites are told nothing. With "no-referrer" a browser would send "Origin: null" with our own forms, which the
    # check of origins refuses.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: The files that pages need beside themselves, by name, with their media types.
_FILES = {
    name: ((_FOLDER / name).read_bytes(), media_type)
    for name, media_type in (("style.css", "text/css"), ("icon.svg", "image/svg+xml"))
}


def _time(text: str | None) -> Markup | str:
    """Return a time of the data base as people read it, to the second."""
    if not text:
        return "never"
    return Markup('<time datetime="{}">{} {} UTC</time>').format(text, text[:10], text[11:19])


def _amount(text: str | None) -> Markup | str:
    """Return an amount with all its digits, without zeros at its end that say nothing.

    Three digits stand together in a group; the space before it is the style's, so that a copy is the plain number.
    """
    if text is None:
        return "not said"
    whole, point, rest = text.partition(".")
    rest = rest.rstrip("0")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    first = len(digits) % 3 or 3
    groups = [digits[start : start + 3] for start in range(first, len(digits), 3)]
    shown = Markup("").join(Markup("<span>{}</span>").format(group) for group in groups)
    return Markup('<span class="amount">{}{}{}{}</span>').format(sign, digits[:first], shown, point * bool(rest) + rest)


def _name(row: Mapping[str, Any]) -> str:
    """Return what a registration is called: its exchange and its label, else its number."""
    return f"{row['exchange']} · {row['label'] or row['id']}"


@cache
def _environment() -> Environment:
    # Imported with the first page: a server that shows none saves 2 MiB (2026-11-28).
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": _amount,
        "time": _time,
        "registration": _name,
        "in_path": lambda text: quote(text, safe=""),
    }
    return environment


def render(template: str, values: Mapping[str, Any], status: int = 200) -> Response:
    """Return the page that a template makes of these values; every text in them is escaped."""
    return HTMLResponse(_environment().get_template(template).render(values), status, _HEADERS)


def redirect(path: str) -> Response:
    """Return the answer that leads a browser to another page, with a GET."""
    return RedirectResponse(path, 303, _HEADERS)


def send_file(name: str) -> Response:
    """Return a file that pages need beside themselves: the style or the icon."""
    content, media_type = _FILES[name]
    return Response(content, media_type=media_type, headers=_HEADERS)
