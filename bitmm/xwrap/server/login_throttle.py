"""How many passwords may be tried: a guesser is slowed down, and whoever has the right password is not.

A hash of a password takes 25 ms of a processor and 19 MiB, so the tries are counted before they are hashed, in windows
of a minute: 10 of one user name from one address, 30 of one address; and 10 in two seconds in all. A right one is not
counted in the end. An IPv6 network of 64 bits is one address, because whoever has one address of it has all.

Others cannot lock the right user out, although he may share his name and his address with guessers:

- A login that was verified in this process stays verified as long as it is used, and never comes here.
- After a pause of some minutes it is hashed again. The authenticator keeps two bytes of the keyed digest of each
  account's last verified password: a password with the same two bytes passes by every count. One guess in 65,536 does.
- A user name that logged in from an address in this process has its 10 tries there, whatever others do elsewhere.
- A password of a credential is random and needs no slow hash: it is compared each time, and never counted before.
- After a restart the server knows nobody. Then a try that was refused has a second chance: when the same password
  comes again, a second later or more, it is taken from a reserve (10 a minute of a name and address, 30 of an address,
  120 in all). The right user repeats his password as a rule, and a guesser goes on to the next. Guessers who repeat
  each guess share the reserve with him, and he waits for his turn among them; that is the one case in which he waits,
  and a credential never does.

All of this is the same for a user name that does not exist. Whatever was done about a wrong password (a hash, none
because it was wrong before, or a comparison), the answer comes a tenth of a second later, or the next one.
"""

from __future__ import annotations

import time
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from math import ceil
from random import uniform
from typing import NamedTuple

from ..exchanges.cache import put_newest
from .problems import Problem

__all__ = ["LoginThrottle", "PacedAnswers", "Try", "too_many_tries"]

_SECONDS = 60.0
_OF_PAIR, _OF_ADDRESS = 10, 30
#: Of all: not more at once than leaves the processors to the other calls.
_IN_ALL, _IN_ALL_SECONDS = 10, 2.0
#: So many passwords may be hashed or wait for it, and so many more of those that come again.
_MOST_WAITING, _RESERVE_WAITING = 16, 16
_RESERVE_OF_PAIR, _RESERVE_OF_ADDRESS, _RESERVE_IN_ALL = 10, 30, 120
#: When a refused try may come again: its `Retry-After`, and the bounds in which it is known to come again.
_AGAIN_SECONDS, _FIRST_AGAIN, _LAST_AGAIN = 2, 1, 120
#: So much later, or up to three times that, is an answer that costs nothing; not all at once.
_HOLD_OFF_SECONDS = 0.5
#: Answers to failed logins are at least so far apart, unless one of them would be later than that.
_APART_SECONDS, _LATEST_SECONDS = 0.005, 5.0
#: A login fails after a whole number of these, whatever it cost to find that out: a hash takes 25 ms.
_STEP_SECONDS = 0.1
_MOST_KEYS = 10_000
_REFUSED_SLOTS = 2**17


class _Window:
    """Counts what happened in the last `seconds`, by a key."""

    def __init__(self, most: int, seconds: float = _SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._times: OrderedDict[object, deque[float]] = OrderedDict()

    def seconds_to_wait(self, key: object = None) -> float:
        """Return the seconds until there is room for one more; 0.0: there is."""
        times = self._times.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= time.monotonic() - self._seconds:
            times.popleft()
        return times[0] + self._seconds - time.monotonic() if len(times) >= self._most else 0.0

    def add(self, key: object = None) -> None:
        times = self._times.get(key) or deque(maxlen=self._most)
        times.append(time.monotonic())
        put_newest(self._times, key, times, most=_MOST_KEYS)

    def take_back(self, key: object = None) -> None:
        if times := self._times.get(key):
            times.pop()


class _RefusedTries:
    """Remembers tries that were refused, in a table of fixed size: of many in a second some are forgotten."""

    def __init__(self) -> None:
        #: By the first bytes of the digest: the next 32 bits of it, and the second of the first refusal.
        self._table = array("Q", bytes(8 * _REFUSED_SLOTS))

    def add(self, digest: bytes) -> None:
        """Remember a try; one that came a short time ago keeps its time."""
        if self._age(digest) is None:
            slot, tag = self._place(digest)
            self._table[slot] = tag << 32 | int(time.monotonic())

    def comes_again(self, digest: bytes) -> bool:
        """Return whether the same try was refused some seconds ago."""
        age = self._age(digest)
        return age is not None and age >= _FIRST_AGAIN

    def _age(self, digest: bytes) -> int | None:
        slot, tag = self._place(digest)
        age = int(time.monotonic()) - (self._table[slot] & 0xFFFFFFFF)
        return age if self._table[slot] >> 32 == tag and 0 <= age <= _LAST_AGAIN else None

    @staticmethod
    def _place(digest: bytes) -> tuple[int, int]:
        return int.from_bytes(digest[:4]) % _REFUSED_SLOTS, int.from_bytes(digest[4:8])


class Try(NamedTuple):
    """A try that was counted, and in which windows."""

    pair: tuple[str, str]
    counts: Sequence[tuple[_Window, object]]


class LoginThrottle:
    """Counts tries of passwords. Used in the thread of the event loop alone.

    `address` is that of `callers.origin_network`; `digest` stands for the header that has the user name and the
    password.
    """

    def __init__(self) -> None:
        self._of_pair, self._of_address = _Window(_OF_PAIR), _Window(_OF_ADDRESS)
        self._in_all = _Window(_IN_ALL, _IN_ALL_SECONDS)
        self._reserve_of_pair, self._reserve_of_address = _Window(_RESERVE_OF_PAIR), _Window(_RESERVE_OF_ADDRESS)
        self._reserve_in_all = _Window(_RESERVE_IN_ALL)
        #: Answers that a password is wrong, of one user name from one address: more than its tries are not given.
        self._answers = _Window(_OF_PAIR)
        self._refused = _RefusedTries()
        #: Pairs of name and address that logged in.
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def count_try(self, name: str, address: str, digest: bytes, waiting: int) -> Try:
        """Count a try that is about to be hashed, and return it. Raises Problem 429 for one too many."""
        allowed = self.check(name, address, digest, waiting)
        for window, key in allowed.counts:
            window.add(key)
        return allowed

    def check(self, name: str, address: str, digest: bytes, waiting: int) -> Try:
        """Return a try that would be counted now. Raises Problem 429 for one too many.

        `waiting`: how many passwords are hashed or wait for it.
        """
        pair = name, address
        counts: list[tuple[_Window, object]] = [(self._of_pair, pair)]
        if pair not in self._known:
            counts += [(self._of_address, address), (self._in_all, None)]
        wait = _seconds_to_wait(counts)
        if wait or waiting >= _MOST_WAITING:
            counts = [(self._reserve_of_pair, pair), (self._reserve_of_address, address), (self._reserve_in_all, None)]
            wait_of_reserve = _seconds_to_wait(counts)
            comes_again = self._refused.comes_again(digest)
            if wait_of_reserve or not comes_again or waiting >= _MOST_WAITING + _RESERVE_WAITING:
                self._refused.add(digest)
                raise too_many_tries(min(wait or _AGAIN_SECONDS, wait_of_reserve or _AGAIN_SECONDS))
        return Try(pair, counts)

    def take_back(self, right: Try) -> None:
        """Take back a try whose password was right, and remember that the name logs in from this address."""
        for window, key in right.counts:
            window.take_back(key)
        put_newest(self._known, right.pair, None, most=_MOST_KEYS)

    def check_answer(self, name: str, address: str) -> None:
        """Raise Problem 429 in place of one answer too many that a password is wrong."""
        if wait := self._answers.seconds_to_wait((name, address)):
            raise too_many_tries(wait)

    def count_answer(self, name: str, address: str) -> None:
        """Count the answer that a password is wrong. Raises Problem 429 in place of one too many."""
        self.check_answer(name, address)
        self._answers.add((name, address))


class PacedAnswers:
    """Lets the answers to failed logins go one after the other, 200 a second at most.

    Thousands of callers who come again as soon as they are refused would keep the server busy with that alone
    (2026-11-27: 1,500 a second, and a call of another waited for a second and a half). So they wait for each other.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def delay(self, least: float = 0.0) -> float:
        """Return the seconds until the turn of one more answer, and no less than `least`."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = min(turn + _APART_SECONDS, now + _LATEST_SECONDS)
        return max(turn - now, least)

    def delay_to_step(self, began: float) -> float:
        """Return the delay of the answer to a login whose password was looked at from `began` (time.monotonic()) on.

        So the time does not tell whether a password was hashed, compared, or known to be wrong.
        """
        return self.delay(_STEP_SECONDS - (time.monotonic() - began) % _STEP_SECONDS)

    def long_delay(self) -> float:
        """Return the delay of an answer that cost nothing."""
        return self.delay(uniform(_HOLD_OFF_SECONDS, 3 * _HOLD_OFF_SECONDS))  # noqa: S311 - it is no secret


def _seconds_to_wait(counts: Iterable[tuple[_Window, object]]) -> float:
    return max(window.seconds_to_wait(key) for window, key in counts)


def too_many_tries(seconds: float) -> Problem:
    """Return the problem of a login that is not looked at now."""
    return Problem(
        429,
        "too_many_tries",
        "too many wrong passwords; try again after as many seconds as Retry-After says",
        retryable=True,
        headers={"Retry-After": str(ceil(seconds))},
    )
