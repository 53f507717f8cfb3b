"""A pytest plugin: no secret that comes to the server during the tests comes out of it.

Every password, exchange key and exchange secret that reaches the server in this process is noted. They are looked for
in what is logged from DEBUG on (a traceback with the local variables of its frames), in every answer, in the repr of
the server's objects, and at the end in the files of every data folder: data base, write-ahead log, backups, state.
"""

from __future__ import annotations

import base64
import gc
import json
import logging
import threading
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from starlette.applications import Starlette

import bitmm.xwrap.exchanges
from bitmm.xwrap.server import passwords, vault
from bitmm.xwrap.server.call_log import current_fields
from bitmm.xwrap.server.credential_passwords import is_password

PACKAGE = Path(bitmm.xwrap.exchanges.__file__).parents[1]
#: Shorter ones, as "x", stand everywhere.
_SHORTEST = 10
#: After so many tests the repr of every object is looked at: that takes a while.
_OBJECTS_EVERY = 10
#: Every file of a data folder ends so.
_FILES = ("*.sqlite3*", "*.state", "lock", "*.lock")
#: A new credential's password is said once. The exchange of `tests.support.stub` answers with the key that it got.
_MAY_SAY = ("/credentials", "/get_address")
_MODULES = ("bitmm.xwrap.server", "bitmm.xwrap.exchanges")


class Canaries:
    """The secrets of this run, what was looked at, and where one of them was."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.looked_at = dict.fromkeys(("log records", "answers", "objects", "files"), 0)
        self.hits: list[str] = []
        self.tests = 0
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, str]] = []
        self._needles: dict[str, None] = {}
        # Words of the code itself are no secrets; the local exchanges have keys of their own.
        files = (path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".yaml"} and "testing" not in path.parts)
        self._code = "\n".join(path.read_text(encoding="utf-8") for path in files)

    def note(self, text: str) -> None:
        """Look for a text from now on."""
        if len(text) < _SHORTEST or text in self.secrets or text in self._code:
            return
        encoded = base64.b64encode(text.encode("utf-8", "replace")).decode().rstrip("=")
        spelt = (text, quote(text, safe=""), quote_plus(text), encoded, json.dumps(text)[1:-1], ascii(text)[1:-1])
        with self._lock:
            self.secrets.add(text)
            self._needles.update(dict.fromkeys(spelt))

    def saw(self, kind: str, where: str, text: str) -> None:
        """Keep a text that came out; it is looked at when the test is over, for then all its secrets are known."""
        with self._lock:
            self.looked_at[kind] += 1
            self._waiting.append((f"{kind}: {where}", text))

    def look(self) -> None:
        """Look at what came out since the last time."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            needles = list(self._needles)
        everything = "\n".join(text for _, text in waiting)
        for needle in [needle for needle in needles if needle in everything]:
            self.hits += [f"{where} has {needle[:4]}…" for where, text in waiting if needle in text]

    def look_at_files(self, folder: Path) -> None:
        needles = [needle.encode("utf-8", "replace") for needle in self._needles]
        for path in sorted({path for pattern in _FILES for path in folder.rglob(pattern) if path.is_file()}):
            self.looked_at["files"] += 1
            content = path.read_bytes()
            self.hits += [f"files: {path} has {needle[:4].decode()}…" for needle in needles if needle in content]

    def look_at_objects(self) -> None:
        for each in gc.get_objects():
            if str(type(each).__module__).startswith(_MODULES):
                try:
                    self.saw("objects", type(each).__qualname__, repr(each))
                except Exception:  # an object that is not whole yet
                    continue


class _Listener(logging.Handler):
    def __init__(self, canaries: Canaries) -> None:
        super().__init__(logging.DEBUG)
        self._canaries = canaries

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("selenium."):
            return  # What the test types into its browser; the server is no part of that.
        text = f"{record.getMessage()} {current_fields()} {getattr(record, 'fields', '')}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "".join(
                traceback.TracebackException.from_exception(record.exc_info[1], capture_locals=True).format()
            )
        self._canaries.saw("log records", f"{record.name}, {record.levelname}", text)


def _listen_to_answers(canaries: Canaries) -> None:
    call = Starlette.__call__

    async def listen(self, scope, receive, send):
        body: list[bytes] = []

        async def keep(message):
            if message["type"] == "http.response.body":
                body.append(message.get("body", b""))
            await send(message)

        await call(self, scope, receive, keep)
        if scope["type"] == "http" and not scope["path"].rstrip("/").endswith(_MAY_SAY):
            canaries.saw("answers", f"{scope['method']} {scope['path']}", b"".join(body).decode("utf-8", "replace"))

    Starlette.__call__ = listen


def _note_fields(canaries: Canaries, field: str, secret: passwords.Secret) -> None:
    # A function of its own, because a traceback shows the local variables of the one that seals.
    texts = map(str, json.loads(secret.text).values()) if field == "more" else [secret.text]
    for text in texts:
        canaries.note(text)


def pytest_configure(config: pytest.Config) -> None:
    canaries = config.stash.setdefault(KEY, Canaries())
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(_Listener(canaries))

    made, seal, fits = passwords.Secret.__init__, vault.Vault.seal, passwords._fits

    def make(self, text):
        made(self, text)
        if is_password(text):
            canaries.note(text)
        elif text[:6].lower() == "basic " and _password_of(text[6:]) in canaries.secrets:
            canaries.note(text[6:])

    def sealing(self, account_id, registration_id, field, secret):
        _note_fields(canaries, field, secret)
        return seal(self, account_id, registration_id, field, secret)

    def fitting(password_hash, password):
        # A wrong password is no secret: tests guess ten thousand of them.
        is_right = fits(password_hash, password)
        if is_right:
            canaries.note(password)
        return is_right

    passwords.Secret.__init__ = make
    vault.Vault.seal = sealing
    passwords._fits = fitting
    _listen_to_answers(canaries)


def _password_of(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode("utf-8", "replace").partition(":")[2]
    except ValueError:
        return ""


KEY: pytest.StashKey[Canaries] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    canaries = item.config.stash[KEY]
    try:
        return (yield)
    finally:
        canaries.tests += 1
        if canaries.tests % _OBJECTS_EVERY == 0:
            canaries.look_at_objects()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    item.config.stash[KEY].look()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    canaries = session.config.stash[KEY]
    canaries.look_at_objects()
    canaries.look()
    canaries.look_at_files(session.config._tmp_path_factory.getbasetemp())
    if canaries.hits:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    canaries = config.stash[KEY]
    seen = ", ".join(f"{count} {name}" for name, count in canaries.looked_at.items())
    terminalreporter.write_line(
        f"canaries: {len(canaries.secrets)} secrets looked for in {seen}: {len(canaries.hits)} hits"
    )
    for hit in list(dict.fromkeys(canaries.hits))[:50]:
        terminalreporter.write_line(f"canaries: {hit}")
