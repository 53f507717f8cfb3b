"""An index of the market orders that are open, which are looked for each second, beside many that rest."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_WHERE = sa.text("status = 'open' AND type = 'market' AND stop IS NULL")


def upgrade() -> None:
    op.create_index("ix_orders_open_market", "orders", ["id"], sqlite_where=_WHERE, postgresql_where=_WHERE)


def downgrade() -> None:
    op.drop_index("ix_orders_open_market", "orders")
