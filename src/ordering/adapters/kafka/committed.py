"""How far groups have come, by what they told the broker. Asked for in a thread: librdkafka only answers a blocked one.

Each group is asked for by a consumer that bears its name and never joins it. The admin client could ask for all of
them, but it dies (with the process) when a group's coordinator moves: it has no group to refresh, see
https://github.com/confluentinc/confluent-kafka-javascript/issues/374.
"""

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ordering.adapters.kafka.connection import GroupProtocol, KafkaConnection
from ordering.application.failures import BrokerUnavailable

ANSWER_SECONDS: Final = 2.0


class Committed:
    """Positions of groups in one topic."""

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        """Connects to nothing before the first question."""
        self._connection, self._topic = connection, topic
        self._diagnosis = connection.diagnosis()
        self._consumers: dict[str, Consumer] = {}
        self._thread = ThreadPoolExecutor(1, "kafka-committed")

    async def positions(self, group: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Partition -> next offset; partitions of which the group told nothing are left out. Raises
        BrokerUnavailable within two seconds, also for a group that we may not describe."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, group, partitions)

    async def close(self) -> None:
        """Let go of all connections."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _ask(self, group: str, partitions: Collection[int]) -> dict[int, int]:
        consumer = self._consumers.get(group)
        if consumer is None:
            config = self._connection.member(group, GroupProtocol.CLASSIC, None)
            consumer = self._consumers[group] = self._connection.open(Consumer, config, self._diagnosis)
        consumer.poll(0)  # what it has to tell
        try:
            places = [TopicPartition(self._topic, partition) for partition in partitions]
            found = consumer.committed(places, timeout=ANSWER_SECONDS)
        except KafkaException as failure:
            consumer.poll(0)
            raise self._diagnosis.explain(failure) from failure
        self._diagnosis.clear()
        for place in found:
            if place.error is not None:
                raise BrokerUnavailable(f"group {group}: {place.error.str()}")
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def _close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
