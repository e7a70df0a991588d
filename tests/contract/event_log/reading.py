"""Records to publish, and short ways to read them back."""

from collections.abc import Iterable, Mapping

from ordering.application.messages import OutgoingRecord, Record
from ordering.application.ports import EventSource
from tests.contract.event_log.conftest import PARTITIONS, TOPIC

MANY = 10_000


def record(
    partition: int, key: bytes, value: bytes = b"\0\0\0\0\1v", timestamp: int = 1_700_000_000_000
) -> OutgoingRecord:
    """A record for the topic under test."""
    return OutgoingRecord(TOPIC, partition, key, value, (), timestamp)


def records(partition: int, count: int) -> list[OutgoingRecord]:
    """So many records for one partition, their keys the numbers from 0."""
    return [record(partition, b"%d" % number) for number in range(count)]


async def started(source: EventSource, positions: Mapping[int, int] | None = None) -> EventSource:
    """The source, past its assignment and at these positions (else at the beginning)."""
    polled = await source.poll(MANY, 0)
    await source.seek({partition: (positions or {}).get(partition, 0) for partition in polled.assigned})
    return source


async def read_all(source: EventSource) -> list[Record]:
    """Everything in the log."""
    return list((await (await started(source)).poll(MANY, 0)).records)


async def read_from(source: EventSource, partition: int) -> list[Record]:
    """Everything in one partition."""
    return [found for found in await read_all(source) if found.partition == partition]


def per_partition(found: Iterable[Record]) -> dict[int, int]:
    """How many records came from each partition."""
    counts = dict.fromkeys(range(PARTITIONS), 0)
    for one in found:
        counts[one.partition] += 1
    return counts
