"""Several instances and a real broker's ways: nudges, hang-ups, refusals that a probe does not see, growth."""

import pytest

from ordering.application.failures import BrokerUnavailable, LogChanged, Refused, StoreUnavailable
from ordering.application.messages import OutgoingRecord, PublishResult, Unsent
from ordering.application.outage_gate import OutagePolicy
from ordering.application.partitioning import Places, partition_of
from ordering.application.relay_limits import RelayLimits
from tests.unit.application.relay_bench import RelayBench
from tests.unit.application.runtime import VirtualRuntime, passing


@pytest.fixture
async def bench(runtime: VirtualRuntime) -> RelayBench:
    """A relay that has found its broker."""
    bench = RelayBench(runtime).start()
    await passing(1)
    return bench


async def test_what_another_instance_commits_is_published_at_its_nudge(bench: RelayBench) -> None:
    """Not at the next sweep, a second later."""
    await bench.commit("a", offered=False)
    await passing(0.1)
    assert bench.publisher.batches == []
    bench.lease.wake()
    await passing(0.1)
    assert bench.publisher.batches == [["a:1"]]


async def test_an_instance_without_the_lease_nudges_the_holder(runtime: VirtualRuntime) -> None:
    """Once for a burst of commits, and again for the next one."""
    bench = RelayBench(runtime)
    bench.lease.mine = False
    bench.start()
    await passing(1)
    await bench.commit("a")
    await bench.commit("b", "c")
    await passing(0.1)
    assert bench.lease.nudged == 1
    await bench.commit("d")
    await passing(0.1)
    assert bench.lease.nudged == 2
    assert bench.publisher.batches == []


async def test_the_holder_nudges_nobody(bench: RelayBench) -> None:
    """It publishes by itself."""
    await bench.commit("a")
    await passing(1)
    assert bench.lease.nudged == 0


async def test_a_broker_that_hung_up_closes_the_gate_without_any_traffic(bench: RelayBench) -> None:
    """Nobody has to lose an event first to find out; the probe opens it again."""
    bench.publisher.unavailable = "all brokers hung up"
    await passing(0.6)
    assert bench.closed == "all brokers hung up"
    assert "relay.outage" in bench.observer.names
    bench.publisher.unavailable = None
    await passing(0.6)
    assert bench.closed is None


async def test_a_hung_up_broker_is_the_holders_business(bench: RelayBench) -> None:
    """Another instance may reach it: its word counts while it holds the lease."""
    bench.lease.mine = False
    await passing(1)
    bench.publisher.unavailable = "all brokers hung up"
    await passing(1)
    assert bench.closed is None


async def test_a_holder_that_cannot_deliver_lets_others_try(runtime: VirtualRuntime) -> None:
    """Only its own network may be down: it gives the lease back after five seconds, and follows whoever takes it."""
    bench = RelayBench(runtime)
    bench.publisher.unavailable = "connection refused"
    bench.start()
    await passing(4)
    assert bench.relay.leading
    await passing(2)
    assert not bench.relay.leading
    assert bench.lease.given_back
    bench.lease.mine, bench.lease.given_back = False, False  # another instance has taken it, and can deliver
    await passing(1)
    assert bench.closed is None
    await passing(10)
    assert not bench.relay.leading


async def test_an_only_holder_takes_the_lease_again(runtime: VirtualRuntime) -> None:
    """Nobody else wanted it: the outage goes on, with its reason, and this is no news every eight seconds."""
    bench = RelayBench(runtime)
    bench.publisher.unavailable = "connection refused"
    bench.start()
    led = []
    for _ in range(200):
        await passing(0.1)
        assert bench.closed is not None
        led.append(bench.relay.leading)
        if len(led) > 10:
            assert "connection refused" in bench.closed
    assert 60 < led.count(True) < 160
    assert bench.observer.names.count("relay.leading") == 1
    bench.publisher.unavailable = None
    await passing(0.6)
    assert bench.relay.leading
    assert bench.closed is None


async def test_a_broker_that_answers_but_refuses_events_stays_an_outage(bench: RelayBench) -> None:
    """The probe succeeds (a missing permission to write shows only in a write), so the event that waits is the proof:
    the gate does not open in between, and opens with its acknowledgement."""

    def forbidden(_record: OutgoingRecord) -> PublishResult:
        return Unsent("not authorised to write to the topic")

    bench.publisher.verdict = forbidden
    await bench.commit("a")
    for _ in range(40):
        await passing(0.1)
        assert bench.closed is not None
    assert len(bench.publisher.batches) >= 4  # it goes on trying
    bench.publisher.verdict = lambda _record: None
    await passing(1.1)
    assert bench.closed is None
    assert bench.logged("a") == [1]


async def test_doubt_ends_with_the_event_that_caused_it(bench: RelayBench) -> None:
    """Another relay delivered it, so nothing is left to try with: the broker's answer to the probe counts again."""
    bench.publisher.verdict = lambda _record: Unsent("not authorised to write to the topic")
    await bench.commit("a")
    await passing(1)
    assert bench.closed is not None
    await bench.store.mark_published([("a", 1)])
    await passing(3)
    assert bench.closed is None


async def test_a_topic_that_grows_while_the_relay_runs_is_told_once(runtime: VirtualRuntime) -> None:
    """A warning, and nothing moves."""
    bench = RelayBench(runtime, limits=RelayLimits(recount_seconds=2)).start()
    await passing(1)
    await bench.commit(*[f"k{number}" for number in range(20)])
    bench.log.grow(6)
    await passing(7)
    assert bench.observer.changes.count(
        ("topic.partitions_differ", {"topic": "things", "recorded": 3, "found": 6})
    ) == 1  # fmt: skip
    await bench.commit(*[f"n{number}" for number in range(20)])
    await passing(0.1)
    assert not any(bench.log.partitions[3:])
    bench.log.grow(8)
    await passing(3)
    assert bench.observer.names.count("topic.partitions_differ") == 2


async def test_growth_cannot_be_asked_during_an_outage_and_that_harms_nothing(runtime: VirtualRuntime) -> None:
    """The count is only news; deliveries tell whether there is trouble."""
    bench = RelayBench(runtime, limits=RelayLimits(recount_seconds=0.1), policy=OutagePolicy.ACCEPT).start()
    await passing(1)
    bench.publisher.unavailable = "all brokers hung up"
    await passing(3)
    await bench.commit("a")
    bench.publisher.unavailable = None
    await passing(2)
    assert bench.logged("a") == [1]
    assert not bench.running.done()


async def test_what_comes_while_a_batch_is_under_way_goes_in_one(runtime: VirtualRuntime) -> None:
    """Not in as many as may be under way at once: small requests cost a broker and its client most."""
    bench = RelayBench(runtime, limits=RelayLimits(publishes_at_once=4)).start()
    await passing(1)
    bench.publisher.seconds = 0.03
    for name in "abcde":
        await bench.commit(name)
        await passing(0.001)
    await passing(0.2)
    assert bench.publisher.batches == [["a:1"], ["b:1", "c:1", "d:1", "e:1"]]


async def test_a_batch_that_stalls_holds_up_only_itself(runtime: VirtualRuntime) -> None:
    """Others go beside it, as many as are allowed, each key still one after the other."""
    bench = RelayBench(runtime, limits=RelayLimits(publishes_at_once=3)).start()
    await passing(1)
    bench.publisher.seconds = 4
    for name in ("a", "b", "c", "d", "a"):
        await bench.commit(name)
        await passing(0.1)
    assert bench.publisher.batches == [["a:1"], ["b:1"], ["c:1"]]
    await passing(4)
    assert bench.publisher.batches[3:] == [["d:1", "a:2"]]
    await passing(5)
    assert bench.logged("a") == [1, 2]
    assert await bench.unpublished() == []


# ------------------------------------------------------------------ the check at start


class StartCheck:
    """Asked before anything is published; ``trouble`` is what it raises."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.asked = 0

        self.places: Places = ()

    async def __call__(self) -> Places:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return self.places


async def left_by_an_earlier_life(bench: RelayBench) -> None:
    """An event that was stored and not published."""
    await bench.commit("a", offered=False)


@pytest.mark.parametrize("policy", OutagePolicy)
async def test_nothing_is_published_and_taken_by_a_relay_whose_store_is_behind(
    runtime: VirtualRuntime, policy: OutagePolicy
) -> None:
    """It ends with the reason, whatever the policy says about outages; what waits stays where it is."""
    bench = RelayBench(runtime, policy=policy, start_check=StartCheck(Refused("the store is older than the log")))
    await left_by_an_earlier_life(bench)
    bench.start()
    assert bench.closed is not None
    await passing(5)

    assert bench.running.done()
    assert isinstance(bench.running.exception(), Refused)
    assert bench.closed is not None
    assert bench.publisher.batches == []


@pytest.mark.parametrize("trouble", [BrokerUnavailable("away"), StoreUnavailable("away"), LogChanged("another one")])
async def test_a_check_that_cannot_be_made_is_made_later(runtime: VirtualRuntime, trouble: Exception) -> None:
    """Until then it is an outage like any other; after it, never again."""
    check = StartCheck(trouble)
    bench = RelayBench(runtime, start_check=check)
    await left_by_an_earlier_life(bench)
    bench.start()
    await passing(2)
    assert bench.closed is not None
    assert bench.publisher.batches == []
    check.trouble = None
    await passing(2)
    asked = check.asked

    assert bench.closed is None
    assert bench.logged("a") == [1]
    await passing(60)
    assert check.asked == asked


KEYS = [b"k%d" % number for number in range(20)]


@pytest.mark.parametrize("grown", [3, 4, 6, 7])
async def test_a_store_that_has_lost_the_partition_count_takes_it_from_where_events_lie(
    runtime: VirtualRuntime, grown: int
) -> None:
    """A backup from before the first event, or an empty store, beside a topic that has grown: orders stay in their
    partitions."""
    check = StartCheck()
    check.places = [(key, partition_of(key, 3)) for key in KEYS]
    bench = RelayBench(runtime, start_check=check)
    bench.log.grow(grown)
    bench.start()
    await passing(1)
    await bench.commit(*[key.decode() for key in KEYS])
    await passing(1)

    lie = {(record.key, number) for number, records in enumerate(bench.log.partitions) for record in records}
    assert lie == set(check.places)
    assert "topic.keys_misplaced" not in bench.observer.names


async def test_events_that_lie_where_no_partition_count_puts_them_are_told_of(runtime: VirtualRuntime) -> None:
    """Somebody else has published them; what is recorded counts, and so does the topic's number if nothing is."""
    check = StartCheck()
    check.places = [(key, (partition_of(key, 3) + 1) % 3) for key in KEYS]
    bench = RelayBench(runtime, start_check=check).start()
    await passing(1)
    await bench.commit("k1")
    await passing(1)

    told = [facts for name, facts in bench.observer.changes if name == "topic.keys_misplaced"]
    assert told == [{"topic": "things", "recorded": 3, "keys": len(KEYS)}]
    assert len(bench.log.partitions[partition_of(b"k1", 3)]) == 1


async def test_accepting_begins_when_it_is_known_whether_the_log_can_be_reached(runtime: VirtualRuntime) -> None:
    """A broker that is away does not keep changes from being taken, but nobody may be too early for the check."""
    bench = RelayBench(runtime, policy=OutagePolicy.ACCEPT, start_check=StartCheck(BrokerUnavailable("away"))).start()
    assert bench.closed is not None
    await passing(1)

    assert bench.closed is None
