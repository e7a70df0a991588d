"""The write side's store in one PostgreSQL schema: aggregates, journal, outbox, answers; any number of instances."""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import uuid4

import asyncpg

from ordering.adapters.postgres.connections import Database
from ordering.adapters.postgres.lease import RelayLeaseRow
from ordering.adapters.postgres.rows import EVENT_COLUMNS, event_of, for_people
from ordering.adapters.postgres.schema import CART
from ordering.adapters.postgres.standings import ComparedRows
from ordering.adapters.postgres.writes import rounds_of, store
from ordering.application.messages import (
    Encoded,
    JournalEntry,
    OutboxRow,
    OutboxSummary,
    Outcome,
    RecordedAnswer,
    StoredState,
    Write,
)

_STATE: Final = "SELECT version, event_id, schema, state FROM orders WHERE order_id = $1"
_ANSWER: Final = "SELECT key, fingerprint, status, etag, body, recorded_at FROM answers WHERE key = $1"

# A parking lasts as long as the event that the log refused, or one before it, waits: another relay may have got that
# one into the log, and what marks it need not know. A sub-select for the reason given below.
_STOPS: Final = (
    "(SELECT e.version FROM outbox e WHERE e.aggregate_id = p.aggregate_id ORDER BY e.version LIMIT 1) <= p.version"
)

# The lowest version of each aggregate, by looking, for each row from the oldest on, whether it is the lowest: what is
# excluded or parked is passed over, and the search ends at the limit. A sub-select with a limit is no join: where the
# planner believes the outbox to be empty, as it mostly is, a join would compare each row with all of them.
_HEADS: Final = f"""
SELECT {EVENT_COLUMNS} FROM outbox o JOIN journal j USING (number, version)
WHERE o.aggregate_id <> ALL ($2::text[])
  AND o.version = (SELECT e.version FROM outbox e WHERE e.aggregate_id = o.aggregate_id ORDER BY e.version LIMIT 1)
  AND NOT EXISTS (SELECT FROM parked p WHERE p.aggregate_id = o.aggregate_id AND p.version >= o.version)
ORDER BY o.seq LIMIT $1
"""  # noqa: S608 -- only column names are put in
_WAITING: Final = f"""
SELECT {EVENT_COLUMNS}, p.reason
FROM outbox o JOIN journal j USING (number, version)
  LEFT JOIN parked p ON p.aggregate_id = o.aggregate_id AND {_STOPS}
WHERE p.reason IS NOT NULL OR NOT $2 ORDER BY o.seq LIMIT $1
"""  # noqa: S608 -- only column names and a condition are put in
_SUMMARY: Final = f"""
SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM parked p WHERE {_STOPS}),
  (SELECT j.occurred_at FROM outbox o JOIN journal j USING (number, version)
   WHERE NOT EXISTS (SELECT FROM parked p WHERE p.aggregate_id = o.aggregate_id AND {_STOPS}) ORDER BY o.seq LIMIT 1)
"""  # noqa: S608 -- only a condition is put in
_TIMELINE: Final = f"""
SELECT {EVENT_COLUMNS}, o.seq IS NULL, CASE WHEN o.seq IS NOT NULL THEN p.reason END
FROM orders a JOIN journal j ON j.number = a.number
  LEFT JOIN outbox o ON o.aggregate_id = a.order_id AND o.version = j.version
  LEFT JOIN parked p ON p.aggregate_id = a.order_id AND {_STOPS}
WHERE a.order_id = $1 ORDER BY j.version
"""  # noqa: S608 -- only column names are put in

# These do not wait for the disk: a mark that is forgotten means an event published twice, nothing more. They pass over
# rows that another instance is at, and so never deadlock with it.
_MARK: Final = """
DELETE FROM outbox WHERE seq IN (
  SELECT o.seq FROM unnest($1::text[], $2::int[]) AS m (aggregate_id, version)
    JOIN outbox o ON o.aggregate_id = m.aggregate_id AND o.version = m.version
  WHERE set_config('synchronous_commit', 'off', true) = 'off'
  ORDER BY o.seq FOR UPDATE OF o
)
"""
_TRIM_ANSWERS: Final = """
WITH gone AS (
  DELETE FROM answers WHERE key IN (
    SELECT key FROM answers WHERE recorded_at < $1 AND set_config('synchronous_commit', 'off', true) = 'off'
    ORDER BY recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED)
  RETURNING 1)
SELECT count(*) FROM gone
"""
_TRIM_JOURNAL: Final = """
WITH gone AS (
  DELETE FROM journal WHERE event_id IN (
    SELECT event_id FROM journal j
    WHERE occurred_at < $1 AND set_config('synchronous_commit', 'off', true) = 'off'
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.aggregate_id = j.aggregate_id AND o.version = j.version)
    ORDER BY occurred_at LIMIT $2 FOR UPDATE SKIP LOCKED)
  RETURNING 1)
SELECT count(*) FROM gone
"""
# A parking that has ended: where an instance of the first release parked, it names no event and would count again.
_TRIM_PARKED: Final = f"""
DELETE FROM parked WHERE aggregate_id IN (
  SELECT aggregate_id FROM parked p WHERE ({_STOPS}) IS NOT TRUE LIMIT $1 FOR UPDATE SKIP LOCKED)
"""  # noqa: S608 -- only a condition is put in
_PARK: Final = """
INSERT INTO parked (aggregate_id, version, reason)
SELECT o.aggregate_id, o.version, $3 FROM outbox o WHERE o.aggregate_id = $1 AND o.version = $2
ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, reason = excluded.reason
"""
# Also what does not count: an instance of the first release would let it stop the order.
_UNPARK: Final = f"""
WITH gone AS (DELETE FROM parked p WHERE $1::text IS NULL OR aggregate_id = $1 RETURNING {_STOPS} AS counts)
SELECT count(*) FROM gone WHERE counts
"""  # noqa: S608 -- only a condition is put in
_RECORD_PARTITIONS: Final = "INSERT INTO topics (topic, partitions) VALUES ($1, $2) ON CONFLICT (topic) DO NOTHING"
_PARTITIONS: Final = "SELECT partitions FROM topics WHERE topic = $1"
_TIME: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class PostgresOrderStore(RelayLeaseRow, ComparedRows):
    """OrderRepository, BatchWriter, Outbox, Journal, Housekeeping, StandingStore and RelayLease in the schema
    ``ordering_cart``.

    ``url`` is a libpq address (``postgresql://user:password@host:port/database?sslmode=...``), which goes to asyncpg
    as it is. ``owner`` names this instance in the lease; by default a new id. Nothing is connected before ``open`` or
    the first use. Text holding NUL or a lone surrogate cannot be stored: WriteRejected.
    """

    def __init__(self, url: str, *, owner: str | None = None) -> None:
        RelayLeaseRow.__init__(self, Database(url, CART), owner or str(uuid4()))

    async def open(self) -> None:
        """Connect and check the server, its durability and the schema. Idempotent.

        Raises Refused (one line for people: the service must not start) or StoreUnavailable.
        """
        await self._database.open()

    async def close(self) -> None:
        """Finish the write under way and hang up."""
        await self._database.close()

    # ------------------------------------------------------------------ commands

    async def get(self, aggregate_id: str) -> StoredState | None:
        rows = await self._database.fetch(_STATE, aggregate_id)
        if not rows:
            return None
        version, event_id, schema, state = rows[0]
        return StoredState(aggregate_id, version, event_id, Encoded(schema, state))

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        rows = await self._database.fetch(_ANSWER, key)
        return RecordedAnswer(*rows[0]) if rows else None

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        rounds = rounds_of(batch)
        return await self._database.write(lambda connection: store(connection, rounds))

    # ------------------------------------------------------------------ outbox

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        return [OutboxRow(event_of(row)) for row in await self._database.fetch(_HEADS, limit, list(exclude))]

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        if events:
            await self._database.fetch(_MARK, [key for key, _ in events], [version for _, version in events])

    async def park(self, aggregate_id: str, version: int, reason: str) -> None:
        await self._database.fetch(_PARK, aggregate_id, version, for_people(reason))

    async def retry(self, aggregate_id: str | None) -> int:
        [[parked]] = await self._database.fetch(_UNPARK, aggregate_id)
        return int(parked)

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        rows = await self._database.fetch(_WAITING, limit, parked_only)
        return [OutboxRow(event_of(row), row[9]) for row in rows]

    async def summary(self) -> OutboxSummary:
        [row] = await self._database.fetch(_SUMMARY)
        return OutboxSummary(*row)

    async def partitions(self, topic: str, found: int) -> int:
        async def record(connection: asyncpg.Connection) -> int:
            await connection.execute(_RECORD_PARTITIONS, topic, found)
            recorded: int = await connection.fetchval(_PARTITIONS, topic)
            return recorded

        return await self._database.run(record)

    async def recorded_partitions(self, topic: str) -> int | None:
        """The count that the topic's keys are placed by; None before its first use."""
        rows = await self._database.fetch(_PARTITIONS, topic)
        return int(rows[0][0]) if rows else None

    async def time(self) -> int:
        """The server's clock: UTC microseconds since 1970."""
        [row] = await self._database.fetch(_TIME)
        return int(row[0])

    # ------------------------------------------------------------------ journal and housekeeping

    async def timeline(self, aggregate_id: str) -> Sequence[JournalEntry]:
        rows = await self._database.fetch(_TIMELINE, aggregate_id)
        return [JournalEntry(event_of(row), published=row[9], parked=row[10]) for row in rows]

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        await self._database.fetch(_TRIM_PARKED, limit)
        [[answers]] = await self._database.fetch(_TRIM_ANSWERS, answers_before, limit)
        [[events]] = await self._database.fetch(_TRIM_JOURNAL, journal_before, limit - answers)
        return int(answers + events)
