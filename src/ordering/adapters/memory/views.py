"""The read model in memory: the same guards and the same answers as the durable ones, lost with the process."""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from ordering.application.failures import StalePosition, StoreUnavailable
from ordering.application.messages import (
    Changes,
    DeadReason,
    HeldRecord,
    LogIdentity,
    Place,
    Snapshot,
    ViewRow,
    ViewStats,
)

_Position = tuple[str, int, int]
_Appearance = tuple[tuple[int, int, int], str]


@attrs.define
class _Generation:
    """One filling of the read model from the log."""

    identities: dict[str, LogIdentity] = attrs.Factory(dict)
    positions: dict[str, dict[int, int]] = attrs.Factory(dict)
    rows: dict[str, ViewRow] = attrs.Factory(dict)
    appearances: list[_Appearance] = attrs.Factory(list)
    held: dict[_Position, HeldRecord] = attrs.Factory(dict)
    labels: dict[str, int] = attrs.Factory(dict)
    counters: dict[str, int] = attrs.Factory(dict)


class MemoryViews:
    """ProjectionStore, OrderViews and DeadLetters. ``unavailable`` (a reason) makes every call fail with it.

    A row keeps the ``first`` it came with; label counts at zero are left out of the statistics.
    """

    def __init__(self) -> None:
        self.unavailable: str | None = None
        self._generation = 1
        self._live = _Generation()

    # ------------------------------------------------------------------ the consumer's side

    async def identity(self, topic: str) -> LogIdentity | None:
        return self._available().identities.get(topic)

    async def record_identity(self, topic: str, identity: LogIdentity) -> None:
        self._available().identities[topic] = identity

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        live = self._available()
        rows = {key: live.rows[key] for key in keys if key in live.rows}
        return Snapshot(self._generation, dict(live.positions.get(topic, {})), rows)

    async def commit(self, changes: Changes) -> None:
        live = self._available()
        self._require_expected(live, changes)
        positions = live.positions.setdefault(changes.topic, {})
        positions.update({partition: reached for partition, (_, reached) in changes.positions.items()})
        for row in changes.rows:
            _put(live, row)
        for partition, offset in changes.released:
            live.held.pop((changes.topic, partition, offset), None)
        for letter in changes.held:
            live.held[letter.record.topic, letter.record.partition, letter.record.offset] = letter
        _add(live.labels, changes.labels)
        _add(live.counters, changes.counters)

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return _held_for(self._available(), key)

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        live = self._available()
        keys = sorted({letter.key for letter in live.held.values() if letter.key is not None and letter.key > after})
        return [key for key in keys if _held_for(live, key)[0].reason == reason][:limit]

    # ------------------------------------------------------------------ the queries' side

    async def get(self, key: str) -> ViewRow | None:
        return self._available().rows.get(key)

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        appearances = self._available().appearances
        start = 0 if after is None else bisect_right(appearances, _place(after), key=lambda one: one[0])
        return [(Place(*place), key) for place, key in appearances[start : start + limit]]

    async def positions(self, topic: str) -> Mapping[int, int]:
        return dict(self._available().positions.get(topic, {}))

    async def stats(self) -> ViewStats:
        live = self._available()
        labels = {label: count for label, count in live.labels.items() if count}
        parked = {letter.key for letter in live.held.values() if letter.key is not None}
        letters = sum(letter.reason != DeadReason.PARKED for letter in live.held.values())
        return ViewStats(sum(labels.values()), labels, dict(live.counters), len(parked), letters)

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        """There is no other process."""
        await asyncio.Event().wait()

    # ------------------------------------------------------------------ people's side

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        live = self._available()
        if key is not None:
            return _held_for(live, key)[:limit]
        own = [(letter.held_at, *place) for place, letter in live.held.items() if letter.reason != DeadReason.PARKED]
        return [live.held[topic, partition, offset] for _, topic, partition, offset in sorted(own)[:limit]]

    # ------------------------------------------------------------------ guards

    def _available(self) -> _Generation:
        if self.unavailable is not None:
            raise StoreUnavailable(self.unavailable)
        return self._live

    def _require_expected(self, live: _Generation, changes: Changes) -> None:
        if changes.generation != self._generation:
            raise StalePosition(f"generation {changes.generation} is not the live one")
        positions = live.positions.get(changes.topic, {})
        for partition, (expected, _) in changes.positions.items():
            if positions.get(partition, 0) != expected:
                raise StalePosition(f"partition {partition} is not at {expected}")
        for row in changes.rows:
            stored = live.rows.get(row.key)
            if (stored.revision if stored else 0) != row.revision - 1:
                raise StalePosition(f"row {row.key} is not at revision {row.revision - 1}")


def _put(live: _Generation, row: ViewRow) -> None:
    stored = live.rows.get(row.key)
    if stored is None:
        insort(live.appearances, (_place(row.first), row.key))
    live.rows[row.key] = row if stored is None else attrs.evolve(row, first=stored.first)


def _held_for(live: _Generation, key: str | None) -> list[HeldRecord]:
    return [letter for _, letter in sorted(live.held.items(), key=lambda one: one[0]) if letter.key == key]


def _add(counts: dict[str, int], deltas: Mapping[str, int]) -> None:
    for name, delta in deltas.items():
        counts[name] = counts.get(name, 0) + delta


def _place(place: Place) -> tuple[int, int, int]:
    return place.timestamp, place.partition, place.offset
