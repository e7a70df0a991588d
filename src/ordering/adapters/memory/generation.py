"""One filling of the read model from the log, in memory, and its guards."""

from bisect import insort
from collections.abc import Collection, Mapping

import attrs

from ordering.application.failures import StalePosition
from ordering.application.messages import Changes, DeadReason, HeldRecord, LogIdentity, Place, ViewRow, ViewStats

Held = dict[tuple[str, int, int], HeldRecord]
"""By topic, partition, offset."""
Appearance = tuple[tuple[int, int, int], str]


@attrs.define
class Generation:
    """Rows, positions, held records and figures."""

    identities: dict[str, LogIdentity] = attrs.Factory(dict)
    positions: dict[str, dict[int, int]] = attrs.Factory(dict)
    rows: dict[str, ViewRow] = attrs.Factory(dict)
    appearances: list[Appearance] = attrs.Factory(list)
    held: Held = attrs.Factory(dict)
    labels: dict[str, int] = attrs.Factory(dict)
    counters: dict[str, int] = attrs.Factory(dict)

    def at(self, topic: str) -> dict[int, int]:
        """The positions of a topic, as a copy."""
        return dict(self.positions.get(topic, {}))

    def known(self, keys: Collection[str]) -> dict[str, ViewRow]:
        """The rows of these keys."""
        return {key: self.rows[key] for key in keys if key in self.rows}

    def held_for(self, key: str | None) -> list[HeldRecord]:
        """A key's held records in the log's order."""
        return [letter for _, letter in sorted(self.held.items(), key=lambda one: one[0]) if letter.key == key]

    def held_keys(self, reason: str, limit: int, after: str) -> list[str]:
        """Keys, ascending, whose first held record has this reason."""
        keys = sorted({letter.key for letter in self.held.values() if letter.key is not None and letter.key > after})
        return [key for key in keys if self.held_for(key)[0].reason == reason][:limit]

    def stats(self) -> ViewStats:
        """The figures; label counts at zero are left out."""
        labels = {label: count for label, count in self.labels.items() if count}
        parked = {letter.key for letter in self.held.values() if letter.key is not None}
        letters = sum(letter.reason != DeadReason.PARKED for letter in self.held.values())
        return ViewStats(sum(labels.values()), labels, dict(self.counters), len(parked), letters)

    def store(self, changes: Changes) -> None:
        """All of it, or StalePosition and nothing."""
        self._require_expected(changes)
        positions = self.positions.setdefault(changes.topic, {})
        positions.update({partition: reached for partition, (_, reached) in changes.positions.items()})
        for row in changes.rows:
            self._put(row)
        for partition, offset in changes.released:
            self.held.pop((changes.topic, partition, offset), None)
        for letter in changes.held:
            self.held[letter.record.topic, letter.record.partition, letter.record.offset] = letter
        _add(self.labels, changes.labels)
        _add(self.counters, changes.counters)

    def _require_expected(self, changes: Changes) -> None:
        positions = self.positions.get(changes.topic, {})
        for partition, (expected, _) in changes.positions.items():
            if positions.get(partition, 0) != expected:
                raise StalePosition(f"partition {partition} is not at {expected}")
        for row in changes.rows:
            stored = self.rows.get(row.key)
            if (stored.revision if stored else 0) != row.revision - 1:
                raise StalePosition(f"row {row.key} is not at revision {row.revision - 1}")

    def _put(self, row: ViewRow) -> None:
        """A row keeps the ``first`` it came with."""
        stored = self.rows.get(row.key)
        if stored is None:
            insort(self.appearances, (numbers(row.first), row.key))
        self.rows[row.key] = row if stored is None else attrs.evolve(row, first=stored.first)


def numbers(place: Place) -> tuple[int, int, int]:
    """A place as something that sorts."""
    return place.timestamp, place.partition, place.offset


def _add(counts: dict[str, int], deltas: Mapping[str, int]) -> None:
    for name, delta in deltas.items():
        counts[name] = counts.get(name, 0) + delta
