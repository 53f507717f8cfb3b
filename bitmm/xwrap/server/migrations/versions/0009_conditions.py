"""The conditions of a limit order, in its journal; and on paper when it ends, and why it was canceled."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("post_only", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("orders", sa.Column("time_in_force", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("expires", sa.Text(), nullable=True))
    op.add_column("paper_orders", sa.Column("expires", sa.Text(), nullable=True))
    op.add_column("paper_orders", sa.Column("reason", sa.Text(), nullable=True))


def downgrade() -> None:
    for name in ("reason", "expires"):
        op.drop_column("paper_orders", name)
    for name in ("expires", "time_in_force", "post_only"):
        op.drop_column("orders", name)
