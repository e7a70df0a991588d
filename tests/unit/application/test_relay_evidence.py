"""The evidence rule: version n is given to a producer only when n-1 is known to be in the log."""

import random

import pytest

from ordering.application.messages import Acked, OutgoingRecord, PublishResult, Stored, Unsent, Write
from ordering.application.outage_gate import OutagePolicy
from ordering.application.relay_limits import RelayLimits
from tests.unit.application.relay_bench import RelayBench, event_of, first_appearances
from tests.unit.application.runtime import VirtualRuntime, passing, run

SEEDS = 150


async def test_a_broken_chain_in_memory_waits_for_its_missing_link(runtime: VirtualRuntime) -> None:
    """Version 3 found no room in memory: 4, which did, must not go after 2."""
    bench = RelayBench(runtime, limits=RelayLimits(followers_max=1)).start()
    await passing(1)
    bench.publisher.seconds = 0.05
    for _ in range(3):
        await bench.commit("a")
    await passing(0.06)
    await bench.commit("a")
    await passing(5)
    assert bench.logged("a") == [1, 2, 3, 4]


async def test_an_event_taken_while_the_heads_are_read_is_not_taken_twice(runtime: VirtualRuntime) -> None:
    """It was committed before the snapshot and handed over after it: one of the two ways takes it."""
    bench = RelayBench(runtime).start()
    await passing(1.05)
    bench.publisher.seconds, bench.store.heads_seconds = 1, 0.3
    calls = bench.store.heads_calls
    event = event_of("a", 1)
    (outcome,) = await bench.store.write([Write("a", 0, event)])
    while bench.store.heads_calls == calls:
        await passing(0.05)
    assert isinstance(outcome, Stored)
    bench.relay.offer([(event, outcome)])
    await passing(5)
    assert bench.publisher.batches == [["a:1"]]
    assert not bench.running.done()


async def test_an_event_that_a_sweep_has_published_is_not_taken_when_it_is_handed_over(runtime: VirtualRuntime) -> None:
    """A busy process hears of its own commit late: the sweep saw it, and the log has acknowledged it by then."""
    bench = RelayBench(runtime).start()
    await passing(1)
    bench.store.marks_broken = True
    event = event_of("a", 1)
    (outcome,) = await bench.store.write([Write("a", 0, event)])
    await passing(2)
    assert bench.logged("a") == [1]
    assert isinstance(outcome, Stored)
    bench.relay.offer([(event, outcome)])
    await passing(1)
    assert bench.logged("a") == [1]
    bench.store.marks_broken = False
    await passing(1)
    assert await bench.unpublished() == []


async def test_during_an_outage_fresh_events_wait_in_the_database(runtime: VirtualRuntime) -> None:
    """Nothing is tried event by event against a broker that is known to be away: the probe finds out."""
    bench = RelayBench(runtime, policy=OutagePolicy.ACCEPT).start()
    await passing(1)
    bench.publisher.unavailable = "all brokers down"
    await bench.commit("first")
    await passing(1)
    for number in range(10):
        await bench.commit(f"n{number}")
        await passing(0.3)
    assert bench.publisher.batches == [["first:1"]]
    bench.publisher.unavailable = None
    await passing(3)
    assert all(bench.logged(f"n{number}") == [1] for number in range(10))
    assert bench.logged("first") == [1]


async def _schedule(seed: int) -> None:
    """One random history: commits, hand-offs or not, answers of every kind, lost marks, slow reads, crashes."""
    rng, runtime = random.Random(seed), VirtualRuntime(seed)
    limits = RelayLimits(
        batch_max=rng.choice((1, 2, 512)),
        window_max=rng.choice((1, 3, 8_192)),
        followers_max=rng.choice((0, 1, 2, 16)),
        publishes_at_once=rng.choice((1, 2)),
    )
    bench = RelayBench(runtime, limits=limits).start()
    trouble = rng.choice((0.0, 0.1, 0.4))

    def verdict(record: OutgoingRecord) -> PublishResult | None:
        if rng.random() >= trouble:
            return None
        if rng.random() < 0.5:
            bench.log.append(record)  # appended, but nobody hears of it
        return Unsent("timed out")

    bench.publisher.verdict = verdict
    for _ in range(rng.randint(10, 60)):
        bench.publisher.seconds = rng.choice((0.0, 0.01, 0.2))
        bench.store.heads_seconds = rng.choice((0.0, 0.01, 0.3))
        bench.store.marks_broken, bench.store.broken = rng.random() < trouble, rng.random() < trouble / 2
        names = rng.sample("abc", rng.randint(1, 3))
        await bench.commit(*names, offered=rng.random() < 0.8)
        await passing(rng.choice((0.0, 0.005, 0.05, 0.6)))
        if rng.random() < 0.08:
            bench.running.cancel()
            bench.start()
    trouble, bench.store.marks_broken, bench.store.broken = 0.0, False, False
    bench.publisher.seconds = bench.store.heads_seconds = 0.001
    await passing(30)
    assert not bench.running.done()
    for name, last in bench.versions.items():
        assert first_appearances(bench.logged(name)) == list(range(1, last + 1)), f"{name}: {bench.logged(name)}"
    assert await bench.unpublished() == []
    assert bench.closed is None
    assert await bench.relay.drain(1) is True


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_first_appearances_are_in_order_on_every_schedule(start: int) -> None:
    """Nothing is lost, everything is marked in the end, and no version ever comes before its predecessor."""
    for seed in range(start, start + 50):
        try:
            run(_schedule(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


async def test_an_acknowledgement_is_evidence_only_for_the_next_version(runtime: VirtualRuntime) -> None:
    """1 is acknowledged and unmarked, 2 was committed by another process: 3 waits for 2."""
    bench = RelayBench(runtime).start()
    await passing(1)
    bench.store.marks_broken = True
    await bench.commit("a")
    await passing(0.1)
    await bench.commit("a", offered=False)
    await bench.commit("a")
    await passing(0.2)
    assert bench.logged("a") == [1]
    bench.store.marks_broken = False
    await passing(5)
    assert bench.logged("a") == [1, 2, 3]


async def test_acknowledgements_without_offsets_keep_the_order(runtime: VirtualRuntime) -> None:
    """The chain needs the fact, not the place."""
    bench = RelayBench(runtime).start()
    await passing(1)
    bench.publisher.verdict = lambda record: Acked(None) if bench.log.append(record) >= 0 else None
    for _ in range(4):
        await bench.commit("a")
    await passing(2)
    assert bench.logged("a") == [1, 2, 3, 4]
