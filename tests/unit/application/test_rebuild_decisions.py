"""What people decide about what a rebuild has read before them: it is not taken back, and it is no difference."""

import pytest

from ordering.application.rebuild import RebuildRefused
from tests.unit.application.read_bench import TextDecoder
from tests.unit.application.rebuild_bench import Fate, Killed, RebuildBench, before_each_call
from tests.unit.application.runtime import VirtualRuntime

LATE_SCHEMA = ["a:1", "new a:2", "b:1"]


# ---------------------------------------------------------------------------------------------- discarded, yet applied


@pytest.mark.parametrize("verify_only", [False, True])
async def test_what_a_killed_rebuild_had_applied_before_it_was_discarded_stays_discarded(verify_only: bool) -> None:
    """The registry knew the schema by then, no consumer has tried again: what was filled is not gone on with."""
    bench = RebuildBench(VirtualRuntime())
    bench.append(*LATE_SCHEMA)
    await bench.consume()
    bench.decoder.knows_new = True
    fate = Fate()
    fate.dies_after = "figures"
    with pytest.raises(Killed):
        await bench.rebuild(fate)
    assert (await bench.held.discard("a")).discarded == 1
    before = await bench.rows()

    report = await bench.rebuild(verify_only=verify_only)

    assert (report.resumed, report.is_equal) == (False, True)
    assert await bench.rows() == before


@pytest.mark.parametrize("verify_only", [False, True])
async def test_what_is_discarded_while_a_rebuild_has_it_applied_stays_discarded(verify_only: bool) -> None:
    """Before whichever of its calls: it follows, or refuses, and when it is run again it begins anew."""
    refused, discarded = [], 0

    async def discard(bench: RebuildBench) -> None:
        nonlocal discarded
        discarded = (await bench.held.discard("a")).discarded

    async for bench, fate in before_each_call(LATE_SCHEMA, discard):
        bench.rebuilding_decoder = TextDecoder()
        bench.rebuilding_decoder.knows_new = True
        discarded = 0
        try:
            await bench.rebuild(fate, verify_only=verify_only)
        except RebuildRefused as error:
            refused.append(str(error))
            report = await bench.rebuild(verify_only=verify_only)
            assert (report.resumed, report.is_equal) == (False, True), f"discarded before call {fate.before}"
        shown = {row.key: row.version for row in await bench.rows()}
        # Once the generations are exchanged, nothing is left that could be discarded.
        assert not discarded or shown["a"] == 1, f"discarded before call {fate.before}"
    assert len(refused) > 10, "it is applied early and exchanged late"
    assert all("had applied before, so nothing was exchanged: run it again" in words for words in refused)


# ---------------------------------------------------------------------------------------------- no differences


@pytest.mark.parametrize("verify_only", [False, True])
async def test_a_discarded_record_that_the_log_has_lost_does_not_keep_a_rebuild_from_its_end(verify_only: bool) -> None:
    """It is neither held nor dropped in the new generation, and yet nobody has applied it."""
    bench = RebuildBench(VirtualRuntime())
    bench.append("a:1", "bad a", "a:2")
    await bench.consume()
    (letter, _) = await bench.views.held("a")
    await bench.held.discard("a")
    bench.gone = {letter.place}
    before = await bench.rows()

    assert (await bench.rebuild(verify_only=verify_only)).is_equal
    assert (await bench.rebuild()).is_equal
    assert await bench.rows() == before


async def test_what_a_release_uncovers_is_discarded_again() -> None:
    """People have released what the registry had learned, and discarded what came next, before whichever call."""

    async def decide(bench: RebuildBench) -> None:
        bench.decoder.knows_new = True
        assert (await bench.held.release("a")).released == 1
        assert (await bench.held.discard("a")).discarded == 1

    async for bench, fate in before_each_call(["b:1", "new a:1", "bad a", "a:2", "c:1"], decide):
        await bench.rebuild(fate, verify_only=True)
        assert bench.differences == [], f"decided before call {fate.before}"
    assert fate.before > 30, "a rebuild has more calls than that"


async def test_a_held_record_that_goes_while_it_is_compared_is_no_difference() -> None:
    """The registry has learned the schema of one that is parked, and people discard the one that blocks it."""

    async def discard(bench: RebuildBench) -> None:
        assert (await bench.held.discard("a")).discarded == 1

    async for bench, fate in before_each_call(["b:1", "bad a", "new a:1", "a:2", "c:1"], discard):
        bench.decoder.knows_new = True
        await bench.rebuild(fate, verify_only=True)
        assert bench.differences == [], f"discarded before call {fate.before}"
    assert fate.before > 30, "a rebuild has more calls than that"
