"""The socket that a server listens on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from .settings import Settings, SetupError

__all__ = ["ServeError", "bind", "url_of"]


class ServeError(SetupError):
    """The server cannot listen, or must not, in one line that says what to do."""


@contextmanager
def bind(settings: Settings) -> Iterator[socket.socket]:
    """Give a socket with the address of the server. Nothing can connect to it: uvicorn listens when all has started.

    Raises ServeError.
    """
    try:
        address = ip_address("127.0.0.1" if settings.host == "localhost" else settings.host)
    except ValueError:
        raise ServeError(f"--host takes an IP address of this machine, not '{settings.host}'") from None
    if not (address.is_loopback or settings.plain_http):
        raise ServeError(
            f"{settings.host} is reached from other machines, where plain HTTP shows every password on the way; "
            "put a proxy with TLS in front and say --plain-http, or stay on 127.0.0.1"
        )
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        # On Windows SO_REUSEADDR would let two servers listen on one port.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            listener.bind((str(address), settings.port))
        except OSError as error:
            raise ServeError(
                f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); choose another with --port"
            ) from None
        yield listener
    finally:
        listener.close()


def url_of(listener: socket.socket) -> str:
    """Return the URL of a server that listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
