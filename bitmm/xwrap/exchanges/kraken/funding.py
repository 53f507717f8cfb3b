"""Which of Kraken's deposit methods, and which row of its address book, is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..._addresses import same_address
from ..errors import Refused
from ..models import NewWithdrawal
from ..rules import network_required
from .parsing import tag_from_row

#: Which of several deposit methods is meant when no network is named; any other choice would be a guess.
_USUAL_METHOD = {"BTC": "Bitcoin"}


def choose_method(asset: str, methods: list[str], network: str | None) -> str:
    """Return the deposit method called `network`; without one, the usual one or the only one."""
    wanted = network or _USUAL_METHOD.get(asset)
    for method in methods:
        if wanted is not None and method.casefold() == wanted.casefold():
            return method
    if network is None and len(methods) == 1:
        return methods[0]
    raise network_required(asset, methods)


def choose_address(withdrawal: NewWithdrawal, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the one of the rows of the address book that is exactly where `withdrawal` is to go. Raises Refused."""
    known = [row for row in rows if same_address(row["address"], withdrawal.address)]
    fitting = [
        row
        for row in known
        if row["verified"] is True
        and tag_from_row(row) == withdrawal.tag
        and (withdrawal.network or row["method"]).casefold() == row["method"].casefold()
    ]
    if not fitting:
        there = "with this tag and network, and confirmed, " if known else ""
        raise Refused(
            f"the address is not {there}in Kraken's address book; register it at Kraken first, then send again",
            code="address_not_registered",
        )
    networks = sorted({row["method"] for row in fitting})
    if len(networks) > 1:
        raise network_required(withdrawal.asset, networks)
    return fitting[0]
