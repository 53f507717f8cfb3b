"""The tables of the paper exchange, for SQLite and PostgreSQL alike; `tables` has the others.

They are its ledgers: what really happened there, apart from the journals.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text

from .tables import OPEN, metadata

__all__ = [
    "OPEN_LIMITS",
    "OPEN_STOPS",
    "OPEN_WITH_END",
    "balances",
    "entries",
    "fills",
    "markets",
    "orders",
    "sends",
]

_Id = BigInteger().with_variant(Integer, "sqlite")

#: The conditions of partial indexes; see `tables.OPEN`.
OPEN_LIMITS = text("status = 'open' AND stop IS NULL")
OPEN_STOPS = text("status = 'open' AND stop IS NOT NULL")
OPEN_WITH_END = text("status = 'open' AND expires IS NOT NULL")
#: The columns that name a market of a registration.
_MARKET = ("registration_id", "currency", "asset")


def _registration_id(*, primary_key: bool = False) -> Column[int]:
    key = ForeignKey("registrations.id", ondelete="CASCADE")
    return Column("registration_id", _Id, key, nullable=False, primary_key=primary_key)


#: The balances of registrations. `held`: what the open orders hold of it in all, to the last digit.
balances = Table(
    "paper_balances",
    metadata,
    _registration_id(primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("total", Text, nullable=False),
    Column("held", Text, nullable=False, server_default=text("'0'")),
)

#: The markets in which a registration has open orders on paper: how many, and up to which minute (since 1970) and look
#: (microseconds since 1970) all of them were held against its prices.
markets = Table(
    "paper_markets",
    metadata,
    _registration_id(primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("asset", Text, primary_key=True),
    Column("open_orders", Integer, nullable=False),
    Column("checked", BigInteger, nullable=False),
    Column("looked", BigInteger, nullable=False),
)

#: Every change of a balance. The sum of a currency's entries is its balance, to the last digit.
entries = Table(
    "paper_entries",
    metadata,
    Column("id", _Id, primary_key=True),
    _registration_id(),
    Column("kind", Text, nullable=False),
    Column("reference", Text),
    Column("currency", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("created", Text, nullable=False),
)

#: `held` of the currency (buy) or asset (sell) is not available while the order is open; `checked` is the minute of
#: prices (since 1970) that it was placed at. `looked` is the time of the last look at the market by which some of it
#: was filled, or it was placed (microseconds since 1970). `stop`: the price that it waits for; null once it was
#: reached. `value` and `charge` are the exact sums of what its fills cost and of their fees, null where it was filled
#: before there were such. `price_key`: of an order that is open, its stop or else its limit as a text that sorts as the
#: prices do.
orders = Table(
    "paper_orders",
    metadata,
    Column("id", _Id, primary_key=True),
    _registration_id(),
    Column("client_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("price", Text),
    Column("status", Text, nullable=False),
    Column("held", Text, nullable=False),
    Column("average", Text),
    Column("spent", Text),
    Column("fee", Text),
    Column("checked", BigInteger, nullable=False),
    Column("created", Text, nullable=False),
    Column("expires", Text),
    Column("reason", Text),
    Column("stop", Text),
    Column("filled", Text),
    Column("value", Text),
    Column("charge", Text),
    Column("looked", BigInteger),
    Column("price_key", Text),
    UniqueConstraint("registration_id", "client_id"),
    Index("ix_paper_orders_open", "registration_id", info={"where": OPEN}),
    *(
        Index(f"ix_paper_orders_{name}", *_MARKET, *columns, info={"where": where})
        for name, columns, where in (
            ("limits", ("side", "price_key"), OPEN_LIMITS),
            ("stops", ("side", "price_key"), OPEN_STOPS),
            ("ends", ("expires",), OPEN_WITH_END),
        )
    ),
)

fills = Table(
    "paper_fills",
    metadata,
    Column("id", _Id, primary_key=True),
    _registration_id(),
    Column("order_id", _Id, ForeignKey("paper_orders.id", ondelete="CASCADE"), nullable=False),
    Column("price", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("fee", Text, nullable=False),
    Column("created", Text, nullable=False),
    Index("ix_paper_fills_registration_id_id", "registration_id", "id"),
)

sends = Table(
    "paper_sends",
    metadata,
    Column("id", _Id, primary_key=True),
    _registration_id(),
    Column("client_id", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("created", Text, nullable=False),
    UniqueConstraint("registration_id", "client_id"),
)
