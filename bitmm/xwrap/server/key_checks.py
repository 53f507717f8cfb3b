"""What is checked of an exchange key before it is kept: its form, that its exchange accepts it, and what it may do."""

from __future__ import annotations

from typing import NamedTuple

from ..exchanges.base import Credentials, Exchange
from ..exchanges.capabilities import supports
from ..exchanges.errors import ExchangeError, Refused
from .params import Params
from .problems import Problem, from_exchange
from .registry import ExchangeRegistry

__all__ = ["KeyFacts", "check_permissions", "key_hint", "not_tried", "pop_credentials", "try_key"]

_STANDARD = ("username", "apikey", "apisecret")
#: The codes of an exchange that cannot be asked about a key, and of a key that was accepted and may not ask.
_CANNOT_BE_ASKED = {"unsupported", "permission_denied", "exchange_url_missing"}
#: After so many seconds a registration may be tried again whose exchange did not say when.
_TRY_AGAIN_SECONDS = 10


def pop_credentials(kind: type[Exchange], params: Params, *, username: str = "") -> Credentials:
    """Return what the exchange's form asks for, and leave nothing. Raises Problem for what is missing or not asked for.

    The fields of 2013 may always be there; one that the exchange has no use for is not kept. `username`: what it is
    where it is not given.
    """
    standard = {name: params.pop_text(name, limit=8192, default="") for name in _STANDARD}
    standard["username"] = standard["username"] or username
    given: dict[str, str] = {}
    for field in kind.form:
        texts = params.pop_optional({field.name, *field.also})
        given[field.name] = standard.get(field.name) or next((text for text in texts.values() if text), "")
        if field.required and not given[field.name]:
            problem = f"{kind.name} needs '{field.name}': {field.help}; its form is {_form_in_words(kind)}"
            raise Problem(422, "invalid_request", problem, field=field.name)
    unknown = params.remaining()
    if unknown:
        problem = f"{kind.name} has no field '{unknown[0][:40]}'; its form is {_form_in_words(kind)}"
        raise Problem(422, "invalid_request", problem, field=unknown[0][:40])
    return Credentials(
        username=standard["username"][:255],
        apikey=given.pop("apikey", ""),
        apisecret=given.pop("apisecret", ""),
        more={name: value for name, value in given.items() if value and name != "username"},
    )


def _form_in_words(kind: type[Exchange]) -> str:
    names = [field.name if field.required else f"{field.name} (if you like)" for field in kind.form]
    return ", ".join(names) or "empty"


class KeyFacts(NamedTuple):
    """What an exchange says about a key: what it may do, and its account; None where it does not tell."""

    permissions: list[str] | None
    account_id: str | None


def try_key(registry: ExchangeRegistry, id: str, credentials: Credentials, account: int) -> KeyFacts:
    """Return what the exchange says about a key of an account of ours.

    Raises Problem for what it refuses for good, a wrong key or a wrong form, and for a key that could not be tried now.
    """
    permissions: list[str] | None = None
    try:
        with registry.exchange(id, credentials, account=account) as exchange:
            if "permissions" in supports(type(exchange)):
                permissions = sorted(exchange.permissions())
            else:
                _check_key(exchange)
            return KeyFacts(permissions, exchange.account_id())
    except ExchangeError as error:
        if error.code in _CANNOT_BE_ASKED:
            return KeyFacts(permissions, None)
        raise not_tried(error) if error.retryable else from_exchange(error) from error


def _check_key(exchange: Exchange) -> None:
    """Raise Refused when the exchange does not accept the key, when the key cannot be one, or when it cannot say so
    now: a read shows it.

    A mistyped secret could not be corrected later, because a key is registered once. A read that is refused for good
    for another reason shows that the key was accepted, or says nothing about it.
    """
    try:
        exchange.funds()
    except Refused as error:
        if error.retryable or error.code == "exchange_key_refused" or "field" in error.details:
            raise


def not_tried(error: ExchangeError) -> Problem:
    """Return the problem of a key that the exchange could not be asked about: with a wrong secret it would be kept."""
    problem = from_exchange(error, "the key could not be tried, so it was not kept")
    problem.headers.setdefault("Retry-After", str(_TRY_AGAIN_SECONDS))
    return problem


def check_permissions(kind: type[Exchange], permissions: list[str] | None, *, allow_send: bool) -> None:
    """Raise Problem 422 `key_may_send` for a key that may withdraw where no send is meant to leave.

    Who gets hold of the server, or of such a key on its way, could send everything away. Paper has no money to lose.
    """
    if allow_send or kind.lifecycle == "paper" or "send" not in (permissions or ()):
        return
    raise Problem(
        422,
        "key_may_send",
        f"{kind.name} says that this key may withdraw; make a key there without that right and register that one, or"
        " say allow_send=true if this registration is to send",
        field="allow_send",
    )


def key_hint(apikey: str) -> str:
    """Return the beginning of a key, by which its owner recognises it; of a short key not even that."""
    if not apikey:
        return ""
    return f"{apikey[:3]}…" if len(apikey) >= 8 else "…"
