"""How much of the asset an order by cost brought: what the trades that filled it add up to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ...money import EXACT, mean, parse_unsigned, total
from ..errors import Busy, Refused
from ..http import PARSING_ERRORS
from ..models import OrderState
from .api import KrakenAPI

__all__ = ["with_amount"]

#: The most trades in one QueryTrades ("Query Trades Info").
_TOGETHER = 20


def with_amount(api: KrakenAPI, state: OrderState, row: Mapping[str, Any]) -> OrderState:
    """Return the state of an order that is over with its exact amount, where its `row` counts the currency alone.

    `row` was asked for with its trades. Where they cannot be read, or are not all there yet, the amount stays unknown.
    Raises Busy at a rate limit.
    """
    ids = row.get("trades")
    if state.filled is not None or state.spent is None or state.status == "open" or not isinstance(ids, list):
        return state
    trades: dict[str, Any] = {}
    with suppress(*PARSING_ERRORS):
        try:
            for start in range(0, len(ids), _TOGETHER):
                trades |= api.private("QueryTrades", {"txid": ",".join(ids[start : start + _TOGETHER])})
        except Busy:
            raise
        except Refused:
            return state
        filled, cost = (total(parse_unsigned(trades[id][name]) for id in ids) for name in ("vol", "cost"))
        if filled and _is_same(cost, state.spent, len(ids)):
            return replace(state, filled=filled, average=mean(state.spent, filled))
    return state


def _is_same(cost: Decimal, spent: Decimal, roundings: int) -> bool:
    """Return whether the costs of trades are that of their order but for roundings in the last place that both have."""
    places = max(int(cost.as_tuple().exponent), int(spent.as_tuple().exponent))
    return abs(EXACT.subtract(cost, spent)) <= EXACT.scaleb(Decimal(roundings + 1), places)
