"""The first view: what the account is worth, and what it owns at each exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.responses import Response

from ..._names import common_name
from ...exchanges.base import Exchange
from ...exchanges.errors import ExchangeError
from ...exchanges.models import Funds
from ...money import plain
from ..db.records import Registration
from ..decisions import DECISIONS, unknown_of
from ..order_views import value_to_json
from ..valuation import Valuation, add_up, value_funds
from ..views.each_registration import read_each
from ..views.shared import record_to_json
from ..worth import keep_worth
from .chart import HEIGHT, WIDTH, draw
from .visits import PAGE_SECONDS, FormFields, Visit

__all__ = ["show_overview"]

_CURRENCIES = ("USD", "EUR", "GBP", "CHF", "JPY", "BTC")
_DAYS = 366


class _Found(NamedTuple):
    """What one exchange said: what is owned there and worth, or why that is not known."""

    registration: Registration
    owned: Mapping[str, Funds] | None = None
    valuation: Valuation | None = None
    reason: str | None = None


async def show_overview(visit: Visit) -> Response:
    """GET /, also ?currency=EUR"""
    params = visit.context().params
    currency = common_name(params.pop_name("currency", default=_CURRENCIES[0]))
    params.finish()

    def read(registration: Registration, exchange: Exchange) -> _Found:
        owned = exchange.funds()
        try:
            return _Found(registration, owned, value_funds(exchange, currency, owned))
        except ExchangeError as error:
            return _Found(registration, owned, reason=f"it is not valued: {error}")

    def failed(registration: Registration, reason: str) -> _Found:
        return _Found(registration, reason=reason)

    store, account = visit.services.store, visit.caller.account.id
    found = await read_each(visit.context(FormFields()), read, failed, seconds=PAGE_SECONDS)
    valuations = [each.valuation for each in found]
    together = add_up(each for each in valuations if each is not None)
    await keep_worth(store, visit.services.threads, visit.caller, currency, valuations)
    days = await visit.read(store.worth.days, account, currency, _DAYS)
    used = await visit.read(store.worth.currencies, account)
    unknown = await visit.read(_count_unknown, visit)
    return await visit.show(
        "overview.html",
        currency=currency,
        currencies=list(dict.fromkeys((*_CURRENCIES, *used, currency))),
        total=plain(together.total),
        missing=[each for each in found if each.valuation is None],
        not_priced={name: value_to_json(amount) for name, amount in together.not_priced.items()},
        days=[{"day": day.day, "total": plain(day.total), "complete": day.complete} for day in days],
        chart=draw(days),
        size=(WIDTH, HEIGHT),
        backends=[_row(each) for each in found],
        unknown=unknown,
    )


def _row(found: _Found) -> dict[str, Any]:
    registration, valuation = found.registration, found.valuation
    return {
        "id": registration.id,
        "exchange": registration.exchange,
        "label": registration.label,
        "total": None if valuation is None else plain(valuation.total),
        "owned": None if found.owned is None else {name: record_to_json(funds) for name, funds in found.owned.items()},
        "reason": found.reason,
    }


def _count_unknown(visit: Visit) -> int:
    account = visit.caller.account.id
    return sum(len(unknown_of(what.journal(visit.services.store), account)) for what in DECISIONS.values())
