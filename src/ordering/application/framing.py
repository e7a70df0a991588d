"""The Confluent wire format: a zero byte, the schema's id as four big-endian bytes, then the Avro body.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/ (wire format)
"""

import struct
from typing import Final

_PREFIX: Final = struct.Struct(">bI")
PREFIX_BYTES: Final = _PREFIX.size


def frame(schema_id: int, body: bytes) -> bytes:
    """The body behind its prefix."""
    return _PREFIX.pack(0, schema_id) + body


def unframe(value: bytes) -> tuple[int, bytes]:
    """(schema id, body). Raises ValueError for anything that is not framed."""
    if len(value) < PREFIX_BYTES or value[0] != 0:
        raise ValueError("not framed: expected a zero byte and a four-byte schema id")
    return _PREFIX.unpack_from(value)[1], value[PREFIX_BYTES:]
