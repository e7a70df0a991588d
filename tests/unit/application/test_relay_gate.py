"""The gate of the relay: it closes when nothing can be delivered, says why, and opens as soon as something can."""

import pytest

from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import OutboxSummary
from ordering.application.outage_gate import BacklogLimits, OutageGate, OutagePolicy
from tests.unit.application.relay_bench import RelayBench
from tests.unit.application.runtime import VirtualRuntime, passing


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> RelayBench:
    """A relay that has found its broker."""
    bench = RelayBench(runtime).start()
    await passing(1)
    return bench


async def test_the_gate_is_closed_until_the_broker_was_reached(runtime: VirtualRuntime) -> None:
    """A service that never saw its broker takes nothing."""
    bench = RelayBench(runtime)
    bench.publisher.unavailable = "connection refused"
    bench.start()
    assert bench.closed is not None
    await passing(10)
    assert bench.closed is not None
    assert "connection refused" in bench.closed
    with pytest.raises(BrokerUnavailable):
        bench.gate.check()
    bench.publisher.unavailable = None
    await passing(1)
    assert bench.closed is None


async def test_the_gate_closes_on_the_first_failure_and_reopens_by_the_probe_alone(bench: RelayBench) -> None:
    """An outage is known at once; its end is noticed without any traffic, and what waited is published."""
    bench.publisher.unavailable = "all brokers down"
    await bench.commit("a")
    await passing(0.01)
    assert bench.closed == "all brokers down"
    await passing(20)
    assert bench.closed is not None
    bench.publisher.unavailable = None
    await passing(1.1)
    assert bench.closed is None
    assert bench.logged("a") == [1]


async def test_the_gate_closes_when_the_registry_cannot_be_asked(bench: RelayBench) -> None:
    """No schema id, no delivery."""
    bench.schemas.unavailable = True
    await bench.commit("a")
    await passing(0.1)
    assert bench.closed is not None
    bench.schemas.unavailable = False
    await passing(1.1)
    assert bench.closed is None
    assert bench.logged("a") == [1]


async def test_the_gate_closes_when_an_event_waits_longer_than_five_seconds(bench: RelayBench) -> None:
    """A broker that takes records and never answers is an outage, too."""
    bench.publisher.seconds = 8
    await bench.commit("a")
    await passing(4.9)
    assert bench.closed is None
    await passing(0.7)
    assert bench.closed is not None
    assert "waiting for delivery" in bench.closed
    assert bench.lease.told[-1] == bench.closed
    await passing(3)
    assert bench.closed is None


async def test_the_gate_opens_with_the_acknowledgement_not_with_the_next_tick(bench: RelayBench) -> None:
    """Clients that were refused until a late acknowledgement came are not refused any longer than that."""
    bench.publisher.seconds = 8.2
    await bench.commit("a")
    await passing(7)
    assert bench.closed is not None
    while not bench.logged("a"):
        await passing(0.01)
    assert bench.closed is None


async def test_an_old_event_is_no_outage_for_a_relay_that_just_saw_it(runtime: VirtualRuntime) -> None:
    """Age counts from when this relay first saw the event: a restart after a day does not refuse for that, nor while
    the event is under way."""
    bench = RelayBench(runtime)
    bench.start()
    bench.running.cancel()
    await bench.commit("a", offered=False)
    await passing(86_400)
    bench.publisher.seconds = 3
    bench.start()
    await passing(2)
    assert bench.publisher.batches == [["a:1"]]
    assert bench.logged("a") == []
    assert bench.closed is None


async def test_an_event_published_by_another_relay_does_not_keep_the_gate_closed(bench: RelayBench) -> None:
    """We could not send it, the former leader's late acknowledgement marked it: there is nothing left to wait for."""
    bench.publisher.unavailable = "all brokers down"
    await bench.commit("a")
    await passing(1)
    await bench.store.mark_published([("a", 1)])
    bench.publisher.unavailable = None
    await passing(20)
    assert bench.closed is None


async def test_accepting_goes_on_during_an_outage_until_the_backlog_limit(runtime: VirtualRuntime) -> None:
    """ACCEPT: the broker's absence is no reason to refuse, a full backlog is; all of it is published later."""
    bench = RelayBench(runtime, policy=OutagePolicy.ACCEPT, backlog=BacklogLimits(events=3))
    bench.publisher.unavailable = "connection refused"
    bench.start()
    await passing(1)
    assert bench.closed is None
    assert bench.gate.undeliverable is not None
    for _ in range(3):
        await bench.commit("a")
    await passing(1)
    assert bench.closed == "3 events wait for delivery, the limit is 3"
    bench.publisher.unavailable = None
    await passing(5)
    assert bench.closed is None
    assert bench.logged("a") == [1, 2, 3]


async def test_a_broker_that_hangs_does_not_hide_the_backlog(runtime: VirtualRuntime) -> None:
    """Probing may take as long as it likes: the limit is kept meanwhile."""
    bench = RelayBench(runtime, policy=OutagePolicy.ACCEPT, backlog=BacklogLimits(events=2))

    async def hangs() -> None:
        await runtime.sleep(3600)

    bench.publisher.probe = hangs  # type: ignore[method-assign]
    bench.start()
    await passing(1)
    await bench.commit("a")
    await bench.commit("b")
    await passing(0.2)
    assert bench.closed == "2 events wait for delivery, the limit is 2"


async def test_a_disk_nobody_can_ask_counts_as_full(runtime: VirtualRuntime) -> None:
    """The folder may be gone; the relay lives on."""

    def gone() -> int:
        raise FileNotFoundError("data")

    gate = OutageGate(OutagePolicy.ACCEPT, BacklogLimits(), gone)
    gate.judge_backlog(OutboxSummary(0, 0, None), 0)
    assert gate.closed == "nobody can tell how much is free on the disk: data"


async def test_the_backlog_is_limited_by_age_and_by_free_disk(runtime: VirtualRuntime) -> None:
    """The oldest event's age and the free bytes close the gate as well, and open it again."""
    bench = RelayBench(runtime, policy=OutagePolicy.ACCEPT, backlog=BacklogLimits(seconds=60, free_bytes=1000 << 20))
    bench.publisher.unavailable = "connection refused"
    bench.start()
    await bench.commit("a")
    await passing(50)
    assert bench.closed is None
    await passing(15)
    assert bench.closed is not None
    assert "the limit is 60 s" in bench.closed
    bench.publisher.unavailable = None
    await passing(3)
    assert bench.closed is None
    bench.free_bytes = (1000 << 20) - 1
    await passing(1)
    assert bench.closed == "less than 1,000 MiB are free on the store's disk"
    bench.free_bytes = 1000 << 20
    await passing(1)
    assert bench.closed is None


async def test_a_topic_that_grew_keeps_its_recorded_partition_count(bench: RelayBench) -> None:
    """Keys stay where they are for ever; people are told."""
    await bench.commit("a")
    await passing(0.5)
    bench.running.cancel()
    bench.log.grow(7)
    bench.start()
    await passing(1)
    await bench.commit("a")
    await passing(1)
    assert [len(records) for records in bench.log.partitions].count(2) == 1
    assert ("topic.partitions_differ", {"topic": "things", "recorded": 3, "found": 7}) in bench.observer.changes
