"""The read model: rows, positions, held records and figures, by generation."""

from alembic import op

# Everything filled from the log carries its generation, so that a rebuild can fill the next one beside the live one;
# the pointer says which one is live.

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LEVEL, OLDEST_APPLICATION = 1, 1

# One projection transaction: everything, or an exception. What was waited for is looked at by a later statement,
# which sees it; the locks of rows that exist come first and sorted, so that two consumers do not deadlock.
APPLY_CHANGES = """
    CREATE FUNCTION ordering_order.apply_changes(
      changed_topic text, live int, partitions int[], expected bigint[], reached bigint[],
      keys text[], versions int[], event_ids text[], labels text[], schemas text[], bodies bytea[], lineages text[],
      applied int[], timestamps bigint[], first_partitions int[], first_offsets bigint[], helds int[], revisions int[],
      missings text[],
      released_partitions int[], released_offsets bigint[],
      held_topics text[], held_partitions int[], held_offsets bigint[], held_timestamps bigint[],
      held_record_keys bytea[], held_values bytea[], held_headers bytea[], held_keys text[], held_reasons text[],
      held_details text[], held_ats bigint[],
      kinds text[], names text[], amounts bigint[],
      channel text, news text
    )
    RETURNS void
    LANGUAGE plpgsql VOLATILE AS $function$
    #variable_conflict use_column
    DECLARE
      moved int;
      created int;
    BEGIN
      -- Whoever flips the pointer waits for this transaction, or this one sees the flip.
      PERFORM FROM ordering_order.pointer p WHERE p.id = 1 AND p.generation = live FOR SHARE;
      IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'OS001', MESSAGE = 'generation ' || live || ' is not the live one';
      END IF;

      IF cardinality(partitions) > 0 THEN
        PERFORM FROM ordering_order.positions p
        WHERE p.generation = live AND p.topic = changed_topic AND p.partition = ANY (partitions)
        ORDER BY p.partition FOR UPDATE;
        INSERT INTO ordering_order.positions AS p (generation, topic, partition, next)
        SELECT live, changed_topic, u.partition, u.reached
        FROM unnest(partitions, expected, reached) AS u (partition, expected, reached)
        WHERE u.expected = 0 ORDER BY u.partition
        ON CONFLICT (generation, topic, partition) DO UPDATE SET next = excluded.next WHERE p.next = 0;
        GET DIAGNOSTICS created = ROW_COUNT;
        UPDATE ordering_order.positions p SET next = u.reached
        FROM unnest(partitions, expected, reached) AS u (partition, expected, reached)
        WHERE u.expected > 0 AND p.generation = live AND p.topic = changed_topic AND p.partition = u.partition
          AND p.next = u.expected;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF created + moved <> cardinality(partitions) THEN
          RAISE EXCEPTION USING ERRCODE = 'OS001', MESSAGE = 'another consumer moved a position';
        END IF;
      END IF;

      IF cardinality(keys) > 0 THEN
        PERFORM FROM ordering_order.view_rows r
        WHERE r.generation = live AND r.key = ANY (ARRAY(
          SELECT u.key FROM unnest(keys, revisions) AS u (key, revision) WHERE u.revision > 1
        ))
        ORDER BY r.key FOR UPDATE;
        -- The place of the first appearance stays what it was.
        UPDATE ordering_order.view_rows r
        SET version = u.version, event_id = u.event_id, label = u.label, schema = u.schema, body = u.body,
          lineage = u.lineage, events_applied = u.events_applied, held = u.held, revision = u.revision,
          missing = u.missing
        FROM unnest(
          keys, versions, event_ids, labels, schemas, bodies, lineages, applied, helds, revisions, missings
        ) AS u (key, version, event_id, label, schema, body, lineage, events_applied, held, revision, missing)
        WHERE u.revision > 1 AND r.generation = live AND r.key = u.key AND r.revision = u.revision - 1;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO ordering_order.view_rows (
          generation, key, version, event_id, label, schema, body, lineage, events_applied, first_timestamp,
          first_partition, first_offset, held, revision, missing
        )
        SELECT live, u.* FROM unnest(
          keys, versions, event_ids, labels, schemas, bodies, lineages, applied, timestamps, first_partitions,
          first_offsets, helds, revisions, missings
        ) AS u (
          key, version, event_id, label, schema, body, lineage, events_applied, first_timestamp, first_partition,
          first_offset, held, revision, missing
        )
        WHERE u.revision = 1 ORDER BY u.key COLLATE "C"
        ON CONFLICT (generation, key) DO NOTHING;
        GET DIAGNOSTICS created = ROW_COUNT;
        IF created + moved <> cardinality(keys) THEN
          RAISE EXCEPTION USING ERRCODE = 'OS001', MESSAGE = 'somebody else changed a row';
        END IF;
      END IF;

      IF cardinality(released_offsets) > 0 THEN
        DELETE FROM ordering_order.held h
        USING unnest(released_partitions, released_offsets) AS u (partition, record_offset)
        WHERE h.generation = live AND h.topic = changed_topic AND h.partition = u.partition
          AND h.record_offset = u.record_offset;
      END IF;
      IF cardinality(held_offsets) > 0 THEN
        INSERT INTO ordering_order.held (
          generation, topic, partition, record_offset, timestamp, record_key, value, headers, key, reason, detail,
          held_at
        )
        SELECT live, u.* FROM unnest(
          held_topics, held_partitions, held_offsets, held_timestamps, held_record_keys, held_values, held_headers,
          held_keys, held_reasons, held_details, held_ats
        ) AS u
        ORDER BY 2, 3, 4
        ON CONFLICT (generation, topic, partition, record_offset) DO UPDATE SET
          timestamp = excluded.timestamp, record_key = excluded.record_key, value = excluded.value,
          headers = excluded.headers, key = excluded.key, reason = excluded.reason, detail = excluded.detail,
          held_at = excluded.held_at;
      END IF;

      -- Last: every consumer moves the same few rows, and holds them until its commit.
      IF cardinality(names) > 0 THEN
        INSERT INTO ordering_order.tallies AS t (generation, kind, name, amount)
        SELECT live, u.* FROM unnest(kinds, names, amounts) AS u (kind, name, amount)
        ORDER BY u.kind COLLATE "C", u.name COLLATE "C"
        ON CONFLICT (generation, kind, name) DO UPDATE SET amount = t.amount + excluded.amount;
      END IF;
      IF news IS NOT NULL THEN
        PERFORM pg_notify(channel, news);
      END IF;
    END
    $function$
    """

UP = (
    """
    CREATE TABLE ordering_order.compatibility (
      id int PRIMARY KEY CHECK (id = 1),
      level int NOT NULL,
      oldest_application int NOT NULL
    )
    """,
    f"INSERT INTO ordering_order.compatibility VALUES (1, {LEVEL}, {OLDEST_APPLICATION})",  # noqa: S608
    "CREATE TABLE ordering_order.pointer (id int PRIMARY KEY CHECK (id = 1), generation int NOT NULL)",
    "INSERT INTO ordering_order.pointer VALUES (1, 1)",
    """
    CREATE TABLE ordering_order.logs (
      generation int NOT NULL,
      topic text NOT NULL,
      cluster_id text NOT NULL,
      topic_id text,
      PRIMARY KEY (generation, topic)
    )
    """,
    """
    CREATE TABLE ordering_order.positions (
      generation int NOT NULL,
      topic text NOT NULL,
      partition int NOT NULL,
      next bigint NOT NULL,
      PRIMARY KEY (generation, topic, partition)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
    """,
    # Room in each page: a change touches no indexed column, so it stays in its page and out of the indexes.
    """
    CREATE TABLE ordering_order.view_rows (
      generation int NOT NULL,
      key text COLLATE "C" NOT NULL,
      version int NOT NULL,
      event_id text NOT NULL,
      label text NOT NULL,
      schema text,
      body bytea,
      lineage text NOT NULL,
      events_applied int NOT NULL,
      first_timestamp bigint NOT NULL,
      first_partition int NOT NULL,
      first_offset bigint NOT NULL,
      held int NOT NULL,
      revision int NOT NULL,
      missing text,
      PRIMARY KEY (generation, key)
    ) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
    """,
    """
    CREATE INDEX rows_by_appearance ON ordering_order.view_rows
      (generation, first_timestamp, first_partition, first_offset, key)
    """,
    """
    CREATE TABLE ordering_order.held (
      generation int NOT NULL,
      topic text NOT NULL,
      partition int NOT NULL,
      record_offset bigint NOT NULL,
      timestamp bigint NOT NULL,
      record_key bytea,
      value bytea,
      headers bytea NOT NULL,
      key text COLLATE "C",
      reason text NOT NULL,
      detail text NOT NULL,
      held_at bigint NOT NULL,
      PRIMARY KEY (generation, topic, partition, record_offset)
    )
    """,
    "CREATE INDEX held_by_key ON ordering_order.held (generation, key, topic, partition, record_offset)",
    "CREATE INDEX held_by_reason ON ordering_order.held (generation, reason, key)",
    """
    CREATE INDEX held_for_reasons_of_their_own
    ON ordering_order.held (generation, held_at, topic, partition, record_offset) WHERE reason <> 'parked'
    """,
    # Label counts and counters, moved in the transaction that changes what they count.
    """
    CREATE TABLE ordering_order.tallies (
      generation int NOT NULL,
      kind text COLLATE "C" NOT NULL CHECK (kind IN ('label', 'counter')),
      name text COLLATE "C" NOT NULL,
      amount bigint NOT NULL,
      PRIMARY KEY (generation, kind, name)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
    """,
    APPLY_CHANGES,
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION ordering_order.apply_changes")
    for table in ("tallies", "held", "view_rows", "positions", "logs", "pointer", "compatibility"):
        op.execute(f"DROP TABLE ordering_order.{table}")
