"""Every SQL statement of the server; `database` opens what they run on."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Double, Insert, Select, Table, and_, bindparam, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from ..money import EXACT, exact, plain
from . import tables as t
from .database import Database, Link, StoreError, open_database

__all__ = ["Account", "Intent", "Journal", "LaneBook", "PaperBook", "Registration", "Store", "StoreError", "now"]

T = TypeVar("T")


def now(ago: float = 0.0) -> str:
    """The time (`ago` seconds ago) as the data base keeps it."""
    return _kept(datetime.now(UTC) - timedelta(seconds=ago))


def _kept(moment: datetime) -> str:
    """ISO 8601, UTC, microseconds."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Registration:
    """An account's key at an exchange, sealed."""

    id: int
    account_id: int
    exchange: str
    username: str
    label: str
    apikey_hint: str
    sealed_apikey: bytes
    sealed_apisecret: bytes
    sealed_more: bytes
    permissions: str | None
    enabled: bool
    created: str


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may log in."""

    id: int
    name: str
    password_hash: str
    active: bool
    #: The one that was asked for together with the account.
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A row of a journal; `fresh`: it is this caller's to carry out."""

    row: dict[str, Any]
    fresh: bool


class Store:
    """The data base of one server."""

    def __init__(self, where: Path | str) -> None:
        """`where`: the path of a SQLite file, or a URL of PostgreSQL. Raises StoreError for another URL."""
        self.where = where
        self._database = open_database(where)
        self.lanes = LaneBook(self._database)
        self.orders = Journal(t.orders, self._database)
        self.withdrawals = Journal(t.withdrawals, self._database)

    def appear(self) -> None:
        """Show other servers on this data base that this one lives; to be called again and again."""
        self._database.appear()

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()

    def as_one(self, work: Callable[[], T]) -> T:
        """What `work` returns; all that it writes is kept as one, or nothing when it raises.

        It may be undone and run once more.
        """
        return self._database.write(lambda _link: work())

    def prepare(self) -> None:
        """Make the tables, or bring them to this version. Raises StoreError for a newer or damaged data base."""
        self._database.prepare()

    def check_value(self, make: Callable[[], bytes] | None = None) -> bytes | None:
        """The vault's check value; when there is none yet, what `make` gives is kept."""
        with self._database.reading() as link:
            value: bytes | None = link.value(_CHECK_VALUE)
        if value is None and make:
            sealed = {"id": 1, "sealed": make()}
            with suppress(IntegrityError):
                self._database.write(lambda link: link.change(_ADD_CHECK_VALUE, sealed))
            # Another process may have kept its own first.
            return self.check_value()
        return value

    # --- accounts -----------------------------------------------------------------------------------------------------

    def add_account(self, name: str, password_hash: str) -> int:
        """A new account's id. Raises ValueError when the name is taken."""
        values = {"name": name, "password_hash": password_hash, "created": now()}
        try:
            return self._database.write(lambda link: _inserted(link, t.accounts, values))
        except IntegrityError:
            raise ValueError(f"there is an account '{name}' already") from None

    def account(self, name: str, registration: int = 0) -> Account | None:
        """The account called `name`, with its registration of that id; another account's is as if it were not there."""
        with self._database.reading() as link:
            row = link.first(_ACCOUNT, {"name": name, "registration": registration})
        if row is None:
            return None
        mine = _registration_in(row)
        return Account(**row, registration=None if mine.id is None else mine)

    def accounts(self) -> list[dict[str, Any]]:
        """Every account's id, name, active and created, oldest first."""
        with self._database.reading() as link:
            return link.rows(_ACCOUNTS)

    def rehash(self, account: int, password_hash: str) -> None:
        """Keep a stronger hash of the same password."""
        values = {"account": account, "password_hash": password_hash}
        self._database.write(lambda link: link.change(_REHASH, values))

    # --- registrations ------------------------------------------------------------------------------------------------

    def add_registration(self, values: Mapping[str, Any], seal: Callable[[int], dict[str, bytes]]) -> Registration:
        """A new registration; `seal` gives its sealed columns once its id is known."""
        unsealed = dict.fromkeys(("sealed_apikey", "sealed_apisecret", "sealed_more"), b"")

        def add(link: Link) -> Registration:
            id = _inserted(link, t.registrations, {**values, **unsealed, "created": now()})
            return Registration(**link.rows(_SEAL, {"row": id, **seal(id)})[0])

        return self._database.write(add)

    def registrations(
        self, account: int, *, exchange: str | None = None, active_only: bool = False
    ) -> list[Registration]:
        """This account's registrations, oldest first."""
        with self._database.reading() as link:
            mine = [Registration(**row) for row in link.rows(_REGISTRATIONS_OF, {"account": account})]
        return [one for one in mine if exchange in (None, one.exchange) and (one.enabled or not active_only)]

    def other_sends(
        self, exchange: str, row: Mapping[str, Any], since: datetime, until: datetime
    ) -> list[dict[str, Any]]:
        """The sends like `row` in asset and address, and others than it, that were created in a time, whoever's they
        are: two registrations may have the same key.
        """
        asked = {"exchange": exchange, "since": _kept(since), "until": _kept(until)}
        with self._database.reading() as link:
            return link.rows(_OTHER_SENDS, asked | {name: row[name] for name in ("id", "asset", "address")})

    # --- the paper exchange's book ------------------------------------------------------------------------------------

    def paper_book(self, registration: int) -> PaperBook:
        """The book of one paper registration."""
        return PaperBook(self._database, registration)


class LaneBook:
    """What is kept of each lane: its last nonce, and how full its counter was at a moment of the data base's clock.

    A clock that is set back lowers no nonce, and a counter falls on from the new time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        lane, moment = t.lanes.c, database.moment
        this = lane.lane == bindparam("of")
        fallen = case((moment > lane.moment, moment - lane.moment), else_=0.0) * bindparam("refill", type_=Double)
        level = case((lane.level > fallen, lane.level - fallen), else_=0.0)
        cost, room, to = (bindparam(name, type_=Double) for name in ("cost", "room", "to"))
        self._level = select(level.label("level"), (lane.moment > moment).label("set_back")).where(this)
        self._set_back = update(t.lanes).where(this, lane.moment > moment).values(moment=moment)
        self._raise = update(t.lanes).where(this, level + cost <= room).values(level=level + cost, moment=moment)
        self._fill = update(t.lanes).where(this).values(level=case((level > to, level), else_=to), moment=moment)

    def next_nonce(self, lane: str, at_least: int) -> int:
        """A number above every earlier one of this lane, and not below `at_least`; one statement, so never given
        twice.
        """
        nonce: int | None = None
        asked = {"of": lane, "at_least": at_least}
        while nonce is None:
            nonce = self._database.write(lambda link: link.value(_NEXT_NONCE, asked))
            if nonce is None:
                self._add(lane)
        return nonce

    def count(self, lane: str, cost: float, room: float, refill: float) -> float:
        """Raise the lane's counter by `cost` when it is `room` at most then: 0; else the seconds until it could be.

        The counter falls by `refill` a second, down to 0.
        """
        asked = {"of": lane, "cost": cost, "room": room, "refill": refill}
        while not (pause := self.pause(lane, cost, room, refill)) and cost:
            if self._database.write(lambda link: link.change(self._raise, asked)):
                break
        return pause

    def pause(self, lane: str, cost: float, room: float, refill: float) -> float:
        """Seconds until the lane's counter could be raised by `cost` to `room` at most."""
        with self._database.reading() as link:
            row = link.first(self._level, {"of": lane, "refill": refill})
        if row is None:
            self._add(lane)
            return max(0.0, (cost - room) / refill)
        level: float = row["level"]
        if row["set_back"]:  # the clock was
            self._database.write(lambda link: link.change(self._set_back, {"of": lane}))
        return max(0.0, (level + cost - room) / refill)

    def fill(self, lane: str, level: float, refill: float) -> None:
        """Raise the lane's counter to `level`, where it is lower."""
        values = {"of": lane, "to": level, "refill": refill}
        self._database.write(lambda link: link.change(self._fill, values))

    def alone(self, lane: str) -> AbstractContextManager[None]:
        """No other process is in this lane, also over a call to the exchange. Raises TimeoutError."""
        return self._database.alone(int.from_bytes(hashlib.sha256(lane.encode()).digest()[:8], "big", signed=True))

    def _add(self, lane: str) -> None:
        """Another process may add it at the same moment."""
        values = {"lane": lane, "nonce": 0, "level": 0.0, "moment": 0.0}
        with suppress(IntegrityError):
            self._database.write(lambda link: link.change(_ADD_LANE, values))


class Journal:
    """Orders, or withdrawals: one row each, found by the key that the caller gave it."""

    def __init__(self, table: Table, database: Database) -> None:
        self.name = table.name
        self._table, self._database = table, database
        c = table.c
        self._one = select(table).where(c.registration_id == bindparam("registration"), c.id == bindparam("id"))
        self._keyed = select(table).where(c.registration_id == bindparam("registration"), c.key == bindparam("key"))
        self._list = (
            select(table)
            .where(c.registration_id == bindparam("registration"), c.id < bindparam("before"))
            .order_by(c.id.desc())
            .limit(bindparam("limit"))
        )
        self._lists: dict[tuple[str, ...], Select[Any]] = {("open",): self._list.where(t.OPEN)}
        self._unsettled = (
            select(table, *_WHOSE).join(t.registrations).where(c.status == "unknown", t.UNSETTLED).order_by(c.id)
        )
        self._unsettled_at = self._unsettled.where(t.registrations.c.exchange == bindparam("exchange"))
        self._count = (
            select(t.registrations.c.exchange, func.count().label("unknown"))
            .join(table)
            .where(c.status == "unknown", t.UNSETTLED)
            .group_by(t.registrations.c.exchange)
        )
        self._empty = dict.fromkeys(table.c.keys()) | {"released": False}
        self._change = update(table).where(c.id == bindparam("row"))
        self._rerun = self._change.where(c.released).returning(table)
        #: A row that ran anew since then has another time of creation.
        self._conclude = self._change.where(c.created == bindparam("began"))
        self._doubt = self._conclude.where(c.status == "running")
        self._settle = self._change.where(c.status == "unknown", c.updated == bindparam("seen"))
        lost = or_(database.departed(c.server), c.updated < bindparam("until"))
        self._orphans = update(table).where(c.status == "running", t.UNSETTLED, lost).values(status="unknown")

    def begin(self, registration: int, key: str | None, fingerprint: str, values: Mapping[str, str | None]) -> Intent:
        """Commit an intent, or find the row that has its key already. Without a key its client id is its key, too.

        A released row with the same parameters runs anew. Of many that come at the same moment, one is fresh.
        """
        moment, client_id = now(), uuid.uuid4().hex
        intent = {
            "registration_id": registration,
            "key": key or client_id,
            "fingerprint": fingerprint,
            "client_id": client_id,
            "status": "running",
            "server": self._database.server,
            "created": moment,
            "updated": moment,
            **values,
        }
        try:
            id = self._database.write(lambda link: _inserted(link, self._table, intent))
        except IntegrityError:
            return self._database.write(lambda link: self._again(link, intent))
        return Intent({**self._empty, **intent, "id": id}, fresh=True)

    def _again(self, link: Link, intent: Mapping[str, Any]) -> Intent:
        asked = {"registration": intent["registration_id"], "key": intent["key"]}
        [row] = link.rows(self._keyed, asked)
        if row["released"] and row["fingerprint"] == intent["fingerprint"]:
            # It was certainly not executed before, so its exchange is to be asked about from now on only.
            again = {"row": row["id"], "status": "running", "released": False, "answer_status": None, "answer": None}
            again |= {name: intent[name] for name in ("server", "created", "updated")}
            if rerun := link.first(self._rerun, again):
                return Intent(rerun, fresh=True)
            [row] = link.rows(self._keyed, asked)
        return Intent(row, fresh=False)

    def finish(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit what became of an intent; False: it runs anew meanwhile, for it was taken for lost.

        What an exchange said of it is never made unknown again.
        """
        statement = self._doubt if columns["status"] == "unknown" else self._conclude
        # It may have been given up, and its key released, when the exchange answers after all.
        values = {"row": row["id"], "began": row["created"], "released": False, **columns}
        met = self._database.write(lambda link: link.change(statement, values))
        return met == 1 or columns["status"] == "unknown"

    def change(self, id: int, columns: Mapping[str, Any]) -> None:
        """Commit what is new of an order or a send."""
        values = {"row": id, **columns}
        self._database.write(lambda link: link.change(self._change, values))

    def settle(self, row: Mapping[str, Any], columns: Mapping[str, Any], audit: str | None = None) -> bool:
        """Commit what became of a row whose outcome was unknown; False: it is no longer as it is in `row`.

        `audit`: why a person says so; it is kept.
        """
        values = {"row": row["id"], "seen": row["updated"], "updated": now(), **columns}

        def work(link: Link) -> bool:
            settled = link.change(self._settle, values) == 1
            if settled and audit is not None:
                entry = {"journal": self.name, "row": row["id"], "before": "unknown", "after": columns["status"]}
                link.change(_ADD_AUDIT, {**entry, "what": audit, "created": now()})
            return settled

        return self._database.write(work)

    def get(self, registration: int, id: int) -> dict[str, Any] | None:
        """One row of a registration."""
        return self._first(self._one, {"registration": registration, "id": id})

    def by_key(self, registration: int, key: str) -> dict[str, Any] | None:
        """The row that carries `key`."""
        return self._first(self._keyed, {"registration": registration, "key": key})

    def rows(self, registration: int, statuses: Sequence[str], limit: int, before: int | None) -> list[dict[str, Any]]:
        """The rows of a registration with one of these statuses and an id below `before`, newest first."""
        query = self._lists.get(tuple(statuses))
        if query is None:
            query = self._list.where(or_(*(self._table.c.status == status for status in statuses)))
            self._lists[tuple(statuses)] = query
        with self._database.reading() as link:
            return link.rows(query, {"registration": registration, "limit": limit, "before": before or _TOP})

    def unsettled(self, exchange: str | None = None) -> list[tuple[Registration, dict[str, Any]]]:
        """Every row (of one exchange) whose outcome is unknown, with its registration, oldest first."""
        with self._database.reading() as link:
            rows = link.rows(self._unsettled_at, {"exchange": exchange}) if exchange else link.rows(self._unsettled)
        return [(_registration_in(row), row) for row in rows]

    def count_unknown(self) -> dict[str, int]:
        """How many rows have an unknown outcome, by exchange."""
        with self._database.reading() as link:
            return {row["exchange"]: row["unknown"] for row in link.rows(self._count)}

    def orphan(self, until: str) -> int:
        """What runs since before `until`, or on a server that is no more, has an unknown outcome; how many rows."""
        values = {"until": until, "updated": now()}
        return self._database.write(lambda link: link.change(self._orphans, values))

    def _first(self, query: Select[Any], asked: dict[str, Any]) -> dict[str, Any] | None:
        with self._database.reading() as link:
            return link.first(query, asked)


#: Above every id.
_TOP = 2**63 - 1


class PaperBook:
    """One registration's page of the paper exchange: balances, orders, and every entry that led to them."""

    def __init__(self, database: Database, registration: int) -> None:
        self._database, self._registration = database, registration

    def change(self, work: Callable[[PaperPage], T]) -> T:
        """What `work` returns, done on the page while nobody else can; kept whole, or not at all when it raises."""

        def on_page(link: Link) -> T:
            self._database.lock(link, _LOCK_REGISTRATION, {"id": self._registration})
            page = PaperPage(link, self._registration, self.balances())
            result = work(page)
            page.keep()
            return result

        return self._database.write(on_page)

    def balances(self) -> dict[str, Decimal]:
        """What is owned, by currency; empty before the opening."""
        return {row["currency"]: exact(row["total"]) for row in self._rows(_PAPER_BALANCES)}

    def open_orders(self) -> list[dict[str, Any]]:
        """The orders that wait for their price, oldest first."""
        return self._rows(_PAPER_OPEN)

    def order(self, client_id: str) -> dict[str, Any] | None:
        """The order that carries `client_id`."""
        return next(iter(self._rows(_PAPER_ORDER, client_id=client_id)), None)

    def orders(self, limit: int) -> list[dict[str, Any]]:
        """The latest orders, newest first."""
        return self._rows(_PAPER_ORDERS, limit=limit)

    def send(self, client_id: str) -> dict[str, Any] | None:
        """The send that carries `client_id`."""
        return next(iter(self._rows(_PAPER_SEND, client_id=client_id)), None)

    def sends(self, limit: int) -> list[dict[str, Any]]:
        """The latest sends, newest first."""
        return self._rows(_PAPER_SENDS, limit=limit)

    def _rows(self, query: Select[Any], **asked: Any) -> list[dict[str, Any]]:
        with self._database.reading() as link:
            return link.rows(query, {"registration": self._registration, **asked})


class PaperPage:
    """A page of the book, open for writing."""

    def __init__(self, link: Link, registration: int, balances: dict[str, Decimal]) -> None:
        self._link, self._registration = link, registration
        self._moment = now()
        self._known = set(balances)
        self._entries: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] | None = None
        self.balances = balances

    def open_orders(self) -> list[dict[str, Any]]:
        """The orders that wait for their price, oldest first."""
        if self._open is None:
            self._open = self._link.rows(_PAPER_OPEN, {"registration": self._registration})
        return self._open

    def enter(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None:
        """Add `amount` (negative: take) to the balance of `currency`, with an entry that says why."""
        self.balances[currency] = EXACT.add(self.balances.get(currency, Decimal(0)), amount)
        entry = {"kind": kind, "reference": reference, "currency": currency, "amount": plain(amount)}
        self._entries.append(self._stamped(entry))

    def add_order(self, values: Mapping[str, Any]) -> int:
        """Keep a new order; its number."""
        self._open = None
        return _inserted(self._link, t.paper_orders, self._stamped(values))

    def change_order(self, id: int, values: Mapping[str, Any]) -> None:
        """Keep what became of an order."""
        self._open = None
        self._link.change(_PAPER_CHANGE, {"row": id, **values})

    def add_send(self, values: Mapping[str, Any]) -> int:
        """Keep a send; its number."""
        return _inserted(self._link, t.paper_sends, self._stamped(values))

    def keep(self) -> None:
        """Write the entries and the balances that they changed."""
        changed = dict.fromkeys(entry["currency"] for entry in self._entries)
        totals = [(currency, plain(self.balances[currency])) for currency in changed]
        place = {"registration_id": self._registration}
        new = [{**place, "currency": name, "total": total} for name, total in totals if name not in self._known]
        old = [
            {"registration": self._registration, "of": name, "total": total}
            for name, total in totals
            if name in self._known
        ]
        if self._entries:
            named = {f"{name}_{at}": value for at, row in enumerate(self._entries) for name, value in row.items()}
            self._link.change(_add_entries(len(self._entries)), named)
        for statement, rows in ((_ADD_BALANCES, new), (_SET_BALANCES, old)):
            self._link.change_each(statement, rows)

    def _stamped(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"registration_id": self._registration, "created": self._moment, **values}


# --- what the statements above share ----------------------------------------------------------------------------------

_WHOSE = [t.registrations.c[name].label(f"of_{name}") for name in Registration.__dataclass_fields__]
_ACCOUNT = (
    select(t.accounts.c.id, t.accounts.c.name, t.accounts.c.password_hash, t.accounts.c.active, *_WHOSE)
    .outerjoin(
        t.registrations,
        and_(t.registrations.c.id == bindparam("registration"), t.registrations.c.account_id == t.accounts.c.id),
    )
    .where(t.accounts.c.name == bindparam("name"))
)
_ACCOUNTS = select(t.accounts.c.id, t.accounts.c.name, t.accounts.c.active, t.accounts.c.created).order_by(
    t.accounts.c.id
)
_REHASH = update(t.accounts).where(t.accounts.c.id == bindparam("account"))
_CHECK_VALUE, _ADD_CHECK_VALUE = select(t.vault_check.c.sealed), insert(t.vault_check)
_REGISTRATION_COLUMNS = [t.registrations.c[name] for name in Registration.__dataclass_fields__]
_REGISTRATIONS_OF = (
    select(*_REGISTRATION_COLUMNS)
    .where(t.registrations.c.account_id == bindparam("account"))
    .order_by(t.registrations.c.id)
)
_SEAL = update(t.registrations).where(t.registrations.c.id == bindparam("row")).returning(*_REGISTRATION_COLUMNS)
#: Rows that refer to a registration can be added meanwhile.
_LOCK_REGISTRATION = (
    select(t.registrations.c.id).where(t.registrations.c.id == bindparam("id")).with_for_update(key_share=True)
)
_SENDS = t.withdrawals.c
_OTHER_SENDS = (
    select(t.withdrawals)
    .join(t.registrations)
    .where(
        t.registrations.c.exchange == bindparam("exchange"),
        *(_SENDS[name] == bindparam(name) for name in ("asset", "address")),
        _SENDS.id != bindparam("id"),
        _SENDS.created.between(bindparam("since"), bindparam("until")),
    )
)
_ADD_LANE, _ADD_AUDIT = insert(t.lanes), insert(t.audit)
_MINE = t.paper_orders.c.registration_id == bindparam("registration")
_PAPER_ORDER = select(t.paper_orders).where(_MINE, t.paper_orders.c.client_id == bindparam("client_id"))
_PAPER_ORDERS = select(t.paper_orders).where(_MINE).order_by(t.paper_orders.c.id.desc()).limit(bindparam("limit"))
_PAPER_OPEN = select(t.paper_orders).where(_MINE, t.OPEN).order_by(t.paper_orders.c.id)
_PAPER_CHANGE = update(t.paper_orders).where(t.paper_orders.c.id == bindparam("row"))
_MY_SENDS = select(t.paper_sends).where(t.paper_sends.c.registration_id == bindparam("registration"))
_PAPER_SEND = _MY_SENDS.where(t.paper_sends.c.client_id == bindparam("client_id"))
_PAPER_SENDS = _MY_SENDS.order_by(t.paper_sends.c.id.desc()).limit(bindparam("limit"))
_PAPER_BALANCES = select(t.paper_balances.c.currency, t.paper_balances.c.total).where(
    t.paper_balances.c.registration_id == bindparam("registration")
)
_LAST = t.lanes.c.nonce
_NEXT_NONCE = (
    update(t.lanes)
    .where(t.lanes.c.lane == bindparam("of"))
    .values(nonce=case((bindparam("at_least") > _LAST, bindparam("at_least")), else_=_LAST + 1))
    .returning(_LAST)
)
_ADD_BALANCES = insert(t.paper_balances)
_SET_BALANCES = update(t.paper_balances).where(
    t.paper_balances.c.registration_id == bindparam("registration"), t.paper_balances.c.currency == bindparam("of")
)
_INSERTS = {table.name: insert(table).returning(table.c.id) for table in t.metadata.tables.values() if "id" in table.c}


def _registration_in(row: dict[str, Any]) -> Registration:
    """The registration whose columns stand in a row beside others; they are taken out of it."""
    return Registration(**{name: row.pop(f"of_{name}") for name in Registration.__dataclass_fields__})


@cache
def _add_entries(count: int) -> Insert:
    """One statement for so many entries, whose values are named like `amount_0`."""
    names = [column.name for column in t.paper_entries.c if column.name != "id"]
    return insert(t.paper_entries).values([{name: bindparam(f"{name}_{at}") for name in names} for at in range(count)])


def _inserted(link: Link, table: Table, values: Mapping[str, Any]) -> int:
    id: int = link.value(_INSERTS[table.name], values)
    return id
