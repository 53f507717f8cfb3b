"""Credentials in the data base."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.server.credential_passwords import make_password
from bitmm.xwrap.server.db import credentials
from bitmm.xwrap.server.db.credentials import NameTakenError, credential_from_row, digest


@pytest.fixture
def account(store):
    return store.accounts.add("ann", "x")


def add(store, account, name="bot1", password="secret", **values):
    return store.credentials.add(
        {"account_id": account, "name": name, "scope": "trade", **values}, password, f"ann/{name}"
    )


def columns(store, name):
    with store._database.reading() as runner:
        [row] = runner.rows(credentials.select(credentials.t.credentials).where(credentials._C.name == name))
    return row


def test_of_a_password_the_digest_is_kept_and_it_is_never_listed(store, account):
    password = make_password()
    added = add(store, account, password=password)
    assert columns(store, "bot1")["digest"] == digest(password) != password
    assert store.credentials.of_account(account) == [added]
    assert "digest" not in added


def test_what_a_credential_may_do_comes_back_as_it_was_given(store, account):
    row = add(store, account, exchanges="[1, 2]", pairs='["BTC/USD"]', per_order="0.10", per_day="1E+2", currency="USD")
    credential = credential_from_row(row)
    assert (credential.exchanges, credential.pairs) == ((1, 2), ("BTC/USD",))
    assert (str(credential.per_order), credential.per_day, credential.currency) == ("0.10", Decimal(100), "USD")


def test_a_name_belongs_to_one_live_credential(store, account):
    first = add(store, account)
    with pytest.raises(NameTakenError):
        add(store, account)
    store.credentials.revoke(account, "bot1")
    second = add(store, account)
    assert [row["id"] for row in store.credentials.of_account(account)] == [second["id"]] != [first["id"]]


def test_two_accounts_may_have_credentials_of_one_name(store, account):
    other = store.accounts.add("bob", "x")
    add(store, account)
    add(store, other)
    store.credentials.revoke(other, "bot1")
    assert len(store.credentials.of_account(account)) == 1


def test_a_credential_never_gets_the_user_name_of_an_account(store, account):
    store.accounts.add("ann/bot1", "x")
    with pytest.raises(NameTakenError):
        add(store, account)
    assert store.credentials.of_account(account) == []


def test_revoking_twice_is_no_error_and_one_that_never_was_is_none(store, account):
    id = add(store, account)["id"]
    is_revoked, first = store.credentials.revoke(account, "bot1")
    assert is_revoked
    assert first["id"] == id
    assert first["revoked"] is not None
    assert store.credentials.revoke(account, "bot1") == (False, first)
    assert store.credentials.revoke(account, "bot2") == (False, None)
    assert store.credentials.revoke(account + 1, "bot1") == (False, None)


@pytest.mark.parametrize("name", ["\0", "bot1\0"])
def test_a_name_with_a_nul_is_no_ones_and_reaches_no_data_base(store, account, monkeypatch, name):
    """PostgreSQL refuses such a text, where SQLite finds nothing."""
    add(store, account)
    monkeypatch.setattr(store._database, "write", None)
    assert store.credentials.revoke(account, name) == (False, None)


def test_what_is_locked_is_as_it_is_now(store, account):
    id = add(store, account)["id"]
    assert store.atomic(lambda: store.credentials.locked(id)).name == "bot1"
    store.credentials.revoke(account, "bot1")
    assert store.atomic(lambda: store.credentials.locked(id)) is None


def test_the_last_use_is_written_at_most_once_a_minute(store, account, monkeypatch):
    times = iter(["2026-11-27T00:00:00.000000Z", "2026-11-27T00:00:01.000000Z"])
    id = add(store, account)["id"]
    assert columns(store, "bot1")["last_used"] is None
    monkeypatch.setattr(credentials, "now", lambda ago=0.0: "2026-11-26" if ago else next(times))
    for _ in range(3):
        store.credentials.mark_used(id)
    assert columns(store, "bot1")["last_used"] == "2026-11-27T00:00:00.000000Z"
    store.credentials._marked.clear()  # as in another process
    store.credentials.mark_used(id)
    assert columns(store, "bot1")["last_used"] == "2026-11-27T00:00:00.000000Z"
