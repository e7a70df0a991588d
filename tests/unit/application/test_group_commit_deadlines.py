"""Group commit: withdraw against claim, and how long anybody may wait."""

import asyncio

import pytest

from ordering.application.failures import Overloaded
from ordering.application.group_commit import CommitLimits
from tests.unit.application.commit_bench import STORED, Bench, write_of
from tests.unit.application.runtime import VirtualRuntime, outcome_of, passing, settling


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> Bench:
    """A store that takes 100 ms for each commit."""
    return Bench(runtime)


async def test_a_request_that_was_not_begun_in_time_is_refused_and_never_written(runtime: VirtualRuntime) -> None:
    """Before the claim the deadline wins: 503, and the store never hears of it."""
    bench = Bench(runtime, CommitLimits(wait_seconds=1), seconds=3)
    first = bench.submit("slow")
    await settling()
    late = bench.submit("late")
    began = runtime.monotonic()
    (refused,) = await asyncio.gather(*late)
    assert isinstance(refused, Overloaded)
    assert runtime.monotonic() - began == pytest.approx(1)
    assert await asyncio.gather(*first) == [STORED]
    await passing(10)
    assert bench.store.calls == [["slow"]]
    assert bench.offered == ["slow-1"]


async def test_a_claimed_request_is_never_refused_for_the_time_it_takes(runtime: VirtualRuntime) -> None:
    """After the claim only the store's word counts, however slow it is."""
    bench = Bench(runtime, CommitLimits(wait_seconds=1), seconds=60)
    assert await asyncio.gather(*bench.submit("a", "b")) == [STORED, STORED]


async def test_each_request_has_its_own_deadline(runtime: VirtualRuntime) -> None:
    """One timer serves the whole queue: the later request waits its full time."""
    bench = Bench(runtime, CommitLimits(wait_seconds=1, batch_max=1), seconds=1.75)
    first = bench.submit("a")
    await passing(0.5)
    (early,) = bench.submit("b")
    await passing(0.5)
    (late,) = bench.submit("c")
    assert isinstance(await early, Overloaded)
    assert runtime.monotonic() == pytest.approx(1.5)
    assert await late == STORED
    assert await asyncio.gather(*first) == [STORED]
    assert bench.store.calls == [["a"], ["c"]]


async def test_deadlines_are_watched_again_after_the_queue_was_empty(runtime: VirtualRuntime) -> None:
    """The timer comes back with the next request."""
    bench = Bench(runtime, CommitLimits(wait_seconds=1), seconds=0.1)
    await asyncio.gather(*bench.submit("a"))
    await passing(30)
    bench.store.seconds = 5
    first = bench.submit("b")
    await settling()
    (refused,) = await asyncio.gather(*bench.submit("c"))
    assert isinstance(refused, Overloaded)
    assert await asyncio.gather(*first) == [STORED]


async def test_a_command_has_one_deadline_for_all_its_attempts(runtime: VirtualRuntime) -> None:
    """A second attempt does not begin a new time, and its earlier deadline is kept behind later ones."""
    bench = Bench(runtime, CommitLimits(wait_seconds=1), seconds=3)
    first = bench.submit("slow")
    deadline = bench.commit.deadline()
    await passing(0.75)
    (other,) = bench.submit("other")
    again = runtime.spawn(outcome_of(bench.commit.submit(write_of("again"), deadline)), name="again")
    assert isinstance(await again, Overloaded)
    assert runtime.monotonic() == pytest.approx(1)
    with pytest.raises(Overloaded):
        await bench.commit.submit(write_of("late"), deadline)
    assert isinstance(await other, Overloaded)
    assert runtime.monotonic() == pytest.approx(1.75)
    assert await asyncio.gather(*first) == [STORED]
    assert bench.store.calls == [["slow"]]


async def test_the_age_of_the_oldest_request_is_known(runtime: VirtualRuntime) -> None:
    """Whether the store is at work on it or not; nothing waits, nothing is old."""
    bench = Bench(runtime, CommitLimits(batch_max=1), seconds=2)
    assert bench.commit.oldest_seconds() == 0
    waiting = bench.submit("a")
    await passing(0.5)
    waiting += bench.submit("b")
    assert bench.commit.oldest_seconds() == pytest.approx(0.5)
    await passing(1)
    assert bench.commit.oldest_seconds() == pytest.approx(1.5)
    await waiting[0]
    await passing(0.25)
    assert bench.commit.oldest_seconds() == pytest.approx(1.75)
    assert await asyncio.gather(*waiting) == [STORED, STORED]
    await settling()
    assert bench.commit.oldest_seconds() == 0


async def test_the_queue_is_bounded(runtime: VirtualRuntime) -> None:
    """One too many is refused at once; the others are stored."""
    bench = Bench(runtime, CommitLimits(queue_max=3))
    running = bench.submit("a")
    await settling()
    waiting = bench.submit("b", "c", "d", "e")
    await settling()
    assert bench.commit.waiting == 3
    assert waiting[3].done()
    assert isinstance(waiting[3].result(), Overloaded)
    assert await asyncio.gather(*running, *waiting[:3]) == [STORED] * 4
    assert "e" not in bench.store.versions


async def test_a_caller_that_hangs_up_does_not_stop_its_write(bench: Bench) -> None:
    """A cancelled request, queued or claimed, is stored and offered like any other."""
    claimed = bench.submit("a")
    await settling()
    queued = bench.submit("b", "c")
    await settling()
    claimed[0].cancel()
    queued[0].cancel()
    assert await queued[1] == STORED
    assert bench.offered == ["a-1", "b-1", "c-1"]
