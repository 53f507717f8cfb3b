"""A transport that answers what a test wrote, for answers that a local exchange would never give."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

from bitmm.xwrap.transport import Request, Response

#: What is answered to a call that a test did not expect.
MISSING = Response(404, {"Content-Type": "text/plain"}, b"not in this test")


def text(status: int, body: str, **headers: str) -> Response:
    """An answer that is no JSON, or has another status than 200."""
    return Response(status, headers, body.encode())


def http_date(seconds: int) -> str:
    """The HTTP date that lies so many seconds ahead, as Retry-After has it."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


class Canned:
    """Answers by "METHOD path": a document (JSON, status 200), a Response, or Turns of them.

    The last one of Turns comes for ever. `calls` are those that came.
    """

    def __init__(self, answers: dict[str, Any], *, secret: str | None = None) -> None:
        self._queues = {call: list(given) if isinstance(given, Turns) else [given] for call, given in answers.items()}
        self._secret = secret
        self.calls: list[str] = []
        self.bodies: list[str] = []

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        path = "/" + request.url.partition("://")[2].partition("/")[2].partition("?")[0]
        self.calls.append(f"{request.method} {path}")
        self.bodies.append((request.body or b"").decode())
        queue = self._queues.get(f"{request.method} {path}")
        if not queue:
            return MISSING
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if not isinstance(answer, Response):
            answer = Response(200, {"Content-Type": "application/json"}, _json(answer).encode())
        return answer if self._secret is None else self._signed(request, answer)

    def close(self) -> None:
        """Nothing is open."""

    def _signed(self, request: Request, answer: Response) -> Response:
        """The answer with Bitstamp's own signature ("Authentication", last part)."""
        nonce = request.headers.get("X-Auth-Nonce", "") + request.headers.get("X-Auth-Timestamp", "")
        prefix = nonce + answer.headers.get("Content-Type", "")
        signature = hmac.new(self._secret.encode(), prefix.encode() + answer.body, hashlib.sha256).hexdigest()
        return Response(answer.status, {**answer.headers, "X-Server-Auth-Signature": signature}, answer.body)


class Turns(list):
    """Answers that come one after the other."""


def _json(document: object) -> str:
    """JSON in which Decimals are numbers."""
    out = json.dumps(document, default=lambda number: f"<<{Decimal(number):f}>>")
    return out.replace('"<<', "").replace('>>"', "")
