"""Sends at exchanges other than paper: switched on, and to addresses that are allowed now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bitmm.xwrap.server.db.store import Store
from tests.support.databases import sql


def allow_sends(
    database: Path | str,
    account: str,
    addresses: Iterable[str],
    *,
    asset: str = "BTC",
    tag: str | None = None,
    network: str | None = None,
) -> None:
    """Switch sends on for every registration that the account has, and let them go to these addresses at once.

    It is written past the server, which would ask for real addresses.
    """
    store = Store(database)
    id = store.accounts.find(account).id

    def work() -> None:
        for address in addresses:
            store.addresses.add(id, asset, address, tag=tag, network=network, usable_from="2000")

    store.atomic(work)
    store.close()
    sql(database, "UPDATE registrations SET allow_send = :on WHERE account_id = :account", on=True, account=id)
