"""What the simulated nodes call: the memory adapters behind delays, faults and the death of the caller.

A call's effect happens outside of its node, so a node can die before, during and after it: what was on its way is
done all the same, and nobody hears of it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from ordering.adapters.memory.log import MemoryLog, MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    RegistryUnavailable,
    StalePosition,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.messages import (
    Acked,
    Changes,
    OutboxRow,
    OutboxSummary,
    Outcome,
    OutgoingRecord,
    Polled,
    PublishResult,
    RecordedAnswer,
    Rejected,
    Snapshot,
    StoredState,
    Unsent,
    Write,
)
from tests.unit.application.runtime import VirtualRuntime

T = TypeVar("T")


@attrs.frozen
class Weather:
    """How likely each fault is in this world, and how slow everything may be."""

    busy: float
    ambiguous: float
    marks_lost: float
    unsent: float
    ack_lost: float
    late_append: float
    rejected: float
    registry: float
    stale: float
    slowest: float
    store_slowest: float

    @classmethod
    def drawn(cls, rng: random.Random) -> "Weather":
        """Each fault is absent, rare or frequent: uniform rates would hide what needs one of them often."""
        rates = {field.name: rng.choice((0.0, 0.05, 0.3)) for field in attrs.fields(cls)}
        rates |= {
            "rejected": rng.choice((0.0, 0.0, 0.01)),
            "registry": rng.choice((0.0, 0.02)),
            "slowest": rng.choice((0.0, 0.01, 0.3)),
            "store_slowest": rng.choice((0.001, 0.02, 0.5)),
        }
        return cls(**rates)


class _InOrder(dict[Any, None]):
    """A set that is walked in the order of arrival: one of futures would be walked differently in every run."""

    def add(self, item: object) -> None:
        """As a set's."""
        self[item] = None

    def discard(self, item: object) -> None:
        """As a set's."""
        self.pop(item, None)


CALM = Weather(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.001, 0.001)


class Outside:
    """All that outlives a node: the stores, the log, the weather."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.runtime = VirtualRuntime(seed)
        self.weather = Weather.drawn(self.rng)
        self.store, self.views = MemoryOrderStore(), MemoryViews()
        self.log = MemoryLog("order-events", self.rng.choice((1, 3)))
        self.log._waiting = _InOrder()  # type: ignore[assignment]
        self.broker_down: str | None = None
        self.store_down = False
        self.lease_owner, self.lease_until = 0, 0.0
        self.everybody_leads = self.rng.random() < 0.5
        self.hangs_up = self.rng.random() < 0.5

    def happens(self, chance: float) -> bool:
        """Whether a fault of this likelihood strikes now."""
        return self.rng.random() < chance

    async def delay(self, slowest: float) -> None:
        """Some time, often none at all."""
        if self.rng.random() < 0.5:
            await self.runtime.sleep(self.rng.uniform(0, slowest))


class Node:
    """One process: its tasks, and whether it still lives."""

    def __init__(self, outside: Outside, number: int) -> None:
        self.outside, self.number = outside, number
        self.runtime = VirtualRuntime(outside.rng.getrandbits(32), skew=outside.rng.randint(-(10**7), 10**7))
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.paused_until = 0.0

    @property
    def alive(self) -> bool:
        """False after the crash."""
        return not self.died.done()

    def crash(self) -> None:
        """kill -9: all tasks and all memory are gone."""
        self.died.set_result(None)
        for task in list(self.runtime.tasks):
            task.cancel()

    async def call(self, act: Callable[[], Awaitable[T]]) -> T:
        """A call to the outside. The node may pause before and after it, or die meanwhile."""
        await self._while_paused()
        work = self.outside.runtime.spawn(_wrapped(act), name=f"call of node {self.number}")
        answer, error = await asyncio.shield(work)
        await self._while_paused()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    async def _while_paused(self) -> None:
        while self.alive and self.paused_until > self.runtime.monotonic():
            await self.runtime.sleep(self.paused_until - self.runtime.monotonic())
        if not self.alive:
            await asyncio.get_running_loop().create_future()


async def _wrapped(act: Callable[[], Awaitable[T]]) -> tuple[T | None, Exception | None]:
    try:
        return await act(), None
    except Exception as error:
        return None, error


class SimStore:
    """OrderRepository, BatchWriter, Outbox and RelayLease of one node."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside, self._real = node, node.outside, node.outside.store

    async def _do(self, act: Callable[[], Awaitable[T]], lost: float = 0.0) -> T:
        async def do() -> T:
            outside = self._outside
            await outside.delay(outside.weather.store_slowest)
            if outside.store_down or outside.happens(outside.weather.busy):
                raise StoreUnavailable("busy")
            answer = await act()
            await outside.delay(outside.weather.store_slowest)
            if outside.happens(lost):
                raise StoreUnavailable("the answer was lost")
            return answer

        return await self._node.call(do)

    async def get(self, aggregate_id: str) -> StoredState | None:
        return await self._do(lambda: self._real.get(aggregate_id))

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        return await self._do(lambda: self._real.answer_to(key))

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        async def write() -> Sequence[Outcome]:
            if any(w.aggregate_id.startswith("bad") for w in batch):
                raise WriteRejected("a row breaks a constraint")
            if not self._outside.happens(self._outside.weather.ambiguous):
                return await self._real.write(batch)
            if self._outside.happens(0.5):
                await self._real.write(batch)
            raise CommitAmbiguous("the connection was lost")

        return await self._do(write)

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        return await self._do(lambda: self._real.heads(limit, exclude))

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        await self._do(lambda: self._real.mark_published(events), lost=self._outside.weather.marks_lost)

    async def park(self, aggregate_id: str, reason: str) -> None:
        await self._do(lambda: self._real.park(aggregate_id, reason))

    async def retry(self, aggregate_id: str | None) -> int:
        return await self._do(lambda: self._real.retry(aggregate_id))

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        return await self._do(lambda: self._real.waiting(limit, parked_only=parked_only))

    async def summary(self) -> OutboxSummary:
        return await self._do(self._real.summary)

    async def partitions(self, topic: str, found: int) -> int:
        return await self._do(lambda: self._real.partitions(topic, found))

    async def renew(self, deliverable: str | None) -> bool:
        """Half of the worlds let everybody lead all the time: two relays must only repeat, never reorder."""

        async def renew() -> bool:
            outside, now = self._outside, self._outside.runtime.monotonic()
            if not outside.everybody_leads and outside.lease_owner != self._node.number and outside.lease_until > now:
                return False
            outside.lease_owner, outside.lease_until = self._node.number, now + 2
            await self._real.renew(deliverable)
            return True

        return await self._do(renew)

    async def holders_view(self) -> str | None:
        return await self._do(self._real.holders_view)

    async def release(self) -> None:
        """Nodes here only die."""

    async def nudge(self) -> None:
        """Lost: the holder's sweep must be enough."""

    async def follow(self, wake: Callable[[], None]) -> None:
        """Nothing is ever heard."""
        await asyncio.Event().wait()


class SimPublisher:
    """EventPublisher of one node: may fail before the append, lose the answer, or append long after it gave up."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside = node, node.outside

    @property
    def outage(self) -> str | None:
        """Half of the worlds' brokers hang up when they go, the others are silent."""
        return self._outside.broker_down if self._outside.hangs_up else None

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        async def publish() -> Sequence[PublishResult]:
            await self._outside.delay(self._outside.weather.slowest)
            results = [self._one(record) for record in batch]
            await self._outside.delay(self._outside.weather.slowest)
            return results

        return await self._node.call(publish)

    def _one(self, record: OutgoingRecord) -> PublishResult:
        outside = self._outside
        if outside.broker_down is not None:
            return Unsent(outside.broker_down)
        weather = outside.weather
        if outside.happens(weather.rejected):
            return Rejected("too large")
        if outside.happens(weather.unsent):
            if outside.happens(weather.late_append):
                outside.runtime.spawn(self._append_late(record), name="late append")
            return Unsent("timed out")
        offset = outside.log.append(record)
        return Unsent("the acknowledgement was lost") if outside.happens(weather.ack_lost) else Acked(offset)

    async def _append_late(self, record: OutgoingRecord) -> None:
        await self._outside.runtime.sleep(self._outside.rng.uniform(0, 3))
        self._outside.log.append(record)

    async def probe(self) -> None:
        async def probe() -> None:
            await self._outside.delay(self._outside.weather.slowest)
            if self._outside.broker_down is not None:
                raise BrokerUnavailable(self._outside.broker_down)

        await self._node.call(probe)

    async def partition_count(self, topic: str) -> int:
        await self.probe()
        return len(self._outside.log.partitions)


class SimSchemas:
    """SchemaIds of one node."""

    def __init__(self, node: Node, schema_id: int) -> None:
        self._outside, self._id = node.outside, schema_id

    async def id_of(self, schema: str) -> int:
        if self._outside.happens(self._outside.weather.registry):
            raise RegistryUnavailable("no registry")
        return self._id


class SimSource(MemorySource):
    """EventSource of one node: the memory source with outages."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.outside.log, "view", node.runtime.now)
        self._outside = node.outside

    async def poll(self, limit: int, wait: float) -> Polled:
        self._require_broker()
        return await super().poll(self._outside.rng.randint(1, limit), wait)

    async def seek(self, positions: Mapping[int, int]) -> None:
        self._require_broker()
        await super().seek(positions)

    def _require_broker(self) -> None:
        if self._outside.broker_down is not None:
            raise BrokerUnavailable(self._outside.broker_down)


class SimViews:
    """ProjectionStore of one node; two nodes share the read model, as two owners of a partition would for a moment."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside, self._real = node, node.outside, node.outside.views
        self.identity, self.record_identity = self._real.identity, self._real.record_identity
        self.held, self.held_keys = self._real.held, self._real.held_keys

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        async def load() -> Snapshot:
            await self._trouble()
            return await self._real.load(topic, keys)

        return await self._node.call(load)

    async def commit(self, changes: Changes) -> None:
        async def commit() -> None:
            await self._trouble()
            if self._outside.happens(self._outside.weather.stale):
                raise StalePosition
            if not self._outside.happens(self._outside.weather.ambiguous):
                return await self._real.commit(changes)
            if self._outside.happens(0.5):
                await self._real.commit(changes)
            raise CommitAmbiguous("the disk failed")

        await self._node.call(commit)

    async def _trouble(self) -> None:
        await self._outside.delay(self._outside.weather.store_slowest)
        if self._outside.store_down or self._outside.happens(self._outside.weather.busy):
            raise StoreUnavailable("busy")
