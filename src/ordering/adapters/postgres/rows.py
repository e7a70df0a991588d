"""Between rows and what they stand for: headers in one column, events in the journal, text that PostgreSQL takes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from ordering.application.errors import WriteRejected
from ordering.application.messages import Encoded, NewEvent

# The columns ``event_of`` expects, of a journal row called j.
EVENT_COLUMNS: Final = (
    "j.event_id, j.aggregate_id, j.version, j.topic, j.key, j.headers, j.schema, j.body, j.occurred_at"
)

pack_headers: Final = msgspec.msgpack.Encoder().encode
"""Headers as one column, in MessagePack: part of each schema, so a change needs a migration."""
unpack_headers: Final = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def event_of(row: Sequence[Any]) -> NewEvent:
    """The first columns of the row are EVENT_COLUMNS."""
    event_id, aggregate_id, version, topic, key, headers, schema, body, occurred_at = row[:9]
    return NewEvent(
        event_id, aggregate_id, version, topic, key, unpack_headers(headers), Encoded(schema, body), occurred_at
    )


def for_people(text: str) -> str:
    """A text whose exact characters do not matter, without those that PostgreSQL does not take."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Rows turned into columns, of which there are ``count`` even without rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


@contextmanager
def taken_or_rejected() -> Iterator[None]:
    """What cannot even be made into a message is a row's fault, and nothing was sent."""
    try:
        yield
    except (TypeError, OverflowError, ValueError) as error:  # wrong type, over 64 bits, a lone surrogate
        raise WriteRejected("a row holds a value that PostgreSQL does not take") from error
