"""Rotation of the master key: nothing fails meanwhile, and afterwards the old key opens nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from typer.testing import CliRunner

from bitmm.xwrap.cli import app
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server import rotation
from bitmm.xwrap.server.client_ids import ClientIds
from bitmm.xwrap.server.db.registrations import SEALED_COLUMNS
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.key_file import add_key, read_keys
from bitmm.xwrap.server.passwords import Secret
from bitmm.xwrap.server.rotation import drop_old, new_key, rotate
from bitmm.xwrap.server.vault import Vault, VaultError, sealed_with
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.command import xwrap
from tests.support.databases import sql

SECRETS = {"apikey": "canary-key", "apisecret": "canary-secret", "more": '{"passphrase": "canary"}'}


class Installation:
    """A data base with sealed registrations, and its key file."""

    def __init__(self, where, path, count=3):
        self.path = path
        self.store = Store(where)
        self.store.prepare()
        self.vault = Vault.create(path, self.store.sealed.shared_check_value)
        self.store.sealed.check_value(self.vault.check_value)
        self.account = self.store.accounts.add("ann", "x")
        for _ in range(count):
            self.add()

    def add(self):
        """Add a registration as a running server does, whose vault was loaded at the start."""
        values = {"account_id": self.account, "exchange": "kraken", "username": "", "label": "", "apikey_hint": ""}
        return self.store.registrations.add(values, self.sealed)

    def sealed(self, id):
        return {
            f"sealed_{name}": self.vault.seal(self.account, id, name, Secret(text)) for name, text in SECRETS.items()
        }

    def opened(self, vault):
        """What a vault makes of every registration."""
        return [
            {name: vault.open(row.account_id, row.id, name, getattr(row, f"sealed_{name}")) for name in SECRETS}
            for row in self.store.sealed.registrations()
        ]

    def used_keys(self):
        """The names of the master keys that something is sealed with."""
        rows = self.store.sealed.registrations()
        texts = [getattr(row, name) for row in rows for name in SEALED_COLUMNS] + [self.store.sealed.check_value()]
        return {sealed_with(text) for text in texts if text}


@pytest.fixture
def installation(tmp_path, database):
    made = Installation(database(tmp_path), tmp_path / "master.key")
    yield made
    made.store.close()


def audited(store):
    return sql(store.where, "SELECT who, what, subject FROM audit_log ORDER BY id")


def test_everything_is_sealed_anew_and_the_old_key_opens_nothing(installation):
    old = read_keys(installation.path)
    done = rotate(installation.store, installation.path)
    assert (done.resealed, done.unreadable) == (3, [])
    keys = read_keys(installation.path)
    assert keys.keys[1:] == old.keys
    assert installation.used_keys() == {keys.newest}
    assert drop_old(installation.store, installation.path) == [old.newest.hex()]
    assert read_keys(installation.path).keys == keys.keys[:1]
    assert installation.opened(Vault.load(installation.path)) == [SECRETS] * 3
    elsewhere = installation.path.with_name("old.key")
    only_old = Vault(old, elsewhere)
    for row in installation.store.sealed.registrations():
        for name in SECRETS:
            with pytest.raises(VaultError):
                only_old.open(row.account_id, row.id, name, getattr(row, f"sealed_{name}"))
    with pytest.raises(VaultError):
        only_old.check(installation.store.sealed.check_value())


def test_no_rotation_changes_an_id_of_an_order(installation):
    ids = [*ClientIds(installation.vault.client_id_secret).of("orders", 1, "key")]
    for _ in range(2):
        rotate(installation.store, installation.path)
        drop_old(installation.store, installation.path)
        assert [*ClientIds(Vault.load(installation.path).client_id_secret).of("orders", 1, "key")] == ids


def test_what_a_running_server_adds_after_the_beginning_is_sealed_with_the_new_key(installation, monkeypatch):
    begin = rotation._begin

    def begin_and_add(*args):
        installation.add()
        begin(*args)
        installation.add()

    monkeypatch.setattr(rotation, "_begin", begin_and_add)
    assert rotate(installation.store, installation.path).resealed == 4
    assert installation.used_keys() == {read_keys(installation.path).newest}
    assert installation.opened(installation.vault) == [SECRETS] * 5


def test_a_key_that_is_replaced_meanwhile_is_not_written_over(installation, monkeypatch):
    seal = rotation._sealed_anew

    def seal_while_another_writes(vault, row):
        sealed = seal(vault, row)
        if row.id == 2:
            new = installation.vault.seal(row.account_id, 2, "apikey", Secret("replaced"))
            sql(installation.store.where, "UPDATE registrations SET sealed_apikey = :new WHERE id = 2", new=new)
        return sealed

    monkeypatch.setattr(rotation, "_sealed_anew", seal_while_another_writes)
    assert rotate(installation.store, installation.path).resealed == 2
    with pytest.raises(VaultError, match="registrations 2"):
        drop_old(installation.store, installation.path)
    monkeypatch.undo()
    assert rotate(installation.store, installation.path).resealed == 1
    assert installation.opened(installation.vault)[1]["apikey"] == "replaced"
    assert len(read_keys(installation.path).keys) == 2


def test_a_deleted_registration_stays_empty(installation):
    sql(
        installation.store.where,
        "UPDATE registrations SET sealed_apikey = :e, sealed_apisecret = :e WHERE id = 1",
        e=b"",
    )
    assert rotate(installation.store, installation.path).unreadable == []
    row = installation.store.registrations.get(1)
    assert (row.sealed_apikey, row.sealed_apisecret) == (b"", b"")


def test_the_old_key_stays_as_long_as_something_is_sealed_with_it(installation):
    new_key(installation.store, installation.path)
    with pytest.raises(VaultError, match=r"still needed.*xwrap vault rotate"):
        drop_old(installation.store, installation.path)
    assert len(read_keys(installation.path).keys) == 2
    assert audited(installation.store) == []


def test_a_registration_that_does_not_open_is_named_and_stops_no_other(installation):
    sql(installation.store.where, "UPDATE registrations SET sealed_more = sealed_apikey WHERE id = 2")
    done = rotate(installation.store, installation.path)
    assert (done.resealed, done.unreadable) == (2, [2])
    with pytest.raises(VaultError, match="registrations 2"):
        drop_old(installation.store, installation.path)


def test_two_sealed_texts_that_are_swapped_do_not_open_and_are_not_sealed_anew(installation):
    first, second, _ = installation.store.sealed.registrations()
    swap = "UPDATE registrations SET sealed_apisecret = :other WHERE id = :id"
    sql(installation.store.where, swap, id=1, other=second.sealed_apisecret)
    sql(installation.store.where, swap, id=2, other=first.sealed_apisecret)
    with pytest.raises(VaultError):
        installation.opened(installation.vault)
    assert rotate(installation.store, installation.path).unreadable == [1, 2]


def test_a_new_key_is_made_for_the_next_rotation_and_no_second_one(installation):
    name = new_key(installation.store, installation.path)
    assert new_key(installation.store, installation.path) == name
    assert installation.used_keys() == {read_keys(installation.path).ids[1]}
    assert rotate(installation.store, installation.path).key == name
    assert len(read_keys(installation.path).keys) == 2
    assert rotate(installation.store, installation.path).key != name


def test_a_machine_with_a_key_of_its_own_does_not_rotate_over_another(installation, tmp_path):
    other = tmp_path / "other.key"
    other.write_bytes(installation.path.read_bytes())
    other.chmod(0o600)
    add_key(other)
    rotate(installation.store, installation.path)
    with pytest.raises(VaultError, match="does not open this data base"):
        rotate(installation.store, other)


def test_of_two_machines_that_begin_at_once_one_is_refused(installation, tmp_path, monkeypatch):
    other = tmp_path / "other.key"
    other.write_bytes(installation.path.read_bytes())
    other.chmod(0o600)
    begin = rotation._begin

    def after_the_other(*args):
        monkeypatch.setattr(rotation, "_begin", begin)
        seen = installation.store.sealed.check_value()
        rotate(installation.store, other)
        monkeypatch.setattr(installation.store.sealed, "check_value", lambda: seen)
        begin(*args)

    monkeypatch.setattr(rotation, "_begin", after_the_other)
    with pytest.raises(VaultError, match="another machine"):
        rotate(installation.store, installation.path)


def test_a_rotation_is_in_the_audit(installation):
    rotate(installation.store, installation.path)
    drop_old(installation.store, installation.path)
    subject = f"master key {read_keys(installation.path).newest.hex()}"
    assert [tuple(row) for row in audited(installation.store)] == [
        ("administrator", "vault.rotate", subject),
        ("administrator", "vault.drop", subject),
    ]


def test_without_a_data_base_in_use_there_is_nothing_to_rotate(tmp_path, database):
    store = Store(database(tmp_path))
    store.prepare()
    Vault.create(tmp_path / "master.key")
    with pytest.raises(VaultError, match="xwrap serve"):
        rotate(store, tmp_path / "master.key")
    store.close()


#: Where a rotation of three registrations is killed: the call of this name, the how manieth, before or after it.
POINTS = [
    ("key_file.Path.replace", 1, "before"),
    ("rotation.SealedStore.replace_check_value", 1, "before"),
    ("rotation._begin", 1, "after"),
    ("rotation.SealedStore.reseal", 2, "after"),
    ("rotation._reseal_all", 1, "after"),
    ("rotation.drop_old_keys", 1, "before"),
    ("rotation.drop_old_keys", 1, "after"),
]
KILLED = """
import os, signal, sys
from pathlib import Path
from bitmm.xwrap.server import key_file, rotation
from bitmm.xwrap.server.db.sealed import SealedStore
from bitmm.xwrap.server.db.store import Store
rotation.SealedStore = SealedStore
where, path, point, times, when = sys.argv[1:]
*owners, name = point.split(".")
owner = {"key_file": key_file, "rotation": rotation}[owners[0]]
for part in owners[1:]:
    owner = getattr(owner, part)
call, calls = getattr(owner, name), []
def killed(*args, **kwargs):
    calls.append(1)
    last = len(calls) == int(times)
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = call(*args, **kwargs)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, killed)
store = Store(where if "://" in where else Path(where))
rotation.rotate(store, Path(path))
rotation.drop_old(store, Path(path))
"""


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point[2]} {point[1]} {point[0]}")
def test_a_rotation_that_is_killed_goes_on_with_the_next_one(installation, point):
    name, times, when = point
    old = read_keys(installation.path)
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(installation.store.where),
        str(installation.path),
        name,
        str(times),
        when,
    ]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert installation.opened(installation.vault) == [SECRETS] * 3, "a running server goes on"
    assert installation.opened(Vault.load(installation.path)) == [SECRETS] * 3, "one that starts now can open all"
    rotate(installation.store, installation.path)
    drop_old(installation.store, installation.path)
    keys = read_keys(installation.path)
    assert installation.used_keys() == {keys.newest}
    assert (len(keys.keys), keys.client_id_secret) == (1, old.client_id_secret)
    assert old.newest != keys.newest
    assert installation.opened(Vault.load(installation.path)) == [SECRETS] * 3


def test_under_load_no_call_fails_and_a_new_start_needs_the_new_key_alone(serving, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with KrakenVenue() as venue, ThreadPoolExecutor(3) as threads:
        options = {
            "exchanges": ("paper", "kraken"),
            "exchange_urls": {"kraken": venue.url},
            "exchange_limits": {"kraken": None},
            "registration_quota": 100_000,
        }
        with serving(data=data, **options) as server:
            environ = {} if not isinstance(server.database, str) else {"XWRAP_DATABASE_URL": server.database}
            auth = server.account()
            ids = [server.registration(auth)]
            ids.append(server.registration(auth, "kraken", apikey=venue.key, apisecret=venue.secret))
            backends = [XWrap(server.url).backend(id, *auth) for id in ids]
            stop, calls = threading.Event(), []

            def read():
                while not stop.is_set():
                    for backend in backends:
                        assert backend.balance()
                        calls.append("read")

            def register():
                while not stop.is_set():
                    server.registration(auth)
                    calls.append("registered")

            running = [threads.submit(work) for work in (read, read, register)]
            try:
                result = xwrap("vault", "rotate", "--data", data, **environ)
                assert (result.returncode, result.stderr) == (0, "")
                assert xwrap("vault", "drop-old", "--data", data, **environ).returncode == 0
                seen = len(calls)
                while len(calls) < seen + 10:
                    assert not any(thread.done() for thread in running)
                    time.sleep(0.01)
            finally:
                stop.set()
            for thread in running:
                thread.result()  # raises what failed
            assert {"read", "registered"} <= set(calls)
        keys = read_keys(data / "master.key")
        assert len(keys.keys) == 1
        with serving(data=data, **options) as server:
            rows = requests.get(f"{server.url}/balance", auth=auth, timeout=30).json()
            assert len(rows) == 2 + calls.count("registered")
            assert not [row for row in rows if "error" in row]


def test_the_command_says_what_is_done_and_what_to_do_next(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["vault", *arguments, "--data", str(tmp_path)])

    Installation(tmp_path / "xwrap.sqlite3", tmp_path / "master.key").store.close()
    assert "copy it to every machine" in run("rotate", "--key-only").stdout
    said = run("rotate").stdout
    assert "3 registrations were sealed anew" in said
    assert "xwrap vault drop-old" in said
    assert ": removed " in run("drop-old").stdout
    assert "there is no old key" in run("drop-old").stdout
    sql(tmp_path / "xwrap.sqlite3", "UPDATE registrations SET sealed_more = sealed_apikey WHERE id = 2")
    refused = run("rotate")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "registrations 2 do not open" in refused.stderr
    (tmp_path / "master.key").chmod(0o640)
    assert "chmod 600" in run("rotate").stderr
