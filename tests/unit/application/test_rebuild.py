"""The rebuild: finds every difference, survives every kill, and consumers never notice the exchange."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ordering.adapters.memory.log import MemoryLog
from ordering.application.failures import BrokerUnavailable, LogChanged, RegistryUnavailable
from ordering.application.generations import Difference, Kind, Phase, Progress
from ordering.application.messages import Changes, Counter, LogIdentity, ViewRow
from ordering.application.projection import project
from ordering.application.rebuild import RebuildRefused
from tests.unit.application.read_bench import TOPIC, TextDecoder
from tests.unit.application.rebuild_bench import SMALL, Fate, Killed, RebuildBench, before_each_call
from tests.unit.application.runtime import VirtualLoop, VirtualRuntime

ONE_BY_ONE = attrs.evolve(SMALL, fill_batch=1)
HISTORY = ["a:1", "b:1", "a:2", "c:1", "b:2", "bad d", "d:1", "a:3", "c:3", "e:1", "e:1:other", "new f", "f:1"]


@pytest.fixture
def bench() -> RebuildBench:
    return RebuildBench(VirtualRuntime())


@pytest.fixture
async def filled(bench: RebuildBench) -> RebuildBench:
    """With a history that the live generation has read."""
    bench.append(*HISTORY)
    bench.append_keyless("bad")
    await bench.consume()
    return bench


async def live(bench: RebuildBench) -> int:
    return (await bench.views.load(TOPIC, ())).generation


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


# ---------------------------------------------------------------------------------------------- any history, any moment

TEXTS = st.one_of(
    st.builds("{}:{}".format, st.sampled_from("abcd"), st.integers(1, 5)),
    st.builds("{}:{}:other".format, st.sampled_from("ab"), st.integers(1, 3)),
    st.builds("{}:-:{}".format, st.sampled_from("cd"), st.sampled_from("xy")),
    st.builds("bad {}:{}".format, st.sampled_from("abcd"), st.integers(1, 5)),
    st.builds("new {}:{}".format, st.sampled_from("abcd"), st.integers(1, 5)),
)
ACTS = st.one_of(st.lists(TEXTS, min_size=1, max_size=8), st.sampled_from(["discard", "learn"]))
KILLS = st.lists(st.tuples(st.integers(1, 150), st.booleans(), st.booleans()), max_size=5)


@example(acts=[["bad d:1", "new d:1"], "learn"], kills=[])
@example(acts=[["new a:1"], "discard", "learn"], kills=[])
@example(acts=[["new a:1", "new a:2", "a:3"], "discard", "discard", "learn"], kills=[(40, True, False)])
@given(acts=st.lists(ACTS, min_size=1, max_size=5), kills=KILLS)
def test_whatever_happened_and_whenever_it_is_killed_it_ends_equal(
    acts: list[list[str] | str], kills: list[tuple[int, bool, bool]]
) -> None:
    """Between the kills history goes on; the last run's result has the live one's rows, letters and figures."""

    async def story() -> None:
        bench = RebuildBench(VirtualRuntime())
        for number, act in enumerate([*acts, *acts[: len(kills)]]):
            await happens(bench, act)
            if number >= len(acts):
                last, done, verify_only = kills[number - len(acts)]
                await killed(bench, Fate(last, done=done), verify_only=verify_only)
        before = await bench.rows(), await bench.letters(), await kept_count_of(bench)
        report = await bench.rebuild()
        assert bench.differences == []
        assert (report.is_equal, report.flipped) == (True, True)
        assert (await bench.rows(), await bench.letters(), await kept_count_of(bench)) == before
        found = await bench.views.generations().found()
        assert (found.building, found.leftovers) == (None, ())

    run(story())


async def kept_count_of(bench: RebuildBench) -> object:
    stats = await bench.views.stats()
    return stats.total, stats.by_label, stats.counters, stats.parked


async def happens(bench: RebuildBench, act: list[str] | str) -> None:
    if act == "discard":
        for row in await bench.rows():
            if row.held:
                await bench.held.discard(row.key)
                break
    elif act == "learn":
        bench.decoder.knows_new = True
        for row in await bench.rows():
            await bench.held.release(row.key)
    else:
        bench.append(*act)
        await bench.consume()


async def killed(bench: RebuildBench, fate: Fate, *, verify_only: bool) -> None:
    try:
        await bench.rebuild(fate, verify_only=verify_only)
    except Killed:
        return


@settings(max_examples=40)
@given(texts=st.lists(TEXTS, min_size=1, max_size=30), seed=st.integers(0, 2**32), rebuilds=st.integers(1, 3))
def test_consumers_at_work_meanwhile_lose_and_repeat_nothing(texts: list[str], seed: int, rebuilds: int) -> None:
    """Calls overlap in every way: two consumers read all the time, readers never see an order go back, and in the end
    each record was folded once, by the projection's own rules."""

    async def story() -> None:
        bench, delays = RebuildBench(VirtualRuntime()), random.Random(seed)
        consuming = [bench.runtime.spawn(bench.consumer(Fate(delays=delays)).run(), name="consumer") for _ in range(2)]
        seen: dict[str, int] = {}

        async def write() -> None:
            for text in texts:
                bench.append(text)
                await bench.runtime.sleep(delays.uniform(0, 0.05))

        async def read(others: list["asyncio.Task[None]"]) -> None:
            while not all(task.done() for task in others):
                for row in await bench.rows():
                    assert row.events_applied >= seen.get(row.key, 0), f"{row.key} went back"
                    seen[row.key] = row.events_applied
                await bench.runtime.sleep(0.005)

        async def again() -> None:
            for _ in range(rebuilds):
                report = await bench.rebuild(Fate(delays=delays))
                assert report.is_equal, bench.differences

        async def list_ids(others: list["asyncio.Task[None]"]) -> None:
            while not all(task.done() for task in others):
                known, found, after = [key for _, key in await bench.views.ids(None, 99)], [], None
                while page := await bench.views.ids(after, 1):
                    found += [key for _, key in page]
                    after = page[-1][0]
                    await bench.runtime.sleep(0.005)
                assert len(set(found)) == len(found)
                assert set(known) <= set(found), "a cursor did not hold"
                await bench.runtime.sleep(0.005)

        work = [bench.runtime.spawn(part, name="part") for part in (write(), again())]
        listing = bench.runtime.spawn(list_ids(work), name="ids")
        await read(work)
        await listing
        await bench.reached_end()
        for task in (*consuming, *work):
            task.cancel()
        await asyncio.wait([*consuming, *work])
        for task in work:
            task.result()
        assert await live(bench) == 1 + rebuilds
        assert await bench.rows() == await folded(bench)
        letters = await bench.letters()
        counted = (await bench.views.stats()).counters
        assert sum(v for k, v in counted.items() if k != Counter.GAPS) + len(letters) == len(texts)

    run(story())


async def folded(bench: RebuildBench) -> list[object]:
    """The log through the projection, partition by partition, in one go."""
    other = RebuildBench(VirtualRuntime())
    for records in bench.log.partitions:
        events = await bench.decoder.decode(records)
        keys = {event.key for event in events if event.key is not None}
        await other.views.commit(project(TOPIC, await other.views.load(TOPIC, keys), records, events, 0))
    return list(await other.rows())


def run(story: object) -> None:
    """On a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story)  # type: ignore[arg-type]
