"""Our ids at the exchanges: the same for the same key, whatever became of the journal, and of no use to others."""

from __future__ import annotations

import uuid

from bitmm.xwrap.server.client_ids import ClientIds
from bitmm.xwrap.server.key_file import add_key, create_keys, drop_old_keys, read_keys
from bitmm.xwrap.server.vault import Vault

OURS = ClientIds(b"s" * 32)


def test_the_ids_of_a_key_are_always_the_same():
    """They are those of the version that introduced them: others would not be found at an exchange."""
    assert [*OURS.of("orders", 7, "k1")] == [
        "3952ac4b598245b297fb7038074494dc",
        "dd81c14fc5cb4d378c5a68cbbaae1d60",
        "56a4d3552e854ec9960fc37ff689ece3",
        "659e48c9a69142bd859ebcc597fa49ab",
        "4f235b616be04d17a68f983456985d4b",
    ]


def test_each_attempt_key_registration_journal_and_installation_has_ids_of_its_own():
    all_ids = [
        *OURS.of("orders", 7, "k1"),
        *OURS.of("orders", 7, "k2"),
        *OURS.of("orders", 8, "k1"),
        *OURS.of("withdrawals", 7, "k1"),
        *ClientIds(b"t" * 32).of("orders", 7, "k1"),
    ]
    assert len(set(all_ids)) == 25


def test_an_id_is_that_of_a_random_uuid():
    for id in OURS.of("orders", 7, "k1"):
        read = uuid.UUID(id)
        assert (read.version, read.variant, read.hex) == (4, uuid.RFC_4122, id)


def test_the_ids_survive_the_loss_of_the_data_base_and_a_new_master_key(tmp_path):
    path = tmp_path / "master.key"
    secret = create_keys(path).client_id_secret
    assert len(secret) == 32
    assert read_keys(path).keys[0] not in secret
    assert add_key(path).client_id_secret == secret
    assert drop_old_keys(path).client_id_secret == secret
    assert Vault.load(path).client_id_secret == secret
    assert create_keys(tmp_path / "other.key").client_id_secret != secret
