"""Run by Alembic: everything of one run in the transaction it is given."""

from alembic import context
from sqlalchemy import Connection, text

schema: str = context.config.attributes["schema"]


def configure(connection: Connection | None) -> None:
    """The version table lies in the service's own schema."""
    context.configure(
        connection=connection,
        dialect_name=None if connection is not None else "postgresql",
        version_table="migrations",
        version_table_schema=schema,
        transaction_per_migration=False,
    )


if context.is_offline_mode():
    configure(None)
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        context.run_migrations()
else:
    given: Connection = context.config.attributes["connection"]
    # The runner holds the lock that keeps others from doing the same at once.
    given.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    configure(given)
    with context.begin_transaction():
        context.run_migrations()
