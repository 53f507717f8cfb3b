"""Calls of Kraken that move money, and which of its refusals are a proof that nothing was executed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..errors import Busy, ExchangeError, Refused, Unknown
from ..http import unproved
from .ledger import KrakenLedger
from .parsing import has_no_nonce_window

__all__ = ["KrakenSubmissions"]

#: The codes of refusals that depend on more than the request: on funds, limits, what is left of an order book.
_REPEATABLE = {"insufficient_funds", "invalid_amount", "would_take", "exchange_refused"}


class KrakenSubmissions(KrakenLedger):
    """What the verbs that move money call."""

    def _execute(self, method: str, form: Mapping[str, object]) -> Any:
        """Return the result of a call that moves money.

        A refusal that another delivery could cause is a proof only where that delivery would have used up the nonce.
        """
        try:
            return self.api.private(method, form)
        except Refused as error:
            if (unknown := self._unproved(error)) is None:
                raise
            raise unknown from error

    def _unproved(self, error: ExchangeError) -> Unknown | Busy | None:
        """Return what a refusal is that another delivery could cause; None: it is what it says."""
        if not isinstance(error, Refused) or error.code not in _REPEATABLE or self._refuses_used_nonces():
            return None
        return unproved(error)

    def _refuses_used_nonces(self) -> bool:
        """Return whether the key has no nonce window, as it was within the last hour; False when that cannot be read.

        A window lets older nonces in, and Kraken does not promise that it keeps used ones out.
        """
        read = partial(self.api.private, "GetApiKeyInfo")
        try:
            return self._cached(f"nonce window of {self.api.key}", read, has_no_nonce_window)
        except Refused:
            return False
