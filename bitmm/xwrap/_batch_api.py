"""Many orders in one call: how they are sent, and what becomes of each one whose answer is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from time import monotonic
from typing import Any, TypeVar

from ._api import EXPECTED, JSON_HEADERS, LOOKUP_SHARE, SENDS, ServerAPI, Submission, names_key
from ._records import list_of, object_with, whole_number
from ._responses import apply, bad_answer, error_from_response, name_request, outcome_unknown, read_document, request_id
from .errors import APIError, OutcomeUnknown, RateLimited, Unavailable
from .transport import Request

__all__ = ["submit_many"]

_T = TypeVar("_T")


class _Row:
    """The answer to one order: what a call with it alone would have been answered."""

    def __init__(self, status: int, headers: Mapping[str, Any], body: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def submit_many(
    api: ServerAPI,
    path: str,
    forms: Sequence[Mapping[str, str]],
    parse: Callable[[Any], _T],
    auth: Mapping[str, str],
) -> list[_T | APIError]:
    """POST orders of the registration at `path` together; return for each one what became of it, or why it failed.

    Each form has the `side` and the `key` of its order. When an answer is lost, each of its keys is looked up, and what
    the server never saw is sent again. An error carries its key. Raises what refuses the whole call, before any order
    may have been executed; whatever else ends the call has the keys in a note.
    """
    keys = [form["key"] for form in forms]
    try:
        return _submit(api, path, forms, parse, auth)
    except APIError:
        raise
    except BaseException as error:
        # Ctrl-C, for one.
        error.add_note(f"They may have been executed; backend.order(key=...) says what became of each: {keys!r}.")
        raise


def _submit(
    api: ServerAPI,
    path: str,
    forms: Sequence[Mapping[str, str]],
    parse: Callable[[Any], _T],
    auth: Mapping[str, str],
) -> list[_T | APIError]:
    deadline = monotonic() + api.timeout
    outcomes: dict[str, _T | APIError] = {}
    pending = {form["key"]: form for form in forms}
    for sends in range(SENDS):
        body = json.dumps({"orders": list(pending.values())}).encode()
        request = Request("POST", f"{api.url}{path}/orders/", {**JSON_HEADERS, **auth}, body)
        left = deadline - monotonic() - LOOKUP_SHARE * api.timeout
        id = None
        try:
            response = api.send(request, timeout=left)
            id = request_id(response)
            with name_request(response):
                rows = _rows(read_document(response, mutates=True), len(pending))
        except OutcomeUnknown as error:
            rows = [error] * len(pending)
        except APIError as error:
            if not sends:
                raise
            if not isinstance(error, (Unavailable, RateLimited)):
                outcomes |= dict.fromkeys(pending, error)
            # Else they were certainly not executed this time, and the outcomes of the time before stay unknown.
            break
        for (key, form), row in zip(list(pending.items()), rows, strict=True):
            submission = Submission(request, key, {**EXPECTED[form["side"]], **form}, f"{path}/orders/", auth, deadline)
            outcome, was_seen = _outcome(api, submission, parse, row)
            if isinstance(outcome, APIError):
                outcome.request_id = outcome.request_id or id
            outcomes[key] = outcome
            if was_seen:
                del pending[key]
        if not pending:
            break
    return [_with_key(outcomes[form["key"]], form["key"]) for form in forms]


def _rows(document: Any, count: int) -> list[_Row | OutcomeUnknown]:
    """Return the answers to so many orders. Raises OutcomeUnknown for a document that has not as many."""
    try:
        rows = [object_with(row, "status", "headers", "body") for row in list_of(document)]
        if len(rows) != count:
            raise ValueError(f"it answers {len(rows)} orders, and not {count}")
        return [_Row(whole_number(row["status"]), object_with(row["headers"]), row["body"]) for row in rows]
    except ValueError as error:
        raise bad_answer(error, 200, mutates=True) from error


def _outcome(
    api: ServerAPI, submission: Submission, parse: Callable[[Any], _T], row: _Row | OutcomeUnknown
) -> tuple[_T | APIError, bool]:
    """Return what became of an order, by its row or else by its key; and False when the server never saw its key."""
    try:
        if isinstance(row, OutcomeUnknown):
            raise row
        return _result(submission, parse, row), True
    except OutcomeUnknown as error:
        if error.code == "outcome_unknown":
            return error, True
        words = f"outcome unknown, ask for the key before trying again: {error.reason}"
        unknown = OutcomeUnknown(words, status=error.status, code=error.code)
    except APIError as error:
        return error, True
    try:
        found = api.find_out(submission, parse, None, unknown)
    except APIError as error:
        return error, True
    return (unknown, False) if found is None else (found, True)


def _result(submission: Submission, parse: Callable[[Any], _T], row: _Row) -> _T:
    """Return the order in a row. Raises what a call with it alone would raise for such an answer."""
    if not 200 <= row.status < 300:
        pause = row.headers.get("Retry-After")
        raise error_from_response(row.status, row.body, pause if isinstance(pause, str) else None, mutates=True)
    if row.status == 202:
        raise outcome_unknown(row.body)
    if not names_key(row.body):
        raise bad_answer(ValueError("it does not name the key"), row.status, mutates=True)
    return apply(parse, row.body, status=row.status, mutates=True, expected=submission.expected, executes=True)


def _with_key(outcome: _T | APIError, key: str) -> _T | APIError:
    """Return an outcome; an error with the key of its order, which may be the error of others, too."""
    if isinstance(outcome, APIError):
        if outcome.key not in (None, key):
            outcome = copy(outcome)
        outcome.key = key
    return outcome
