"""The tables of what was archived, for SQLite and PostgreSQL alike; `tables` has the others."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, Table, Text, UniqueConstraint

from .tables import metadata

__all__ = ["archived_keys", "archives"]

_Id = BigInteger().with_variant(Integer, "sqlite")

#: The files that orders were moved to. `finished` null: the command that writes it runs, or was broken off.
archives = Table(
    "archives",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("began", Text, nullable=False),
    Column("finished", Text),
)

#: What stays of an order that was moved to an archive, so that its key is never executed again. `digest`: the first 16
#: bytes of the SHA-256 of its key.
archived_keys = Table(
    "archived_keys",
    metadata,
    Column("order_id", _Id, primary_key=True, autoincrement=False),
    Column("registration_id", _Id, ForeignKey("registrations.id", ondelete="RESTRICT"), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("archive_id", _Id, ForeignKey("archives.id", ondelete="RESTRICT"), nullable=False),
    UniqueConstraint("registration_id", "digest"),
)
