"""Rows, letters and changes to store."""

from collections.abc import Mapping

import attrs

from ordering.application.messages import (
    Changes,
    DeadReason,
    Encoded,
    HeldRecord,
    Lineage,
    Place,
    Record,
    ViewRow,
)

TOPIC = "order-events"


def row(key: str, revision: int = 1, *, at: int | Place = 0, label: str = "pending", held: int = 0) -> ViewRow:
    """A row whose version and state follow its revision; ``at`` is its first place, or the offset of it."""
    first = at if isinstance(at, Place) else Place(1_700_000_000_000 + at, at % 3, at)
    state = Encoded("order-v1", b"%s %d" % (key.encode(), revision))
    return ViewRow(key, revision, f"{key}-{revision}", label, state, Lineage.OWN, revision, first, held, revision)


def unknown(key: str, *, at: int = 0) -> ViewRow:
    """A row of a key that is known only by a held record."""
    return attrs.evolve(row(key, at=at, label="", held=1), version=0, event_id="", encoded=None, events_applied=0)


def letter(
    key: str | None, offset: int, reason: str = DeadReason.CORRUPT, *, partition: int = 0, held_at: int = 1
) -> HeldRecord:
    """A held record."""
    record = Record(TOPIC, partition, offset, 1_700_000_000_000 + offset, b"\xff\x00", b"\x00raw", (("h", b"\xfe"),))
    return HeldRecord(record, key, reason, f"because of {offset}", held_at)


def changes(
    *rows: ViewRow,
    positions: Mapping[int, tuple[int, int]] | None = None,
    held: tuple[HeldRecord, ...] = (),
    released: tuple[tuple[int, int], ...] = (),
    labels: Mapping[str, int] | None = None,
    counters: Mapping[str, int] | None = None,
    generation: int = 1,
) -> Changes:
    """One transaction of the first generation."""
    return Changes(TOPIC, generation, positions or {}, rows, held, released, labels or {}, counters or {})
