"""The order whose place another one takes."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("replaces", sa.BigInteger(), nullable=True))
    is_replacement = sa.text("replaces IS NOT NULL")
    op.create_index(
        "ix_orders_replaces", "orders", ["replaces"], sqlite_where=is_replacement, postgresql_where=is_replacement
    )


def downgrade() -> None:
    op.drop_index("ix_orders_replaces", "orders")
    op.drop_column("orders", "replaces")
