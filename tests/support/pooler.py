"""A connection pooler in transaction mode: each transaction of a client gets the session that is free."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

READY, IDLE = ord("Z"), ord("I")
SSL_REQUEST = 80877103


class Pooler:
    """Serves on a port of loopback for the PostgreSQL of a URL, whose host is the folder of its socket."""

    def __init__(self, url):
        self._socket_path = f"{make_url(url).query['host']}/.s.PGSQL.5432"
        self._free = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_url(url).difference_update_query(["host"])
        self.url = self.url.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with suppress(OSError, EOFError, struct.error), client:
            startup = self._startup(client)
            session, greeting = self._take(startup)
            self._give(session)
            client.sendall(greeting)
            while True:
                request = client.recv(65536)
                if not request or request[:1] == b"X":
                    return
                session, _ = self._take(startup)
                self._transaction(client, session, request)
                self._give(session)

    def _startup(self, client):
        while True:
            head = receive(client, 8)
            length, code = struct.unpack("!ii", head)
            if code != SSL_REQUEST:
                return head + receive(client, length - 8)
            client.sendall(b"N")

    def _take(self, startup):
        """A session, and what PostgreSQL said when it began."""
        with self._lock:
            if self._free:
                return self._free.pop()
        session = socket.socket(socket.AF_UNIX)
        session.connect(self._socket_path)
        session.sendall(startup)
        greeting = b""
        while True:
            message, status = receive_message(session)
            greeting += message
            if status is not None:
                return session, greeting

    def _give(self, session):
        with self._lock:
            self._free.append((session, self._greeting(session)))

    @staticmethod
    def _greeting(_session):
        # Of a client that comes later: it is logged in, and its session is ready.
        return b"R" + struct.pack("!ii", 8, 0) + b"S" + parameter("client_encoding", "UTF8") + b"Z\0\0\0\5I"

    def _transaction(self, client, session, request):
        """Pass on what comes until the transaction is over."""
        session.sendall(request)
        while True:
            message, status = receive_message(session)
            client.sendall(message)
            if status == IDLE:
                return
            if status is not None:
                session.sendall(client.recv(65536))


def parameter(name, value):
    text = name.encode() + b"\0" + value.encode() + b"\0"
    return struct.pack("!i", len(text) + 4) + text


def receive(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def receive_message(connection):
    """One message of PostgreSQL, and the state of the transaction when it is ReadyForQuery."""
    head = receive(connection, 5)
    body = receive(connection, struct.unpack("!i", head[1:])[0] - 4)
    return head + body, body[0] if head[0] == READY else None


@contextmanager
def transaction_pooler(url):
    """The URL of the same data base through a pooler in transaction mode."""
    pooler = Pooler(url)
    try:
        yield pooler.url.render_as_string(hide_password=False)
    finally:
        pooler.close()
