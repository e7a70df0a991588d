"""The consumer: every record into the read model once, from our own positions, through every kind of trouble."""

import pytest

from ordering.application.consume_events import ConsumerLimits
from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    LogChanged,
    StalePosition,
    StoreUnavailable,
)
from ordering.application.messages import Changes, DeadReason, LogIdentity
from tests.unit.application.read_bench import ReadBench
from tests.unit.application.runtime import VirtualRuntime, passing


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> ReadBench:
    """A consumer that reads three empty partitions."""
    bench = ReadBench(runtime).start()
    await passing(1)
    return bench


async def test_records_become_rows_and_positions(bench: ReadBench) -> None:
    """Rows, positions and the broker's copy of the positions move together."""
    bench.append("a:1", "b:1", "a:2")
    await passing(1)
    assert bench.views.versions() == {"a": 2, "b": 1}
    assert bench.views.at == {partition: end for partition, end in bench.log.ends().items() if end}
    assert bench.log.committed["test"] == bench.views.at
    assert bench.consumer.assigned == {0, 1, 2}
    assert bench.consumer.trouble is None
    assert bench.observer.counts["events_applied"] == 3


async def test_a_new_life_goes_on_from_the_stored_positions(bench: ReadBench) -> None:
    """The broker's committed offsets are never asked: ours are in the rows' own transaction."""
    bench.append("a:1", "b:1")
    await passing(1)
    bench.running.cancel()
    bench.log.committed["test"] = {0: 99, 1: 99, 2: 99}
    bench.append("a:2")
    bench.start()
    await passing(1)
    assert bench.views.versions() == {"a": 2, "b": 1}
    assert bench.views.counters["duplicates"] == 0
    assert bench.source.seeks[0] == {0: 0, 1: 0, 2: 0} | {
        p: len(r) - (r[-1].value == b"a:2") for p, r in _filled(bench)
    }


def _filled(bench: ReadBench) -> list[tuple[int, list[object]]]:
    return [(partition, list(records)) for partition, records in enumerate(bench.log.partitions) if records]


async def test_a_partition_added_later_is_read_from_its_beginning(bench: ReadBench) -> None:
    """Growth of the topic needs no restart."""
    bench.log.grow(5)
    bench.append("a:1", "b:1", "c:1", "d:1", "e:1")
    await passing(1)
    assert len(bench.views.rows) == 5
    assert bench.consumer.assigned == {0, 1, 2, 3, 4}


async def test_a_lost_compare_and_set_rewinds_and_applies_nothing_twice(bench: ReadBench) -> None:
    """Another consumer was faster: our batch is dropped whole, the stored position is read again."""
    bench.views.commit_faults = [StalePosition()]
    bench.append("a:1", "a:2")
    await passing(1)
    assert bench.views.rows["a"].events_applied == 2
    assert bench.observer.counts["projection_stale"] == 1
    assert bench.views.counters == {"applied": 2}


async def test_what_another_consumer_applied_is_not_applied_again(bench: ReadBench) -> None:
    """A stale batch rolls back whole even if only one of its partitions moved."""
    original = bench.views.commit

    async def overtaken(changes: Changes) -> None:
        bench.views.commit = original  # type: ignore[method-assign]
        bench.views.apply(changes)
        await original(changes)

    bench.views.commit = overtaken  # type: ignore[method-assign]
    bench.append("a:1", "b:1", "c:1")
    await passing(2)
    assert bench.views.counters == {"applied": 3}
    assert all(row.events_applied == 1 for row in bench.views.rows.values())


@pytest.mark.parametrize("stored", [True, False])
async def test_an_ambiguous_commit_is_settled_by_the_stored_position(bench: ReadBench, stored: bool) -> None:
    """Whether it was stored is read, not guessed."""
    bench.views.commit_faults = [(CommitAmbiguous("disk"), stored)]
    bench.append("a:1", "b:1")
    await passing(2)
    assert bench.views.counters == {"applied": 2}
    assert bench.consumer.trouble is None


async def test_an_unreachable_registry_pauses_and_nothing_is_skipped(bench: ReadBench) -> None:
    """No verdict on a record while its schema cannot be asked for; then everything is applied once."""
    bench.decoder.unavailable = True
    bench.append("a:1", "b:1")
    await passing(60)
    assert bench.views.rows == {}
    assert bench.consumer.trouble is not None
    assert "no registry" in bench.consumer.trouble
    assert bench.observer.names.count("consumer.paused") == 1
    bench.decoder.unavailable = False
    await passing(1)
    assert bench.views.counters == {"applied": 2}
    assert bench.consumer.trouble is None


@pytest.mark.parametrize("failures", [1, 2, 3, 7])
async def test_a_store_outage_of_any_length_skips_no_record(runtime: VirtualRuntime, failures: int) -> None:
    """Even if going back to the stored position fails, too, nothing is read past what was not stored."""
    bench = ReadBench(runtime, limits=ConsumerLimits(batch_max=1)).start()
    await passing(1)
    bench.views.load_faults = [StoreUnavailable("busy")] * failures
    bench.append("a:1", "a:2", "a:3", "b:1")
    await passing(20)
    assert bench.views.counters == {"applied": 4}
    assert bench.consumer.trouble is None


async def test_a_lost_compare_and_set_during_an_outage_skips_no_record(runtime: VirtualRuntime) -> None:
    """The rewind after a stale batch can fail; it is made up before the next poll."""
    bench = ReadBench(runtime, limits=ConsumerLimits(batch_max=1)).start()
    await passing(1)
    bench.views.commit_faults = [StalePosition()]
    bench.views.load_faults = [None, StoreUnavailable("busy"), StoreUnavailable("busy")]
    bench.append("a:1", "a:2", "a:3")
    await passing(20)
    assert bench.views.counters == {"applied": 3}


async def test_a_seek_that_fails_is_repeated_before_reading_on(runtime: VirtualRuntime) -> None:
    """A new assignment delivers nothing until its seek went through."""
    bench = ReadBench(runtime)
    bench.append("a:1", "b:1", "c:1")
    bench.start()
    bench.source.seek_faults = [BrokerUnavailable("starting")] * 2
    await passing(5)
    assert bench.views.counters == {"applied": 3}


async def test_an_unreachable_broker_pauses(bench: ReadBench) -> None:
    """The consumer says why, and goes on by itself."""
    bench.source.unavailable = "all brokers down"
    await passing(5)
    assert bench.consumer.trouble is not None
    assert "all brokers down" in bench.consumer.trouble
    bench.append("a:1")
    bench.source.unavailable = None
    await passing(1)
    assert bench.views.versions() == {"a": 1}


@pytest.mark.parametrize(
    ("known", "halts"),
    [
        (LogIdentity("memory", "0"), False),
        (LogIdentity("memory", None), False),
        (LogIdentity("memory", "another"), True),
        (LogIdentity("elsewhere", "0"), True),
        (LogIdentity("elsewhere", None), True),
    ],
)
async def test_another_log_halts_the_topic(runtime: VirtualRuntime, known: LogIdentity, halts: bool) -> None:
    """Another cluster or a recreated topic: no row and no position changes, with an alarm."""
    bench = ReadBench(runtime)
    bench.views.identities["things"] = known
    bench.append("a:1")
    bench.start()
    await passing(5)
    assert bench.consumer.halted is halts
    assert (bench.views.rows == {}) is halts
    assert ("consumer.halted" in bench.observer.names) is halts
    assert bench.running.done() is halts


async def test_a_topic_id_that_becomes_unknown_is_no_change(runtime: VirtualRuntime) -> None:
    """A broker that does not tell topic ids is compared by its cluster id."""
    bench = ReadBench(runtime)
    bench.log.identity = LogIdentity("memory", None)
    bench.views.identities["things"] = LogIdentity("memory", "0")
    bench.start()
    await passing(1)
    assert not bench.consumer.halted


async def test_the_first_log_is_remembered(bench: ReadBench) -> None:
    """The identity is recorded before anything is applied."""
    assert bench.views.identities == {"things": LogIdentity("memory", "0")}


async def test_of_two_that_begin_at_once_the_first_says_which_log_it_is(runtime: VirtualRuntime) -> None:
    """The other one asked before the topic was made anew, and wrote it down afterwards: it must not read on."""
    bench = ReadBench(runtime)

    async def asked_just_before(_topic: str) -> LogIdentity | None:
        bench.views.identities["things"] = LogIdentity("memory", "1")
        return None

    bench.views.identity = asked_just_before  # type: ignore[method-assign]
    bench.start()
    await passing(1)
    assert bench.consumer.halted
    assert bench.views.identities == {"things": LogIdentity("memory", "1")}


async def test_lost_history_halts_instead_of_resetting(bench: ReadBench) -> None:
    """A position the log no longer has is never replaced silently."""
    bench.append("a:1", "a:2")
    await passing(1)
    bench.running.cancel()
    for records in bench.log.partitions:
        records.clear()
    bench.start()
    await passing(5)
    assert bench.consumer.halted
    assert bench.views.versions() == {"a": 2}


async def test_lost_history_found_by_a_poll_halts(bench: ReadBench) -> None:
    """The same while it runs."""

    async def poll(limit: int, wait: float) -> None:
        raise LogChanged("offset 5 is gone")

    bench.source.poll = poll  # type: ignore[assignment, method-assign]
    await passing(2)
    assert bench.consumer.halted
    assert bench.consumer.trouble == "offset 5 is gone"


async def test_a_schema_the_registry_learns_later_releases_its_orders(bench: ReadBench) -> None:
    """Only the orders concerned wait; they are tried again and applied in order."""
    bench.append("new a:1", "a:2", "b:1")
    await passing(20)
    assert bench.views.versions() == {"a": 0, "b": 1}
    bench.decoder.knows_new = True
    await passing(6)
    assert bench.views.versions() == {"a": 2, "b": 1}
    assert bench.views.letters_held == {}


async def test_what_a_release_finds_is_counted_and_alarmed_like_the_rest(bench: ReadBench) -> None:
    """A gap among the records that waited for their schema is no smaller than one among those that did not."""
    bench.append("new a:1", "a:3", "a:2")
    await passing(2)
    assert "projection.gaps" not in bench.observer.names
    bench.decoder.knows_new = True
    await passing(6)
    assert bench.views.counters == {"applied": 2, "gaps": 1, "late": 1}
    assert [bench.observer.counts[f"events_{name}"] for name in ("applied", "gaps", "late")] == [2, 1, 1]
    assert [bench.observer.names.count(f"projection.{name}") for name in ("gaps", "late")] == [1, 1]


async def test_orders_whose_schema_never_comes_do_not_starve_the_others(runtime: VirtualRuntime) -> None:
    """Each round tries another page of them."""
    bench = ReadBench(runtime, limits=ConsumerLimits(retry_keys_max=2)).start()
    bench.append("new a:1", "new b:1", "new c:1", "new d:1", "new e:1")
    await passing(1)
    bench.decoder.knows_new_of = {"e"}
    await passing(16)
    assert bench.views.versions() == {"a": 0, "b": 0, "c": 0, "d": 0, "e": 1}


async def test_trying_again_in_vain_writes_nothing(bench: ReadBench) -> None:
    """A schema that stays unknown costs reads, not a transaction per order and try."""
    bench.append("new a:1", "a:2")
    await passing(2)
    commits, revision = bench.views.commits, bench.views.rows["a"].revision
    await passing(60)
    assert bench.views.commits == commits
    assert bench.views.rows["a"].revision == revision


async def test_losing_every_race_for_a_held_order_does_not_end_the_consumer(bench: ReadBench) -> None:
    """Somebody else keeps changing that order; it is tried again later."""
    bench.append("new a:1")
    await passing(1)
    bench.decoder.knows_new = True
    bench.views.commit_faults = [StalePosition()] * 5
    await passing(5)
    assert not bench.running.done()
    await passing(6)
    assert bench.views.versions() == {"a": 1}


async def test_a_record_the_store_refuses_stops_only_its_order(bench: ReadBench) -> None:
    """It becomes a dead letter; what was read with it is applied, in order."""
    bench.views.refuses = {b"b@1"}
    bench.append("a:1", "b:1", "a:2", "c:1")
    await passing(2)
    bench.append("b:2")
    await passing(2)
    assert bench.views.versions() == {"a": 2, "b": 0, "c": 1}
    assert [letter.reason for letter in await bench.views.held("b")] == [DeadReason.REFUSED, DeadReason.PARKED]
    assert bench.consumer.trouble is None


async def test_losing_every_race_gives_way_instead_of_spinning(bench: ReadBench) -> None:
    """A second writer that never rests: said aloud, tried again after a pause, and over when it is over."""
    bench.views.commit_faults = [StalePosition()] * 6
    bench.append("a:1")
    await passing(1)
    assert bench.consumer.trouble == "somebody else keeps changing this read model"
    assert bench.observer.counts["projection_stale"] <= 4
    await passing(5)
    assert bench.consumer.trouble is None
    assert bench.views.versions() == {"a": 1}


async def test_waiting_queries_are_woken(bench: ReadBench) -> None:
    """Who waits for a key, or for any progress, looks again right after the commit."""
    with bench.waiters.waiting("a") as for_a, bench.waiters.waiting("b") as for_b, bench.waiters.waiting(None) as any_:
        bench.append("a:1")
        began = bench.runtime.monotonic()
        await for_a.next(10)
        await any_.next(10)
        assert bench.runtime.monotonic() - began < 0.1
        await for_b.next(1)
        assert bench.runtime.monotonic() - began >= 1


async def test_who_waits_looks_again_after_a_commit_that_came_to_pass_unheard(bench: ReadBench) -> None:
    """Nobody knew whether it did, so nobody was woken; that the stored position is read again wakes them."""
    with bench.waiters.waiting("a") as waiter:
        bench.views.commit_faults = [(CommitAmbiguous("disk"), True)]
        bench.append("a:1")
        began = bench.runtime.monotonic()
        await waiter.next(30)
        assert bench.runtime.monotonic() - began < 5


async def test_poison_is_reported_once(bench: ReadBench) -> None:
    """A dead letter is an event for the people on duty; what parks behind it is not."""
    bench.append("bad a:1", "a:2", "a:3")
    await passing(1)
    assert [facts["reason"] for what, facts in bench.observer.changes if what == "dead_letter"] == ["corrupt"]
    assert bench.observer.counts["events_held"] == 3


async def test_a_gap_and_a_late_event_are_alarmed(bench: ReadBench) -> None:
    """Both mean that something is wrong outside."""
    bench.append("a:1", "a:3", "a:2")
    await passing(1)
    assert bench.observer.names.count("projection.gaps") == 1
    assert bench.observer.names.count("projection.late") == 1


async def test_only_what_was_gained_is_sought(bench: ReadBench) -> None:
    """A partition that stays here through a rebalance reads on without a break."""
    bench.append("a:1", "b:1", "c:1", "d:1")
    await passing(1)
    seeks = len(bench.source.seeks)
    bench.log.grow(4)
    await passing(1)
    assert bench.source.seeks[seeks:] == [{3: 0}]


async def test_what_was_lost_is_not_sought_again(bench: ReadBench) -> None:
    """Trouble after a rebalance concerns only what is still ours."""
    bench.source.revoke(1)
    await passing(1)
    assert bench.consumer.assigned == {0, 2}
    seeks = len(bench.source.seeks)
    bench.views.commit_faults = [StalePosition()]
    bench.append(*[f"{name}:1" for name in "abcdefgh"])
    await passing(1)
    assert [sorted(positions) for positions in bench.source.seeks[seeks:]] == [[0, 2]]
    assert bench.observer.names.count("consumer.assigned") == 2
