"""What moved an account's money at Bitstamp: the amounts in the rows of the user's transactions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from ...money import parse_decimal
from ..account_history import EntryKind, LedgerEntry
from ..http import PARSING_ERRORS
from ..parsing import id_from_number, time_from_field
from .parsing import NOTHING

__all__ = ["entries_from_row"]

#: "User transactions", type. 25 and 26 lead to and from staking, 27 is what it earned, 32 is for a referral, 14 and 35
#: are between accounts of one owner, 36 is a purchase without an order. What is not here is "other".
_KINDS: dict[str, EntryKind] = {
    "0": "deposit",
    "1": "withdrawal",
    **dict.fromkeys(("2", "36"), "fill"),
    **dict.fromkeys(("14", "25", "26", "35"), "transfer"),
    **dict.fromkeys(("27", "32"), "reward"),
}
#: The fields of a row that are no amounts. A field with an underscore is a price ("btc_eur"), or about an order.
_OTHER_FIELDS = {"id", "datetime", "type", "fee", "market"}


def entries_from_row(row: Mapping[str, Any], currencies: Collection[str]) -> list[LedgerEntry]:
    """Return what one of the user's transactions moved, an entry for each currency in it that is not zero.

    `currencies`: those that are listed now; others, of the past, are recognised by their amounts. The fee of a trade
    counts its currency ("btc_eur" names it), any other one the only currency that moved. Both are taken beside the
    amounts, as the tax tools that read such rows take them; the documentation does not say it of a withdrawal.

    Raises ValueError where time, id or kind cannot be read, and where there is a fee and nothing that it counts.
    """
    id, time, word = id_from_number(row["id"]), time_from_field(row["datetime"]), str(int(str(row["type"])))
    amounts = {name: _amount(row[name]) for name in row if _is_moved(name, row[name], currencies)}
    fee = parse_decimal(row.get("fee") or 0)
    asset, currency = _pair(row)
    if word == "2":
        amounts = _with_signs(amounts, asset, currency)
    fee_name = (currency if word == "2" else _only(amounts)) if fee else None
    if fee_name is not None:
        # A trade of less than a cent moves none of the currency, and may have a fee.
        amounts.setdefault(fee_name, Decimal(0))
    entries = []
    for name, amount in amounts.items():
        own_fee = fee if name == fee_name else Decimal(0)
        entries.append(
            LedgerEntry(
                # A trade with oneself is two rows, and both sides may have one id.
                id=f"{id}{'-' if amount is not None and amount < 0 else '+'}{name.upper()}",
                time=time,
                kind=_KINDS.get(word, "other"),
                asset=name.upper(),
                amount=amount,
                fee=None if amount is None else own_fee,
                reference=id,
                description=f"type {word}",
            )
        )
    return entries


def _is_moved(name: str, value: Any, currencies: Collection[str]) -> bool:
    """Return whether a field is a currency, and its amount is not zero, or cannot be understood."""
    if "_" in name or name in _OTHER_FIELDS or value in NOTHING:
        return False
    amount = _amount(value)
    return amount != 0 and (amount is not None or name.upper() in currencies)


def _amount(value: Any) -> Decimal | None:
    with suppress(*PARSING_ERRORS):
        return parse_decimal(value)
    return None


def _with_signs(amounts: Mapping[str, Decimal | None], asset: str, currency: str) -> dict[str, Decimal | None]:
    """Return the amounts of a trade: what is paid is below zero. Rows of 2013 have a sign in the currency alone."""
    spent, received = amounts.get(currency), amounts.get(asset)
    if not spent or received is None:
        return dict(amounts)
    return {**amounts, asset: received.copy_abs() if spent < 0 else received.copy_abs().copy_negate()}


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the fields of asset and currency of a trade, which the name of its price names; of none: "" and ""."""
    for name in row:
        asset, _, currency = name.partition("_")
        if asset in row and currency in row:
            return asset, currency
    return "", ""


def _only(amounts: Mapping[str, object]) -> str:
    """Return the only currency that moved. Raises ValueError when there is another number of them."""
    [only] = amounts
    return only
