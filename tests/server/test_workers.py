"""`xwrap serve --workers N`: several processes behind one port, which share their work through PostgreSQL alone."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from collections import Counter
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.server import supervisor, worker
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.conftest import Server
from tests.support.command import one_line, serve, url_of, xwrap
from tests.support.threads import in_threads, until

ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.001"}


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def started(database, postgres, venue, tmp_path_factory):
    """Return two workers that run, and where they serve; new ones when a test has ended them."""
    with ExitStack() as stack:
        running = []

        def start():
            if not running or running[0].poll() is not None:
                folder = tmp_path_factory.mktemp("workers")
                where = database(folder, tables=True)
                environ = {"XWRAP_DATABASE_URL": where, "XWRAP_EXCHANGES": "paper,kraken"}
                arguments = ("--port", 0, "--data", folder, "--workers", 2)
                process, lines = stack.enter_context(serve(*arguments, XWRAP_EXCHANGE_URL_KRAKEN=venue.url, **environ))
                running[:] = process, Server(url_of(lines), folder, where)
            return running

        yield start


@pytest.fixture
def running(started):
    return started()


def pids(process):
    """The workers of a supervisor that live."""
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def numbers(server):
    """What /metrics says, by the name and the labels."""
    answer = requests.get(f"{server.url}/metrics", timeout=30)
    assert answer.status_code == 200, answer.text
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def states(pid):
    """The states of the threads of a process, as proc(5) has them."""
    return [path.read_text().rpartition(") ")[2][0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]


HEALTH = 'xwrap_calls_total{method="GET",path="/health",status="200"}'


def test_the_numbers_of_all_workers_are_added_up_and_those_of_the_data_base_are_not(running):
    process, server = running
    id = server.registration(server.account())
    server.sql(
        "INSERT INTO orders (registration_id, key, fingerprint, client_id, status, side, type, currency, asset,"
        " created, updated) VALUES (:id, 'k', 'f', 'c', 'unknown', 'buy', 'market', 'USD', 'BTC', :now, :now)",
        id=id,
        now=now(),  # so that the reconciler does not ask for it meanwhile
    )
    before = numbers(server).get(HEALTH, 0.0)
    # A connection each, so that both workers have calls.
    for _ in range(12):
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
    found = [numbers(server) for _ in range(4)]
    assert {each[HEALTH] - before for each in found} == {12.0}
    assert {each["xwrap_workers"] for each in found} == {2.0}
    assert {each['xwrap_threads{pool="urgent"}'] for each in found} == {64.0}
    assert {each['xwrap_unknown{exchange="paper",journal="orders"}'] for each in found} == {1.0}
    os.kill(still := pids(process)[1], signal.SIGSTOP)
    try:
        # Until then it may take a connection, which it holds while it stands still.
        until(lambda: all(state == "T" for state in states(still)))
        assert numbers(server)[HEALTH] - before == 12.0
    finally:
        os.kill(still, signal.SIGCONT)


def test_a_killed_worker_fails_what_it_had_in_flight_and_each_key_tells_what_became_of_it(running):
    process, server = running
    auth = server.account()
    id = server.registration(auth)
    killed, failures = threading.Event(), Counter()
    requests.get(f"{server.url}/health", timeout=30)
    before = numbers(server)

    def trade(number):
        with requests.Session() as session:
            for order in range(8):
                key = {"Idempotency-Key": f"{number}-{order}"}
                if (number, order) == (0, 4):
                    os.kill(pids(process)[0], signal.SIGKILL)
                    killed.set()
                while True:
                    try:
                        answer = session.post(
                            f"{server.url}/exchanges/{id}/buy", data=ORDER, headers=key, auth=auth, timeout=30
                        )
                    except requests.ConnectionError:
                        failures[number] += 1
                        assert failures[number] < 5, "nobody serves"
                        continue
                    assert answer.status_code == 200, answer.text
                    assert answer.json()["status"] == "filled"
                    break

    assert in_threads(6, trade) == [None] * 6
    assert killed.is_set()
    assert set(failures.values()) <= {1}
    assert len(failures) < 6, "those at the other worker notice nothing"
    keys = server.sql("SELECT key, status FROM orders WHERE registration_id = :id", id=id)
    assert sorted(keys) == [(f"{number}-{order}", "filled") for number in range(6) for order in range(8)]
    bought = server.sql("SELECT amount FROM paper_orders WHERE registration_id = :id", id=id)
    assert [Decimal(amount) for (amount,) in bought] == [Decimal("0.001")] * 48
    until(lambda: numbers(server)["xwrap_workers"] == 2)
    after = numbers(server)
    assert after["xwrap_worker_deaths_total"] == before["xwrap_worker_deaths_total"] + 1
    assert after[HEALTH] >= before[HEALTH]


def test_a_stop_answers_what_is_in_flight(running, venue):
    process, server = running
    auth = server.account()
    id = server.registration(auth, "kraken", apikey=venue.key, apisecret=venue.secret)
    venue.fault("slow", path="AddOrder", seconds=1)
    answers = []

    def buy():
        form = {"currency": "EUR", "asset": "BTC", "amount": "0.01", "price": "20000"}
        answers.append(requests.post(f"{server.url}/exchanges/{id}/buy", data=form, auth=auth, timeout=30))

    call = threading.Thread(target=buy)
    call.start()
    until(venue.ledger)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    call.join()
    assert process.returncode == 0
    assert [answer.json()["status"] for answer in answers] == ["open"]
    assert output.endswith("XWrap has stopped\n")
    assert "Traceback" not in errors


def test_a_supervisor_that_is_killed_leaves_no_worker_behind(running):
    process, _server = running
    left = pids(process)
    assert len(left) == 2
    process.kill()
    process.wait()
    try:
        until(lambda: not any(map(is_alive, left)))
    finally:
        for pid in filter(is_alive, left):
            os.kill(pid, signal.SIGKILL)


def test_sqlite_and_a_number_that_is_none_are_refused_in_one_line(tmp_path):
    one_line(xwrap("serve", "--workers", 2, "--data", tmp_path), "2 workers need PostgreSQL", "XWRAP_DATABASE_URL")
    one_line(xwrap("serve", "--data", tmp_path, XWRAP_WORKERS="0"), 'XWRAP_WORKERS has "0"', "1 to 99")


def test_workers_that_cannot_start_end_the_command_with_one_line(database, postgres, tmp_path):
    where = database(tmp_path, tables=True)
    (tmp_path / "master.key").write_text("none")
    (tmp_path / "master.key").chmod(0o600)
    result = xwrap("serve", "--port", 0, "--workers", 2, "--data", tmp_path, XWRAP_DATABASE_URL=where)
    assert result.returncode == 1
    assert "master.key" in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("xwrap: ")
    assert "Traceback" not in result.stderr


def dies(_settings, _listener, channel):
    """A worker that serves, and dies at once, while it says something."""
    channel.sendall(json.dumps({"ready": True}).encode() + b'\n{"numbers": [')
    os.kill(os.getpid(), signal.SIGKILL)


def lingers(_settings, _listener, channel):
    """A worker that has calls in flight when it is to stop."""
    signal.signal(signal.SIGTERM, lambda *_: channel.sendall(json.dumps({"line": "it stops"}).encode() + b"\n"))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    channel.sendall(json.dumps({"ready": True}).encode() + b"\n")
    while True:
        signal.pause()


def serves(_settings, _listener, channel):
    """A worker that answers four times that it serves, and stands still from then on."""
    channel.sendall(json.dumps({"ready": True}).encode() + b"\n")
    with channel.makefile("rb") as lines:
        for number, line in enumerate(lines, 1):
            if number <= 4:
                channel.sendall(line)


@pytest.fixture
def supervise(monkeypatch, caplog, tmp_path):
    """Run a supervisor of one such worker; `report` is called with its lines, and returned is what it logs."""

    def run(worker, report):
        monkeypatch.setattr(supervisor, "work", worker)
        monkeypatch.setattr(supervisor, "_PAUSES", (0.0, 0.01, 0.02))
        monkeypatch.setattr(supervisor, "_WATCH_SECONDS", 0.01)
        monkeypatch.setattr(supervisor, "log_to_stderr", lambda *_: caplog.at_level(logging.INFO))
        supervisor.run(Settings.read({}, data=tmp_path, port=0, database_url="postgresql+psycopg://x@/x"), report)
        return caplog.records

    return run


def test_a_worker_that_dies_again_and_again_is_replaced_later_and_later(supervise, caplog):
    deaths = []

    def count(record):
        if "takes its place" in record.getMessage():
            deaths.append(record.fields)
            if len(deaths) == 4:
                os.kill(os.getpid(), signal.SIGTERM)
        return True

    caplog.handler.addFilter(count)
    lines = []
    try:
        supervise(dies, lines.append)
    finally:
        caplog.handler.removeFilter(count)
    assert [death["pause_seconds"] for death in deaths] == [0.0, 0.01, 0.02, 0.02]
    assert {death["reason"] for death in deaths} == {"it was ended by SIGKILL"}
    assert lines[-1] == "XWrap has stopped"


def test_a_second_signal_ends_what_is_in_flight(supervise):
    lines = []

    def stop(line):
        lines.append(line)
        if line != "XWrap has stopped":
            os.kill(os.getpid(), signal.SIGTERM)

    supervise(lingers, stop)
    assert [line.partition(" at ")[0] for line in lines] == ["XWrap serves", "it stops", "XWrap has stopped"]


def test_a_worker_that_stands_still_is_killed_and_replaced(supervise, caplog):
    reasons = []

    def stop(record):
        if "takes its place" in record.getMessage():
            reasons.append(record.fields["reason"])
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    caplog.handler.addFilter(stop)
    try:
        supervise(serves, lambda _line: None)
    finally:
        caplog.handler.removeFilter(stop)
    assert reasons == ["it stood still for 0 seconds"]  # the test asks every 0.01 seconds


def test_a_worker_answers_that_it_serves_when_its_event_loop_does(running_channel):
    channel, loop, lines = running_channel
    held, release = threading.Event(), threading.Event()

    def stand_still():
        held.set()
        release.wait()

    channel.sendall(b'{"alive": true}\n')
    assert json.loads(lines.readline()) == {"alive": True}
    loop.call_soon_threadsafe(stand_still)
    held.wait()
    channel.sendall(b'{"alive": true}\n')
    channel.settimeout(0.05)
    with pytest.raises(TimeoutError):
        channel.recv(1, socket.MSG_PEEK)
    channel.settimeout(None)
    release.set()
    assert json.loads(lines.readline()) == {"alive": True}


@pytest.fixture
def running_channel():
    """The supervisor's end of a channel, the event loop of the worker that has the other one, and what it says."""
    ours, theirs = socket.socketpair()
    ended, loop = threading.Event(), asyncio.new_event_loop()
    channel = worker.Channel(theirs, ended.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    loop.call_soon_threadsafe(channel.set_ready, SimpleNamespace(metrics=SimpleNamespace()))
    with ours, theirs, ours.makefile("rb") as lines:
        assert json.loads(lines.readline()) == {"ready": True}
        yield ours, loop, lines
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        ours.shutdown(socket.SHUT_RDWR)
        assert ended.wait(10)
