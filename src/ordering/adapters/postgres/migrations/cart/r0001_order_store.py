"""The write side: aggregates, their journal, the outbox, recorded answers, the relay's lease."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LEVEL, OLDEST_APPLICATION = 1, 1

UP = (
    """
    CREATE TABLE ordering_cart.compatibility (
      id int PRIMARY KEY CHECK (id = 1),
      level int NOT NULL,
      oldest_application int NOT NULL
    )
    """,
    f"INSERT INTO ordering_cart.compatibility VALUES (1, {LEVEL}, {OLDEST_APPLICATION})",  # noqa: S608
    # Ids come from clients in any order, so orders has the only index that grows at random places; everything else
    # refers to ``number``, which is given in order of arrival, or is small.
    "CREATE SEQUENCE ordering_cart.order_numbers CACHE 32",
    """
    CREATE TABLE ordering_cart.orders (
      order_id text COLLATE "C" PRIMARY KEY,
      number bigint NOT NULL,
      version int NOT NULL,
      event_id text COLLATE "C" NOT NULL,
      schema text NOT NULL,
      state bytea NOT NULL
    ) WITH (fillfactor = 90)
    """,
    """
    CREATE TABLE ordering_cart.journal (
      number bigint NOT NULL,
      version int NOT NULL,
      event_id text COLLATE "C" NOT NULL UNIQUE,
      aggregate_id text COLLATE "C" NOT NULL,
      topic text NOT NULL,
      key bytea NOT NULL,
      headers bytea NOT NULL,
      schema text NOT NULL,
      body bytea NOT NULL,
      occurred_at bigint NOT NULL,
      PRIMARY KEY (number, version)
    )
    """,
    "CREATE INDEX journal_by_age ON ordering_cart.journal (occurred_at)",
    # The unpublished journal rows: a set, and a queue by its traffic. Marking an event published deletes its row here
    # and touches nothing else. It is vacuumed by the number of dead rows, not by its size, and without pauses.
    """
    CREATE TABLE ordering_cart.outbox (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      number bigint NOT NULL,
      aggregate_id text COLLATE "C" NOT NULL,
      version int NOT NULL,
      UNIQUE (aggregate_id, version)
    ) WITH (
      autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
      autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0,
      autovacuum_analyze_threshold = 20000
    )
    """,
    """
    CREATE TABLE ordering_cart.parked (
      aggregate_id text COLLATE "C" PRIMARY KEY,
      reason text NOT NULL
    )
    """,
    """
    CREATE TABLE ordering_cart.answers (
      key text COLLATE "C" PRIMARY KEY,
      fingerprint bytea NOT NULL,
      status int NOT NULL,
      etag int NOT NULL,
      body bytea NOT NULL,
      recorded_at bigint NOT NULL
    )
    """,
    "CREATE INDEX answers_by_age ON ordering_cart.answers (recorded_at)",
    # Keys keep their partitions for ever, however a topic grows.
    "CREATE TABLE ordering_cart.topics (topic text PRIMARY KEY, partitions int NOT NULL)",
    # One row, rewritten several times a second.
    """
    CREATE TABLE ordering_cart.relay_lease (
      id int PRIMARY KEY CHECK (id = 1),
      owner text NOT NULL,
      expires_at timestamptz NOT NULL,
      trouble text
    ) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
    """,
    # A round of writes: no aggregate and no answer's key occurs twice in it. One call is one round trip.
    #
    # Each statement of a volatile function in READ COMMITTED sees what was committed when it began. That matters:
    # after waiting for another transaction (a first try of the same writes, perhaps) only a later statement sees its
    # rows. So nothing is asked in the statement that may have waited.
    #
    # Everybody waits for locks in one order - rows to change, answers, rows to create, each sorted - so that two
    # instances do not deadlock. (Of a batch in several rounds all rows to change are locked before the first.)
    """
    CREATE FUNCTION ordering_cart.store_writes(
      slots int[], expected int[], aggregate_ids text[], versions int[], event_ids text[], topics text[], keys bytea[],
      headers bytea[], schemas text[], bodies bytea[], times bigint[],
      answer_slots int[], answer_keys text[], fingerprints bytea[], statuses int[], etags int[], answer_bodies bytea[],
      answer_times bigint[]
    )
    RETURNS TABLE (
      slot int, is_stored bool, is_first bool, present int, answer_key text, fingerprint bytea, status int, etag int,
      answer_body bytea, recorded_at bigint
    )
    LANGUAGE plpgsql VOLATILE AS $function$
    #variable_conflict use_column
    DECLARE
      ours text[];          -- keys recorded by this call
      taken int[] := '{}';  -- slots whose key has an answer already
      numbers bigint[];     -- beside slots: the aggregate's number where this call changed it, else null
      offered int;
      changed int;
      place int;
      found bigint;
      changes_any boolean := EXISTS (SELECT FROM unnest(expected) AS u (expected) WHERE u.expected > 0);
    BEGIN
      IF changes_any THEN
        PERFORM FROM ordering_cart.orders o
        WHERE o.order_id = ANY (ARRAY(
          SELECT u.aggregate_id FROM unnest(aggregate_ids, expected) AS u (aggregate_id, expected) WHERE u.expected > 0
        ))
        ORDER BY o.order_id FOR UPDATE;
      END IF;

      IF cardinality(answer_slots) > 0 THEN
        WITH recorded AS (
          INSERT INTO ordering_cart.answers AS a (key, fingerprint, status, etag, body, recorded_at)
          SELECT u.* FROM unnest(answer_keys, fingerprints, statuses, etags, answer_bodies, answer_times)
            AS u (key, fingerprint, status, etag, body, recorded_at)
          ORDER BY u.key COLLATE "C"
          ON CONFLICT (key) DO NOTHING RETURNING a.key
        )
        SELECT coalesce(array_agg(r.key), '{}') INTO ours FROM recorded r;
        IF cardinality(ours) < cardinality(answer_slots) THEN
          taken := ARRAY(
            SELECT u.slot FROM unnest(answer_slots, answer_keys) AS u (slot, key) WHERE u.key <> ALL (ours)
          );
          IF EXISTS (
            SELECT FROM unnest(answer_keys) AS u (key)
            WHERE NOT EXISTS (SELECT FROM ordering_cart.answers a WHERE a.key = u.key)
          ) THEN
            RAISE serialization_failure USING MESSAGE = 'an answer was trimmed just now';
          END IF;
        END IF;
      END IF;

      -- Changes.
      numbers := array_fill(NULL::bigint, ARRAY[cardinality(slots)]);
      IF changes_any THEN
        FOR place, found IN
          UPDATE ordering_cart.orders o
          SET version = u.version, event_id = u.event_id, schema = u.schema, state = u.body
          FROM unnest(slots, expected, aggregate_ids, versions, event_ids, schemas, bodies) WITH ORDINALITY
            AS u (slot, expected, aggregate_id, version, event_id, schema, body, place)
          WHERE u.expected > 0 AND u.slot <> ALL (taken) AND o.order_id = u.aggregate_id AND o.version = u.expected
          RETURNING u.place, o.number
        LOOP
          numbers[place] := found;
        END LOOP;
      END IF;

      -- Creations.
      numbers := ARRAY(
        SELECT CASE
          WHEN u.expected = 0 AND u.slot <> ALL (taken) THEN nextval('ordering_cart.order_numbers')
          ELSE u.number END
        FROM unnest(slots, expected, numbers) WITH ORDINALITY AS u (slot, expected, number, place) ORDER BY u.place
      );
      SELECT count(*) INTO offered FROM unnest(numbers, expected) AS u (number, expected)
      WHERE u.expected = 0 AND u.number IS NOT NULL;
      IF offered > 0 THEN
        INSERT INTO ordering_cart.orders (order_id, number, version, event_id, schema, state)
        SELECT u.aggregate_id, u.number, u.version, u.event_id, u.schema, u.body
        FROM unnest(numbers, expected, aggregate_ids, versions, event_ids, schemas, bodies)
          AS u (number, expected, aggregate_id, version, event_id, schema, body)
        WHERE u.expected = 0 AND u.number IS NOT NULL
        ORDER BY u.aggregate_id COLLATE "C"
        ON CONFLICT (order_id) DO NOTHING;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed < offered THEN
          FOR place IN
            SELECT u.place FROM unnest(numbers, expected, aggregate_ids) WITH ORDINALITY
              AS u (number, expected, aggregate_id, place)
            LEFT JOIN ordering_cart.orders o ON o.order_id = u.aggregate_id
            WHERE u.expected = 0 AND u.number IS NOT NULL AND o.number IS DISTINCT FROM u.number
          LOOP
            numbers[place] := NULL;
          END LOOP;
        END IF;
      END IF;

      -- What was changed goes into the journal and the outbox.
      INSERT INTO ordering_cart.journal
        (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
      SELECT u.* FROM unnest(
        numbers, versions, event_ids, aggregate_ids, topics, keys, headers, schemas, bodies, times
      ) AS u (number, version, event_id, aggregate_id, topic, key, headers, schema, body, occurred_at)
      WHERE u.number IS NOT NULL;
      GET DIAGNOSTICS changed = ROW_COUNT;
      INSERT INTO ordering_cart.outbox (number, aggregate_id, version)
      SELECT u.number, u.aggregate_id, u.version
      FROM unnest(numbers, aggregate_ids, versions) WITH ORDINALITY AS u (number, aggregate_id, version, place)
      WHERE u.number IS NOT NULL ORDER BY u.place;

      -- The rows of changed aggregates are locked now: whatever was committed about them before is seen.
      RETURN QUERY
      SELECT u.slot, true, u.version = 1 OR NOT EXISTS (
          SELECT FROM ordering_cart.outbox e WHERE e.aggregate_id = u.aggregate_id AND e.version < u.version
        ), NULL::int, NULL::text, NULL::bytea, NULL::int, NULL::int, NULL::bytea, NULL::bigint
      FROM unnest(slots, numbers, aggregate_ids, versions) AS u (slot, number, aggregate_id, version)
      WHERE u.number IS NOT NULL;

      IF changed < cardinality(slots) THEN
        -- A lost write leaves nothing, its answer included.
        DELETE FROM ordering_cart.answers a
        USING unnest(answer_slots, answer_keys) AS u (slot, key), unnest(slots, numbers) AS w (slot, number)
        WHERE a.key = u.key AND u.slot <> ALL (taken) AND w.slot = u.slot AND w.number IS NULL;
        -- Stored all the same, if it is this very event: by an earlier try.
        RETURN QUERY
        SELECT u.slot, j.event_id IS NOT NULL, u.version = 1 OR NOT EXISTS (
            SELECT FROM ordering_cart.outbox e WHERE e.aggregate_id = u.aggregate_id AND e.version < u.version
          ), coalesce(o.version, 0), a.key, a.fingerprint, a.status, a.etag, a.body, a.recorded_at
        FROM unnest(slots, numbers, aggregate_ids, versions, event_ids)
          AS u (slot, number, aggregate_id, version, event_id)
        LEFT JOIN ordering_cart.journal j
          ON j.event_id = u.event_id AND j.aggregate_id = u.aggregate_id AND j.version = u.version
        LEFT JOIN ordering_cart.orders o ON o.order_id = u.aggregate_id
        LEFT JOIN unnest(answer_slots, answer_keys) AS k (slot, key) ON k.slot = u.slot AND k.slot = ANY (taken)
        LEFT JOIN ordering_cart.answers a ON a.key = k.key
        WHERE u.number IS NULL;
      END IF;

      -- Answers without an event.
      IF cardinality(answer_slots) > 0 THEN
        RETURN QUERY
        SELECT k.slot, k.slot <> ALL (taken), false, NULL::int, a.key, a.fingerprint, a.status, a.etag, a.body,
          a.recorded_at
        FROM unnest(answer_slots, answer_keys) AS k (slot, key)
        LEFT JOIN ordering_cart.answers a ON a.key = k.key AND k.slot = ANY (taken)
        WHERE k.slot <> ALL (slots);
      END IF;
    END
    $function$
    """,
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION ordering_cart.store_writes")
    for table in ("relay_lease", "topics", "answers", "parked", "outbox", "journal", "orders", "compatibility"):
        op.execute(f"DROP TABLE ordering_cart.{table}")
    op.execute("DROP SEQUENCE ordering_cart.order_numbers")
