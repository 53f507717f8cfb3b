"""How many orders and sends each account began in each hour, so that no row is counted before an order."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FILL = sa.text("""
    INSERT INTO placed (account_id, hour, begun)
    SELECT registrations.account_id, substr(journal.created, 1, 13), count(*)
    FROM (
        SELECT registration_id, created FROM orders WHERE created >= :since
        UNION ALL SELECT registration_id, created FROM withdrawals WHERE created >= :since
    ) AS journal
    JOIN registrations ON registrations.id = journal.registration_id
    GROUP BY registrations.account_id, substr(journal.created, 1, 13)
""")


def upgrade() -> None:
    op.create_table(
        "placed",
        sa.Column("account_id", _Id, nullable=False),
        sa.Column("hour", sa.Text(), nullable=False),
        sa.Column("begun", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_placed_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "hour", name=op.f("pk_placed")),
    )
    # From the beginning of the hour on that was a day ago: what was begun before does not count any more.
    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H")
    op.get_bind().execute(_FILL, {"since": since})


def downgrade() -> None:
    op.drop_table("placed")
