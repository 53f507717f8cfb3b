"""Exchange keys at rest."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.server.key_file import add_key, drop_old_keys, read_keys
from bitmm.xwrap.server.passwords import Secret
from bitmm.xwrap.server.vault import Vault, VaultError, sealed_with

PLACE = (1, 7, "apisecret")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "master.key"


@pytest.fixture
def vault(path):
    return Vault.create(path)


def test_what_was_sealed_opens_in_its_place(vault):
    assert vault.open(*PLACE, vault.seal(*PLACE, Secret("geheim 秘密"))) == "geheim 秘密"


@pytest.mark.parametrize("other", [(2, 7, "apisecret"), (1, 8, "apisecret"), (1, 7, "apikey")])
def test_what_was_sealed_opens_in_no_other_place(vault, other):
    with pytest.raises(VaultError):
        vault.open(*other, vault.seal(*PLACE, Secret("secret")))


def test_two_seals_of_one_text_differ_and_show_nothing_of_it(vault):
    first, second = vault.seal(*PLACE, Secret("canary-secret")), vault.seal(*PLACE, Secret("canary-secret"))
    assert first != second
    assert b"canary" not in first


@pytest.mark.parametrize("position", [0, 3, 8, 20, -1])
def test_a_changed_byte_does_not_open(vault, position):
    sealed = bytearray(vault.seal(*PLACE, Secret("secret")))
    sealed[position] ^= 1
    with pytest.raises(VaultError):
        vault.open(*PLACE, bytes(sealed))


def test_a_new_key_seals_only_when_the_data_base_names_it_and_all_open(path):
    named = []
    vault = Vault.create(path, lambda: named[0] if named else None)
    old, sealed = vault.check_value(), vault.seal(*PLACE, Secret("secret"))
    named.append(old)
    keys = add_key(path)
    both = Vault.load(path, lambda: named[0])
    assert both.open(*PLACE, sealed) == "secret"
    assert sealed_with(both.seal(*PLACE, Secret("secret"))) == keys.ids[1]
    named[0] = both.check_value()
    assert sealed_with(both.seal(*PLACE, Secret("secret"))) == keys.newest


def test_a_vault_that_meets_a_new_key_reads_its_file_again(vault, path):
    add_key(path)
    sealed = Vault.load(path).seal(*PLACE, Secret("secret"))
    assert vault.open(*PLACE, sealed) == "secret"
    drop_old_keys(path)
    assert vault.open(*PLACE, sealed) == "secret"


def test_a_server_seals_with_the_key_that_a_rotation_began_with(path):
    named = []
    running = Vault.create(path, lambda: named[0])
    keys = add_key(path)
    named.append(Vault.load(path).check_value())
    assert sealed_with(running.seal(*PLACE, Secret("secret"))) == keys.newest


def test_without_the_key_that_seals_now_nothing_is_sealed(path, tmp_path):
    named = [Vault.create(tmp_path / "other.key").check_value()]
    with pytest.raises(VaultError, match="does not open this data base"):
        Vault.create(path, lambda: named[0]).seal(*PLACE, Secret("secret"))


def test_the_file_is_read_again_for_an_unknown_key_only_and_at_most_once_a_second(vault, path, tmp_path, monkeypatch):
    reads, clock = [], [1000.0]
    monkeypatch.setattr("bitmm.xwrap.server.vault.read_keys", lambda path: reads.append(path) or read_keys(path))
    monkeypatch.setattr("bitmm.xwrap.server.vault.time.monotonic", lambda: clock[0])
    assert vault.open(*PLACE, vault.seal(*PLACE, Secret("secret"))) == "secret"
    assert reads == []
    foreign = Vault.create(tmp_path / "other.key").seal(*PLACE, Secret("secret"))
    for seconds, count in ((0.0, 1), (0.5, 1), (0.6, 2)):
        clock[0] += seconds
        with pytest.raises(VaultError):
            vault.open(*PLACE, foreign)
        assert len(reads) == count
    # A damaged text names no key.
    with pytest.raises(VaultError):
        vault.open(*PLACE, b"\x02" + foreign[1:])
    with pytest.raises(VaultError):
        vault.open(*PLACE, b"")
    assert len(reads) == 2


def test_a_key_file_that_is_written_badly_takes_no_key_from_a_server(vault, path, caplog):
    sealed = vault.seal(*PLACE, Secret("secret"))
    path.write_text("half a ke")
    with pytest.raises(VaultError):
        vault.open(*PLACE, b"\x01otherkey" + sealed)
    assert "is damaged" in caplog.text
    assert vault.open(*PLACE, sealed) == "secret"


def test_neither_key_nor_secret_nor_password_stands_anywhere_in_the_data_folder(serving, tmp_path, monkeypatch):
    from bitmm.xwrap import exchanges

    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    with serving(data=tmp_path, exchanges=("stub",)) as server:
        auth = server.account("ann", "canary-password")
        answer = requests.post(
            f"{server.url}/exchanges/",
            data={"exchange": "stub", "username": "u", "apikey": "canary-apikey", "apisecret": "canary-apisecret"},
            auth=auth,
            timeout=30,
        )
        assert answer.status_code == 201
        assert answer.json()["apikey"] == "can…"
        assert "canary-api" not in answer.text
        id = answer.json()["id"]
        seen = requests.get(f"{server.url}/exchanges/{id}/get_address", auth=auth, timeout=30).json()
        assert seen == "canary-apikey/canary-apisecret", "the exchange gets the keys as they were given"
        content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        rows = server.sql("SELECT * FROM accounts") + server.sql("SELECT * FROM registrations")
    values = [value for row in rows for value in row]
    content += b"".join(bytes(v) if isinstance(v, (bytes, memoryview)) else str(v).encode() for v in values)
    assert "can…".encode() in content
    assert b"canary" not in content
