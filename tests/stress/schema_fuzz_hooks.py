"""What schemathesis is told besides the document. `schema_fuzz` starts a process for each scope, which loads this.

`FUZZ_OWNER`, in the environment, is the account's own login, as NAME:PASSWORD.
"""

from __future__ import annotations

import itertools
import os

import requests
import schemathesis

from bitmm.xwrap.codes import CODES

#: Without it nothing can be called: then the module is only looked at.
OWNER = tuple(os.environ.get("FUZZ_OWNER", "").split(":", 1))
#: The statuses, besides the one that codes.py has, with which it says that a code may come.
OTHER_STATUSES = {"too_large": {414, 431}}
#: What the document has in words alone, because it depends on other fields, on what is stored, on the time or on more
#: than a pattern says: in the words of the refusal.
IN_WORDS_ALONE = (
    "no text (NUL)",
    "it must be above zero",
    "its form is",
    "nothing to change",
    "no such registration",
    "of at most 100",
    "which is no pair",
    "is on the list already",
    "is counted in it",
    "is that of the limits",
    "write a time with its zone in the future",
    "it must be a time",
    "lies ahead",
    "this is no cursor of",
    "is the registration that it comes from",
    "is no name of a credential",
    "cannot be printed",
    "control or direction character",
    "an order has either an amount or",
    "is for buys at one exchange",
    "is for orders with a price",
    "is for GTD orders alone",
    "needs 'expires'",
    "'expires' has a fraction of a second",
    "'expires' is not ahead",
    "a post_only order cannot be",
    "an order with a 'stop'",
    "is that of another order here",
)
#: A field that is known, but not beside that one, or not at this registration's exchange.
NOT_HERE = "is not a field of this call"
#: Fields of a query beside which others are not known.
BESIDE = {"key", "after", "wait"}
#: The codes of a request that is not as the document has it, whatever is stored.
MALFORMED = {"invalid_amount", "invalid_request", "malformed_request", "too_large", "unsupported_media_type"}
#: In three of four bodies that the document allows, what the paper exchange can do: else no order would be placed.
POSSIBLE = {
    "exchange": "paper",
    "exchanges": "1",
    "currency": "USD",
    "asset": "BTC",
    "amount": "0.01",
    "cost": "100",
    "price": "100",
    "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "expires": "2999-01-01T00:00:00Z",
}
#: The fields of a registration at the paper exchange, which has no keys.
OF_PAPER = {"exchange", "label", "allow_send", "enabled", "account"}

_numbers = itertools.count()


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Let each call come from another address, and change those after which all others would be refused alike.

    The throttle of wrong passwords and the shares of the threads count for each address: one caller would be answered
    429. Without the password that this run has, every call would be answered 401; without registration 1, 404.
    """
    number = next(_numbers)
    case.headers["X-Forwarded-For"] = f"198.{18 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
    if str((case.query or {}).get("wait")).isdigit() and int(case.query["wait"]) <= 30:
        case.query["wait"] = "0"  # it would only take time
    is_first = str((case.path_parameters or {}).get("id")) == "1"
    if is_first and (case.method, case.path) == ("DELETE", "/exchanges/{id}"):
        case.path_parameters["id"] = 10**9
    if not isinstance(case.body, dict):
        return
    if not is_allowed(case):
        # A form leaves out a field whose value is null or empty: what is left may be what the document allows.
        case.body = {name: "" if value is None or value in ([], {}) else value for name, value in case.body.items()}
        return
    if case.path == "/account":
        case.body["password"] = OWNER[1]
    if number % 4:
        case.body |= {name: value for name, value in POSSIBLE.items() if name in case.body}
        if case.path in {"/exchanges", "/exchanges/{id}"}:
            case.body = {name: value for name, value in case.body.items() if name in OF_PAPER} | {"label": "spare"}
    if is_first and "enabled" in case.body:
        case.body["enabled"] = "true"


@schemathesis.hook
def after_call(_context, case, response):
    """Lift a freeze: only the owner may, and every order after it would be refused."""
    if (case.method, case.path, response.status_code) == ("POST", "/freeze", 200):
        requests.delete(case.operation.base_url + "/freeze", auth=OWNER, timeout=30).raise_for_status()


@schemathesis.check
def an_error_has_the_status_of_its_code(_ctx, response, _case):
    """The document has `default` for all errors; codes.py says with which status each of them comes."""
    if response.status_code < 400 or not response.content:
        return
    code = response.json()["code"]
    told = {CODES[code].status} | OTHER_STATUSES.get(code, set())
    assert response.status_code in told, f"{code} came with {response.status_code}"


@schemathesis.check
def the_document_is_as_strict_as_the_server(_ctx, response, case):
    """A request that the document allows is never called malformed.

    It may be refused: a market that is not traded, too little money, and what `IN_WORDS_ALONE` lists.
    """
    if response.status_code not in {400, 413, 414, 415, 422} or not is_allowed(case):
        return
    answer = response.json()
    words = (*IN_WORDS_ALONE, NOT_HERE) if case.method == "PATCH" or BESIDE & set(case.query or {}) else IN_WORDS_ALONE
    assert answer["code"] not in MALFORMED or any(each in answer["detail"] for each in words), answer["detail"]


def is_allowed(case) -> bool:
    """Return whether the request was made to be one that the document allows."""
    return bool(case.meta and case.meta.generation.mode.is_positive)
