"""The contract in the forms of `reference`: as JSON, and as a page for people. Anybody may ask."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..context import services_of
from ..reference.document import SOURCE, as_json
from ..reference.page import STYLE, page

__all__ = ["openapi_json", "openapi_yaml", "show", "style"]

_YAML = SOURCE.read_bytes()
#: A browser runs nothing, and asks for nothing but the style.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


async def openapi_yaml(_request: Request) -> Response:
    """GET /openapi.yaml: the whole contract."""
    return Response(_YAML, media_type="application/yaml")


async def openapi_json(request: Request) -> Response:
    """GET /openapi.json: the same."""
    return Response(await services_of(request).threads.run("database", as_json), media_type="application/json")


async def show(request: Request) -> Response:
    """GET /docs: the same, to be read."""
    return HTMLResponse(await services_of(request).threads.run("database", page), headers=_HEADERS)


async def style(_request: Request) -> Response:
    """GET /docs/style.css"""
    return Response(STYLE, media_type="text/css", headers=_HEADERS)
