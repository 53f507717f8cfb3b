"""What anybody may ask: the exchanges, and their prices."""

from __future__ import annotations

from typing import Any

from ..forms import Fields
from ..house import House


async def list_exchanges(house: House, fields: Fields) -> list[dict[str, Any]]:
    """GET /list_exchanges/"""
    fields.end()
    return house.directory.public()


async def exchange_rates(house: House, fields: Fields) -> list[dict[str, Any]]:
    """GET /exchange_rates/?from=USD&to=BTC"""
    currency, asset = fields.take_name("from"), fields.take_name("to")
    fields.end()
    return await house.rates.all(currency, asset, lambda ask: house.run(house.outbound, ask))
