"""The life of keys, accounts and credentials: freeze, sends, limits, and an audit whose rows hold one another."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_IS_LIMITED = sa.text("credential_id IS NOT NULL")
_IS_REFUSED = sa.text("status = 'rejected'")
_IS_DECISION = sa.text("what = 'settle'")


def upgrade() -> None:
    op.add_column("accounts", sa.Column("frozen", sa.Text(), nullable=True))
    for column in (
        sa.Column("allow_send", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("exchange_account", sa.Text(), nullable=True),
        sa.Column("key_since", sa.Text(), nullable=True),
        sa.Column("account_since", sa.Text(), nullable=True),
        sa.Column("proven", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("deleted", sa.Text(), nullable=True),
        sa.Column("deadman_seconds", sa.Integer(), nullable=True),
        sa.Column("deadman_at", sa.Double(), nullable=True),
    ):
        op.add_column("registrations", column)
    # What the key may do was told to a call that the exchange accepted.
    op.execute("UPDATE registrations SET proven = true WHERE permissions IS NOT NULL")
    for name in ("orders", "withdrawals"):
        op.add_column(name, sa.Column("credential_id", sa.BigInteger(), nullable=True))
        op.add_column(name, sa.Column("limit_value", sa.Text(), nullable=True))
        op.create_index(
            f"ix_{name}_limited",
            name,
            ["credential_id", "created"],
            sqlite_where=_IS_LIMITED,
            postgresql_where=_IS_LIMITED,
        )
        # What an account placed within a day is counted before each order.
        op.create_index(f"ix_{name}_registration_id_created", name, ["registration_id", "created"])
        # What was refused is removed when it is old.
        op.create_index(f"ix_{name}_refused", name, ["updated"], sqlite_where=_IS_REFUSED, postgresql_where=_IS_REFUSED)
    _create_credentials()
    _create_addresses()
    _replace_audit()


def _create_credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("id", _Id, nullable=False),
        sa.Column("account_id", _Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("exchanges", sa.Text(), nullable=True),
        sa.Column("pairs", sa.Text(), nullable=True),
        sa.Column("per_order", sa.Text(), nullable=True),
        sa.Column("per_day", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("expires", sa.Text(), nullable=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("last_used", sa.Text(), nullable=True),
        sa.Column("revoked", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_credentials_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
    )
    is_live = sa.text("revoked IS NULL")
    op.create_index(
        "ix_credentials_live",
        "credentials",
        ["account_id", "name"],
        unique=True,
        sqlite_where=is_live,
        postgresql_where=is_live,
    )


def _create_addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("id", _Id, nullable=False),
        sa.Column("account_id", _Id, nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=True),
        sa.Column("tag", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("per_send", sa.Text(), nullable=True),
        sa.Column("per_day", sa.Text(), nullable=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("usable_from", sa.Text(), nullable=False),
        sa.Column("removed", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_addresses_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addresses")),
    )
    op.create_index("ix_addresses_account_id_asset", "addresses", ["account_id", "asset"])
    # What was sent to an address within a day is added up before each send to it.
    op.create_index("ix_withdrawals_created", "withdrawals", ["created"])


def _replace_audit() -> None:
    """Make the new audit, with the rows of the old one, each of which now carries the hash of the one before."""
    op.rename_table("audit", "audit_0005")
    audit = op.create_table(
        "audit_log",
        sa.Column("id", _Id, nullable=False),
        sa.Column("time", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_account_id_id", "audit_log", ["account_id", "id"])
    op.create_index(
        "ix_audit_log_decisions", "audit_log", ["id"], sqlite_where=_IS_DECISION, postgresql_where=_IS_DECISION
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    old = sa.table("audit_0005", *(sa.column(name) for name in ("id", "created", "what", "journal", "row", "after")))
    previous = ""
    for row in op.get_bind().execute(sa.select(old).order_by(old.c.id)).mappings().all():
        entry = {
            "time": row["created"],
            "account_id": None,
            "who": "administrator",
            "address": "",
            "what": "settle",
            "subject": f"{row['journal']} {row['row']}",
            "details": json.dumps({"after": row["after"], "command": row["what"]}, sort_keys=True),
            "previous": previous,
        }
        # As `db.audit` hashes a row at this revision.
        text = json.dumps(list(entry.values()), ensure_ascii=True, separators=(",", ":"))
        previous = hashlib.sha256(text.encode()).hexdigest()
        op.execute(audit.insert().values(**entry, hash=previous))
    op.execute(head.insert().values(id=1, hash=previous))
    op.drop_table("audit_0005")


def downgrade() -> None:
    op.drop_table("audit_head")
    op.drop_table("audit_log")
    op.create_table(
        "audit",
        sa.Column("id", _Id, nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("row", _Id, nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.drop_index("ix_withdrawals_created", "withdrawals")
    op.drop_table("addresses")
    op.drop_table("credentials")
    for name in ("withdrawals", "orders"):
        op.drop_index(f"ix_{name}_refused", name)
        op.drop_index(f"ix_{name}_registration_id_created", name)
        op.drop_index(f"ix_{name}_limited", name)
        op.drop_column(name, "limit_value")
        op.drop_column(name, "credential_id")
    for column in (
        "deadman_at",
        "deadman_seconds",
        "deleted",
        "proven",
        "account_since",
        "key_since",
        "exchange_account",
        "allow_send",
    ):
        op.drop_column("registrations", column)
    op.drop_column("accounts", "frozen")
