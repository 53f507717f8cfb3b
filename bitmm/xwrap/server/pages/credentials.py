"""The credentials of the account: named passwords for programs."""

from __future__ import annotations

from starlette.responses import Response

from ..views import credentials, registrations
from .visits import FormFields, Visit

__all__ = ["add", "revoke", "show_credentials"]


async def show_credentials(visit: Visit) -> Response:
    """GET /page/credentials"""
    rows = await visit.call(credentials.index, "database")
    backends = await visit.call(registrations.index, "database", FormFields())
    return await visit.show("credentials.html", rows=rows, backends=backends)


async def add(visit: Visit) -> Response:
    """POST /page/credentials: the answer is the page that shows the password, once.

    It is no redirect, because the password is kept nowhere.
    """
    row = await visit.call(credentials.create, "database", visit.given())
    return await visit.show("new_credential.html", row=row, status=201)


async def revoke(visit: Visit) -> Response:
    """POST /page/credentials/NAME/revoke"""
    row = await visit.call(credentials.revoke, "database")
    return await visit.done(f"The credential {row['name']} is revoked.")
