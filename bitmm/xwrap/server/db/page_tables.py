"""The tables of the owner's page, for SQLite and PostgreSQL alike; `tables` has the others."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Table, Text

from .tables import metadata

__all__ = ["sessions", "worth"]

_Id = BigInteger().with_variant(Integer, "sqlite")

#: Who signed in to the owner's page. `digest` is the SHA-256 of the token in his cookie, `password` that of the hash of
#: the password that he signed in with; `message` is a sentence for the next page.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("account_id", _Id, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("password", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("last_used", Text, nullable=False),
    Column("message", Text),
)

#: What an account was worth on a day (UTC) in a currency; not `complete`: an exchange did not answer. `asked`: the day,
#: if its owner wanted to know on that day, else empty.
worth = Table(
    "worth",
    metadata,
    Column("account_id", _Id, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("total", Text, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("updated", Text, nullable=False),
    Column("asked", Text, nullable=False),
)
