"""Topics of a real broker, by its administration calls."""

import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

SECONDS: Final = 30.0


class Topics:
    """Makes, grows and removes topics at once, as far as the broker's answer tells."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._client = AdminClient({"bootstrap.servers": bootstrap})

    def create(self, topic: str, partitions: int, **config: str) -> None:
        """``config`` holds the topic's settings, with underscores for dots."""
        # Records of other times are kept: a broker's own retention would soon delete them.
        settings = {"retention.ms": "-1"} | {name.replace("_", "."): value for name, value in config.items()}
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self._client.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(SECONDS)
                break
            except KafkaException as failure:  # the broker may still be removing an older one of this name
                exists = failure.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
                if not exists or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

        self._await_leaders(topic, partitions, deadline)

    def _await_leaders(self, topic: str, partitions: int, deadline: float) -> None:
        """A topic is known a moment before its partitions have somebody who answers for them."""
        places = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
        while True:
            try:
                self._client.list_topics(topic, timeout=SECONDS)  # else the client may not know it for half a minute
                for answer in self._client.list_offsets(places).values():
                    answer.result(SECONDS)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def delete(self, topic: str) -> None:
        """Also one that does not exist."""
        try:
            self._client.delete_topics([topic])[topic].result(SECONDS)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise

    def recreate_topic(self, topic: str, partitions: int) -> None:
        """Make the topic, empty; one of this name that exists goes first."""
        self.delete(topic)
        self.create(topic, partitions)

    def grow(self, topic: str, partitions: int) -> None:
        self._client.create_partitions([NewPartitions(topic, partitions)])[topic].result(SECONDS)
        self._await_leaders(topic, partitions, time.monotonic() + SECONDS)

    def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset."""
        place = TopicPartition(topic, partition, before)
        self._client.delete_records([place])[place].result(SECONDS)

    def move(self, group: str, topic: str, positions: Mapping[int, int]) -> None:
        """Set the positions the broker keeps for a group, which must have no members."""
        places = [TopicPartition(topic, partition, at) for partition, at in positions.items()]
        asked = ConsumerGroupTopicPartitions(group, places)
        self._client.alter_consumer_group_offsets([asked])[group].result(SECONDS)

    def set_session(self, group: str, seconds: float) -> None:
        """How long the broker keeps the place of a group's silent member, under the protocol of KIP-848."""
        entry = ConfigEntry(
            "consumer.session.timeout.ms", str(round(seconds * 1_000)), incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
        self._client.incremental_alter_configs([resource])[resource].result(SECONDS)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The positions the broker keeps for a group."""
        asked = self._client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(SECONDS)
        return {one.partition: one.offset for one in asked.topic_partitions if one.topic == topic and one.offset >= 0}
