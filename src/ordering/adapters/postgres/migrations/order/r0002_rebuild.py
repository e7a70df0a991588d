"""The rebuild: what people have discarded is remembered, and a generation that is not live can be filled."""

from alembic import op

from ordering.adapters.postgres.migrations.order.r0001_read_model import APPLY_CHANGES

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Releases of level 1 may go on: they fill the live generation as before, and do not remember what is discarded.
LEVEL, OLDEST_APPLICATION = 2, 1

_LIVE = """
      PERFORM FROM ordering_order.pointer p WHERE p.id = 1 AND p.generation = live FOR SHARE;
      IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'OS001', MESSAGE = 'generation ' || live || ' is not the live one';
      END IF;
"""
_BESIDE = """
      PERFORM FROM ordering_order.logs l JOIN ordering_order.pointer p ON p.id = 1
      WHERE l.generation = live AND p.generation <> live;
      IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'OS001', MESSAGE = 'generation ' || live || ' is not being filled';
      END IF;
"""
_COMMENT = "      -- Whoever flips the pointer waits for this transaction, or this one sees the flip."
assert APPLY_CHANGES.count(_COMMENT + _LIVE) == 1

UP = (
    f"UPDATE ordering_order.compatibility SET level = {LEVEL}, oldest_application = {OLDEST_APPLICATION}",  # noqa: S608
    """
    CREATE TABLE ordering_order.discarded (
      topic text NOT NULL,
      partition int NOT NULL,
      record_offset bigint NOT NULL,
      PRIMARY KEY (topic, partition, record_offset)
    )
    """,
    # The same transaction for a generation that is filled beside the live one.
    APPLY_CHANGES.replace("apply_changes(", "fill_generation(").replace(_COMMENT + _LIVE, _BESIDE.strip("\n") + "\n"),
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION ordering_order.fill_generation")
    op.execute("DROP TABLE ordering_order.discarded")
    op.execute("UPDATE ordering_order.compatibility SET level = 1, oldest_application = 1")
