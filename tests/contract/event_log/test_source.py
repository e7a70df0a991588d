"""EventSource: assignment, positions, fairness, waiting, ends and lag."""

import asyncio

import pytest

from ordering.application.failures import LogChanged
from ordering.application.messages import Lag, Polled
from tests.contract.event_log.conftest import NOW, PARTITIONS, EventLog
from tests.contract.event_log.reading import MANY, per_partition, read_all, record, records, started

LONG = 360.0
"""A wait that a test never sits out: what it waits for comes at once."""


async def test_the_first_poll_tells_the_assignment(log: EventLog) -> None:
    """All partitions, once, without records."""
    await log.publisher.publish(records(0, 1))
    source = log.source()
    assert await source.poll(MANY, LONG) == Polled(assigned=tuple(range(PARTITIONS)))
    assert (await source.poll(MANY, 0)).assigned == ()


async def test_a_partition_delivers_nothing_until_it_is_told_where_to_go_on(log: EventLog) -> None:
    """Positions come from the reader's own database, never from the log."""
    await log.publisher.publish(records(0, 2) + records(1, 2))
    source = log.source()
    await source.poll(MANY, 0)
    assert (await source.poll(MANY, 0)).records == ()
    await source.seek({1: 1})
    assert [(r.partition, r.offset) for r in (await source.poll(MANY, 0)).records] == [(1, 1)]


async def test_each_poll_goes_on_behind_the_one_before(log: EventLog) -> None:
    """No more than the limit, ascending without holes, until nothing is left."""
    await log.publisher.publish(records(0, 7))
    source = await started(log.source())
    seen = []
    while found := (await source.poll(3, 0)).records:
        assert len(found) <= 3
        seen += [r.offset for r in found]
    assert seen == list(range(7))


async def test_seek_goes_back_and_forth(log: EventLog) -> None:
    """A reader that lost its transaction reads the same records again."""
    await log.publisher.publish(records(0, 5))
    source = await started(log.source())
    before = (await source.poll(MANY, 0)).records
    await source.seek({0: 0})
    assert (await source.poll(MANY, 0)).records == before
    await source.seek({0: 4})
    assert [r.offset for r in (await source.poll(MANY, 0)).records] == [4]


async def test_commit_moves_nothing(log: EventLog) -> None:
    """It only tells; a new consumer starts where it is told to."""
    await log.publisher.publish(records(0, 3))
    source = await started(log.source())
    await source.commit({0: 3})
    assert [r.offset for r in (await source.poll(MANY, 0)).records] == [0, 1, 2]
    assert len(await read_all(log.source())) == 3


async def test_a_full_partition_does_not_hold_up_the_others(log: EventLog) -> None:
    """The limit is shared equally, and used up when there is enough to read."""
    await log.publisher.publish(records(0, 100) + records(1, 2) + records(2, 100))
    source = await started(log.source())
    assert per_partition((await source.poll(30, 0)).records) == {0: 14, 1: 2, 2: 14}


async def test_partitions_take_turns_when_the_limit_is_smaller_than_their_number(log: EventLog) -> None:
    """Three polls for one record bring one of each partition."""
    await log.publisher.publish(records(0, 5) + records(1, 5) + records(2, 5))
    source = await started(log.source())
    turns = [found.partition for _ in range(6) for found in (await source.poll(1, 0)).records]
    assert sorted(turns[:3]) == sorted(turns[3:]) == [0, 1, 2]


async def test_a_wait_ends_with_the_record_it_waited_for(log: EventLog) -> None:
    """Long before its time is over."""
    source = await started(log.source())
    waiting = asyncio.create_task(source.poll(MANY, LONG))
    for _ in range(5):  # until it has looked and found nothing
        await asyncio.sleep(0)
    await log.publisher.publish([record(1, b"news")])
    async with asyncio.timeout(LONG / 3):
        assert [r.key for r in (await waiting).records] == [b"news"]


async def test_a_wait_without_news_ends_in_time_with_nothing(log: EventLog) -> None:
    """An empty answer, not an error."""
    source = await started(log.source())
    assert await source.poll(MANY, 0.01) == Polled()


async def test_two_readers_see_the_same_log_beside_its_writer(log: EventLog) -> None:
    """Each at its own pace."""
    first, second = await started(log.source()), await started(log.source())
    await log.publisher.publish(records(0, 4))
    assert len((await first.poll(1, LONG)).records) == 1
    await log.publisher.publish(records(0, 4))
    assert len((await second.poll(MANY, LONG)).records) == 8
    assert len((await first.poll(MANY, LONG)).records) == 7


async def test_ends_name_every_partition(log: EventLog) -> None:
    """The next offset to be written, 0 where there is nothing, at once after each acknowledgement."""
    source = log.source()
    assert dict(await source.end_offsets()) == {0: 0, 1: 0, 2: 0}
    await log.publisher.publish(records(0, 2) + records(2, 1))
    assert dict(await source.end_offsets()) == {0: 2, 1: 0, 2: 1}


async def test_a_log_that_lost_nothing_begins_at_0(log: EventLog) -> None:
    """Every partition is named, also one that holds nothing."""
    source = log.source()
    assert dict(await source.begin_offsets()) == {0: 0, 1: 0, 2: 0}
    await log.publisher.publish(records(0, 2) + records(2, 1))
    assert dict(await source.begin_offsets()) == {0: 0, 1: 0, 2: 0}


async def test_lag_counts_what_is_left_and_the_age_of_the_oldest(log: EventLog) -> None:
    """Partitions without a position count from the beginning."""
    ages = [5_000, 4_000, 90_000, 80_000]
    for partition, age in zip((0, 0, 1, 1), ages, strict=True):
        await log.publisher.publish([record(partition, b"k", timestamp=NOW // 1_000 - age)])
    source = log.source()
    assert await source.lag({}) == Lag(4, 90.0)
    assert await source.lag({0: 1, 1: 1, 2: 0}) == Lag(2, 80.0)
    assert await source.lag({0: 1, 1: 2}) == Lag(1, 4.0)
    assert await source.lag({0: 2, 1: 2}) == Lag(0, 0.0)


async def test_lag_is_never_negative(log: EventLog) -> None:
    """A record from a clock that is ahead is not older than now."""
    await log.publisher.publish([record(0, b"k", timestamp=NOW // 1_000 + 5_000)])
    assert await log.source().lag({}) == Lag(1, 0.0)


async def test_the_newest_records_are_those_at_each_partitions_end(log: EventLog) -> None:
    """As many of each as asked for, or all there are, in order, and as they are read otherwise."""
    assert await log.tail().newest(2) == []
    await log.publisher.publish(records(0, 5) + records(2, 1))
    source = await started(log.source())
    everything = (await source.poll(MANY, LONG)).records
    newest = await log.tail().newest(2)

    assert [(record.partition, record.offset) for record in newest] == [(0, 3), (0, 4), (2, 0)]
    assert set(newest) <= set(everything)
    assert len(await log.tail().newest(MANY)) == 6
    assert {record.partition for record in await log.tail().newest(MANY, [0, 1])} == {0}
    assert [(record.partition, record.offset) for record in await log.tail().newest(1, [2])] == [(2, 0)]


async def test_the_identity_survives_a_restart(log: EventLog) -> None:
    """Every reader sees the same one."""
    before = await log.source().identity()
    await log.restart()
    assert await log.source().identity() == before


async def test_a_recreated_topic_has_another_identity(log: EventLog) -> None:
    """By which a read model refuses to go on."""
    before = await log.source().identity()
    await log.recreate()
    assert await log.source().identity() != before


async def test_a_position_beyond_the_end_is_an_alarm(log: EventLog) -> None:
    """The log lost what was read from it: never a silent reset."""
    await log.publisher.publish(records(0, 2))
    source = await started(log.source(), {0: 3})
    with pytest.raises(LogChanged):
        await source.poll(MANY, 0)


async def test_the_end_itself_is_a_good_position(log: EventLog) -> None:
    """There is simply nothing yet."""
    await log.publisher.publish(records(0, 2))
    source = await started(log.source(), {0: 2})
    assert (await source.poll(MANY, 0)).records == ()
