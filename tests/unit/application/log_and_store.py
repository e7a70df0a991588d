"""An order store and a log, and what may happen to them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from ordering.adapters.memory.log import MemoryLog, MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.application.compare_log import Reconciled, Reconciler, StartCheck
from ordering.application.messages import (
    DecodedEvent,
    Encoded,
    Headers,
    Lineage,
    NewEvent,
    OutgoingRecord,
    Record,
    StoredState,
    Undecodable,
    Write,
)
from ordering.application.partitioning import Places
from ordering.application.republish import Begin, Republished, Republisher
from tests.unit.application.runtime import RecordingObserver

TOPIC, OURS = "things", "urn:ours"
SENT_BY_US: Headers = (("ce_source", OURS.encode()),)


class Decoder:
    """A record's value is ``version event-id``, or ``inherited``."""

    async def decode(self, records: Sequence[Record]) -> Sequence[DecodedEvent | Undecodable]:
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> DecodedEvent | Undecodable:
        assert record.key is not None
        assert record.value is not None
        key, encoded = record.key.decode(), Encoded("thing/1", record.value)
        match record.value.decode().split():
            case [version, event_id]:
                return DecodedEvent(key, event_id, int(version), "new", encoded)
            case ["inherited"]:
                return DecodedEvent(key, f"{key}-{record.offset}", None, "new", encoded, Lineage.INHERITED)
            case _:
                return Undecodable("corrupt", "no event", key)


class World:
    """A store and a log, and what a service does to them."""

    def __init__(self, partitions: int = 3) -> None:
        self.store, self.log, self.observer = MemoryOrderStore(), MemoryLog(TOPIC, partitions), RecordingObserver()
        self._ids = 0

    async def change(self, key: str) -> None:
        """One more version of a key."""
        stored = await self.store.get(key)
        version = 1 if stored is None else stored.version + 1
        self._ids += 1
        event_id = f"e{self._ids}"
        encoded = Encoded("thing/1", f"{version} {event_id}".encode())
        event = NewEvent(event_id, key, version, TOPIC, key.encode(), SENT_BY_US, encoded, self._ids)
        await self.store.write([Write(key, version - 1, event)])

    async def publish(self, *, mark: bool = True) -> None:
        """The next event of each key reaches the log; its mark may get lost."""
        for row in await self.store.heads(100, ()):
            event = row.event
            self.append(event.key, event.encoded.body, event.headers)
            if mark:
                await self.store.mark_published([(event.aggregate_id, event.version)])

    def append(self, key: bytes, value: bytes, headers: Headers = SENT_BY_US) -> None:
        """A record, whoever sends it."""
        self.log.append(OutgoingRecord(TOPIC, sum(key) % len(self.log.partitions), key, value, headers, 1))

    async def check(self) -> Places:
        """What happens at every start."""
        source = MemorySource(self.log, "check", lambda: 0)
        return await StartCheck(source, Decoder(), self.store, self.observer, OURS)()

    async def reconcile(self, *, dry_run: bool = False) -> Reconciled:
        """The way out."""
        source = MemorySource(self.log, "reconcile", lambda: 0)
        return await Reconciler(source, Decoder(), self.store, OURS).run(dry_run=dry_run)

    async def republish(self, begin: Begin | None = None) -> Republished:
        """The other way out; ``begin`` where the log was lost."""
        source, compared = (MemorySource(self.log, name, lambda: 0) for name in ("republish", "compared"))
        reconciler = Reconciler(compared, Decoder(), self.store, OURS)
        return await Republisher(source, Decoder(), self.store, reconciler, _again, OURS, begin).run()

    async def publish_all(self) -> None:
        """Until nothing waits."""
        while await self.store.heads(1, ()):
            await self.publish()

    def restore(self, backup: MemoryOrderStore) -> None:
        """Put a backup in the store's place."""
        self.store = copy.deepcopy(backup)

    def first_appearances(self) -> dict[str, list[tuple[int, str]]]:
        """Of each key the versions in the log as they first came, with their events."""
        seen: dict[str, dict[int, str]] = {}
        for key, version, event_id in self._events():
            seen.setdefault(key, {}).setdefault(version, event_id)
        return {key: list(versions.items()) for key, versions in seen.items()}

    def all_events(self) -> set[tuple[str, int, str]]:
        """Key, version and event of everything in the log: one version with two events shows."""
        return set(self._events())

    def _events(self) -> Iterator[tuple[str, int, str]]:
        for records in self.log.partitions:
            for record in records:
                assert record.key is not None
                assert record.value is not None
                version, event_id = record.value.decode().split()
                yield record.key.decode(), int(version), event_id


def _again(state: StoredState) -> NewEvent:
    key, encoded = state.aggregate_id, state.encoded
    if encoded.schema != "thing/1":
        raise ValueError(f"unknown schema {encoded.schema}")
    return NewEvent(state.event_id, key, state.version, TOPIC, key.encode(), SENT_BY_US, encoded, 1)
