"""A parking names the event that the log refused, and ends when that one is published after all."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Releases of level 1 may go on: what they park names no event, and stops its order until somebody retries it.
LEVEL, OLDEST_APPLICATION = 2, 1
_ANY = 2**31 - 1

UP = (
    f"UPDATE ordering_cart.compatibility SET level = {LEVEL}, oldest_application = {OLDEST_APPLICATION}",  # noqa: S608
    f"ALTER TABLE ordering_cart.parked ADD COLUMN version int NOT NULL DEFAULT {_ANY}",
    # It was the first one that waits; a parking of which nothing waits has stopped later events for no reason.
    """
    UPDATE ordering_cart.parked p SET version = coalesce(
      (SELECT min(o.version) FROM ordering_cart.outbox o WHERE o.aggregate_id = p.aggregate_id), 0)
    """,
    "DELETE FROM ordering_cart.parked WHERE version = 0",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    # First, for who waits for a deleted row would hold what the table's change waits for.
    op.execute("LOCK TABLE ordering_cart.parked IN ACCESS EXCLUSIVE MODE")
    # What stops nothing any more must not stop anything for a release that does not know why.
    op.execute("""
    DELETE FROM ordering_cart.parked p WHERE NOT EXISTS (
      SELECT FROM ordering_cart.outbox o WHERE o.aggregate_id = p.aggregate_id AND o.version <= p.version)
    """)
    op.execute("ALTER TABLE ordering_cart.parked DROP COLUMN version")
    op.execute("UPDATE ordering_cart.compatibility SET level = 1, oldest_application = 1")
