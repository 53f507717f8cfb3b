"""The lines for nginx and Caddy that the server's README has, run: the address is the caller's, whatever he forges."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.support.callers import WRONG_LOGIN, watch_addresses

ROOT = Path(__file__).parents[2]
README = ROOT / "bitmm/xwrap/server/README.md"
TLS = ROOT / "tests/support/tls"
CALLER = "127.0.0.77"


def documented(language):
    """The lines of the README in this language."""
    [block] = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return block


def replaced(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, port, folder):
    """Run a proxy until the end of the block, which begins when it listens."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (
        (folder / "proxy.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environ) as process,
    ):
        try:
            end = time.monotonic() + 30
            while True:
                assert process.poll() is None, (folder / "proxy.log").read_text()
                assert time.monotonic() < end
                try:
                    socket.create_connection(("127.0.0.1", port), 5).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()


@pytest.fixture
def server(serving):
    with serving(environ={"XWRAP_HOSTS": "xwrap.example", "XWRAP_PROXIES": "127.0.0.1"}) as server:
        yield server


@contextmanager
def nginx(server, folder):
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    site = replaced(
        documented("nginx"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/xwrap.example.pem", str(TLS / "good.pem")),
        ("/etc/ssl/xwrap.example.key", str(TLS / "key.pem")),
        ("http://127.0.0.1:8000", server.url),
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\n{paths}\n{site}}}\n"
    )
    with running([program, "-p", str(folder), "-c", str(config)], port, folder):
        yield port


@contextmanager
def caddy(server, folder):
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("Caddy is not installed")
    port = free_port()
    # A certificate of its own in place of one of a public authority.
    site = replaced(
        documented("caddy"),
        ("xwrap.example {", f"https://xwrap.example:{port} {{\n    bind 127.0.0.1\n    tls internal"),
        ("127.0.0.1:8000", urlsplit(server.url).netloc),
    )
    config = folder / "Caddyfile"
    options = "admin off\n    skip_install_trust\n    auto_https disable_redirects"
    config.write_text(f"{{\n    {options}\n}}\n{site}")
    with running([program, "run", "--config", str(config), "--adapter", "caddyfile"], port, folder):
        yield port


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "Caddy"])
def test_behind_the_documented_proxy_the_address_is_the_callers_and_a_forged_header_changes_nothing(
    server, tmp_path, monkeypatch, proxy
):
    seen = watch_addresses(monkeypatch)
    forged = [
        (),
        ("X-Forwarded-For: 198.51.100.1",),
        ("X-Forwarded-For: 198.51.100.1, 127.0.0.1",),
        ("X-Forwarded-For: 198.51.100.1", "x-forwarded-for: 198.51.100.2"),
        ("X-Forwarded-For: garbage,,",),
        ("X_Forwarded_For: 198.51.100.1", "X-Real-IP: 198.51.100.1", "Forwarded: for=198.51.100.1"),
    ]
    with proxy(server, tmp_path) as port:
        for headers in forged:
            assert call(port, *headers) == 401
    assert seen == [CALLER] * len(forged)


def call(port, *headers):
    """Ask for the registrations with a wrong password, from CALLER; the status."""
    context = ssl.create_default_context()
    # Whose certificate it is, is not the question here.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 30, (CALLER, 0)) as plain,
        context.wrap_socket(plain, server_hostname="xwrap.example") as connection,
    ):
        lines = [
            "GET /exchanges HTTP/1.1",
            f"Host: xwrap.example:{port}",
            "Connection: close",
            WRONG_LOGIN,
            *headers,
            "",
            "",
        ]
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.makefile("rb").read().decode()
    assert '"not_authenticated"' in answer, answer
    return int(answer.split()[1])
