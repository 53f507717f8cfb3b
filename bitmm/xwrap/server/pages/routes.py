"""Every path of the owner's page, with the view that answers it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import credentials, freezing, keys, market, orders, overview, reports, sign_in, unknown
from .rendering import send_file
from .visits import FIRST, View, page

__all__ = ["PAGES"]


def _get(path: str, view: View, section: str | None = None) -> Route:
    return Route(path, page(view, section or path))


def _post(path: str, view: View, section: str) -> Route:
    return Route(path, page(view, section), methods=["POST"])


async def _style(_request: Request) -> Response:
    """GET /page/style.css"""
    return send_file("style.css")


async def _icon(_request: Request) -> Response:
    """GET /page/icon.svg"""
    return send_file("icon.svg")


#: A POST changes something; no GET does, beyond what the JSON route of the same thing does.
PAGES = [
    Route(FIRST, page(overview.show_overview, FIRST, otherwise=sign_in.show_sign_in)),
    Route("/page/style.css", _style),
    Route("/page/icon.svg", _icon),
    Route("/page/sign-in", sign_in.sign_in, methods=["POST"]),
    _post("/page/sign-out", sign_in.sign_out, FIRST),
    _get("/page/rates", market.show_rates),
    _get("/page/orders", orders.show_orders),
    _post("/page/orders/{id}/cancel-all", orders.cancel_all, "/page/orders"),
    _post("/page/orders/{id}/{order_id}/cancel", orders.cancel, "/page/orders"),
    _get("/page/unknown", unknown.show_unknown),
    _post("/page/unknown/orders/{row_id}", unknown.record_order, "/page/unknown"),
    _post("/page/unknown/sends/{row_id}", unknown.record_send, "/page/unknown"),
    _get("/page/keys", keys.show_keys),
    _post("/page/keys", keys.add, "/page/keys"),
    _get("/page/new-key", keys.show_form, "/page/keys"),
    _get("/page/keys/{id}", keys.show_key, "/page/keys"),
    _post("/page/keys/{id}", keys.change, "/page/keys"),
    _post("/page/keys/{id}/check", keys.check, "/page/keys"),
    _post("/page/keys/{id}/replace", keys.replace, "/page/keys"),
    _get("/page/credentials", credentials.show_credentials),
    _post("/page/credentials", credentials.add, "/page/credentials"),
    _post("/page/credentials/{name}/revoke", credentials.revoke, "/page/credentials"),
    _get("/page/freeze", freezing.show_freeze),
    _post("/page/freeze", freezing.freeze, "/page/freeze"),
    _post("/page/unfreeze", freezing.unfreeze, "/page/freeze"),
    _get("/page/audit", reports.show_audit),
    _get("/page/health", reports.show_health),
]
