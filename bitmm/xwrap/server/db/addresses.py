"""The allow-lists: where each account may send an asset to, from when on, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, func, or_, select, update

from ..._addresses import is_caseless, same_address
from ...money import exact, plain, total
from . import tables as t
from .base import Database
from .records import now
from .registrations import LOCK_ACCOUNT
from .statements import StatementRunner

__all__ = ["AddressStore", "AllowedAddress", "same_network"]


@dataclass(frozen=True, slots=True)
class AllowedAddress:
    """An address that an account may send to: with this tag and over this network, and none where that is None.

    `per_send` and `per_day` are in units of the asset, None: without a limit. It may be used from `usable_from` on, and
    no longer when it was `removed`.
    """

    id: int
    account_id: int
    asset: str
    address: str
    network: str | None
    tag: str | None
    label: str
    per_send: Decimal | None
    per_day: Decimal | None
    created: str
    usable_from: str
    removed: str | None


_A = t.addresses.c
_COLUMNS = [_A[name] for name in AllowedAddress.__dataclass_fields__]
_OF_ACCOUNT = select(*_COLUMNS).where(_A.account_id == bindparam("account"), _A.removed.is_(None)).order_by(_A.id)
_BY_ID = select(*_COLUMNS).where(_A.account_id == bindparam("account"), _A.id == bindparam("id"))
#: In any case of its letters; `same_address` says which of them are the same wallet.
_OF_ADDRESS = _OF_ACCOUNT.where(
    _A.asset == bindparam("asset"),
    or_(_A.address == bindparam("address"), func.lower(_A.address) == bindparam("lower")),
)
_LOCK_ADDRESS = _OF_ADDRESS.with_for_update()
_REMOVE = update(t.addresses).where(
    _A.account_id == bindparam("account"), _A.id == bindparam("row"), _A.removed.is_(None)
)

_W, _R = t.withdrawals.c, t.registrations.c
_AMOUNTS = (
    select(_W.amount)
    .join(t.registrations)
    .where(
        _W.created > bindparam("since"),
        _R.account_id == bindparam("account"),
        _W.asset == bindparam("asset"),
        _W.status != "rejected",
    )
)
_AMOUNTS_TO = _AMOUNTS.where(_W.address == bindparam("address"))
_AMOUNTS_TO_IN_ANY_CASE = _AMOUNTS.where(func.lower(_W.address) == bindparam("address"))


class AddressStore:
    """The allow-lists of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        account: int,
        asset: str,
        address: str,
        *,
        network: str | None = None,
        tag: str | None = None,
        label: str = "",
        per_send: Decimal | None = None,
        per_day: Decimal | None = None,
        usable_from: str,
    ) -> tuple[AllowedAddress, bool]:
        """Return the address as it is on the list of the account, and whether it is new.

        One that is there stays as it is. Of two calls at the same time the second sees what the first added.
        """
        values = {
            "account_id": account,
            "asset": asset,
            "address": address,
            "network": network,
            "tag": tag,
            "label": label,
            "per_send": None if per_send is None else plain(per_send),
            "per_day": None if per_day is None else plain(per_day),
            "created": now(),
            "usable_from": usable_from,
            "removed": None,
        }

        def work(runner: StatementRunner) -> tuple[AllowedAddress, bool]:
            self._database.lock_rows(runner, LOCK_ACCOUNT, {"id": account})
            for entry in _of_address(runner, account, asset, address):
                if entry.tag == tag and same_network(entry.network, network):
                    return entry, False
            return _from_row({**values, "id": runner.insert(t.addresses, values)}), True

        return self._database.write(work)

    def of_account(self, account: int) -> list[AllowedAddress]:
        """Return the addresses of an account that were not removed, oldest first."""
        with self._database.reading() as runner:
            return [_from_row(row) for row in runner.rows(_OF_ACCOUNT, {"account": account})]

    def get(self, account: int, id: int) -> AllowedAddress | None:
        """Return an address of an account, also one that was removed."""
        with self._database.reading() as runner:
            row = runner.first(_BY_ID, {"account": account, "id": id})
        return None if row is None else _from_row(row)

    def remove(self, account: int, id: int) -> bool:
        """Take an address from the list of an account; False: it is not there any more, or never was."""
        values = {"account": account, "row": id, "removed": now()}
        return self._database.write_one(lambda runner: runner.change(_REMOVE, values)) == 1

    def find(self, account: int, asset: str, address: str, *, lock: bool = False) -> list[AllowedAddress]:
        """Return what the list of an account has for an asset and an address, with any tag and network.

        With `lock`, within a write: until it ends no other write locks or changes them.
        """
        if lock:
            return self._database.write(lambda runner: self._locked(runner, account, asset, address))
        with self._database.reading() as runner:
            return _of_address(runner, account, asset, address)

    def _locked(self, runner: StatementRunner, account: int, asset: str, address: str) -> list[AllowedAddress]:
        self._database.lock_rows(runner, _LOCK_ADDRESS, _place(account, asset, address))
        return _of_address(runner, account, asset, address)

    def sum_since(self, account: int, asset: str, address: str, since: str) -> Decimal:
        """Return how much of an asset an account sent to an address after a time: all that was not refused.

        That is over all of its registrations, with any tag and over any network, and without the fees.
        """
        values = {"account": account, "asset": asset, "address": address, "since": since}
        statement = _AMOUNTS_TO
        if is_caseless(address):
            statement, values["address"] = _AMOUNTS_TO_IN_ANY_CASE, address.lower()
        with self._database.reading() as runner:
            return total(exact(row["amount"]) for row in runner.rows(statement, values))


def _place(account: int, asset: str, address: str) -> dict[str, Any]:
    return {"account": account, "asset": asset, "address": address, "lower": address.lower()}


def _of_address(runner: StatementRunner, account: int, asset: str, address: str) -> list[AllowedAddress]:
    rows = runner.rows(_OF_ADDRESS, _place(account, asset, address))
    return [_from_row(row) for row in rows if same_address(row["address"], address)]


def same_network(one: str | None, other: str | None) -> bool:
    """Return whether two names are one network: the same in any case, or both none."""
    return one == other or (one is not None and other is not None and one.casefold() == other.casefold())


def _from_row(row: Mapping[str, Any]) -> AllowedAddress:
    limits = {name: None if row[name] is None else exact(row[name]) for name in ("per_send", "per_day")}
    return AllowedAddress(**{**row, **limits})
