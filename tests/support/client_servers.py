"""What servers play for the client: good answers, documents, one play after the other, a proxy."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, suppress

from tests.support.raw_server import JSON, Line, Play, Server

ORDER = '{"id": 41, "amount": "0.1", "status": "filled"}'


def answer_well(line: Line) -> None:
    """The exchanges (none), a balance, or an order that is filled."""
    if line.seen.path == "/list_exchanges/":
        line.answer("[]", "200 OK", JSON)
    else:
        line.answer('{"BTC": "1.5"}' if line.seen.method == "GET" else ORDER, "200 OK", JSON)


class Tunnel(Server):
    """A proxy: it answers CONNECT, and then carries bytes."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> None:
        self._answer = answer
        super().__init__(self._carry)

    def _carry(self, line: Line) -> None:
        line.send(self._answer)
        host, _, port = line.seen.path.partition(":")
        with closing(socket.create_connection((host, int(port)))) as far:
            back = threading.Thread(target=self._copy, args=(far, line.sock), daemon=True)
            back.start()
            self._copy(line.sock, far)
            back.join(10)
        line.hang_up()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        # Also after an error: the other side waits for the end, and the test for the other side.
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def says(document: object, status: str = "200 OK", *headers: str) -> Play:
    """Answers with a JSON document."""
    return lambda line: line.answer(json.dumps(document), status, JSON, *headers)


def in_turn(*plays: Play) -> Play:
    """Each play once, the last one from then on."""
    left = list(plays)

    def play(line: Line) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(line)

    return play
