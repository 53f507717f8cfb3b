"""Every Python and shell block of every document runs, in its order, against real servers on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from decimal import Decimal
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, InsufficientFunds
from tests.support.sends import allow_sends
from tests.support.shell import on_terminal

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("bitmm/**/*.md"), *ROOT.glob("tests/*.md"))
    if path.name != "CHANGELOG.md"
)
EXCHANGES_README = ROOT / "bitmm/xwrap/exchanges/README.md"
#: Commands that run until they are interrupted; each prints its URL first.
SERVERS = ("xwrap serve", "python -m bitmm.xwrap.testing.exchanges")
#: Commands that speak to a running server.
CLIENT = tuple(
    f"xwrap {name}"
    for name in "login logout profiles rates best balance value buy sell order cancel send export".split()
)
#: What `.ci/run` runs, this test among it.
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox"


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def commands(path):
    """The commands of all shell blocks of a document, without their comments."""
    lines = [line.partition("  #")[0].strip() for block in blocks(path, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


PYTHON = [path for path in DOCUMENTS if blocks(path, "python")]
SHELL = [path for path in DOCUMENTS if commands(path)]


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_every_python_block_runs(path, serving, capsys):
    names = {"__name__": "__main__"}
    with serving() as server:
        server.account("ann", "her password")
        for block in blocks(path, "python"):
            if "while True:" in block.splitlines():
                runs_until_it_is_ended(block, server.url)
            else:
                exec(compile(block.replace("http://localhost:8000", server.url), name_of(path), "exec"), names)
    printed = capsys.readouterr().out
    if path == ROOT / "README.md":
        assert "0.1 BTC for" in printed
        assert "too much: not enough USD" in printed
        assert names["backend"].id == 1


def runs_until_it_is_ended(program, url):
    """The program goes on for ever; it is ended when each level of its grid has its order."""
    backend = XWrap(url).backend(1, "ann", "her password")
    environ = {**os.environ, "XWRAP_URL": url, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", program], env=environ, stderr=subprocess.PIPE, text=True)
    try:
        while len([order for order in backend.orders("open") if (order["key"] or "").startswith("grid-1/")]) < 30:
            assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def client_shell(serving, tmp_path):
    """A function that runs a command of the client's on a terminal, with a server of its own for all of a document."""
    with ExitStack() as stack:

        @cache
        def url():
            server = stack.enter_context(serving())
            server.registration(server.account("ann", "her password"))
            (tmp_path / "password").write_text("her password\n")
            return server.url

        def run_on_terminal(command):
            answers = {"]: ": "\n", "User name: ": "ann\n", "Password of ann: ": "her password\n", "[y/N] ": "y\n"}
            environ = environment(tmp_path) | {"HOME": str(tmp_path), "XWRAP_URL": url(), "TERM": "dumb"}
            line = ["/bin/bash", "-ec", f"cd {tmp_path}; {command}"]
            return on_terminal(line, environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}, answers, 100)

        yield run_on_terminal


@pytest.mark.parametrize("path", SHELL, ids=name_of)
def test_every_shell_block_runs(path, tmp_path, client_shell):
    for command in commands(path):
        if command.startswith(CLIENT):
            code, screen = client_shell(command)
            assert code == 0, screen
        elif command == TEST_COMMAND:
            assert command in (ROOT / "README.md").read_text()
            assert "README.md" in (ROOT / ".ci/run").read_text()
        elif command.startswith(SERVERS):
            serves_until_interrupted(command, tmp_path)
        elif command.startswith("python3 -m venv"):
            runs_in_a_fresh_clone(command, tmp_path / "clone")
        else:
            done = run(command, tmp_path, tmp_path)
            assert done.returncode == 0, done.stderr


def environment(data):
    """This interpreter and its `xwrap` come first; data of their own; no registry is asked."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("XWRAP_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XWRAP_DATA_DIR": str(data / "data"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: without isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run(command, folder, data, **more):
    return subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=environment(data) | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def serves_until_interrupted(command, folder):
    words = f"{command} --port 0".split()
    program = (
        [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", "bitmm.xwrap", *words[1:]]
    )
    with subprocess.Popen(
        program, cwd=folder, env=environment(folder) | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert any("http://127.0.0.1:" in line for line in process.stdout)
        finally:
            process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 0


def runs_in_a_fresh_clone(command, clone):
    """The whole command, offline: what it would download is taken from the environment of this test."""
    wanted = shutil.ignore_patterns(".git", ".venv", ".tox", "*.egg-info", "build", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, clone, ignore=wanted)
    here = [entry for entry in sys.path if "site-packages" in entry]
    done = run(command, clone, clone.parent, PYTHONPATH=":".join(here))
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_servers_readme_names_every_setting_that_the_server_reads():
    from bitmm.xwrap.server import settings

    names = set(re.findall(r"XWRAP_[A-Z_]*[A-Z]", Path(settings.__file__).read_text())) | {"XWRAP_URL"}
    # Names in the code that it does not read: options of the command, and variables of others.
    names -= {*settings._OPTIONS, *settings._OF_TESTS}
    told = (ROOT / "bitmm/xwrap/server/README.md").read_text(encoding="utf-8")
    assert {name for name in names if name not in told} == set()


def test_the_table_of_exchanges_is_made_from_the_classes():
    from bitmm.xwrap.exchanges import EXCHANGES, capabilities, load

    text = EXCHANGES_README.read_text(encoding="utf-8")
    shown = text.partition("a test holds it here -->\n")[2].partition("\n<!-- end -->")[0]
    assert shown.splitlines() == capabilities.lines([load(id) for id in EXCHANGES])


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_to_a_file_leads_to_one(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_the_architecture_names_files_that_exist():
    text = (ROOT / "bitmm/xwrap/README.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`([\w/]+\.(?:py|yaml))`", text))
    assert len(files) > 30
    assert {
        file for file in files if not (ROOT / "bitmm/xwrap" / file).exists() and not (ROOT / file).exists()
    } == set()


class Shop(BaseHTTPRequestHandler):
    """The corner shop of the README's example."""

    sold: ClassVar[list] = []

    def do_GET(self):
        self._answer(200, {"price": "80000.50"} if self.path == "/price" else {"EUR": "1000.00", "BTC": "0.5"})

    def do_POST(self):
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if self.headers["Authorization"] != "Bearer token" or Decimal(form["btc"]) > 1:
            self._answer(402, {"error": "too much"})
            return
        self.sold.append((self.path, form))
        eur = Decimal(form["btc"]) * Decimal("80000.50")
        self._answer(200, {"number": len(self.sold), "price": "80000.50", "eur": str(eur)})

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


def test_an_exchange_is_added_by_one_file_and_one_line(serving, tmp_path, monkeypatch):
    (block,) = [block for block in blocks(EXCHANGES_README, "python") if "class Corner" in block]
    assert len(block.strip().splitlines()) <= 40
    (tmp_path / "corner_shop.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(exchanges.EXCHANGES, "corner", "corner_shop:Corner")
    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{shop.server_port}"
        with serving(exchanges=("corner",), exchange_urls={"corner": url}) as server:
            backend = XWrap(server.url).create_backend(*server.account(), "corner", "", "token", "")
            assert backend.exchange_rate("EUR", "BTC")["buy"] == Decimal("80000.50")
            assert backend.balance() == {"EUR": Decimal("1000.00"), "BTC": Decimal("0.5")}
            order = backend.buy("EUR", "BTC", "0.001")
            assert (order["filled"], order["spent"]) == (Decimal("0.001"), Decimal("80.00050"))
            with pytest.raises(InsufficientFunds, match="too much"):
                backend.buy("EUR", "BTC", 2)
            allow_sends(server.database, backend.username, ["x"])
            with pytest.raises(APIError, match="no call for 'withdraw'"):
                backend.send_to_address("BTC", 1, "x")
        assert [path for path, _ in Shop.sold] == ["/buy"]
    finally:
        shop.shutdown()
        shop.server_close()
