"""Generations: filled beside the live one, exchanged at equal positions and at no others, removed in batches."""

import asyncio
from collections.abc import Mapping

import attrs
import pytest

from ordering.application.failures import BrokerUnavailable, StalePosition
from ordering.application.generations import GenerationsFound
from ordering.application.messages import Changes, DeadReason, HeldRecord, LogIdentity, Snapshot
from ordering.application.ports import Generations
from tests.contract.read_model.conftest import ReadModel, Views
from tests.contract.read_model.samples import TOPIC, changes, letter, row, unknown

LOG = LogIdentity("cluster", "topic")
PATIENCE = 120.0


@pytest.fixture
async def generations(model: ReadModel, monkeypatch: pytest.MonkeyPatch) -> Generations:
    """Those of the process that rebuilds, beside the one that consumes; its flips may take their time."""
    one = model.beside().generations()
    monkeypatch.setattr(f"{type(one).__module__}.FLIP_SECONDS", PATIENCE)
    assert await one.claim() is None
    return one


async def nothing(_live: Mapping[int, int]) -> Changes | None:
    """The new generation is where the live one is already."""
    return None


async def seen(views: Views) -> tuple[object, ...]:
    """All that queries and consumers see."""
    keys = ["a", "b", "c"]
    held = [await views.held(key) for key in (*keys, None)]
    rows = await views.load(TOPIC, keys), [await views.get(key) for key in keys], await views.ids(None, 99)
    return *rows, held, await views.letters(99), await views.stats(), await views.identity(TOPIC)


async def test_a_generation_beside_the_live_one_is_seen_by_nobody(views: Views, generations: Generations) -> None:
    """Filling it changes nothing that a query or a consumer sees, and the other way round."""
    await views.record_identity(TOPIC, LOG)
    await views.commit(changes(row("a"), positions={0: (0, 1)}, labels={"x": 1}, counters={"applied": 1}))
    before = await seen(views)
    number = await generations.begin(TOPIC, LOG)
    new = generations.store(number)
    assert await new.load(TOPIC, ["a"]) == Snapshot(number, {}, {})
    filled = changes(
        row("a", label="y"), unknown("b", at=1), positions={0: (0, 5), 1: (0, 2)}, held=(letter("b", 1),),
        labels={"y": 1}, counters={"applied": 7}, generation=number,
    )  # fmt: skip
    await new.commit(filled)
    assert await seen(views) == before
    assert await new.load(TOPIC, ["a", "b"]) == Snapshot(
        number, {0: 5, 1: 2}, {"a": row("a", label="y"), "b": unknown("b", at=1)}
    )
    assert await new.held("b") == [letter("b", 1)]
    assert await new.held_keys(DeadReason.CORRUPT, 9) == ["b"]
    assert await new.identity(TOPIC) == LOG
    await views.commit(changes(row("a", 2), positions={0: (1, 2)}, held=(letter("a", 3),)))
    assert (await new.load(TOPIC, ["a"])).positions == {0: 5, 1: 2}
    assert await new.held("a") == []
    assert (await generations.figures(number, TOPIC)).stats.by_label == {"y": 1}


async def test_a_generation_that_is_filled_keeps_its_compare_and_set(generations: Generations) -> None:
    """A position or a row that is not as expected, and another generation's number, store nothing."""
    number = await generations.begin(TOPIC, LOG)
    new = generations.store(number)
    await new.commit(changes(row("a"), positions={0: (0, 1)}, generation=number))
    for stale in (
        changes(positions={0: (0, 2)}, generation=number),
        changes(row("a", 1), generation=number),
        changes(row("a", 2), generation=1),
    ):
        with pytest.raises(StalePosition):
            await new.commit(stale)
    assert await new.load(TOPIC, ["a"]) == Snapshot(number, {0: 1}, {"a": row("a")})


async def test_what_was_filled_is_found_again(model: ReadModel) -> None:
    """A rebuild that was killed goes on where its positions are."""
    generations = model.beside().generations()
    assert await generations.claim() is None
    assert await generations.found() == GenerationsFound(1, None, (), ())
    number = await generations.begin(TOPIC, LOG)
    await generations.store(number).commit(changes(row("a"), positions={0: (0, 3)}, generation=number))
    await generations.release()
    await model.restart()
    again = model.beside().generations()
    assert await again.claim() is None
    assert await again.found() == GenerationsFound(1, number, (), ())
    assert await again.store(number).load(TOPIC, ["a"]) == Snapshot(number, {0: 3}, {"a": row("a")})


async def test_one_rebuild_at_a_time(model: ReadModel) -> None:
    """Who comes second is told that there is another, until that one lets go; claiming twice is the same claim."""
    one, other = model.beside().generations(), model.beside().generations()
    assert await one.claim() is None
    assert await one.claim() is None
    assert await other.claim()
    await one.release()
    assert await other.claim() is None
    assert await one.claim()


async def test_the_flip_puts_the_new_generation_in_place(model: ReadModel) -> None:
    """What was decided on the old one is refused, and what comes next goes into the new one; also after a restart."""
    views, generations = model.views, model.beside().generations()
    assert await generations.claim() is None
    await views.commit(changes(row("a"), row("b", at=1), positions={0: (0, 2), 2: (0, 1)}, labels={"x": 2}))
    number = await generations.begin(TOPIC, LOG)
    new = generations.store(number)
    await new.commit(
        changes(row("a", label="repaired"), positions={0: (0, 2), 2: (0, 1)}, labels={"y": 1}, generation=number)
    )
    await generations.flip(TOPIC, number, {}, nothing)
    for late in (views, new):
        with pytest.raises(StalePosition):
            await late.commit(changes(positions={0: (2, 3)}, generation=1 if late is views else number))
    assert await generations.found() == GenerationsFound(number, None, (1,), (TOPIC,))
    for _ in range(2):
        assert await views.load(TOPIC, ["a", "b"]) == Snapshot(number, {0: 2, 2: 1}, {"a": row("a", label="repaired")})
        assert await views.identity(TOPIC) == LOG
        assert (await views.stats()).by_label == {"y": 1}
        assert [key for _, key in await views.ids(None, 9)] == ["a"]
        await model.restart()
        views = model.views
    with pytest.raises(StalePosition):
        await views.commit(changes(row("b", 2), positions={0: (2, 3)}))
    await views.commit(changes(row("a", 2), positions={0: (2, 3)}, generation=number))
    assert await views.get("a") == row("a", 2)


@pytest.mark.parametrize(
    "filled",
    [{}, {0: (0, 1), 1: (0, 4)}, {0: (0, 3), 1: (0, 4)}, {0: (0, 2)}, {0: (0, 2), 1: (0, 4), 2: (0, 1)}],
    ids=["empty", "behind", "ahead", "without a partition", "with a partition more"],
)
async def test_no_flip_at_unequal_positions(
    views: Views, generations: Generations, filled: dict[int, tuple[int, int]]
) -> None:
    """Readers would go back, or forward past what consumers have applied: nothing changes."""
    await views.commit(changes(row("a"), positions={0: (0, 2), 1: (0, 4)}))
    before = await seen(views)
    number = await generations.begin(TOPIC, LOG)
    await generations.store(number).commit(changes(row("b"), positions=filled, generation=number))
    with pytest.raises(StalePosition):
        await generations.flip(TOPIC, number, {}, nothing)
    assert await seen(views) == before
    assert (await generations.found()).live == 1
    await views.commit(changes(row("a", 2), positions={0: (2, 3)}))


async def test_the_flip_asks_for_what_is_missing(views: Views, generations: Generations) -> None:
    """It is told the live positions, and what it is given becomes part of the same transaction."""
    await views.commit(changes(row("a"), positions={0: (0, 2)}))
    number = await generations.begin(TOPIC, LOG)
    new = generations.store(number)
    await new.commit(changes(row("a"), positions={0: (0, 1)}, generation=number))
    asked = []

    async def last(live: Mapping[int, int]) -> Changes:
        asked.append(dict(live))
        snapshot = await new.load(TOPIC, ["a"])
        assert snapshot.positions == {0: 1}
        return changes(row("a", 2), positions={0: (1, live[0])}, generation=number)

    await generations.flip(TOPIC, number, {}, last)
    assert asked == [{0: 2}]
    assert await views.load(TOPIC, ["a"]) == Snapshot(number, {0: 2}, {"a": row("a", 2)})


async def test_a_partition_that_begins_later_counts_from_there(views: Views, generations: Generations) -> None:
    """What was deleted can neither be read by the rebuild nor by a consumer."""
    await views.commit(changes(positions={0: (0, 2), 1: (0, 9)}))
    number = await generations.begin(TOPIC, LOG)
    await generations.store(number).commit(changes(positions={0: (0, 5), 1: (0, 9)}, generation=number))
    with pytest.raises(StalePosition):
        await generations.flip(TOPIC, number, {0: 4}, nothing)
    await generations.flip(TOPIC, number, {0: 5, 1: 3}, nothing)
    assert dict(await views.positions(TOPIC)) == {0: 5, 1: 9}


async def test_a_flip_that_comes_to_nothing_lets_the_consumers_go_on(views: Views, generations: Generations) -> None:
    """Whatever goes wrong with the last records: nothing has changed."""
    await views.commit(changes(row("a"), positions={0: (0, 1)}))
    number = await generations.begin(TOPIC, LOG)

    async def unavailable(_live: Mapping[int, int]) -> Changes | None:
        raise BrokerUnavailable("it is gone")

    async def wrong(_live: Mapping[int, int]) -> Changes | None:
        return changes(row("a", 7), positions={0: (0, 1)}, generation=number)

    with pytest.raises(BrokerUnavailable):
        await generations.flip(TOPIC, number, {}, unavailable)
    with pytest.raises(StalePosition):
        await generations.flip(TOPIC, number, {}, wrong)
    await views.commit(changes(row("a", 2), positions={0: (1, 2)}))
    assert await generations.store(number).load(TOPIC, ["a"]) == Snapshot(number, {}, {})


async def test_a_flip_holds_consumers_up_for_a_bounded_time(
    views: Views, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last records that do not come are not waited for: the flip is tried again later."""
    monkeypatch.setattr(f"{type(generations).__module__}.FLIP_SECONDS", 0.05)
    number = await generations.begin(TOPIC, LOG)

    async def never(_live: Mapping[int, int]) -> Changes | None:
        await asyncio.Event().wait()
        return None

    with pytest.raises(StalePosition):
        await generations.flip(TOPIC, number, {}, never)
    await views.commit(changes(row("a"), positions={0: (0, 1)}))


async def test_a_consumer_that_never_rests_is_flipped_under(views: Views, generations: Generations) -> None:
    """Each event is applied once, by whichever generation is live, and readers never see a position go back."""
    events, flips = 120, 3
    reached: list[int] = []
    turns = [(turn * events // (flips + 1), asyncio.Event()) for turn in range(flips)]

    async def consume() -> None:
        while True:
            await asyncio.sleep(0)
            snapshot = await views.load(TOPIC, ["a"])
            at = snapshot.positions.get(0, 0)
            reached.append(at)
            for place, passed in turns:
                if at >= place:
                    passed.set()
            if at == events:
                return
            try:
                await views.commit(one_more(snapshot, at, at + 1))
            except StalePosition:
                continue

    def one_more(snapshot: Snapshot, at: int, to: int) -> Changes:
        stored = snapshot.rows.get("a")
        applied = row("a", stored.revision + 1 if stored else 1)
        return changes(
            attrs.evolve(applied, events_applied=to),
            positions={0: (at, to)}, counters={"applied": to - at}, generation=snapshot.generation,
        )  # fmt: skip

    consuming = asyncio.create_task(consume())
    for _, passed in turns:
        async with asyncio.timeout(PATIENCE):
            await passed.wait()
        number = await generations.begin(TOPIC, LOG)
        new = generations.store(number)

        async def last(live: Mapping[int, int]) -> Changes | None:
            snapshot = await new.load(TOPIC, ["a"])  # noqa: B023 -- used up within its round
            at = snapshot.positions.get(0, 0)
            for _ in range(50):
                await asyncio.sleep(0)  # the consumer does what it can
            return one_more(snapshot, at, live[0]) if live.get(0, 0) > at else None

        await generations.flip(TOPIC, number, {}, last)
    async with asyncio.timeout(PATIENCE):
        await consuming
    assert (await generations.found()).live == 1 + flips
    assert reached == sorted(reached)
    assert dict(await views.positions(TOPIC)) == {0: events}
    assert (await views.stats()).counters == {"applied": events}
    final = await views.get("a")
    assert final is not None
    assert final.events_applied == events


async def test_a_generation_is_removed_in_batches(views: Views, generations: Generations) -> None:
    """From the first one on it takes nothing more and is no rebuild to go on with; the live one is untouched."""
    await views.commit(changes(row("a"), positions={0: (0, 1)}, labels={"x": 1}, held=(letter("a", 5),)))
    before = await seen(views)
    number = await generations.begin(TOPIC, LOG)
    new = generations.store(number)
    await new.commit(
        changes(
            *(row(f"k{at}", at=at) for at in range(5)), positions={0: (0, 9)}, labels={"x": 5},
            held=(letter("a", 1), letter(None, 2)), generation=number,
        )
    )  # fmt: skip
    assert await generations.drop(number, 3) == 3
    assert await generations.found() == GenerationsFound(1, None, (number,), (TOPIC,))
    with pytest.raises(StalePosition):
        await new.commit(changes(row("z"), positions={0: (9, 10)}, generation=number))
    assert await generations.begin(TOPIC, LOG) > number
    assert await generations.drop(number, 3) == 3
    assert await generations.drop(number, 3) == 1
    assert await generations.drop(number, 3) == 0
    assert (await generations.found()).leftovers == ()
    assert await seen(views) == before


async def test_rows_come_in_pages_by_key(views: Views, generations: Generations) -> None:
    """With the positions of the same moment, of any generation."""
    keys = ["", "a", "a0", "b", "ö", "😀"]
    await views.commit(changes(*(row(key, at=at) for at, key in enumerate(keys)), positions={0: (0, 6)}))
    number = await generations.begin(TOPIC, LOG)
    await generations.store(number).commit(changes(row("n"), positions={1: (0, 1)}, generation=number))
    for limit in (1, 4, 6, 99):
        found: list[str] = []
        after: str | None = None
        while (page := await generations.rows(1, TOPIC, after, limit)).rows:
            assert page.positions == {0: 6}
            assert len(page.rows) <= limit
            found += [one.key for one in page.rows]
            after = found[-1]
        assert found == keys
    page = await generations.rows(number, TOPIC, None, 9)
    assert (page.positions, page.rows) == ({1: 1}, (row("n"),))


async def test_held_records_come_in_pages_by_place(views: Views, generations: Generations) -> None:
    """Parked ones and keyless ones too."""
    letters = [
        letter("a", 2), letter(None, 7), letter("a", 9, DeadReason.PARKED), letter("b", 1, partition=1),
    ]  # fmt: skip
    await views.commit(changes(held=tuple(reversed(letters)), positions={0: (0, 10)}))
    found: list[HeldRecord] = []
    after = (-1, -1)
    while (page := await generations.letters(1, TOPIC, after, 3)).held:
        assert page.positions == {0: 10}
        found += page.held
        after = found[-1].record.partition, found[-1].record.offset
    assert found == letters
    assert (await generations.letters(1, "other", (-1, -1), 3)).held == ()


async def test_what_was_discarded_is_known_to_every_generation(model: ReadModel) -> None:
    """People decided it about a record, and the log does not say so."""
    views = model.views
    await views.commit(changes(held=(letter("a", 1), letter("a", 2, DeadReason.PARKED), letter(None, 3))))
    gone = ((0, 1), (0, 3))
    await views.commit(attrs.evolve(changes(released=(*gone, (0, 2))), discarded=gone))
    await model.restart()
    generations = model.beside().generations()
    assert await generations.claim() is None
    assert await generations.discarded(1, TOPIC) == []
    number = await generations.begin(TOPIC, LOG)
    new = generations.store(number)
    await new.commit(
        changes(held=(letter(None, 3), letter("a", 2), letter("a", 1)), positions={0: (0, 4)}, generation=number)
    )
    assert await generations.discarded(number, TOPIC) == [letter("a", 1), letter(None, 3)]
    assert sorted(await generations.discards(TOPIC, 0, 1, 3)) == [1, 3]
    assert list(await generations.discards(TOPIC, 0, 2, 9)) == [3]
    assert list(await generations.discards(TOPIC, 1, 0, 9)) == list(await generations.discards("other", 0, 0, 9)) == []
    again = attrs.evolve(changes(released=gone, generation=number), discarded=gone)
    await new.commit(again)
    assert await generations.discarded(number, TOPIC) == []
