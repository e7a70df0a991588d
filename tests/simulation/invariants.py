"""The promises as a world's book-keeper sees them: the cheap ones after every step, all of them at rest.

I1 what was acknowledged stays. I2 what was refused is not there. I3 versions without gaps, and the state is the last
one. I4 first appearances in the log are 1, 2, 3... I5 the log holds only what was committed. I6 the read model is the
fold of the log, which is the fold of the store. I7 positions are what was applied. I8 each consumed record is applied,
a duplicate, held or discarded, exactly once. I10 at rest the log is complete. I11 what was unknown is settled. I12
queues stay within their limits. I13 the answers about an order fit one serial order.
"""

from collections import Counter as Multiset
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.memory.generation import Generation
from ordering.application.causes import CauseCode
from ordering.application.messages import Counter, LogIdentity, NewEvent, Record
from ordering.domain.status import TRANSITIONS
from tests.simulation.fold import folded
from tests.simulation.nodes import CODEC, TOPIC
from tests.simulation.outside import FOREIGN_ID

if TYPE_CHECKING:
    from tests.simulation.world import World

PREFIX_BYTES = 5
"""The registry's framing before an event's body."""
COUNTERS = (Counter.APPLIED, Counter.DUPLICATES, Counter.GAPS, Counter.LATE)
ALARMING = (Counter.GAPS, Counter.LATE)


class _AllKnown(BuiltInRegistry):
    """Knows the id of the foreign producer's copy of our schema, too."""

    async def schema_of(self, schema_id: int) -> str | None:
        return await super().schema_of(1 if schema_id == FOREIGN_ID else schema_id)


DECODER = OrderEventDecoder(_AllKnown(), CODEC)


class Watch:
    """Looks at the stores and the log from outside, after every step of the loop."""

    def __init__(self, world: "World") -> None:
        self._world, self._outside = world, world.outside
        self.events: dict[str, list[NewEvent]] = {order_id: [] for order_id in world.ids}
        """Every event that was ever committed, by order; trimming takes nothing away here."""
        self._versions: dict[str, tuple[str, int]] = {}
        """By event id: order and version."""
        self._in_log: dict[str, int] = {}
        """The last version that has appeared."""
        self._partition_of: dict[str, int] = {}
        """Where an order's events lie."""
        self._lengths: dict[int, int] = {}
        self._journal: tuple[int, object] = (0, None)
        self._writes = -1
        self._power_cuts, self._log_state = 0, (0, 1)
        self.is_store_old = False
        """Whether the store was put back to an earlier state, and nobody has brought it up to the log yet."""
        self.broken: str | None = None
        """What an actor has found that nobody awaits."""
        self._discards = 0
        """Of how many discarded records it is known that somebody meant them."""
        self._missing: dict[tuple[str, int], None] = {}
        """Committed and not in the log yet."""

    def step(self) -> None:
        """What must hold at any moment. Raises AssertionError."""
        if self.broken is not None:
            raise AssertionError(self.broken)
        for cart in self._world.carts:
            if len(cart.commit._queue) > cart.limits.queue_max or len(cart.relay._busy) > cart.window_max:
                raise AssertionError(f"I12: {len(cart.commit._queue)} queued, {len(cart.relay._busy)} in the window")
        for reader in self._world.readers:
            if reader.waiters.count > reader.waiters_max:
                raise AssertionError(f"I12: {reader.waiters.count} wait")
            if reader.consumer.halted and self._outside.log.made == 1 and not self._outside.log.was_trimmed:
                raise AssertionError(f"a reader halted, and the log is the one it knows: {reader.consumer.trouble}")
        outside = self._outside
        writes = outside.store_disk.writes + outside.log.disk.writes + outside.views_disk.writes
        if writes != self._writes:
            self._writes = writes
            self._look()

    def _look(self) -> None:
        """Something was written."""
        store, log = self._outside.store, self._outside.log
        if self._power_cuts != self._outside.store_disk.power_cuts:
            self._power_cuts = self._outside.store_disk.power_cuts
            self._forget_what_was_lost()
        if self._log_state != (log.disk.power_cuts, log.made):
            self._log_state = log.disk.power_cuts, log.made
            self._read_log_again()
        journal = {} if self.is_store_old else store._journal
        state = len(journal), next(reversed(journal), None)
        if state != self._journal:
            self._journal = state
            if not self.is_store_old:
                self._committed(store._states, journal)
        for partition, records in enumerate(log.partitions):
            known = self._lengths.get(partition, 0)
            if len(records) != known:
                self._lengths[partition] = len(records)
                for record in records[known:]:
                    self._appended(record)
        if self._missing and log.made == 1 and not self.is_store_old:
            outbox = store._outbox
            for ref in self._missing:
                assert ref in outbox, f"I10: {ref} is marked published, and was never in the log"
        if store._parked:
            idle = store._stopped().keys() - {aggregate for aggregate, _ in store._outbox}
            assert not idle, f"I10: {idle} are parked, and nothing of them waits"
        self._consumed()
        self._reported()
        for cart in self._world.carts:
            for followers in cart.relay._behind.values():
                most = cart.relay_limits.followers_max
                assert len(followers) <= most, f"I12: {len(followers)} followers of {most}"

    def _reported(self) -> None:
        """A reader tells of every transaction that it knows to be stored, once."""
        for reader in self._world.readers:
            for name in COUNTERS:
                heard, told = reader.heard[name], reader.reports.told
                assert told[f"events_{name}"] == heard, f"I8: {heard} {name}, and told of {told[f'events_{name}']}"
                if name in ALARMING:
                    alarmed = told[f"projection.{name}"]
                    assert alarmed == heard, f"I8: {heard} {name}, and {alarmed} alarmed"

    @property
    def is_log_lost(self) -> bool:
        """Whether the log has lost what the read model has not read."""
        log = self._outside.log
        live = self._live.positions.get(TOPIC, {})
        return log.made > 1 or any(begin > live.get(partition, 0) for partition, begin in log.begins.items())

    async def is_loss_noticed(self) -> bool:
        """A log that is another one, or has lost what was not read, stops those who read it, and they say why; never a
        silent reset. While not all is well yet, of those who are."""
        known, log = await _identity(self._world), self._outside.log
        halted = [
            reader.consumer.halted
            for reader in self._world.readers
            if reader.alive and (log.made == 1 or self._world.chaos.is_well(reader))
        ]
        causes = {reader.consumer.cause for reader in self._world.readers if reader.consumer.halted}
        assert all(cause is not None and cause.code is CauseCode.LOG_CHANGED for cause in causes), f"halted: {causes}"
        if log.made == 1:
            return any(halted)
        return known is None or known.topic_id == log.identity.topic_id or all(halted)

    @property
    def is_partial(self) -> bool:
        """Whether the read model was filled from a log whose beginning was gone, as somebody wanted it to be."""
        return any(self.floors.values())

    @property
    def discarded(self) -> set[tuple[int, int]]:
        """What was discarded of the live generation."""
        return self._outside.discards.get(self._outside.views._model.pointer, set())

    @property
    def floors(self) -> dict[int, int]:
        """Where partitions began when the live generation was filled, if not at 0."""
        return self._outside.floors.get(self._outside.views._model.pointer, {})

    def in_log(self, order_id: str) -> int:
        """How many versions of an order have appeared."""
        return self._in_log.get(order_id, 0)

    @property
    def _live(self) -> Generation:
        model = self._outside.views._model
        return model.generations[model.pointer]

    def _forget_what_was_lost(self) -> None:
        """A power cut takes what nobody was told of; whether that is so shows when answers and log are checked."""
        self._journal = 0, None
        for order_id, events in self.events.items():
            while events and (order_id, len(events)) not in self._outside.history:
                lost = events.pop()
                del self._versions[lost.event_id]
                self._missing.pop((order_id, lost.version), None)
                known = self._in_log.get(order_id, 0)
                assert known < lost.version, f"I5: {order_id} {lost.version} is in the log, and lost in the store"

    def _read_log_again(self) -> None:
        self._lengths, self._in_log, self._partition_of = {}, {}, {}
        self._missing = {(order_id, e.version): None for order_id, events in self.events.items() for e in events}

    def _committed(self, states: dict[str, Any], journal: dict[Any, NewEvent]) -> None:
        for order_id, state in states.items():
            events = self.events.setdefault(order_id, [])
            assert state.version >= len(events), f"I1: {order_id} went back from {len(events)} to {state.version}"
            for version in range(len(events) + 1, state.version + 1):
                event = journal.get((order_id, version))
                assert event is not None, f"I3: {order_id} is at {state.version}, and has no event {version}"
                events.append(event)
                assert event.event_id not in self._versions, f"I3: two events have the id {event.event_id}"
                self._versions[event.event_id] = (order_id, version)
                self._missing[order_id, version] = None
            if events:
                last = events[-1]
                assert (state.event_id, state.encoded) == (last.event_id, last.encoded), f"I3: {order_id}'s state"

    def _appended(self, record: Record) -> None:
        event_id = dict(record.headers).get("ce_id", b"").decode()
        if not event_id:
            return
        assert event_id in self._versions, f"I5: {record} is in the log, its event was never committed"
        order_id, version = self._versions[event_id]
        event = self.events[order_id][version - 1]
        assert (record.key, record.headers) == (event.key, event.headers), f"I5: {order_id} {version} as {record}"
        assert record.value is not None
        assert record.value[PREFIX_BYTES:] == event.encoded.body, f"I5: {order_id} {version} has another body"
        if self._outside.log.made > 1:
            return
        lies = self._partition_of.setdefault(order_id, record.partition)
        assert lies == record.partition, f"I4: {order_id} is in the partitions {lies} and {record.partition}"
        known = self._in_log.get(order_id, 0)
        assert version <= known + 1, f"I4: version {version} of {order_id} appears behind version {known}"
        if version == known + 1:
            self._in_log[order_id] = version
            self._missing.pop((order_id, version), None)

    def _consumed(self) -> None:
        model = self._outside.views._model
        live = model.generations[model.pointer]
        counters, held = live.counters, live.held
        positions = live.positions.get(TOPIC, {})
        parked, keyed = sum(row.held for row in live.rows.values()), sum(one.key is not None for one in held.values())
        assert parked == keyed, f"I8: {keyed} records of orders are held, the orders say {parked}"
        if len(model.discarded) != self._discards:
            self._discards = len(model.discarded)
            unasked = {(part, at) for _, part, at in model.discarded} - self._outside.meant
            assert not unasked, f"I8: {unasked} were discarded, and nobody has asked for it"
        consumed = sum(positions.values())
        accounted = (
            counters.get(Counter.APPLIED, 0)
            + counters.get(Counter.DUPLICATES, 0)
            + counters.get(Counter.LATE, 0)
            + len(held)
        )
        if consumed != accounted and not self._outside.log.had_gaps:
            floors = self.floors
            gone = sum(
                (TOPIC, part, at) not in held and floors.get(part, 0) <= at < positions.get(part, 0)
                for part, at in self.discarded
            )
            skipped = sum(floors.values())
            skipped += sum(floors.get(part, 0) <= at < positions.get(part, 0) for part, at in self._outside.log.gone)
            assert consumed == accounted + gone + skipped, (
                f"I8: {consumed} records consumed: {counters}, {len(held)} held, {gone} discarded, {skipped} skipped"
            )


# ---------------------------------------------------------------------------------------------- at rest


async def check_rest(world: "World") -> None:
    """I3, I6, I7, I8 and I10: store, log and read model agree in everything."""
    outside, watch = world.outside, world.watch
    for order_id, events in watch.events.items():
        await _check_state(world, order_id, events)
    assert not outside.store._outbox or outside.log.made > 1, f"I10: not marked: {list(outside.store._outbox)}"
    stays_full = outside.log.made > 1 and outside.store._outbox  # a topic made anew may lack their partitions
    closed = [
        None if cart.is_full and stays_full else cart.gate.closed or cart.gate.undeliverable for cart in world.carts
    ]
    assert closed == [None] * len(closed), f"nothing is wrong any more, but {closed}"
    if watch.is_log_lost:
        assert await watch.is_loss_noticed(), (
            f"the log is another one, or lost {outside.log.begins}: nobody has noticed"
        )
        world.outside.saw("all readers halted")
        return
    for order_id, events in watch.events.items():
        assert watch.in_log(order_id) == len(events), f"I10: {order_id} is not complete in the log"
    await _check_read_model(world)


async def _check_state(world: "World", order_id: str, events: list[NewEvent]) -> None:
    state = await world.outside.store.get(order_id)
    if not events:
        assert state is None, f"I3: {order_id} has a state, and no event"
        return
    last = events[-1]
    assert state is not None, f"I3: {order_id}: its events are stored, its state is not"
    assert (state.version, state.event_id, state.encoded) == (last.version, last.event_id, last.encoded), order_id
    states = [CODEC.decode(event.encoded).order for event in events]
    assert all(b.status in TRANSITIONS[a.status] for a, b in pairwise(states)), f"I3: {order_id}: illegal step"


async def _identity(world: "World") -> LogIdentity | None:
    """Which log the read model was filled from; without it nobody can tell another one."""
    known = await world.outside.views.identity(TOPIC)
    read = sum((await world.outside.views.positions(TOPIC)).values())
    assert known is not None or not read, f"{read} records were read, and nobody knows of which log"
    return known


async def _check_read_model(world: "World") -> None:
    outside, watch = world.outside, world.watch
    await _identity(world)
    model = outside.views._model
    live, floors = model.generations[model.pointer], watch.floors
    log = [list(zip(part, await DECODER.decode(part), strict=True)) for part in outside.log.partitions]
    expected = folded(log, floors, watch.discarded, outside.log.gone)
    assert live.rows.keys() == expected.orders.keys(), f"I6: {live.rows.keys() ^ expected.orders.keys()}"
    for key, order in expected.orders.items():
        row = live.rows[key]
        found = (row.version, row.event_id, row.label, row.events_applied, row.held)
        wanted = (order.version, order.event_id, order.label, order.applied, 0)
        assert found == wanted, f"I6: {key} is {found}, the log says {wanted}"
        first = row.first.timestamp, row.first.partition, row.first.offset
        assert first == order.first, f"I6: {key} is listed by {first}, it appears first at {order.first}"
        missing = {version for first, last in row.missing for version in range(first, last + 1)}
        assert missing == order.missing, f"I6: {key} misses {missing}, the log says {order.missing}"
    counts = expected.applied, expected.duplicates, expected.gaps, expected.late
    counted = tuple(live.counters.get(name, 0) for name in COUNTERS)
    assert counted == counts, f"I8: counted {counted}, the log says {counts}"
    labels = Multiset(order.label for order in expected.orders.values() if order.version)
    assert {label: n for label, n in live.labels.items() if n} == labels, f"I6: {live.labels} of {labels}"
    stats = await outside.views.stats()
    assert (stats.parked, stats.dead_letters) == (0, 0), f"I8: {stats}"
    ends = outside.log.ends()
    assert {p: live.positions.get(TOPIC, {}).get(p, 0) for p in ends} == ends, f"I7: {live.positions} of {ends}"
    if not any(floors.values()):
        lacking = _discarded_orders(world)
        rows = {key: row for key, row in live.rows.items() if row.version and key not in lacking}
        stored = {order_id: events[-1] for order_id, events in watch.events.items() if events}
        assert {key: (row.version, row.event_id, row.encoded) for key, row in rows.items()} == {
            key: (event.version, event.event_id, event.encoded) for key, event in stored.items() if key not in lacking
        }, "I6: the read model is not what the store has"
        assert outside.log.gone or lacking or (expected.gaps, expected.late) == (0, 0)


def _discarded_orders(world: "World") -> set[str]:
    """Orders of which people have discarded an event of ours, because the read model's database refused it."""
    log = world.outside.log
    return {
        (log.partitions[partition][offset].key or b"").decode(errors="replace")
        for partition, offset in world.watch.discarded
        if (partition, offset) not in log.foreign
    }
