"""Accounts in the data base."""

from __future__ import annotations

import pytest


def test_a_name_belongs_to_one_account(store):
    store.accounts.add("ann", "x")
    with pytest.raises(ValueError, match="already"):
        store.accounts.add("ann", "y")
