"""Fills of orders on paper, which may be filled in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ADDED = ("filled", "value", "charge", "looked")


def upgrade() -> None:
    for name in ("filled", "value", "charge"):
        op.add_column("paper_orders", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("paper_orders", sa.Column("looked", sa.BigInteger(), nullable=True))
    op.create_table(
        "paper_fills",
        sa.Column("id", _ID, nullable=False),
        sa.Column("registration_id", _ID, nullable=False),
        sa.Column("order_id", _ID, nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.Column("fee", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["registration_id"],
            ["registrations.id"],
            name=op.f("fk_paper_fills_registration_id_registrations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["paper_orders.id"], name=op.f("fk_paper_fills_order_id_paper_orders"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_fills")),
    )
    op.create_index("ix_paper_fills_registration_id_id", "paper_fills", ["registration_id", "id"])
    # Every order was filled whole, and its fill was told under its id.
    op.execute("UPDATE paper_orders SET filled = amount WHERE status = 'filled'")
    op.execute(
        "INSERT INTO paper_fills (id, registration_id, order_id, price, amount, fee, created)"
        " SELECT id, registration_id, id, average, amount, fee, created FROM paper_orders WHERE status = 'filled'"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('paper_fills', 'id'), (SELECT max(id) FROM paper_fills))"
            " WHERE EXISTS (SELECT 1 FROM paper_fills)"
        )


def downgrade() -> None:
    op.drop_table("paper_fills")
    for name in _ADDED:
        op.drop_column("paper_orders", name)
