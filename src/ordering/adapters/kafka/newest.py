"""The newest records of a topic, read apart from any group."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.inquiries import Inquiries
from ordering.adapters.kafka.records import record_of
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import Record

READ_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
FETCH_MAX: Final = 500


class KafkaTail:
    """LogTail of one topic. Each call has connections of its own, for it is rarely asked."""

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        """Connects to nothing before the first question."""
        self._connection, self._topic = connection, topic

    async def newest(self, each: int, partitions: Collection[int] | None = None) -> Sequence[Record]:
        """Raises BrokerUnavailable, within about 20 seconds."""
        inquiries = Inquiries(self._connection, self._topic)
        try:
            count = (await inquiries.facts()).partitions  # asked in any case: it makes the topic known to the client
            asked = range(count) if partitions is None else partitions
            begins, ends = await asyncio.gather(inquiries.begins(asked), inquiries.ends(asked))
        finally:
            await inquiries.close()
        begin = {number: max(begins[number], end - each) for number, end in ends.items() if end > begins[number]}
        return await asyncio.to_thread(self._read, begin, ends) if begin else []

    def _read(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> list[Record]:
        # The end of a partition is told even if its last offsets hold no record (marks of transactions).
        config = {**self._connection.reader(), "enable.partition.eof": True}
        consumer = self._connection.open(Consumer, config)
        found: dict[int, list[Record]] = {number: [] for number in begins}
        unread = set(begins)
        deadline = time.monotonic() + READ_SECONDS
        try:
            consumer.assign([TopicPartition(self._topic, number, at) for number, at in begins.items()])
            while unread:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable("the newest records of the log cannot be read in time")
                for message in _arrived(consumer):
                    error, number = message.error(), message.partition() or 0
                    if error is not None:
                        if error.code() == KafkaError._PARTITION_EOF:
                            unread.discard(number)
                        continue
                    record = record_of(self._topic, message)
                    if record.offset < ends[number]:
                        found[number].append(record)
                    if record.offset >= ends[number] - 1:
                        unread.discard(number)
        except KafkaException as failure:
            raise BrokerUnavailable("the newest records of the log cannot be read") from failure
        finally:
            consumer.close()
        return [record for records in found.values() for record in records]


def _arrived(consumer: Consumer) -> list[Message]:
    """What is there, or comes within a moment: asked for many, the client waits for all of them."""
    first = consumer.poll(POLL_SECONDS)
    return [] if first is None else [first, *consumer.consume(FETCH_MAX, 0)]
