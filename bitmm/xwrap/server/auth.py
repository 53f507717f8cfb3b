"""Authentication: from an Authorization header to an account, cheaply and without helping a guesser.

Passwords are argon2id (19 MiB, 2 passes, 1 lane: about 25 ms). A verified one is remembered for some minutes under a
digest keyed with bytes made at start over (account, stored hash, password), so a changed password or a switched-off
account counts at once. The account's row is read at every call.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict, deque

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .db.accounts import AccountStore
from .db.records import Account, Caller
from .problems import Problem

__all__ = ["Authenticator", "hash_password"]

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
#: Verified in place of an unknown account's password, so that both take the same time.
_DUMMY_ACCOUNT = Account(0, "", _HASHER.hash(secrets.token_hex(16)), active=False)
_CACHE_SIZE = 10_000
#: A guesser has this many tries a minute for one account from one address.
_MAX_TRIES, _TRY_SECONDS = 10, 60.0


def hash_password(password: str) -> str:
    """Return the argon2id hash of `password`, as the data base keeps it."""
    return _HASHER.hash(password)


class Authenticator:
    """Looks up who is calling, by the Authorization header of a request."""

    def __init__(self, accounts: AccountStore, cache_seconds: float) -> None:
        self._accounts = accounts
        self._key = secrets.token_bytes(32)
        self._seconds = cache_seconds
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._lock = threading.Lock()
        self._hashing = threading.Semaphore(os.cpu_count() or 1)

    def authenticate(self, header: str | None, address: str, registration_id: int = 0) -> Caller:
        """Return who `header` (HTTP Basic, UTF-8 or Latin-1) proves to call, with the registration of that id.

        Raises Problem 401, or 429 after too many wrong passwords from the same address.
        """
        name, password = _parse_basic(header)
        account = self._accounts.find(name, registration_id) or _DUMMY_ACCOUNT
        digest = self._digest(account, password)
        if account.active and self._is_verified(digest):
            return Caller(account, None, address)
        self._throttle(name, address)
        with self._hashing:
            right = _verify(account.password_hash, password)
        if not right or not account.active:
            self._add_failure(name, address)
            raise _unauthorized("wrong user name or password")
        if _HASHER.check_needs_rehash(account.password_hash):
            self._accounts.rehash(account.id, hash_password(password))
        self._add_verified(digest)
        return Caller(account, None, address)

    def _digest(self, account: Account, password: str) -> bytes:
        text = f"{account.id}\0{account.password_hash}\0{password}".encode()
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def _is_verified(self, digest: bytes) -> bool:
        with self._lock:
            return self._verified.get(digest, 0.0) > time.monotonic()

    def _add_verified(self, digest: bytes) -> None:
        with self._lock:
            self._verified[digest] = time.monotonic() + self._seconds
            self._verified.move_to_end(digest)
            if len(self._verified) > _CACHE_SIZE:
                self._verified.popitem(last=False)

    def _throttle(self, name: str, address: str) -> None:
        """Raise Problem 429 after too many wrong passwords for this account from this address.

        The right password is refused then, too: an answer would show a guesser that it is right. A password that was
        verified before is not throttled.
        """
        with self._lock:
            tries = self._failures.get((name, address))
            while tries and tries[0] <= time.monotonic() - _TRY_SECONDS:
                tries.popleft()
            if not tries or len(tries) < _MAX_TRIES:
                return
            wait = tries[0] + _TRY_SECONDS - time.monotonic()
        raise Problem(
            429,
            "too_many_tries",
            "too many wrong passwords; wait a minute",
            retryable=True,
            headers={"Retry-After": str(int(wait) + 1)},
        )

    def _add_failure(self, name: str, address: str) -> None:
        with self._lock:
            self._failures.setdefault((name, address), deque(maxlen=_MAX_TRIES)).append(time.monotonic())
            self._failures.move_to_end((name, address))
            if len(self._failures) > _CACHE_SIZE:
                self._failures.popitem(last=False)


def _parse_basic(header: str | None) -> tuple[str, str]:
    if header is None:
        raise _unauthorized("this call needs your user name and password (HTTP Basic)")
    scheme, _, encoded = header.partition(" ")
    try:
        credentials = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        credentials = b""
    name, colon, password = _decode_credentials(credentials).partition(":")
    if scheme.lower() != "basic" or not colon:
        raise _unauthorized("the Authorization header is not HTTP Basic with a UTF-8 user name and password")
    return name, password


def _decode_credentials(credentials: bytes) -> str:
    """Return the text: of UTF-8, and what is no UTF-8 of Latin-1, in which requests and the client of 2013 write it."""
    try:
        return credentials.decode()
    except UnicodeDecodeError:
        return credentials.decode("latin-1")


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _unauthorized(detail: str) -> Problem:
    return Problem(
        401, "not_authenticated", detail, headers={"WWW-Authenticate": 'Basic realm="XWrap", charset="UTF-8"'}
    )
