"""The read side's surroundings: a strict read model in memory, a decoder of readable bodies, a consumer."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs

from ordering.adapters.memory.log import MemoryLog, MemorySource
from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import (
    BrokerUnavailable,
    RegistryUnavailable,
    StalePosition,
    WriteRejected,
)
from ordering.application.messages import (
    Changes,
    DeadReason,
    DecodedEvent,
    Encoded,
    HeldRecord,
    Lineage,
    LogIdentity,
    OutgoingRecord,
    Place,
    Polled,
    Record,
    Snapshot,
    Undecodable,
    ViewRow,
    ViewStats,
)
from ordering.application.partitioning import partition_of
from ordering.application.waiters import Waiters
from tests.unit.application.runtime import RecordingObserver, VirtualRuntime

TOPIC, GROUP = "things", "test"


def decoded(key: str, version: int | None, *, event_id: str = "", label: str = "", body: str = "") -> DecodedEvent:
    """An event of a key; without a version an inherited one. Id, label and state follow from the version."""
    lineage = Lineage.OWN if version is not None else Lineage.INHERITED
    label = label or ("old" if version is None else f"s{version}")
    encoded = Encoded("things/v1", (body or f"{key}@{version}").encode())
    return DecodedEvent(key, event_id or f"{key}-{version}", version, label, encoded, lineage)


class TextDecoder:
    """EventDecoder of bodies such as ``a:1`` (key and version), ``a:1:other-id``, ``a:-:state`` (inherited).

    ``bad...`` is corrupt; ``new...`` has a schema the registry does not know yet, until ``knows_new``.
    """

    def __init__(self) -> None:
        self.knows_new = False
        self.knows_new_of: set[str] = set()
        self.cured = False
        self.unavailable = False

    async def decode(self, records: Sequence[Record]) -> Sequence[DecodedEvent | Undecodable]:
        if self.unavailable:
            raise RegistryUnavailable("no registry")
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> DecodedEvent | Undecodable:
        text, key = (record.value or b"").decode(), record.key.decode() or None if record.key else None
        if text.startswith("bad"):
            if not self.cured:
                return Undecodable(DeadReason.CORRUPT, "it says so", key)
            text = text.removeprefix("bad ")
        if text.startswith("new"):
            if not self.knows_new and key not in self.knows_new_of:
                return Undecodable(DeadReason.UNKNOWN_SCHEMA, "id 99", key)
            text = text.removeprefix("new ")
        key, version, *rest = text.split(":")
        if version == "-":
            return decoded(key, None, event_id=f"{record.partition}/{record.offset}", label=rest[0], body=rest[0])
        return decoded(key, int(version), event_id=rest[0] if rest else "")


class StrictViews:
    """ProjectionStore, OrderViews and DeadLetters: every promise of ``Changes`` is checked, every change atomic.

    ``faults`` are met one per call of ``load`` or ``commit``; (error, True) happens after the commit was stored.
    """

    def __init__(self) -> None:
        self.generation = 1
        self.rows: dict[str, ViewRow] = {}
        self.at: dict[int, int] = {}
        self.letters_held: dict[tuple[int, int], HeldRecord] = {}
        self.labels: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.identities: dict[str, LogIdentity] = {}
        self.load_faults: list[Exception | None] = []
        self.commit_faults: list[Exception | tuple[Exception, bool] | None] = []
        self.commits = 0
        self.refuses: set[bytes] = set()
        """Bodies the store cannot hold in a row."""

    async def identity(self, topic: str) -> LogIdentity | None:
        return self.identities.get(topic)

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        return self.identities.setdefault(topic, identity)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        fault = self.load_faults.pop(0) if self.load_faults else None
        if fault is not None:
            raise fault
        return Snapshot(self.generation, dict(self.at), {key: self.rows[key] for key in keys if key in self.rows})

    async def commit(self, changes: Changes) -> None:
        fault = self.commit_faults.pop(0) if self.commit_faults else None
        error, anyway = fault if isinstance(fault, tuple) else (fault, False)
        if any(row.encoded is not None and row.encoded.body in self.refuses for row in changes.rows):
            raise WriteRejected("too long")
        if error is not None and not anyway:
            raise error
        self.apply(changes)
        if error is not None:
            raise error

    def apply(self, changes: Changes) -> None:
        """Store all of it, or raise StalePosition and store nothing."""
        fresh = changes.generation == self.generation
        fresh &= all(self.at.get(partition, 0) == expected for partition, (expected, _) in changes.positions.items())
        stored = {row.key: self.rows[row.key].revision if row.key in self.rows else 0 for row in changes.rows}
        if not fresh or any(row.revision != stored[row.key] + 1 for row in changes.rows):
            raise StalePosition
        assert len(stored) == len(changes.rows), "a row appears twice"
        for place in changes.released:
            del self.letters_held[place]
        for letter in changes.held:
            place = letter.record.partition, letter.record.offset
            assert place not in self.letters_held, "a record is held twice"
            self.letters_held[place] = letter
        self.at.update({partition: reached for partition, (_, reached) in changes.positions.items()})
        self.rows.update({row.key: row for row in changes.rows})
        self.labels.update(changes.labels)
        self.counters.update(changes.counters)
        self.commits += 1
        for row in changes.rows:
            held = sum(letter.key == row.key for letter in self.letters_held.values())
            assert row.held == held, f"{row.key} says {row.held} held, {held} are"

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return [letter for _, letter in sorted(self.letters_held.items()) if letter.key == key]

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        firsts: dict[str, str] = {}
        for _, letter in sorted(self.letters_held.items()):
            if letter.key is not None:
                firsts.setdefault(letter.key, letter.reason)
        return [key for key, first in sorted(firsts.items()) if first == reason and key > after][:limit]

    async def get(self, key: str) -> ViewRow | None:
        return self.rows.get(key)

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        places = sorted((attrs.astuple(row.first), key) for key, row in self.rows.items())
        found = [(Place(*place), key) for place, key in places if after is None or place > attrs.astuple(after)]
        return found[:limit]

    async def positions(self, topic: str) -> Mapping[int, int]:
        return dict(self.at)

    async def stats(self) -> ViewStats:
        rows, letters = self.rows.values(), self.letters_held.values()
        by_label = {label: count for label, count in self.labels.items() if count}
        parked = sum(bool(row.held) for row in rows)
        own = sum(letter.reason != DeadReason.PARKED for letter in letters)
        return ViewStats(sum(row.version > 0 for row in rows), by_label, dict(self.counters), parked, own)

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        found = [letter for _, letter in sorted(self.letters_held.items())]
        return [one for one in found if (one.key == key if key else one.reason != DeadReason.PARKED)][:limit]

    def versions(self) -> dict[str, int]:
        """Each key's version."""
        return {key: row.version for key, row in self.rows.items()}


class WatchedSource(MemorySource):
    """The memory source, with its seeks and polls written down; ``seek_faults`` are met one per call."""

    def __init__(self, log: MemoryLog, runtime: VirtualRuntime) -> None:
        super().__init__(log, GROUP, runtime.now)
        self.seeks: list[dict[int, int]] = []
        self.seek_faults: list[BrokerUnavailable] = []
        self._going: list[int] = []

    def revoke(self, partition: int) -> None:
        """Give a partition to another member of the group, with the next poll."""
        self._going.append(partition)
        self._log.grow(0)  # wakes whoever waits

    async def poll(self, limit: int, wait: float) -> Polled:
        polled = await super().poll(limit, 0 if self._going else wait)
        if not self._going:
            return polled
        going, self._going = tuple(self._going), []
        for partition in going:
            self._positions.pop(partition, None)
        kept = tuple(record for record in polled.records if record.partition not in going)
        return Polled(polled.assigned, going, kept)

    async def seek(self, positions: Mapping[int, int]) -> None:
        if self.seek_faults:
            raise self.seek_faults.pop(0)
        self.seeks.append(dict(positions))
        await super().seek(positions)


class ReadBench:
    """A log, a read model and one consumer (``start`` makes another one: a new life after a crash)."""

    def __init__(self, runtime: VirtualRuntime, *, partitions: int = 3, limits: ConsumerLimits | None = None) -> None:
        self.runtime, self.limits = runtime, limits
        self.log = MemoryLog(TOPIC, partitions)
        self.views, self.decoder = StrictViews(), TextDecoder()
        self.observer, self.waiters = RecordingObserver(), Waiters(runtime)
        self.held = HeldRecords(self.views, self.decoder, runtime, TOPIC)

    def start(self) -> "ReadBench":
        self.source = WatchedSource(self.log, self.runtime)
        self.consumer = EventConsumer(
            self.source,
            self.decoder,
            self.views,
            self.held,
            self.waiters,
            self.runtime,
            self.observer,
            TOPIC,
            self.limits,
        )
        self.running = self.runtime.spawn(self.consumer.run(), name="consumer")
        return self

    def append(self, *texts: str) -> None:
        """Records whose key is the text's first word after ``bad`` or ``new``, up to the colon."""
        for text in texts:
            key = text.removeprefix("bad ").removeprefix("new ").split(":")[0].encode()
            partition = partition_of(key, len(self.log.partitions))
            self.log.append(OutgoingRecord(TOPIC, partition, key, text.encode(), (), self.runtime.now() // 1000))
