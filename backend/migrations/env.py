"""Runs revisions on the connection, and in the transaction, of ``backend.schema``."""

from alembic import context

from backend.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
