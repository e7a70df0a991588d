"""The event log without a broker: one SQLite file per topic, partitioned like Kafka, written by one process.

Readers are other processes as a rule. They keep their positions in their own databases and notice new rows by the
file's ``data_version``; nothing of theirs is written here. Nothing is ever deleted: retention is the operator's.
"""

import asyncio
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from ordering.adapters.sqlite.database import Reader, Refused, Writer, open_reader, open_writer
from ordering.adapters.sqlite.errors import NotSetUp, raise_refused
from ordering.adapters.sqlite.rows import pack_headers, unpack_headers
from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    LogChanged,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.messages import (
    Acked,
    Lag,
    LogIdentity,
    OutgoingRecord,
    Polled,
    PublishResult,
    Record,
    Rejected,
    Unsent,
)

SCHEMA_VERSION: Final = 1
MAX_RECORD_BYTES: Final = 1 << 20

# How often a waiting reader looks for news: soon after traffic, else rarely enough to cost nothing.
BUSY_SECONDS: Final = 0.002
IDLE_SECONDS: Final = 0.05
BUSY_FOR: Final = 1.0

_SCHEMA = Path(__file__).with_name("log.sql")
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,200}")  # Kafka's characters, so a topic can move there; a safe file name too

_CREATE_META = "INSERT INTO meta (id, topic, partitions) VALUES (1, {}, {}) ON CONFLICT (id) DO NOTHING;"
_META = "SELECT topic, partitions, cluster_id, topic_id FROM meta"
_END = "SELECT ifnull(max(offset) + 1, 0) FROM records WHERE partition = ?"
_APPEND = "INSERT INTO records (partition, offset, timestamp, key, headers, value) VALUES (?, ?, ?, ?, ?, ?)"
_ENDS = """
WITH RECURSIVE p (partition) AS (SELECT 0 UNION ALL SELECT partition + 1 FROM p WHERE partition + 1 < ?)
SELECT partition, (SELECT ifnull(max(offset) + 1, 0) FROM records r WHERE r.partition = p.partition) FROM p
"""
_BEGINS = """
WITH RECURSIVE p (partition) AS (SELECT 0 UNION ALL SELECT partition + 1 FROM p WHERE partition + 1 < ?)
SELECT partition, (SELECT ifnull(min(offset), 0) FROM records r WHERE r.partition = p.partition) FROM p
"""
_READ = """
SELECT offset, timestamp, key, value, headers FROM records WHERE partition = ? AND offset >= ? ORDER BY offset LIMIT ?
"""
_NEWEST = """
SELECT offset, timestamp, key, value, headers FROM records WHERE partition = ? ORDER BY offset DESC LIMIT ?
"""
_TIMESTAMP = "SELECT timestamp FROM records WHERE partition = ? AND offset >= ? ORDER BY offset LIMIT 1"

_Row = tuple[int, int, bytes, bytes, bytes]
"""Partition, timestamp, key, headers, value."""


def log_path(folder: Path, topic: str) -> Path:
    """The file of a topic's log. Raises Refused for a name that Kafka would not take either."""
    if not _TOPIC.fullmatch(topic):
        raise Refused(f"{topic!r} cannot name a topic: 1 to 200 of A-Z a-z 0-9 . _ - are allowed")
    return folder / f"log-{topic}.db"


def was_begun(path: Path) -> bool:
    """Whether there is a log in the file, as far as a look without a trace tells. A copy made without the -wal of a
    young log, and what ``truncate`` leaves of any, hold none."""
    if not path.is_file() or not path.stat().st_size:  # beside an empty file SQLite throws a -wal away
        return False
    try:
        open_reader(path, SCHEMA_VERSION).close()
    except NotSetUp:
        return Path(f"{path}-wal").exists()  # whoever opens the file sees what is in there
    except Refused:
        return True  # whoever opens it is told what is wrong with it
    return True


class SqlitePublisher:
    """EventPublisher into one topic's log; the only process that writes it.

    Each ``publish`` is one durable transaction: Acked records are synced to the disk. Offsets are counted in that
    transaction, so nothing that failed can leave a hole or a wrong count behind.
    """

    def __init__(self, writer: Writer, topic: str, partitions: int, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._writer, self._topic, self._partitions = writer, topic, partitions
        self._max = max_record_bytes
        self._in_doubt = False

    @classmethod
    def open(
        cls, folder: Path, topic: str, partitions: int, *, vfs: str | None = None, synchronous: str = "FULL"
    ) -> "SqlitePublisher":
        """Open or create the log; a log that exists keeps the partition count it was created with.

        Raises Refused (another process writes it, for one).
        """
        path = log_path(folder, topic)
        meta = _CREATE_META.format(apsw.format_sql_value(topic), partitions)
        schema = _SCHEMA.read_text(encoding="utf-8") + meta
        writer = open_writer(path, schema, SCHEMA_VERSION, vfs=vfs, synchronous=synchronous)
        reader = Reader(path, SCHEMA_VERSION, vfs=vfs)
        try:
            found, count, _, _ = reader.query(_META)[0]
        except StoreUnavailable as error:
            writer.abandon()
            raise_refused(path, error)
        finally:
            reader.close()
        return cls(writer, found, count)

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await self._writer.close()

    @property
    def outage(self) -> str | None:
        """A file does not hang up: every write tells at once whether it was taken."""
        return None

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        rows = [self._row(record) for record in batch]
        results = iter(await self._append([row for row in rows if not isinstance(row, Rejected)]))
        return [row if isinstance(row, Rejected) else next(results) for row in rows]

    async def probe(self) -> None:
        """The file must lie where readers look for it; after a failure, a write that changes nothing shows whether
        it takes writes again."""

        def touch(connection: apsw.Connection) -> None:
            connection.execute("UPDATE meta SET topic = topic")

        try:
            self._writer.require_place()
            if self._in_doubt:
                await self._writer.run(touch)
        except (StoreUnavailable, CommitAmbiguous) as error:
            raise BrokerUnavailable(_reason(error)) from error
        self._in_doubt = False

    async def partition_count(self, topic: str) -> int:
        if topic != self._topic:
            raise BrokerUnavailable(f"topic {topic} does not exist")
        return self._partitions

    def _row(self, record: OutgoingRecord) -> _Row | Rejected:
        if record.topic != self._topic:
            return Rejected(f"topic {record.topic} does not exist")
        if not 0 <= record.partition < self._partitions:
            return Rejected(f"topic {record.topic} has no partition {record.partition}")
        headers = pack_headers(record.headers)
        size = len(record.key) + len(record.value) + len(headers)
        if size > self._max:
            return Rejected(f"a record of {size} bytes is over the limit of {self._max}")
        return record.partition, record.timestamp, record.key, headers, record.value

    async def _append(self, rows: Sequence[_Row]) -> Sequence[PublishResult]:
        if not rows:
            return ()
        try:
            offsets = await self._writer.run(lambda connection: _append(connection, rows))
        except WriteRejected as error:
            if len(rows) == 1:
                return (Rejected(str(error)),)
            return [result for row in rows for result in await self._append((row,))]
        except (StoreUnavailable, CommitAmbiguous) as error:
            self._in_doubt = True
            return [Unsent(_reason(error))] * len(rows)
        return [Acked(offset) for offset in offsets]


def _append(connection: apsw.Connection, rows: Sequence[_Row]) -> list[int]:
    """The offsets given to the rows, each partition's going on from its end."""
    ends: dict[int, int] = {}
    offsets = []
    for partition, *_ in rows:
        offset = ends[partition] if partition in ends else int(connection.execute(_END, (partition,)).get)
        offsets.append(offset)
        ends[partition] = offset + 1
    connection.executemany(_APPEND, [(row[0], offset, *row[1:]) for row, offset in zip(rows, offsets, strict=True)])
    return offsets


def _reason(error: StoreUnavailable | CommitAmbiguous) -> str:
    return f"the event log cannot be written: {getattr(error, 'reason', error)}"


class SqliteSource:
    """EventSource and LogTail from one topic's log, by a read-only connection on the event loop.

    The file may come later than the reader: until then every question raises BrokerUnavailable. A file that is
    another log than before raises LogChanged for as long as it lies there. There is one instance per group, so all
    partitions are assigned at once. ``now`` is wall-clock time in UTC microseconds, for ``lag``. ``vfs`` is there for
    tests of failing disks.
    """

    def __init__(
        self, folder: Path, topic: str, now: Callable[[], int], *, vfs: str | None = None, traceless: bool = False
    ) -> None:
        """``traceless`` is for those who only look: nothing appears beside the file."""
        self._path, self._topic, self._now = log_path(folder, topic), topic, now
        self._open_reader = partial(Reader, self._path, SCHEMA_VERSION, vfs=vfs, traceless=traceless)
        self._reader: Reader | None = None
        self._inode = 0
        self._identity: LogIdentity | None = None
        self._partitions = 0
        self._assigned = False
        self._positions: dict[int, int] = {}
        self._seen: int | None = None
        self._turn = 0
        self._busy_until = 0.0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def identity(self) -> LogIdentity:
        self._open()
        assert self._identity is not None
        return self._identity

    async def poll(self, limit: int, wait: float) -> Polled:
        """Records of every partition that has news share ``limit``. A wait looks every 2 ms for a second after
        traffic, then every 50 ms."""
        await asyncio.sleep(0)
        self._open()
        if not self._assigned:
            self._assigned = True
            return Polled(assigned=tuple(range(self._partitions)))
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait
        while True:
            records = self._news(limit)
            if records:
                self._busy_until = clock() + BUSY_FOR
                return Polled(records=tuple(records))
            left = deadline - clock()
            if left <= 0:
                return Polled()
            await asyncio.sleep(min(left, BUSY_SECONDS if clock() < self._busy_until else IDLE_SECONDS))
            self._open()  # the file may have gone in the meantime, and other callers may have noticed that

    async def seek(self, positions: Mapping[int, int]) -> None:
        self._positions.update(positions)
        self._seen = None

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Nothing to tell: nobody else follows this group."""

    async def end_offsets(self) -> Mapping[int, int]:
        self._open()
        return self._ends()

    async def begin_offsets(self) -> Mapping[int, int]:
        self._open()
        return dict(self._query(_BEGINS, (self._partitions,)))

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        self._open()
        behind = {
            partition: end - positions.get(partition, 0)
            for partition, end in self._ends().items()
            if end > positions.get(partition, 0)
        }
        oldest = [
            timestamp
            for partition in behind
            for (timestamp,) in self._query(_TIMESTAMP, (partition, positions.get(partition, 0)))
        ]
        age = max(0.0, self._now() / 1_000_000 - min(oldest) / 1_000) if oldest else 0.0
        return Lag(sum(behind.values()), age)

    async def newest(self, each: int, partitions: Collection[int] | None = None) -> Sequence[Record]:
        self._open()
        found: list[Record] = []
        for partition in range(self._partitions) if partitions is None else partitions:
            found += self._records(partition, reversed(self._query(_NEWEST, (partition, each))))
        return found

    # ------------------------------------------------------------------ the file

    def _open(self) -> None:
        """Make sure the log at the path is the one that is open. Raises BrokerUnavailable, LogChanged."""
        try:
            inode = os.stat(self._path).st_ino  # noqa: PTH116 -- half the price of Path.stat, on every poll
        except FileNotFoundError:
            self.close()
            raise BrokerUnavailable(f"the event log of topic {self._topic} does not exist yet") from None
        except OSError as error:
            self.close()
            raise BrokerUnavailable(f"the event log cannot be read: {error.strerror}") from error
        if self._reader is not None and inode == self._inode:
            return
        self.close()
        self._reader, self._inode, self._seen = self._open_reader(), inode, None
        try:
            topic, partitions, *ids = self._query(_META)[0]
            self._recognise(topic, partitions, LogIdentity(*ids))
        except (BrokerUnavailable, LogChanged):
            self.close()  # only a log that was recognised stays open: the next question finds the same out again
            raise

    def _recognise(self, topic: str, partitions: int, found: LogIdentity) -> None:
        if topic != self._topic:
            raise LogChanged(f"{self._path} is the log of topic {topic}, not of {self._topic}")
        if self._identity is not None and found != self._identity:
            raise LogChanged(f"the log of topic {self._topic} was deleted and created again")
        self._identity, self._partitions = found, partitions

    def _query(self, sql: str, bindings: "apsw.Bindings" = ()) -> list[tuple[Any, ...]]:
        if self._reader is None:
            raise BrokerUnavailable("the event log cannot be read: it is closed")
        try:
            return self._reader.query(sql, bindings)
        except StoreUnavailable as error:
            self._seen = None  # the next connection counts its data_version anew
            raise BrokerUnavailable(f"the event log cannot be read: {error.reason}") from error

    # ------------------------------------------------------------------ reading

    def _news(self, limit: int) -> list[Record]:
        """What lies behind the positions, or nothing, cheaply, if the file has not changed since it held nothing."""
        seen = self._query("PRAGMA data_version")[0][0]
        if seen == self._seen:
            return []
        waiting = self._waiting()
        records: list[Record] = []
        for partition, count in _shares(waiting, limit, self._turn).items():
            records += self._read(partition, count)
            self._turn = partition + 1
        if len(records) == sum(waiting.values()):
            self._seen = seen
        return records

    def _waiting(self) -> dict[int, int]:
        """How many records lie behind the position of each partition that has any. Raises LogChanged."""
        ends = self._ends()
        for partition, at in self._positions.items():
            if at > ends.get(partition, 0):
                end = ends.get(partition, 0)
                raise LogChanged(f"partition {partition} of {self._topic} ends at {end}, before position {at}")
        return {partition: ends[partition] - at for partition, at in self._positions.items() if ends[partition] > at}

    def _read(self, partition: int, count: int) -> list[Record]:
        at = self._positions[partition]
        records = self._records(partition, self._query(_READ, (partition, at, count)))
        if len(records) != count or records[-1].offset != at + count - 1:
            raise LogChanged(f"records of partition {partition} of {self._topic} are missing from position {at} on")
        self._positions[partition] = at + count
        return records

    def _records(self, partition: int, rows: Iterable[tuple[Any, ...]]) -> list[Record]:
        try:
            return [
                Record(self._topic, partition, offset, timestamp, key, value, unpack_headers(headers))
                for offset, timestamp, key, value, headers in rows
            ]
        except msgspec.DecodeError as error:  # we wrote them, so the file is not what it was
            raise BrokerUnavailable(f"the event log cannot be read: partition {partition} is damaged") from error

    def _ends(self) -> dict[int, int]:
        return dict(self._query(_ENDS, (self._partitions,)))


def _shares(waiting: Mapping[int, int], limit: int, first: int) -> dict[int, int]:
    """``limit`` divided among the partitions with news, equally; what one does not need goes to the others.

    Partitions from ``first`` on come first, so that turns change when there are more partitions than places.
    """
    shares: dict[int, int] = {}
    open_to = sorted(waiting, key=lambda partition: (partition < first, partition))
    while open_to and limit > 0:
        each = max(1, limit // len(open_to))
        for partition in open_to[:limit]:
            more = min(each, waiting[partition] - shares.get(partition, 0))
            shares[partition] = shares.get(partition, 0) + more
            limit -= more
        open_to = [partition for partition in open_to if shares.get(partition, 0) < waiting[partition]]
    return shares
