"""Both commands over any order store: real codec, real group commit, a gate with a switch, seeded randomness."""

import hashlib
import random
from collections.abc import Sequence
from typing import Protocol

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.application.change_status import ChangeStatus
from ordering.application.commands import Answer, ChangeRecorder, Context, IdempotencyKeys, Once
from ordering.application.group_commit import CommitLimits, GroupCommit, StoredEvents
from ordering.application.messages import Outcome, Write
from ordering.application.outage_gate import OutageGate
from ordering.application.place_order import PlaceOrder
from ordering.application.ports import BatchWriter, Journal, OrderRepository, Runtime
from ordering.domain.inputs import ChangeStatusInput, NumItemsInput
from ordering.domain.order import Order
from ordering.domain.status import OrderStatus
from tests.unit.application.runtime import RecordingObserver

TOPIC = "order-events"


class CommandStore(OrderRepository, BatchWriter, Journal, Protocol):
    """What the commands need of a store."""


class SlowStore(MemoryOrderStore):
    """The memory store; ``seconds`` before each batch is written, so that things can happen in between."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self.seconds = 0.0
        self.written: list[Write] = []

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        if self.seconds:
            await self._runtime.sleep(self.seconds)
        self.written += batch
        return await super().write(batch)


def rendered(order: Order) -> bytes:
    """What a recorded answer holds: enough to see that it is the first one."""
    return f"{order.order_id} {order.status} {order.version} {order.customer_id} {order.total}".encode()


class Instance:
    """One CartService instance without HTTP."""

    def __init__(
        self, store: CommandStore, runtime: Runtime, *, seed: int = 1, limits: CommitLimits | None = None
    ) -> None:
        self.store, self.runtime, self.observer = store, runtime, RecordingObserver()
        self.codec = OrderCodec()
        self.gate = OutageGate()
        self.gate.deliverable()
        self.offered: list[str] = []
        self.commit = GroupCommit(store, runtime, self.observer, self._offer, limits)
        keys, recorder = IdempotencyKeys(store), ChangeRecorder(self.codec, runtime, TOPIC, "/cart")
        self._place = PlaceOrder(store, self.commit, self.gate, keys, recorder, random.Random(seed))
        self._change = ChangeStatus(store, self.commit, self.gate, keys, recorder, self.codec)
        self.running = runtime.spawn(self.commit.run(), name="commit")

    def _offer(self, stored: StoredEvents) -> None:
        self.offered += [event.event_id for event, _ in stored]

    async def place(self, order_id: str, *, items: int = 2, key: str | None = None) -> Answer:
        """POST create-order."""
        once = once_of("POST", key, f"{order_id} {items}", 201)
        return await self._place(NumItemsInput(order_id, items), Context("request-1", once=once))

    async def change(
        self, order_id: str, status: str, *, key: str | None = None, if_match: frozenset[int] | None = None
    ) -> Answer:
        """PUT update-order."""
        once = once_of("PUT", key, f"{order_id} {status}", 200)
        wanted = ChangeStatusInput(order_id, OrderStatus(status))
        return await self._change(wanted, Context("request-2", once=once), if_match=if_match)

    async def versions(self, order_id: str) -> list[int]:
        """The stored history."""
        return [entry.event.version for entry in await self.store.timeline(order_id)]


def once_of(method: str, key: str | None, body: str, status: int) -> Once | None:
    """The key of a request with this body."""
    if key is None:
        return None
    return Once(f"{method} {key}", hashlib.sha256(body.encode()).digest(), status, rendered)
