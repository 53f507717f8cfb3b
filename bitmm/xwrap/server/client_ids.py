"""Our own ids of orders and sends at the exchanges.

They are derived from the master key, the registration and the caller's key, so that an order can be looked up at its
exchange by the key alone when the journal was lost.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Sequence

__all__ = ["ClientIds"]

#: How many ids a key can have. It gets the next one when it is begun anew, after its order was certainly not executed,
#: so that what is known of one attempt is never taken for the other; the last one serves all further attempts.
_ATTEMPTS = 5


class _KeyIds(Sequence[str]):
    """The ids that the order or send with a key can have, by its attempt: 32 hexadecimal digits of a UUID.

    They are those of random UUIDs (RFC 9562, version 4), because some exchanges take no others. Each is derived when it
    is asked for: nearly every order has but one attempt.
    """

    def __init__(self, secret: bytes, journal: str, registration_id: int, key: str) -> None:
        self._secret = secret
        self._of = f"{journal}\0{registration_id}", key

    def __len__(self) -> int:
        return _ATTEMPTS

    def __getitem__(self, attempt: int) -> str:  # type: ignore[override]  # nobody takes a slice
        if attempt not in range(_ATTEMPTS):
            raise IndexError(attempt)
        place, key = self._of
        digest = hmac.digest(self._secret, f"{place}\0{attempt}\0{key}".encode(), "sha256")
        return uuid.UUID(bytes=digest[:16], version=4).hex


class ClientIds:
    """The client ids of one installation. `secret`: `Vault.client_id_secret`."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, journal: str, registration_id: int, key: str) -> Sequence[str]:
        """Return the ids that the order or send with a key can have."""
        return _KeyIds(self._secret, journal, registration_id, key)
