"""Whether exchanges refuse the keys of registrations: noticed at every signed call, for the notices."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..exchanges.base import Throttle
from ..exchanges.errors import ExchangeError
from .db.errors import UNUSABLE, driver_message
from .db.notices import NoticeStore
from .db.records import Registration

__all__ = ["watch_key"]

_log = logging.getLogger(__name__)


def watch_key(notices: NoticeStore, registration: Registration, throttle: Throttle) -> Throttle:
    """Return the throttle of a registration, which also writes when its key is refused, and when it is accepted again.

    No call fails because that cannot be written. Where there is no receiver of notices, it is the throttle itself.
    """
    if not notices.wanted:
        return throttle

    @contextmanager
    def watched(call: str, *, signed: bool) -> Iterator[None]:
        try:
            with throttle(call, signed=signed):
                yield
        except ExchangeError as error:
            if signed and error.code == "exchange_key_refused":
                _write(notices, registration, is_refused=True)
            raise
        if signed and registration.key_refused is not None:
            _write(notices, registration, is_refused=False)

    return watched


def _write(notices: NoticeStore, registration: Registration, *, is_refused: bool) -> None:
    try:
        if is_refused:
            notices.key_refused(registration)
        else:
            notices.key_accepted(registration)
    except UNUSABLE as error:
        _log.warning("whether the key of registration %d is refused: %s", registration.id, driver_message(error))
