"""Between rows and what they stand for: headers in every file, events in the journal."""

from typing import Any, Final

import msgspec

from ordering.application.messages import Encoded, NewEvent

# The columns ``event_of`` expects, of a journal row called j.
EVENT_COLUMNS = "j.event_id, j.aggregate_id, j.version, j.topic, j.key, j.headers, j.schema, j.body, j.occurred_at"

HEADERS_FORMAT: Final = "msgpack"
"""How headers lie in every file: part of each schema, so a change needs new schema versions."""
pack_headers: Final = msgspec.msgpack.Encoder().encode
"""Headers as one column. MessagePack was the fastest of what was measured, both ways."""
unpack_headers: Final = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def event_of(row: tuple[Any, ...]) -> NewEvent:
    event_id, aggregate_id, version, topic, key, headers, schema, body, occurred_at = row
    return NewEvent(
        event_id, aggregate_id, version, topic, key, unpack_headers(headers), Encoded(schema, body), occurred_at
    )
