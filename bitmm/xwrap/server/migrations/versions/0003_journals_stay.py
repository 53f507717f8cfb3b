"""Open orders, and the sends to an address, have an index; and a journal does not vanish with its registration."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    _refer("RESTRICT")
    op.create_index("ix_orders_open", "orders", ["registration_id", "id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("ix_withdrawals_address", "withdrawals", ["address"])


def downgrade() -> None:
    op.drop_index("ix_withdrawals_address", "withdrawals")
    op.drop_index("ix_orders_open", "orders")
    _refer("CASCADE")


def _refer(ondelete: str) -> None:
    """What happens to a journal when its registration is removed. SQLite copies the whole table for it."""
    for journal in ("orders", "withdrawals"):
        name = f"fk_{journal}_registration_id_registrations"
        with op.batch_alter_table(journal) as table:
            table.drop_constraint(name, type_="foreignkey")
            table.create_foreign_key(name, "registrations", ["registration_id"], ["id"], ondelete=ondelete)
