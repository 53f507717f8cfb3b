"""What a registration at an exchange of ccxt asks its user for, and what ccxt's object is given of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..base import Credentials, Field

__all__ = ["credentials_and_options", "form_of", "missing_credentials", "missing_options", "secrets_of"]

#: ccxt's credentials (`requiredCredentials` of a class names those that it needs) -> our fields. Nothing else that a
#: user gives becomes an attribute of a ccxt object. "password" is the caller's own at `create_backend`.
_CREDENTIALS = {
    "apiKey": Field("apikey", "the API key"),
    "secret": Field("apisecret", "the secret of the API key", secret=True),
    "password": Field(
        "passphrase", "the passphrase (or password) that belongs to the API key", secret=True, also=("password",)
    ),
    "uid": Field("uid", "the user's id at the exchange"),
    "accountId": Field("accountId", "the account's id at the exchange"),
    "login": Field("login", "the login name"),
    "twofa": Field("twofa", "the seed of the one-time passwords", secret=True),
    "privateKey": Field("privateKey", "the wallet's private key", secret=True),
    "walletAddress": Field("walletAddress", "the wallet's address", also=("wallet",)),
    "token": Field("token", "the access token", secret=True),
}
#: Credentials that a class uses for some calls and does not name as required. NDAX: `sign_in` and `withdraw`.
_OPTIONAL = {"ndax": ("twofa",)}
#: Credentials without which a class can neither read nor trade, although it does not name them as required.
_NEEDED = {"pacifica": ("walletAddress",)}
#: Options without which a class of ccxt places no order, by their names there. Bitvavo records with each order who, or
#: which program, is responsible for it; CEX.IO lets an API key trade from a sub-account only.
_OPTIONS = {
    "bitvavo": (Field("operatorId", "a whole number of your own choice for the trader or program that orders"),),
    "cex": (Field("accountId", "the name of the sub-account that trades"),),
    "derive": (Field("subaccount_id", "the number of the subaccount that trades"),),
}


def form_of(id: str, required: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the form of ccxt's class `id`, whose `requiredCredentials` are given."""
    asked = [field for name, field in _CREDENTIALS.items() if required.get(name) or name in _NEEDED.get(id, ())]
    optional = [replace(_CREDENTIALS[name], required=False) for name in _OPTIONAL.get(id, ())]
    return (*asked, *optional, *_OPTIONS.get(id, ()))


def missing_credentials(form: tuple[Field, ...], id: str, keys: Credentials) -> list[str]:
    """Return the names of the credentials that ccxt's class `id` needs and the keys do not have."""
    options = _OPTIONS.get(id, ())
    return [field.name for field in form if field.required and field not in options and not _value(keys, field)]


def missing_options(id: str, keys: Credentials) -> list[str]:
    """Return the names of the options without which ccxt's class `id` places no order, and which the keys do not have:
    those of a registration that is older than these fields. It can still be read.
    """
    return [field.name for field in _OPTIONS.get(id, ()) if not _value(keys, field)]


def credentials_and_options(id: str, keys: Credentials) -> tuple[dict[str, str], dict[str, str]]:
    """Return the credentials and the options that an object of ccxt's class `id` is given of the keys, by ccxt's names.

    It does not get to see anything else that a user gave.
    """
    options = {field.name: _value(keys, field) for field in _OPTIONS.get(id, ())}
    credentials = {name: _value(keys, field) for name, field in _CREDENTIALS.items() if name not in options}
    return _without_empty(credentials), _without_empty(options)


def secrets_of(keys: Credentials) -> list[str]:
    """Return the names of the secret fields that the keys have."""
    return [field.name for field in _CREDENTIALS.values() if field.secret and _value(keys, field)]


def _without_empty(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _value(keys: Credentials, field: Field) -> str:
    texts = {"apikey": keys.apikey, "apisecret": keys.apisecret, **keys.more}
    return next((texts[name] for name in (field.name, *field.also) if texts.get(name)), "")
