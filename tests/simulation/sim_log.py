"""The log as one node calls it: a publisher whose records may be lost, late or doubled, and a source."""

from collections.abc import Mapping, Sequence

from ordering.adapters.memory.log import MemorySource
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import Acked, OutgoingRecord, Polled, PublishResult, Rejected, Unsent
from tests.simulation.outside import Node


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

        return await self._node.call("log.publish", publish)

    def _one(self, record: OutgoingRecord) -> PublishResult:
        outside = self._outside
        if outside.broker_down is not None:
            return Unsent(outside.broker_down)
        if outside.strikes("log.rejected"):
            return Rejected("too large")
        if outside.strikes("log.unsent"):
            if outside.strikes("log.late_append"):
                outside.runtime.spawn(self._append_late(record), name="late append")
            return Unsent("timed out")
        offset = outside.log.append(record)
        return Unsent("the acknowledgement was lost") if outside.strikes("log.ack_lost") else Acked(offset)

    async def _append_late(self, record: OutgoingRecord) -> None:
        await self._outside.runtime.sleep(self._outside.rng.uniform(0, 3))
        self._outside.log.append(record)

    async def probe(self) -> None:
        async def probe() -> None:
            await self._outside.delay(self._outside.weather.slowest)
            if self._outside.broker_down is not None:
                raise BrokerUnavailable(self._outside.broker_down)

        await self._node.call("log.probe", probe)

    async def partition_count(self, topic: str) -> int:
        await self.probe()
        return len(self._outside.log.partitions)


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
