"""What is in the data base: accounts, unknown outcomes, a gap in the journal, keys that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

from ..db.records import Registration
from ..db.registrations import SEALED_COLUMNS
from ..db.store import Store
from ..key_file import MasterKeys, VaultError, read_keys
from ..settings import Settings
from ..vault import Vault
from ..webhook import open_webhook
from .findings import Finding, finding_of

__all__ = ["check_accounts", "check_history", "check_key_file", "check_keys", "check_notices", "check_unknown"]

#: More ids than these are counted, not named.
_MOST_NAMED = 10


def check_accounts(store: Store) -> Iterator[Finding]:
    """Say how many may log in."""
    accounts = [row for row in store.accounts.all() if row["active"]]
    if accounts:
        frozen = sum(row["frozen"] is not None for row in accounts)
        words = f"{len(accounts)} may log in"
        if frozen:
            yield Finding("accounts", "look", f"{words}, {frozen} of them frozen", "xwrap freeze --help")
        else:
            yield Finding("accounts", "ok", words)
    else:
        yield Finding("accounts", "look", "there is none that may log in", "add one: xwrap account add NAME")


def check_unknown(store: Store) -> Iterator[Finding]:
    """Say how many orders and sends have an unknown outcome, and since when."""
    for noun, journal, answers in (
        ("orders", store.orders, "filled, or not-placed"),
        ("sends", store.withdrawals, "done, or not-sent"),
    ):
        rows = [row for _, row in journal.unknown()]
        check = f"unknown {noun}"
        if not rows:
            yield Finding(check, "ok", "none")
            continue
        words = f"the outcome of {len(rows)} is unknown, the oldest of {rows[0]['created'][:16].replace('T', ' ')} UTC"
        advice = f"xwrap {noun} unknown; then, as the exchange shows it: xwrap {noun} settle ID --as ({answers})"
        yield Finding(check, "look", words, advice)


def check_history(store: Store) -> Iterator[Finding]:
    """Say whether orders may be missing in the journal."""
    gap = store.history.gap()
    if gap is None:
        yield Finding("journal", "ok", "it is complete")
    else:
        words = f"orders placed after {gap.since:%Y-%m-%d %H:%M} UTC may be missing: {gap.reason}"
        yield Finding("journal", "look", words, "when you have looked at the exchanges: xwrap history accept")


def check_notices(settings: Settings, store: Store) -> Iterator[Finding]:
    """Say whether the receiver of notices, if there is one, takes them."""
    webhook = open_webhook(settings)
    if webhook is None:
        return
    webhook.close()
    backlog = store.notices.backlog()
    if backlog.waiting:
        since = (backlog.since or "")[:16].replace("T", " ")
        words = f"{backlog.waiting} wait, the oldest since {since} UTC: {backlog.error or 'not tried yet'}"
        yield Finding("notices", "look", words, "xwrap notices test")
    else:
        yield Finding("notices", "ok", "none waits")


def check_key_file(settings: Settings, store: Store | None) -> tuple[Finding, MasterKeys | None]:
    """Return whether the master key can be read and opens the data base (None: it cannot be read), and its keys."""
    path, check = settings.master_key_file, "key file"
    sealed = None if store is None else store.sealed.check_value()
    if sealed is None and not (path.exists() or path.is_symlink()):
        return Finding(check, "skip", f"there is no {path} yet; the first start makes it", "xwrap serve"), None
    try:
        keys = read_keys(path)
        if sealed is not None:
            Vault(keys, path).check(sealed)
    except VaultError as error:
        return finding_of(check, error), None
    words = f"{path} opens the data base" if sealed is not None else f"{path} can be read"
    if len(keys.keys) > 1:
        return Finding(check, "look", f"{words}, and has an old key, too", "xwrap vault drop-old"), keys
    return Finding(check, "ok", words), keys


def check_keys(settings: Settings, store: Store, keys: MasterKeys | None) -> Iterator[Finding]:
    """Say which exchange keys cannot be opened, and which their exchange refused last."""
    check = "exchange keys"
    rows = [row for row in store.sealed.registrations() if any(getattr(row, name) for name in SEALED_COLUMNS)]
    closed = [] if keys is None else [row for row in rows if not _opens(Vault(keys, settings.master_key_file), row)]
    refused = store.registrations.with_refused_key()
    if closed:
        words = f"registrations {_ids(closed)} do not open with the master key"
        yield Finding(check, "bad", words, "give each its key again: xwrap key replace ID --account NAME")
    if refused:
        words = f"the exchange refuses the key of registrations {_ids(refused)}"
        yield Finding(check, "look", words, "xwrap key check ID --account NAME, then: xwrap key replace")
    if not closed and not refused:
        yield Finding(check, "ok" if keys or not rows else "skip", f"{len(rows)} registered")


def _opens(vault: Vault, row: Registration) -> bool:
    try:
        for name in SEALED_COLUMNS:
            if sealed := getattr(row, name):
                vault.open(row.account_id, row.id, name.removeprefix("sealed_"), sealed)
    except VaultError:
        return False
    return True


def _ids(rows: list[Registration]) -> str:
    more = "" if len(rows) <= _MOST_NAMED else f" and {len(rows) - _MOST_NAMED} more"
    return ", ".join(str(row.id) for row in rows[:_MOST_NAMED]) + more
