"""A relay between the memory store and the memory log, with switches for everything that can go wrong around it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from ordering.adapters.memory.log import MemoryLog, MemoryPublisher
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.application.failures import RegistryUnavailable, StoreUnavailable
from ordering.application.messages import Encoded, NewEvent, OutboxRow, OutgoingRecord, PublishResult, Stored, Write
from ordering.application.outage_gate import BacklogLimits, OutageGate, OutagePolicy
from ordering.application.relay_limits import RelayLimits
from ordering.application.relay_outbox import OutboxRelay
from tests.unit.application.runtime import RecordingObserver, VirtualRuntime

TOPIC, SCHEMA = "things", "things-value/v1"


def event_of(name: str, version: int, at: int = 0) -> NewEvent:
    """The version-th event of an aggregate; its body says so."""
    body = f"{name}:{version}".encode()
    return NewEvent(f"{name}-{version}", name, version, TOPIC, name.encode(), (), Encoded(SCHEMA, body), at + 1_000_000)


class BrokenOutbox(MemoryOrderStore):
    """The memory store whose outbox fails while ``broken``; marks can be lost on their own, heads can be slow."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self.broken = self.marks_broken = self.parking_broken = False
        self.heads_seconds = self.parking_seconds = 0.0
        self.heads_calls = 0

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        self._require(not self.broken)
        self.heads_calls += 1
        rows = await super().heads(limit, exclude)
        await self._runtime.sleep(self.heads_seconds)
        return rows

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        self._require(not (self.broken or self.marks_broken))
        await super().mark_published(events)

    async def park(self, aggregate_id: str, version: int, reason: str) -> None:
        self._require(not (self.broken or self.parking_broken))
        await self._runtime.sleep(self.parking_seconds)
        await super().park(aggregate_id, version, reason)

    @staticmethod
    def _require(works: bool) -> None:
        if not works:
            raise StoreUnavailable("busy")


class SlowPublisher(MemoryPublisher):
    """The memory publisher, ``seconds`` before the log takes a batch; ``batches`` shows what was given to it."""

    def __init__(self, log: MemoryLog, runtime: VirtualRuntime) -> None:
        super().__init__(log)
        self._runtime = runtime
        self.seconds = 0.001
        self.batches: list[list[str]] = []

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        self.batches.append([record.value[5:].decode() for record in batch])
        await self._runtime.sleep(self.seconds)
        return await super().publish(batch)


class SwitchedSchemas:
    """SchemaIds that can be out of reach."""

    unavailable = False

    async def id_of(self, schema: str) -> int:
        if self.unavailable:
            raise RegistryUnavailable("no registry")
        return 7


class SwitchedLease:
    """RelayLease held by this relay unless it is not ``mine`` or given back; ``holder_says`` is the holder's word."""

    def __init__(self) -> None:
        self.mine, self.given_back = True, False
        self.broken = False
        self.told: list[str | None] = []
        self.holder_says: str | None = None
        self.nudged = 0
        self.wake: Callable[[], None] = lambda: None

    async def renew(self, deliverable: str | None) -> bool:
        if self.broken:
            raise StoreUnavailable("busy")
        self.told.append(deliverable)
        if self.mine:
            self.given_back = False
        return self.mine

    async def holders_view(self) -> str | None:
        return "no relay is running" if self.given_back else self.holder_says

    async def release(self) -> None:
        self.given_back = True

    async def nudge(self) -> None:
        self.nudged += 1

    async def follow(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        await asyncio.Event().wait()


class RelayBench:
    """Store, log and one relay (``start`` makes another one: a new life after a crash)."""

    def __init__(
        self,
        runtime: VirtualRuntime,
        *,
        limits: RelayLimits | None = None,
        policy: OutagePolicy = OutagePolicy.REJECT,
        backlog: BacklogLimits | None = None,
        start_check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.runtime, self.limits, self.start_check = runtime, limits, start_check
        self.policy, self.backlog = policy, backlog
        self.free_bytes = 1 << 40
        self.log = MemoryLog(TOPIC, 3)
        self.store = BrokenOutbox(runtime)
        self.publisher = SlowPublisher(self.log, runtime)
        self.schemas, self.lease, self.observer = SwitchedSchemas(), SwitchedLease(), RecordingObserver()
        self.versions: dict[str, int] = {}

    def start(self) -> "RelayBench":
        self.gate = OutageGate(self.policy, self.backlog, lambda: self.free_bytes)
        self.relay = OutboxRelay(
            self.store,
            self.publisher,
            self.schemas,
            self.lease,
            self.gate,
            self.runtime,
            self.observer,
            TOPIC,
            SCHEMA,
            self.limits,
            self.start_check,
        )
        self.running = self.runtime.spawn(self.relay.run(), name="relay")
        return self

    async def commit(self, *names: str, offered: bool = True) -> None:
        """Store the next event of each aggregate in one transaction and offer them, unless the process dies first."""
        writes = []
        for name in names:
            version = self.versions[name] = self.versions.get(name, 0) + 1
            writes.append(Write(name, version - 1, event_of(name, version, self.runtime.now())))
        outcomes = await self.store.write(writes)
        pairs = []
        for write, outcome in zip(writes, outcomes, strict=True):
            assert isinstance(outcome, Stored)
            assert write.event is not None
            pairs.append((write.event, outcome))
        if offered:
            self.relay.offer(pairs)

    @property
    def closed(self) -> str | None:
        """Why the gate is closed."""
        return self.gate.closed

    def logged(self, name: str) -> list[int]:
        """The versions of an aggregate in the log, in the log's order."""
        records = [record for partition in self.log.partitions for record in partition]
        bodies = [record.value[5:].decode().split(":") for record in records if record.value is not None]
        return [int(version) for key, version in bodies if key == name]

    async def unpublished(self) -> list[str]:
        """What is not marked."""
        return [row.event.event_id for row in await self.store.waiting(1000)]


def first_appearances(versions: Sequence[int]) -> list[int]:
    """Each version once, where it came first."""
    return list(dict.fromkeys(versions))
