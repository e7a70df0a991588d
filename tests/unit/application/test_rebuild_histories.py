"""Rebuilds of any history, killed at any moment, with consumers and readers at work meanwhile."""

import asyncio
import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ordering.application.messages import Counter
from ordering.application.projection import project
from tests.unit.application.read_bench import TOPIC
from tests.unit.application.rebuild_bench import Fate, Killed, RebuildBench, live
from tests.unit.application.runtime import VirtualLoop, VirtualRuntime

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
