"""The file of the master keys."""

from __future__ import annotations

import base64
import os
import stat
import struct

import pytest

from bitmm.xwrap.server import key_file
from bitmm.xwrap.server.key_file import VaultError, add_key, create_keys, drop_old_keys, key_id, locked, read_keys

ONE, OTHER, THIRD = (base64.b64encode(letter * 32).decode() for letter in (b"1", b"2", b"3"))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "master.key"
    create_keys(path)
    return path


def write(path, text):
    path.write_text(text, "latin-1")
    path.chmod(0o600)


def refused(path, *words):
    """The one line in which a file is refused."""
    with pytest.raises(VaultError) as caught:
        read_keys(path)
    line = str(caught.value)
    assert "\n" not in line
    for word in (str(path), *words):
        assert word in line
    return line


def test_the_master_key_is_for_its_owner_alone_and_never_overwritten(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create_keys(path)


def test_a_file_of_one_key_is_read_as_it_was_written(path):
    assert read_keys(path) == read_keys(path)
    assert "keys" not in repr(read_keys(path))


def test_a_new_key_stands_before_the_others_and_the_file_keeps_its_mode(path):
    path.chmod(0o400)
    before = read_keys(path)
    after = add_key(path)
    assert (after.keys[1:], after.client_id_secret) == (before.keys, before.client_id_secret)
    assert read_keys(path) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert [file.name for file in path.parent.iterdir()] == ["master.key"]


def test_the_old_keys_go_and_what_ids_of_orders_are_derived_from_stays(path):
    secret = read_keys(path).client_id_secret
    newest = [add_key(path) for _ in range(3)][-1].keys[0]
    assert drop_old_keys(path).keys == (newest,)
    assert (read_keys(path).keys, read_keys(path).client_id_secret) == ((newest,), secret)


def test_two_keys_of_one_name_are_never_in_a_file(path, monkeypatch):
    drawn = [read_keys(path).keys[0], b"n" * 32]
    monkeypatch.setattr(key_file.secrets, "token_bytes", lambda _size: drawn.pop(0))
    assert add_key(path).keys[0] == b"n" * 32
    monkeypatch.setattr(key_file, "key_id", lambda _key: b"same")
    refused(path, "damaged")


def test_a_key_is_named_by_the_beginning_of_its_digest():
    assert key_id(b"\0" * 32).hex() == "66687aad"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "AAAA",
        "\xff",
        base64.b64encode(b"x" * 31).decode(),
        f"{ONE}\nclient-ids:AAAA",
        f"{ONE}\n" * 9999,
    ],
)
def test_a_damaged_file_is_refused_in_one_line(path, text):
    write(path, text)
    refused(path, "is damaged", "cp COPY")


def test_a_key_that_stands_there_twice_counts_once(path):
    write(path, f"{ONE}\n{OTHER}\n{ONE}\n")
    assert read_keys(path).keys == (b"1" * 32, b"2" * 32)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_file_that_others_can_read_or_write_is_refused(path, mode):
    path.chmod(mode)
    refused(path, f"chmod 600 {path}")


def test_a_file_that_is_missing_is_refused(path):
    path.unlink()
    refused(path, "is missing", f"cp COPY {path}")


def test_a_link_is_refused_with_the_name_of_the_file_behind_it(path):
    link = path.with_name("link.key")
    link.symlink_to(path)
    refused(link, "is a link", f"XWRAP_MASTER_KEY_FILE={path}")
    path.unlink()
    refused(link, "is a link")


def test_a_folder_or_a_pipe_is_refused_and_not_waited_for(path):
    refused(path.parent, "is a folder", f"XWRAP_MASTER_KEY_FILE={path}")
    pipe = path.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    refused(pipe, "is no file")


def test_a_file_of_another_user_is_refused(path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    refused(path, "belongs to", "4711", "chown 4711")


def test_a_file_that_may_not_be_read_is_refused(path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(key_file.os, "open", refuse)
    refused(path, "cannot be read", "chown")


def test_a_folder_that_may_not_be_written_is_said(path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(key_file.Path, "replace", refuse)
    with pytest.raises(VaultError, match=f"cannot be replaced: Permission denied.*{path.parent}"):
        add_key(path)


def test_what_a_killed_command_left_is_no_hindrance(path):
    path.with_name("master.key.new").write_text("half")
    assert len(add_key(path).keys) == 2


def test_two_commands_at_once_are_refused(path):
    with locked(path), pytest.raises(VaultError, match="another command"), locked(path):
        pass
    with locked(path):
        pass


#: An access control list: version 2; the tags of the owner, a user, the group, a group, the mask and all others.
OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
SERVICE = 4711


def grant(path, *entries):
    """Give a file of root's an access control list, as systemd does with a credential."""
    if os.geteuid() != 0:
        pytest.skip("only root makes files of root's")
    attribute = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    path.chmod(0o400)
    try:
        os.setxattr(path, "system.posix_acl_access", attribute)
    except OSError as error:
        pytest.skip(f"this file system has no access control lists: {error.strerror}")


NONE = 0xFFFFFFFF
CREDENTIAL = [(OWNER, 4, NONE), (USER, 4, SERVICE), (GROUP, 0, NONE), (MASK, 4, NONE), (OTHERS, 0, NONE)]


def test_a_credential_that_systemd_lends_to_the_service_alone_is_taken(path, monkeypatch):
    grant(path, *CREDENTIAL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    monkeypatch.setattr(os, "geteuid", lambda: SERVICE)
    assert len(read_keys(path).keys) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {2: (GROUP, 4, NONE)},
        {1: (USER, 4, 4712)},
        {1: (USER, 6, SERVICE), 3: (MASK, 6, NONE)},
        {4: (OTHERS, 4, NONE)},
        {2: (GROUP, 0, NONE), 3: (NAMED_GROUP, 4, 4713), 4: (MASK, 4, NONE), 5: (OTHERS, 0, NONE)},
    ],
    ids=["the group reads", "another user reads", "it is writable", "all read", "a named group reads"],
)
def test_a_file_of_root_that_others_can_read_too_is_refused(path, monkeypatch, changed):
    grant(path, *(dict(enumerate(CREDENTIAL)) | changed).values())
    monkeypatch.setattr(os, "geteuid", lambda: SERVICE)
    refused(path, "belongs to root")


def test_a_credential_on_a_file_system_without_lists_is_a_file_of_the_service(path):
    path.chmod(0o400)
    assert len(read_keys(path).keys) == 1
