"""Reading exactly up to positions: nothing beyond them, nothing twice, nothing lost, and never much in memory."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ordering.adapters.memory.log import MemoryLog, MemorySource
from ordering.application.messages import OutgoingRecord, Record
from ordering.application.read_up_to import ReadUpTo
from tests.unit.application.runtime import VirtualLoop, VirtualRuntime

COUNTS = st.tuples(*[st.integers(0, 30)] * 3)


def log_of(counts: tuple[int, ...]) -> MemoryLog:
    log = MemoryLog("t", len(counts))
    for partition, count in enumerate(counts):
        for _ in range(count):
            log.append(OutgoingRecord("t", partition, b"k", b"v", (), 1))
    return log


@given(
    counts=COUNTS, shares=st.lists(st.tuples(*[st.floats(0, 1)] * 3), max_size=5), limit=st.integers(1, 7),
    surplus=st.integers(0, 20), back=st.booleans(),
)  # fmt: skip
def test_it_hands_out_exactly_what_lies_before_the_targets(
    counts: tuple[int, ...], shares: list[tuple[float, ...]], limit: int, surplus: int, back: bool
) -> None:
    """However the targets move on, and however little may wait; also after going back to an earlier place."""

    async def story() -> None:
        feed = ReadUpTo(MemorySource(log_of(counts), "g", VirtualRuntime().now), surplus)
        reached = [0, 0, 0]
        for share in [*shares, (1.0, 1.0, 1.0)]:
            targets = {p: max(reached[p], round(counts[p] * share[p])) for p in range(3)}
            for partition in range(3):
                assert feed.reached.get(partition, 0) == reached[partition]
            if back and sum(reached) > 3:
                reached = [at // 2 for at in reached]
                await feed.go_on(dict(enumerate(reached)))
            while records := await feed.take(targets, limit, 0.1):
                assert len(records) <= limit
                for record in records:
                    assert record.offset == reached[record.partition] < targets[record.partition]
                    reached[record.partition] += 1
            assert reached == list(targets.values())
            assert feed.missing(targets) == 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


async def test_what_waits_is_bounded() -> None:
    """A partition that is asked for nothing while another has far to go is let go, and found again later."""
    log = log_of((100, 100, 0))
    feed = ReadUpTo(MemorySource(log, "g", VirtualRuntime().now), surplus_max=10)
    seen: list[Record] = []
    while records := await feed.take({0: 100}, 5, 0.1):
        seen += records
        waiting = [record for ahead in feed._ahead.values() for record in ahead if record.partition == 1]
        assert len(waiting) <= 10
    assert len(seen) == 100
    while records := await feed.take({0: 100, 1: 100}, 5, 0.1):
        seen += records
    assert [record.offset for record in seen if record.partition == 1] == list(range(100))


async def test_what_does_not_come_is_not_waited_for_long() -> None:
    """The caller decides what it means that the log gives nothing."""
    feed = ReadUpTo(MemorySource(log_of((1, 0, 0)), "g", VirtualRuntime().now))
    assert len(await feed.take({0: 2}, 5, 0.1)) == 1
    assert await feed.take({0: 2}, 5, 0.1) == []
    assert feed.missing({0: 2}) == 1
