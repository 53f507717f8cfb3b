"""Which server process carries out what is running; and of the paper exchange's indexes those that are used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    for journal in ("orders", "withdrawals"):
        op.add_column(journal, sa.Column("server", sa.BigInteger(), nullable=True))
    op.drop_index("ix_paper_entries_registration_id", "paper_entries")
    op.drop_index("ix_paper_orders_registration_id_status", "paper_orders")
    op.create_index(
        "ix_paper_orders_open", "paper_orders", ["registration_id"], sqlite_where=OPEN, postgresql_where=OPEN
    )


def downgrade() -> None:
    op.drop_index("ix_paper_orders_open", "paper_orders")
    op.create_index("ix_paper_orders_registration_id_status", "paper_orders", ["registration_id", "status"])
    op.create_index("ix_paper_entries_registration_id", "paper_entries", ["registration_id"])
    for journal in ("withdrawals", "orders"):
        op.drop_column(journal, "server")
