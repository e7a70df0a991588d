"""``ensure`` and ``describe`` on a real broker."""

from collections.abc import Iterator

import pytest

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.topics import describe, ensure
from ordering.application.failures import BrokerUnavailable, Refused
from tests.services.fixtures import GivenKafka
from tests.services.kafka import Kafka
from tests.services.topics import Topics
from tests.services.unhurried import give_brokers_time

pytestmark = [pytest.mark.process, pytest.mark.slow]

TOPIC = "ensured-events"


@pytest.fixture
def broker(kafka: Kafka | GivenKafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Topics]:
    """A real broker without the topic, which may take its time."""
    give_brokers_time(monkeypatch)
    found = Topics(kafka.bootstrap)
    found.delete(TOPIC)
    yield found
    found.delete(TOPIC)


async def test_a_topic_is_planned_then_made_then_left_alone(broker: Topics) -> None:
    """A dry run changes nothing; the second real one finds nothing to do."""
    connection = KafkaConnection(broker.bootstrap)
    plan = await ensure(connection, TOPIC, 3, 1, dry_run=True)
    assert (plan.found, plan.carried_out) == (None, False)
    assert plan.changes[0] == f"create topic {TOPIC} with 3 partitions, replication 1"
    assert await describe(connection, TOPIC) is None
    assert (await ensure(connection, TOPIC, 3, 1, dry_run=False)).changes == plan.changes
    made = await describe(connection, TOPIC)
    assert made is not None
    assert (made.partitions, made.replication) == (3, 1)
    assert made.settings["retention.ms"] == "-1"
    assert made.settings["cleanup.policy"] == "delete"
    again = await ensure(connection, TOPIC, 3, 1, dry_run=False)
    assert (again.found, again.changes, again.differences) == (made, (), ())


async def test_settings_are_put_right_and_partitions_only_when_that_is_asked_for(broker: Topics) -> None:
    """Never fewer, and other copies are somebody else's work."""
    broker.create(TOPIC, 3, retention_ms="1000", cleanup_policy="compact")
    connection = KafkaConnection(broker.bootstrap)
    plan = await ensure(connection, TOPIC, 6, 2, dry_run=False)
    assert "set retention.ms from 1000 to -1" in plan.changes
    assert "set cleanup.policy from compact to delete" in plan.changes
    assert [line.split(":")[0] for line in plan.differences] == [
        "it has 3 partitions, not 6",
        "its replication is 1, not 2",
    ]
    found = await describe(connection, TOPIC)
    assert found is not None
    assert (found.partitions, found.settings["retention.ms"]) == (3, "-1")
    assert (await ensure(connection, TOPIC, 6, 1, dry_run=False, grow=True)).differences == ()
    grown = await ensure(connection, TOPIC, 2, 1, dry_run=False, grow=True)
    assert grown.differences == ("it has 6 partitions, not 2: Kafka cannot remove any",)


async def test_no_more_copies_have_to_be_in_sync_than_there_are(broker: Topics) -> None:
    """Else a topic takes nothing, or nothing without all of them; what was set so is put right."""
    broker.create(TOPIC, 1, min_insync_replicas="2")
    plan = await ensure(KafkaConnection(broker.bootstrap), TOPIC, 1, 3, dry_run=False)
    assert "set min.insync.replicas from 2 to 1" in plan.changes
    assert [line.split(":")[0] for line in plan.differences] == ["its replication is 1, not 3"]
    assert (await ensure(KafkaConnection(broker.bootstrap), TOPIC, 1, 3, dry_run=True)).changes == ()


async def test_what_the_broker_does_not_take_is_refused_in_one_line(broker: Topics) -> None:
    """Here: more copies than there are brokers."""
    with pytest.raises(Refused, match="the broker refuses: ") as refusal:
        await ensure(KafkaConnection(broker.bootstrap), TOPIC, 3, 3, dry_run=False)
    assert "\n" not in str(refusal.value)


async def test_a_broker_that_is_away_is_told_as_such() -> None:
    """After a bounded time."""
    with pytest.raises(BrokerUnavailable):
        await describe(KafkaConnection("127.0.0.1:1"), TOPIC)
