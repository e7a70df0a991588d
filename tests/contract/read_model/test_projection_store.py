"""ProjectionStore: everything or nothing, by compare-and-set, and still there after a restart."""

from collections.abc import Awaitable, Callable

import attrs
import pytest

from ordering.application.failures import StalePosition
from ordering.application.messages import Changes, DeadReason, Lineage, LogIdentity, Snapshot, ViewStats
from tests.contract.read_model.conftest import ReadModel, Views
from tests.contract.read_model.samples import TOPIC, changes, letter, row, unknown


async def everything(views: Views) -> tuple[object, ...]:
    """All that a transaction can change."""
    keys = ["a", "b", "c", "d"]
    held = [await views.held(key) for key in keys]
    return await views.load(TOPIC, keys), held, await views.letters(99), await views.stats(), await views.ids(None, 99)


async def test_an_empty_read_model_has_no_positions_and_no_rows(views: Views) -> None:
    """And a generation, which a first transaction needs."""
    assert await views.load(TOPIC, ["a"]) == Snapshot(1, {}, {})
    assert await views.stats() == ViewStats(0, {}, {}, 0, 0)


async def test_what_is_committed_is_loaded(views: Views) -> None:
    """Rows with every field, and all positions of the topic."""
    a = attrs.evolve(row("a"), lineage=Lineage.INHERITED, missing=((2, 3), (7, 7)))
    await views.commit(changes(a, row("ö", at=1), unknown("c", at=2), positions={0: (0, 5), 2: (0, 1)}))
    assert await views.load(TOPIC, ["a", "ö", "c", "absent"]) == Snapshot(
        1, {0: 5, 2: 1}, {"a": a, "ö": row("ö", at=1), "c": unknown("c", at=2)}
    )
    assert await views.load(TOPIC, ()) == Snapshot(1, {0: 5, 2: 1}, {})


async def test_rows_and_positions_move_on(views: Views) -> None:
    """By the revision and the position they were loaded with."""
    await views.commit(changes(row("a"), positions={0: (0, 1)}))
    await views.commit(changes(row("a", 2), row("b", at=1), positions={0: (1, 3), 1: (0, 1)}))
    assert await views.load(TOPIC, ["a", "b"]) == Snapshot(1, {0: 3, 1: 1}, {"a": row("a", 2), "b": row("b", at=1)})


async def test_topics_have_positions_of_their_own(views: Views) -> None:
    """The same partition numbers do not meet."""
    await views.commit(changes(positions={0: (0, 5)}))
    await views.commit(Changes("other", 1, {0: (0, 7)}))
    assert dict(await views.positions(TOPIC)) == {0: 5}
    assert dict(await views.positions("other")) == {0: 7}


def stale_position(views: Views, good: Changes) -> Awaitable[None]:
    """Somebody else has moved partition 0 from 0 to 1."""
    return views.commit(attrs.evolve(good, positions={1: (0, 9), 0: (0, 2)}))


def position_ahead(views: Views, good: Changes) -> Awaitable[None]:
    """Partition 1 was never moved to 4."""
    return views.commit(attrs.evolve(good, positions={0: (1, 2), 1: (4, 9)}))


def position_behind(views: Views, good: Changes) -> Awaitable[None]:
    """Somebody else has moved partition 2 from 4 to 5."""
    return views.commit(attrs.evolve(good, positions={0: (1, 2), 2: (4, 9)}))


def stale_row(views: Views, good: Changes) -> Awaitable[None]:
    """Somebody else has changed row a to revision 1 (and would go on with 2)."""
    return views.commit(attrs.evolve(good, rows=(row("b", at=5), row("a", 1))))


def row_ahead(views: Views, good: Changes) -> Awaitable[None]:
    """Row a was never at revision 2."""
    return views.commit(attrs.evolve(good, rows=(row("b", at=5), row("a", 3))))


def absent_row(views: Views, good: Changes) -> Awaitable[None]:
    """Row d was never there."""
    return views.commit(attrs.evolve(good, rows=(row("b", at=5), row("d", 2))))


def other_generation(views: Views, good: Changes) -> Awaitable[None]:
    """The pointer has flipped since the batch was loaded; nothing else is wrong with it."""
    return views.commit(attrs.evolve(good, generation=2, positions={}))


@pytest.mark.parametrize(
    "commit",
    [stale_position, position_ahead, position_behind, stale_row, row_ahead, absent_row, other_generation],
    ids=lambda f: f.__name__,
)
async def test_a_stale_writers_batch_rolls_back_whole(
    model: ReadModel, commit: Callable[[Views, Changes], Awaitable[None]]
) -> None:
    """Rows, positions, held records, labels and counters are as before, also after a restart."""
    await model.views.commit(
        changes(
            row("a"), unknown("c", at=3), positions={0: (0, 1), 2: (0, 5)}, held=(letter("c", 3),),
            labels={"pending": 1}, counters={"applied": 1},
        )
    )  # fmt: skip
    before = await everything(model.views)
    good = changes(
        row("b", at=5), positions={0: (1, 2), 1: (0, 9)}, held=(letter("b", 8),), released=((0, 3),),
        labels={"pending": 1}, counters={"applied": 1},
    )  # fmt: skip
    with pytest.raises(StalePosition):
        await commit(model.views, good)
    assert await everything(model.views) == before
    await model.restart()
    assert await everything(model.views) == before
    await model.views.commit(good)  # without the fault the same batch goes through
    assert await everything(model.views) != before


async def test_a_restart_keeps_everything(model: ReadModel) -> None:
    """What was answered is durable."""
    await model.views.record_identity(TOPIC, LogIdentity("cluster", "topic"))
    await model.views.commit(
        changes(
            row("a", label="x"), unknown("b", at=1), positions={0: (0, 4)}, held=(letter("b", 1),), labels={"x": 1},
            counters={"gaps": 2},
        )
    )  # fmt: skip
    before = await everything(model.views)
    await model.restart()
    assert await everything(model.views) == before
    assert await model.views.identity(TOPIC) == LogIdentity("cluster", "topic")


async def test_the_identity_of_the_log_is_recorded_per_topic(views: Views) -> None:
    """A broker may not tell topic ids; whoever is first counts, and everybody else is told."""
    assert await views.identity(TOPIC) is None
    assert await views.record_identity(TOPIC, LogIdentity("one", None)) == LogIdentity("one", None)
    assert await views.record_identity("other", LogIdentity("two", "t")) == LogIdentity("two", "t")
    assert await views.identity(TOPIC) == LogIdentity("one", None)
    assert await views.record_identity(TOPIC, LogIdentity("three", "t")) == LogIdentity("one", None)
    assert await views.identity(TOPIC) == LogIdentity("one", None)
    assert await views.identity("other") == LogIdentity("two", "t")


async def test_many_keys_are_loaded_at_once(views: Views) -> None:
    """Exactly the asked ones, whatever characters they hold."""
    keys = [f"k-{number}" for number in range(700)] + ['"quoted\\"', "😀", "", "a b", "\x7f"]
    await views.commit(changes(*(row(key, at=at) for at, key in enumerate(keys))))
    assert set((await views.load(TOPIC, keys[100:])).rows) == set(keys[100:])


async def test_held_records_come_back_raw_and_in_the_logs_order(views: Views) -> None:
    """Not in the order they were held."""
    letters = (letter("a", 9, DeadReason.PARKED, held_at=1), letter("b", 5), letter("a", 2, held_at=7))
    await views.commit(changes(held=letters))
    assert await views.held("a") == [letters[2], letters[0]]
    assert await views.held("absent") == []


async def test_a_tombstone_without_a_key_can_be_held(views: Views) -> None:
    """It blocks nothing, so it belongs to no key."""
    keyless = letter(None, 4, DeadReason.BAD_KEY)
    keyless = attrs.evolve(keyless, record=attrs.evolve(keyless.record, key=None, value=None, headers=()))
    await views.commit(changes(held=(keyless,)))
    assert await views.letters(9) == [keyless]
    await views.commit(changes(released=((0, 4),)))
    assert await views.letters(9) == []


async def test_released_records_leave(views: Views) -> None:
    """Only the named ones; releasing what is gone already does no harm."""
    await views.commit(changes(held=(letter("a", 1), letter("a", 2), letter("a", 2, partition=1))))
    await views.commit(changes(released=((0, 1), (0, 2), (5, 5))))
    assert await views.held("a") == [letter("a", 2, partition=1)]


async def test_a_record_may_be_released_and_held_anew_at_once(views: Views) -> None:
    """It was parked behind another and now has a reason of its own."""
    await views.commit(changes(held=(letter("a", 1), letter("a", 2, DeadReason.PARKED))))
    anew = letter("a", 2, DeadReason.CORRUPT, held_at=5)
    await views.commit(changes(released=((0, 1), (0, 2)), held=(anew,)))
    assert await views.held("a") == [anew]


async def test_keys_are_found_by_why_their_first_record_is_held(views: Views) -> None:
    """A later record's reason does not count, and there is a limit."""
    await views.commit(
        changes(
            held=(
                letter("a", 1, DeadReason.UNKNOWN_SCHEMA),
                letter("a", 2, DeadReason.PARKED),
                letter("b", 3, DeadReason.CORRUPT),
                letter("b", 4, DeadReason.UNKNOWN_SCHEMA),
                letter("c", 5, DeadReason.UNKNOWN_SCHEMA),
                letter("c", 6, DeadReason.UNKNOWN_SCHEMA),
                letter(None, 7, DeadReason.UNKNOWN_SCHEMA),
            )
        )
    )
    assert sorted(await views.held_keys(DeadReason.UNKNOWN_SCHEMA, 9)) == ["a", "c"]
    assert await views.held_keys(DeadReason.UNKNOWN_SCHEMA, 1) == ["a"]
    assert await views.held_keys(DeadReason.UNKNOWN_SCHEMA, 1, after="a") == ["c"]
    assert [found.record.offset for found in await views.held(None)] == [7]
    assert await views.held_keys(DeadReason.CORRUPT, 9) == ["b"]
