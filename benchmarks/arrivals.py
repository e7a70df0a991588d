"""Did every acknowledged order reach Kafka, by its id and under its key?"""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from fastavro import parse_schema, schemaless_reader

PATIENCE = 120.0
PREFIX_BYTES = 5
STRANGER = "\0stranger "


def plain_key(key: bytes) -> str:
    """The id, as UTF-8."""
    return key.decode()


def avro_key(key: bytes) -> str:
    """The id, framed and as an Avro string."""
    return str(schemaless_reader(io.BytesIO(key[PREFIX_BYTES:]), "string", None))


@attrs.define
class Arrivals:
    """Reads a topic as it grows, from its beginning, with nothing of ours.

    ``counts``: records by order id. ``strangers``: records whose key is not the id in their value. ``patience``:
    seconds without any news after which what is missing stays missing.
    """

    bootstrap: str
    topic: str
    schema: Path
    key_of: Callable[[bytes], str]
    patience: float = PATIENCE
    counts: Counter[str] = attrs.Factory(Counter)
    strangers: int = 0
    _acknowledged: set[str] = attrs.Factory(set)
    _admin: AdminClient = None
    _consumer: Consumer = None
    _partitions: list[TopicPartition] = attrs.Factory(list)
    _parsed: Any = None

    def __enter__(self) -> "Arrivals":
        self._parsed = parse_schema(json.loads(self.schema.read_text()))
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "benchmark", "enable.auto.commit": False}
        self._consumer = Consumer({**settings, "fetch.queue.backoff.ms": 5})
        found = self._consumer.list_topics(self.topic, timeout=30).topics[self.topic].partitions
        self._partitions = [TopicPartition(self.topic, number, 0) for number in found]
        self._consumer.assign(self._partitions)
        self._consumer.pause(self._partitions)  # the load comes first
        # A client of its own: a question behind a fetch that waits for records would wait as long.
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()
        self._admin = None  # frees it: it must not outlive the broker

    def ends(self) -> int:
        """How many records the topic holds now."""
        asked = self._admin.list_offsets({partition: OffsetSpec.latest() for partition in self._partitions})
        return sum(answer.result(30).offset for answer in asked.values())

    def await_count(self, records: int) -> float:
        """Wait until the topic holds so many records, or give up; the seconds it took."""
        began = time.monotonic()
        while self.ends() < records and time.monotonic() - began < self.patience:
            time.sleep(0.01)
        return time.monotonic() - began

    def await_ids(self, acknowledged: Iterable[str]) -> None:
        """Read until all of these are there and the topic's end is reached, or nothing comes any more."""
        self._acknowledged.update(acknowledged)
        missing = {order_id for order_id in self._acknowledged if order_id not in self.counts}
        self._consumer.resume(self._partitions)
        last = time.monotonic()
        while (missing or self.counts.total() < self.ends()) and time.monotonic() - last < self.patience:
            for message in self._consumer.consume(5_000, 0.05):
                if message.error() is not None:
                    raise SystemExit(f"{self.topic}: {message.error()}")
                last = time.monotonic()
                order_id = self._id_in(message)
                self.counts[order_id] += 1
                missing.discard(order_id)
        self._consumer.pause(self._partitions)

    def _id_in(self, message: Message) -> str:
        """The order that a record's key names; a stranger is counted under no order's id."""
        value: Any = schemaless_reader(io.BytesIO((message.value() or b"")[PREFIX_BYTES:]), self._parsed, None)
        order_id = self.key_of(message.key() or b"")
        if order_id == value["orderId"]:
            return order_id
        self.strangers += 1
        return f"{STRANGER}{self.strangers}"

    @property
    def acknowledged(self) -> int:
        """How many different orders were acknowledged so far."""
        return len(self._acknowledged)

    @property
    def missing(self) -> int:
        """How many of them are not in the topic."""
        return sum(order_id not in self.counts for order_id in self._acknowledged)

    @property
    def repeated(self) -> int:
        """How many records say again what another one said."""
        return self.counts.total() - len(self.counts)

    @property
    def surplus(self) -> int:
        """How many orders are there that nobody was told of: in flight when the load hung up."""
        return len(self.counts) - self.strangers - (self.acknowledged - self.missing)
