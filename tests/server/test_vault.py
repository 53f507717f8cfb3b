"""Exchange keys at rest."""

from __future__ import annotations

import base64
import os
import stat

import pytest
import requests

from bitmm.xwrap.server.vault import Vault, VaultError

PLACE = (1, 7, "apisecret")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "master.key"


@pytest.fixture
def vault(path):
    return Vault.create(path)


def test_what_was_sealed_opens_in_its_place(vault):
    assert vault.open(*PLACE, vault.seal(*PLACE, "geheim 秘密")) == "geheim 秘密"


@pytest.mark.parametrize("other", [(2, 7, "apisecret"), (1, 8, "apisecret"), (1, 7, "apikey")])
def test_what_was_sealed_opens_in_no_other_place(vault, other):
    with pytest.raises(VaultError):
        vault.open(*other, vault.seal(*PLACE, "secret"))


def test_two_seals_of_one_text_differ_and_show_nothing_of_it(vault):
    first, second = vault.seal(*PLACE, "canary-secret"), vault.seal(*PLACE, "canary-secret")
    assert first != second
    assert b"canary" not in first


@pytest.mark.parametrize("position", [0, 3, 8, 20, -1])
def test_a_changed_byte_does_not_open(vault, position):
    sealed = bytearray(vault.seal(*PLACE, "secret"))
    sealed[position] ^= 1
    with pytest.raises(VaultError):
        vault.open(*PLACE, bytes(sealed))


def test_the_master_key_is_for_its_owner_alone_and_never_overwritten(vault, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        Vault.create(path)


def test_the_newest_key_seals_and_all_open(path):
    old = Vault.create(path)
    sealed = old.seal(*PLACE, "secret")
    newest = base64.b64encode(os.urandom(32)).decode()
    path.write_text(f"{newest}\n{path.read_text()}")
    both = Vault.load(path)
    assert both.open(*PLACE, sealed) == "secret"
    with pytest.raises(VaultError):
        old.open(*PLACE, both.seal(*PLACE, "secret"))


@pytest.mark.parametrize("content", ["", "nonsense", "AAAA", "ÿ", base64.b64encode(b"x" * 31).decode()])
def test_a_damaged_master_key_is_refused_in_one_line(path, content):
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(VaultError, match=r"damaged|cannot be read"):
        Vault.load(path)


def test_a_master_key_that_others_can_read_is_refused(vault, path):
    path.chmod(0o640)
    with pytest.raises(VaultError, match="chmod 600"):
        Vault.load(path)


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
