"""Between journal rows and events."""

import struct
from typing import Any

from ordering.application.messages import Encoded, Headers, NewEvent

# The columns ``event_of`` expects, of a journal row called j.
EVENT_COLUMNS = "j.event_id, j.aggregate_id, j.version, j.topic, j.key, j.headers, j.schema, j.body, j.occurred_at"

_LENGTHS = struct.Struct("<II")


def event_of(row: tuple[Any, ...]) -> NewEvent:
    event_id, aggregate_id, version, topic, key, headers, schema, body, occurred_at = row
    return NewEvent(
        event_id, aggregate_id, version, topic, key, unpack_headers(headers), Encoded(schema, body), occurred_at
    )


def pack_headers(headers: Headers) -> bytes:
    """Each header as two lengths, its name and its value."""
    packed = bytearray()
    for name, value in headers:
        text = name.encode()
        packed += _LENGTHS.pack(len(text), len(value))
        packed += text
        packed += value
    return bytes(packed)


def unpack_headers(packed: bytes) -> Headers:
    headers, at = [], 0
    while at < len(packed):
        name_size, value_size = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        value_at = at + name_size
        headers.append((packed[at:value_at].decode(), packed[value_at : value_at + value_size]))
        at = value_at + value_size
    return tuple(headers)
