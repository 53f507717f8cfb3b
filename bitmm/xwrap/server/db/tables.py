"""The tables, for SQLite and PostgreSQL alike.

Money is decimal text (SQLite has no exact numeric type), times are ISO 8601 UTC text with microseconds.
The columns of an order and of a withdrawal that callers see follow from `exchanges.models`. A change of the columns
needs a revision in `server/migrations/versions`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from ...exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS

_VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"
#: The newest revision: the number at the beginning of its file's name.
REVISION = max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Id = BigInteger().with_variant(Integer, "sqlite")


def set_index_conditions() -> None:
    """Tell SQLAlchemy of which rows the indexes are whose `info` has a condition ("where"); migrations need to know.

    It loads its dialects of both data bases for that, which a start without a migration is spared: 25 ms and 3 MiB
    (2026-11-28).
    """
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        if (where := index.info.get("where")) is not None:
            index.kwargs.update(sqlite_where=where, postgresql_where=where)


def _registration_id(ondelete: str = "CASCADE") -> Column[int]:
    return Column("registration_id", _Id, ForeignKey("registrations.id", ondelete=ondelete), nullable=False)


accounts = Table(
    "accounts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=true()),
    Column("created", Text, nullable=False),
    # Since when neither an order nor a send leaves; null: they do.
    Column("frozen", Text),
)

#: An account's key at an exchange. The sealed columns are opened by `vault` alone. A `deleted` row stays for its
#: journal, with empty sealed columns.
registrations = Table(
    "registrations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account_id", _Id, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("exchange", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("apikey_hint", Text, nullable=False),
    Column("sealed_apikey", LargeBinary, nullable=False),
    Column("sealed_apisecret", LargeBinary, nullable=False),
    Column("sealed_more", LargeBinary, nullable=False),
    # What the exchange said that the key may do, a JSON list; null: it cannot tell.
    Column("permissions", Text),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("created", Text, nullable=False),
    Column("allow_send", Boolean, nullable=False, server_default=false()),
    # What the exchange calls the account that the key belongs to; null: it cannot tell.
    Column("exchange_account", Text),
    # Since when it has its key, and since when it may be of another account at its exchange; null: from the beginning.
    Column("key_since", Text),
    Column("account_since", Text),
    # The exchange accepted the key with its secret.
    Column("proven", Boolean, nullable=False, server_default=false()),
    Column("deleted", Text),
    # All orders are cancelled when this many seconds pass without a renewal: at `deadman_at`, in seconds since 1970.
    Column("deadman_seconds", Integer),
    Column("deadman_at", Double),
    # Since when its exchange refuses the key, as far as notices report it.
    Column("key_refused", Text),
)

SWITCH_SET = text("deadman_at IS NOT NULL")
Index("ix_registrations_deadman_at", registrations.c.deadman_at, info={"where": SWITCH_SET})

LIVE = text("revoked IS NULL")
#: A named password of an account, which may do less than the account. The password is random, so its SHA-256 is as
#: good as a slow hash. `exchanges` (ids of registrations) and `pairs` are JSON lists; null: all. `per_order` and
#: `per_day` are in units of `currency`. A `revoked` row stays: the journals name it by its id.
credentials = Table(
    "credentials",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account_id", _Id, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("exchanges", Text),
    Column("pairs", Text),
    Column("per_order", Text),
    Column("per_day", Text),
    Column("currency", Text),
    Column("expires", Text),
    Column("created", Text, nullable=False),
    Column("last_used", Text),
    Column("revoked", Text),
    Index("ix_credentials_live", "account_id", "name", unique=True, info={"where": LIVE}),
)

#: Where an account may send an asset to, from `usable_from` on. `per_send` and `per_day` are in units of the asset.
addresses = Table(
    "addresses",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account_id", _Id, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("asset", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("network", Text),
    Column("tag", Text),
    Column("label", Text, nullable=False),
    Column("per_send", Text),
    Column("per_day", Text),
    Column("created", Text, nullable=False),
    Column("usable_from", Text, nullable=False),
    Column("removed", Text),
    Index("ix_addresses_account_id_asset", "account_id", "asset"),
)

#: The last nonce of each request queue, and how full its counter of calls was at `moment`. The table's name, and the
#: queue's in it, are older than what both are called now.
counters = Table(
    "lanes",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("nonce", BigInteger, nullable=False),
    Column("level", Double, nullable=False),
    # Seconds since 1970.
    Column("moment", Double, nullable=False),
)

#: One sealed known text: it shows at start whether the master key belongs to this data base.
vault_check = Table(
    "vault_check",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

#: One row: the installation that the data base belongs to, and the last time at which a server wrote that it was in
#: use. Orders that were placed after `missing_since` may be missing in the journals: that was `noticed` at this time,
#: for this `reason`.
history = Table(
    "history",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("installation", Text, nullable=False),
    Column("heartbeat", Text, nullable=False),
    Column("missing_since", Text),
    Column("noticed", Text),
    Column("reason", Text),
)


#: The conditions of the partial indexes. A query must contain one of them literally for its index to be used.
RUNNING_OR_UNKNOWN = text("status IN ('running', 'unknown')")
OPEN = text("status = 'open'")
#: One that waits for its stop rests, as one with a price does.
OPEN_MARKET_ORDER = text("status = 'open' AND type = 'market' AND stop IS NULL")
LIMITED = text("credential_id IS NOT NULL")
REFUSED = text("status = 'rejected'")
DECISIONS = text("what = 'settle'")


def _journal(name: str, fields: Iterable[str], required: Container[str], *columns: Column[Any]) -> Table:
    """Return the table of a journal of what moves money: a row is committed before the exchange hears of it.

    It has a text column for each of the `fields` that callers see; those that are not `required` may be null.
    `answer_status` and `answer` are what the caller is answered when the row is rejected; what was executed is answered
    from the row as it is now. A repeat of a row that is `released` (it was certainly not executed, and may work later)
    is begun anew, and `attempt` counts how often. `server` is the `server_id` of the process that carries it out,
    and null when its call is over. `limit_value` is what the row counts against the limits of the credential that
    placed it, in units of their currency. A registration that has rows here cannot be removed.
    """
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True),
        _registration_id("RESTRICT"),
        Column("key", Text, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("client_id", Text, nullable=False),
        *(Column(field, Text, nullable=field not in required) for field in fields if field not in {"id", "key"}),
        *columns,
        Column("answer_status", Integer),
        Column("answer", Text),
        Column("attempt", Integer, nullable=False, server_default=text("0")),
        Column("released", Boolean, nullable=False, server_default=false()),
        Column("server", BigInteger),
        Column("credential_id", BigInteger),
        Column("limit_value", Text),
        UniqueConstraint("registration_id", "key"),
        Index(f"ix_{name}_registration_id_id", "registration_id", "id"),
        Index(f"ix_{name}_registration_id_created", "registration_id", "created"),
        Index(f"ix_{name}_limited", "credential_id", "created", info={"where": LIMITED}),
        Index(f"ix_{name}_unsettled", "status", info={"where": RUNNING_OR_UNKNOWN}),
        Index(f"ix_{name}_refused", "updated", info={"where": REFUSED}),
    )


orders = _journal(
    "orders",
    ORDER_FIELDS,
    {"side", "type", "currency", "asset", "status", "created", "updated"},
    # The ORDER_CONDITIONS of exchanges.models; false and null: it was placed without.
    Column("post_only", Boolean, nullable=False, server_default=false()),
    Column("time_in_force", Text),
    Column("expires", Text),
    Column("stop", Text),
    # The id of the order whose place it takes; see `amendments`.
    Column("replaces", BigInteger),
    # The number of its last change, in `order_changes`.
    Column("change", BigInteger, nullable=False, server_default=text("0")),
)
Index("ix_orders_registration_id_change", orders.c.registration_id, orders.c.change)
IS_REPLACEMENT = text("replaces IS NOT NULL")
Index("ix_orders_replaces", orders.c.replaces, info={"where": IS_REPLACEMENT})
Index("ix_orders_open", orders.c.registration_id, orders.c.id, info={"where": OPEN})
Index("ix_orders_open_market", orders.c.id, info={"where": OPEN_MARKET_ORDER})

withdrawals = _journal(
    "withdrawals",
    WITHDRAWAL_FIELDS,
    {"asset", "amount", "address", "status", "created"},
    Column("exchange_withdrawal_id", Text),
    # Of a transfer: the registration that it goes to; its `address` is what the exchange calls the account there.
    Column("to_registration", BigInteger),
    Column("updated", Text, nullable=False),
)
Index("ix_withdrawals_address", withdrawals.c.address)
Index("ix_withdrawals_created", withdrawals.c.created)
JOURNALS = (orders, withdrawals)

#: The last change of the orders of each registration that has any: a number that only grows. Every write of a row of
#: `orders` raises it and gives it to the row, and holds it until its transaction ends: so the numbers of a registration
#: are committed in their order.
order_changes = Table(
    "order_changes",
    metadata,
    Column("registration_id", _Id, ForeignKey("registrations.id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

#: How many rows of the journals an account began, also anew, in each `hour` (in UTC, the first 13 characters of a time:
#: 2026-11-27T18). Hours that do not count any more for its quota are removed when it begins the first row of another.
placed = Table(
    "placed",
    metadata,
    Column("account_id", _Id, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("hour", Text, primary_key=True),
    Column("begun", Integer, nullable=False),
)

#: Who did what, when and from where. Each row carries the hash of the one before; see `db.audit`.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("time", Text, nullable=False),
    # Whose account it is about; null: the server.
    Column("account_id", BigInteger),
    Column("who", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("ix_audit_log_account_id_id", "account_id", "id"),
    Index("ix_audit_log_decisions", "id", info={"where": DECISIONS}),
)

#: One row: the hash of the newest row of `audit_log`. A writer holds it until its transaction ends.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False),
)

#: What waits for the administrator's receiver, oldest first: `body` is sent as it is, not before `due`, in seconds
#: since 1970; see `db.notices`.
notices = Table(
    "notices",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("notice", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("due", Double, nullable=False, server_default=text("0")),
    Column("error", Text),
)
