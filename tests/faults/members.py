"""The consumer group seen from outside: who reads what, and how the projection gets on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping

import asyncpg
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.faults.cluster import PATIENCE, Cluster, Instance

SAMPLE_SECONDS = 0.05
ANSWER_SECONDS = 30.0

_POSITIONS = """
SELECT partition, next FROM ordering_order.positions
WHERE topic = $1 AND generation = (SELECT generation FROM ordering_order.pointer)
"""

Shares = Mapping[str, frozenset[int]]
"""Per running member: the partitions it reads."""


class Members:
    """Order services of one group. Each says in its log which partitions it reads; only its present life counts."""

    def __init__(self, cluster: Cluster, count: int, own: Callable[[int], Mapping[str, str]] = lambda _: {}) -> None:
        """``own``: the settings of a member alone, by its number from 0."""
        self.all = [cluster.order(start=False, **own(number)) for number in range(count)]
        self._begun: dict[str, int] = {}

    async def start(self, *members: Instance, wait: bool = True) -> None:
        """Start these together, all of them if none is named; with ``wait`` until each is ready."""
        chosen = members or self.all
        for member in chosen:
            self._begun[member.name] = member.log.stat().st_size if member.log.exists() else 0
            member.start(wait=False)
        if wait:
            await asyncio.gather(*(asyncio.to_thread(member.await_ready) for member in chosen))

    def reads(self, member: Instance) -> frozenset[int]:
        """What it reads now, by its own word."""
        news = self.news(member)
        return news[-1] if news else frozenset()

    def news(self, member: Instance) -> list[frozenset[int]]:
        """What it has read since it was started, one change after the other."""
        text = member.log.read_bytes()[self._begun[member.name] :].decode(errors="replace")
        return [
            frozenset(json.loads(line)["partitions"])
            for line in text.splitlines(keepends=True)
            if '"consumer.assigned"' in line and line.endswith("\n")
        ]

    def shares(self) -> Shares:
        """Of every member that has a process."""
        return {member.name: self.reads(member) for member in self.all if member.process is not None}

    async def shared(self, partitions: int, among: Callable[[Shares], Shares] = lambda shares: shares) -> Shares:
        """Wait until each partition is read by exactly one member, and each member (of those chosen) reads some."""
        deadline = time.monotonic() + PATIENCE
        while True:
            shares = among(self.shares())
            every = sorted(partition for share in shares.values() for partition in share)
            if every == list(range(partitions)) and all(shares.values()):
                return shares
            assert time.monotonic() < deadline, f"the group does not settle: {shares}"
            await asyncio.sleep(SAMPLE_SECONDS)


class Progress:
    """Compares during the block the positions in the database with the ends of the log, again and again."""

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.database is not None
        self._database, self._topic = cluster.database, cluster.topic
        self._admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        self._since: dict[int, float] = {}
        self._task: asyncio.Task[None] | None = None
        self.at: dict[int, int] = {}
        """The positions, as last seen."""
        self.ends: dict[int, int] = {}
        """The ends of the log, as last seen."""
        self.stalls: dict[int, float] = {}
        """Per partition: the longest time in seconds its position stood still while records waited."""
        self.back: list[str] = []
        """Positions that were lower than before."""

    async def __aenter__(self) -> Progress:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        if not self._task.done():
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._task.cancelled():
            self._task.result()  # it ends by itself only with an error

    def longest(self) -> float:
        """Of all partitions."""
        return max(self.stalls.values(), default=0.0)

    def forget(self) -> None:
        """Stalls count from now on."""
        self.stalls.clear()
        self._since.clear()

    async def moved(self, partitions: frozenset[int], beyond: Mapping[int, int]) -> None:
        """Wait until each of these has gone beyond a position."""
        deadline = time.monotonic() + PATIENCE
        while any(self.at.get(partition, 0) <= beyond.get(partition, 0) for partition in partitions):
            assert time.monotonic() < deadline, f"{set(partitions)} do not move: {beyond} then, {self.at} now"
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _run(self) -> None:
        connection = await asyncpg.connect(self._database)
        try:
            while True:
                try:
                    self.ends = await asyncio.to_thread(self._ends)
                except KafkaException:  # a broker that stood still leads nothing for a moment
                    await asyncio.sleep(SAMPLE_SECONDS)
                    continue
                self._look(self.ends, dict(await connection.fetch(_POSITIONS, self._topic)), time.monotonic())
                await asyncio.sleep(SAMPLE_SECONDS)
        finally:
            await connection.close()

    def _ends(self) -> dict[int, int]:
        partitions = self._admin.list_topics(self._topic, ANSWER_SECONDS).topics[self._topic].partitions
        asked = {TopicPartition(self._topic, partition): OffsetSpec.latest() for partition in partitions}
        answers = self._admin.list_offsets(asked, request_timeout=ANSWER_SECONDS)
        return {place.partition: answer.result(ANSWER_SECONDS).offset for place, answer in answers.items()}

    def _look(self, ends: Mapping[int, int], positions: Mapping[int, int], now: float) -> None:
        for partition, end in ends.items():
            at, before = positions.get(partition, 0), self.at.get(partition, 0)
            if at < before:
                self.back.append(f"partition {partition} from {before} to {at}")
            if at != before or at >= end:
                self._since[partition] = now
            else:
                stall = now - self._since.setdefault(partition, now)
                self.stalls[partition] = max(stall, self.stalls.get(partition, 0.0))
            self.at[partition] = at
