"""What open orders on paper hold in all, their markets, and the keys of their prices."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_EXACT = Context(prec=1000, traps=[Inexact])
_MARKET = ["registration_id", "currency", "asset"]
_INDEXES = (
    ("ix_paper_orders_limits", [*_MARKET, "side", "price_key"], "status = 'open' AND stop IS NULL"),
    ("ix_paper_orders_stops", [*_MARKET, "side", "price_key"], "status = 'open' AND stop IS NOT NULL"),
    ("ix_paper_orders_ends", [*_MARKET, "expires"], "status = 'open' AND expires IS NOT NULL"),
)
_SOME_OPEN = sa.text("SELECT * FROM paper_orders WHERE status = 'open' AND id > :after ORDER BY id LIMIT 1000")


def upgrade() -> None:
    op.add_column("paper_balances", sa.Column("held", sa.Text(), server_default=sa.text("'0'"), nullable=False))
    op.add_column("paper_orders", sa.Column("price_key", sa.Text(), nullable=True))
    op.create_table(
        "paper_markets",
        sa.Column("registration_id", _Id, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("open_orders", sa.Integer(), nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("looked", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["registration_id"],
            ["registrations.id"],
            name=op.f("fk_paper_markets_registration_id_registrations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(*_MARKET, name=op.f("pk_paper_markets")),
    )
    _add_up_open_orders()
    for name, columns, where in _INDEXES:
        op.create_index(name, "paper_orders", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _add_up_open_orders() -> None:
    connection = op.get_bind()
    held: dict[tuple[int, str], Decimal] = {}
    markets: dict[tuple[int, str, str], tuple[int, int]] = {}
    for row in _open_orders(connection):
        of = row["registration_id"], row["currency"] if row["side"] == "buy" else row["asset"]
        held[of] = _EXACT.add(held.get(of, Decimal(0)), Decimal(row["held"]))
        market = row["registration_id"], row["currency"], row["asset"]
        count, checked = markets.get(market, (0, row["checked"]))
        markets[market] = count + 1, min(checked, row["checked"])
        values = {"id": row["id"], "key": _key_of(row["stop"] or row["price"]), "expires": _in_utc(row["expires"])}
        connection.execute(
            sa.text("UPDATE paper_orders SET price_key = :key, expires = :expires WHERE id = :id"), values
        )
    for (registration, currency), amount in held.items():
        connection.execute(
            sa.text("UPDATE paper_balances SET held = :held WHERE registration_id = :id AND currency = :currency"),
            {"id": registration, "currency": currency, "held": format(amount, "f")},
        )
    for market, (count, checked) in markets.items():
        values = dict(zip(_MARKET, market, strict=True)) | {"open_orders": count, "checked": checked}
        connection.execute(
            sa.text(
                "INSERT INTO paper_markets (registration_id, currency, asset, open_orders, checked, looked)"
                " VALUES (:registration_id, :currency, :asset, :open_orders, :checked, 0)"
            ),
            values,
        )


def _open_orders(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    after = 0
    while rows := connection.execute(_SOME_OPEN, {"after": after}).mappings().all():
        yield from map(dict, rows)
        after = rows[-1]["id"]


def _key_of(price: str | None) -> str | None:
    """Return what `db.price_keys` makes of a price."""
    if price is None:
        return None
    number = Decimal(price)
    digits = "".join(map(str, number.as_tuple().digits))
    return f"{number.adjusted() + 500}{digits.rstrip('0')}"


def _in_utc(expires: str | None) -> str | None:
    return None if expires is None else datetime.fromisoformat(expires).astimezone(UTC).isoformat()


def downgrade() -> None:
    for name, _, _ in _INDEXES:
        op.drop_index(name, "paper_orders")
    op.drop_table("paper_markets")
    op.drop_column("paper_orders", "price_key")
    op.drop_column("paper_balances", "held")
