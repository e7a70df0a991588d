"""The Kafka publisher in trouble, made by librdkafka's mock cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from ordering.adapters.kafka import publisher as kafka_publisher
from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.application.failures import BrokerUnavailable, Refused
from ordering.application.messages import Acked, OutgoingRecord, Rejected, Unsent
from tests.services.mock_cluster import Api, BrokerError, MockCluster
from tests.services.reading import log_of

pytestmark = [pytest.mark.process, pytest.mark.slow]

TOPIC = "order-events"
PATIENCE = 120.0
"""Far longer than anything here takes, even on a loaded machine."""


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """One broker with a topic of three partitions."""
    found = MockCluster()
    found.create_topic(TOPIC, 3)
    yield found
    found.close()


@pytest.fixture
async def publisher(cluster: MockCluster) -> AsyncIterator[KafkaPublisher]:
    """A publisher that has delivered to every partition before the trouble begins."""
    found = KafkaPublisher(KafkaConnection(cluster.bootstrap), TOPIC)
    await until_probed(found)
    assert await found.publish([record(partition, b"first") for partition in range(3)]) == [Acked(0)] * 3
    yield found
    await found.close()


def record(partition: int, key: bytes, value: bytes = b"v") -> OutgoingRecord:
    return OutgoingRecord(TOPIC, partition, key, value, (("ce_id", b"1"),), 1_700_000_000_000)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 -- no event tells it
            await asyncio.sleep(0.01)


async def until_probed(publisher: KafkaPublisher) -> None:
    """Wait until a probe succeeds, as the relay does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await publisher.probe()
            except BrokerUnavailable:
                await asyncio.sleep(0.1)


async def until_told(publisher: KafkaPublisher, reason: str) -> None:
    """Wait until a probe fails with this reason; before it knows it, it may only say that it takes too long."""
    told = ""
    async with asyncio.timeout(PATIENCE):
        while told != reason:
            assert told in {"", "the broker does not answer in time"}
            with pytest.raises(BrokerUnavailable) as refusal:
                await publisher.probe()
            told = refusal.value.reason


def in_one_request(count: int, seconds: float = 20.0) -> dict[str, str]:
    """Options by which the client sends so many records at once as soon as it has them, however slowly they come.

    ``seconds`` is the longest that they may take, and what fewer of them wait for.
    """
    return {"linger.ms": f"{seconds * 1_000:.0f}", "batch.num.messages": f"{count}"}


async def test_a_lost_acknowledgement_is_asked_for_again(cluster: MockCluster) -> None:
    """The record was written; the client repeats it and gets an answer. (This broker keeps the repetition, too.)"""
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap, {"request.timeout.ms": "500"}), TOPIC)
    await until_probed(publisher)
    cluster.answer_late(Api.PRODUCE, 5_000)
    assert [type(result) for result in await publisher.publish([record(0, b"k")])] == [Acked]
    await publisher.close()
    assert set(log_of(cluster.bootstrap, TOPIC, 0)) == {b"k"}


async def test_a_record_that_was_written_but_never_confirmed_is_unsent(cluster: MockCluster) -> None:
    """It may be in the log or not, and only that is said. (On a slow machine it is not sent at all in the time it has,
    and tried again; or the client itself sends it again, so that one late answer would not do.)"""
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap), TOPIC, message_timeout_seconds=1.0)
    await until_probed(publisher)
    cluster.answer_late(Api.PRODUCE, *[3_600_000] * 200)
    async with asyncio.timeout(PATIENCE):
        while not log_of(cluster.bootstrap, TOPIC, 0):
            assert await publisher.publish([record(0, b"k")]) == [Unsent("the broker has not confirmed in time")]
    await publisher.close()


async def test_too_few_replicas_are_waited_for(cluster: MockCluster) -> None:
    """The client repeats by itself, and nothing is written twice or out of order. (One request: this broker, other than
    a real one, would not mind if a second request of the producer overtook the one that it refused.)"""
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap, in_one_request(5)), TOPIC)
    await until_probed(publisher)
    cluster.answer(Api.PRODUCE, *[BrokerError.NOT_ENOUGH_REPLICAS] * 2)
    results = await publisher.publish([record(0, b"%d" % number) for number in range(5)])
    assert results == [Acked(offset) for offset in range(5)]
    await publisher.close()
    assert log_of(cluster.bootstrap, TOPIC, 0) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_record_that_is_only_said_to_be_delivered_is_sent_again(cluster: MockCluster) -> None:
    """The broker refuses the first request and takes the second; the client then reports both, the first without an
    offset, and forgets it."""
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap, {"batch.num.messages": "1"}), TOPIC)
    await until_probed(publisher)
    cluster.slow_down(500)  # so that both are under way at once
    for partition in range(3):
        cluster.answer(Api.PRODUCE, BrokerError.NOT_LEADER_FOR_PARTITION)
        results = await publisher.publish([record(partition, b"refused"), record(partition, b"taken")])
        if results != [Acked(0), Acked(1)]:  # else the client got to the second only after the first was refused
            break
    assert results == [Acked(1), Acked(0)]
    await publisher.close()
    cluster.slow_down(0)
    assert log_of(cluster.bootstrap, TOPIC, partition) == [b"taken", b"refused"]


async def test_a_refusal_of_a_whole_request_parks_only_the_record_that_is_too_large(cluster: MockCluster) -> None:
    """The broker refuses what the client sent in one piece; alone, the small ones pass."""
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap, in_one_request(3, 1.0)), TOPIC)
    await until_probed(publisher)
    large, ok = BrokerError.MESSAGE_TOO_LARGE, BrokerError.NONE
    cluster.answer(Api.PRODUCE, large, ok, large, ok)
    results = await publisher.publish([record(0, b"a"), record(0, b"large"), record(0, b"c")])
    assert results == [Acked(0), Rejected("the record is larger than the broker takes"), Acked(1)]
    await publisher.close()
    assert log_of(cluster.bootstrap, TOPIC, 0) == [b"a", b"c"]


async def test_missing_rights_are_an_outage_until_they_are_given(
    cluster: MockCluster, publisher: KafkaPublisher
) -> None:
    """They keep out the whole topic, so no order is to blame; a probe alone cannot show it, the next record can."""
    cluster.answer(Api.PRODUCE, BrokerError.TOPIC_AUTHORIZATION_FAILED)
    assert await publisher.publish([record(0, b"k")]) == [Unsent("we may not use the topic (authorization)")]
    await until_probed(publisher)
    assert await publisher.publish([record(0, b"k")]) == [Acked(1)]


async def test_a_topic_without_describe_rights_fails_the_probe(cluster: MockCluster, publisher: KafkaPublisher) -> None:
    """With the reason, and it is no outage of the broker."""
    cluster.set_topic_error(TOPIC, BrokerError.TOPIC_AUTHORIZATION_FAILED)
    await until_told(publisher, "topic order-events: we may not use the topic (authorization)")
    cluster.set_topic_error(TOPIC, BrokerError.NONE)
    await until_probed(publisher)


async def test_a_producer_that_lost_its_sequence_is_replaced_and_nothing_is_lost(cluster: MockCluster) -> None:
    """Twenty times, each within five seconds, with records under way in every partition."""
    reasons: list[str] = []
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap), TOPIC, replaced=reasons.append)
    await until_probed(publisher)
    for number in range(20):
        cluster.answer(Api.PRODUCE, BrokerError.OUT_OF_ORDER_SEQUENCE_NUMBER)
        unsent = [record(partition, b"%d" % number) for partition in range(3)]
        async with asyncio.timeout(PATIENCE):
            while unsent:  # what the relay does: whatever is not acknowledged is sent again
                await asyncio.sleep(0)  # a producer that takes nothing answers at once: the time-out has its turn
                results = await publisher.publish(unsent)
                assert not [result for result in results if isinstance(result, Rejected)]
                unsent = [one for one, result in zip(unsent, results, strict=True) if not isinstance(result, Acked)]
        assert len(reasons) == number + 1
    await publisher.close()
    for partition in range(3):
        found = log_of(cluster.bootstrap, TOPIC, partition)
        assert list(dict.fromkeys(found)) == [b"%d" % number for number in range(20)]


async def test_a_broker_that_goes_down_is_noticed_without_traffic_and_one_that_comes_back_by_the_probe(
    cluster: MockCluster, publisher: KafkaPublisher
) -> None:
    """What is under way meanwhile arrives by itself."""
    assert publisher.outage is None
    cluster.go_down()
    await until(lambda: publisher.outage is not None)
    assert publisher.outage == "no broker can be reached"
    await until_told(publisher, "no broker can be reached")
    waiting = asyncio.create_task(publisher.publish([record(0, b"waited")]))
    cluster.come_up()
    await until_probed(publisher)
    assert publisher.outage is None
    assert await waiting == [Acked(1)]


async def test_a_connection_that_was_only_idle_is_no_outage(
    cluster: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brokers hang up on idle clients; one that answers at once is not down."""
    monkeypatch.setattr(kafka_publisher, "VERIFY_SECONDS", PATIENCE)  # at once, as fast as this machine is
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap), TOPIC)
    await until_probed(publisher)
    for _ in range(3):
        cluster.go_down()
        cluster.come_up()
        await until_probed(publisher)
    assert publisher.outage is None
    await publisher.close()


async def test_a_broker_that_is_down_at_the_start_is_an_outage() -> None:
    """Making the publisher neither waits nor fails, and closing it does not hang."""
    publisher = KafkaPublisher(KafkaConnection("127.0.0.1:1"), TOPIC)
    await until_told(publisher, "no broker can be reached")
    assert await publisher.publish([record(0, b"k")]) == [Unsent("no broker can be reached")]
    await publisher.close()


async def test_a_broker_that_hangs_fails_every_question_within_a_second(
    cluster: MockCluster, publisher: KafkaPublisher
) -> None:
    """However many ask at once."""
    cluster.slow_down(600_000)
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(publisher.probe() for _ in range(300)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {BrokerUnavailable}
    assert loop.time() - began < PATIENCE  # one second and this machine's noise; 300 in a row would take 240
    cluster.slow_down(0)
    cluster.go_down()  # ends the connection that hangs
    cluster.come_up()
    await until_probed(publisher)  # nothing queued up behind the questions that nobody waits for any more


async def test_a_missing_topic_is_an_outage_until_it_is_made(
    cluster: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not created by asking for it, nor by publishing to it."""
    monkeypatch.setattr(kafka_publisher, "PROBE_SECONDS", PATIENCE)  # so that only the topic can be what is missing
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap), "later")
    later = OutgoingRecord("later", 0, b"k", b"v", (), 1)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="topic later: the topic does not exist"):
            await publisher.probe()
        assert await publisher.publish([later]) == [Unsent("topic later: the topic does not exist")]
    cluster.create_topic("later", 2)
    await until_probed(publisher)
    assert await publisher.partition_count("later") == 2
    assert await publisher.publish([later]) == [Acked(0)]
    await publisher.close()


async def test_a_full_queue_leaves_the_rest_unsent_without_waiting(cluster: MockCluster) -> None:
    """And what the queue took is delivered."""
    connection = KafkaConnection(cluster.bootstrap, {"queue.buffering.max.messages": "10"})
    publisher = KafkaPublisher(connection, TOPIC)
    await until_probed(publisher)
    results = await publisher.publish([record(0, b"%d" % number) for number in range(30)])
    taken = [type(result) for result in results].index(Unsent)
    assert taken >= 10
    assert results[taken:] == [Unsent("too many records are under way")] * (30 - taken)
    await publisher.close()
    assert log_of(cluster.bootstrap, TOPIC, 0) == [b"%d" % number for number in range(taken)]


async def test_closing_on_a_dead_broker_tells_what_was_under_way(cluster: MockCluster) -> None:
    """Within seconds, long before the records would time out."""
    publisher = KafkaPublisher(KafkaConnection(cluster.bootstrap), TOPIC, message_timeout_seconds=3_600.0)
    await until_probed(publisher)
    assert await publisher.publish([record(0, b"first")]) == [Acked(0)]
    cluster.go_down()
    waiting = asyncio.create_task(publisher.publish([record(0, b"k")]))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await publisher.close()
    assert await waiting == [Unsent("the publisher is closed")]
    assert await publisher.publish([record(0, b"k")]) == [Unsent("the publisher is closed")]
    with pytest.raises(BrokerUnavailable, match="closed"):
        await publisher.probe()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"no.such.thing": "1"}, 'Kafka settings: No such configuration property: "no.such.thing"'),
        ({"acks": "1"}, "the Kafka property acks cannot be set: ordering depends on its value"),
        ({"group.id": "x"}, "the Kafka property group.id cannot be set: ordering depends on its value"),
    ],
)
def test_a_property_that_cannot_be_set_is_refused_with_one_line(options: dict[str, str], line: str) -> None:
    """Before anything is connected."""
    with pytest.raises(Refused) as refusal:
        KafkaConnection("127.0.0.1:1", options).check()
    assert str(refusal.value) == line


def test_secrets_are_in_no_text() -> None:
    """Neither of the connection itself nor of what is refused about it."""
    secret = "hunter2"  # noqa: S105 -- what must not be seen again
    options = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "NONE",
        "sasl.password": secret,
        "ssl.key.pem": secret,
    }
    connection = KafkaConnection("127.0.0.1:1", options)
    with pytest.raises(Refused) as refusal:
        connection.check()
    assert secret not in f"{refusal.value}{connection!r}{refusal.value.__cause__}"
