"""EventPublisher: what goes into the log, in which order, and what its answers mean."""

import asyncio

import pytest

from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import Acked, OutgoingRecord, Rejected
from tests.contract.event_log.conftest import PARTITIONS, TOPIC, EventLog
from tests.contract.event_log.reading import read_all, read_from, record


async def test_records_of_a_partition_stand_in_the_order_they_were_given(log: EventLog) -> None:
    """Offsets count up from 0 in each partition, over batches too."""
    first = await log.publisher.publish([record(0, b"a"), record(1, b"b"), record(0, b"c")])
    second = await log.publisher.publish([record(0, b"d"), record(1, b"e")])
    assert [*first, *second] == [Acked(0), Acked(0), Acked(1), Acked(2), Acked(1)]
    assert [(r.offset, r.key) for r in await read_from(log.source(), 0)] == [(0, b"a"), (1, b"c"), (2, b"d")]
    assert [(r.offset, r.key) for r in await read_from(log.source(), 1)] == [(0, b"b"), (1, b"e")]


async def test_a_record_comes_out_as_it_went_in(log: EventLog) -> None:
    """Key, value, header names with repetitions, bytes that are no text, and the timestamp are kept."""
    headers = (("ce_id", b"1"), ("ce_id", b"\xff\x00"), ("é", b""))
    await log.publisher.publish([OutgoingRecord(TOPIC, 2, b"\x00k", b"\x00\xfe", headers, 1_700_000_000_123)])
    (found,) = await read_all(log.source())
    assert (found.topic, found.partition, found.offset) == (TOPIC, 2, 0)
    assert (found.key, found.value, found.headers) == (b"\x00k", b"\x00\xfe", headers)
    assert found.timestamp == 1_700_000_000_123


async def test_what_was_acknowledged_is_there_after_a_restart(log: EventLog) -> None:
    """And the next record goes behind it."""
    await log.publisher.publish([record(0, b"a"), record(0, b"b")])
    await log.restart()
    assert await log.publisher.publish([record(0, b"c")]) == [Acked(2)]
    assert [r.key for r in await read_all(log.source())] == [b"a", b"b", b"c"]


async def test_a_record_that_is_too_large_is_rejected_and_its_neighbours_are_not(log: EventLog) -> None:
    """One answer per record, in the order of the batch."""
    results = await log.publisher.publish([record(0, b"a"), record(0, b"big", bytes(1 << 20)), record(0, b"c")])
    assert isinstance(results[1], Rejected)
    assert (results[0], results[2]) == (Acked(0), Acked(1))
    assert [r.key for r in await read_all(log.source())] == [b"a", b"c"]


async def test_a_record_for_a_partition_or_topic_that_is_not_there_is_rejected(log: EventLog) -> None:
    """Trying again would change nothing."""
    elsewhere = OutgoingRecord("elsewhere", 0, b"k", b"v", (), 1)
    results = await log.publisher.publish([record(PARTITIONS, b"a"), record(-1, b"b"), elsewhere])
    assert [type(result) for result in results] == [Rejected, Rejected, Rejected]
    assert await read_all(log.source()) == []


async def test_an_empty_batch_is_no_work(log: EventLog) -> None:
    """No records, no answers."""
    assert list(await log.publisher.publish([])) == []


async def test_concurrent_batches_neither_mix_nor_lose_anything(log: EventLog) -> None:
    """Each batch keeps its order; offsets have no holes."""
    batches = [[record(n % PARTITIONS, b"%d-%d" % (b, n)) for n in range(20)] for b in range(8)]
    await asyncio.gather(*(log.publisher.publish(batch) for batch in batches))
    found = await read_all(log.source())
    assert sorted(r.key or b"" for r in found) == sorted(r.key for batch in batches for r in batch)
    for partition in range(PARTITIONS):
        mine = [r for r in found if r.partition == partition]
        assert [r.offset for r in mine] == list(range(len(mine)))
        for b in range(8):
            of_batch = [int((r.key or b"").split(b"-")[1]) for r in mine if (r.key or b"").startswith(b"%d-" % b)]
            assert of_batch == sorted(of_batch)


async def test_the_partition_count_is_told_and_kept(log: EventLog) -> None:
    """An unknown topic is not a topic without partitions."""
    assert await log.publisher.partition_count(TOPIC) == PARTITIONS
    await log.restart()
    assert await log.publisher.partition_count(TOPIC) == PARTITIONS
    with pytest.raises(BrokerUnavailable):
        await log.publisher.partition_count("elsewhere")


async def test_a_healthy_log_passes_the_probe(log: EventLog) -> None:
    """It returns, and writes nothing that a reader could see."""
    await log.publisher.probe()
    assert await read_all(log.source()) == []
