"""Alembic's entry: runs the revisions on the connection it is given, within the caller's transaction."""

from alembic import context

from bitmm.xwrap.server.db.tables import metadata, set_index_conditions

set_index_conditions()
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
