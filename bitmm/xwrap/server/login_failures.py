"""Failed logins, for the audit and the log: one row a minute for each account and address, however many there were."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from .call_log import log_with
from .db.records import Login
from .db.store import Store
from .rounds import Rounds

__all__ = ["LoginFailures"]

_log = logging.getLogger(__name__)

_SECONDS = 60.0
#: Of so many accounts and addresses in a minute there are rows of their own; what is above is one row.
_MOST_ROWS = 100
_Key = tuple[int | None, str, str]
_OTHERS: _Key = (None, "others", "")


class LoginFailures:
    """Counts failed logins, and writes the counts into the audit once a minute.

    What was typed as the name of an account or a credential that does not exist is not written: it may be a password
    in the wrong place.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        #: How many there were since the start.
        self.count = 0
        self._counts: Counter[_Key] = Counter()
        self._lock = threading.Lock()
        self.rounds = Rounds("login-failures", {"audit": self.write}, lambda: _SECONDS)

    def start(self) -> None:
        """Write from now on, as long as the server runs."""
        self.rounds.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self.rounds.stop()
        self.write()

    def add(self, login: Login | None, address: str) -> None:
        """Count a failed login; None: there is no such account."""
        key = (None if login is None else login.account.id, _subject(login), address)
        with self._lock:
            self.count += 1
            self._counts[key if key in self._counts or len(self._counts) < _MOST_ROWS else _OTHERS] += 1

    def write(self) -> None:
        """Write a row for each account and address; what cannot be written now is counted on."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        try:
            if counts:
                self._store.atomic(lambda: self._write(counts))
                for (_account, subject, address), count in counts.items():
                    log_with(_log, logging.WARNING, "logins failed", subject=subject, address=address, tries=count)
        except BaseException:
            with self._lock:
                self._counts.update(counts)
            raise

    def _write(self, counts: Counter[_Key]) -> None:
        for (account_id, subject, address), count in counts.items():
            self._store.audit.add(
                "unknown", "login.failed", subject, {"tries": str(count)}, account_id=account_id, address=address
            )


def _subject(login: Login | None) -> str:
    if login is None:
        return "unknown user"
    if login.credential is not None:
        return f"credential {login.credential.name}"
    return "unknown credential" if login.names_credential else f"account {login.account.name}"
