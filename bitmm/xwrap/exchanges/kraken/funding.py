"""Which of Kraken's deposit methods and addresses, and which row of its address book, is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..._addresses import same_address
from ..errors import Refused
from ..http import PARSING_ERRORS
from ..models import DepositAddress, NewWithdrawal
from ..parsing import readable_rows, required_text, time_from_seconds
from ..rules import network_required
from .parsing import tag_from_row

#: Which of several deposit methods is meant when no network is named; any other choice would be a guess.
_USUAL_METHOD = {"BTC": "Bitcoin"}
#: "Get Asset Info", status: an asset without deposits.
_NO_DEPOSITS = ("withdrawal_only", "funding_temporarily_disabled")


def check_takes_deposits(asset: str, row: Mapping[str, Any]) -> None:
    """Raise Refused when the asset's row of the answer to Assets says that it takes no deposits now."""
    if row.get("status") in _NO_DEPOSITS:
        raise Refused(
            f"Kraken takes no deposits of {asset} now; try again later", code="exchange_unavailable", retryable=True
        )


def choose_method(asset: str, rows: Iterable[Mapping[str, Any]], network: str | None) -> str:
    """Return the deposit method of the answer to DepositMethods called `network`; without one, the usual or the only
    one. Raises Refused.
    """
    methods = readable_rows("Kraken", rows, lambda row: required_text(row["method"]))
    if not methods:
        raise Refused(f"Kraken takes no deposits of {asset} now", code="unknown_asset")
    wanted = network or _USUAL_METHOD.get(asset)
    for method in methods:
        if wanted is not None and method.casefold() == wanted.casefold():
            return method
    if network is None and len(methods) == 1:
        return methods[0]
    raise network_required(asset, methods)


def usable_addresses(rows: Iterable[Mapping[str, Any]], asset: str, method: str) -> list[DepositAddress]:
    """Return those of the answer to DepositAddresses that have not expired."""
    now = datetime.now(UTC)

    def read(row: Mapping[str, Any]) -> tuple[DepositAddress, bool]:
        # 0, as text or as a number: it does not expire.
        expires = time_from_seconds(row.get("expiretm") or 0)
        is_usable = expires.timestamp() == 0 or expires > now
        return DepositAddress(asset, required_text(row["address"]), tag_from_row(row), method), is_usable

    return [address for address, is_usable in readable_rows("Kraken", rows, read) if is_usable]


def choose_address(withdrawal: NewWithdrawal, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row of the address book that is exactly where `withdrawal` is to go. Raises Refused."""
    known = False
    fitting: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        # A row that cannot be read is no row to send by.
        with suppress(*PARSING_ERRORS):
            if same_address(row["address"], withdrawal.address):
                known, method = True, "" if row.get("method") is None else required_text(row["method"])
                is_network = withdrawal.network is None or withdrawal.network.casefold() == method.casefold()
                # Kraken sends by no row that is not confirmed; where that is left out, it says so.
                is_confirmed = row.get("verified") in (True, None)
                if is_confirmed and is_network and tag_from_row(row) == withdrawal.tag and required_text(row["key"]):
                    fitting.setdefault(method, row)
    if not fitting:
        there = "with this tag and network, and confirmed, " if known else ""
        raise Refused(
            f"the address is not {there}in Kraken's address book; register it at Kraken first, then send again",
            code="address_not_registered",
        )
    if len(fitting) > 1:
        raise network_required(withdrawal.asset, sorted(fitting))
    return next(iter(fitting.values()))
