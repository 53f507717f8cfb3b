"""What servers answer to the client: good answers, documents, one script after the other, a proxy."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, suppress
from urllib.parse import parse_qs, urlsplit

from tests.support.raw_server import JSON, Connection, Script, Server

ORDER = {"id": 41, "amount": "0.1", "status": "filled"}


def answer_well(connection: Connection) -> None:
    """The exchanges (none), a balance, or an order that is filled."""
    if connection.request.path == "/list_exchanges/":
        connection.answer("[]", "200 OK", JSON)
    elif connection.request.method == "GET":
        connection.answer('{"BTC": "1.5"}', "200 OK", JSON)
    else:
        says_with_key(ORDER)(connection)


class Tunnel(Server):
    """A proxy: it answers CONNECT, and then carries bytes."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> None:
        self._answer = answer
        super().__init__(self._carry)

    def _carry(self, connection: Connection) -> None:
        connection.send(self._answer)
        host, _, port = connection.request.path.partition(":")
        with closing(socket.create_connection((host, int(port)))) as far:
            back = threading.Thread(target=self._copy, args=(far, connection.sock), daemon=True)
            back.start()
            self._copy(connection.sock, far)
            back.join(10)
        connection.hang_up()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        # Also after an error: the other side waits for the end, and the test for the other side.
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def says(document: object, status: str = "200 OK", *headers: str) -> Script:
    """Answers with a JSON document."""
    return lambda conn: conn.answer(json.dumps(document), status, JSON, *headers)


def says_with_key(record: dict[str, object], status: str = "200 OK", *headers: str) -> Script:
    """Answers with the record of an order or a send under the key that was sent, or asked for, as our server does."""

    def script(connection: Connection) -> None:
        request = connection.request
        asked = parse_qs(urlsplit(request.path).query).get("key", [None])[0]
        key = request.headers.get("idempotency-key", asked)
        connection.answer(json.dumps({**record, "key": key}), status, JSON, *headers)

    return script


def in_turn(*scripts: Script) -> Script:
    """Run each script once, the last one from then on."""
    left = list(scripts)

    def script(connection: Connection) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return script
