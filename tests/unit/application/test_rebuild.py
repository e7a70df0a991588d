"""The rebuild: finds every difference, refuses what would lose something, and takes the place of the live one."""

import asyncio
from collections.abc import Callable

import attrs
import pytest

from ordering.application.failures import LogChanged, RegistryUnavailable
from ordering.application.generations import Difference, Kind, Phase, Progress
from ordering.application.messages import Changes, Counter, LogIdentity, ViewRow
from ordering.application.rebuild import RebuildRefused
from tests.unit.application.read_bench import TextDecoder
from tests.unit.application.rebuild_bench import SMALL, Fate, RebuildBench, before_each_call, live
from tests.unit.application.runtime import VirtualRuntime

ONE_BY_ONE = attrs.evolve(SMALL, fill_batch=1)


@pytest.fixture
def bench() -> RebuildBench:
    return RebuildBench(VirtualRuntime())


@pytest.fixture
async def filled(bench: RebuildBench) -> RebuildBench:
    """With a history that the live generation has read."""
    await bench.read_history()
    return bench


async def test_a_rebuilt_read_model_is_equal_and_takes_the_place(filled: RebuildBench) -> None:
    """Rows, dead letters and figures; the old generation is gone, and the consumer goes on in the new one."""
    before = await filled.rows(), await filled.letters(), await filled.views.stats()

    report = await filled.rebuild()

    assert (report.is_equal, report.flipped, report.resumed) == (True, True, False)
    assert (report.events, report.compared) == (14, 6)
    assert report.held == {"corrupt": 2, "parked": 2, "version-conflict": 1, "unknown-schema": 1}
    assert filled.differences == []
    assert await live(filled) == report.generation == 2
    assert (await filled.rows(), await filled.letters(), await filled.views.stats()) == before
    found = await filled.views.generations().found()
    assert (found.building, found.leftovers) == (None, ())
    filled.append("a:4")
    await filled.consume()
    row = await filled.views.get("a")
    assert row is not None
    assert (row.version, row.events_applied) == (4, 4)


async def test_what_the_live_one_has_not_applied_is_told_and_not_called_equal_silently(filled: RebuildBench) -> None:
    """A consumer that has died: the two are equal as far as they are, and the log goes on behind that."""
    assert (await filled.rebuild(verify_only=True)).ahead == 0
    filled.append("a:4", "g:1", "g:2")

    report = await filled.rebuild(verify_only=True)

    assert (report.is_equal, report.ahead) == (True, 3)


async def test_verifying_changes_nothing(filled: RebuildBench) -> None:
    """Whatever it finds."""
    await by_hand(filled, "a", label="wrong")
    before = await filled.rows(), await filled.views.stats()

    report = await filled.rebuild(verify_only=True)

    assert (report.is_equal, report.flipped) == (False, False)
    assert (await filled.rows(), await filled.views.stats()) == before
    found = await filled.views.generations().found()
    assert (found.live, found.building, found.leftovers) == (1, None, ())


async def by_hand(bench: RebuildBench, key: str, **fields: object) -> None:
    """Change a row behind the consumer's back; without fields remove it."""
    rows = bench.views._live.rows
    rows[key] = attrs.evolve(rows[key], **fields)
    if not fields:
        del rows[key]


async def test_every_kind_of_difference_is_named_and_repaired(filled: RebuildBench) -> None:
    """What the log has and the live one has not, the other way round, and what is not the same, each by its order."""
    right = await filled.rows(), await filled.letters(), await filled.views.stats()
    model = filled.views._live
    await by_hand(filled, "a", version=2, events_applied=9)
    await by_hand(filled, "b")
    model.rows["x"] = attrs.evolve(model.rows["c"], key="x")
    place = next(place for place, letter in model.held.items() if letter.key is None)
    gone = model.held.pop(place)
    model.counters[Counter.GAPS] = 7

    report = await filled.rebuild(verify_only=True)

    assert [difference for difference in filled.differences if difference.what != "row"] == [
        Difference(
            "dead letter", Kind.MISSING, f"{place[1]}/{place[2]}",
            (("reason", None, "corrupt"), ("record", None, gone.record)),
        ),
        Difference("figure", Kind.DIFFERENT, "counter gaps", (("counter gaps", 7, 1),)),
    ]  # fmt: skip
    rows = [difference for difference in filled.differences if difference.what == "row"]
    assert [(one.kind, one.key) for one in rows] == [
        (Kind.DIFFERENT, "a"), (Kind.MISSING, "b"), (Kind.EXTRA, "x"),
    ]  # fmt: skip
    assert rows[0].fields == (("version", 2, 3), ("events_applied", 9, 3))
    assert report.differences == {
        ("row", Kind.DIFFERENT): 1, ("row", Kind.MISSING): 1, ("row", Kind.EXTRA): 1,
        ("dead letter", Kind.MISSING): 1, ("figure", Kind.DIFFERENT): 1,
    }  # fmt: skip

    again = await filled.rebuild()

    assert (again.differences, again.flipped) == (report.differences, True)
    assert (await filled.rows(), await filled.letters(), await filled.views.stats()) == right
    assert (await filled.rebuild(verify_only=True)).is_equal


@pytest.fixture
async def forgotten(filled: RebuildBench) -> RebuildBench:
    """Its registry does not know a schema any more that it knew when the live generation was filled."""
    filled.append("new g:1")
    filled.decoder.knows_new_of = {"g"}
    await filled.consume()
    filled.decoder.knows_new_of = set()
    return filled


async def test_a_registry_that_has_forgotten_a_schema_takes_no_order_out_of_sight(forgotten: RebuildBench) -> None:
    """Nothing is exchanged; when it knows the schema again, the next run goes on and finds everything equal."""
    before = await forgotten.rows(), await forgotten.views.stats()

    with pytest.raises(RegistryUnavailable, match="the schemas of 1 orders that the live read model shows"):
        await forgotten.rebuild()

    assert (await forgotten.rows(), await forgotten.views.stats()) == before
    forgotten.decoder.knows_new_of = {"g"}
    report = await forgotten.rebuild()
    assert (report.is_equal, report.flipped, report.resumed) == (True, True, True)


async def test_verifying_tells_what_a_forgetful_registry_would_hide(forgotten: RebuildBench) -> None:
    """It exchanges nothing, so it says everything."""
    report = await forgotten.rebuild(verify_only=True)
    assert [(one.what, one.key) for one in forgotten.differences[:2]] == [("row", "g"), ("dead letter", "g")]
    assert not report.is_equal


async def test_what_comes_while_a_forgetful_registry_is_asked_is_not_taken_out_of_sight_either() -> None:
    """Before whichever of its calls a record comes that consumers can read and the rebuild cannot."""

    def prepare(bench: RebuildBench, _fate: Fate) -> None:
        bench.decoder.knows_new, bench.rebuilding_decoder = True, TextDecoder()

    await shows_what_comes(["new a:2"], prepare, RegistryUnavailable)


async def shows_what_comes(
    texts: list[str], prepare: Callable[[RebuildBench, Fate], None], refusal: type[Exception]
) -> None:
    """Consumers apply these records while a rebuild is at work that cannot: it is refused, or it was done before."""

    async def come(bench: RebuildBench) -> None:
        bench.append(*texts)
        await bench.runtime.sleep(0.1)

    outcomes = set()
    async for bench, fate in before_each_call(["a:1", "b:1"], come):
        prepare(bench, fate)
        consuming = bench.runtime.spawn(bench.consumer().run(), name="consumer")
        try:
            outcomes.add((await bench.rebuild(fate, ONE_BY_ONE)).flipped)
        except refusal:
            outcomes.add(False)
        if fate.happened:
            await bench.reached_end()
            row = await bench.views.get("a")
            assert row is not None
            assert (row.version, row.held) == (1 + len(texts), 0), f"before call {fate.before}"
        consuming.cancel()
    assert outcomes == {False, True}, "it came too early for the exchange, and too late to matter"


def refuses_second(row: ViewRow) -> bool:
    """A constraint of the database that the live generation never met: the next version came in the same batch."""
    return row.label == "s2"


def refuses_changes(row: ViewRow) -> bool:
    """A constraint that is younger than what the live generation holds."""
    return row.version > 1


async def test_what_the_database_refuses_of_an_order_is_tried_together_with_what_followed(bench: RebuildBench) -> None:
    """As the live one had it: then it is no difference."""
    bench.append("a:1", "b:1", "a:2", "a:3")
    await bench.consume()
    fate = Fate()
    fate.refuses = refuses_second

    assert (await bench.rebuild(fate, ONE_BY_ONE)).is_equal
    row = await bench.views.get("a")
    assert row is not None
    assert (row.version, row.held) == (3, 0)


async def test_a_database_that_refuses_a_record_takes_no_order_out_of_sight(bench: RebuildBench) -> None:
    """Nothing is exchanged; without the constraint the next run goes on and finds everything equal."""
    bench.append("a:1", "b:1", "a:2", "a:3")
    await bench.consume()
    before = await bench.rows(), await bench.views.stats()
    fate = Fate()
    fate.refuses = refuses_changes

    with pytest.raises(RebuildRefused, match="refuses 1 orders that the live read model shows"):
        await bench.rebuild(fate, ONE_BY_ONE)

    assert (await bench.rows(), await bench.views.stats()) == before
    report = await bench.rebuild()
    assert (report.is_equal, report.flipped, report.resumed) == (True, True, True)


async def test_what_is_refused_after_the_comparison_is_not_taken_out_of_sight_either() -> None:
    """Before whichever of the rebuild's calls it comes."""

    def prepare(_bench: RebuildBench, fate: Fate) -> None:
        fate.refuses = refuses_changes

    await shows_what_comes(["a:2", "a:3"], prepare, RebuildRefused)


async def test_what_is_not_on_a_row_is_not_compared(filled: RebuildBench) -> None:
    """How many transactions changed it depends on the batches, not on the log."""
    await by_hand(filled, "a", revision=99)
    assert (await filled.rebuild(verify_only=True)).is_equal


async def test_progress_is_told_phase_by_phase(filled: RebuildBench) -> None:
    """From nothing to all of it."""
    await filled.rebuild()
    phases = list(dict.fromkeys(one.phase for one in filled.progress))
    assert phases == [Phase.FILLING, Phase.COMPARING, Phase.FLIPPING, Phase.DROPPING]
    filling = [one for one in filled.progress if one.phase is Phase.FILLING]
    assert (filling[0], filling[-1]) == (Progress(Phase.FILLING, 0, 14), Progress(Phase.FILLING, 14, 14))


# ---------------------------------------------------------------------------------------------- refusals


async def test_a_trimmed_log_is_refused(filled: RebuildBench) -> None:
    """What was deleted would be missing afterwards; the refusal says how to have it all the same."""
    filled.log.trim(1, 1)
    with pytest.raises(RebuildRefused, match=r"partition 1 of things begins at 1: .* give --partial"):
        await filled.rebuild()
    assert await live(filled) == 1
    assert (await filled.views.generations().found()).building is None


async def test_a_partial_rebuild_says_what_is_gone(bench: RebuildBench) -> None:
    """Orders without any record left are gone, those with some begin later."""
    bench.append("a:1", "a:2", "b:1")
    await bench.consume()
    partition = next(number for number, records in enumerate(bench.log.partitions) if len(records) >= 2)
    bench.log.trim(partition, 1)

    report = await bench.rebuild(partial=True)

    assert (report.flipped, report.partial) == (True, {partition: 1})
    assert {one.key for one in bench.differences if one.what == "row"} == {"a"}
    row = await bench.views.get("a")
    assert row is not None
    assert (row.version, row.missing) == (2, ((1, 1),))
    bench.append("a:3")
    await bench.consume()


async def test_a_partial_rebuild_frees_a_consumer_whose_next_records_are_gone(bench: RebuildBench) -> None:
    """It halted there, and nothing else brings it past them."""
    bench.append("a:1", "b:1", "c:1")
    await bench.consume()
    bench.append("a:2", "a:3", "b:2")
    partition = next(number for number, records in enumerate(bench.log.partitions) if b"a" in {r.key for r in records})
    bench.log.trim(partition, len(bench.log.partitions[partition]) - 1)

    assert (await bench.rebuild(partial=True)).flipped
    await bench.consume()
    row = await bench.views.get("a")
    assert row is not None
    assert row.version == 3


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (LogIdentity("elsewhere", "0"), "filled from cluster memory, this is elsewhere"),
        (LogIdentity("memory", "1"), "deleted and created again"),
    ],
)
async def test_another_log_is_refused_as_by_the_consumer(
    filled: RebuildBench, found: LogIdentity, message: str
) -> None:
    """It would replace the read model by something else."""
    filled.log.identity = found
    with pytest.raises(LogChanged, match=message):
        await filled.rebuild(partial=True)
    assert await live(filled) == 1


async def test_a_log_that_ends_before_the_read_model_is_refused(filled: RebuildBench) -> None:
    """It was put back to an earlier state."""
    for records in filled.log.partitions:
        del records[1:]
    with pytest.raises(LogChanged, match="ends at 1, the read model is at"):
        await filled.rebuild()


async def test_a_read_model_of_several_topics_is_refused(filled: RebuildBench) -> None:
    """The rebuilt one would have only this topic's orders."""
    await filled.views.commit(Changes("other", 1, {0: (0, 3)}))
    with pytest.raises(RebuildRefused, match="also filled from other"):
        await filled.rebuild()


async def test_a_second_rebuild_waits_a_moment_and_is_refused(filled: RebuildBench) -> None:
    """It names who is at work; when that one ends meanwhile, it goes ahead."""
    other = filled.views.generations()
    assert await other.claim() is None
    with pytest.raises(RebuildRefused, match=r"another rebuild .* is at work \(another one in this process\)"):
        await filled.rebuild()
    waiting = asyncio.create_task(filled.rebuild())
    await filled.runtime.sleep(1)
    await other.release()
    assert (await waiting).flipped
