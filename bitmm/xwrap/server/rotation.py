"""Rotation of the master key, while servers run: a new key, everything sealed anew with it, the old keys dropped.

Each step is committed by itself, and a rotation that was broken off goes on where it stands: the key file has a new key
in front; the check value of the data base names it, and from then on every server seals with it; registration after
registration is sealed anew. A server that reads what it has no key for reads its key file again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .db.records import Registration
from .db.registrations import SEALED_COLUMNS
from .db.store import Store
from .key_file import MasterKeys, add_key, drop_old_keys, locked, read_keys
from .passwords import Secret
from .vault import Vault, VaultError, sealed_with

__all__ = ["Rotation", "drop_old", "new_key", "rotate"]


class Rotation(NamedTuple):
    """What a rotation did: the name of the key, how many registrations were sealed anew, and which do not open."""

    key: str
    resealed: int
    unreadable: list[int]


def new_key(store: Store, path: Path) -> str:
    """Put a new key in front of a key file, unless a rotation to the one there has not ended; return its name.

    Raises VaultError.
    """
    with locked(path):
        return _prepare(store, path).newest.hex()


def rotate(store: Store, path: Path, report: Callable[[int, int], None] = lambda _done, _total: None) -> Rotation:
    """Seal everything with the newest key of a file; when that is done already, with a new one. Raises VaultError.

    `report` is called with how many registrations were looked at, of how many.
    """
    with locked(path):
        keys = _prepare(store, path)
        vault = Vault(keys, path)
        _begin(store, vault, keys)
        return _reseal_all(store, vault, keys, report)


def drop_old(store: Store, path: Path) -> list[str]:
    """Remove all keys but the newest from a file, and return their names. Raises VaultError while one is needed."""
    with locked(path):
        keys = read_keys(path)
        check_value = _check_value(store, Vault(keys, path))
        left = [row.id for row in store.sealed.registrations() if _old_columns(row, keys.newest)]
        if left or sealed_with(check_value) != keys.newest:
            which = f" (registrations {', '.join(map(str, left[:10]))})" if left else ""
            raise VaultError(f"the old master key is still needed{which}; run: xwrap vault rotate")
        old = [id.hex() for id in keys.ids[1:]]
        if old:
            names = {"dropped": " ".join(old)}
            store.audit.add("administrator", "vault.drop", f"master key {keys.newest.hex()}", names)
            drop_old_keys(path)
        return old


def _prepare(store: Store, path: Path) -> MasterKeys:
    """Return the keys of a file, the newest of which is one to rotate to."""
    keys = read_keys(path)
    check_value = _check_value(store, Vault(keys, path))
    if sealed_with(check_value) != keys.newest:
        return keys
    if any(_old_columns(row, keys.newest) for row in store.sealed.registrations()):
        return keys
    return add_key(path)


def _check_value(store: Store, vault: Vault) -> bytes:
    sealed = store.sealed.check_value()
    if sealed is None:
        raise VaultError("nothing is sealed yet: the first start of the server makes a master key; run: xwrap serve")
    vault.check(sealed)
    return sealed


def _begin(store: Store, vault: Vault, keys: MasterKeys) -> None:
    """Let every server seal with the newest key from now on."""
    seen = _check_value(store, vault)
    if sealed_with(seen) == keys.newest:
        return

    def begin() -> bool:
        if not store.sealed.replace_check_value(seen, vault.check_value()):
            return False
        details = {"before": sealed_with(seen).hex()}
        store.audit.add("administrator", "vault.rotate", f"master key {keys.newest.hex()}", details)
        return True

    if not store.atomic(begin):
        raise VaultError("another machine rotates to a key of its own; let one machine do it, and copy its key file")


def _reseal_all(store: Store, vault: Vault, keys: MasterKeys, report: Callable[[int, int], None]) -> Rotation:
    resealed, unreadable, total = 0, [], sum(1 for _ in store.sealed.registrations())
    # One pass is enough: what is added or replaced since `_begin` is sealed with the newest key by its server.
    for done, row in enumerate(store.sealed.registrations(), 1):
        report(done, max(done, total))
        if not _old_columns(row, keys.newest):
            continue
        try:
            sealed = _sealed_anew(vault, row)
        except VaultError:
            unreadable.append(row.id)
        else:
            resealed += store.sealed.reseal(row, sealed)
    return Rotation(keys.newest.hex(), resealed, unreadable)


def _old_columns(row: Registration, newest: bytes) -> list[str]:
    """Return which columns of a registration are sealed with another key than the newest."""
    texts = {name: getattr(row, name) for name in SEALED_COLUMNS}
    return [name for name, sealed in texts.items() if sealed and sealed_with(sealed) != newest]


def _sealed_anew(vault: Vault, row: Registration) -> dict[str, bytes]:
    columns = {}
    for name in SEALED_COLUMNS:
        sealed, field = getattr(row, name), name.removeprefix("sealed_")
        if sealed:
            secret = Secret(vault.open(row.account_id, row.id, field, sealed))
            columns[name] = vault.seal_with_newest(row.account_id, row.id, field, secret)
    return columns
