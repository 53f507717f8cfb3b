"""A hub's overview document: what it supports, how it is called, and the URLs that credentials may be sent to."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from ....transport import is_loopback
from ...errors import Refused
from ...http import FORM, JSON

if TYPE_CHECKING:
    from ....transport import Response

__all__ = ["Overview", "check_url", "function_url", "parse_overview"]

#: Choice: an overview document has at most this many bytes.
_MAX_BYTES = 64 * 1024
_ALLOWED: dict[str, tuple[object, ...]] = {
    "req_method": ("POST", "GET"),
    "post_body_encoding": (FORM, JSON),
    "req_authentication_type": (1, 2),
}
_PLACEHOLDER = "(function_name)"
#: Only URLs that all parsers split alike: no user, no backslash, nothing that could move the end of the host.
_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)


class Overview(NamedTuple):
    """What a hub says of itself in its overview document; the names are the page's."""

    req_url: str
    req_method: Literal["POST", "GET"]
    post_body_encoding: str
    req_authentication_type: Literal[1, 2]
    supported_functions: frozenset[str]


def parse_overview(answer: Response) -> Overview:
    """Return the overview document: JSON without comments, no key missing, only values that the page lists.

    Raises Refused `overview_refused` for any other document.
    """
    try:
        if len(answer.body) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        document = answer.json()
        overview = Overview(
            document["req_url"],
            document["req_method"],
            document["post_body_encoding"],
            document["req_authentication_type"],
            frozenset(document["supported_functions"]),
        )
        texts = [overview.req_url, *overview.supported_functions]
        if not (isinstance(document["supported_functions"], list) and all(isinstance(text, str) for text in texts)):
            raise ValueError("a URL or a name is no text, or the functions are no list")
        for key, allowed in _ALLOWED.items():
            value = document[key]
            if value not in allowed or isinstance(value, bool):  # in Python, True equals 1
                raise ValueError(f"{key} is none of {', '.join(map(str, allowed))}")
    except KeyError as error:
        raise Refused(f"the hub's overview lacks {error.args[0]}", code="overview_refused") from None
    except (TypeError, ValueError) as error:
        raise Refused(f"the hub's overview cannot be used: {str(error)[:100]}", code="overview_refused") from None
    return overview


def function_url(overview: Overview, function: str, *, home: str, hosts: Collection[str]) -> str:
    """Return the URL of `function`, which is at the origin of `home` or at one of `hosts`.

    Raises Refused `overview_refused` for any other URL. The final URL is checked, not the template: its placeholder may
    stand anywhere, also in the host.
    """
    if _PLACEHOLDER not in overview.req_url and overview.req_authentication_type == 1:
        raise Refused("the hub's req_url has no (function_name), and nothing else names it", code="overview_refused")
    url = check_url(overview.req_url.replace(_PLACEHOLDER, quote(function, safe="")))
    if _origin(url) != _origin(home) and urlsplit(url).netloc.lower() not in hosts:
        raise Refused(
            f"the hub's overview sends calls to {urlsplit(url).netloc}, which is not the hub", code="overview_refused"
        )
    return url


def check_url(url: str) -> str:
    """Return `url` when credentials may be sent to it: https, or this machine. Raises Refused for any other."""
    host = urlsplit(url).hostname if _URL.fullmatch(url) else None
    if host is None:
        raise Refused("the hub's address is not a plain http or https URL", code="overview_refused")
    if not url.startswith("https://") and not is_loopback(host):
        raise Refused("the hub's address is not https", code="overview_refused")
    return url


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
