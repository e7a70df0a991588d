"""What the simulated ports may do and what not: in any weather they keep what the ports' contracts promise."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    RegistryUnavailable,
    StalePosition,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.messages import Acked, Conflict, Outcome, OutgoingRecord, Rejected, Stored, Unsent, Write
from tests.contract.order_store.samples import write
from tests.contract.read_model.samples import changes
from tests.simulation.outside import FOREIGN_ID, TOPIC, Node, Outside
from tests.simulation.sim_log import SimPublisher, SimSource
from tests.simulation.sim_registry import RELEASED, SimRegistry
from tests.simulation.sim_store import LATE_SECONDS, REFUSED, SimStore
from tests.simulation.sim_views import SimViews
from tests.simulation.storm import Storm
from tests.simulation.weather import CALM, FATES
from tests.unit.application.runtime import run

pytestmark = pytest.mark.slow

SEEDS = 200
SECONDS = 4.0
SPARED = ("log.poisoned", "log.trimmed", *FATES)

Play = Callable[[Outside], Coroutine[Any, Any, None]]


def in_any_weather(play: Play, *needed: str) -> None:
    """Play it in the storms of many seeds; the faults that it is about must have struck."""
    seen: Counter[str] = Counter()

    async def world(seed: int) -> None:
        outside = Outside(seed)
        outside.runtime.spawn(Storm(outside, SECONDS, SPARED).run(), name="storm")
        try:
            await play(outside)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        seen.update(outside.seen)

    for seed in range(SEEDS):
        run(world(seed))
    assert not [name for name in needed if not seen[name]], seen


# ---------------------------------------------------------------------------------------------- store


class Writer:
    """Writes batches for orders that others write too, and repeats what is in doubt until it is decided."""

    def __init__(self, outside: Outside, number: int) -> None:
        self._outside, self._number, self._store = outside, number, SimStore(Node(outside, number))
        self.stored: list[str] = []
        self.not_stored: list[str] = []

    async def run(self) -> None:
        """A dozen batches."""
        for turn in range(12):
            batch = self._batch(turn)
            ids = [one.event.event_id for one in batch if one.event is not None]
            outcomes = await self._decided(batch)
            for event_id, outcome in zip(ids, outcomes, strict=True):
                (self.stored if isinstance(outcome, Stored) else self.not_stored).append(event_id)
                if isinstance(outcome, Stored):
                    await self._must_show(event_id)
            await self._outside.runtime.sleep(self._outside.rng.uniform(0, 0.4))

    def _batch(self, turn: int) -> list[Write]:
        rng, batch = self._outside.rng, []
        for order_id in rng.sample("abc", 2):
            version = max((at for name, at in self._outside.history if name == order_id), default=0) + 1
            batch.append(write(order_id, version, f"{self._number}-{turn}-{order_id}"))
        if rng.random() < 0.1:
            batch.append(write(REFUSED, 1, f"{self._number}-{turn}-{REFUSED}"))
        return batch

    async def _decided(self, batch: list[Write]) -> list[Outcome | None]:
        """An outcome for each; None: the store refused it, or could take nothing."""
        doubtful = False
        while True:
            try:
                outcomes = await self._store.write(batch)
            except CommitAmbiguous:
                doubtful = True
            except (StoreUnavailable, WriteRejected):
                if not doubtful:
                    return [None] * len(batch)
            else:
                assert all(isinstance(outcome, Stored | Conflict) for outcome in outcomes)
                return list(outcomes)
            await self._outside.runtime.sleep(0.05)

    async def _must_show(self, event_id: str) -> None:
        """Reads see what was acknowledged before."""
        try:
            entries = await self._store.timeline(event_id[-1])
        except StoreUnavailable:
            return
        assert event_id in {entry.event.event_id for entry in entries}


def test_a_store_keeps_its_word() -> None:
    """Stored is stored for ever, a definite failure has left nothing, and an ambiguous batch may be repeated until it
    is decided, by several writers of the same orders."""

    async def play(outside: Outside) -> None:
        writers = [Writer(outside, number) for number in (1, 2)]
        await asyncio.gather(*(writer.run() for writer in writers))
        outside.heal()
        await outside.runtime.sleep(5)
        ids = [entry.event.event_id for order_id in "abc" for entry in await outside.store.timeline(order_id)]
        assert sorted(ids) == sorted(event_id for writer in writers for event_id in writer.stored)
        assert not {*ids} & {event_id for writer in writers for event_id in writer.not_stored}
        assert {event.event_id for event in outside.history.values()} == {*ids}

    in_any_weather(
        play, "store.ambiguous_stored", "store.ambiguous_not_stored", "store.ambiguous_late", "store.busy",
        "store.full", "store.down", "store.stalled", "store.rejected", "store.conflict", "store.repeated",
        "store.waited_for_locks", "power.lost_unsynced", "power.kept_unsynced",
    )  # fmt: skip


def test_a_power_cut_may_take_what_nobody_was_promised_and_no_more() -> None:
    """What was written and not answered yet is lost or kept; a mark, which is never promised, goes or stays with it."""
    outcomes = set()

    async def play(outside: Outside) -> None:
        outside.heal()
        store = SimStore(Node(outside, 1))
        await store.write([write("a")])
        await store.mark_published([("a", 1)])
        under_way = outside.runtime.spawn(store.write([write("b")]), name="under way")
        while not await outside.store.timeline("b"):
            await outside.runtime.sleep(0.00001)
            if under_way.done():
                return
        outside.power_cut(("store",))
        assert len(await outside.store.timeline("a")) == 1
        left = bool(await outside.store.timeline("b")), (await outside.store.summary()).unpublished
        outcomes.add(left)
        assert isinstance(*await asyncio.gather(under_way, return_exceptions=True), CommitAmbiguous)

    async def powerless(seed: int) -> None:
        outside = Outside(seed)
        if outside.power_may_fail:
            await play(outside)

    for seed in range(SEEDS):
        run(powerless(seed))
    assert outcomes == {(False, 1), (False, 0), (True, 1)}


def test_what_failed_may_come_to_pass_late_and_what_was_done_stays_done() -> None:
    """One statement: whoever heard of its end can build on it; else it happens at once, within seconds, or never."""
    moments: Counter[str] = Counter()

    async def play(outside: Outside) -> None:
        await outside.store.write([write("a")])
        outside.store_disk.promised()
        store, cuts = SimStore(Node(outside, 1)), outside.store_disk.power_cuts
        try:
            await store.park("a", 1, "the log refuses it")
        except StoreUnavailable:
            at_once = (await outside.store.summary()).parked
            await outside.runtime.sleep(max(LATE_SECONDS))
            later = (await outside.store.summary()).parked
            moments["at once" if at_once else "late" if later else "never"] += 1
        else:
            moments["done"] += 1
            await outside.runtime.sleep(max(LATE_SECONDS))
            later = (await outside.store.summary()).parked
            assert later == 1
        outside.heal()
        await outside.runtime.sleep(5)
        assert (await outside.store.summary()).parked == later or outside.store_disk.power_cuts != cuts

    in_any_weather(play, "store.late", "store.busy", "store.parked")
    assert {*moments} >= {"late", "never", "done"}, moments


# ---------------------------------------------------------------------------------------------- log


class Sender:
    """Sends versions of a few keys, each until it is acknowledged or refused, as the relay does."""

    def __init__(self, outside: Outside, number: int) -> None:
        self._outside, self._number, self._publisher = outside, number, SimPublisher(Node(outside, number))
        self._partitions = len(outside.log.partitions)
        self.acked: list[tuple[int, int | None, bytes]] = []
        self.rejected: list[bytes] = []

    async def run(self) -> None:
        """A dozen batches."""
        versions = dict.fromkeys(range(4), 1)
        for _ in range(12):
            batch = [self._record(key, version) for key, version in versions.items()]
            for key, record, result in zip(versions, batch, await self._publisher.publish(batch), strict=True):
                if isinstance(result, Acked):
                    self.acked.append((record.partition, result.offset, record.value))
                elif isinstance(result, Rejected):
                    self.rejected.append(record.value)
                versions[key] += not isinstance(result, Unsent)
            await self._outside.runtime.sleep(self._outside.rng.uniform(0, 0.4))

    def _record(self, key: int, version: int) -> OutgoingRecord:
        name = f"{self._number}-{key}"
        return OutgoingRecord(TOPIC, key % self._partitions, name.encode(), f"{name} {version}".encode(), (), 1)


def test_a_log_keeps_its_word() -> None:
    """What it acknowledged is there for ever, at the place that it told; what it rejected is not; and each key's first
    appearances are in the order in which they were sent, whatever arrives again later."""

    async def play(outside: Outside) -> None:
        senders = [Sender(outside, number) for number in (1, 2)]
        await asyncio.gather(*(sender.run() for sender in senders))
        outside.heal()
        await outside.runtime.sleep(8)
        partitions = outside.log.partitions
        values = [record.value for records in partitions for record in records]
        for sender in senders:
            for partition, offset, value in sender.acked:
                assert offset is not None
                assert partitions[partition][offset].value == value
            assert not {*values} & {*sender.rejected}
        first: dict[bytes, list[int]] = {}
        for value in dict.fromkeys(values):
            key, version = (value or b"").split()
            first.setdefault(key, []).append(int(version))
        assert all(versions == sorted(versions) for versions in first.values()), first

    in_any_weather(
        play, "log.unsent", "log.late_append", "log.ack_lost", "log.doubled", "log.fatal", "log.rejected", "log.down",
        "log.leaderless", "log.timed_out", "power.lost_unsynced", "power.kept_unsynced",
    )  # fmt: skip


class Member:
    """Reads what the group gives it, from where the last one said it was."""

    def __init__(self, outside: Outside, number: int, reached: dict[int, int], claims: dict[int, "Member"]) -> None:
        self.node = Node(outside, number)
        self._source, self._reached, self._claims = SimSource(self.node), reached, claims
        self.owned: set[int] = set()

    def may_read(self, partition: int) -> bool:
        """As the coordinator sees it; a member that is on its way to hear otherwise reads nothing any more."""
        return self.node.outside.group.knows(self._source._member) and partition in self._source._member.owned

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                polled = await self._source.poll(5, 0.5)
            except BrokerUnavailable:
                await self.node.runtime.sleep(0.1)
                continue
            self.owned -= {*polled.revoked}
            self.owned |= {*polled.assigned}
            for partition in polled.revoked:
                if self._claims.get(partition) is self:
                    del self._claims[partition]
            for partition in polled.assigned:
                before = self._claims.get(partition)
                both = before not in (None, self) and before.may_read(partition) and self.may_read(partition)
                assert not both, "two members own a partition"
                self._claims[partition] = self
            await self._source.seek({partition: self._reached.get(partition, 0) for partition in polled.assigned})
            for one in polled.records:
                assert one.partition in self.owned
                self._reached[one.partition] = max(self._reached.get(one.partition, 0), one.offset + 1)


def test_a_group_gives_each_partition_to_somebody_in_the_end() -> None:
    """Members come, pause, die and are the last to know; in calm weather each partition has exactly one reader, who
    reads to the end."""

    async def play(outside: Outside) -> None:
        reached: dict[int, int] = {}
        claims: dict[int, Member] = {}
        members = [Member(outside, number, reached, claims) for number in (1, 2, 3)]
        tasks = [member.node.runtime.spawn(member.run(), name="member") for member in members]
        sender = Sender(outside, 9)
        sending = outside.runtime.spawn(sender.run(), name="sender")
        await outside.runtime.sleep(outside.rng.uniform(0, SECONDS))
        members[0].node.crash()
        members[1].node.paused_until = outside.runtime.monotonic() + 4
        await outside.runtime.sleep(5)
        await sending
        outside.heal()
        await outside.runtime.sleep(10)
        owners = [members[1].owned, members[2].owned]
        assert sorted([*owners[0], *owners[1]]) == list(range(len(outside.log.partitions)))
        assert {at: reached.get(at, 0) for at in outside.log.ends()} == outside.log.ends()
        assert not any(task.done() for task in tasks[1:])

    in_any_weather(
        play, "group.deaf", "group.zombie_poll", "group.member_expired", "group.revoked", "group.eager",
        "group.cooperative", "log.grown", "log.stale_fetch", "log.short_poll", "log.poll_failed",
    )  # fmt: skip


def test_a_clean_up_keeps_what_is_newest_and_what_was_read() -> None:
    """Of three events of an order the newest stays, of the others those that a reader was given, and the log's end."""

    async def play() -> None:
        outside = Outside(1, CALM, partitions=1)
        source = SimSource(Node(outside, 1))
        for number in (1, 2, 3, 2):
            outside.log.append(OutgoingRecord(TOPIC, 0, b"a", b"v", (("ce_id", b"%d" % number),), 0))
            if number == 1:
                assert (await source.poll(5, 0)).assigned == (0,)
                await source.seek({0: 0})
                assert [one.offset for one in (await source.poll(5, 0)).records] == [0]
        assert outside.log.compact(lambda: True) == 1
        assert [one.offset for one in (await source.poll(5, 0)).records] == [2, 3]

    run(play())


# ---------------------------------------------------------------------------------------------- views and registry


def test_a_read_model_keeps_its_word() -> None:
    """A commit that lost its race or could not begin has left nothing, an ambiguous one shows in the positions, and
    each position is reached once, whoever else commits."""

    async def play(outside: Outside) -> None:
        steps: list[int] = []
        await asyncio.gather(*(applier(outside, number, steps) for number in (1, 2)))
        outside.heal()
        await outside.runtime.sleep(5)
        stats, positions = await outside.views.stats(), await outside.views.positions(TOPIC)
        assert stats.counters.get("applied", 0) == positions.get(0, 0)
        assert len({*steps}) == len(steps), "two were told that they made the same step"
        assert {*steps} <= {*range(1, positions.get(0, 0) + 1)}

    async def applier(outside: Outside, number: int, steps: list[int]) -> None:
        views = SimViews(Node(outside, number))
        last = 0
        for _ in range(25):
            try:
                at = (await views.load(TOPIC, ())).positions.get(0, 0)
                assert at >= last, "a position went back"
                last = at
                await outside.runtime.sleep(outside.rng.choice((0.0, 0.1)))
                await views.commit(changes(positions={0: (at, at + 1)}, counters={"applied": 1}))
            except (StoreUnavailable, CommitAmbiguous, StalePosition):
                await outside.runtime.sleep(outside.rng.uniform(0, 0.2))
            else:
                steps.append(at + 1)

    in_any_weather(
        play, "views.busy", "views.down", "views.ambiguous_stored", "views.ambiguous_not_stored",
        "views.ambiguous_late", "views.waited_for_locks", "views.stale", "views.lost_race", "power.lost_unsynced",
    )  # fmt: skip


def test_a_registry_tells_the_truth_or_nothing() -> None:
    """An id it gives is the schema's own; only an id that it has not heard of yet is unknown."""

    async def play(outside: Outside) -> None:
        registry = SimRegistry(Node(outside, 1))
        name, text = "order-events-value/v1", await RELEASED.schema_of(1)
        for _ in range(20):
            await outside.runtime.sleep(outside.rng.uniform(0, 0.5))
            try:
                assert await registry.id_of(name) == 1
                assert await registry.schema_of(1) in (text, None)
                assert await registry.schema_of(FOREIGN_ID) is None
            except RegistryUnavailable:
                continue
        outside.heal()
        await outside.runtime.sleep(5)
        assert [await registry.schema_of(one) for one in (1, FOREIGN_ID, 999)] == [text, text, None]

    in_any_weather(
        play, "registry.down", "registry.forgot", "registry.no_id", "registry.no_schema", "registry.slow",
        "registry.unknown_id",
    )  # fmt: skip
