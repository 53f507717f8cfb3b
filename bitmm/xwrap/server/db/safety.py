"""What stops trading: the freeze of an account, and the dead man's switches of its registrations.

A switch is set when `deadman_seconds` is above 0, and due when the clock of the data base has reached `deadman_at`.
With 0 seconds a cancel of all orders is due, or is tried, until it worked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, update

from . import tables as t
from .base import Database
from .records import Registration, now
from .registrations import REGISTRATION_COLUMNS
from .statements import StatementRunner

__all__ = ["SafetyStore", "Switch"]

_A, _R = t.accounts.c, t.registrations.c
_FROZEN = select(_A.frozen).where(_A.id == bindparam("account"))
_FREEZE = update(t.accounts).where(_A.id == bindparam("account"), _A.frozen.is_(None)).returning(_A.frozen)
_UNFREEZE = update(t.accounts).where(_A.id == bindparam("account"), _A.frozen.is_not(None))
_OF_ACCOUNT = select(_R.id).where(_R.account_id == bindparam("account"), _R.deleted.is_(None)).order_by(_R.id)
_ONE = update(t.registrations).where(_R.id == bindparam("row"), _R.deleted.is_(None))
_SECONDS = select(_R.deadman_seconds).where(_R.id == bindparam("row"))


class Switch(NamedTuple):
    """A dead man's switch that is set, or a cancel that is due; `at` and `now` are seconds of the data base's clock."""

    id: int
    exchange: str
    at: float
    now: float


class SafetyStore:
    """The freezes and the switches of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database
        clock = database.current_time
        is_free = or_(_R.deadman_seconds.is_(None), _R.deadman_seconds > 0)
        is_same = _R.deadman_at == bindparam("seen")
        self._set = _ONE.where(is_free).values(deadman_at=clock + bindparam("after")).returning(*REGISTRATION_COLUMNS)
        self._switch_off = (
            _ONE.where(is_free).values(deadman_seconds=None, deadman_at=None).returning(*REGISTRATION_COLUMNS)
        )
        self._make_due = _ONE.values(deadman_seconds=0, deadman_at=clock).returning(_R.id, _R.exchange, _R.deadman_at)
        self._switches = select(_R.id, _R.exchange, _R.deadman_at.label("at"), clock.label("now")).where(
            _R.deadman_at.is_not(None), _R.deleted.is_(None)
        )
        self._claim = (
            _ONE.where(is_same)
            .values(deadman_seconds=0, deadman_at=clock + bindparam("after"))
            .returning(*REGISTRATION_COLUMNS)
        )
        self._finish = _ONE.where(is_same).values(deadman_seconds=None, deadman_at=None)
        self._postpone = _ONE.where(is_same).values(deadman_at=clock + bindparam("after"))

    def freeze(self, account: int) -> tuple[str, bool]:
        """Freeze an account; return since when it is frozen, and whether it was not before.

        No intent is committed after this was: see `policy`.
        """

        def work(runner: StatementRunner) -> tuple[str, bool]:
            since = runner.value(_FREEZE, {"account": account, "frozen": now()})
            return since or runner.value(_FROZEN, {"account": account}), since is not None

        return self._database.write(work)

    def unfreeze(self, account: int) -> bool:
        """Lift the freeze of an account; return whether it was frozen."""
        values = {"account": account, "frozen": None}
        return self._database.write_one(lambda runner: runner.change(_UNFREEZE, values)) == 1

    def request_cancels(self, account: int, among: Collection[int] | None = None) -> list[Switch]:
        """Make the cancel of all orders due, now, at every registration of an account (or those `among` them)."""

        def work(runner: StatementRunner) -> list[Switch]:
            ids = [row["id"] for row in runner.rows(_OF_ACCOUNT, {"account": account})]
            rows = [runner.rows(self._make_due, {"row": id})[0] for id in ids if among is None or id in among]
            return [Switch(row["id"], row["exchange"], row["deadman_at"], row["deadman_at"]) for row in rows]

        return self._database.write(work)

    def set_switch(self, registration: int, seconds: int) -> tuple[Registration | None, int | None]:
        """Set the switch of a registration, or renew it; 0 switches it off.

        Return the registration, or None while a cancel is due or was deleted; and the seconds that were set before.
        """

        def work(runner: StatementRunner) -> tuple[Registration | None, int | None]:
            before = runner.value(_SECONDS, {"row": registration})
            if seconds:
                row = runner.first(self._set, {"row": registration, "after": seconds, "deadman_seconds": seconds})
            else:
                row = runner.first(self._switch_off, {"row": registration})
            return None if row is None else Registration(**row), before

        return self._database.write(work)

    def switches(self) -> list[Switch]:
        """Return every switch that is set or due."""
        with self._database.reading() as runner:
            return [Switch(**row) for row in runner.rows(self._switches)]

    def claim(self, switch: Switch, seconds: float) -> Registration | None:
        """Take a cancel for this process, for so many seconds; None: it was renewed, or another process has it."""
        values = {"row": switch.id, "seen": switch.at, "after": seconds}
        row = self._database.write_one(lambda runner: runner.first(self._claim, values))
        return None if row is None else Registration(**row)

    def finish(self, claimed: Registration) -> bool:
        """Switch off what was claimed: its orders are canceled. False: the claim was over, and another has it."""
        values = {"row": claimed.id, "seen": claimed.deadman_at}
        return self._database.write_one(lambda runner: runner.change(self._finish, values)) == 1

    def postpone(self, claimed: Registration, seconds: float) -> bool:
        """Make what was claimed due again after so many seconds. False: the claim was over, and another has it."""
        values = {"row": claimed.id, "seen": claimed.deadman_at, "after": seconds}
        return self._database.write_one(lambda runner: runner.change(self._postpone, values)) == 1
