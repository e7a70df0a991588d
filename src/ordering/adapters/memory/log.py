"""A partitioned event log in memory: the same records, offsets and waits as the durable ones, lost with the process."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ordering.application.failures import BrokerUnavailable, LogChanged
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

MAX_RECORD_BYTES: Final = 1 << 20


class MemoryLog:
    """One topic: the records by partition, and who waits for more of them.

    Everything lives on one event loop. ``committed`` holds what each consumer group last told, as a broker does.
    """

    def __init__(self, topic: str, partitions: int, cluster_id: str = "memory", topic_id: str | None = "0") -> None:
        self.topic, self.identity = topic, LogIdentity(cluster_id, topic_id)
        self.partitions: list[list[Record]] = [[] for _ in range(partitions)]
        self.committed: dict[str, dict[int, int]] = {}
        self.begins: dict[int, int] = {}
        """Where partitions begin whose first records were deleted."""
        self._waiting: set[asyncio.Future[None]] = set()

    def append(self, record: OutgoingRecord) -> int:
        """The record's offset, after waking everybody who waits."""
        records = self.partitions[record.partition]
        offset = len(records)
        records.append(
            Record(
                self.topic, record.partition, offset, record.timestamp, record.key, record.value, tuple(record.headers)
            )
        )
        self._wake()
        return offset

    def grow(self, partitions: int) -> None:
        """Add empty partitions up to this count, as an operator of a broker may."""
        self.partitions.extend([] for _ in range(partitions - len(self.partitions)))
        self._wake()

    def trim(self, partition: int, before: int) -> None:
        """Delete the records before an offset, as an operator may."""
        self.begins[partition] = before

    def ends(self) -> dict[int, int]:
        """Every partition's next offset."""
        return {partition: len(records) for partition, records in enumerate(self.partitions)}

    async def news(self, seconds: float) -> None:
        """Return at the next append or growth, or after so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


class MemoryPublisher:
    """EventPublisher into a MemoryLog.

    Trouble is made by two switches: ``unavailable`` (a reason: nothing is taken, ``probe`` says why) and ``verdict``,
    which sees every record before it is appended and may answer in the log's place; answering Unsent *after* an
    append (a lost acknowledgement) is ``lose_acks``.
    """

    def __init__(self, log: MemoryLog, *, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._log, self._max = log, max_record_bytes
        self.unavailable: str | None = None
        self.verdict: Callable[[OutgoingRecord], PublishResult | None] = lambda _record: None
        self.lose_acks = False

    @property
    def outage(self) -> str | None:
        return self.unavailable

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        """Appends at once, in the batch's order."""
        return [self._publish(record) for record in batch]

    async def probe(self) -> None:
        if self.unavailable is not None:
            raise BrokerUnavailable(self.unavailable)

    async def partition_count(self, topic: str) -> int:
        await self.probe()
        if topic != self._log.topic:
            raise BrokerUnavailable(f"topic {topic} does not exist")
        return len(self._log.partitions)

    def _publish(self, record: OutgoingRecord) -> PublishResult:
        if self.unavailable is not None:
            return Unsent(self.unavailable)
        answer = self.verdict(record) or self._refusal(record)
        if answer is not None:
            return answer
        offset = self._log.append(record)
        return Unsent("the acknowledgement was lost") if self.lose_acks else Acked(offset)

    def _refusal(self, record: OutgoingRecord) -> Rejected | None:
        if record.topic != self._log.topic:
            return Rejected(f"topic {record.topic} does not exist")
        if not 0 <= record.partition < len(self._log.partitions):
            return Rejected(f"topic {record.topic} has no partition {record.partition}")
        size = len(record.key) + len(record.value) + sum(len(name) + len(value) for name, value in record.headers)
        return Rejected(f"a record of {size} bytes is over the limit of {self._max}") if size > self._max else None


class MemorySource:
    """EventSource from a MemoryLog for the only instance of a group, so all partitions are its own.

    ``unavailable`` makes every call but ``seek`` and ``commit`` fail with this reason.
    """

    def __init__(self, log: MemoryLog, group: str, now: Callable[[], int]) -> None:
        self._log, self._group, self._now = log, group, now
        self._assigned = 0
        self._positions: dict[int, int] = {}
        self._turn = 0
        self.unavailable: str | None = None

    async def identity(self) -> LogIdentity:
        self._require_available()
        return self._log.identity

    async def poll(self, limit: int, wait: float) -> Polled:
        """One record of each partition in turn, so that no partition holds up another."""
        await asyncio.sleep(0)
        self._require_available()
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            polled = self._poll(limit)
            left = deadline - asyncio.get_running_loop().time()
            if polled is not None or left <= 0:
                return polled or Polled()
            await self._log.news(left)
            self._require_available()

    async def seek(self, positions: Mapping[int, int]) -> None:
        self._positions.update(positions)

    async def commit(self, positions: Mapping[int, int]) -> None:
        self._log.committed.setdefault(self._group, {}).update(positions)

    async def end_offsets(self) -> Mapping[int, int]:
        self._require_available()
        return self._log.ends()

    async def begin_offsets(self) -> Mapping[int, int]:
        self._require_available()
        return {partition: self._log.begins.get(partition, 0) for partition in self._log.ends()}

    async def newest(self, each: int, partitions: Collection[int] | None = None) -> Sequence[Record]:
        self._require_available()
        begins = self._log.begins
        return [
            record
            for partition, records in enumerate(self._log.partitions)
            if partitions is None or partition in partitions
            for record in records[max(begins.get(partition, 0), len(records) - each) :]
        ]

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        self._require_available()
        waiting = [records[positions.get(partition, 0) :] for partition, records in enumerate(self._log.partitions)]
        oldest = min((records[0].timestamp for records in waiting if records), default=None)
        age = 0.0 if oldest is None else max(0.0, self._now() / 1_000_000 - oldest / 1_000)
        return Lag(sum(map(len, waiting)), age)

    def _require_available(self) -> None:
        if self.unavailable is not None:
            raise BrokerUnavailable(self.unavailable)

    def _poll(self, limit: int) -> Polled | None:
        count = len(self._log.partitions)
        if self._assigned < count:
            gained = tuple(range(self._assigned, count))
            self._assigned = count
            return Polled(assigned=gained)
        self._require_history()
        records: list[Record] = []
        while len(records) < limit and (turns := self._with_news()):
            for partition in turns[: limit - len(records)]:
                records.append(self._log.partitions[partition][self._positions[partition]])
                self._positions[partition] += 1
                self._turn = partition + 1
        return Polled(records=tuple(records)) if records else None

    def _with_news(self) -> list[int]:
        ready = [partition for partition, at in self._positions.items() if at < len(self._log.partitions[partition])]
        return sorted(ready, key=lambda partition: (partition < self._turn, partition))

    def _require_history(self) -> None:
        for partition, at in self._positions.items():
            end = len(self._log.partitions[partition]) if partition < len(self._log.partitions) else 0
            if at > end:
                raise LogChanged(f"partition {partition} of {self._log.topic} ends at {end}, before position {at}")
            begin = self._log.begins.get(partition, 0)
            if at < begin:
                raise LogChanged(f"partition {partition} of {self._log.topic} begins at {begin}, behind position {at}")
