"""Held records: released in order as far as they go, dropped one at a time, and never touched by a dry run."""

import copy

import pytest

from ordering.application.dead_letters import Released
from ordering.application.failures import RegistryUnavailable, StalePosition, StoreUnavailable, WriteRejected
from ordering.application.messages import Changes, DeadReason
from tests.unit.application.read_bench import ReadBench
from tests.unit.application.runtime import VirtualRuntime, passing


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> ReadBench:
    """Order a: version 1 applied, then poison, then versions 2 and 3 behind it; order b is well."""
    bench = ReadBench(runtime).start()
    bench.append("a:1", "bad a:2", "b:1", "a:3", "a:4")
    await passing(1)
    return bench


async def reasons(bench: ReadBench, key: str = "a") -> list[str]:
    """Why each of the key's records is held, in order."""
    return [str(letter.reason) for letter in await bench.views.held(key)]


async def test_a_cured_order_is_released_in_order(bench: ReadBench) -> None:
    """The poison can be decoded now: it and all behind it are applied once, and the order flows again."""
    bench.decoder.cured = True
    assert await bench.held.release("a") == Released(released=3, discarded=0, still_held=0, reason=None)
    assert bench.views.rows["a"].version == bench.views.rows["a"].events_applied == 4
    assert bench.views.counters == {"applied": 5}
    assert bench.views.letters_held == {}
    bench.append("a:5")
    await passing(1)
    assert bench.views.versions() == {"a": 5, "b": 1}


async def test_a_release_stops_at_what_is_still_no_event(bench: ReadBench) -> None:
    """Nothing overtakes it."""
    assert await bench.held.release("a") == Released(0, 0, 3, "corrupt")
    assert bench.views.versions() == {"a": 1, "b": 1}
    assert await reasons(bench) == ["corrupt", "parked", "parked"]


async def test_a_discard_drops_the_first_and_releases_what_is_behind(bench: ReadBench) -> None:
    """The dropped version is a gap that everybody can see."""
    assert await bench.held.discard("a") == Released(2, discarded=1, still_held=0, reason=None, gaps=((2, 2),))
    row = bench.views.rows["a"]
    assert (row.version, row.events_applied, row.missing, row.held) == (4, 3, ((2, 2),), 0)
    assert bench.views.counters["gaps"] == 1


async def test_a_follower_that_turns_out_bad_is_held_for_its_own_reason(runtime: VirtualRuntime) -> None:
    """It was parked behind another; now it is the one that blocks."""
    bench = ReadBench(runtime).start()
    bench.append("bad a:1", "a:2", "a:2:another", "a:3")
    await passing(1)
    assert await bench.held.discard("a") == Released(1, 1, still_held=2, reason="version-conflict", gaps=((1, 1),))
    assert await reasons(bench) == ["version-conflict", "parked"]
    assert bench.views.rows["a"].held == 2
    assert bench.views.rows["a"].version == 2
    assert await bench.held.discard("a") == Released(released=1, discarded=1, still_held=0, reason=None)
    assert bench.views.versions() == {"a": 3}


@pytest.mark.parametrize("refused", [{"a@4"}, {"a@3", "a@4"}, {"a@2", "a@3", "a@4"}])
async def test_what_the_store_refuses_shows_when_it_is_released(bench: ReadBench, refused: set[str]) -> None:
    """It was parked behind another: what comes before it is released, it blocks for its own reason, and it can be
    released or discarded like any other."""
    bench.decoder.cured = True
    bench.views.refuses = {body.encode() for body in refused}
    left = len(refused)
    assert await bench.held.release("a") == Released(3 - left, 0, left, "refused")
    assert await reasons(bench) == ["refused", "parked", "parked"][:left]
    assert (bench.views.versions()["a"], bench.views.rows["a"].held) == (4 - left, left)
    assert await bench.held.release("a") == Released(0, 0, left, "refused")
    bench.views.refuses = set()
    assert await bench.held.release("a") == Released(left, 0, 0, None)
    assert bench.views.rows["a"].version == bench.views.rows["a"].events_applied == 4


async def test_what_the_store_refuses_does_not_keep_what_is_before_it_from_a_discard(bench: ReadBench) -> None:
    """The blocking one goes, and what was parked behind it is held for its own reason."""
    bench.views.refuses = {b"a@3", b"a@4"}
    assert await bench.held.discard("a") == Released(0, 1, 2, "refused")
    bench.views.refuses = {b"a@4"}
    assert await bench.held.release("a") == Released(1, 0, 1, "refused", gaps=((2, 2),))
    assert await bench.held.discard("a") == Released(0, 1, 0, None)
    assert bench.views.rows["a"].version == 3


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_nothing_stays_refused_that_the_store_never_refused(runtime: VirtualRuntime, lost: int) -> None:
    """The store goes away at any step of the search for the one it refuses: it is finished when the store is back."""
    bench = ReadBench(runtime).start()
    bench.append("new a:1", "a:2", "a:3", "a:4")
    await passing(1)
    real, asked = bench.views.commit, 0

    async def commit(changes: Changes) -> None:
        nonlocal asked
        asked += 1
        if asked == lost:
            raise StoreUnavailable("for a moment")
        await real(changes)

    bench.views.commit = commit  # type: ignore[method-assign]
    bench.views.refuses = {b"a@4"}
    bench.decoder.knows_new = True
    await passing(60)
    assert asked > lost
    assert bench.views.versions() == {"a": 3}
    assert await reasons(bench) == [DeadReason.REFUSED]


async def test_what_came_while_the_refused_one_was_settled_is_not_called_refused(runtime: VirtualRuntime) -> None:
    """Somebody else discards it, and the consumer holds the next one: that was not tried."""
    bench = ReadBench(runtime).start()
    bench.append("bad a:1")
    await passing(1)
    bench.decoder.cured = True
    bench.views.refuses = {b"a@1"}
    real = bench.views.commit

    async def commit(changes: Changes) -> None:
        try:
            await real(changes)
        except WriteRejected:
            bench.views.commit = real  # type: ignore[method-assign]
            assert (await bench.held.discard("a")).discarded == 1
            bench.append("new a:2")
            await passing(2)
            raise

    bench.views.commit = commit  # type: ignore[method-assign]
    assert await bench.held.release("a") == Released(0, 0, 1, "unknown-schema")
    assert await reasons(bench) == ["unknown-schema"]


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_a_gap_is_told_once_however_many_transactions_it_takes(runtime: VirtualRuntime, most: int) -> None:
    """The store refuses some of those that were parked: what is before them goes by itself, the rest is held."""
    bench = ReadBench(runtime).start()
    bench.append("a:1", "bad a:2", "a:3", "a:4", "a:7", "a:8")
    await passing(1)
    bench.views.refuses = set((b"a@4", b"a@7", b"a@8")[most - 1 :])
    first = await bench.held.discard("a")
    bench.views.refuses = set()
    second = await bench.held.release("a")
    assert (first.released, first.reason, second.still_held) == (most, "refused", 0)
    assert first.gaps + second.gaps == ((2, 2), (5, 6)) == bench.views.rows["a"].missing
    assert first.gaps[0] == (2, 2)


async def test_two_poisons_need_two_discards(runtime: VirtualRuntime) -> None:
    """Each has its own reason from the start; discarding one releases up to the next."""
    bench = ReadBench(runtime).start()
    bench.append("a:1", "bad a:2", "a:3", "bad a:4", "a:5")
    await passing(1)
    assert await bench.held.discard("a") == Released(1, 1, 2, "corrupt", gaps=((2, 2),))
    assert await bench.held.discard("a") == Released(1, 1, 0, None, gaps=((4, 4),))  # the older one is no news
    assert bench.views.versions() == {"a": 5}
    assert bench.views.rows["a"].missing == ((2, 2), (4, 4))


@pytest.mark.parametrize("cured", [True, False])
@pytest.mark.parametrize("act", ["release", "discard"])
async def test_a_dry_run_tells_the_same_and_changes_nothing(bench: ReadBench, act: str, cured: bool) -> None:
    """What is printed is what would happen."""
    bench.decoder.cured = cured
    before = copy.deepcopy(vars(bench.views))
    told = await getattr(bench.held, act)("a", dry_run=True)
    assert vars(bench.views) == before
    assert await getattr(bench.held, act)("a") == told


async def test_nothing_held_is_nothing_done(bench: ReadBench) -> None:
    """Unknown keys and healthy ones alike."""
    for key in ("b", "nobody"):
        assert await bench.held.release(key) == Released(0, 0, 0, None)
        assert await bench.held.discard(key) == Released(0, 0, 0, None)


async def test_a_key_known_only_by_poison_stays_listed_after_its_discard(runtime: VirtualRuntime) -> None:
    """Its place of first appearance is a fact of the log."""
    bench = ReadBench(runtime).start()
    bench.append("bad a:1")
    await passing(1)
    assert await bench.held.discard("a") == Released(0, 1, 0, None)
    assert [key for _, key in await bench.views.ids(None, 10)] == ["a"]
    bench.append("a:1")
    await passing(1)
    assert bench.views.versions() == {"a": 1}


async def test_a_keyless_letter_is_dropped_by_its_place(bench: ReadBench) -> None:
    """It blocks nobody, so it only leaves."""
    bench.append("bad ")
    await passing(1)
    (letter,) = [one for one in await bench.views.letters(10) if one.record.value == b"bad "]
    bench.views.letters_held[letter.record.partition, letter.record.offset] = letter
    assert await bench.held.discard_keyless(letter.record.partition, letter.record.offset, dry_run=True) == Released(
        0, 1, 0, None
    )
    assert len(bench.views.letters_held) == 4
    await bench.held.discard_keyless(letter.record.partition, letter.record.offset)
    assert len(bench.views.letters_held) == 3


async def test_a_place_discards_only_a_letter_without_a_key(bench: ReadBench) -> None:
    """A letter of an order leaves by its order, which keeps count of what it has; nothing leaves a place twice."""
    (letter, *_) = await bench.views.letters(10)
    assert letter.key is not None
    before = dict(bench.views.letters_held)
    assert await bench.held.discard_keyless(letter.record.partition, letter.record.offset) == Released(0, 0, 0, None)
    assert await bench.held.discard_keyless(77, 77) == Released(0, 0, 0, None)
    assert before == bench.views.letters_held


async def test_a_discard_repeated_for_the_same_record_drops_no_other(runtime: VirtualRuntime) -> None:
    """Whoever did not hear how it ended asks again and names the record; so does whoever was second."""
    bench = ReadBench(runtime).start()
    bench.append("a:1", "bad a:2", "bad a:3", "a:4")
    await passing(1)
    first, second, _ = [letter.place for letter in await bench.views.held("a")]
    assert await bench.held.discard("a", second) == Released(0, 0, 3, "corrupt")
    assert await bench.held.discard("a", first) == Released(0, 1, 2, "corrupt")
    assert await bench.held.discard("a", first) == Released(0, 0, 2, "corrupt")
    assert await bench.held.discard("a", second) == Released(1, 1, 0, None, gaps=((2, 3),))
    assert await bench.held.discard("a", second) == Released(0, 0, 0, None)


async def test_a_discard_that_comes_second_drops_no_other_record(runtime: VirtualRuntime) -> None:
    """Two people discard what blocks: the one whose transaction fails for the other's finds another record first."""
    bench = ReadBench(runtime).start()
    bench.append("a:1", "bad a:2", "bad a:3", "a:4")
    await passing(1)
    real = bench.views.commit

    async def commit(changes: Changes) -> None:
        bench.views.commit = real
        assert (await bench.held.discard("a")).discarded == 1
        await real(changes)

    bench.views.commit = commit
    assert await bench.held.discard("a") == Released(0, 0, 2, "corrupt")
    assert len(await bench.views.held("a")) == 2


async def test_a_release_that_loses_its_race_is_decided_again(bench: ReadBench) -> None:
    """Up to five times; then the loser is told."""
    bench.views.commit_faults = [StalePosition()] * 5
    with pytest.raises(StalePosition):
        await bench.held.discard("a")
    bench.decoder.cured = True
    bench.views.commit_faults = [StalePosition()] * 4
    assert (await bench.held.release("a")).released == 3


async def test_a_record_parked_while_a_release_looks_on_is_not_lost(bench: ReadBench) -> None:
    """Between the release's snapshot and its commit the consumer may park another record: the release starts over."""
    bench.decoder.cured = True
    original = bench.views.held

    async def held_then_consumer_runs(key: str) -> object:
        bench.views.held = original  # type: ignore[method-assign]
        letters = await original(key)
        bench.append("a:5")
        await passing(0.1)
        return letters

    bench.views.held = held_then_consumer_runs  # type: ignore[method-assign, assignment]
    assert (await bench.held.release("a")).released == 4
    assert bench.views.rows["a"].version == bench.views.rows["a"].events_applied == 5


async def test_a_registry_out_of_reach_is_told_and_changes_nothing(bench: ReadBench) -> None:
    """No verdict without the schema."""
    bench.decoder.unavailable = True
    with pytest.raises(RegistryUnavailable):
        await bench.held.release("a")
    bench.decoder.unavailable = False
    assert await reasons(bench) == [DeadReason.CORRUPT, DeadReason.PARKED, DeadReason.PARKED]
