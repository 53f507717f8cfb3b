"""Which address the server takes a caller to have."""

from __future__ import annotations

from typing import Any

from bitmm.xwrap.server import endpoints

__all__ = ["WRONG_LOGIN", "watch_addresses"]

#: A login that is looked at, and refused.
WRONG_LOGIN = "Authorization: Basic bm9ib2R5Ondyb25n"


def watch_addresses(monkeypatch: Any) -> list[str]:
    """The addresses with which logins are looked at from now on."""
    seen: list[str] = []
    recognize = endpoints._recognize

    def watch(services, request):
        seen.append(request.client.host)
        return recognize(services, request)

    monkeypatch.setattr(endpoints, "_recognize", watch)
    return seen
