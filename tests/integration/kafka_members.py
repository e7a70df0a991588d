"""Members of a consumer group as an application has them, and what tests of them wait for."""

import asyncio
from collections.abc import Callable

import pytest

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.kafka.source import KafkaReader, KafkaSource
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import Acked, OutgoingRecord, Record
from tests.services.unhurried import PATIENCE

Source = KafkaSource | KafkaReader


async def publish(bootstrap: str, topic: str, counts: dict[int, int], value: bytes = b"v") -> None:
    """So many records for each partition, their keys the numbers from 0."""
    publisher = KafkaPublisher(KafkaConnection(bootstrap), topic)
    await eventually(publisher.probe)
    batch = [OutgoingRecord(topic, p, b"%d" % n, value, (), 1) for p, count in counts.items() for n in range(count)]
    assert all(isinstance(result, Acked) for result in await publisher.publish(batch))
    await publisher.close()


async def eventually(ask: Callable[[], object]) -> None:
    """Ask until the broker answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await ask()  # type: ignore[misc]
            except BrokerUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


class Member:
    """An application with a source: it keeps its own positions, as our database does, and goes on from them."""

    def __init__(self, source: Source, positions: dict[int, int], seen: list[Record]) -> None:
        self.source, self.positions, self.seen = source, positions, seen
        self.assigned: set[int] = set()
        self.lost: set[int] = set()

    async def step(self, wait: float = 0.2, limit: int = 500) -> None:
        polled = await self.source.poll(limit, wait)
        self.assigned -= set(polled.revoked)
        self.lost |= set(polled.revoked)
        self.assigned |= set(polled.assigned)
        if polled.assigned:
            await self.source.seek({p: self.positions.get(p, 0) for p in polled.assigned})
        for record in polled.records:
            if record.offset == self.positions.get(record.partition, 0):  # the compare-and-set
                self.positions[record.partition] = record.offset + 1
                self.seen.append(record)
        if polled.records:
            await self.source.commit({record.partition: record.offset + 1 for record in polled.records})


async def until(members: list[Member], holds: Callable[[], bool]) -> None:
    """Let the members work until something holds; a broker that is away is waited for."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            for member in members:
                try:
                    await member.step()
                except BrokerUnavailable:
                    await asyncio.sleep(0.05)


async def working(member: Member) -> None:
    """Let the member work until it raises."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await member.step()


async def until_told(member: Member, reason: str) -> None:
    """Let the member work until the broker is away for this reason; before it knows it, it may only say that it takes
    too long."""
    told = ""
    while told != reason:
        assert told in {"", "the broker does not answer in time"}
        with pytest.raises(BrokerUnavailable) as refusal:
            await working(member)
        told = refusal.value.reason


async def changed(member: Member) -> str:
    """What the source says when it finds the log changed."""
    with pytest.raises(LogChanged) as found:
        await until([member], lambda: False)
    return str(found.value)
