"""The generations of a read model in a SQLite file."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from ordering.adapters.sqlite.changes import HELD_COLUMNS, ROW_COLUMNS, held_record, store, view_row
from ordering.adapters.sqlite.database import Reader, Writer
from ordering.adapters.sqlite.errors import AlreadyRunning
from ordering.adapters.sqlite.files import ProcessLock
from ordering.adapters.sqlite.projection import POINTER, POSITIONS, SqliteProjection
from ordering.application.failures import StalePosition
from ordering.application.generations import Figures, GenerationsFound, HeldPage, RowsPage, require_equal
from ordering.application.messages import Changes, HeldRecord, LogIdentity, ViewStats
from ordering.application.ports import LastChanges

FLIP_SECONDS: Final = 1.0
"""How long the consumer may have to wait: its own patience with the lock is two seconds."""

# S608: only column names and numbers are put in.
# Looks up one entry of an index per generation, however many rows there are.
_NUMBERS = """
WITH RECURSIVE
  r (n) AS (SELECT min(generation) FROM rows
    UNION ALL SELECT (SELECT min(generation) FROM rows WHERE generation > n) FROM r WHERE n IS NOT NULL),
  h (n) AS (SELECT min(generation) FROM held
    UNION ALL SELECT (SELECT min(generation) FROM held WHERE generation > n) FROM h WHERE n IS NOT NULL)
SELECT n FROM r WHERE n IS NOT NULL UNION SELECT n FROM h WHERE n IS NOT NULL
UNION SELECT generation FROM logs UNION SELECT generation FROM positions UNION SELECT generation FROM tallies
"""
_BUILDING = "SELECT min(generation) FROM logs WHERE generation > (SELECT generation FROM pointer)"
_TOPICS = """
SELECT DISTINCT topic FROM positions WHERE generation = (SELECT generation FROM pointer) ORDER BY topic
"""
_BEGIN = "INSERT INTO logs (generation, topic, cluster_id, topic_id) VALUES (?, ?, ?, ?)"
_FIRST_ROWS = f"SELECT {ROW_COLUMNS} FROM rows WHERE generation = ? ORDER BY key LIMIT ?"  # noqa: S608
_NEXT_ROWS = f"SELECT {ROW_COLUMNS} FROM rows WHERE generation = ? AND key > ? ORDER BY key LIMIT ?"  # noqa: S608
_LETTERS = f"""
SELECT {HELD_COLUMNS} FROM held WHERE generation = ? AND topic = ? AND (partition, offset) > (?, ?)
ORDER BY partition, offset LIMIT ?
"""  # noqa: S608
_DISCARDED = f"""
SELECT {", ".join(f"h.{name}" for name in HELD_COLUMNS.split(", "))} FROM discarded d CROSS JOIN held h
WHERE d.topic = ?2 AND h.generation = ?1 AND h.topic = d.topic AND h.partition = d.partition AND h.offset = d.offset
ORDER BY h.partition, h.offset
"""  # noqa: S608
_DISCARDS = "SELECT offset FROM discarded WHERE topic = ? AND partition = ? AND offset BETWEEN ? AND ?"
_TALLIES = "SELECT kind, name, amount FROM tallies WHERE generation = {of} AND amount <> 0"
_HELD_COUNTS = """
SELECT (SELECT count(DISTINCT key) FROM held WHERE generation = {of}),
  (SELECT count(*) FROM held WHERE generation = {of} AND reason <> 'parked')
"""
_AT = POSITIONS.format(of="?2").replace("topic = ?", "topic = ?1")
_FLIP = "UPDATE pointer SET generation = ?"
# In the order of first appearances, which is about the one in which the rows lie in the file.
_DROP_ROWS = """
DELETE FROM rows WHERE number IN (
  SELECT number FROM rows WHERE generation = ? ORDER BY first_timestamp, first_partition, first_offset LIMIT ?)
"""
_DROP_HELD = """
DELETE FROM held WHERE rowid IN (SELECT rowid FROM held WHERE generation = ? ORDER BY topic, partition, offset LIMIT ?)
"""


def stats_of(connection: apsw.Connection, generation: str) -> ViewStats:
    """The figures of a generation, given as it stands in a statement; label counts at zero are left out."""
    tallies: dict[str, dict[str, int]] = {"label": {}, "counter": {}}
    for kind, name, amount in connection.execute(_TALLIES.format(of=generation)):
        tallies[kind][name] = amount
    parked, letters = connection.execute(_HELD_COUNTS.format(of=generation)).get
    return ViewStats(sum(tallies["label"].values()), tallies["label"], tallies["counter"], parked, letters)


class SqliteGenerations:
    """Generations, beside a running service or without one. The kernel holds the claim, and drops it with the process.

    What is filled is not synced with every batch: the file keeps its order, so a power cut takes the last batches
    whole, and the flip, which is synced, takes everything before it along.
    """

    def __init__(self, path: Path, writer: Writer, reader: Reader) -> None:
        self._path, self._writer, self._reader = path, writer, reader
        self._claim: ProcessLock | None = None

    async def claim(self) -> str | None:
        if self._claim is None:
            try:
                self._claim = ProcessLock(self._path.with_name(f"{self._path.name}.rebuild"))
            except AlreadyRunning as other:
                return f"process {other.pid}" if other.pid else "another process"
        return None

    async def release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    async def found(self) -> GenerationsFound:
        def read(connection: apsw.Connection) -> GenerationsFound:
            live, building = connection.execute(POINTER).get, connection.execute(_BUILDING).get
            topics: list[Any] = connection.execute(_TOPICS).fetchall()
            others = [number for number in _numbers(connection) if number not in (live, building)]
            return GenerationsFound(live, building, tuple(others), tuple([topic for (topic,) in topics]))

        return self._reader.snapshot(read)

    async def begin(self, topic: str, identity: LogIdentity) -> int:
        def begin(connection: apsw.Connection) -> int:
            generation = max([connection.execute(POINTER).get, *_numbers(connection)]) + 1
            connection.execute(_BEGIN, (generation, topic, identity.cluster_id, identity.topic_id))
            return int(generation)

        return await self._writer.run(begin)

    def store(self, generation: int) -> SqliteProjection:
        return SqliteProjection(self._writer, self._reader, generation, durable=False)

    async def rows(self, generation: int, topic: str, after: str | None, limit: int) -> RowsPage:
        def read(connection: apsw.Connection) -> RowsPage:
            if after is None:
                rows = connection.execute(_FIRST_ROWS, (generation, limit))
            else:
                rows = connection.execute(_NEXT_ROWS, (generation, after, limit))
            return RowsPage(_at(connection, generation, topic), tuple([view_row(*row) for row in rows]))

        return self._reader.snapshot(read)

    async def letters(self, generation: int, topic: str, after: tuple[int, int], limit: int) -> HeldPage:
        def read(connection: apsw.Connection) -> HeldPage:
            held = connection.execute(_LETTERS, (generation, topic, *after, limit))
            return HeldPage(_at(connection, generation, topic), tuple([held_record(*row) for row in held]))

        return self._reader.snapshot(read)

    async def figures(self, generation: int, topic: str) -> Figures:
        def read(connection: apsw.Connection) -> Figures:
            return Figures(_at(connection, generation, topic), stats_of(connection, str(generation)))

        return self._reader.snapshot(read)

    async def discarded(self, generation: int, topic: str) -> Sequence[HeldRecord]:
        return [held_record(*row) for row in self._reader.query(_DISCARDED, (generation, topic))]

    async def discards(self, topic: str, partition: int, first: int, last: int) -> Collection[int]:
        return [offset for (offset,) in self._reader.query(_DISCARDS, (topic, partition, first, last))]

    async def flip(self, topic: str, generation: int, floors: Mapping[int, int], last: LastChanges) -> None:
        loop = asyncio.get_running_loop()

        async def ask(live: Mapping[int, int]) -> Changes | None:
            try:
                async with asyncio.timeout(FLIP_SECONDS):
                    return await last(live)
            except TimeoutError:
                raise StalePosition("the last records did not come in time") from None

        def flip(connection: apsw.Connection) -> None:
            """In the writer's thread, which holds the file's lock while the loop finds the last records."""
            before = _at(connection, connection.execute(POINTER).get, topic)
            changes = asyncio.run_coroutine_threadsafe(ask(before), loop).result()
            if changes is not None:
                store(connection, changes)
            require_equal(before, _at(connection, generation, topic), floors)
            connection.execute(_FLIP, (generation,))

        await self._writer.run(flip)

    async def drop(self, generation: int, limit: int) -> int:
        def drop(connection: apsw.Connection) -> int:
            assert connection.execute(POINTER).get != generation, "the live generation is not dropped"
            for table in ("logs", "positions", "tallies"):  # without these it is a leftover
                connection.execute(f"DELETE FROM {table} WHERE generation = ?", (generation,))  # noqa: S608
            before = connection.total_changes()
            connection.execute(_DROP_ROWS, (generation, limit))
            rows = connection.total_changes() - before
            connection.execute(_DROP_HELD, (generation, limit - rows))
            return connection.total_changes() - before

        return await self._writer.run(drop, durable=False)


def _numbers(connection: apsw.Connection) -> list[int]:
    found: list[Any] = connection.execute(_NUMBERS).fetchall()
    return [number for (number,) in found]


def _at(connection: apsw.Connection, generation: int, topic: str) -> dict[int, int]:
    reached: list[Any] = connection.execute(_AT, (topic, generation)).fetchall()
    return dict(reached)
