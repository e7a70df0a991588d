"""The write side's store in one SQLite file: aggregates, journal, outbox, answers."""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import apsw

from ordering.adapters.sqlite.database import NoWriter, Reader, Writer, open_reader, open_writer
from ordering.adapters.sqlite.rows import EVENT_COLUMNS, event_of
from ordering.adapters.sqlite.standings import adopt, requeue, standings, states
from ordering.adapters.sqlite.writes import ANSWER, apply
from ordering.application.errors import CommitAmbiguous, StoreUnavailable
from ordering.application.failures import Refused
from ordering.application.messages import (
    Encoded,
    JournalEntry,
    KeptState,
    NewEvent,
    OutboxRow,
    OutboxSummary,
    Outcome,
    RecordedAnswer,
    Standing,
    StoredState,
    Write,
)

SCHEMA_VERSION: Final = 3
UPGRADES: Final = {2: Path(__file__).with_name("order_store_3.sql")}
"""What brings a file of an older version to the next one."""

_SCHEMA = Path(__file__).with_name("order_store.sql")
_NO_RELAY = "no relay is running"

_STATE = "SELECT version, event_id, schema, state FROM orders WHERE order_id = ?"
# A parking lasts as long as the event that the log refused, or one before it, waits.
_STOPS = "EXISTS (SELECT 1 FROM outbox e WHERE e.aggregate_id = p.aggregate_id AND e.version <= p.version)"
# Rows enter the outbox in the order of their aggregate's versions, under ascending seq: one writer at a time.
_HEADS = f"""
SELECT {EVENT_COLUMNS} FROM outbox o JOIN journal j USING (seq)
WHERE NOT EXISTS (SELECT 1 FROM outbox e WHERE e.aggregate_id = o.aggregate_id AND e.version < o.version)
  AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.aggregate_id = o.aggregate_id AND p.version >= o.version)
  AND o.aggregate_id NOT IN (SELECT value FROM json_each(?))
ORDER BY o.seq LIMIT ?
"""  # noqa: S608 -- only column names are put in
_WAITING = f"""
SELECT p.reason, {EVENT_COLUMNS} FROM outbox o JOIN journal j USING (seq)
  LEFT JOIN parked p ON p.aggregate_id = o.aggregate_id AND {_STOPS}
WHERE p.reason IS NOT NULL OR NOT ? ORDER BY o.seq LIMIT ?
"""  # noqa: S608 -- only column names and a condition are put in
_SUMMARY = f"""
SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM parked p WHERE {_STOPS}),
  (SELECT j.occurred_at FROM outbox o JOIN journal j USING (seq)
   WHERE NOT EXISTS (SELECT 1 FROM parked p WHERE p.aggregate_id = o.aggregate_id AND {_STOPS})
   ORDER BY o.seq LIMIT 1)
"""  # noqa: S608 -- only a condition is put in
_TIMELINE = f"""
SELECT o.seq IS NULL, CASE WHEN o.seq IS NOT NULL THEN p.reason END, {EVENT_COLUMNS}
FROM orders a JOIN journal j USING (number) LEFT JOIN outbox o USING (seq)
  LEFT JOIN parked p ON p.aggregate_id = a.order_id AND {_STOPS}
WHERE a.order_id = ? ORDER BY j.version
"""  # noqa: S608 -- only column names are put in
_MARK = "DELETE FROM outbox WHERE aggregate_id = ? AND version = ?"
_PARK = """
INSERT INTO parked (aggregate_id, version, reason)
SELECT aggregate_id, version, ?3 FROM outbox WHERE aggregate_id = ?1 AND version = ?2
ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, reason = excluded.reason
"""
_UNPARK = f"DELETE FROM parked AS p WHERE (?1 IS NULL OR aggregate_id = ?1) AND {_STOPS}"  # noqa: S608
_RECORD_PARTITIONS = "INSERT INTO topics (topic, partitions) VALUES (?, ?) ON CONFLICT (topic) DO NOTHING"
_PARTITIONS = "SELECT partitions FROM topics WHERE topic = ?"
_TRIM_ANSWERS = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE recorded_at < ? ORDER BY recorded_at LIMIT ?)
"""
_TRIM_JOURNAL = """
DELETE FROM journal WHERE seq IN (
  SELECT seq FROM journal j WHERE occurred_at < ? AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.seq = j.seq)
  ORDER BY occurred_at LIMIT ?)
"""

T = TypeVar("T")


def has_published_to(path: Path, topic: str) -> bool:
    """Whether the order store at this path, if there is one that can be read, has ever reached the topic's log."""
    for version in (SCHEMA_VERSION, *UPGRADES):  # the topics are in every one of them
        try:
            reader = open_reader(path, version)
        except Refused:
            continue
        try:
            return bool(reader.query(_PARTITIONS, (topic,)))
        finally:
            reader.close()
    return False


class SqliteOrderStore:
    """OrderRepository, BatchWriter, Outbox, Journal, Housekeeping and RelayLease on one file.

    Reads run on the event loop and see every answered commit. The file's process lock is the lease: who could open
    the store holds it.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader
        self._deliverable: str | None = _NO_RELAY

    @classmethod
    def open(
        cls, path: Path, *, exclusive: bool = True, vfs: str | None = None, synchronous: str = "FULL"
    ) -> "SqliteOrderStore":
        """Open or create the file, and convert one that an older release has made; who opens it without ``exclusive``
        does neither. The arguments are those of ``open_writer``. Raises Refused, StoreUnavailable."""
        writer = open_writer(
            path,
            _SCHEMA.read_text(encoding="utf-8"),
            SCHEMA_VERSION,
            upgrades={version: script.read_text(encoding="utf-8") for version, script in UPGRADES.items()},
            exclusive=exclusive,
            vfs=vfs,
            synchronous=synchronous,
        )
        return cls(writer, Reader(path, SCHEMA_VERSION, vfs=vfs))

    @classmethod
    def look(cls, path: Path) -> "SqliteOrderStore":
        """Open the file to look at it, beside a service or without one: whatever would change it is refused, and
        nothing is left beside it. Raises Refused."""
        return cls(NoWriter(), open_reader(path, SCHEMA_VERSION, upgrades=UPGRADES))

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        self._reader.close()
        await self._writer.close()

    # ------------------------------------------------------------------ commands

    async def get(self, aggregate_id: str) -> StoredState | None:
        rows = self._reader.query(_STATE, (aggregate_id,))
        if not rows:
            return None
        version, event_id, schema, state = rows[0]
        return StoredState(aggregate_id, version, event_id, Encoded(schema, state))

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        rows = self._reader.query(ANSWER, (key,))
        return RecordedAnswer(*rows[0]) if rows else None

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return await self._writer.run(lambda connection: [apply(connection, write) for write in batch])

    # ------------------------------------------------------------------ outbox

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        rows = self._reader.query(_HEADS, (json.dumps(list(exclude)), limit))
        return [OutboxRow(event_of(row)) for row in rows]

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        """Without a sync of its own: a mark forgotten at a power cut means an event published twice, nothing more."""

        def mark(connection: apsw.Connection) -> None:
            connection.executemany(_MARK, events)

        await self._repeatable(mark, durable=False)

    async def park(self, aggregate_id: str, version: int, reason: str) -> None:
        def store(connection: apsw.Connection) -> None:
            connection.execute(_PARK, (aggregate_id, version, reason))

        await self._repeatable(store)

    async def retry(self, aggregate_id: str | None) -> int:
        def unpark(connection: apsw.Connection) -> int:
            connection.execute(_UNPARK, (aggregate_id,))
            return connection.changes()

        return await self._repeatable(unpark)

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        rows = self._reader.query(_WAITING, (parked_only, limit))
        return [OutboxRow(event_of(row[1:]), row[0]) for row in rows]

    async def summary(self) -> OutboxSummary:
        return OutboxSummary(*self._reader.query(_SUMMARY)[0])

    async def partitions(self, topic: str, found: int) -> int:
        def record(connection: apsw.Connection) -> int:
            connection.execute(_RECORD_PARTITIONS, (topic, found))
            recorded: int = connection.execute(_PARTITIONS, (topic,)).get
            return recorded

        return await self._repeatable(record)

    async def recorded_partitions(self, topic: str) -> int | None:
        """The count that the topic's keys are placed by; None before its first use."""
        rows = self._reader.query(_PARTITIONS, (topic,))
        return int(rows[0][0]) if rows else None

    # ------------------------------------------------------------------ journal and housekeeping

    async def timeline(self, aggregate_id: str) -> Sequence[JournalEntry]:
        rows = self._reader.query(_TIMELINE, (aggregate_id,))
        return [JournalEntry(event_of(row[2:]), published=bool(row[0]), parked=row[1]) for row in rows]

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        def delete(connection: apsw.Connection) -> int:
            connection.execute(_TRIM_ANSWERS, (answers_before, limit))
            answers = connection.changes()
            connection.execute(_TRIM_JOURNAL, (journal_before, limit - answers))
            return answers + connection.changes()

        return await self._repeatable(delete, durable=False)

    # ------------------------------------------------------------------ compared with the log

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        return self._reader.snapshot(lambda connection: standings(connection, keys))

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        await self._repeatable(lambda connection: adopt(connection, events))

    async def states(self, after: str, limit: int) -> Sequence[KeptState]:
        return self._reader.snapshot(lambda connection: states(connection, after, limit))

    async def requeue(self, keys: Collection[str], lost: Sequence[NewEvent]) -> None:
        await self._repeatable(lambda connection: requeue(connection, keys, lost))

    # ------------------------------------------------------------------ lease

    async def renew(self, deliverable: str | None) -> bool:
        self._deliverable = deliverable
        return True

    async def holders_view(self) -> str | None:
        return self._deliverable

    async def release(self) -> None:
        self._deliverable = _NO_RELAY

    async def nudge(self) -> None:
        """Nobody to tell: this process holds the lease."""

    async def follow(self, wake: Callable[[], None]) -> None:
        await asyncio.Event().wait()

    async def _repeatable(self, job: Callable[[apsw.Connection], T], *, durable: bool = True) -> T:
        """For changes that may be done twice: not to know whether they are stored is the same as not stored."""
        try:
            return await self._writer.run(job, durable=durable)
        except CommitAmbiguous as error:
            raise StoreUnavailable("the disk failed while committing") from error
