"""The Kafka source where the log or the group changes under it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.kafka.source import KafkaReader, KafkaSource
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import Acked, OutgoingRecord, Record
from ordering.application.partitioning import partition_of
from tests.integration.kafka_members import Member, Source, changed, eventually, publish, until, until_told, working
from tests.services.fixtures import GivenKafka, real
from tests.services.kafka import Kafka
from tests.services.mock_cluster import MockCluster
from tests.services.topics import Topics
from tests.services.unhurried import LONG_SESSION, PATIENCE, give_brokers_time

pytestmark = [pytest.mark.process, pytest.mark.slow]

QUICK = {"fetch.wait.max.ms": "10", **LONG_SESSION}


@pytest.fixture(scope="session")
def topics(kafka: Kafka | GivenKafka) -> Topics:
    """A real broker."""
    return Topics(kafka.bootstrap)


@pytest.fixture
def topic(request: pytest.FixtureRequest, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty topic of three partitions, named after its test, on a broker that is never away: it has all the time
    that it needs, and so have the members of the group."""
    give_brokers_time(monkeypatch)
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:150]
    topics.recreate_topic(name, 3)
    topics.set_session(f"{name}-group", 60.0)
    yield name
    topics.delete(name)


@pytest.fixture
async def opened() -> AsyncIterator[list[Source | KafkaPublisher]]:
    """What a test opens and this closes."""
    found: list[Source | KafkaPublisher] = []
    yield found
    for one in found:
        await one.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_group_of_two_hands_partitions_over_without_losing_or_doubling(
    topics: Topics, topic: str, protocol: str, opened: list[Source | KafkaPublisher]
) -> None:
    """A member joins in the middle and leaves again; what each applied is told apart by the positions only."""
    connection = KafkaConnection(topics.bootstrap, QUICK)
    sources = [KafkaSource(connection, f"{topic}-group", topic, lambda: 0, protocol=protocol) for _ in range(2)]
    opened += sources
    positions: dict[int, int] = {}
    seen: list[Record] = []
    first, second = (Member(source, positions, seen) for source in sources)
    await publish(topics.bootstrap, topic, {0: 300, 1: 300, 2: 300})
    await until([first], lambda: first.assigned == {0, 1, 2} and len(seen) >= 100)
    await until([first, second], lambda: bool(second.assigned) and len(first.assigned) + len(second.assigned) == 3)
    await publish(topics.bootstrap, topic, {0: 300, 1: 300, 2: 300})
    await until([first, second], lambda: len(seen) == 1800)
    assert first.assigned.isdisjoint(second.assigned)
    await second.source.close()
    await until([first], lambda: first.assigned == {0, 1, 2})  # at once: it said good-bye
    await publish(topics.bootstrap, topic, {0: 10, 1: 10, 2: 10})
    await until([first], lambda: len(seen) == 1830)
    for partition in range(3):
        assert [one.offset for one in seen if one.partition == partition] == list(range(610))


async def test_an_instance_id_that_is_still_taken_is_waited_for(
    topics: Topics, topic: str, opened: list[Source | KafkaPublisher]
) -> None:
    """As after a crash: the broker refuses the id until the former member's session ends, and the client gives up for
    good at the first refusal."""
    connection = KafkaConnection(topics.bootstrap, QUICK)
    former, later = (
        Member(
            KafkaSource(connection, f"{topic}-group", topic, lambda: 0, protocol="consumer", instance_id="a"), {}, []
        )
        for _ in range(2)
    )
    opened += [former.source, later.source]
    await publish(topics.bootstrap, topic, {0: 1})
    await until([former], lambda: former.assigned == {0, 1, 2})
    with pytest.raises(BrokerUnavailable, match="who had our instance id is still in the group"):
        await working(later)
    await former.source.close()
    await until([later], lambda: later.assigned == {0, 1, 2} and len(later.seen) == 1)


@pytest.mark.parametrize("kind", ["classic", "consumer", "reader"])
async def test_a_topic_that_grows_is_consumed(
    topics: Topics, topic: str, kind: str, opened: list[Source | KafkaPublisher]
) -> None:
    """The new partitions are assigned by themselves within seconds."""
    member = Member(make(topics.bootstrap, topic, kind), {}, [])
    opened.append(member.source)
    await until([member], lambda: member.assigned == {0, 1, 2})
    topics.grow(topic, 5)
    await publish(topics.bootstrap, topic, {4: 2})
    await until([member], lambda: len(member.seen) == 2)
    assert member.assigned == {0, 1, 2, 3, 4}
    assert len(await member.source.end_offsets()) == 5


def make(bootstrap: str, topic: str, kind: str) -> Source:
    """A source of each kind."""
    connection = KafkaConnection(bootstrap, QUICK)
    if kind == "reader":
        return KafkaReader(connection, topic, lambda: 0)
    if kind == "range":
        connection = KafkaConnection(bootstrap, {**QUICK, "partition.assignment.strategy": "range"})
    protocol = "consumer" if kind == "consumer" else "classic"
    return KafkaSource(connection, f"{topic}-group", topic, lambda: 0, protocol=protocol)


@pytest.mark.parametrize("kind", ["classic", "consumer", "reader"])
async def test_a_topic_that_was_recreated_stops_its_consumer(
    topics: Topics, topic: str, kind: str, opened: list[Source | KafkaPublisher]
) -> None:
    """For as long as the other topic is there, and every question says the same."""
    await publish(topics.bootstrap, topic, {0: 5})
    member = Member(make(topics.bootstrap, topic, kind), {}, [])
    opened.append(member.source)
    await until([member], lambda: len(member.seen) == 5)
    topics.recreate_topic(topic, 3)
    await publish(topics.bootstrap, topic, {0: 9})
    assert await changed(member) == f"topic {topic} was deleted and created again"
    for question in (member.source.identity, member.source.end_offsets, lambda: member.source.poll(1, 0)):
        with pytest.raises(LogChanged):
            await question()
    assert len(member.seen) == 5


@pytest.mark.parametrize("kind", ["classic", "consumer", "reader"])
async def test_a_position_that_was_trimmed_away_stops_its_consumer(
    topics: Topics, topic: str, kind: str, opened: list[Source | KafkaPublisher]
) -> None:
    """Both when it starts there and when it is overtaken; the alarm names partition, position and range."""
    await publish(topics.bootstrap, topic, {1: 10})
    topics.trim(topic, 1, 6)
    member = Member(make(topics.bootstrap, topic, kind), {1: 4}, [])
    opened.append(member.source)
    assert await changed(member) == f"partition 1 of {topic} begins at 6: the records from position 4 on are gone"


async def test_a_log_tells_where_it_begins(topics: Topics, topic: str, opened: list[Source | KafkaPublisher]) -> None:
    """A partition of which everything was deleted begins at its end."""
    await publish(topics.bootstrap, topic, {0: 3, 1: 10})
    topics.trim(topic, 0, 3)
    topics.trim(topic, 1, 6)
    source = make(topics.bootstrap, topic, "reader")
    opened.append(source)
    assert dict(await source.begin_offsets()) == {0: 3, 1: 6, 2: 0}


@pytest.mark.parametrize("kind", ["classic", "consumer", "range", "reader"])
async def test_a_log_that_lost_only_what_was_read_is_read_on(topics: Topics, topic: str, kind: str) -> None:
    """A partition that has just been assigned may be asked for from its beginning, which is gone; whether it is, is a
    race, so several members come one after the other."""
    await publish(topics.bootstrap, topic, {0: 5, 1: 5, 2: 5})
    for partition in range(3):
        topics.trim(topic, partition, 5)
    positions = {0: 5, 1: 5, 2: 5}
    for number in range(6):
        member = Member(make(topics.bootstrap, topic, kind), positions, [])
        try:
            await until([member], lambda member=member: member.assigned == {0, 1, 2})  # type: ignore[misc]
            await publish(topics.bootstrap, topic, {0: 1, 1: 1, 2: 1})
            await until([member], lambda member=member: len(member.seen) == 3)  # type: ignore[misc]
        finally:
            await member.source.close()
        assert positions == dict.fromkeys(range(3), 6 + number)


async def test_a_position_beyond_the_end_stops_its_consumer(
    topics: Topics, topic: str, opened: list[Source | KafkaPublisher]
) -> None:
    """Kafka itself would wait until the end has passed it, and then silently go on with other records."""
    await publish(topics.bootstrap, topic, {1: 10})
    member = Member(make(topics.bootstrap, topic, "classic"), {1: 11}, [])
    opened.append(member.source)
    assert await changed(member) == f"partition 1 of {topic} ends at 10, before position 11"


async def test_a_topic_that_is_made_later_is_waited_for(
    topics: Topics, topic: str, opened: list[Source | KafkaPublisher]
) -> None:
    """Every question says until then that it does not exist."""
    topics.delete(topic)
    member = Member(make(topics.bootstrap, topic, "classic"), {}, [])
    opened.append(member.source)
    for question in (member.source.identity, member.source.end_offsets, lambda: member.source.poll(1, 0)):
        with pytest.raises(BrokerUnavailable, match="does not exist"):
            await question()
    topics.create(topic, 3)
    await publish(topics.bootstrap, topic, {2: 3})
    await until([member], lambda: len(member.seen) == 3)


async def test_a_slow_application_keeps_its_partitions_and_gets_every_record_once(
    topics: Topics, topic: str, opened: list[Source | KafkaPublisher]
) -> None:
    """It does not poll for longer than Kafka allows a member to be silent, with more waiting than is fetched ahead."""
    await publish(topics.bootstrap, topic, {0: 4_000, 1: 4_000, 2: 4_000})
    options = {**QUICK, "max.poll.interval.ms": "10000", "session.timeout.ms": "10000"}
    source = KafkaSource(KafkaConnection(topics.bootstrap, options), f"{topic}-group", topic, lambda: 0)
    opened.append(source)
    member = Member(source, {}, [])
    await until([member], lambda: len(member.seen) > 0)
    await asyncio.sleep(12)
    await until([member], lambda: len(member.seen) == 12_000)
    assert member.assigned == {0, 1, 2}
    assert member.lost == set()
    for partition in range(3):
        assert [one.offset for one in member.seen if one.partition == partition] == list(range(4_000))


async def test_the_broker_is_told_how_far_a_group_is(
    topics: Topics, topic: str, opened: list[Source | KafkaPublisher]
) -> None:
    """So that its own tools show the truth; a member that leaves tells its last position."""
    await publish(topics.bootstrap, topic, {0: 7, 1: 3})
    member = Member(make(topics.bootstrap, topic, "classic"), {}, [])
    opened.append(member.source)
    await until([member], lambda: len(member.seen) == 10)
    await member.source.close()
    async with asyncio.timeout(PATIENCE):  # closing waits a few seconds for the broker, which may need more
        while await asyncio.to_thread(topics.committed, f"{topic}-group", topic) != {0: 7, 1: 3}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_broker_that_goes_away_is_waited_for(opened: list[Source | KafkaPublisher]) -> None:
    """Every poll says so meanwhile; closing does not hang; then it goes on where it was."""
    cluster = MockCluster()
    try:
        cluster.create_topic("order-events", 3)
        await publish(cluster.bootstrap, "order-events", {0: 5})
        member = Member(make(cluster.bootstrap, "order-events", "consumer"), {}, [])
        opened.append(member.source)
        await until([member], lambda: len(member.seen) == 5)
        cluster.go_down()
        await until_told(member, "no broker can be reached")
        cluster.come_up()
        await publish(cluster.bootstrap, "order-events", {0: 5})
        await until([member], lambda: len(member.seen) == 10)
        cluster.go_down()
        async with asyncio.timeout(PATIENCE):
            await member.source.close()
    finally:
        cluster.close()


async def test_a_killed_broker_comes_back_and_nothing_is_lost(opened: list[Source | KafkaPublisher]) -> None:
    """Publisher and member notice both within seconds; what was under way arrives."""
    with real(Kafka) as broker:
        Topics(broker.bootstrap).create("order-events", 3)
        publisher = KafkaPublisher(KafkaConnection(broker.bootstrap), "order-events")
        member = Member(make(broker.bootstrap, "order-events", "classic"), {}, [])
        opened += [publisher, member.source]
        await eventually(publisher.probe)
        await publisher.publish([OutgoingRecord("order-events", 0, b"before", b"v", (), 1)])
        await until([member], lambda: len(member.seen) == 1)
        await asyncio.to_thread(broker.kill)
        async with asyncio.timeout(PATIENCE):
            while publisher.outage is None:  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.02)
        under_way = asyncio.create_task(
            publisher.publish([OutgoingRecord("order-events", 0, b"meanwhile", b"v", (), 1)])
        )
        with pytest.raises(BrokerUnavailable):
            await working(member)
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(PATIENCE):
            while publisher.outage is not None:  # what was heard before the answer may be looked into once more
                await eventually(publisher.probe)
        (result,) = await under_way
        if not isinstance(result, Acked):
            await publisher.publish([OutgoingRecord("order-events", 0, b"meanwhile", b"v", (), 1)])
        await until([member], lambda: member.seen[-1].key == b"meanwhile")


async def test_a_record_over_the_topics_limit_is_rejected_alone(
    topics: Topics, topic: str, opened: list[Source | KafkaPublisher]
) -> None:
    """Whatever else the client put into the same request."""
    topics.delete(topic)
    topics.create(topic, 1, max_message_bytes="10000")
    publisher = KafkaPublisher(KafkaConnection(topics.bootstrap, {"linger.ms": "50"}), topic)
    opened.append(publisher)
    sizes = [10, 20_000, 10, 10]
    results = await publisher.publish([OutgoingRecord(topic, 0, b"k", bytes(size), (), 1) for size in sizes])
    assert [type(result).__name__ for result in results] == ["Acked", "Rejected", "Acked", "Acked"]


def java_producer(broker: Kafka, topic: str, lines: bytes) -> None:
    """Write keys and values, a tab between them, with Kafka's console producer."""
    subprocess.run(
        [
            *broker._command("256m"),
            "org.apache.kafka.tools.ConsoleProducer",
            *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--reader-property", "parse.key=true"),
        ],
        input=lines,
        check=True,
        timeout=PATIENCE,
        capture_output=True,
    )


async def test_keys_land_where_javas_producer_puts_them(topic: str, kafka: Kafka | GivenKafka) -> None:
    """A thousand keys through Kafka's own console producer, with its default partitioner."""
    if isinstance(kafka, GivenKafka):
        pytest.skip("Java's producer: needs our own Kafka, not the one of compose")
    keys = [f"ORD-{number:05d}-{'é' * (number % 4)}" for number in range(1_000)]
    lines = "".join(f"{key}\tv\n" for key in keys).encode()
    await asyncio.to_thread(java_producer, kafka, topic, lines)
    member = Member(make(kafka.bootstrap, topic, "reader"), {}, [])
    await until([member], lambda: len(member.seen) == len(keys))
    await member.source.close()
    assert {(one.key or b"").decode(): one.partition for one in member.seen} == {
        key: partition_of(key.encode(), 3) for key in keys
    }
