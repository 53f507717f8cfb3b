"""An index of the dead man's switches that are set, which are looked for each second, beside many registrations."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_WHERE = sa.text("deadman_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_registrations_deadman_at", "registrations", ["deadman_at"], sqlite_where=_WHERE, postgresql_where=_WHERE
    )


def downgrade() -> None:
    op.drop_index("ix_registrations_deadman_at", "registrations")
