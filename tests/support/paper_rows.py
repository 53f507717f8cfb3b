"""Open orders on paper, many of them with one statement."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from bitmm.xwrap.server.db.price_keys import price_key
from tests.support.databases import sql

__all__ = ["open_many"]

#: What one of them holds.
_HELD = Decimal("0.02")


def open_many(where: Path | str, registration: int, count: int, time: float) -> None:
    """Open so many orders, as if they had been placed at a time (Unix seconds) far below the price of BTC/USD.

    The registration must have an open order there that was placed at the same time.
    """
    columns = "registration_id, client_id, side, currency, asset, amount, price, price_key, status, held"
    key = price_key(Decimal(1))
    values = f"{registration}, 'many' || n, 'buy', 'USD', 'BTC', '0.01', '1.00', '{key}', 'open', '{_HELD}'"
    times = f"{int(time // 60)}, {int(time * 1_000_000)}, '2026-01-01T00:00:00.000000Z'"
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
    insert = f"INSERT INTO paper_orders ({columns}, checked, looked, created)"
    sql(where, f"{insert} {numbers} SELECT {values}, {times} FROM numbers WHERE n <= {count}")
    sql(where, f"UPDATE paper_markets SET open_orders = open_orders + {count} WHERE registration_id = {registration}")
    usd = f"registration_id = {registration} AND currency = 'USD'"
    held = Decimal(sql(where, f"SELECT held FROM paper_balances WHERE {usd}")[0][0]) + count * _HELD
    sql(where, f"UPDATE paper_balances SET held = '{held}' WHERE {usd}")
