"""What a batch of records does to the read model: one pure function, the same for every service.

An own event is applied if its version is higher than the stored one (a jump is a gap: applied, counted, remembered),
dropped as a duplicate if it was applied before, dropped and counted as late if a gap had jumped over it, and kept as
a ``version-conflict`` dead letter if it claims an applied version under another id. A record that is no event is a
dead letter; while a key has one, its later records are parked behind it, so order per key survives poison. Inherited
records carry no version: each change of state counts one up, until the first own event takes the key over for good.
"""

from collections.abc import Sequence

import attrs

from ordering.application.messages import (
    Changes,
    Counter,
    DeadReason,
    DecodedEvent,
    HeldRecord,
    Lineage,
    Place,
    Record,
    Snapshot,
    Undecodable,
    ViewRow,
)

Ranges = tuple[tuple[int, int], ...]


class Fold:
    """Folds records into rows, one after the other; ``changes`` is what one transaction then has to store."""

    def __init__(self, snapshot: Snapshot, now: int) -> None:
        self._snapshot, self._now = snapshot, now
        self._rows: dict[str, ViewRow] = dict(snapshot.rows)
        self._touched: dict[str, None] = {}
        """Keys in the order of their records: a set of text is walked differently in every process."""
        self._held: list[HeldRecord] = []
        self._labels: dict[str, int] = {}
        self._counters: dict[str, int] = {}

    def changes(
        self, topic: str, positions: dict[int, tuple[int, int]], released: Sequence[tuple[int, int]] = ()
    ) -> Changes:
        """Everything folded so far, as one transaction: each touched row one revision further."""
        labels = {label: delta for label, delta in self._labels.items() if delta}
        return Changes(
            topic,
            self._snapshot.generation,
            positions,
            tuple([self._rows[key] for key in self._touched]),
            tuple(self._held),
            tuple(released),
            labels,
            self._counters,
        )

    def unhold(self, key: str) -> None:
        """Forget that the key is held: its held records are about to be folded again, in order."""
        row = self._rows[key]
        self._put(attrs.evolve(row, held=0, revision=self._revision(key)))

    def add(self, record: Record, event: DecodedEvent | Undecodable) -> bool:
        """Fold one record; False if it is (again) held back."""
        if isinstance(event, Undecodable):
            self._hold(record, event.key, event.reason, event.detail)
            return False
        row = self._rows.get(event.key)
        if row is not None and row.held:
            self._hold(record, event.key, DeadReason.PARKED, "an earlier record of this key is held")
            return False
        if event.version is None:
            self._inherited(record, event, row)
            return True
        return self._own(record, event, event.version, row)

    # ------------------------------------------------------------------ the rules

    def _own(self, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        takes_over = row is not None and row.version > 0 and row.lineage is Lineage.INHERITED
        stored = 0 if row is None or takes_over else row.version
        if version > stored:
            missing: Ranges = () if row is None or takes_over else row.missing
            if version > stored + 1 and not takes_over:
                missing += ((stored + 1, version - 1),)
                self._count(Counter.GAPS)
            self._apply(record, event, version, row, missing)
            return True
        assert row is not None
        if version == stored and event.event_id != row.event_id:
            detail = f"version {version} was applied as event {row.event_id}, this is event {event.event_id}"
            self._hold(record, event.key, DeadReason.VERSION_CONFLICT, detail)
            return False
        late = any(first <= version <= last for first, last in row.missing)
        self._count(Counter.LATE if late else Counter.DUPLICATES)
        if late:
            left = _without(row.missing, version)
            self._put(attrs.evolve(row, missing=left, revision=self._revision(row.key)))
        return True

    def _inherited(self, record: Record, event: DecodedEvent, row: ViewRow | None) -> None:
        if row is not None and row.version > 0:
            same_state = row.encoded is not None and row.encoded.body == event.encoded.body
            if row.lineage is Lineage.OWN or same_state:
                self._count(Counter.DUPLICATES)
                return
        self._apply(record, event, 1 if row is None else row.version + 1, row, ())

    # ------------------------------------------------------------------ their effects

    def _apply(self, record: Record, event: DecodedEvent, version: int, row: ViewRow | None, missing: Ranges) -> None:
        if row is None:
            first, applied = Place(record.timestamp, record.partition, record.offset), 1
        else:
            first, applied = row.first, row.events_applied + 1
            if row.version:
                self._labels[row.label] = self._labels.get(row.label, 0) - 1
        self._labels[event.label] = self._labels.get(event.label, 0) + 1
        self._count(Counter.APPLIED)
        self._put(
            ViewRow(
                event.key,
                version,
                event.event_id,
                event.label,
                event.encoded,
                event.lineage,
                applied,
                first,
                0,
                self._revision(event.key),
                missing,
            )
        )

    def _hold(self, record: Record, key: str | None, reason: str, detail: str) -> None:
        self._held.append(HeldRecord(record, key, reason, detail, self._now))
        if key is None:
            return
        row = self._rows.get(key)
        if row is None:
            place = Place(record.timestamp, record.partition, record.offset)
            row = ViewRow(key, 0, "", "", None, Lineage.OWN, 0, place, 0, 0)
        self._put(attrs.evolve(row, held=row.held + 1, revision=self._revision(key)))

    def _revision(self, key: str) -> int:
        """What the row's revision will be: one more than stored, however often this batch touches it."""
        stored = self._snapshot.rows.get(key)
        return 1 if stored is None else stored.revision + 1

    def _put(self, row: ViewRow) -> None:
        self._rows[row.key] = row
        self._touched[row.key] = None

    def _count(self, counter: Counter) -> None:
        self._counters[counter] = self._counters.get(counter, 0) + 1


def project(
    topic: str, snapshot: Snapshot, records: Sequence[Record], events: Sequence[DecodedEvent | Undecodable], now: int
) -> Changes:
    """The transaction for a batch read in order. Records before their partition's position were applied already."""
    fold = Fold(snapshot, now)
    positions: dict[int, tuple[int, int]] = {}
    for record, event in zip(records, events, strict=True):
        partition = record.partition
        expected, reached = positions.get(partition) or (snapshot.positions.get(partition, 0),) * 2
        if record.offset >= reached:
            fold.add(record, event)
            positions[partition] = expected, record.offset + 1
    return fold.changes(topic, positions)


def _without(ranges: Ranges, version: int) -> Ranges:
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        if not first <= version <= last:
            left.append((first, last))
            continue
        if first < version:
            left.append((first, version - 1))
        if version < last:
            left.append((version + 1, last))
    return tuple(left)
