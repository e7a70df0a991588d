"""The processes of a simulated world, made of the production classes: carts, readers, and people at a terminal."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final, TypeVar

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.application.causes import CauseCode
from ordering.application.change_status import ChangeStatus
from ordering.application.commands import ChangeRecorder, IdempotencyKeys
from ordering.application.compare_log import StartCheck
from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import Failure, StoreUnavailable
from ordering.application.group_commit import CommitLimits, GroupCommit
from ordering.application.housekeeping import Retention, Trimmer
from ordering.application.outage_gate import BacklogLimits, OutageGate
from ordering.application.place_order import PlaceOrder
from ordering.application.queries import OrderDetails, TopicIds
from ordering.application.relay_limits import RelayLimits
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from ordering.domain.errors import OrderingError
from tests.simulation.ports import Node, Outside, SimPublisher, SimRegistry, SimSource, SimStore, SimViews
from tests.simulation.swarm import Swarm

T = TypeVar("T")

TOPIC: Final = "order-events"
CODEC: Final = OrderCodec()
RETENTION: Final = Retention(answers_seconds=28, journal_seconds=28, batch=3, round_seconds=1)
"""Longer than a commit can be in doubt, and than clocks differ."""
SOURCE: Final = "/sim"
RATE: Final = Decimal("0.02")
STOP_SECONDS: Final = 1.0
BACKLOGS: Final = (BacklogLimits(), BacklogLimits(events=3), BacklogLimits(seconds=21.0))
"""The age of an event is told by two clocks, which differ by up to 20 s, and in worlds that set them by an hour."""
SILENCE_SECONDS: Final = 300.0
"""Whatever goes wrong, every request has its answer by then."""


class Reports:
    """The Observer of one node: what production code reports is what the world covers."""

    def __init__(self, outside: Outside) -> None:
        self._saw = outside.saw
        self.told: Counter[str] = Counter()
        """Events of the read model, as they were counted and alarmed."""

    def changed(self, what: str, **_facts: object) -> None:
        """A state of a service."""
        self._saw(what)

    def alarmed(self, what: str, **facts: object) -> None:
        """Something to look at."""
        self._saw(what)
        events = facts.get("events", 0)
        assert isinstance(events, int)
        self.told[what] += events

    def noted(self, what: str, **_facts: object) -> None:
        """A single order: too much to count."""

    def counted(self, what: str, amount: int = 1, *, of: str | None = None) -> None:
        """A counter, each kind apart."""
        self.told[what] += amount
        if amount:
            self._saw(what if of is None else f"{what}:{of}")

    def measured(self, what: str, value: float) -> None:
        """Nothing is measured here but how batches grow."""


class Cart(Node):
    """A CartService process: commands, group commit, relay."""

    def __init__(self, outside: Outside, number: int, swarm: Swarm) -> None:
        super().__init__(outside, number)
        rng, runtime, store = outside.rng, self.runtime, SimStore(self)
        self.gate = gate = OutageGate(swarm.policy, BACKLOGS[rng.choice((0, 0, 1, 2 if swarm.trims else 1))])
        self.relay_limits = RelayLimits(
            batch_max=rng.choice((1, 3, 512)),
            window_max=rng.choice((2, 8_192)),
            followers_max=rng.choice((0, 1, 16)),
            publishes_at_once=rng.choice((1, 3)),
            backlog_seconds=rng.choice((0.1, 1.0)),
        )
        limits = self.relay_limits
        self.window_max = limits.window_max + limits.batch_max * limits.publishes_at_once
        observer = Reports(outside)
        self.relay = OutboxRelay(
            store,
            SimPublisher(self),
            SimRegistry(self),
            store,
            gate,
            runtime,
            observer,
            TOPIC,
            CODEC.schema,
            self.relay_limits,
            self._start_check(store, observer) if swarm.checks else None,
        )
        self.limits = CommitLimits(
            batch_max=rng.choice((1, 4, 1_000)),
            queue_max=rng.choice((2, 10_000, 10_000)),
            wait_seconds=rng.choice((0.01, 0.5, 10.0, 10.0)),
            resolve_seconds=rng.choice((0.1, 2.0)),
        )
        self.commit = commit = GroupCommit(store, runtime, observer, self.relay.offer, self.limits)
        keys, recorder = IdempotencyKeys(store), ChangeRecorder(CODEC, runtime, TOPIC, SOURCE)
        self.place = PlaceOrder(store, commit, gate, keys, recorder, random.Random(rng.getrandbits(32)))
        self.change = ChangeStatus(store, commit, gate, keys, recorder, CODEC)
        self._store = store
        self.loops = [runtime.spawn(commit.run(), name="commit"), runtime.spawn(self.relay.run(), name="relay")]
        if swarm.trims:
            self.loops.append(runtime.spawn(Trimmer(store, runtime, RETENTION).run(), name="trimmer"))

    def _start_check(self, store: SimStore, observer: Reports) -> StartCheck:
        decoder = OrderEventDecoder(SimRegistry(self), CODEC)
        return StartCheck(SimSource(self, alone=True), decoder, store, observer, SOURCE)

    async def ask(self, work: Callable[[], Awaitable[T]], patience: float | None) -> T | Exception | None:
        """Run a request here; None if the process dies under it or its client hangs up."""
        return await _asked(self, work, patience)

    @property
    def is_full(self) -> bool:
        """Whether it refuses changes because too much waits for the broker."""
        return self.gate.cause is not None and self.gate.cause.code is CauseCode.BACKLOG_FULL

    async def stop(self) -> None:
        """As the worker does it: store and publish what was accepted, then give the lease back."""

        async def stop() -> None:
            self.commit.stop()
            await asyncio.wait([self.loops[0]], timeout=STOP_SECONDS)
            await self.relay.drain(STOP_SECONDS)
            self.loops[1].cancel()
            with contextlib.suppress(StoreUnavailable):  # it expires by itself
                await self._store.release()

        self.stopping = self.runtime.spawn(stop(), name="stop")
        await asyncio.wait([self.stopping, self.died], timeout=3 * STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)


class Reader(Node):
    """An OrderService process: one consumer, and queries."""

    def __init__(self, outside: Outside, number: int, swarm: Swarm) -> None:
        super().__init__(outside, number)
        views, limits = SimViews(self), ConsumerLimits(batch_max=outside.rng.choice((1, 5, 1_000)))
        self.waiters = Waiters(self.runtime, swarm.waiters_max)
        self.waiters_max = swarm.waiters_max
        self.details = OrderDetails(views, CODEC, self.waiters, self.runtime, RATE)
        decoder, source = OrderEventDecoder(SimRegistry(self), CODEC), SimSource(self)
        self.ids = TopicIds(views, source, self.waiters, self.runtime, TOPIC)
        held = HeldRecords(views, decoder, self.runtime, TOPIC)
        self.reports = Reports(outside)
        self.consumer = EventConsumer(
            source, decoder, views, held, self.waiters, self.runtime, self.reports, TOPIC, limits
        )
        self.loops = [
            self.runtime.spawn(self.consumer.run(), name="consumer"),
            self.runtime.spawn(views.follow(self.waiters.notify), name="follow"),
        ]

    async def ask(self, work: Callable[[], Awaitable[T]], patience: float | None) -> T | Exception | None:
        """As a cart's."""
        return await _asked(self, work, patience)


async def _asked(node: Node, work: Callable[[], Awaitable[T]], patience: float | None) -> T | Exception | None:
    if not node.alive:
        return None

    async def handle() -> T | Exception:
        try:
            return await work()
        except (OrderingError, Failure) as error:
            return error
        except Exception as error:
            raise AssertionError(f"a request was answered with an error of our own: {error!r}") from error

    task = node.runtime.spawn(handle(), name="request")
    bound = SILENCE_SECONDS if patience is None else patience
    await asyncio.wait([task, node.died], timeout=bound, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        assert patience is not None or not node.alive, f"silence: a request has no answer after {SILENCE_SECONDS} s"
        task.cancel()
        return None
    return task.result() if node.alive and not task.cancelled() else None
