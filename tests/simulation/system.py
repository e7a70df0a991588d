"""The whole system below HTTP, both services in one process, on any set of adapters; it can crash and come back."""

import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.application.change_status import ChangeStatus
from ordering.application.commands import Answer, ChangeRecorder, Context, IdempotencyKeys, Once
from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import BrokerUnavailable
from ordering.application.group_commit import GroupCommit
from ordering.application.messages import OutgoingRecord, PublishResult, Unsent
from ordering.application.outage_gate import OutageGate
from ordering.application.place_order import PlaceOrder
from ordering.application.ports import EventPublisher
from ordering.application.queries import OrderDetails, ReadStats, TopicIds
from ordering.application.relay_limits import RelayLimits
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from ordering.domain.inputs import ChangeStatusInput, NumItemsInput
from ordering.domain.status import OrderStatus
from ordering.entrypoints.http.schemas import created, updated
from tests.simulation.places import Place
from tests.unit.application.runtime import RecordingObserver

TOPIC = "order-events"
CODEC, REGISTRY = OrderCodec(), BuiltInRegistry()
DECODER = OrderEventDecoder(REGISTRY, CODEC)


class SwitchedPublisher:
    """A publisher whose broker can go away."""

    def __init__(self, real: EventPublisher) -> None:
        self._real = real
        self.down = False

    @property
    def outage(self) -> str | None:
        """Nobody hangs up here: only results tell."""
        return None

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        return [Unsent("all brokers down")] * len(batch) if self.down else await self._real.publish(batch)

    async def probe(self) -> None:
        if self.down:
            raise BrokerUnavailable("all brokers down")
        await self._real.probe()

    async def partition_count(self, topic: str) -> int:
        return await self._real.partition_count(topic)


class System:
    """One life of the system on a place that is open."""

    def __init__(self, place: Place, seed: int) -> None:
        runtime, observer, store = place.runtime, RecordingObserver(), place.store
        self.place, self.publisher = place, SwitchedPublisher(place.publisher)
        self.gate, waiters = OutageGate(), Waiters(runtime)
        relay = OutboxRelay(
            store, self.publisher, REGISTRY, store, self.gate, runtime, observer, TOPIC, CODEC.schema,
            RelayLimits(tick_seconds=0.02, sweep_seconds=0.05, mark_pause_seconds=0.005),
        )  # fmt: skip
        commit = GroupCommit(store, runtime, observer, relay.offer)
        keys, recorder = IdempotencyKeys(store), ChangeRecorder(CODEC, runtime, TOPIC, "/cart")
        self._place = PlaceOrder(store, commit, self.gate, keys, recorder, random.Random(seed))
        self._change = ChangeStatus(store, commit, self.gate, keys, recorder, CODEC)
        held = HeldRecords(place.views, DECODER, runtime, TOPIC)
        consumer = EventConsumer(
            place.source,
            DECODER,
            place.views,
            held,
            waiters,
            runtime,
            observer,
            TOPIC,
            ConsumerLimits(poll_seconds=0.1),
        )
        self.details = OrderDetails(place.views, CODEC, waiters, runtime, Decimal("0.02"))
        self.ids = TopicIds(place.views, place.source, waiters, runtime, TOPIC)
        self.stats = ReadStats(place.views, place.source, TOPIC)
        self._tasks = [runtime.spawn(work, name="part") for work in (commit.run(), relay.run(), consumer.run())]

    async def ready(self) -> None:
        """Return when the gate is open."""
        while self.gate.closed is not None:
            assert not any(task.done() for task in self._tasks)
            await self.place.runtime.sleep(0.01)

    async def crash(self) -> None:
        """All tasks and memory are gone; what the store, the log and the view hold stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.place.close()

    async def place_order(self, order_id: str, items: int, key: str | None) -> Answer:
        """POST create-order."""
        once = None if key is None else Once(f"POST {key}", f"{order_id} {items}".encode(), 201, created)
        return await self._place(NumItemsInput(order_id, items), Context("request", once=once))

    async def change_status(
        self, order_id: str, status: OrderStatus, key: str | None, if_match: frozenset[int] | None
    ) -> Answer:
        """PUT update-order."""
        once = None if key is None else Once(f"PUT {key}", f"{order_id} {status}".encode(), 200, updated)
        return await self._change(ChangeStatusInput(order_id, status), Context("request", once=once), if_match=if_match)
