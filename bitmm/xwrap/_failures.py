"""What a failed call means: whether its request left, and why it failed in our words."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import DecodeError, HTTPError, InvalidHeader, NewConnectionError

from ._deadline import call_state

__all__ = ["ProtocolError", "certainly_unsent", "describe_error"]


class ProtocolError(Exception):
    """The other side sent something that is not accepted as an answer: `code` is that of the error to raise."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, as far as they belong to this call."""
    while error is not None and error is not call_state.outer:
        yield error
        error = error.__cause__ or error.__context__


def certainly_unsent(error: BaseException) -> bool:
    """Return whether no byte of the request left. Where no connection of ours was used, only what is certain counts."""
    if call_state.sent is not None:
        return not call_state.sent
    if isinstance(error, MemoryError):
        return False  # It says nothing about how far another's adapter came.
    if not isinstance(error, requests.RequestException):
        return True
    certain = (NewConnectionError, ConnectionRefusedError, socket.gaierror)
    return isinstance(error, (ValueError, requests.ConnectTimeout)) or any(
        isinstance(e, certain) for e in _chain(error)
    )


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "the time was up"),
    (requests.Timeout, "the time was up"),
    (MemoryError, "there is no memory left"),
    (ssl.SSLCertVerificationError, "its certificate is not accepted ({0.verify_message})"),
    (ssl.SSLError, "TLS failed; perhaps a plain http:// server is there"),
    (socket.gaierror, "its name is not known"),
    (ConnectionRefusedError, "connection refused; no server listens there"),
    (ConnectionError, "the connection was closed"),
    (http.client.IncompleteRead, "the answer broke off"),
    (http.client.BadStatusLine, "the answer is not HTTP"),
    (http.client.UnknownProtocol, "the answer is not HTTP"),
    (http.client.HTTPException, "{0}"),
    (DecodeError, "the compression of the answer is damaged"),
    (requests.exceptions.ContentDecodingError, "the compression of the answer is damaged"),
    (InvalidHeader, "the answer has two lengths"),
)


def describe_error(error: BaseException) -> str:
    """Return the cause in our words; the libraries' own texts hold URLs and what the other side sent."""
    for kind, reason in _REASONS:
        for cause in _chain(error):
            if isinstance(cause, kind):
                return reason.format(cause)
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return "the answer is not HTTP" if any(isinstance(cause, HTTPError) for cause in _chain(error)) else "it failed"
