"""What happens during a rebuild: people decide, it is killed and goes on where it was, the log is away."""

import itertools
from collections.abc import Awaitable, Callable

import attrs
import pytest

from ordering.adapters.memory.log import MemoryLog
from ordering.application.failures import BrokerUnavailable
from tests.unit.application.read_bench import TOPIC
from tests.unit.application.rebuild_bench import Fate, Killed, LateDiscard, RebuildBench, before_each_call
from tests.unit.application.runtime import VirtualRuntime


@pytest.fixture
def bench() -> RebuildBench:
    return RebuildBench(VirtualRuntime())


@pytest.fixture
async def filled(bench: RebuildBench) -> RebuildBench:
    """With a history that the live generation has read."""
    await bench.read_history()
    return bench


# ---------------------------------------------------------------------------------------------- decisions


async def test_what_people_discarded_stays_discarded(bench: RebuildBench) -> None:
    """The log does not know their word; without it the order would be parked again, and go back."""
    bench.append("bad a", "a:1", "bad a", "a:2", "b:1")
    bench.append_keyless("bad")
    await bench.consume()
    await bench.held.discard("a")
    await bench.held.discard("a")
    await bench.held.discard_keyless(0, len(bench.log.partitions[0]) - 1)
    before = await bench.rows(), await bench.letters()
    assert before[1] == []

    assert (await bench.rebuild()).is_equal
    assert (await bench.rows(), await bench.letters()) == before
    assert (await bench.rebuild()).is_equal


PARKED = ["b:1", "bad a", "a:1", "a:2", "a:2", "c:1"]


async def discard(bench: RebuildBench) -> None:
    """What blocks an order goes, and what is parked behind it follows."""
    assert (await bench.held.discard("a")).released == 3


async def test_what_people_decide_while_a_rebuild_is_at_work_is_no_difference() -> None:
    """Before whichever of its calls they do it: rows, held records and figures follow."""
    async for bench, fate in before_each_call(PARKED, discard):
        await bench.rebuild(fate, verify_only=True)
        assert bench.differences == [], f"discarded before call {fate.before}"
    assert fate.before > 30, "a rebuild has more calls than that"


async def test_a_discard_done_again_whose_end_was_unknown_takes_no_other_record_with_it() -> None:
    """It comes to pass late, just before whichever call of the rebuild follows: what was behind it stays held."""
    for before in itertools.count(1):
        bench = RebuildBench(VirtualRuntime())
        bench.append("bad a", "bad a", "a:1", "b:1")
        await bench.consume()
        assert (await bench.held.discard("a")).discarded == 1
        fate = LateDiscard(before)

        assert (await bench.rebuild(fate)).is_equal, f"before call {before}"
        assert len(await bench.letters()) == 2, f"before call {before}"
        if not fate.happened:
            break
    assert before > 10, "a rebuild has more calls than that"


async def test_what_people_decide_while_the_pointer_moves_is_not_lost() -> None:
    """Whichever generation was the live one when they did it, and although the rebuild is killed as soon as the pointer
    has moved: the new one knows of it."""
    async for bench, fate in before_each_call(PARKED, discard):
        fate.dies_after = "flip"
        with pytest.raises(Killed):
            await bench.rebuild(fate)
        if fate.happened:
            assert await bench.letters() == [], f"discarded before call {fate.before}"
            assert [(row.key, row.version) for row in await bench.rows()] == [("a", 2), ("b", 1), ("c", 1)]
    assert fate.before > 40, "a rebuild has more calls than that"


async def test_what_the_registry_learned_meanwhile_is_applied(bench: RebuildBench) -> None:
    """The live one has released it already, the rebuilt one read it before."""
    bench.append("new a:1", "a:2", "b:1")
    await bench.consume()
    with pytest.raises(Killed):
        await bench.rebuild(Fate(last=30))
    bench.decoder.knows_new = True
    await bench.held.release("a")

    report = await bench.rebuild()

    assert (report.resumed, report.is_equal, bench.differences) == (True, True, [])
    assert await bench.letters() == []


# ---------------------------------------------------------------------------------------------- resuming


async def test_a_killed_rebuild_goes_on_where_it_was(filled: RebuildBench) -> None:
    """It reads only the rest; ``anew`` begins again."""
    with pytest.raises(Killed):
        await filled.rebuild(Fate(last=30))
    number = (await filled.views.generations().found()).building
    assert number == 2
    reached = sum((await filled.views.generations().store(2).load(TOPIC, ())).positions.values())
    assert 0 < reached < 14

    report = await filled.rebuild(verify_only=True)
    assert (report.resumed, report.generation, report.events) == (True, 2, 14 - reached)
    with pytest.raises(Killed):
        await filled.rebuild(Fate(last=30))
    report = await filled.rebuild(anew=True)
    assert (report.resumed, report.events, report.is_equal) == (False, 14, True)


async def test_a_generation_ahead_of_the_live_one_is_begun_again(bench: RebuildBench) -> None:
    """The live one was put back to an earlier state; a generation goes only forward."""
    bench.append("a:1", "b:1", "c:1", "a:2", "b:2")
    await bench.consume()
    fate = Fate()
    await bench.rebuild(fate, verify_only=True)
    with pytest.raises(Killed):
        await bench.rebuild(Fate(last=fate.calls - 8))
    assert (await bench.views.generations().found()).building is not None
    bench.views._live.positions[TOPIC] = {}
    bench.views._live.rows.clear()

    report = await bench.rebuild()

    assert (report.resumed, report.events, report.is_equal) == (False, 0, False)
    await bench.consume()
    assert [(row.key, row.version) for row in await bench.rows()] == [("a", 2), ("b", 2), ("c", 1)]


async def test_a_generation_begun_from_another_log_is_begun_again(bench: RebuildBench) -> None:
    """No consumer had written down yet which log it was when the first rebuild began, and was killed."""
    last = 0
    while (await bench.views.generations().found()).building is None:
        last += 1
        with pytest.raises(Killed):
            await bench.rebuild(Fate(last=last))
    bench.log = MemoryLog(TOPIC, 3)
    bench.log.identity = another = attrs.evolve(bench.log.identity, topic_id="made anew")
    bench.append("a:1", "b:1")
    await bench.consume()

    report = await bench.rebuild()

    assert (report.is_equal, report.flipped, report.resumed) == (True, True, False)
    assert await bench.views.identity(TOPIC) == another


async def test_a_log_that_is_away_for_a_while_is_waited_for(filled: RebuildBench) -> None:
    """Which is told once, if it takes longer than a moment; and one that stays away is said; what was filled stays."""
    source = filled.log.begins  # the bench makes a source for each rebuild: what it reads is what fails
    assert source == {}
    assert (await filled.rebuild(Outage(filled.runtime, seconds=1))).flipped
    assert filled.waited == []
    assert (await filled.rebuild(Outage(filled.runtime, seconds=20))).flipped
    assert filled.waited == [("all brokers down", 28)]
    with pytest.raises(BrokerUnavailable, match="all brokers down"):
        await filled.rebuild(Outage(filled.runtime, seconds=60))
    report = await filled.rebuild()
    assert (report.resumed, report.is_equal) == (True, True)


class Outage(Fate):
    """From the 30th call on, some seconds long every call fails."""

    def __init__(self, runtime: VirtualRuntime, seconds: float) -> None:
        super().__init__()
        self._runtime, self._seconds, self._until = runtime, seconds, None

    async def meets(self, name: str, act: Callable[[], Awaitable[object]]) -> object:
        self.calls += 1
        if self.calls >= 30:
            self._until = self._until or self._runtime.monotonic() + self._seconds
            if self._runtime.monotonic() < self._until:
                raise BrokerUnavailable("all brokers down")
        return await act()
