"""Whether a send may leave: only where its registration allows sends, to an address of the account's allow-list.

An address of the list belongs to an asset, and to one tag and one network, or to none: a send to it that names another
tag or network, or one where the list has none, may go elsewhere. It is used from some time after it was added on, and
within its limits. The paper exchange, whose money is not real, needs none of this.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .._addresses import is_bech32
from ..exchanges.base import Exchange
from ..exchanges.models import NewOrder, NewTransfer, NewWithdrawal
from ..exchanges.paper.addresses import is_bitcoin_address
from ..money import plain, total
from .db.addresses import AddressStore, AllowedAddress, same_network
from .db.records import DAY_SECONDS, Registration, now
from .problems import Problem

__all__ = ["check_address", "check_key_given", "check_place", "check_send", "guarded_send"]

#: How the addresses begin that have the checksum of Bech32 (SLIP-0173): of Bitcoin and its test networks, of Litecoin.
_BECH32 = re.compile(r"(bc|tb|bcrt|ltc|tltc)1", re.IGNORECASE)
_ETHEREUM = re.compile(r"0x[0-9a-fA-F]{40}")


def guarded_send(exchange: Exchange, request: NewOrder | NewWithdrawal) -> NewWithdrawal | None:
    """Return a request that is a send which needs a key and an address of the allow-list; None for any other."""
    return request if isinstance(request, NewWithdrawal) and not exchange.in_process else None


def check_key_given(exchange: Exchange, request: NewOrder | NewWithdrawal, key: str | None) -> None:
    """Raise Problem 422 for a send without a key: repeated after a lost answer, it would be executed twice."""
    if key is None and guarded_send(exchange, request) is not None:
        raise Problem(
            422,
            "key_required",
            f"a send at {exchange.name} needs the header Idempotency-Key, so that a repeat of it is not executed twice;"
            " nothing was sent",
            field="Idempotency-Key",
        )


def check_send(
    addresses: AddressStore, registration: Registration, withdrawal: NewWithdrawal, *, lock: bool = False
) -> None:
    """Raise Problem 403 for a send that may not leave now. A transfer stays with its owner, and needs no address.

    With `lock`, within the write that commits the send, no other send to the address is committed before that ends, so
    that both together stay within its limits.
    """
    entry = check_place(addresses, registration, withdrawal, lock=lock)
    if entry is not None:
        _check_limits(addresses, entry, withdrawal)


def check_place(
    addresses: AddressStore, registration: Registration, withdrawal: NewWithdrawal, *, lock: bool = False
) -> AllowedAddress | None:
    """Return the entry of the allow-list that lets a send go where it goes, whatever its amount; None for a transfer.

    Raises Problem 403.
    """
    if not registration.allow_send:
        raise Problem(
            403,
            "sends_off",
            f"sends are switched off for this registration, and nothing was sent; with the account's own password"
            f" PATCH /exchanges/{registration.id} and allow_send=true switches them on",
        )
    if isinstance(withdrawal, NewTransfer):
        return None
    entries = addresses.find(registration.account_id, withdrawal.asset, withdrawal.address, lock=lock)
    entry = _choose(entries, withdrawal)
    if entry.usable_from > now():
        raise Problem(
            403,
            "address_waiting",
            f"this address was added to the allow-list on {_minute(entry.created)}, and may be sent to from"
            f" {_minute(entry.usable_from)} on, {_in_words(entry.usable_from)}; nothing was sent",
            field="address",
            usable_from=entry.usable_from,
        )
    return entry


def _choose(entries: list[AllowedAddress], withdrawal: NewWithdrawal) -> AllowedAddress:
    """Return the entry of an address that has the tag and the network of a send. Raises Problem 403."""
    if not entries:
        words, field = f"is not on the account's allow-list for {withdrawal.asset}", "address"
    elif not (entries := [entry for entry in entries if entry.tag == withdrawal.tag]):
        words, field = "is on the account's allow-list with another tag, or without one", "tag"
    elif not (entries := [entry for entry in entries if same_network(entry.network, withdrawal.network)]):
        words, field = "is on the account's allow-list for another network, or for none by name", "network"
    else:
        return entries[0]
    raise Problem(
        403,
        "address_not_allowed",
        f"this address {words}; nothing was sent. Add it with the account's own password (POST /addresses, or xwrap"
        " address add); it may be sent to after a waiting time",
        field=field,
    )


def _check_limits(addresses: AddressStore, entry: AllowedAddress, withdrawal: NewWithdrawal) -> None:
    amount, asset = withdrawal.amount, withdrawal.asset
    if entry.per_send is not None and amount > entry.per_send:
        raise Problem(
            403,
            "limit_exceeded",
            f"a send to this address is of at most {plain(entry.per_send)} {asset}; nothing was sent",
            field="amount",
            value=plain(amount),
            rule="per_send",
            limit=plain(entry.per_send),
        )
    if entry.per_day is None:
        return
    before = addresses.sum_since(entry.account_id, asset, withdrawal.address, now(ago=DAY_SECONDS))
    if total((before, amount)) > entry.per_day:
        raise Problem(
            403,
            "limit_exceeded",
            f"at most {plain(entry.per_day)} {asset} may be sent to this address within 24 hours, and"
            f" {plain(before)} were; nothing was sent",
            field="amount",
            value=plain(amount),
            rule="per_day",
            limit=plain(entry.per_day),
        )


def check_address(asset: str, address: str, network: str | None) -> None:
    """Raise Problem 422 for what is no address of an asset, as far as its form shows it.

    On a network that is named an asset may have the addresses of another one.
    """
    if asset == "BTC" and network is None:
        is_good = is_bitcoin_address(address)
    elif asset == "ETH" and network is None:
        is_good = _ETHEREUM.fullmatch(address) is not None
    else:
        is_good = is_bech32(address) or not _BECH32.match(address)
    if not is_good:
        raise Problem(
            422,
            "invalid_address",
            f"this is no address of {asset}; a letter is wrong or missing, or it belongs to a network that must be"
            " named",
            field="address",
        )


def _minute(time: str) -> str:
    """Return a time of the data base to the minute: 2026-11-27 08:30 UTC."""
    return f"{time[:10]} {time[11:16]} UTC"


def _in_words(time: str) -> str:
    """Return how long it is until a time of the data base: "in 23 hours and 5 minutes"."""
    left = max(timedelta(0), datetime.fromisoformat(time) - datetime.now(UTC))
    hours, minutes = divmod(-(-left // timedelta(minutes=1)), 60)
    return f"in {hours} hours and {minutes} minutes"
