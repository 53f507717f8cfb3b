"""Sessions of the owner's page: who signed in with a browser, known by the digest of a random token."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict

from sqlalchemy import bindparam, delete, insert, or_, select, update

from ...exchanges.cache import put_newest
from . import page_tables
from . import tables as t
from .base import Database
from .errors import UNUSABLE
from .records import Account, now
from .statements import StatementRunner

__all__ = ["IDLE_SECONDS", "LONGEST_SECONDS", "SessionStore"]

_log = logging.getLogger(__name__)

#: A session ends so long after its last use, and so long after it began.
IDLE_SECONDS, LONGEST_SECONDS = 1800.0, 43200.0
#: That it is used is written at most once in so many seconds, and may so be over that much earlier.
_USED_SECONDS = 60.0
#: So many sessions an account has; the oldest make room.
_MOST = 20
_MOST_REMEMBERED = 10_000

_S = page_tables.sessions.c
_THIS = _S.digest == bindparam("session")
_FIND = (
    select(t.accounts.c.name, _S.account_id, _S.password)
    .join(t.accounts, t.accounts.c.id == _S.account_id)
    .where(_THIS, _S.created > bindparam("oldest"), _S.last_used > bindparam("idle_since"))
)
_ADD = insert(page_tables.sessions)
_OF_ACCOUNT = (
    select(_S.digest).where(_S.account_id == bindparam("account")).order_by(_S.created.desc(), _S.digest).limit(500)
)
_REMOVE = delete(page_tables.sessions).where(_THIS)
_REMOVE_OVER = delete(page_tables.sessions).where(
    or_(_S.created <= bindparam("oldest"), _S.last_used <= bindparam("idle_since"))
)
_MARK_USED = update(page_tables.sessions).where(_THIS, _S.last_used < bindparam("before"))
_MESSAGE = select(_S.message).where(_THIS)
_SET_MESSAGE = update(page_tables.sessions).where(_THIS)


class SessionStore:
    """The sessions of one data base, which all its server processes take."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marked: OrderedDict[str, float] = OrderedDict()
        self._marked_lock = threading.Lock()

    def add(self, digest: str, account: Account) -> None:
        """Open a session of an account; it holds as long as the account has the password that it has now."""
        time = now()
        values = {
            "digest": digest,
            "account_id": account.id,
            "password": _digest(account.password_hash),
            "created": time,
            "last_used": time,
        }

        def work(runner: StatementRunner) -> None:
            runner.change(_REMOVE_OVER, _bounds())
            older = runner.rows(_OF_ACCOUNT, {"account": account.id})[_MOST - 1 :]
            runner.change_each(_REMOVE, [{"session": row["digest"]} for row in older])
            runner.change(_ADD, values)

        self._database.write(work)

    def find(self, digest: str) -> tuple[str, str] | None:
        """Return the name of the account whose session this is, and the digest of its password hash then.

        None: there is none, or it is over.
        """
        with self._database.reading() as runner:
            row = runner.first(_FIND, {"session": digest, **_bounds()})
        return None if row is None else (row["name"], row["password"])

    def mark_used(self, digest: str) -> None:
        """Write that a session was used now, at most once a minute. A failure to write it is logged only."""
        with self._marked_lock:
            if self._marked.get(digest, 0.0) > time.monotonic():
                return
            put_newest(self._marked, digest, time.monotonic() + _USED_SECONDS, most=_MOST_REMEMBERED)
        values = {"session": digest, "before": now(_USED_SECONDS), "last_used": now()}
        try:
            self._database.write_one(lambda runner: runner.change(_MARK_USED, values))
        except UNUSABLE:
            _log.warning("that a session was used could not be written")

    def remove(self, digest: str) -> bool:
        """End a session; return whether there was one."""
        return self._database.write_one(lambda runner: runner.change(_REMOVE, {"session": digest})) == 1

    def set_message(self, digest: str, message: str | None) -> None:
        """Keep a sentence that the next page shows; it is never secret."""
        values = {"session": digest, "message": message}
        self._database.write_one(lambda runner: runner.change(_SET_MESSAGE, values))

    def pop_message(self, digest: str) -> str | None:
        """Return the sentence that was kept for this page, once."""
        with self._database.reading() as runner:
            message: str | None = runner.value(_MESSAGE, {"session": digest})
        if message is not None:
            self.set_message(digest, None)
        return message

    @staticmethod
    def fits(account: Account, password: str) -> bool:
        """Return whether an account still has the password of a session; `password` is what `find` returned of it."""
        return _digest(account.password_hash) == password


def _bounds() -> dict[str, str]:
    return {"oldest": now(LONGEST_SECONDS), "idle_since": now(IDLE_SECONDS)}


def _digest(password_hash: str) -> str:
    """Return what shows whether a hash is another one: a second copy of the hash is kept nowhere."""
    return hashlib.sha256(password_hash.encode()).hexdigest()
