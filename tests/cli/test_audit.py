"""`xwrap audit`: the rows, so printed that none can be faked, and whether they are as they were written."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bitmm.xwrap.cli import app
from bitmm.xwrap.server.db.records import Account, Caller
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import sql

FORGER = "ann\n2026-11-27T00:00:00.000000Z\tadministrator\t\tvault.drop"


@pytest.fixture
def folder(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    store.audit.add(Caller(Account(1, "ann", "x", active=True), None, "192.0.2.7"), "send", "send 1", {"amount": "1"})
    store.audit.add(FORGER, "login.failed", "account \u202eann", {"tab\t": "back\\slash"})
    store.close()
    return tmp_path


def audit(folder, *arguments):
    return CliRunner().invoke(app, ["audit", *arguments, "--data", str(folder)])


def test_each_row_is_one_line_whatever_is_in_it(folder):
    lines = audit(folder).stdout.splitlines()
    assert [line.split("\t")[1:] for line in lines] == [
        ["ann", "192.0.2.7", "send", "send 1", "amount=1"],
        [
            "ann\\n2026-11-27T00:00:00.000000Z\\tadministrator\\t\\tvault.drop",
            *("", "login.failed", "account \\u202eann", "tab\\t=back\\\\slash"),
        ],
    ]


def test_as_json_each_row_is_one_object_with_its_hash(folder):
    lines = audit(folder, "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["who"] for row in rows] == ["ann", FORGER]
    assert rows[1]["previous"] == rows[0]["hash"]
    assert all(line.isascii() for line in lines)


def test_rows_since_a_time_are_printed(folder):
    sql(folder / "xwrap.sqlite3", "UPDATE audit_log SET time = '2026-01-01T00:00:00.000000Z' WHERE id = 1")
    for since in ("2026-01-01T00:00:00+00:00", "2026-01-01", "2026-01-01T02:00:00+02:00"):
        assert len(audit(folder, "--since", since).stdout.splitlines()) == 2
    assert len(audit(folder, "--since", "2026-01-01T00:00:01Z").stdout.splitlines()) == 1
    refused = audit(folder, "--since", "yesterday")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)


def test_verify_ends_with_1_and_names_what_was_done(folder):
    assert "2 rows are as they were written" in audit(folder, "verify").stdout
    sql(folder / "xwrap.sqlite3", "UPDATE audit_log SET who = 'bob' WHERE id = 1")
    found = audit(folder, "verify")
    assert (found.exit_code, found.stdout) == (1, "row 1 was changed\n")
    assert "tampered with in 1 places" in found.stderr
