"""How old the oldest record behind a position is: a record per partition, read apart from any group."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ordering.adapters.kafka.connection import KafkaConnection

PEEK_SECONDS: Final = 2.0
KNOWN_MAX: Final = 10_000


class Peek:
    """Reads single timestamps of one topic. A record never changes, so the last answers are kept."""

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self._connection, self._topic = connection, topic
        self._known: dict[tuple[int, int], int] = {}
        """(partition, position) -> timestamp."""
        self._consumer: Consumer | None = None
        self._thread = ThreadPoolExecutor(1, "kafka-peek")

    async def timestamps(self, positions: Mapping[int, int]) -> dict[int, int]:
        """The timestamp (milliseconds) of the first record from each position on, as far as the broker told within
        two seconds."""
        missing = {number: at for number, at in positions.items() if (number, at) not in self._known}
        if missing:
            if len(self._known) + len(missing) > KNOWN_MAX:
                self._known.clear()
            self._known |= await asyncio.get_running_loop().run_in_executor(self._thread, self._read, missing)
        known = {number: self._known.get((number, at)) for number, at in positions.items()}
        return {number: timestamp for number, timestamp in known.items() if timestamp is not None}

    def forget(self) -> None:
        """The log is another one."""
        self._known.clear()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _read(self, positions: Mapping[int, int]) -> dict[tuple[int, int], int]:
        deadline = time.monotonic() + PEEK_SECONDS
        if self._consumer is None:
            self._consumer = self._connection.open(Consumer, self._connection.peek())
        found: dict[tuple[int, int], int] = {}
        self._consumer.assign([TopicPartition(self._topic, number, at) for number, at in positions.items()])
        try:
            while len(found) < len(positions) and (left := deadline - time.monotonic()) > 0:
                message = self._consumer.poll(left)
                if message is None or message.error() is not None:
                    continue
                number = message.partition() or 0
                if number in positions and (number, positions[number]) not in found:
                    found[number, positions[number]] = message.timestamp()[1]
                    # Its next records are of no interest, and would hide those of the others.
                    self._consumer.incremental_unassign([TopicPartition(self._topic, number)])
        except KafkaException:
            return found
        finally:
            self._consumer.unassign()
        return found

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
