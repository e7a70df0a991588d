"""The generations of a read model in a PostgreSQL schema."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import asyncpg

from ordering.adapters.postgres.changes import (
    CHANNEL,
    HELD_COLUMNS,
    ROW_COLUMNS,
    arguments_of,
    fill,
    held_record,
    news_of_anything,
    view_row,
)
from ordering.adapters.postgres.connections import Database, Job
from ordering.adapters.postgres.projection import PostgresProjection
from ordering.application.failures import Failure, LogChanged, Refused, StalePosition, WriteRejected
from ordering.application.generations import Figures, GenerationsFound, HeldPage, RowsPage, require_equal
from ordering.application.messages import Changes, HeldRecord, LogIdentity, ViewStats
from ordering.application.ports import LastChanges

T = TypeVar("T")

FLIP_SECONDS: Final = 1.0
"""How long consumers may have to wait: their statements give up after five."""

# S608: only column names and what finds a generation are put in.
_KEY: Final = "hashtextextended('ordering_order rebuild', 0)"
_CLAIM: Final = f"SELECT pg_try_advisory_lock({_KEY})"
_HOLDER: Final = f"""
SELECT a.pid, coalesce(host(a.client_addr), 'this server') FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = {_KEY}
"""  # noqa: S608
_RELEASE: Final = f"SELECT pg_advisory_unlock({_KEY})"
# Looks up one entry of an index per generation, however many rows there are.
_FOUND: Final = """
WITH RECURSIVE
  r (n) AS ((SELECT min(generation) FROM view_rows)
    UNION ALL SELECT (SELECT min(generation) FROM view_rows WHERE generation > n) FROM r WHERE n IS NOT NULL),
  h (n) AS ((SELECT min(generation) FROM held)
    UNION ALL SELECT (SELECT min(generation) FROM held WHERE generation > n) FROM h WHERE n IS NOT NULL)
SELECT generation, (SELECT min(l.generation) FROM logs l WHERE l.generation > p.generation),
  ARRAY(SELECT n FROM r WHERE n IS NOT NULL UNION SELECT n FROM h WHERE n IS NOT NULL
    UNION SELECT generation FROM logs UNION SELECT generation FROM positions UNION SELECT generation FROM tallies
    ORDER BY 1),
  ARRAY(SELECT DISTINCT topic FROM positions WHERE generation = p.generation ORDER BY 1)
FROM pointer p WHERE id = 1
"""
_BEGIN: Final = "INSERT INTO logs (generation, topic, cluster_id, topic_id) VALUES ($1, $2, $3, $4)"
_AT: Final = "ARRAY(SELECT ROW(partition, next) FROM positions WHERE generation = $1 AND topic = $2)"
_ROWS: Final = f"""
SELECT {_AT}, ARRAY(
  SELECT ROW({ROW_COLUMNS}) FROM view_rows WHERE generation = $1 AND key {{beyond}} $3 ORDER BY key LIMIT $4)
"""  # noqa: S608
_FIRST_ROWS, _NEXT_ROWS = _ROWS.format(beyond=">="), _ROWS.format(beyond=">")
_LETTERS: Final = f"""
SELECT {_AT}, ARRAY(SELECT ROW({HELD_COLUMNS}) FROM held
  WHERE generation = $1 AND topic = $2 AND (partition, record_offset) > ($3, $4)
  ORDER BY partition, record_offset LIMIT $5)
"""  # noqa: S608
_DISCARDED: Final = f"""
SELECT {HELD_COLUMNS} FROM discarded d JOIN held h USING (topic, partition, record_offset)
WHERE d.topic = $2 AND h.generation = $1 ORDER BY partition, record_offset
"""  # noqa: S608
_DISCARDS: Final = """
SELECT record_offset FROM discarded WHERE topic = $1 AND partition = $2 AND record_offset BETWEEN $3 AND $4
"""
_POSITIONS: Final = "SELECT partition, next FROM positions WHERE generation = $1 AND topic = $2"
_HOLD: Final = "SELECT generation FROM pointer WHERE id = 1 FOR UPDATE"
_FLIP: Final = "UPDATE pointer SET generation = $1 WHERE id = 1"
_FORGET: Final = """
WITH logs AS (DELETE FROM logs WHERE generation = $1), positions AS (DELETE FROM positions WHERE generation = $1)
DELETE FROM tallies WHERE generation = $1
"""
_DROP_ROWS: Final = """
DELETE FROM view_rows WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM view_rows WHERE generation = $1 ORDER BY first_timestamp, first_partition, first_offset LIMIT $2))
"""
_DROP_HELD: Final = """
DELETE FROM held WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM held WHERE generation = $1 ORDER BY topic, partition, record_offset LIMIT $2))
"""


def figures_sql(of: str) -> str:
    """Three columns for ``stats_of``, of a generation given as it stands in a statement."""
    return f"""
      ARRAY(SELECT ROW(kind, name, amount) FROM tallies WHERE generation = {of} AND amount <> 0),
      (SELECT count(DISTINCT key) FROM held WHERE generation = {of}),
      (SELECT count(*) FROM held WHERE generation = {of} AND reason <> 'parked')
    """  # noqa: S608


def stats_of(figures: Sequence[Any]) -> ViewStats:
    """The figures of a generation; label counts at zero are left out."""
    amounts, parked, letters = figures
    tallies: dict[str, dict[str, int]] = {"label": {}, "counter": {}}
    for kind, name, amount in amounts:
        tallies[kind][name] = amount
    return ViewStats(sum(tallies["label"].values()), tallies["label"], tallies["counter"], parked, letters)


_FIGURES: Final = f"SELECT {_AT}, {figures_sql('$1')}"


class PostgresGenerations:
    """Generations, by one connection that holds the claim as a lock of its session: the server drops it with the
    connection, and nothing is done by another connection, so whoever has lost the claim can change nothing any more."""

    def __init__(self, database: Database, origin: str) -> None:
        self._database, self._origin = database, origin
        self._holder: asyncpg.Connection | None = None
        self._flipping = False

    # ------------------------------------------------------------------ the claim

    async def claim(self) -> str | None:
        async def claim(connection: asyncpg.Connection) -> str | None:
            if await connection.fetchval(_CLAIM):
                self._holder = connection
                return None
            holder = await connection.fetchrow(_HOLDER)
            return "it has just ended" if holder is None else f"session {holder[0]} from {holder[1]}"

        if self._holder is not None and not self._holder.is_closed():
            return None
        return await self._database.write(claim)

    async def release(self) -> None:
        holder, self._holder = self._holder, None
        if holder is not None and not holder.is_closed():
            await self._database.write(lambda connection: connection.fetchval(_RELEASE))

    async def write(self, job: Job[T]) -> T:
        """Run a transaction as long as the claim stands. Raises Refused if it was lost with its connection."""

        async def guarded(connection: asyncpg.Connection) -> tuple[bool, T | None]:
            if connection is not self._holder:
                return False, None
            return True, await job(connection)

        stands, answer = await self._database.write(guarded)
        if not stands:
            raise Refused("the database broke the connection that made this the only rebuild: run it again to go on")
        return answer  # type: ignore[return-value]  # the job's own None is a T

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """All rows of one statement, which sees one moment, as long as the claim stands; while the pointer is being
        moved, as part of that transaction."""
        if self._flipping:
            assert self._holder is not None
            return list(await self._holder.fetch(sql, *values))

        async def job(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            return list(await connection.fetch(sql, *values))

        return await self.write(job)

    # ------------------------------------------------------------------ looking

    async def found(self) -> GenerationsFound:
        [(live, building, numbers, topics)] = await self.fetch(_FOUND)
        others = [number for number in numbers if number not in (live, building)]
        return GenerationsFound(live, building, tuple(others), tuple(topics))

    async def rows(self, generation: int, topic: str, after: str | None, limit: int) -> RowsPage:
        sql = _FIRST_ROWS if after is None else _NEXT_ROWS
        [(positions, rows)] = await self.fetch(sql, generation, topic, after or "", limit)
        return RowsPage(dict(positions), tuple([view_row(row) for row in rows]))

    async def letters(self, generation: int, topic: str, after: tuple[int, int], limit: int) -> HeldPage:
        [(positions, held)] = await self.fetch(_LETTERS, generation, topic, *after, limit)
        return HeldPage(dict(positions), tuple([held_record(row) for row in held]))

    async def figures(self, generation: int, topic: str) -> Figures:
        [(positions, *figures)] = await self.fetch(_FIGURES, generation, topic)
        return Figures(dict(positions), stats_of(figures))

    async def discarded(self, generation: int, topic: str) -> Sequence[HeldRecord]:
        return [held_record(row) for row in await self.fetch(_DISCARDED, generation, topic)]

    async def discards(self, topic: str, partition: int, first: int, last: int) -> Collection[int]:
        return [row[0] for row in await self.fetch(_DISCARDS, topic, partition, first, last)]

    # ------------------------------------------------------------------ changing

    async def begin(self, topic: str, identity: LogIdentity) -> int:
        async def begin(connection: asyncpg.Connection) -> int:
            live, _, numbers, _ = await connection.fetchrow(_FOUND)
            generation = max([live, *numbers]) + 1
            await connection.execute(_BEGIN, generation, topic, identity.cluster_id, identity.topic_id)
            return int(generation)

        return await self.write(begin)

    def store(self, generation: int) -> PostgresProjection:
        return PostgresProjection(self, self._origin, generation)

    async def flip(self, topic: str, generation: int, floors: Mapping[int, int], last: LastChanges) -> None:
        async def flip(connection: asyncpg.Connection) -> Exception | None:
            """What is ours to raise is handed out of the transaction, which it has rolled back."""
            self._flipping = True
            try:
                async with connection.transaction():
                    live = await connection.fetchval(_HOLD)
                    before = dict(await connection.fetch(_POSITIONS, live, topic))
                    async with asyncio.timeout(FLIP_SECONDS):
                        changes = await last(before)
                    if changes is not None:
                        await fill(connection, self._arguments(changes))
                    require_equal(before, dict(await connection.fetch(_POSITIONS, generation, topic)), floors)
                    await connection.execute(_FLIP, generation)
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, news_of_anything(self._origin))
            except TimeoutError:
                return StalePosition("the last records did not come in time")
            except (Failure, LogChanged, StalePosition, WriteRejected) as error:
                return error
            finally:
                self._flipping = False
            return None

        refusal = await self.write(flip)
        if refusal is not None:
            raise refusal

    def _arguments(self, changes: Changes) -> list[object]:
        return [*arguments_of(changes, self._origin)[:-1], None]

    async def drop(self, generation: int, limit: int) -> int:
        async def drop(connection: asyncpg.Connection) -> int:
            async with connection.transaction():
                assert await connection.fetchval("SELECT generation FROM pointer WHERE id = 1") != generation
                await connection.execute(_FORGET, generation)  # without these it is a leftover
                rows = _count(await connection.execute(_DROP_ROWS, generation, limit))
                return rows + _count(await connection.execute(_DROP_HELD, generation, limit - rows))

        return await self.write(drop)


def _count(status: str) -> int:
    """Of ``DELETE 5``."""
    return int(status.rpartition(" ")[2])
