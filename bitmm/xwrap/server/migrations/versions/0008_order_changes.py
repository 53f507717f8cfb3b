"""The changes of orders have numbers, so that they can be followed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "order_changes",
        sa.Column("registration_id", _Id, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["registration_id"],
            ["registrations.id"],
            name=op.f("fk_order_changes_registration_id_registrations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("registration_id", name=op.f("pk_order_changes")),
    )
    op.add_column("orders", sa.Column("change", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    # In the order in which they were placed; the numbers that are given from now on are far above.
    op.execute("UPDATE orders SET change = id")
    op.execute(
        "INSERT INTO order_changes (registration_id, number)"
        " SELECT registration_id, max(change) FROM orders GROUP BY registration_id"
    )
    op.create_index(op.f("ix_orders_registration_id_change"), "orders", ["registration_id", "change"])


def downgrade() -> None:
    op.drop_index(op.f("ix_orders_registration_id_change"), "orders")
    op.drop_column("orders", "change")
    op.drop_table("order_changes")
