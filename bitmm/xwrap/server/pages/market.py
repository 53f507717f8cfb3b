"""Rates side by side: what an order would cost or bring at each exchange that the server offers, with its fees."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..problems import Problem
from ..views.shared import pop_side
from .visits import FormFields, Visit

__all__ = ["show_rates"]


async def show_rates(visit: Visit) -> Response:
    """GET /page/rates?asset=BTC&currency=USD&side=buy&amount=1"""
    fields = FormFields({"asset": "BTC", "currency": "USD", "side": "buy", "amount": "1", **visit.fields})
    rows: list[dict[str, Any]] = []
    problem = None
    params = visit.context(fields).params
    try:
        pair = params.pop_name("currency"), params.pop_name("asset")
        side, amount = pop_side(params), params.pop_amount()
        params.finish()
        rows = await visit.services.rates.ranked(*pair, side, amount)
    except Problem as error:
        problem = str(error)
    answered = {row["id"] for row in rows}
    silent = [] if problem else [id for id in visit.services.rates.ids() if id not in answered]
    status = 200 if problem is None else 422
    return await visit.show("rates.html", status=status, fields=fields, rows=rows, silent=silent, problem=problem)
