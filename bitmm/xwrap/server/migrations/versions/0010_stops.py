"""The price at which an order begins, in its journal and on paper."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("stop", sa.Text(), nullable=True))
    op.add_column("paper_orders", sa.Column("stop", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("paper_orders", "stop")
    op.drop_column("orders", "stop")
