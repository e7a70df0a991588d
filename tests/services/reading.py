"""Reading a topic with nothing of ours, to see what is really in it."""

from confluent_kafka import Consumer, TopicPartition

SECONDS = 30.0


def log_of(bootstrap: str, topic: str, partition: int) -> list[bytes]:
    """The keys of a partition's records, in the log's order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "looking",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,
        }
    )
    place = TopicPartition(topic, partition, 0)
    try:
        place.offset, end = consumer.get_watermark_offsets(place, timeout=SECONDS)
        consumer.assign([place])
        found: list[bytes] = []
        while place.offset + len(found) < end:
            message = consumer.poll(SECONDS)
            assert message is not None, f"{topic}/{partition} ends before {end}"
            assert message.error() is None, message.error()
            found.append(message.key())
        return found
    finally:
        consumer.close()
