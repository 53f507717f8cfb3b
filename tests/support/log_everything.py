"""A pytest plugin that makes everything talk: each logger at DEBUG, and http.client's own printing."""

from __future__ import annotations

import contextlib
import http.client
import io
import logging

from tests.support.raw_server import raw_server


def pytest_configure():
    logging.getLogger().setLevel(logging.DEBUG)
    http.client.HTTPConnection.debuglevel = 1
    with raw_server(lambda conn: conn.answer("{}")) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.close()
    print("canary heard:", said.getvalue())
