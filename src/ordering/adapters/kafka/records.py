"""The client's messages as records."""

from typing import cast

from confluent_kafka import Message

from ordering.application.messages import Record


def record_of(topic: str, message: Message) -> Record:
    """A message that is a record, and no error."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    headers = cast("list[tuple[str, bytes | None]] | None", message.headers())
    return Record(
        topic,
        partition,
        offset,
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple([(name, value or b"") for name, value in headers]) if headers else (),
    )
