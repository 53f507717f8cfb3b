"""A receiver of notices on this machine."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver(ThreadingHTTPServer):
    """It takes what it is sent, or answers with the first of `answers`: a status, or what is called with the handler.

    `got`: the headers, with small letters, and the body of each request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got = []
        self.answers = []
        self.url = f"http://127.0.0.1:{self.server_port}/notices?token=hidden"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_error):
        self.shutdown()
        self.server_close()

    @property
    def notices(self):
        """What it was sent, decoded."""
        return [json.loads(body) for _, body in self.got]

    def kinds(self):
        return [notice["kind"] for notice in self.notices]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        if callable(answer):
            answer(self)
            return
        self.send_response(answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


def write_secret(folder, text=SECRET):
    """The file of the secret."""
    path = folder / "notices.secret"
    path.touch(0o600)
    path.write_text(f"{text}\n")
    return path


def notice_settings(receiver, folder):
    """The settings of a server that sends to this receiver."""
    return {
        "notice_url": receiver.url,
        "notice_secret_file": write_secret(folder),
        "notice_private": True,
    }
