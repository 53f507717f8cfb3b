"""Why an order is as it is, and how often a key was begun anew; an answer is kept of refusals alone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("reason", sa.Text(), nullable=True))
    for name in ("orders", "withdrawals"):
        op.add_column(name, sa.Column("attempt", sa.Integer(), nullable=False, server_default=sa.text("0")))
        # An answer that says "open" would be given again for ever: what was executed is answered from its row.
        journal = sa.table(name, sa.column("status"), sa.column("answer_status"), sa.column("answer"))
        executed = journal.c.status != "rejected"
        op.execute(journal.update().where(executed).values(answer_status=None, answer=None))


def downgrade() -> None:
    for name in ("withdrawals", "orders"):
        op.drop_column(name, "attempt")
    op.drop_column("orders", "reason")
