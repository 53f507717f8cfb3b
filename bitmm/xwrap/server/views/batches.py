"""Many orders in one call, each under its own key."""

from __future__ import annotations

import json
from typing import Any

from ...exchanges.conditions import check_conditions
from ...exchanges.errors import ExchangeError
from ...exchanges.models import NewOrder
from ..context import RequestContext, check_key
from ..order_views import StoredAnswer
from ..params import BODY, MAX_BODY, Params, bad_field
from ..problems import Problem, from_exchange
from .orders import pop_order
from .shared import pop_side

#: As many as Kraken takes with one request.
_MOST = 15


def place_many(context: RequestContext) -> StoredAnswer:
    """POST /exchanges/ID/orders/"""
    if context.idempotency_key() is not None:
        raise Problem(
            422,
            "invalid_request",
            "each order of this call has its own 'key', and the header Idempotency-Key is for a call with one order;"
            " nothing was sent",
            field="Idempotency-Key",
        )
    orders = _parse_orders(context.params.pop_text(BODY, limit=MAX_BODY))
    answers = context.services.batches.place_many(context.caller, context.registration(), orders)
    return StoredAnswer(200, f"[{','.join(map(_to_row, answers))}]")


def _to_row(answer: StoredAnswer) -> str:
    """Return an answer as a row: what it would be in a call of its own; `text` is JSON, and stays as it is."""
    return f'{{"status":{answer.status},"headers":{json.dumps(dict(answer.headers))},"body":{answer.text}}}'


def _parse_orders(text: str) -> dict[str, NewOrder]:
    """Return the orders in `{"orders": [...]}`, by their keys. Raises Problem 422, which names the order."""
    try:
        document = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_refuse)
        # Half of a surrogate pair is no text, and "\\ud800" is how JSON writes one.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise bad_field(BODY, "is no JSON") from None
    rows = document[0][1] if isinstance(document, _Pairs) and [name for name, _ in document] == ["orders"] else None
    if not isinstance(rows, list) or isinstance(rows, _Pairs):
        raise bad_field("orders", 'is missing, or not alone; write {"orders": [{...}, ...]}')
    if not 1 <= len(rows) <= _MOST:
        raise bad_field("orders", f"has {len(rows)} orders; it must have 1 to {_MOST}")
    orders: dict[str, NewOrder] = {}
    for number, row in enumerate(rows):
        key, order = _parse_order(f"orders[{number}]", row)
        if key in orders:
            raise bad_field(f"orders[{number}].key", "is that of another order here; each order has its own")
        orders[key] = order
    return orders


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON: its names and values, as they stand there."""


def _refuse(name: str) -> None:
    raise ValueError(name)


def _parse_order(name: str, row: Any) -> tuple[str, NewOrder]:
    """Return the key and the order of a row called `name`. Raises Problem 422, which names the row and its field."""
    if not isinstance(row, _Pairs):
        raise bad_field(name, "is no object")
    try:
        params = Params([(field, _to_text(field, value)) for field, value in row])
        key = params.pop_text("key")
        check_key(key, "key")
        order = pop_order(params, pop_side(params))
        params.finish()
        check_conditions(order)
    except ExchangeError as error:
        raise _named(name, from_exchange(error)) from error
    except Problem as problem:
        raise _named(name, problem) from problem
    return key, order


def _to_text(field: str, value: Any) -> str:
    """Return a value as a form has it. Raises Problem 422 for one that is neither text nor true or false."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise bad_field(field[:40], 'is no text; write amounts as text, like "0.1"')
    return value


def _named(name: str, problem: Problem) -> Problem:
    more = {**problem.more, "field": f"{name}.{problem.more.get('field', '')}".rstrip(".")}
    return Problem(problem.status, problem.code, f"{name}: {problem}; no order of this call was sent", **more)
