"""The read model in one SQLite file: rows, positions, held records and figures, changed in one transaction."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import apsw

from ordering.adapters.sqlite.changes import HELD_COLUMNS, ROW_COLUMNS, held_record, view_row
from ordering.adapters.sqlite.database import NoWriter, Reader, Writer, open_reader, open_writer
from ordering.adapters.sqlite.generations import SqliteGenerations, stats_of
from ordering.adapters.sqlite.projection import HELD, LIVE, POSITIONS, SqliteProjection
from ordering.application.messages import HeldRecord, Place, ViewRow, ViewStats

SCHEMA_VERSION: Final = 2
UPGRADES: Final = {1: Path(__file__).with_name("views_2.sql")}
"""What brings a file of an older version to the next one."""

_SCHEMA = Path(__file__).with_name("views.sql")
_BEGINNING = Place(-(1 << 63), 0, 0)

_POSITIONS = POSITIONS.format(of=LIVE)
_ROW = f"SELECT {ROW_COLUMNS} FROM rows WHERE generation = {LIVE} AND key = ?"  # noqa: S608
_IDS = f"""
SELECT first_timestamp, first_partition, first_offset, key FROM rows
WHERE generation = {LIVE} AND (first_timestamp, first_partition, first_offset) > (?, ?, ?)
ORDER BY first_timestamp, first_partition, first_offset LIMIT ?
"""  # noqa: S608
_HELD = HELD.format(of=LIVE)
_LETTERS = f"""
SELECT {HELD_COLUMNS} FROM held WHERE generation = {LIVE} AND reason <> 'parked'
ORDER BY held_at, topic, partition, offset LIMIT ?
"""  # noqa: S608


class SqliteViews(SqliteProjection):
    """ProjectionStore, OrderViews and DeadLetters on one file.

    Reads run on the event loop and see every commit that was answered before. A row keeps the ``first`` it came with;
    label counts at zero are left out of the statistics. ``commit`` may also raise CommitAmbiguous: repeating it is
    safe, the compare-and-set refuses what is stored already.
    """

    def __init__(self, path: Path, writer: Writer, reader: Reader) -> None:
        super().__init__(writer, reader)
        self._path = path

    @classmethod
    def open(
        cls, path: Path, *, exclusive: bool = True, vfs: str | None = None, synchronous: str = "FULL"
    ) -> "SqliteViews":
        """Open or create the file, and convert one that an older release has made. The service opens it exclusively:
        there is one instance; tools do not, and convert nothing.

        Raises Refused (a second instance, for one) or StoreUnavailable.
        """
        writer = open_writer(
            path,
            _SCHEMA.read_text(encoding="utf-8"),
            SCHEMA_VERSION,
            upgrades={version: script.read_text(encoding="utf-8") for version, script in UPGRADES.items()},
            exclusive=exclusive,
            vfs=vfs,
            synchronous=synchronous,
        )
        return cls(path, writer, Reader(path, SCHEMA_VERSION, vfs=vfs))

    @classmethod
    def look(cls, path: Path) -> "SqliteViews":
        """Open the file to look at it, beside a service or without one: whatever would change it is refused, and
        nothing is left beside it. Raises Refused."""
        return cls(path, NoWriter(), open_reader(path, SCHEMA_VERSION, upgrades=UPGRADES))

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        self._reader.close()
        await self._writer.close()

    def generations(self) -> SqliteGenerations:
        """The generations, as one process that may rebuild sees them; to be used only while this is open."""
        return SqliteGenerations(self._path, self._writer, self._reader)

    # ------------------------------------------------------------------ the queries' side

    async def get(self, key: str) -> ViewRow | None:
        rows = self._reader.query(_ROW, (key,))
        return view_row(*rows[0]) if rows else None

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        place = after or _BEGINNING
        rows = self._reader.query(_IDS, (place.timestamp, place.partition, place.offset, limit))
        return [(Place(timestamp, partition, offset), key) for timestamp, partition, offset, key in rows]

    async def positions(self, topic: str) -> Mapping[int, int]:
        return dict(self._reader.query(_POSITIONS, (topic,)))

    async def stats(self) -> ViewStats:
        def read(connection: apsw.Connection) -> ViewStats:
            return stats_of(connection, LIVE)

        return self._reader.snapshot(read)

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        """No other process changes this read model; what tools release is seen by the next look."""
        await asyncio.Event().wait()

    # ------------------------------------------------------------------ people's side

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        rows = self._reader.query(_LETTERS, (limit,)) if key is None else self._reader.query(_HELD, (key, limit))
        return [held_record(*row) for row in rows]
