"""Authentication: from an Authorization header to a caller, cheaply and without helping a guesser.

`Authenticator.recognize` reads the account's row, at every call, and knows a password that was verified before by a
digest, keyed with bytes made at start, over (account, stored hash, password): so a changed password, a switched-off
account and a revoked credential count at once, in every server process. Each use keeps the digest for some minutes
more. Any other password of an account is `UnprovenLogin`, and `Authenticator.prove` has it hashed, in a small pool of
threads of its own, when `LoginThrottle` allows another try: a call whose login was verified never waits for a hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from asyncio import wrap_future
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future

from ..exchanges.cache import put_newest
from .callers import origin_network
from .db.credentials import digest as credential_digest
from .db.records import Account, Caller, Login, Scope
from .db.store import Store
from .login_failures import LoginFailures
from .login_throttle import LoginThrottle, PacedAnswers, too_many_tries
from .passwords import Secret, normal_form, normal_name, stronger_hash, unmatched_hash, verify
from .problems import Problem
from .threads import ThreadPools

__all__ = ["Authenticator", "UnprovenLogin"]

#: Verified in place of an unknown account's password, so that both take the same time.
_DUMMY_HASH = unmatched_hash()
_CACHE_SIZE = 10_000
#: How much is kept of the digest of an account's last verified password, when that is no longer remembered itself.
_HINT_BYTES = 2


class UnprovenLogin(Exception):
    """A login whose password was not verified yet, or is wrong for sure: then `password_hash` is None."""

    #: The digest of the header that it came with.
    header = b""

    def __init__(
        self, name: str, address: str, found: Login | None, password: Secret, password_hash: str | None, digest: bytes
    ) -> None:
        super().__init__()
        self.name = name
        self.address = address
        self.found = found
        self.password = password
        self.password_hash = password_hash
        self.digest = digest


class Authenticator:
    """Looks up who is calling, by the Authorization header of a request."""

    def __init__(self, store: Store, threads: ThreadPools, failures: LoginFailures, cache_seconds: float) -> None:
        self._accounts = store.accounts
        self._credentials = store.credentials
        self._threads = threads
        self._failures = failures
        self._key = secrets.token_bytes(32)
        self._seconds = cache_seconds
        self._lock = threading.Lock()
        #: The digests of passwords that were verified, and until when.
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        #: What the callers of verified headers may do, by the header's digest, and until when that is remembered.
        self._headers: OrderedDict[bytes, tuple[float, Scope]] = OrderedDict()
        #: The headers that were verified since the start, the newest ones; only a right password comes in.
        self._were_verified: OrderedDict[bytes, None] = OrderedDict()
        #: From here on used in the thread of the event loop alone.
        self._throttle = LoginThrottle()
        self._hints: OrderedDict[int, bytes] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        #: The digests of headers that were wrong when they were looked at.
        self._wrong_headers: OrderedDict[bytes, None] = OrderedDict()
        self._answers = PacedAnswers()
        #: What the names of the last failed logins stand for.
        self._failed: OrderedDict[str, Login | None] = OrderedDict()
        self._hashing: dict[bytes, Future[bool]] = {}

    def header_digest(self, headers: Sequence[Secret]) -> bytes | None:
        """Return what stands for the one Authorization header of a request, in this process; None: there is not one."""
        return self._header_digest(headers[0]) if len(headers) == 1 else None

    def known_scope(self, header: bytes | None) -> Scope | None:
        """Return what the caller of a header of this digest might do when it last called; None: it is not remembered.

        It is looked up in memory alone, and proves nothing: `recognize` does.
        """
        if header is None:
            return None
        with self._lock:
            until, scope = self._headers.get(header, (0.0, None))
        return scope if until > time.monotonic() else None

    def recognize(self, headers: Sequence[Secret], address: str, registration_id: int = 0) -> Caller:
        """Return who calls, with the registration of that id.

        `headers`: the values of Authorization (HTTP Basic, UTF-8 or Latin-1). Raises Problem 400 or 401, and
        UnprovenLogin for a password that `prove` must look at.
        """
        header = _only_header(headers)
        name, password = _parse_basic(header)
        found = self._accounts.find_login(name, registration_id)
        if found is None and (normal := normal_name(name)) != name:
            # Names are kept in this form now; there may be older ones that are not.
            found = self._accounts.find_login(normal, registration_id)
        digest = self._header_digest(header)
        try:
            if found.names_credential if found else "/" in name:
                caller = self._recognize_credential(name, address, found, password)
            else:
                caller = self._recognize_account(name, address, found, password)
        except UnprovenLogin as login:
            login.header = digest
            raise
        self._remember(digest, caller)
        return caller

    def _recognize_account(self, name: str, address: str, found: Login | None, password: Secret) -> Caller:
        account = found.account if found else Account(0, name, _DUMMY_HASH, active=False)
        digest = self._digest(account, account.password_hash, password)
        if account.active and self._renew(digest):
            return Caller(account, None, address)
        raise UnprovenLogin(name, address, found, password, account.password_hash, digest)

    def _recognize_credential(self, name: str, address: str, found: Login | None, password: Secret) -> Caller:
        """Return the caller; the password is random, so its plain digest shows it, at once.

        It takes the same steps whether there is such a credential or not.
        """
        is_right = hmac.compare_digest(credential_digest(password.text), (found.digest if found else "") or "0" * 64)
        if not is_right or found is None or found.credential is None or not found.account.active:
            raise UnprovenLogin(name, address, found, password, None, b"")
        self._credentials.mark_used(found.credential.id)
        return Caller(found.account, found.credential, address)

    def hold_off(self, headers: Sequence[Secret], address: str) -> None:
        """Raise Problem 429, with a delay, for a login that `prove` would refuse for certain.

        It costs neither a thread nor the data base, and a guesser who waits for the answer is slow. A header that was
        verified since the start is always let pass, and so is a name that a credential may have with a new password.
        """
        header = _only_header(headers)
        name, _password = _parse_basic(header)
        digest = self._header_digest(header)
        with self._lock:
            if digest in self._were_verified:
                return
        network = origin_network(address)
        try:
            if digest in self._wrong_headers:
                self._throttle.check_answer(name, network)
            if "/" not in name:
                self._throttle.check(name, network, digest, len(self._hashing))
        except Problem as problem:
            self._failures.add(self._failed.get(name), address)
            problem.delay = self._answers.long_delay()
            raise

    async def prove(self, login: UnprovenLogin) -> None:
        """Return when the password is right, so that `recognize` knows it.

        Raises Problem 401 for a wrong one, and 429 when it is not looked at, because there were too many wrong ones.
        """
        network, began = origin_network(login.address), time.monotonic()
        try:
            if not await self._is_right(login, network):
                put_newest(self._wrong_headers, login.header, None, most=_CACHE_SIZE)
                self._throttle.count_answer(login.name, network)
                raise _unauthorized("wrong user name or password")
        except Problem as problem:
            put_newest(self._failed, login.name, login.found, most=_CACHE_SIZE)
            self._failures.add(login.found, login.address)
            problem.delay = self._answers.delay_to_step(began)
            raise

    async def _is_right(self, login: UnprovenLogin, network: str) -> bool:
        """Return whether the password is right; of many calls with the same one, one has it hashed."""
        if login.password_hash is None or login.digest in self._wrong:
            return False
        if (running := self._hashing.get(login.digest)) is not None:
            return await wrap_future(running)
        account = login.found.account if login.found else None
        if account is not None and self._hints.get(account.id) == login.digest[:_HINT_BYTES]:
            counted = None
        else:
            counted = self._throttle.count_try(login.name, network, login.header, len(self._hashing))
        future: Future[bool] = Future()
        future.set_running_or_notify_cancel()  # From now on a waiting call that is canceled does not cancel it.
        self._hashing[login.digest] = future
        try:
            is_right = await self._verify(login, account)
        except BaseException as error:
            # A caller that went away ends its own call only.
            future.set_exception(error if isinstance(error, Exception) else too_many_tries(1))
            raise
        finally:
            del self._hashing[login.digest]
        if is_right and counted is not None:
            self._throttle.take_back(counted)
        elif not is_right and (account is None or account.active):
            # Of an account that is switched off it may be the right one.
            put_newest(self._wrong, login.digest, None, most=_CACHE_SIZE)
        future.set_result(is_right)
        return is_right

    async def _verify(self, login: UnprovenLogin, account: Account | None) -> bool:
        """Hash, and remember a right password. The password of an account that is switched off is a wrong one."""
        stored = login.password_hash or ""
        fitting = await self._threads.run("passwords", _fitting_hash, stored, login.password)
        if fitting is None or account is None or not account.active:
            return False
        if fitting != stored:
            # Where the account has a third hash by now, `recognize` finds that, and the password is proven anew.
            await self._threads.run("database", self._accounts.rehash, account.id, stored, fitting)
        digest = self._digest(account, fitting, login.password)
        with self._lock:
            put_newest(self._verified, digest, time.monotonic() + self._seconds, most=_CACHE_SIZE)
        put_newest(self._hints, account.id, digest[:_HINT_BYTES], most=_CACHE_SIZE)
        return True

    def _digest(self, account: Account, password_hash: str, password: Secret) -> bytes:
        text = "\0".join((str(account.id), "" if account.id else account.name, password_hash, normal_form(password)))
        return hashlib.blake2b(text.encode(), key=self._key, digest_size=32).digest()

    def _renew(self, digest: bytes) -> bool:
        """Return whether a password was verified; then it is remembered for some minutes more."""
        now = time.monotonic()
        with self._lock:
            if self._verified.get(digest, 0.0) <= now:
                return False
            put_newest(self._verified, digest, now + self._seconds, most=_CACHE_SIZE)
        return True

    def _remember(self, header: bytes, caller: Caller) -> None:
        scope: Scope = "owner" if caller.credential is None else caller.credential.scope
        with self._lock:
            put_newest(self._headers, header, (time.monotonic() + self._seconds, scope), most=_CACHE_SIZE)
            put_newest(self._were_verified, header, None, most=_CACHE_SIZE)

    def _header_digest(self, header: Secret) -> bytes:
        return hashlib.blake2b(header.text.encode(), key=self._key, digest_size=16).digest()


def _fitting_hash(password_hash: str, password: Secret) -> str | None:
    """Return the hash that is to be kept of a right password, in today's form and strength; None: it is wrong."""
    fitting = verify(password_hash, password)
    return None if fitting is None else stronger_hash(fitting, password)


def _only_header(headers: Sequence[Secret]) -> Secret:
    """Return the value of the Authorization header. Raises Problem 401 when there is none, and 400 for two."""
    if not headers:
        raise _unauthorized("this call needs your user name and password (HTTP Basic)")
    if len(headers) > 1:
        raise Problem(400, "invalid_request", "the header Authorization stands twice; send it once")
    return headers[0]


def _parse_basic(header: Secret) -> tuple[str, Secret]:
    parsed = _decode_basic(header.text)
    if parsed is None:
        raise _unauthorized("the Authorization header is not HTTP Basic with a UTF-8 user name and password")
    return parsed


def _decode_basic(text: str) -> tuple[str, Secret] | None:
    """Return the user name and the password; None when this is not HTTP Basic. Nothing is raised, so that no traceback
    shows the text.
    """
    scheme, _, encoded = text.partition(" ")
    try:
        credentials = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = _decode_credentials(credentials).partition(":")
    return (name, Secret(password)) if scheme.lower() == "basic" and colon else None


def _decode_credentials(credentials: bytes) -> str:
    """Return the text: of UTF-8, and what is no UTF-8 of Latin-1, in which requests and the client of 2013 write it."""
    try:
        return credentials.decode()
    except UnicodeDecodeError:
        return credentials.decode("latin-1")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "not_authenticated", detail)
