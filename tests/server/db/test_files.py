"""Files are locked and brought to the disk on Windows, too: its calls stand in for those of POSIX here."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sqlalchemy", reason="the server is not installed")

from bitmm.xwrap.server.db import files
from bitmm.xwrap.server.db.backup import back_up
from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.key_file import locked
from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings, SetupError

fcntl = pytest.importorskip("fcntl", reason="Windows is imitated on POSIX")

PACKAGE = Path(__file__).parents[3] / "bitmm"

#: What Windows has not (docs.python.org, "Availability: Unix" and "not Windows"), by module; None: the whole module.
NOT_ON_WINDOWS = {
    **dict.fromkeys(("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios")),
    "os": {
        *("chown", "fchown", "fdatasync", "fork", "forkpty", "geteuid", "getgid", "getuid", "killpg", "mkfifo"),
        *("pread", "pwrite", "register_at_fork", "sched_getaffinity", "setsid", "statvfs", "uname"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG"),
    },
    "signal": {"SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "pause", "setitimer"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "socketpair"},
}


@pytest.fixture(params=["POSIX", "Windows"])
def system(request, monkeypatch):
    if request.param == "Windows":
        imitate_windows(monkeypatch)
    return request.param


def imitate_windows(monkeypatch):
    def locking(descriptor, mode, count):
        assert (os.lseek(descriptor, 0, os.SEEK_CUR), mode, count) == (2**30, 2, 1)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    opened = os.open

    def open_file(path, flags, *more):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *more)

    monkeypatch.setattr(files, "_fcntl", None)
    monkeypatch.setattr(files, "_msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.delattr(os, "pwrite")
    monkeypatch.delattr(os, "fdatasync")


@pytest.mark.usefixtures("system")
def test_a_file_is_locked_once_until_it_is_closed(tmp_path):
    first, second = (files.open_private(tmp_path / "file") for _ in range(2))
    files.lock_file(first)
    with pytest.raises(BlockingIOError):
        files.lock_file(second)
    os.close(first)
    files.lock_file(second)
    os.close(second)


@pytest.mark.usefixtures("system")
def test_a_lock_can_be_waited_for(tmp_path):
    first, second = (files.open_private(tmp_path / "file") for _ in range(2))
    files.lock_file(first)
    waiting = threading.Thread(target=files.lock_file, args=(second,), kwargs={"wait": True})
    waiting.start()
    assert waiting.is_alive()
    os.close(first)
    waiting.join(30)
    assert not waiting.is_alive()
    third = files.open_private(tmp_path / "file")
    with pytest.raises(BlockingIOError):
        files.lock_file(third)
    os.close(second)
    os.close(third)


def test_what_is_no_lock_of_another_process_is_an_error_of_its_own(tmp_path, monkeypatch):
    def locking(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    imitate_windows(monkeypatch)
    monkeypatch.setattr(files, "_msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    descriptor = files.open_private(tmp_path / "file")
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        files.lock_file(descriptor, wait=True)
    assert not isinstance(caught.value, BlockingIOError)
    os.close(descriptor)


@pytest.mark.usefixtures("system")
def test_a_file_is_written_over_from_its_beginning(tmp_path):
    path = tmp_path / "file"
    descriptor = files.open_private(path)
    files.lock_file(descriptor)
    for content in (b"one\r\n", b"two\nthree\n", b"four\n"):
        files.write_whole(descriptor, content)
        assert path.read_bytes().startswith(content)
    os.close(descriptor)
    files.sync_file(path)
    files.sync_folder(tmp_path)


def names_lacking_on_windows(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            used = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used = [(node.value.id, node.attr)]
        else:
            continue
        for module, name in used:
            lacking = NOT_ON_WINDOWS.get(module, set())
            if lacking is None or name in lacking:
                yield f"{module}.{name}"


def test_what_windows_lacks_is_used_in_one_place():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if (names := sorted(names_lacking_on_windows(path)))
    }
    # Each behind a question whether the system has it.
    assert found == {
        "xwrap/server/db/files.py": ["os.fchown", "os.fchown", "os.geteuid", "os.pwrite"],
        "xwrap/server/supervisor.py": ["signal.SIGKILL", "signal.SIGKILL", "socket.socketpair"],
    }


#: Serves, places an order, backs up, starts again, and is refused beside itself, without what Windows lacks.
PROGRAM = """
import errno, os, sys, types
import fcntl as _fcntl
from pathlib import Path

# They ask for msvcrt to find out whether they are on Windows.
import asyncio, subprocess, requests, uvicorn

sys.modules["fcntl"] = None

def locking(descriptor, mode, count):
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None

sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
opened = os.open

def open_file(path, *more, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return opened(path, *more, **options)

os.open = open_file
for name in ("pwrite", "pread", "fdatasync", "fork", "register_at_fork", "getuid", "O_CLOEXEC", "O_DIRECTORY"):
    delattr(os, name)

from bitmm.xwrap.server.db import files
from bitmm.xwrap.server.db.backup import back_up
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from bitmm.xwrap.server.runner import ServeError, run_in_background
from bitmm.xwrap.server.settings import Settings

assert files._fcntl is None
folder = Path(sys.argv[1])
settings = Settings.read({}, data=folder, port=0, exchanges=("paper",))
store = Store(settings.database)
store.prepare()
store.accounts.add("ann", hash_password("correct horse"))
auth = ("ann", "correct horse")
order = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
with run_in_background(settings) as url:
    requests.post(f"{url}/exchanges/", data={"exchange": "paper"}, auth=auth).raise_for_status()
    requests.post(f"{url}/exchanges/1/buy", data=order, auth=auth).raise_for_status()
    try:
        with run_in_background(settings):
            raise AssertionError("two servers")
    except ServeError as error:
        assert "another XWrap serves" in str(error), error
back_up(store, settings.state_file, folder / "backup")
store.close()
with run_in_background(settings) as url:
    assert requests.get(f"{url}/ready").json()["history_missing_since"] is None
    print(len(requests.get(f"{url}/exchanges/1/orders/", auth=auth).json()), "order")
"""


def test_the_server_works_without_fcntl(tmp_path):
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "1 order\n"), done.stderr


def test_a_file_is_opened_through_no_link(tmp_path):
    target = tmp_path / "target"
    target.write_text("kept")
    for name, path in (("link", target), ("dangling", tmp_path / "nothing")):
        link = tmp_path / name
        link.symlink_to(path)
        with pytest.raises(StoreError, match=f"is a link.*rm {link}"):
            files.open_private(link)
    assert target.read_text() == "kept"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o711, 0o770])
def test_a_data_folder_that_others_can_look_into_is_refused(tmp_path, mode):
    folder = tmp_path / "data"
    files.make_private_folder(folder)
    folder.chmod(mode)
    with pytest.raises(StoreError, match=f"chmod 700 {folder}"):
        files.make_private_folder(folder)


def test_a_data_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(StoreError, match=r"belongs to \w+, and this runs as 4711.*chown -R 4711"):
        files.check_private_folder(tmp_path)


#: Every file that a server or a command opens for writing, in a data folder.
WRITTEN = ["lock", "xwrap.sqlite3", "xwrap.sqlite3.state", "master.key", "master.key.lock", "backup.sqlite3"]


@pytest.mark.parametrize("name", WRITTEN)
def test_no_file_of_a_data_folder_is_written_through_a_link(tmp_path, name):
    folder = tmp_path / "data"
    settings = Settings.read({}, data=folder, port=0, exchanges=("paper",))
    if "." in name and name not in {"xwrap.sqlite3", "xwrap.sqlite3.state", "master.key"}:
        with run_in_background(settings):
            pass
    files.make_private_folder(folder)
    target = tmp_path / "target"
    (folder / name).symlink_to(target)
    with pytest.raises(SetupError, match=r"is a link|there is a file") as caught:
        write_all(settings, name)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def write_all(settings, name):
    if name == "backup.sqlite3":
        store = Store(settings.database)
        try:
            back_up(store, settings.state_file, settings.data / name)
        finally:
            store.close()
    elif name == "master.key.lock":
        with locked(settings.master_key_file):
            pass
    else:
        with run_in_background(settings):
            pass
