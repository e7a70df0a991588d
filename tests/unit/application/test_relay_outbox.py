"""The relay: what is committed reaches the log, each aggregate in its order."""

import pytest

from ordering.application.messages import Acked, OutgoingRecord, PublishResult, Rejected, Unsent
from ordering.application.partitioning import partition_of
from ordering.application.relay_limits import RelayLimits
from tests.unit.application.relay_bench import RelayBench, first_appearances
from tests.unit.application.runtime import VirtualRuntime, passing


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> RelayBench:
    """A relay that has found its broker."""
    bench = RelayBench(runtime).start()
    await passing(1)
    return bench


# ------------------------------------------------------------------ publishing and marking


async def test_a_committed_event_reaches_the_log_at_once_and_is_marked(bench: RelayBench) -> None:
    """The hand-off in memory needs no sweep: milliseconds, not the sweep's second."""
    await bench.commit("a", "b")
    await passing(0.1)
    assert bench.publisher.batches == [["a:1", "b:1"]]
    assert await bench.unpublished() == []


async def test_a_record_carries_key_partition_framed_body_and_time(bench: RelayBench) -> None:
    """What is published is what was stored, behind the registry's id, in the partition of its key."""
    await bench.commit("a")
    await passing(0.1)
    (record,) = bench.log.partitions[partition_of(b"a", 3)]
    assert record.key == b"a"
    assert record.value == b"\0\0\0\0\x07a:1"
    assert record.timestamp == (bench.runtime.now() // 1000) - 100 + 1000


async def test_a_new_life_publishes_what_the_last_one_left(runtime: VirtualRuntime) -> None:
    """Events committed before a crash are found in the database at start, in order."""
    bench = RelayBench(runtime).start()
    bench.running.cancel()
    for _ in range(3):
        await bench.commit("a", "b", offered=False)
    bench.start()
    await passing(5)
    assert bench.logged("a") == bench.logged("b") == [1, 2, 3]
    assert await bench.unpublished() == []


async def test_events_of_one_aggregate_go_one_after_the_other(bench: RelayBench) -> None:
    """Version 2 is not given to the producer before version 1 is acknowledged, however fast they come."""
    bench.publisher.seconds = 0.05
    for _ in range(5):
        await bench.commit("a", "b")
    await passing(0.4)
    assert bench.publisher.batches == [[f"a:{version}", f"b:{version}"] for version in range(1, 6)]
    assert await bench.unpublished() == []


async def test_an_event_behind_an_acknowledged_but_unmarked_one_goes_on_in_memory(bench: RelayBench) -> None:
    """This process's own acknowledgement is evidence, even while the mark is missing."""
    bench.store.marks_broken = True
    await bench.commit("a")
    await passing(0.1)
    await bench.commit("a")
    await passing(0.1)
    assert bench.logged("a") == [1, 2]
    bench.store.marks_broken = False
    await passing(1)
    assert await bench.unpublished() == []


async def test_an_event_without_evidence_waits_for_the_sweep(bench: RelayBench) -> None:
    """An earlier event of another process is unpublished: ours goes after it, not before."""
    await bench.commit("a", offered=False)
    await bench.commit("a")
    await passing(3)
    assert bench.logged("a") == [1, 2]
    assert bench.publisher.batches == [["a:1"], ["a:2"]]


async def test_lost_marks_are_repeated(bench: RelayBench) -> None:
    """A store that cannot mark for a while delays nothing and loses nothing."""
    bench.store.marks_broken = True
    await bench.commit("a", "b")
    await passing(3)
    assert await bench.unpublished() == ["a-1", "b-1"]
    assert bench.publisher.batches == [["a:1", "b:1"]]
    bench.store.marks_broken = False
    await passing(1)
    assert await bench.unpublished() == []


async def test_an_unmarked_event_is_published_again_after_a_crash(bench: RelayBench) -> None:
    """At least once: the mark was lost with the process, so the record comes twice."""
    bench.store.marks_broken = True
    await bench.commit("a")
    await passing(0.5)
    bench.running.cancel()
    bench.store.marks_broken = False
    bench.start()
    await passing(3)
    assert bench.logged("a") == [1, 1]
    assert await bench.unpublished() == []


async def test_an_unsent_event_is_sent_again_before_its_followers(bench: RelayBench) -> None:
    """A log that fails the first produce of version 1 never shows 2 before 1."""
    failing = {"a:1": 2, "a:2": 1}

    def verdict(record: OutgoingRecord) -> PublishResult | None:
        name = record.value[5:].decode()
        failing[name] = failing.get(name, 0) - 1
        return Unsent("not now") if failing[name] >= 0 else None

    bench.publisher.verdict = verdict
    for _ in range(3):
        await bench.commit("a", "b")
    await passing(10)
    assert bench.logged("a") == bench.logged("b") == [1, 2, 3]
    assert await bench.unpublished() == []


async def test_a_lost_acknowledgement_only_repeats(bench: RelayBench) -> None:
    """Unsent may be in the log: repeated with the same bytes, in order of first appearance."""
    bench.publisher.lose_acks = True
    await bench.commit("a")
    await bench.commit("a")
    await passing(2)
    bench.publisher.lose_acks = False
    await passing(5)
    assert first_appearances(bench.logged("a")) == [1, 2]
    assert len(bench.logged("a")) > 2
    assert await bench.unpublished() == []


async def test_an_aggregate_with_a_deep_backlog_catches_up_without_waiting_for_sweeps(runtime: VirtualRuntime) -> None:
    """Fifty versions of one aggregate are published in the time of fifty round trips, not of fifty sweeps."""
    bench = RelayBench(runtime).start()
    for _ in range(50):
        await bench.commit("a", offered=False)
    await passing(5)
    assert bench.logged("a") == list(range(1, 51))


# ------------------------------------------------------------------ bounds


async def test_what_overflows_the_window_waits_in_the_database(runtime: VirtualRuntime) -> None:
    """Bounded memory: no more than the window is held here, and everything arrives."""
    bench = RelayBench(runtime, limits=RelayLimits(window_max=10, batch_max=5)).start()
    await passing(1)
    bench.publisher.seconds = 0.2
    for number in range(40):
        await bench.commit(f"n{number}")
        assert len(bench.relay._ready) <= 10
    await passing(0.1)
    assert len(bench.relay._ready) <= 10
    assert max(len(batch) for batch in bench.publisher.batches) <= 5
    await passing(20)
    assert await bench.unpublished() == []
    assert all(bench.logged(f"n{number}") == [1] for number in range(40))


async def test_a_sweep_takes_no_more_than_still_fits_when_it_ends(runtime: VirtualRuntime) -> None:
    """What is committed while the heads are being read has filled the window meanwhile."""
    bench = RelayBench(runtime, limits=RelayLimits(window_max=5, batch_max=5)).start()
    await passing(1)
    bench.store.heads_seconds, bench.publisher.seconds = 0.5, 2
    await bench.commit(*[f"old{number}" for number in range(5)], offered=False)
    calls = bench.store.heads_calls
    while bench.store.heads_calls == calls:
        await passing(0.05)
    await bench.commit(*[f"new{number}" for number in range(5)])
    await passing(0.01)  # these are at the producer
    await bench.commit(*[f"newer{number}" for number in range(5)])
    for _ in range(10):
        await passing(0.1)
        assert len(bench.relay._busy) <= 5 + 5
    bench.publisher.seconds = 0.001
    await passing(30)
    assert await bench.unpublished() == []


async def test_a_chain_that_is_too_long_continues_from_the_database(runtime: VirtualRuntime) -> None:
    """Followers in memory are bounded per aggregate; the rest keeps its order."""
    bench = RelayBench(runtime, limits=RelayLimits(followers_max=3)).start()
    await passing(1)
    bench.publisher.seconds = 0.05
    for _ in range(12):
        await bench.commit("a")
    await passing(10)
    assert bench.logged("a") == list(range(1, 13))
    assert await bench.unpublished() == []


async def test_drain_waits_for_acknowledgements_and_marks(bench: RelayBench) -> None:
    """An ordered shutdown leaves nothing taken over unpublished or unmarked."""
    bench.publisher.seconds = 0.3
    await bench.commit("a")
    await bench.commit("a")
    assert await bench.relay.drain(5) is True
    assert bench.logged("a") == [1, 2]
    assert await bench.unpublished() == []
    assert await bench.relay.drain(5) is True


async def test_drain_gives_up_after_its_time(bench: RelayBench) -> None:
    """A broker that does not answer cannot hold up a shutdown."""
    bench.publisher.seconds = 60
    await bench.commit("a")
    began = bench.runtime.monotonic()
    assert await bench.relay.drain(2) is False
    assert bench.runtime.monotonic() - began == pytest.approx(2)


# ------------------------------------------------------------------ parking


async def test_a_rejected_event_parks_its_aggregate_and_nobody_else(bench: RelayBench) -> None:
    """Too large for ever: that aggregate waits for people, the others flow, and it is no outage."""
    bench.publisher.verdict = lambda record: Rejected("too large") if record.key == b"bad" else None
    await bench.commit("bad", "good")
    await bench.commit("bad", "good")
    await passing(30)
    assert bench.logged("bad") == []
    assert bench.logged("good") == [1, 2]
    assert bench.closed is None
    assert [(row.event.event_id, row.parked) for row in await bench.store.waiting(10, parked_only=True)] == [
        ("bad-1", "too large"),
        ("bad-2", "too large"),
    ]
    assert sum(batch.count("bad:1") for batch in bench.publisher.batches) == 1
    assert "outbox.parked" in bench.observer.names


async def test_a_parked_aggregate_stays_parked_through_a_restart_until_it_is_retried(bench: RelayBench) -> None:
    """Only a person lets it go on; then it goes on in order."""
    bench.publisher.verdict = lambda record: Rejected("too large") if record.key == b"bad" else None
    await bench.commit("bad")
    await passing(1)
    bench.running.cancel()
    bench.publisher.verdict = lambda _record: None
    bench.start()
    await bench.commit("bad")
    await passing(30)
    assert bench.logged("bad") == []
    await bench.store.retry("bad")
    await passing(5)
    assert bench.logged("bad") == [1, 2]
    assert await bench.unpublished() == []


async def test_parking_that_cannot_be_stored_is_tried_again(bench: RelayBench) -> None:
    """The event stays a head, is rejected again, and is parked then."""
    bench.publisher.verdict = lambda _record: Rejected("too large")
    bench.store.parking_broken = True
    await bench.commit("bad")
    await passing(1)
    bench.store.parking_broken = False
    await passing(2)
    assert (await bench.store.summary()).parked == 1


# ------------------------------------------------------------------ the lease


async def test_a_relay_without_the_lease_publishes_nothing_and_repeats_the_holders_word(
    runtime: VirtualRuntime,
) -> None:
    """Its gate is the holder's; its own events are left to the holder's sweep."""
    bench = RelayBench(runtime)
    bench.lease.mine, bench.lease.holder_says = False, "the holder's broker is away"
    bench.start()
    await bench.commit("a")
    await passing(5)
    assert bench.publisher.batches == []
    assert bench.closed == "the holder's broker is away"
    bench.lease.holder_says = None
    await passing(1)
    assert bench.closed is None


async def test_a_lost_lease_stops_what_is_not_under_way_and_a_regained_one_reloads(runtime: VirtualRuntime) -> None:
    """What is at the producer is finished and marked; the rest is the next holder's."""
    bench = RelayBench(runtime, limits=RelayLimits(batch_max=1)).start()
    await passing(1)
    bench.publisher.seconds = 2
    await bench.commit("a", "b")
    await bench.commit("a", "b")
    bench.lease.mine = False
    await passing(10)
    assert bench.publisher.batches == [["a:1"]]
    assert await bench.unpublished() == ["b-1", "a-2", "b-2"]
    assert await bench.relay.drain(1) is True
    bench.lease.mine = True
    await passing(30)
    assert bench.logged("a") == bench.logged("b") == [1, 2]
    assert await bench.unpublished() == []


async def test_a_store_that_cannot_renew_the_lease_does_not_stop_the_relay(bench: RelayBench) -> None:
    """The lease is for efficiency: a leader that cannot renew goes on, and the store's trouble is the store's."""
    bench.lease.broken = bench.store.broken = True
    await passing(3)
    assert not bench.running.done()
    bench.lease.broken = bench.store.broken = False
    await bench.commit("a")
    await passing(1)
    assert bench.logged("a") == [1]


async def test_a_stale_snapshot_of_heads_only_repeats(bench: RelayBench) -> None:
    """An event published and marked while the heads were being read may come twice, never out of order."""
    bench.store.heads_seconds = 0.9
    for _ in range(20):
        await bench.commit("a")
        await passing(0.13)
    await passing(10)
    assert first_appearances(bench.logged("a")) == list(range(1, 21))
    assert await bench.unpublished() == []


async def test_an_error_of_our_own_ends_the_relay(bench: RelayBench) -> None:
    """The service has to stop with the reason, not go on half alive."""

    def verdict(_record: OutgoingRecord) -> PublishResult | None:
        raise ZeroDivisionError

    bench.publisher.verdict = verdict
    await bench.commit("a")
    with pytest.raises(ZeroDivisionError):
        await bench.running


async def test_an_acknowledgement_without_an_offset_counts(bench: RelayBench) -> None:
    """A de-duplicated retry is acknowledged without an offset."""
    bench.publisher.verdict = lambda _record: Acked(None)
    await bench.commit("a")
    await passing(1)
    assert await bench.unpublished() == []
