"""The server that runs: whether it answers, which version it is, and from where it sees a call come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ... import __version__
from ...errors import APIError, InvalidRequest
from ...transport import Request, Response, Transport, base_url, is_loopback
from ..settings import Settings
from .findings import Finding, State

__all__ = ["check_server"]

_SECONDS = 5.0
#: An address for documentation (RFC 5737), from which no call comes.
_FORGED = "192.0.2.1"


def check_server(settings: Settings, url: str, *, is_named: bool) -> Iterator[Finding]:
    """Ask the server at `url`. `is_named`: its administrator says that one is there, so that none is bad."""
    try:
        url = base_url(url)
    except InvalidRequest as error:
        yield Finding("server", "bad", str(error), "name it: xwrap doctor --url https://xwrap.example")
        return
    transport = Transport(timeout=_SECONDS)
    try:
        try:
            answer = _ready(transport, url)
        except APIError as error:
            state: State = "bad" if is_named else "skip"
            yield Finding(
                "server", state, f"none answers at {url}: {error}", "start it: xwrap serve, or name it with --url"
            )
            return
        document = _document(answer)
        yield _server(url, answer, document)
        if "address" not in document:
            return
        if is_loopback(urlsplit(url).hostname or ""):
            yield _proxy_beside(settings, _document(_ready(transport, url, {"X-Forwarded-For": _FORGED})))
        else:
            yield _proxy_between(url, str(document["address"]))
        if "host" in document:
            yield _exposure(str(document["host"]))
    except APIError as error:
        yield Finding("server", "bad", str(error))
    finally:
        transport.close()


def _ready(transport: Transport, url: str, headers: dict[str, str] | None = None) -> Response:
    return transport.send(Request("GET", f"{url}/ready", headers or {}))


def _document(answer: Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _server(url: str, answer: Response, document: dict[str, Any]) -> Finding:
    if answer.status != 200 or document.get("status") != "ok":
        # The words of an error of our server; of any other program's answer the status alone is shown.
        detail = document.get("detail")
        words = detail if isinstance(detail, str) else "this is no answer of an XWrap"
        advice = "name the host in XWRAP_HOSTS of the server" if answer.status == 421 else "look at the server's log"
        return Finding("server", "bad", f"{url}/ready answers {answer.status}: {words}", advice)
    version = document.get("version")
    if version is not None and version != __version__:
        words = f"the server at {url} is bitmm {version}, and installed is {__version__}"
        return Finding("server", "look", words, "start the server again")
    return Finding("server", "ok", f"{url} is ready{'' if version is None else f', bitmm {version}'}")


def _proxy_beside(settings: Settings, document: dict[str, Any]) -> Finding:
    """Say whether the server believes a proxy on this machine, to which a header was sent as one would send it."""
    if document.get("address") == _FORGED:
        return Finding("proxy", "ok", "what a proxy on this machine says of its callers is believed")
    if settings.hosts and not settings.proxies:
        words = "XWRAP_HOSTS names hosts, and no proxy is believed: all that it passes on counts as one caller"
        return Finding("proxy", "look", words, "name its address: XWRAP_PROXIES=127.0.0.1")
    return Finding("proxy", "ok", "no proxy on this machine is believed")


def _proxy_between(url: str, address: str) -> Finding:
    if is_loopback(address):
        words = f"behind {url} the server takes this call for one from {address}, its proxy"
        return Finding("proxy", "look", words, f"name the proxy: XWRAP_PROXIES={address}")
    return Finding("proxy", "ok", f"behind {url} the server sees this call come from {address}; is that you?")


def _exposure(host: str) -> Finding:
    if host == "localhost" or is_loopback(host):
        return Finding("exposure", "ok", "the server listens on this machine alone")
    words = f"the server listens on {host} without TLS, where other machines may reach it"
    return Finding("exposure", "look", words, "only a proxy with TLS should: let a firewall close the port to others")
