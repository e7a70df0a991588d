"""Questions about a topic while its partitions change their leaders."""

import pytest

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.inquiries import Inquiries
from tests.services.mock_cluster import Api, BrokerError, MockCluster
from tests.services.unhurried import give_brokers_time

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "answer",
    [BrokerError.NOT_LEADER_FOR_PARTITION, BrokerError.FENCED_LEADER_EPOCH, BrokerError.UNKNOWN_LEADER_EPOCH],
)
async def test_a_leader_that_changes_is_no_outage(monkeypatch: pytest.MonkeyPatch, answer: BrokerError) -> None:
    """What passes by itself is asked again within the time that an answer has."""
    give_brokers_time(monkeypatch)
    cluster = MockCluster()
    try:
        cluster.create_topic("order-events", 3)
        asked = Inquiries(KafkaConnection(cluster.bootstrap), "order-events")
        await asked.facts()
        cluster.answer(Api.LIST_OFFSETS, *[answer] * 2)
        assert await asked.ends(range(3)) == {0: 0, 1: 0, 2: 0}
        await asked.close()
    finally:
        cluster.close()
