"""Group commit: one transaction for many, and only true answers about it."""

import asyncio

import pytest

from ordering.application.failures import (
    CommitAmbiguous,
    OutcomeUnknown,
    ShuttingDown,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.group_commit import TOLD_AT_ONCE, CommitLimits
from ordering.application.messages import Conflict, Stored
from tests.unit.application.commit_bench import STORED, Bench, write_of
from tests.unit.application.runtime import VirtualRuntime, outcome_of, passing, settling


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> Bench:
    """A store that takes 100 ms for each commit."""
    return Bench(runtime)


# ------------------------------------------------------------------ batches


async def test_what_arrives_during_a_commit_shares_the_next_one(bench: Bench) -> None:
    """A lone request is committed at once; those that come meanwhile form one batch, in order."""
    asked = bench.submit("a")
    await settling()
    asked += bench.submit("b", "c", "d")
    assert await asyncio.gather(*asked) == [STORED] * 4
    assert bench.store.calls == [["a"], ["b", "c", "d"]]
    assert bench.offered == ["a-1", "b-1", "c-1", "d-1"]


async def test_a_batch_has_a_largest_size(runtime: VirtualRuntime) -> None:
    """More than ``batch_max`` waiting requests need several commits."""
    bench = Bench(runtime, CommitLimits(batch_max=2))
    await asyncio.gather(*bench.submit("a", "b", "c", "d", "e"))
    assert bench.store.calls == [["a", "b"], ["c", "d"], ["e"]]


async def test_each_waiter_gets_its_own_outcome(bench: Bench) -> None:
    """A lost race in the middle of a batch is told to its loser only."""
    bench.store.versions["b"] = 4
    assert await asyncio.gather(*bench.submit("a", "b", "c")) == [STORED, Conflict(4), STORED]
    assert bench.offered == ["a-1", "c-1"]


async def test_outcomes_of_a_large_batch_are_handed_out_in_portions(bench: Bench) -> None:
    """So that others have their turn in between; in order, and whoever stops waits for all of them."""
    first = bench.submit("first")
    await settling()
    asked = bench.submit(*(f"order-{number}" for number in range(100)))
    await asyncio.gather(*first)
    told: list[int] = []
    while not told or told[-1] < 100:
        await asyncio.wait([task for task in asked if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        done = [task.done() for task in asked]
        assert done == sorted(done, reverse=True)
        told.append(sum(done))
    assert len(told) >= 100 // TOLD_AT_ONCE
    assert [task.result() for task in asked] == [STORED] * 100
    assert len(bench.store.calls) == 2


async def test_a_committer_ends_when_everybody_has_been_told(bench: Bench) -> None:
    """However many there are."""
    asked = bench.submit(*(f"order-{number}" for number in range(200)))
    await settling()
    bench.commit.stop()
    await bench.running
    await settling()
    assert [task.result() for task in asked if task.done()] == [STORED] * 200


async def test_a_commit_is_measured(bench: Bench) -> None:
    """Duration and size of each batch are reported."""
    await asyncio.gather(*bench.submit("a", "b"))
    assert bench.observer.values["commit_batch"] == [2]
    assert bench.observer.values["commit_seconds"] == [pytest.approx(0.1)]


# ------------------------------------------------------------------ a batch that fails


@pytest.mark.parametrize("bad", [{"a"}, {"d"}, {"g"}, {"a", "g"}, {"c", "d"}, set("abcdefg")])
async def test_a_bad_row_does_not_fail_its_neighbours(bench: Bench, bad: set[str]) -> None:
    """The batch is halved until the bad row stands alone; the others are stored in their order."""
    bench.store.bad = bad
    outcomes = await asyncio.gather(*bench.submit(*"abcdefg"))
    for name, outcome in zip("abcdefg", outcomes, strict=True):
        if name in bad:
            assert isinstance(outcome, StoreUnavailable)
        else:
            assert outcome == STORED
    assert bench.offered == [f"{name}-1" for name in "abcdefg" if name not in bad]
    assert set(bench.store.versions) == set("abcdefg") - bad
    assert bench.observer.names == ["write.rejected"] * len(bad)


async def test_writes_of_one_aggregate_keep_their_order_when_a_batch_is_split(bench: Bench) -> None:
    """Version 2 is never tried before version 1, even if a bad row stands between them."""
    bench.store.bad = {"bad"}
    writes = [write_of("a", 1), write_of("bad"), write_of("a", 2), write_of("a", 3)]
    outcomes = await asyncio.gather(*(outcome_of(bench.commit.submit(write)) for write in writes))
    assert [type(outcome) for outcome in outcomes] == [Stored, StoreUnavailable, Stored, Stored]
    assert bench.store.versions == {"a": 3}


async def test_an_unavailable_store_fails_one_batch_and_the_next_is_tried(bench: Bench) -> None:
    """Busy or full: these requests stored nothing, later ones have their own chance."""
    bench.store.faults = [StoreUnavailable("the disk is full")]
    first = bench.submit("a", "b")
    await settling()
    second = bench.submit("c")
    outcomes = await asyncio.gather(*first)
    assert [str(outcome) for outcome in outcomes] == [str(StoreUnavailable("the disk is full"))] * 2
    assert await asyncio.gather(*second) == [STORED]
    assert bench.offered == ["c-1"]


async def test_a_store_outage_is_told_once_and_its_end_too(bench: Bench) -> None:
    """Readiness has the reason while it is fresh; without traffic nobody asks the store, so it fades."""
    bench.store.faults = [StoreUnavailable("the disk is full")] * 2
    await asyncio.gather(*bench.submit("a"))
    await asyncio.gather(*bench.submit("b"))
    assert bench.commit.trouble == str(StoreUnavailable("the disk is full"))
    await passing(6)
    assert bench.commit.trouble is None
    await asyncio.gather(*bench.submit("c"))
    assert bench.commit.trouble is None
    assert bench.observer.names == ["store.unavailable", "store.available"]


# ------------------------------------------------------------------ ambiguous commits


@pytest.mark.parametrize("stored", [True, False])
async def test_an_ambiguous_commit_is_resolved_by_repeating_the_same_batch(bench: Bench, stored: bool) -> None:
    """Stored or not, asking again with the same event ids tells; every waiter hears the truth, once."""
    bench.store.faults = [(CommitAmbiguous("connection lost"), stored), StoreUnavailable("reconnecting")]
    assert await asyncio.gather(*bench.submit("a", "b")) == [STORED, STORED]
    assert bench.store.calls == [["a", "b"]] * 3
    assert bench.offered == ["a-1", "b-1"]
    assert "commit.ambiguous" in bench.observer.names


async def test_an_ambiguous_commit_that_lost_its_race_is_a_conflict(bench: Bench) -> None:
    """If the repetition loses the race, the first attempt stored nothing."""
    bench.store.faults = [CommitAmbiguous("connection lost")]
    asked = bench.submit("a")
    await passing(0.11)
    bench.store.versions["a"] = 7
    assert await asyncio.gather(*asked) == [Conflict(7)]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("then", [CommitAmbiguous("still"), StoreUnavailable("gone")])
async def test_what_stays_ambiguous_is_answered_as_unknown_and_never_as_not_stored(
    runtime: VirtualRuntime, stored: bool, then: Exception
) -> None:
    """A store that says "not now" while a commit is open says nothing about that commit."""
    bench = Bench(runtime, CommitLimits(resolve_seconds=2))
    bench.store.faults = [(CommitAmbiguous("connection lost"), stored), *[then] * 100]
    began = runtime.monotonic()
    outcomes = await asyncio.gather(*bench.submit("a", "b"))
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]
    assert 2 <= runtime.monotonic() - began < 2.5
    assert bench.offered == []
    bench.store.faults = []
    assert await asyncio.gather(*bench.submit("c")) == [STORED]


async def test_a_row_rejected_while_resolving_leaves_its_batch_unknown(bench: Bench) -> None:
    """A refusal of the repetition proves nothing about the first attempt."""
    bench.store.faults = [(CommitAmbiguous("connection lost"), True), WriteRejected("suddenly")]
    outcomes = await asyncio.gather(*bench.submit("a", "b"))
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]


async def test_an_ambiguous_part_of_a_split_batch_does_not_hold_up_the_other_parts(bench: Bench) -> None:
    """Splitting and resolving work together."""
    bench.store.bad = {"c"}
    bench.store.faults = [None, (CommitAmbiguous("connection lost"), True)]
    outcomes = await asyncio.gather(*bench.submit("a", "b", "c", "d"))
    assert [type(outcome) for outcome in outcomes] == [Stored, Stored, StoreUnavailable, Stored]
    assert bench.offered == ["a-1", "b-1", "d-1"]


# ------------------------------------------------------------------ stopping


async def test_stop_finishes_what_is_queued_and_takes_nothing_new(bench: Bench) -> None:
    """Accepted requests get their outcome, new ones are refused, and run() returns."""
    asked = bench.submit("a")
    await settling()
    asked += bench.submit("b", "c")
    await settling()
    bench.commit.stop()
    (refused,) = await asyncio.gather(*bench.submit("d"))
    assert isinstance(refused, ShuttingDown)
    assert await asyncio.gather(*asked) == [STORED] * 3
    await settling()
    assert bench.running.done()
    assert bench.store.calls == [["a"], ["b", "c"]]


async def test_stop_ends_an_idle_committer(bench: Bench) -> None:
    """Nothing queued: run() returns at once."""
    await settling()
    bench.commit.stop()
    await bench.running


async def test_a_fault_of_our_own_is_answered_as_unknown_and_ends_the_committer(bench: Bench) -> None:
    """An unforeseen error says nothing about the store; the service has to stop and name it."""
    bench.store.faults = [ZeroDivisionError("a bug")]
    outcomes = await asyncio.gather(*bench.submit("a", "b"))
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]
    with pytest.raises(ZeroDivisionError):
        await bench.running


async def test_a_fault_of_our_own_while_resolving_is_answered_as_unknown_too(bench: Bench) -> None:
    """No waiter is left hanging, whatever the repetition of an ambiguous commit runs into."""
    bench.store.faults = [CommitAmbiguous("connection lost"), ZeroDivisionError("a bug")]
    asked = bench.submit("a", "b")
    with pytest.raises(ZeroDivisionError):
        await bench.running
    await settling()
    assert [task.done() and type(task.result()) for task in asked] == [OutcomeUnknown, OutcomeUnknown]


async def test_a_cancelled_committer_leaves_nobody_waiting(bench: Bench) -> None:
    """Claimed requests are unknown, queued ones were not begun, new ones are refused."""
    claimed = bench.submit("a")
    await settling()
    queued = bench.submit("b")
    await settling()
    bench.running.cancel()
    await settling()
    later = bench.submit("c")
    await settling()
    outcomes = [task.done() and type(task.result()) for task in (*claimed, *queued, *later)]
    assert outcomes == [OutcomeUnknown, ShuttingDown, ShuttingDown]
    assert bench.store.calls == [["a"]]
