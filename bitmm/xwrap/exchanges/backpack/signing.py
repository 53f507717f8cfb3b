"""How a request to Backpack is written and signed ("Signing requests"); nothing is sent here."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ...money import plain
from ..api import decode_secret
from ..errors import malformed_key

__all__ = ["Value", "json_body", "optional_text", "parameter_texts", "signing_key", "signing_text"]

#: What a parameter may be; None is left out of the request and of the signature.
Value = Decimal | str | int | bool | None


def signing_key(key: str, secret: str) -> Ed25519PrivateKey:
    """Return the signing key. Raises Refused `invalid_request`, without the secret in its words, for a wrong one."""
    raw = decode_secret(secret, "the API secret of Backpack")
    if len(raw) not in (32, 64):
        raise malformed_key(
            f"the API secret (apisecret) has {len(raw)} bytes; one of Backpack is an ed25519 key of 32 or 64 bytes",
            "apisecret",
        )
    private = Ed25519PrivateKey.from_private_bytes(raw[:32])
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if raw[32:] not in (b"", public) or base64.b64encode(public).decode() != key:
        raise malformed_key(
            "the API key (apikey) and the API secret (apisecret) do not belong together; copy both of one key",
            "apikey",
        )
    return private


def optional_text(value: Decimal | int | str | None, name: str) -> str | None:
    """Return an amount in plain digits, None where none is given; `name` is what an error calls it."""
    return None if value is None else plain(value, name)


def parameter_texts(params: Mapping[str, Value] | None) -> dict[str, str]:
    """Return the parameters as they are signed and queried: booleans in lower case, amounts in plain digits."""
    texts = {}
    for name, value in (params or {}).items():
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif value is not None:
            texts[name] = value if isinstance(value, str) else plain(value, name)
    return texts


def signing_text(instruction: str, params: Mapping[str, Value]) -> str:
    """Return what is signed of one instruction: its name and the sorted parameters, raw (not percent-encoded)."""
    pairs = [f"{name}={text}" for name, text in sorted(parameter_texts(params).items())]
    return "&".join((f"instruction={instruction}", *pairs))


def json_body(params: Mapping[str, Value]) -> dict[str, str | int]:
    """Return the parameters as they stand in a JSON body: amounts are text there."""
    given = {name: value for name, value in params.items() if value is not None}
    return {name: plain(value, name) if isinstance(value, Decimal) else value for name, value in given.items()}
