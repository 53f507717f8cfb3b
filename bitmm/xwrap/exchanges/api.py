"""What the API classes of the exchanges share: where they send to, how, and what was answered last."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..transport import Transport
from .base import Throttle, no_throttle
from .errors import malformed_key
from .http import send

if TYPE_CHECKING:
    from ..transport import Request, Response

__all__ = ["ExchangeAPI", "NonceCounter", "decode_secret"]


class ExchangeAPI:
    """The base of KrakenAPI, BitstampAPI and the others, each of which can be used alone in a script.

        with KrakenAPI(key, secret) as api:
            orders = api.private("OpenOrders")
            seconds = api.response.headers.get("Age")

    Every one has `signed(...)`, which returns the signed request of a private call and sends nothing, and `public(...)`
    and `private(...)`, which send one request and return the decoded answer with exact numbers. They raise what an
    adapter raises: Refused, Busy, and Unknown when a call that moves something may have been executed. Nothing is
    repeated. What is printed of them never shows a key.

    `url`: the base URL. `session`: a requests.Session of the caller's. `transport`: a Transport to share. `throttle`:
    waits until the exchange's limits allow one more request.
    """

    #: What an error's words call the exchange.
    name: ClassVar[str]

    def __init__(
        self,
        key: str = "",
        *,
        url: str,
        session: Any = None,
        transport: Transport | None = None,
        throttle: Throttle = no_throttle,
    ) -> None:
        self.key = key
        self.url = url.rstrip("/")
        self.transport = transport or Transport()
        self.throttle = throttle
        #: The last answer, complete: `status_code`, `headers`, `text`, `json()`. None before the first.
        self.response: Response | None = None
        self._session_in_use = False
        if session is not None:
            self.session = session

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a caller's session stays open."""
        self.transport.close()

    @property
    def session(self) -> Any:
        """The requests.Session whose headers, proxies, certificates, cookies, hooks and adapters count.

        It may be changed, or another one assigned: the next call uses it. Without a session of the caller's it counts
        from the first look at this attribute; until then each call is spared the time that a session takes.
        """
        if not self._session_in_use:
            self.session = self.transport.session
        return self.transport.session

    @session.setter
    def session(self, session: Any) -> None:
        # A transport of its own: a shared one stays as it is.
        self.transport = Transport(timeout=self.transport.timeout, session=session)
        self._session_in_use = True

    def _send(self, request: Request, *, mutates: bool) -> Response:
        """Send `request` once, keep the answer in `response` and return it, whatever its status.

        Called under `throttle`, and the request is made there, too: nonces and times rise in the order of sending.
        `mutates`, and what is raised: see `http.send`.
        """
        self.response = send(self.transport, request, self.name, mutates=mutates)
        return self.response


class NonceCounter:
    """Strictly rising integers for one key in one program, from any thread: `counter()` returns the next one.

    `clock` gives integers, by default the microseconds since 1970; one that stands still or goes back is overtaken.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, self._clock())
            return self._last


def decode_secret(secret: str, name: str) -> bytes:
    """Return the bytes of a secret in base64. Raises Refused `invalid_request` in words that call it `name`."""
    try:
        return base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        reason = f"{name} (apisecret) is not base64 text; copy it again, whole and without anything around it"
        raise malformed_key(reason, "apisecret") from None
