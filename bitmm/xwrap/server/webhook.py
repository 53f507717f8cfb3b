"""The administrator's receiver of notices: each is one signed POST, as https://www.standardwebhooks.com describes it.

The signature is the HMAC-SHA256 of the notice's id, the time of this try and the body, so that neither can be changed;
a receiver refuses what is older than some minutes, and an id that it has had.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import stat
import time
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import OutcomeUnknown, Unavailable
from ..transport import Request, Response, Transport
from .db.files import O_NONBLOCK, foreign_owner, is_open_to_others
from .settings import Settings, SettingsError

__all__ = ["NotTakenError", "Webhook", "is_public", "open_webhook", "read_secret", "signature"]

#: Seconds for one try, from looking up the receiver's name to the last byte of its answer.
_SECONDS = 10.0
_PREFIX = "whsec_"
#: Bytes of the secret, as the standard has them.
_SHORTEST, _LONGEST = 24, 64
_MAKE = "make one with: (umask 077; echo whsec_$(openssl rand -base64 32) > FILE)"
#: What IANA has assigned to the public internet. Of it, 6to4 and Teredo have an IPv4 address inside, of anything.
_GLOBAL, _TUNNELS = IPv6Network("2000::/3"), (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
#: An IPv4 address, as IPv6-only networks reach it (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


class NotTakenError(Exception):
    """The receiver did not take a notice; in words without its URL, which may hold a secret."""


class Webhook:
    """One receiver. `private`: also at an address that is not public."""

    def __init__(self, url: str, secret: bytes, *, private: bool) -> None:
        self._url = url
        self._secret = secret
        self._transport = Transport(timeout=_SECONDS, may_connect=None if private else is_public)

    def send(self, id: str, body: str) -> int:
        """Send a notice once, and return the status of the answer, a 2xx. Raises NotTakenError for all else."""
        at = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "xwrap",
            "webhook-id": id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(self._secret, id, at, body),
        }
        try:
            answer = self._transport.send(Request("POST", self._url, headers, body.encode()))
        except (Unavailable, OutcomeUnknown) as error:
            raise NotTakenError(str(error)) from None
        if not 200 <= answer.status < 300:
            raise NotTakenError(_refusal(answer))
        return answer.status

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def open_webhook(settings: Settings) -> Webhook | None:
    """Return the receiver that is set, None without one. Raises SettingsError for one that cannot be used."""
    if settings.notice_url is None:
        return None
    _check_url(settings.notice_url, private=settings.notice_private)
    if settings.notice_secret_file is None:
        raise SettingsError(f"XWRAP_NOTICE_URL needs XWRAP_NOTICE_SECRET_FILE, the file of the secret; {_MAKE}")
    return Webhook(settings.notice_url, read_secret(settings.notice_secret_file), private=settings.notice_private)


def signature(secret: bytes, id: str, at: int, body: str) -> str:
    """Return the header that proves who sent a notice `at` a time, in seconds since 1970."""
    digest = hmac.new(secret, f"{id}.{at}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def read_secret(path: Path) -> bytes:
    """Return the secret of a file that its owner alone can read. Raises SettingsError."""
    where = f"XWRAP_NOTICE_SECRET_FILE, {path},"
    try:
        descriptor = os.open(path, os.O_RDONLY | O_NONBLOCK)
    except OSError as error:
        raise SettingsError(f"{where} cannot be read: {error.strerror}; {_MAKE}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SettingsError(f"{where} is no file; {_MAKE}")
        if problem := foreign_owner(found):
            raise SettingsError(f"{where} {problem} make a file of your own")
        if is_open_to_others(found):
            raise SettingsError(f"{where} can be read by others; run: chmod 600 {path}")
        content = os.read(descriptor, 1000)
    finally:
        os.close(descriptor)
    try:
        text = content.decode("ascii").strip()
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        secret = b""
        text = ""
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(secret) <= _LONGEST:
        raise SettingsError(
            f"{where} does not hold a secret: whsec_ and {_SHORTEST} to {_LONGEST} bytes in base64; {_MAKE}"
        )
    return secret


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet.

    It is not for this machine, a private network, a link, several machines (multicast), or one that is reserved.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip)
    if isinstance(ip, IPv6Address) and (ip not in _GLOBAL or any(ip in tunnel for tunnel in _TUNNELS)):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _check_url(url: str, *, private: bool) -> None:
    """Raise SettingsError for what is no URL of a receiver; the words do not show it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if not re.fullmatch(r"[!-~]+", url, re.ASCII) or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("XWRAP_NOTICE_URL is no URL; write it like https://example.org/notices, percent-encoded")
    if "@" in parts.netloc or "#" in url:
        raise SettingsError("XWRAP_NOTICE_URL holds a user, a password or a fragment; the signature shows who sends")
    if parts.scheme == "http" and not private:
        raise SettingsError(
            "XWRAP_NOTICE_URL is plain http, which anybody on the way can read; use https://, or for a receiver in "
            "your own network XWRAP_NOTICE_PRIVATE=1"
        )


def _refusal(answer: Response) -> str:
    if 300 <= answer.status < 400:
        return f"the receiver answered {answer.status}; redirects are not followed"
    return f"the receiver answered {answer.status}"
