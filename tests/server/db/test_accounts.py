"""Accounts in the data base."""

from __future__ import annotations

import pytest

from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql


def test_a_name_belongs_to_one_account(store):
    store.accounts.add("ann", "x")
    with pytest.raises(ValueError, match="already"):
        store.accounts.add("ann", "y")


@pytest.mark.parametrize("status", ["running", "unknown", "open"])
def test_an_account_is_not_removed_while_an_order_of_it_is_not_over(store, status):
    registration = add_registration(store)
    store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    sql(store.where, f"UPDATE orders SET status = '{status}'")
    account = store.accounts.find("ann")
    with pytest.raises(ValueError, match="1 orders and 0 sends that are open or unknown"):
        store.accounts.remove(account)
    assert store.accounts.find("ann", registration).registration is not None


def test_a_removed_account_keeps_its_journal_and_no_key(store):
    registration = add_registration(store)
    store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    sql(store.where, "UPDATE orders SET status = 'filled'")
    account = store.accounts.find("ann")
    store.accounts.remove(account)
    assert store.accounts.find("ann") is None
    assert store.accounts.find_login("ann") is None
    assert store.accounts.all() == []
    assert store.registrations.get(registration) is None
    sealed = sql(store.where, "SELECT sealed_apikey, sealed_apisecret, sealed_more FROM registrations")
    assert [[bytes(text) for text in row] for row in sealed] == [[b"", b"", b""]]
    assert store.orders.by_key(registration, "k1")["status"] == "filled"
    assert store.accounts.add("ann", "x") != account.id


def test_a_login_is_that_of_an_account_before_that_of_a_credential(store):
    add_registration(store)
    owner = store.accounts.find("ann")
    values = {"account_id": owner.id, "name": "bot1", "scope": "read"}
    store.credentials.add(values, "a random password", "ann/bot1")
    assert store.accounts.find_login("ann/bot1").credential.scope == "read"
    assert store.accounts.find_login("ann/other").names_credential
    store.accounts.add("ann/bot1", "x")
    assert store.accounts.find_login("ann/bot1").credential is None
    store.credentials.revoke(owner.id, "bot1")
    assert store.accounts.find_login("bob/bot1") is None
