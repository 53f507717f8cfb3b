"""`xwrap doctor`: what it finds is said with what to do, and it changes nothing."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module, metadata
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bitmm.xwrap import __version__
from bitmm.xwrap.cli import app
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.descriptors import connections_within
from bitmm.xwrap.server.doctor import clocks, folder, machine
from bitmm.xwrap.server.doctor import database as database_check
from bitmm.xwrap.server.doctor import server as server_check
from bitmm.xwrap.server.doctor.findings import finding_of
from bitmm.xwrap.server.passwords import Secret
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.server.threads import threads_of
from bitmm.xwrap.server.vault import Vault
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql
from tests.support.raw_server import raw_server

#: A port on which nothing listens.
NO_SERVER = "http://127.0.0.1:9"


def doctor(data, *args, url=NO_SERVER, status=0, **environ):
    """The findings of a run: {check: [(state, words and what to do), ...]}. Every line has the four states' form."""
    url = [] if url is None else ["--url", url]
    environ = {"XWRAP_EXCHANGES": "paper", "XWRAP_URL": "", **environ}
    result = CliRunner().invoke(app, ["doctor", "--data", str(data), *url, *args], env=environ)
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    found = {}
    for line in result.stdout.splitlines():
        assert line[:4].strip() in {"ok", "look", "bad", "skip"}, line
        found.setdefault(line[5:19].strip(), []).append((line[:4].strip(), line[20:]))
    return found


def only(found, check, state, *words):
    """The one line of a check has this state and these words."""
    [(seen, line)] = found[check]
    assert seen == state, line
    for word in words:
        assert word in line


def dated(seconds):
    """A script for a server whose clock is so many seconds ahead."""

    def answer(connection):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        connection.answer('{"error": ["EGeneral:Unknown method"]}', "200 OK", f"Date: {date}")

    return answer


def snapshot(data):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in data.iterdir()}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The folder of a server that has run: an account, a registration with sealed keys, the master key."""
    data = tmp_path_factory.mktemp("doctor") / "data"
    data.mkdir(mode=0o700)
    store = Store(data / "xwrap.sqlite3")
    store.prepare()
    store.history.create()
    account = store.accounts.add("ann", "x")
    vault = Vault.create(data / "master.key", store.sealed.shared_check_value)
    store.sealed.check_value(vault.check_value)
    values = {"account_id": account, "exchange": "kraken", "username": "", "label": "", "apikey_hint": "abc"}
    seal = lambda id: {
        "sealed_apikey": vault.seal(account, id, "apikey", Secret("the exchange key")),
        "sealed_apisecret": vault.seal(account, id, "apisecret", Secret("the exchange secret")),
    }
    store.registrations.add(values, seal)
    store.close()
    return data


@pytest.fixture
def data(template, tmp_path):
    return shutil.copytree(template, tmp_path / "data")


@pytest.fixture
def open_data(data):
    """The data base of the folder, to put something into it; it is closed when the block ends."""

    def change(work):
        store = Store(data / "xwrap.sqlite3")
        try:
            work(store)
        finally:
            store.close()

    return change


@pytest.fixture(scope="module")
def served(serving):
    with serving(environ={"XWRAP_PROXIES": "127.0.0.1", "XWRAP_EXCHANGES": "paper"}) as server:
        yield server


def test_a_sound_installation_has_nothing_bad_and_nothing_of_it_is_changed(data):
    before = snapshot(data)
    found = doctor(data, url=None)
    only(found, "data base", "ok", "is sound")
    only(found, "key file", "ok", "opens the data base")
    only(found, "exchange keys", "ok", "1 registered")
    only(found, "accounts", "ok", "1 may log in")
    only(found, "journal", "ok", "complete")
    assert {state for lines in found.values() for state, _ in lines} <= {"ok", "skip"}
    assert snapshot(data) == before


def test_where_there_is_nothing_it_makes_nothing_and_says_how_to_begin(tmp_path):
    found = doctor(tmp_path / "none", url=None)
    only(found, "data folder", "look", "xwrap account add NAME")
    only(found, "data base", "look", "xwrap account add NAME")
    only(found, "key file", "skip", "xwrap serve")
    assert list(tmp_path.iterdir()) == []


def test_what_account_add_makes_is_for_its_owner_alone(tmp_path):
    made = CliRunner().invoke(app, ["account", "add", "ann", "--generate", "--data", str(tmp_path / "data")])
    assert made.exit_code == 0
    only(doctor(tmp_path / "data", url=None), "data folder", "ok", "mode 0700")


def test_a_folder_that_others_can_read_is_bad_and_a_file_in_it_is_said(data):
    (data / "xwrap.sqlite3").chmod(0o640)
    only(doctor(data, url=None), "data folder", "look", f"chmod 600 {data}/xwrap.sqlite3")
    data.chmod(0o755)
    found = doctor(data, status=1)
    only(found, "data folder", "bad", f"chmod 700 {data}")
    only(found, "data base", "skip")


def test_a_key_file_that_is_readable_for_others_missing_or_a_wrong_one_is_bad(data):
    file = data / "master.key"
    file.chmod(0o644)
    only(doctor(data, status=1), "key file", "bad", f"chmod 600 {file}")
    file.unlink()
    only(doctor(data, status=1), "key file", "bad", "is missing", f"cp COPY {file}")
    file.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    file.chmod(0o600)
    only(doctor(data, status=1), "key file", "bad", "does not open this data base", f"cp COPY {file}")


def test_a_registration_that_does_not_open_is_named(data, open_data):
    open_data(lambda store: sql(store.where, "UPDATE registrations SET sealed_apikey = x'01020304050607'"))
    only(doctor(data, status=1), "exchange keys", "bad", "registrations 1 do not open", "xwrap key replace ID")


def test_a_damaged_data_base_is_bad(data):
    content = bytearray((data / "xwrap.sqlite3").read_bytes())
    content[8192:16384] = os.urandom(8192)
    (data / "xwrap.sqlite3").write_bytes(content)
    only(doctor(data, status=1), "data base", "bad", "is damaged", "xwrap restore FILE")
    (data / "xwrap.sqlite3").write_bytes(b"no data base at all" * 100)
    only(doctor(data, status=1), "data base", "bad", "not a database")


def test_a_log_that_is_not_written_back_is_said(data, monkeypatch):
    monkeypatch.setattr(database_check, "_LOOK_WAL_BYTES", 1000)
    store = Store(data / "xwrap.sqlite3")
    store.history.heartbeat()
    only(doctor(data, url=None), "data base", "look", "write-ahead log")
    store.close()


@pytest.mark.parametrize(
    ("revision", "status", "state", "words"),
    [("0001", 0, "look", "the next start migrates it"), ("9999", 1, "bad", "made by a newer version")],
)
def test_a_data_base_of_another_version_is_not_read_further(data, open_data, revision, status, state, words):
    open_data(lambda store: sql(store.where, "UPDATE alembic_version SET version_num = :r", r=revision))
    found = doctor(data, url=None, status=status)
    only(found, "data base", state, words)
    assert "accounts" not in found


def test_a_file_without_the_tables_is_said(data):
    (data / "xwrap.sqlite3").write_bytes(b"")
    only(doctor(data, url=None), "data base", "look", "has no tables")


def test_a_postgresql_that_cannot_be_reached_is_bad_and_its_password_is_not_shown(data):
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://xwrap:geheim@127.0.0.1:9/xwrap"
    result = CliRunner().invoke(app, ["doctor", "--data", str(data)], env={"XWRAP_DATABASE_URL": url})
    assert result.exit_code == 1
    assert "look whether it runs, and at XWRAP_DATABASE_URL" in result.stdout
    assert "geheim" not in result.output


def test_on_postgresql_the_same_is_found(tmp_path, postgres):
    from tests.support.databases import drop_database, new_database

    where = new_database(postgres)
    tmp_path.chmod(0o700)
    state, line = doctor(tmp_path, url=None, XWRAP_DATABASE_URL=where)["data base"][-1]
    assert (state, "has no tables" in line) == ("look", True)
    store = Store(where)
    store.prepare()
    add_registration(store)
    store.close()
    found = doctor(tmp_path, url=None, XWRAP_DATABASE_URL=where)
    [(fsync,)] = sql(where, "SHOW fsync")
    words = {"on": ("ok", "is sound", "PostgreSQL"), "off": ("look", "fsync = off", "set fsync = on")}
    only(found, "data base", *words[fsync])
    only(found, "accounts", "ok", "1 may log in")
    only(found, "backups", "skip", "pg_dump")
    found = doctor(tmp_path, url=None, status=1, XWRAP_DATABASE_URL=where, XWRAP_WORKERS="50")
    only(found, "data base", "bad", "857 connections")
    drop_database(postgres, where)


def test_a_postgresql_that_writes_to_the_disk_is_sound(tmp_path, postgres):
    from tests.support.databases import NoPostgres, own_server

    tmp_path.chmod(0o700)
    try:
        with own_server() as own:
            with closing(Store(own.url)) as store:
                store.prepare()
            only(doctor(tmp_path, url=None, XWRAP_DATABASE_URL=own.url), "data base", "ok", "is sound", "PostgreSQL")
    except NoPostgres as reason:
        pytest.skip(str(reason))


def test_every_setting_that_cannot_be_used_is_said_not_only_the_first(data):
    found = doctor(data, XWRAP_QOUTA_ORDERS="5", XWRAP_LOG_LEVEL="LOUD", XWRAP_HOSTS="xwrap.example", status=1)
    lines = [line for _, line in found["settings"]]
    assert len(lines) == 2
    assert any("XWRAP_QOUTA_ORDERS is no setting" in line and "XWRAP_QUOTA_ORDERS" in line for line in lines)
    assert any("XWRAP_LOG_LEVEL" in line for line in lines)
    only(found, "accounts", "ok")


def test_unknown_outcomes_are_counted_with_the_oldest_and_how_to_settle_them(data, open_data):
    def work(store):
        for key in ("k1", "k2"):
            store.orders.begin(1, key, "fingerprint", ORDER, CLIENT_IDS)
        sql(store.where, "UPDATE orders SET status = 'unknown'")
        sql(store.where, "UPDATE orders SET created = '2026-11-01T10:20:30.000000Z' WHERE id = 1")

    open_data(work)
    found = doctor(data, url=None)
    only(
        found, "unknown orders", "look", "the outcome of 2 is unknown", "2026-11-01 10:20 UTC", "xwrap orders settle ID"
    )
    only(found, "unknown sends", "ok", "none")


def test_a_key_that_its_exchange_refused_at_the_newest_order_is_named(data, open_data):
    def work(store):
        store.orders.begin(1, "k1", "fingerprint", ORDER, CLIENT_IDS)
        refusal = json.dumps({"code": "exchange_key_refused", "detail": "EAPI:Invalid key"})
        sql(store.where, "UPDATE orders SET status = 'rejected', answer_status = 403, answer = :a", a=refusal)

    open_data(work)
    only(
        doctor(data, url=None),
        "exchange keys",
        "look",
        "the exchange refuses the key of registrations 1",
        "xwrap key check ID",
    )

    def replace(store):
        sql(store.where, "UPDATE registrations SET key_since = '2099-01-01T00:00:00.000000Z'")

    open_data(replace)
    only(doctor(data, url=None), "exchange keys", "ok")
    open_data(lambda store: sql(store.where, "UPDATE registrations SET key_refused = '2026-11-01T10:20:30.000000Z'"))
    only(doctor(data, url=None), "exchange keys", "look")


def test_notices_that_wait_are_said_and_a_secret_that_is_missing_is_bad(data, tmp_path):
    assert "notices" not in doctor(data, url=None)
    secret = tmp_path / "notices.secret"
    environ = {"XWRAP_NOTICE_URL": "https://notices.example/hidden-token", "XWRAP_NOTICE_SECRET_FILE": str(secret)}
    [(state, line)] = doctor(data, url=None, status=1, **environ)["notices"]
    assert (state, "hidden-token" in line) == ("bad", False)
    secret.write_text(f"whsec_{base64.b64encode(b'n' * 32).decode()}\n")
    secret.chmod(0o600)
    only(doctor(data, url=None, **environ), "notices", "ok", "none waits")
    store = Store(data / "xwrap.sqlite3", notices=True)
    store.notices.add("key.refused", {}, registration=1)
    store.close()
    only(doctor(data, url=None, **environ), "notices", "look", "1 wait", "xwrap notices test")


def test_a_gap_in_the_journal_and_no_account_are_said(data, open_data):
    def work(store):
        store.history.report_gap(datetime(2026, 11, 27, 10, tzinfo=UTC), "the data base was restored")
        sql(store.where, "UPDATE accounts SET active = 0")

    open_data(work)
    found = doctor(data, url=None)
    only(found, "journal", "look", "2026-11-27 09:59 UTC", "the data base was restored", "xwrap history accept")
    only(found, "accounts", "look", "xwrap account add NAME")


def test_the_age_of_the_newest_backup_is_said_where_a_folder_is_in_use(data, tmp_path):
    only(doctor(data, url=None), "backups", "skip", "xwrap backup --to DIR --keep 14")
    backups = tmp_path / "backups"
    assert CliRunner().invoke(app, ["backup", "--to", str(backups), "--data", str(data)]).exit_code == 0
    only(doctor(data, url=None), "backups", "ok", str(backups))
    [file] = backups.glob("*.sqlite3")
    old = datetime.now(UTC) - timedelta(days=9, hours=1)
    file.rename(file.with_name(f"{file.name[:15]}{old:%Y%m%dT%H%M%S.%f}Z.sqlite3"))
    only(doctor(data, url=None), "backups", "look", "9 days ago", f"xwrap backup --to {backups}")
    [file] = backups.glob("*.sqlite3")
    file.unlink()
    only(doctor(data, status=1), "backups", "bad", "there is no backup of this data base")
    shutil.rmtree(backups)
    only(doctor(data, status=1), "backups", "bad", "cannot be read")


def test_it_works_while_the_server_runs_and_sees_what_that_sees(served):
    found = doctor(served.data, url=served.url)
    only(found, "server", "ok", f"bitmm {__version__}")
    only(found, "proxy", "ok", "a proxy on this machine", "is believed")
    only(found, "exposure", "ok", "this machine alone")
    only(found, "key file", "ok")


def test_a_server_that_is_named_and_does_not_answer_is_bad_and_else_skipped(data):
    only(doctor(data, status=1), "server", "bad", "none answers", "xwrap serve")
    only(doctor(data, status=1, url=None, XWRAP_URL=NO_SERVER), "server", "bad", "none answers")
    only(doctor(data, status=1, url="ftp://here"), "server", "bad", "is no http")


@pytest.mark.parametrize(
    ("body", "http", "check", "state", "words"),
    [
        ({"status": "ok", "address": "127.0.0.1", "version": "0.0.9"}, "200 OK", "server", "look", "start the server"),
        ({"status": "ok", "address": "127.0.0.1", "host": "0.0.0.0"}, "200 OK", "exposure", "look", "without TLS"),
        ({"status": "ok", "address": "127.0.0.1"}, "200 OK", "proxy", "look", "XWRAP_PROXIES=127.0.0.1"),
        ({"detail": "it is damaged"}, "503 Service Unavailable", "server", "bad", "answers 503: it is damaged"),
        ({"detail": "unknown"}, "421 Misdirected Request", "server", "bad", "XWRAP_HOSTS"),
        ([], "200 OK", "server", "bad", "no answer of an XWrap"),
    ],
)
def test_what_a_server_answers_is_judged(body, http, check, state, words):
    settings = Settings.read({"XWRAP_HOSTS": "xwrap.example"})
    with raw_server(lambda connection: connection.answer(json.dumps(body), http)) as server:
        found = {finding.check: finding for finding in server_check.check_server(settings, server.url, is_named=True)}
    assert found[check].state == state
    assert words in f"{found[check].words}; {found[check].advice}"


def test_behind_a_proxy_that_the_server_does_not_know_that_is_said():
    unknown = server_check._proxy_between("https://xwrap.example", "127.0.0.1")
    assert (unknown.state, unknown.advice) == ("look", "name the proxy: XWRAP_PROXIES=127.0.0.1")
    assert server_check._proxy_between("https://xwrap.example", "203.0.113.7").state == "ok"


def test_the_clock_is_compared_with_each_exchange_that_can_be_reached(data):
    with raw_server(dated(0)) as server, KrakenVenue() as venue:
        environ = {"XWRAP_EXCHANGE_URL_BITSTAMP": server.url, "XWRAP_EXCHANGE_URL_KRAKEN": venue.url}
        environ |= {"XWRAP_EXCHANGE_URL_BACKPACK": NO_SERVER, "XWRAP_EXCHANGES": "paper,bitstamp,kraken,mtgox,backpack"}
        agrees, has_no_date, is_not_reached = doctor(data, url=None, **environ)["clock"]
        assert "private" not in str(venue.requests)
    assert agrees == ("ok", "that of bitstamp agrees")
    assert has_no_date == ("skip", "not compared with kraken: its answer has no date")
    assert is_not_reached[1].startswith("not compared with backpack: no connection")


def test_an_exchange_that_cannot_be_loaded_is_bad(data):
    found = doctor(data, url=None, status=1, XWRAP_EXCHANGES="paper,ccxt:nosuch")
    assert ("bad", True) in [
        (state, "XWRAP_EXCHANGES names 'ccxt:nosuch'" in line) for state, line in found["settings"]
    ]


@pytest.mark.parametrize(("seconds", "state", "words"), [(-7, "look", "ahead of"), (90, "bad", "90 s behind")])
def test_a_clock_that_is_wrong_is_said_with_how_to_set_it(seconds, state, words):
    with raw_server(dated(seconds)) as server:
        environ = {"XWRAP_EXCHANGES": "kraken", "XWRAP_EXCHANGE_URL_KRAKEN": server.url}
        [finding] = clocks.check_clocks(Settings.read(environ))
        assert len(server.requests) == 1
    assert (finding.state, words in finding.words) == (state, True), finding.words
    assert "timedatectl" in finding.advice


def test_too_few_files_and_threads_are_bad(monkeypatch):
    settings = Settings.read({})
    assert connections_within(settings, None) == 10_000
    monkeypatch.setattr(machine, "_most_threads", lambda: 200)
    [finding] = machine.check_limits(settings)
    assert (finding.state, "TasksMax" in finding.advice) == ("bad", True)
    fake = SimpleNamespace(getrlimit=lambda _which: (64, 64), RLIMIT_NOFILE=0, RLIM_INFINITY=-1)
    monkeypatch.setattr(machine, "_resource", fake)
    [finding] = machine.check_limits(settings)
    assert (finding.state, "ulimit -n" in finding.advice) == ("bad", True)


def test_the_limits_of_several_workers_are_those_of_all(monkeypatch):
    monkeypatch.setattr(machine, "_most_threads", lambda: None)
    settings = Settings.read({"XWRAP_WORKERS": "3"}, database_url="postgresql+psycopg://x@/x")
    [finding] = machine.check_limits(settings)
    assert (finding.state, f"of each of 3 workers, {threads_of(settings)} threads" in finding.words) == ("ok", True)
    assert threads_of(settings) > 3 * 304
    [finding, _limits] = machine.check_limits(Settings.read({"XWRAP_WORKERS": "3"}))
    assert (finding.state, "SQLite serves one" in finding.words) == ("bad", True), finding.words


def test_a_full_disk_is_bad(monkeypatch, data):
    settings = Settings.read({}, data=data)
    for free, state in ((50 * 2**20, "bad"), (500 * 2**20, "look"), (50 * 2**30, "ok")):
        monkeypatch.setattr(folder.shutil, "disk_usage", lambda _path, free=free: SimpleNamespace(free=free))
        [finding] = folder.check_disk(settings)
        assert finding.state == state


def test_a_library_that_is_too_old_is_named(monkeypatch):
    wanted = [
        "requests>=2.32",
        'sqlalchemy<3,>=2.0.36; extra == "server"',
        'typer>=99; extra == "server"',
        'psycopg[binary]<4,>=99; extra == "postgres"',
        'pytest>=99; extra == "test"',
        'uvloop>=0.1; sys_platform != "win32" and extra == "server"',
    ]
    monkeypatch.setattr(machine.metadata, "requires", lambda _name: wanted)
    [finding] = machine.check_versions()
    assert finding.state == "bad"
    assert f"typer {metadata.version('typer')} is older than 99" in finding.words
    assert "pytest" not in finding.words
    assert "requests" not in finding.words
    monkeypatch.setattr(machine.metadata, "requires", lambda _name: wanted[:2])
    [finding] = machine.check_versions()
    assert finding.state == "ok"


def test_as_json_it_has_the_same_findings(data):
    args = ["doctor", "--data", str(data), "--url", NO_SERVER, "--json"]
    result = CliRunner().invoke(app, args, env={"XWRAP_EXCHANGES": "paper"})
    document = json.loads(result.stdout)
    assert (result.exit_code, document["good"]) == (1, False)
    [server] = [finding for finding in document["findings"] if finding["check"] == "server"]
    assert set(server) == {"check", "state", "words", "advice"}
    assert server["state"] == "bad"


def test_no_secret_is_shown(data):
    secrets = [(data / "master.key").read_text().strip(), "the exchange key", "the exchange secret"]
    output = CliRunner().invoke(app, ["doctor", "--data", str(data), "--json"], env={"XWRAP_EXCHANGES": "paper"}).output
    assert not [secret for secret in secrets if secret in output]


def test_on_a_terminal_states_have_colours(data, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    import_module("bitmm.xwrap.cli.doctor")._print(finding_of("key file", "it is missing; put it back"))
    assert "\x1b[" in capsys.readouterr().out
