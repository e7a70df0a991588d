"""The log as one node calls it: a publisher whose records may be lost, late or doubled, and a source that lags."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from ordering.adapters.memory.log import MemoryPublisher, MemorySource
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import (
    Acked,
    Lag,
    LogIdentity,
    OutgoingRecord,
    Polled,
    PublishResult,
    Record,
    Rejected,
    Unsent,
)
from tests.simulation.group import Group, Member
from tests.simulation.outside import Node

T = TypeVar("T")

TIMEOUT: Final = 4.0
"""How long a record waits for a leader of its partition before the producer gives it up."""
LATE: Final = 3.0
"""A record that was given up may arrive up to so many seconds later."""


class SimPublisher:
    """EventPublisher of one node, a producer's life after the other.

    Within one life records neither double nor overtake each other. What it gives up may be in the log all the same, or
    arrive later, behind whatever was sent since. After a fatal error everything under way is given up.
    """

    def __init__(self, node: Node) -> None:
        self._node, self._outside, self._log = node, node.outside, node.outside.log
        self._real = MemoryPublisher(self._log)
        self._life = 1

    @property
    def outage(self) -> str | None:
        """Half of the worlds' brokers hang up when they go, the others are silent."""
        return self._log.down if self._outside.hangs_up else None

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        return await self._node.call("log.publish", lambda: self._publish(batch)) if batch else ()

    async def _publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        outside, life, cuts = self._outside, self._life, self._log.disk.power_cuts
        await outside.delay(outside.weather.slowest, "log.slow")
        fatal_at = outside.rng.randint(0, len(batch)) if outside.strikes("log.fatal") else len(batch)
        results: list[PublishResult | None] = [None] * len(batch)
        waiting = []
        for index, record in enumerate(batch):
            if index >= fatal_at or self._life != life:
                results[index] = self._give_up(record, "the producer is made anew")
            elif self._stuck(record):
                waiting.append(index)
            else:
                results[index] = await self._one(record)
        if fatal_at < len(batch):
            self._life += 1
        if waiting:
            await self._wait([batch[index] for index in waiting])
            for index in waiting:
                if self._life != life or self._stuck(batch[index]):
                    outside.saw("log.timed_out")
                    results[index] = self._give_up(batch[index], "timed out")
                else:
                    results[index] = await self._one(batch[index])
        await outside.delay(outside.weather.slowest)
        told = [self._told(result, self._life == life and self._log.disk.power_cuts == cuts) for result in results]
        if any(isinstance(result, Acked) for result in told):
            self.promise()
        return told

    def promise(self) -> None:
        """What is acknowledged is safe; nobody is told before."""
        self._log.disk.promised()

    def _stuck(self, record: OutgoingRecord) -> bool:
        unheard = self._node.cut_off or not self._log.can_take(record.partition)
        return record.partition < len(self._log.partitions) and unheard

    async def _wait(self, records: Sequence[OutgoingRecord]) -> None:
        """For the leaders of these records' partitions. A broker that hangs up is given up on at once."""
        deadline = self._outside.runtime.monotonic() + TIMEOUT
        while any(self._stuck(record) for record in records) and self.outage is None:
            left = deadline - self._outside.runtime.monotonic()
            if left <= 0:
                return
            await self._log.news(left)

    async def _one(self, record: OutgoingRecord) -> PublishResult:
        outside = self._outside
        if self._refuses(record):
            return Rejected("too large")
        if outside.strikes("log.unsent"):
            return self._give_up(record, "timed out")
        (result,) = await self._append(record)
        if isinstance(result, Rejected):
            outside.saw("log.no_partition")
            return result
        if outside.strikes("log.doubled"):
            outside.runtime.spawn(self._arrive_late(record, self._log.made), name="doubled")
        return Unsent("the acknowledgement was lost") if outside.strikes("log.ack_lost") else result

    def _refuses(self, record: OutgoingRecord) -> bool:
        return self._log.refuses(record.value, lambda: self._outside.strikes("log.rejected"))

    async def _append(self, record: OutgoingRecord) -> Sequence[PublishResult]:
        self._log.disk.writing(promised=True)
        return await self._real.publish([record])

    def _give_up(self, record: OutgoingRecord, reason: str) -> Unsent:
        """Nobody knows: it is nowhere, or arrives some time."""
        outside = self._outside
        outside.saw("log.given_up")
        if not self._refuses(record) and outside.strikes("log.late_append"):
            outside.runtime.spawn(self._arrive_late(record, self._log.made), name="late append")
        return Unsent(reason)

    async def _arrive_late(self, record: OutgoingRecord, made: int) -> None:
        await self._outside.runtime.sleep(self._outside.rng.choice((0.0, self._outside.rng.uniform(0, LATE))))
        if self._log.made == made and self._log.can_take(record.partition):
            await self._append(record)
            self.promise()

    @staticmethod
    def _told(result: PublishResult | None, lives: bool) -> PublishResult:
        """A producer that is gone tells nothing of what it had achieved."""
        assert result is not None
        return Unsent("the producer is made anew") if isinstance(result, Acked) and not lives else result

    async def probe(self) -> None:
        await self._node.look("log.probe", self._probe)

    async def partition_count(self, topic: str) -> int:
        async def count() -> int:
            await self._probe()
            return await self._real.partition_count(topic)

        return await self._node.look("log.partition_count", count)

    async def _probe(self) -> None:
        outside = self._outside
        await outside.delay(min(outside.weather.slowest, 0.5))
        if self._log.down is not None or self._node.cut_off:
            raise BrokerUnavailable(self._log.down or "the network is down here")
        if self._log.leaderless or outside.strikes("log.probe_failed"):
            raise BrokerUnavailable("a partition has no leader at the moment")


class SimSource(MemorySource):
    """EventSource, WholeLog and LogTail of one node: a member of the group (the view's, if no other is given), or with
    ``alone`` a reader of everything outside any group."""

    def __init__(self, node: Node, group: Group | None = None, *, alone: bool = False) -> None:
        super().__init__(node.outside.log, "view", node.now)
        self._node, self._outside, self._sim = node, node.outside, node.outside.log
        self._coordinator = None if alone else group or node.outside.group
        self._member = Member(lambda: node.alive and node.paused_until <= node.runtime.monotonic())
        self._first: LogIdentity | None = None

    # ------------------------------------------------------------------ the port

    async def identity(self) -> LogIdentity:
        async def identity() -> LogIdentity:
            self._reach("log.end_failed")
            self._recognise()
            return await super(SimSource, self).identity()

        return await self._node.look("log.identity", identity)

    async def poll(self, limit: int, wait: float) -> Polled:
        await self._node.visit("log.poll")
        self._reach("log.poll_failed")
        if self._outside.strikes("log.short_poll"):
            limit = self._outside.rng.randint(1, limit)
        polled = await super().poll(limit, wait)
        if polled.records:
            self._sim.disk.seen()
        await self._node.visit("log.polled")
        return polled

    async def seek(self, positions: Mapping[int, int]) -> None:
        await self._node.visit("log.seek")
        await super().seek({at: to for at, to in positions.items() if at in self._member.owned})

    async def commit(self, positions: Mapping[int, int]) -> None:
        await self._node.visit("log.commit")
        if self._sim.down is None and not self._outside.strikes("log.offsets_not_told"):
            await super().commit(positions)

    async def end_offsets(self) -> Mapping[int, int]:
        return await self._ask("log.end_offsets", super().end_offsets)

    async def begin_offsets(self) -> Mapping[int, int]:
        return await self._ask("log.begin_offsets", super().begin_offsets)

    async def newest(self, each: int, partitions: Collection[int] | None = None) -> Sequence[Record]:
        """On a connection of its own, which knows of no earlier log."""
        self._first = None
        return await self._ask("log.newest", lambda: super(SimSource, self).newest(each, partitions))

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        return await self._ask("log.lag", lambda: super(SimSource, self).lag(positions))

    async def _ask(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        async def ask() -> T:
            self._reach("log.end_failed")
            self._recognise()
            self._sim.disk.seen()
            return await act()

        return await self._node.look(what, ask)

    # ------------------------------------------------------------------ one look

    def _require_available(self) -> None:
        self._reach("")

    def _reach(self, fault: str) -> None:
        """Raises BrokerUnavailable."""
        if self._sim.down is not None or (fault and self._outside.strikes(fault)):
            raise BrokerUnavailable(self._sim.down or "a broker did not answer in time")

    def _recognise(self) -> None:
        """Raises LogChanged if the log is not the one that this source began with."""
        if self._first is None:
            self._first = self._sim.identity
        elif self._first != self._sim.identity:
            self._outside.saw("log.log_changed")
            raise LogChanged(f"topic {self._sim.topic} was deleted and created again")

    def _poll(self, limit: int) -> Polled | None:
        self._recognise()
        news = self._news()
        if news is not None:
            return news
        try:
            self._require_history()
        except LogChanged:
            self._outside.saw("log.log_changed")
            raise
        hidden = self._outside.rng.randint(1, 3) if self._outside.strikes("log.stale_fetch") else 0
        ends = {
            partition: len(self._sim.partitions[partition]) - hidden
            for partition in self._positions
            if self._sim.can_take(partition) and not self._sim.withheld
        }
        records: list[Record] = []
        while len(records) < limit and (turns := self._with_news_before(ends)):
            for partition in turns[: limit - len(records)]:
                at = self._positions[partition]
                if (partition, at) not in self._sim.gone:
                    records.append(self._sim.partitions[partition][at])
                    self._sim.fetched[partition] = max(at + 1, self._sim.fetched.get(partition, 0))
                self._positions[partition] += 1
                self._turn = partition + 1
        return Polled(records=tuple(records)) if records else None

    def _with_news_before(self, ends: Mapping[int, int]) -> list[int]:
        ready = [partition for partition, at in self._positions.items() if at < ends.get(partition, 0)]
        return sorted(ready, key=lambda partition: (partition < self._turn, partition))

    # ------------------------------------------------------------------ who reads what

    def _news(self) -> Polled | None:
        """What came or went since this member was told last."""
        member = self._member
        if self._coordinator is None:
            gained = [partition for partition in range(len(self._sim.partitions)) if partition not in member.owned]
            member.owned.update(dict.fromkeys(gained))
            return Polled(assigned=tuple(gained)) if gained else None
        if self._is_deaf(self._coordinator):
            return None
        revoked = self._coordinator.to_revoke(member)
        for partition in revoked:
            del member.owned[partition]
            self._positions.pop(partition, None)
        if revoked:
            self._outside.saw("group.revoked")
            self._sim.wake()
        self._coordinator.heard(member)
        gained = self._coordinator.to_assign(member)
        member.owned.update(dict.fromkeys(gained))
        if not revoked and not gained:
            return None
        return Polled(assigned=tuple(gained), revoked=tuple(revoked))

    def _is_deaf(self, group: Group) -> bool:
        """A zombie: the group has given away what it goes on with."""
        member, now = self._member, self._outside.runtime.monotonic()
        if not member.owned or not group.to_revoke(member):
            return False
        if member.deaf_until < now and self._outside.strikes("group.deaf"):
            member.deaf_until = now + self._outside.rng.uniform(0, 2)
        if member.deaf_until >= now:
            self._outside.saw("group.zombie_poll")
            return True
        return False
