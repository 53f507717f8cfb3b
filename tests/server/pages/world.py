"""An account with something in every view: what the tests of the page, and its pictures, show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sin
from typing import Any

import requests

from bitmm.xwrap.client import XWrap
from tests.conftest import Server

__all__ = ["VIEWS", "populate"]

#: Every view by its name, with its path; ID is that of the first registration.
VIEWS = {
    "overview": "/",
    "rates": "/page/rates",
    "orders": "/page/orders",
    "unknown": "/page/unknown",
    "keys": "/page/keys",
    "key": "/page/keys/ID",
    "new-key": "/page/new-key?exchange=kraken",
    "credentials": "/page/credentials",
    "freeze": "/page/freeze",
    "audit": "/page/audit",
    "health": "/page/health",
}


def populate(server: Server, name: str = "ann", venue: Any = None, *, days: int = 90) -> tuple[tuple[str, str], int]:
    """Fill an account; return its user name with its password, and the id of its first registration.

    `venue`: a local Kraken, at which it has a key, too. With a long `reconcile_grace_seconds` of the server the unknown
    order stays unknown.
    """
    auth = server.account(name)
    xw = XWrap(server.url)
    backend = xw.create_backend(*auth, "paper", name, "", "", label="grid bot")
    for price in ("12500", "13250.5"):
        backend.buy("USD", "BTC", "0.05", price=price, key=f"{name}-{price}")
    backend.sell("USD", "BTC", "0.123", key=f"{name}-sold")
    backend.deadman(3600)
    xw.add_credential(*auth, "bot1", "trade", pairs=["BTC/USD"], per_order="500", per_day="5000", currency="USD")
    xw.add_credential(*auth, "reports", "read")
    if venue is not None:
        form = {"exchange": "kraken", "apikey": venue.key, "apisecret": venue.secret, "label": "savings"}
        server.registration(auth, **form)
    _add_unknown(server, backend)
    _add_worth(server, auth, days)
    return auth, backend.id


def _add_unknown(server: Server, backend: Any) -> None:
    """Make the outcome of an order unknown, as a crash before its answer does at an exchange that cannot say."""
    backend.buy("USD", "BTC", "0.01", price="11000", key="lost")
    server.sql(
        "UPDATE orders SET status = 'unknown', exchange_order_id = NULL, client_id = 'xw-5f0e81' WHERE key = 'lost'"
        " AND registration_id = :registration",
        registration=backend.id,
    )


def _add_worth(server: Server, auth: tuple[str, str], days: int) -> None:
    """Write a line of days that ends near what the account is worth."""
    answer = requests.get(f"{server.url}/value?currency=USD", auth=auth, timeout=30).json()
    total = Decimal(answer["total"])
    today = datetime.now(UTC).date()
    [[account]] = server.sql("SELECT id FROM accounts WHERE name = :name", name=auth[0])
    rows = []
    for ago in range(1, days):
        wave = Decimal(str(round(0.02 * sin(ago / 5) + 0.013 * sin(ago * 1.7) - ago * 0.0014, 5)))
        complete = ago % 41 != 0
        worth = total * (1 + wave) * (1 if complete else Decimal("0.93"))
        day = (today - timedelta(days=ago)).isoformat()
        rows.append(f"({account}, 'USD', '{day}', '{worth:.2f}', {str(complete).lower()}, '', '')")
    columns = "account_id, currency, day, total, complete, updated, asked"
    server.sql(f"INSERT INTO worth ({columns}) VALUES {', '.join(rows)}")
