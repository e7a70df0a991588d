"""The switches of the log in memory, with which other tests make trouble."""

import pytest

from ordering.adapters.memory.log import MemoryLog, MemoryPublisher, MemorySource
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import Acked, Rejected, Unsent
from tests.contract.event_log.conftest import NOW, TOPIC
from tests.contract.event_log.reading import MANY, read_all, record, started


async def test_an_unavailable_log_takes_nothing_and_says_why() -> None:
    """Publisher and source each have their own switch."""
    log = MemoryLog(TOPIC, 1)
    publisher, source = MemoryPublisher(log), MemorySource(log, "tests", lambda: NOW)
    publisher.unavailable = source.unavailable = "it rains"
    assert await publisher.publish([record(0, b"a")]) == [Unsent("it rains")]
    for question in (publisher.probe, source.identity, source.end_offsets, lambda: source.poll(1, 0)):
        with pytest.raises(BrokerUnavailable, match="it rains"):
            await question()
    publisher.unavailable = source.unavailable = None
    assert await publisher.publish([record(0, b"a")]) == [Acked(0)]
    assert len(await read_all(source)) == 1


async def test_a_verdict_answers_for_the_log() -> None:
    """Record by record."""
    publisher = MemoryPublisher(MemoryLog(TOPIC, 1))
    publisher.verdict = lambda found: Rejected("no b") if found.key == b"b" else None
    assert await publisher.publish([record(0, b"a"), record(0, b"b")]) == [Acked(0), Rejected("no b")]


async def test_a_lost_acknowledgement_leaves_the_record_in_the_log() -> None:
    """Which its sender cannot know."""
    log = MemoryLog(TOPIC, 1)
    publisher = MemoryPublisher(log)
    publisher.lose_acks = True
    assert isinstance((await publisher.publish([record(0, b"a")]))[0], Unsent)
    assert log.ends() == {0: 1}


async def test_new_partitions_are_assigned() -> None:
    """A topic may grow under its readers."""
    log = MemoryLog(TOPIC, 1)
    source = await started(MemorySource(log, "tests", lambda: NOW))
    log.grow(3)
    assert (await source.poll(MANY, 0)).assigned == (1, 2)


async def test_a_trimmed_log_begins_later() -> None:
    """Who stands before that is told; who goes on behind it reads on."""
    log = MemoryLog(TOPIC, 1)
    await MemoryPublisher(log).publish([record(0, b"a"), record(0, b"b")])
    log.trim(0, 1)
    source = await started(MemorySource(log, "tests", lambda: NOW))
    assert await source.begin_offsets() == {0: 1}
    with pytest.raises(LogChanged, match="begins at 1, behind position 0"):
        await source.poll(MANY, 0)
    await source.seek({0: 1})
    assert [found.key for found in (await source.poll(MANY, 0)).records] == [b"b"]


async def test_committed_positions_are_kept_per_group() -> None:
    """As a broker does, for its tools."""
    log = MemoryLog(TOPIC, 1)
    await MemorySource(log, "billing", lambda: NOW).commit({0: 4})
    assert log.committed == {"billing": {0: 4}}
