"""The order as an event: Avro through the registry, one record, and flush until the broker has it."""

from pathlib import Path

from confluent_kafka import SerializingProducer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer

from benchmarks.peers.seed_style.orders import Order, as_record

FLUSH_SECONDS = 10.0


class OrderEvents:
    """Publishes orders. ``schema`` is the file of the value's schema; both schemas register themselves."""

    def __init__(self, bootstrap: str, registry: str, topic: str, schema: Path) -> None:
        client = SchemaRegistryClient({"url": registry})
        self._topic, self._failure = topic, ""
        self._producer = SerializingProducer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "retries": 3,
                "max.in.flight.requests.per.connection": 1,
                "key.serializer": AvroSerializer(client, '"string"'),
                "value.serializer": AvroSerializer(client, schema.read_text(), as_record),
            }
        )

    def publish(self, order: Order) -> None:
        """Return when the broker has the order, or after ten seconds. Raises RuntimeError if it refused it."""
        self._failure = ""
        self._producer.produce(self._topic, key=order.orderId, value=order, on_delivery=self._delivered)
        self._producer.flush(FLUSH_SECONDS)
        if self._failure:
            raise RuntimeError(self._failure)

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self._failure = str(error)
