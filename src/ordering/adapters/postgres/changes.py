"""One projection transaction as arrays for one call of the database's own function, and its rows as messages."""

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from ordering.adapters.postgres.rows import columns, for_people, pack_headers, taken_or_rejected, unpack_headers
from ordering.application.messages import Changes, Encoded, HeldRecord, Lineage, Place, Record, ViewRow

CHANNEL: Final = "ordering_order_news"
ROW_COLUMNS: Final = (
    "key, version, event_id, label, schema, body, lineage, events_applied, first_timestamp, first_partition, "
    "first_offset, held, revision, missing"
)
HELD_COLUMNS: Final = (
    "topic, partition, record_offset, timestamp, record_key, value, headers, key, reason, detail, held_at"
)

_APPLY: Final = "SELECT apply_changes({})".format(", ".join(f"${number}" for number in range(1, 38)))
_FILL: Final = _APPLY.replace("apply_changes", "fill_generation")
_DISCARD: Final = """
INSERT INTO discarded (topic, partition, record_offset)
SELECT $1, * FROM unnest($2::int[], $3::bigint[]) ON CONFLICT DO NOTHING
"""
_PAYLOAD_MAX: Final = 7_999  # bytes: what NOTIFY takes
Apply = Callable[[asyncpg.Connection, Sequence[object]], Awaitable[None]]
_LINEAGES: Final = {lineage.value: lineage for lineage in Lineage}
_json: Final = msgspec.json.encode
_missing_of: Final = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode


async def fill(connection: asyncpg.Connection, arguments: Sequence[object]) -> None:
    """The same for a generation beside the live one, which nobody hears of."""
    await connection.fetch(_FILL, *arguments)


async def apply_and_discard(
    connection: asyncpg.Connection, apply: Apply, arguments: Sequence[object], changes: Changes
) -> None:
    """With what has to be remembered as discarded, in one transaction."""
    partitions, offsets = columns(changes.discarded, 2)
    async with connection.transaction():
        await apply(connection, arguments)
        await connection.execute(_DISCARD, changes.topic, partitions, offsets)


async def apply(connection: asyncpg.Connection, arguments: Sequence[object]) -> None:
    """Store it in one transaction, which tells the other instances. Raises what the driver raises."""
    await connection.fetch(_APPLY, *arguments)


def arguments_of(changes: Changes, origin: str) -> list[object]:
    """What the function takes; ``origin`` is this instance's name in the news. Raises WriteRejected."""
    positions = [(partition, *moved) for partition, moved in changes.positions.items()]
    tallies = [("label", name, delta) for name, delta in changes.labels.items()]
    tallies += [("counter", name, delta) for name, delta in changes.counters.items()]
    with taken_or_rejected():
        return [
            changes.topic,
            changes.generation,
            *columns(positions, 3),
            *columns([_row_values(row) for row in changes.rows], 14),
            *columns(changes.released, 2),
            *columns([_held_values(letter) for letter in changes.held], 11),
            *columns(tallies, 3),
            CHANNEL,
            _news(origin, [row.key for row in changes.rows]) if changes.rows else None,
        ]


# ---------------------------------------------------------------------- news


def _news(origin: str, keys: Collection[str]) -> str:
    """Who changed which keys; without the keys (any may have changed) where they are too many. ASCII."""
    payload = json.dumps([origin, list(keys)], separators=(",", ":"))
    return payload if len(payload) <= _PAYLOAD_MAX else news_of_anything(origin)


def news_of_anything(origin: str) -> str:
    """Any key may have changed."""
    return json.dumps([origin, None])


def keys_of(payload: str, origin: str) -> Sequence[str] | None:
    """The keys others changed, None for any, nothing of one's own news. Whatever is not understood may be any."""
    try:
        sender, keys = msgspec.json.decode(payload, type=tuple[str, list[str] | None])
    except msgspec.MsgspecError:
        return None
    return () if sender == origin else keys


# ---------------------------------------------------------------------- rows and messages


def _row_values(row: ViewRow) -> tuple[Any, ...]:
    encoded, first = row.encoded, row.first
    return (
        row.key,
        row.version,
        row.event_id,
        row.label,
        encoded.schema if encoded else None,
        encoded.body if encoded else None,
        row.lineage.value,
        row.events_applied,
        first.timestamp,
        first.partition,
        first.offset,
        row.held,
        row.revision,
        _json(row.missing).decode() if row.missing else None,
    )


def view_row(values: Sequence[Any]) -> ViewRow:
    """Of ROW_COLUMNS."""
    key, version, event_id, label, schema, body, lineage, applied, timestamp, partition, offset, *rest = values
    held, revision, missing = rest
    return ViewRow(
        key,
        version,
        event_id,
        label,
        None if schema is None or body is None else Encoded(schema, body),
        _LINEAGES[lineage],
        applied,
        Place(timestamp, partition, offset),
        held,
        revision,
        _missing_of(missing) if missing else (),
    )


def _held_values(letter: HeldRecord) -> tuple[Any, ...]:
    record = letter.record
    return (
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        pack_headers(record.headers),
        letter.key,
        str(letter.reason),
        for_people(letter.detail),
        letter.held_at,
    )


def held_record(values: Sequence[Any]) -> HeldRecord:
    """Of HELD_COLUMNS."""
    topic, partition, offset, timestamp, record_key, value, headers, key, reason, detail, held_at = values
    record = Record(topic, partition, offset, timestamp, record_key, value, unpack_headers(headers))
    return HeldRecord(record, key, reason, detail, held_at)
