"""One simulated world: cart nodes, reader nodes, clients and chaos, all from one seed; then healing and the checks."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import attrs

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.application.change_status import ChangeStatus
from ordering.application.commands import ChangeRecorder, Context, IdempotencyKeys, Once
from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import NotStored, OutcomeUnknown
from ordering.application.group_commit import CommitLimits, GroupCommit
from ordering.application.messages import Counter, RecordedAnswer
from ordering.application.outage_gate import OutageGate, OutagePolicy
from ordering.application.place_order import PlaceOrder
from ordering.application.relay_limits import RelayLimits
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from ordering.domain.errors import OrderingError
from ordering.domain.inputs import ChangeStatusInput, NumItemsInput
from ordering.domain.order import Order
from ordering.domain.status import TRANSITIONS, OrderStatus
from tests.simulation.ports import Node, Outside, SimPublisher, SimSchemas, SimSource, SimStore, SimViews
from tests.unit.application.runtime import RecordingObserver

TOPIC = "order-events"
CODEC = OrderCodec()
DECODER = OrderEventDecoder(BuiltInRegistry(), CODEC)
STORM_SECONDS = 8.0
REQUESTS_PER_CLIENT = 40
HEALED_SECONDS = 120


@attrs.frozen
class Build:
    """The production classes a world is made of; a mutant replaces one of them by a broken one."""

    commit: type[GroupCommit] = GroupCommit
    relay: type[OutboxRelay] = OutboxRelay
    consumer: type[EventConsumer] = EventConsumer
    store: type[SimStore] = SimStore


@attrs.define
class Attempt:
    """One request and what its client was told: an Order, a RecordedAnswer, an error, or None (the line went dead)."""

    request_id: str
    order_id: str
    once: Once | None
    answer: Order | RecordedAnswer | Exception | None = None


class Cart(Node):
    """A CartService process: commands, group commit, relay."""

    def __init__(self, outside: Outside, number: int, build: Build) -> None:
        super().__init__(outside, number)
        rng, runtime, store = outside.rng, self.runtime, build.store(self)
        policy = rng.choice((OutagePolicy.REJECT, OutagePolicy.ACCEPT))
        self.gate = gate = OutageGate(policy)
        relay_limits = RelayLimits(
            batch_max=rng.choice((1, 3, 512)),
            window_max=rng.choice((2, 8_192)),
            followers_max=rng.choice((0, 1, 16)),
            publishes_at_once=rng.choice((1, 3)),
        )
        schemas = SimSchemas(self, 1)
        observer = RecordingObserver()
        self.relay = build.relay(
            store, SimPublisher(self), schemas, store, gate, runtime, observer, TOPIC, CODEC.schema, relay_limits
        )
        limits = CommitLimits(
            batch_max=rng.choice((1, 4, 256)),
            queue_max=rng.choice((2, 10_000)),
            wait_seconds=rng.choice((0.01, 0.5, 10.0)),
            resolve_seconds=rng.choice((0.1, 2.0)),
        )
        commit = build.commit(store, runtime, observer, self.relay.offer, limits)
        keys, recorder = IdempotencyKeys(store), ChangeRecorder(CODEC, runtime, TOPIC, "/sim")  # type: ignore[arg-type]
        self.place = PlaceOrder(store, commit, gate, keys, recorder, random.Random(rng.getrandbits(32)))  # type: ignore[arg-type]
        self.change = ChangeStatus(store, commit, gate, keys, recorder, CODEC)  # type: ignore[arg-type]
        self.loops = [runtime.spawn(commit.run(), name="commit"), runtime.spawn(self.relay.run(), name="relay")]

    async def ask(
        self, work: Callable[[], Awaitable[Order | RecordedAnswer]]
    ) -> Order | RecordedAnswer | Exception | None:
        """Run a request here; None if the process dies under it or its client hangs up."""

        async def handle() -> Order | RecordedAnswer | Exception:
            try:
                return await work()
            except (OrderingError, NotStored, OutcomeUnknown) as error:
                return error

        task = self.runtime.spawn(handle(), name="request")
        patience = self.outside.rng.choice((None, None, None, 0.05))
        await asyncio.wait([task, self.died], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            return None
        return task.result() if self.alive and not task.cancelled() else None


class Reader(Node):
    """An OrderService process: one consumer."""

    def __init__(self, outside: Outside, number: int, build: Build) -> None:
        super().__init__(outside, number)
        views, limits = SimViews(self), ConsumerLimits(batch_max=outside.rng.choice((1, 5, 500)))
        held, waiters = HeldRecords(views, DECODER, self.runtime, TOPIC), Waiters(self.runtime)
        self.consumer = build.consumer(
            SimSource(self), DECODER, views, held, waiters, self.runtime, RecordingObserver(), TOPIC, limits
        )
        self.loops = [self.runtime.spawn(self.consumer.run(), name="consumer")]


class World:
    """Everything that happens for one seed."""

    def __init__(self, seed: int, build: Build) -> None:
        self.outside = outside = Outside(seed)
        self.rng, self.runtime, self.build = outside.rng, outside.runtime, build
        self.numbers = 0
        self.carts = [self._node(Cart) for _ in range(self.rng.choice((1, 2, 3)))]
        self.readers = [self._node(Reader) for _ in range(self.rng.choice((1, 2)))]
        self.ids = [f"order-{number}" for number in range(self.rng.choice((2, 6)))] + ["bad-order"]
        self.attempts: list[Attempt] = []

    def _node(self, kind: Any) -> Any:  # noqa: ANN401 -- Cart or Reader
        self.numbers += 1
        return kind(self.outside, self.numbers, self.build)

    async def live(self) -> None:
        """A storm, then calm weather until everything has arrived."""
        clients = [self.runtime.spawn(self._client(), name="client") for _ in range(self.rng.randint(2, 6))]
        chaos = self.runtime.spawn(self._chaos(), name="chaos")
        await asyncio.gather(*clients)
        chaos.cancel()
        self.carts = [cart if cart.alive else self._node(Cart) for cart in self.carts]
        self.readers = [reader if reader.alive else self._node(Reader) for reader in self.readers]
        self.outside.heal()
        for _ in range(HEALED_SECONDS):
            await self.outside.store.retry(None)
            await self.runtime.sleep(1)
            self._check_loops()
            if await self._settled():
                break
        await self.runtime.sleep(5)

    async def _settled(self) -> bool:
        unpublished = (await self.outside.store.summary()).unpublished
        positions = await self.outside.views.positions(TOPIC)
        return not unpublished and all(positions.get(p, 0) == end for p, end in self.outside.log.ends().items())

    def _check_loops(self) -> None:
        for node in (*self.carts, *self.readers):
            for loop in node.loops:
                assert not loop.done(), f"{loop.get_name()} ended by itself: {loop.exception()!r}"

    # ------------------------------------------------------------------ actors

    async def _client(self) -> None:
        rng = self.rng
        last: Attempt | None = None
        for _ in range(REQUESTS_PER_CLIENT):
            await self.runtime.sleep(rng.choice((0.0, 0.01, rng.uniform(0, 1))))
            if self.runtime.monotonic() > STORM_SECONDS:
                return
            status = rng.choice((None, None, *OrderStatus))
            order_id, key = rng.choice(self.ids), f"k{rng.randint(1, 12)}" if rng.random() < 0.3 else None
            if last is not None and last.once is not None and rng.random() < 0.3:  # the same request once more
                method, _, rest = last.once.key.partition(" ")
                key, order_id = rest, last.order_id
                status = None if method == "POST" else OrderStatus(last.once.fingerprint.decode().split()[1])
            last = await self._request(order_id, status, key)

    async def _request(self, order_id: str, status: OrderStatus | None, key: str | None) -> Attempt:
        once = None
        if key is not None:
            method, code = ("POST", 201) if status is None else ("PUT", 200)
            once = Once(f"{method} {key}", f"{order_id} {status}".encode(), code, rendered)
        attempt = Attempt(f"request-{len(self.attempts)}", order_id, once)
        self.attempts.append(attempt)
        cart, context = self.rng.choice(self.carts), Context(attempt.request_id, once=once)
        if status is None:
            cart_input = NumItemsInput(order_id, self.rng.randint(1, 2))
            attempt.answer = await cart.ask(lambda: cart.place(cart_input, context))
        else:
            change = ChangeStatusInput(order_id, status)
            attempt.answer = await cart.ask(lambda: cart.change(change, context))
        return attempt

    async def _chaos(self) -> None:
        """Deaths, pauses and outages, in a tempo of this world's own."""
        rng, tempo = self.rng, self.rng.choice((0.3, 2.0, 30.0))
        while True:
            await self.runtime.sleep(rng.uniform(0, 2 * tempo))
            group = rng.choice((self.carts, self.carts, self.readers))
            place = rng.randrange(len(group))
            what = rng.choice(("crash", "crash", "pause", "broker", "store"))
            if what == "crash":
                group[place].crash()
                await self.runtime.sleep(rng.choice((0.0, 1.0)))
                group[place] = self._node(Cart if group is self.carts else Reader)
            elif what == "pause":
                group[place].paused_until = self.runtime.monotonic() + rng.uniform(0, 4)
            elif what == "broker":
                self.outside.broker_down = "all brokers down"
                await self.runtime.sleep(rng.uniform(0, 4))
                self.outside.broker_down = None
            else:
                self.outside.store_down = True
                await self.runtime.sleep(rng.uniform(0, 1))
                self.outside.store_down = False

    # ------------------------------------------------------------------ the checks

    async def check(self) -> None:
        """All promises, counted on every row."""
        stored = {order_id: await self.outside.store.timeline(order_id) for order_id in self.ids}
        self._check_answers({i: [entry.event for entry in timeline] for i, timeline in stored.items()})
        logged: dict[str, list[tuple[int, str]]] = {order_id: [] for order_id in self.ids}
        for partition in self.outside.log.partitions:
            for record, event in zip(partition, await DECODER.decode(partition), strict=True):
                assert (record.key or b"").decode() == event.key
                logged[event.key].append((event.version, event.event_id))  # type: ignore[union-attr, index]
        for order_id, timeline in stored.items():
            events = [(entry.event.version, entry.event.event_id) for entry in timeline]
            assert [version for version, _ in events] == list(range(1, len(events) + 1)), f"{order_id}: gap in store"
            seen = list(dict.fromkeys(logged[order_id]))
            assert set(events) <= set(seen), f"{order_id}: stored but never in the log: {set(events) - set(seen)}"
            assert set(seen) <= set(events), f"{order_id}: in the log but not stored: {set(seen) - set(events)}"
            assert seen == events, f"{order_id}: first appearances {seen}"
            assert all(entry.published for entry in timeline), f"{order_id}: not marked"
            await self._check_view(order_id, timeline)
        stats = await self.outside.views.stats()
        total = sum(map(len, stored.values()))
        assert stats.counters.get(Counter.APPLIED, 0) == total, f"{stats.counters} for {total} events"
        assert not stats.counters.keys() & {Counter.GAPS, Counter.LATE}, stats.counters
        assert sum(stats.by_label.values()) == sum(bool(timeline) for timeline in stored.values())
        assert (stats.parked, stats.dead_letters) == (0, 0)
        assert await self._settled()
        closed = [cart.gate.closed or cart.gate.undeliverable for cart in self.carts]
        assert closed == [None] * len(closed), f"nothing is wrong any more, but {closed}"

    async def _check_view(self, order_id: str, timeline: Any) -> None:  # noqa: ANN401 -- Sequence[JournalEntry]
        row, state = await self.outside.views.get(order_id), await self.outside.store.get(order_id)
        if not timeline:
            assert (row, state) == (None, None), f"{order_id}: not stored but visible"
            return
        last = timeline[-1].event
        assert state is not None, f"{order_id}: its events are stored, its state is not"
        assert row is not None, f"{order_id}: stored but not visible"
        assert (row.version, row.event_id, row.encoded) == (last.version, last.event_id, last.encoded), order_id
        assert (state.version, state.event_id, state.encoded) == (last.version, last.event_id, last.encoded), order_id
        assert row.events_applied == row.version, f"{order_id}: {row.events_applied} effects of {row.version} events"
        states = [CODEC.decode(entry.event.encoded).order for entry in timeline]
        assert all(b.status in TRANSITIONS[a.status] for a, b in pairwise(states)), f"{order_id}: illegal step"

    def _check_answers(self, stored: dict[str, list[Any]]) -> None:
        by_request = {dict(e.headers)["x-request-id"].decode(): e for events in stored.values() for e in events}
        first_answers: dict[str, tuple[bytes, bytes]] = {}
        for attempt in self.attempts:
            answer, mine = attempt.answer, by_request.get(attempt.request_id)
            told = f"{attempt.request_id} on {attempt.order_id} was told {answer!r}"
            if isinstance(answer, Order):
                versions = [event.version for event in stored[attempt.order_id]]
                assert answer.version in versions, f"{told}: acknowledged, but missing"
                body = rendered(answer)
                if mine is not None:
                    assert mine.version == answer.version, told
                else:
                    event = stored[attempt.order_id][answer.version - 1]
                    assert rendered(CODEC.decode(event.encoded).order) == body, f"{told}: never stored like that"
                    assert not (attempt.once and attempt.once.status == 201), f"{told}: created nothing"
            elif isinstance(answer, RecordedAnswer):
                body = answer.body
            else:
                if answer is not None and not isinstance(answer, OutcomeUnknown):
                    assert mine is None, f"{told}: refused, but stored as version {mine.version}"
                continue
            if attempt.once is not None:
                known = first_answers.setdefault(attempt.once.key, (body, attempt.once.fingerprint))
                assert known == (body, attempt.once.fingerprint), f"{told}: another answer to the same key"


def rendered(order: Order) -> bytes:
    """What a client sees of an order."""
    return f"{order.order_id} {order.version} {order.status} {order.total} {order.customer_id}".encode()


async def simulate(seed: int, build: Build | None = None) -> str:
    """Run and check one world; a digest of everything that happened in it."""
    world = World(seed, build or Build())
    await world.live()
    await world.check()
    digest = hashlib.sha256()
    for attempt in world.attempts:
        digest.update(f"{attempt.request_id} {attempt.order_id} {attempt.answer!r}\n".encode())
    for partition in world.outside.log.partitions:
        for record in partition:
            digest.update(repr(record).encode())
    return digest.hexdigest()
