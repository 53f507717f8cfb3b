"""`xwrap notices`: try the receiver, and see what waits."""

from __future__ import annotations

import json

import pytest

from bitmm.xwrap.server.db.store import Store
from tests.support.command import one_line, xwrap
from tests.support.databases import add_registration, sql
from tests.support.receivers import Receiver, write_secret


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def environ(receiver, tmp_path):
    return {
        "XWRAP_NOTICE_URL": receiver.url,
        "XWRAP_NOTICE_SECRET_FILE": str(write_secret(tmp_path)),
        "XWRAP_NOTICE_PRIVATE": "1",
        "XWRAP_DATA_DIR": str(tmp_path / "data"),
    }


def test_a_test_is_sent_at_once_and_its_answer_is_printed(receiver, environ):
    done = xwrap("notices", "test", **environ)
    [notice] = receiver.notices
    assert done.stdout == f"notice {notice['id']} was taken: the receiver answered 204\n"
    assert notice["kind"] == "test"
    receiver.answers = [503]
    one_line(xwrap("notices", "test", **environ), "was not taken: the receiver answered 503")


def test_without_a_receiver_or_with_a_private_one_the_test_says_so(receiver, environ):
    one_line(xwrap("notices", "test"), "XWRAP_NOTICE_URL is not set")
    public = {**environ, "XWRAP_NOTICE_PRIVATE": "", "XWRAP_NOTICE_URL": "https://127.0.0.1:1/hidden"}
    failed = xwrap("notices", "test", **public)
    one_line(failed, "no connection to 127.0.0.1:1: it may not be connected to at 127.0.0.1")
    assert "hidden" not in failed.stderr
    assert receiver.got == []


def test_show_prints_how_many_wait_and_why(tmp_path, database, environ):
    where = database(tmp_path, tables=True)
    (tmp_path / "data").mkdir(mode=0o700)
    environ |= {"XWRAP_DATA_DIR": str(tmp_path)} if not isinstance(where, str) else {"XWRAP_DATABASE_URL": where}
    tmp_path.chmod(0o700)
    assert xwrap("notices", "show", **environ).stdout == "no notice waits\n"
    store = Store(where, notices=True)
    add_registration(store)
    for kind in ("a", "b"):
        store.notices.add(kind, {}, registration=1)
    store.notices.postpone(store.notices.claim(30), 60, "the receiver answered 503")
    store.close()
    shown = xwrap("notices", "show", **environ).stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["waiting", "oldest", "error"]
    assert shown[0].split() == ["waiting", "2"]
    assert shown[1].endswith("Z, tried 1 times")
    assert shown[2] == "error    the receiver answered 503"


def test_a_freeze_by_the_command_is_reported_where_a_receiver_is_set(tmp_path, database, environ):
    where = database(tmp_path, tables=True)
    tmp_path.chmod(0o700)
    environ |= {"XWRAP_DATA_DIR": str(tmp_path)} if not isinstance(where, str) else {"XWRAP_DATABASE_URL": where}
    store = Store(where)
    add_registration(store)
    store.close()
    assert xwrap("freeze", **environ).returncode == 0
    [(body,)] = sql(where, "SELECT body FROM notices")
    notice = json.loads(body)
    assert (notice["kind"], notice["account"], notice["by"]) == ("account.frozen", "ann", "administrator")
