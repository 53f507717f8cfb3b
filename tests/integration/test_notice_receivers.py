"""What the README says of receivers works: the signature is checked, and a shell line forwards to a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

import time

from bitmm.xwrap.server.webhook import NotTakenError, Webhook, signature
from tests.support.receivers import SECRET, write_secret
from tests.support.threads import until

README = (Path(__file__).parents[2] / "bitmm/xwrap/server/README.md").read_text(encoding="utf-8")
(VERIFY,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "is_genuine" in block]
(RECEIVER,) = [block for block in re.findall(r"```py\n(.*?)```", README, re.DOTALL) if "is_genuine" in block]
NTFY, TELEGRAM = re.findall(r"^\$ python receiver\.py notices\.secret '(.*)' 8900$", README, re.MULTILINE)
KEY = bytes(range(32))
NOTICE = (
    '{"id":"%s","kind":"order.filled","time":"2026-11-28T09:15:02Z","account":"ann","registration":3,'
    '"exchange":"kraken","label":"my $(rm) \\"main\\"",'
    '"order":{"side":"buy","amount":"0.01","asset":"BTC","status":"filled"}}'
)
TEXT = 'order.filled my $(rm) "main" buy 0.01 BTC filled'


@pytest.fixture(scope="module")
def is_genuine():
    names = {}
    exec(VERIFY, names)
    return names["is_genuine"]


def headers(id, at, body):
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature(KEY, id, at, body)}


def test_the_readmes_function_takes_what_is_signed_and_nothing_else(is_genuine):
    at, body = int(time.time()), NOTICE % 1
    good = headers("1", at, body)
    assert is_genuine(SECRET, good, body.encode())
    assert not is_genuine(SECRET, good, body.replace("0.01", "0.02").encode())
    assert not is_genuine(SECRET, good | {"webhook-id": "2"}, body.encode())
    assert not is_genuine(SECRET, good | {"webhook-timestamp": str(at + 1)}, body.encode())
    assert not is_genuine(f"whsec_{'A' * 43}=", good, body.encode())
    for old in (at - 301, at + 301):  # a replay, or another clock
        assert not is_genuine(SECRET, headers("1", old, body), body.encode())


class Service(BaseHTTPRequestHandler):
    """Stands in for ntfy and Telegram."""

    def do_POST(self):
        self.server.got.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def service():
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        service.got, service.answers = [], []
        threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
        yield service
        service.shutdown()


@pytest.fixture
def run_receiver(tmp_path, service):
    """Runs the README's program with a shell line, whose service is the one of this machine; the webhook to it."""
    if shutil.which("curl") is None:
        pytest.skip("the shell lines need curl")
    processes = []

    def run(line):
        program = RECEIVER.replace("HTTPServer((", "server = HTTPServer((", 1).replace(
            ").serve_forever()", ")\nprint(server.server_port, flush=True)\nserver.serve_forever()"
        )
        (tmp_path / "receiver.py").write_text(f"{VERIFY}\n\n{program}")
        line = re.sub(r"https://[^/]+", f"http://127.0.0.1:{service.server_port}", line)
        command = [sys.executable, str(tmp_path / "receiver.py"), str(write_secret(tmp_path)), line, "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        processes.append(process)
        port = int(process.stdout.readline())
        return Webhook(f"http://127.0.0.1:{port}/", KEY, private=True)

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_the_line_for_ntfy_forwards_each_notice_once(run_receiver, service):
    webhook = run_receiver(NTFY)
    for id in ("1", "1", "2"):
        assert webhook.send(id, NOTICE % id) == 204
    webhook.close()
    assert service.got == [("/your-secret-topic", TEXT)] * 2


def test_the_line_for_telegram_forwards_each_notice(run_receiver, service):
    webhook = run_receiver(TELEGRAM)
    assert webhook.send("1", NOTICE % 1) == 204
    webhook.close()
    [(path, form)] = service.got
    assert path == "/botTOKEN/sendMessage"
    assert parse_qs(form) == {"chat_id": ["CHAT"], "text": [TEXT]}


def test_what_could_not_be_forwarded_is_not_taken_and_a_forged_notice_goes_nowhere(run_receiver, service):
    webhook = run_receiver(NTFY)
    service.answers = [500]
    with pytest.raises(NotTakenError, match="502"):
        webhook.send("1", NOTICE % 1)
    assert webhook.send("1", NOTICE % 1) == 204
    forged = Webhook(webhook._url, b"another secret of 24 bytes", private=True)
    with pytest.raises(NotTakenError, match="401"):
        forged.send("2", NOTICE % 2)
    until(lambda: len(service.got) == 2)
    webhook.close()
    forged.close()
