"""Transfers between one's own registrations stand among the sends: the registration that one goes to."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("withdrawals", sa.Column("to_registration", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("withdrawals", "to_registration")
