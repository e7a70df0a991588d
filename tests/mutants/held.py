"""Broken builds of what holds a record, and of what releases it."""

import copy
from collections.abc import Sequence
from typing import Any

import attrs

from ordering.application.messages import Changes, DeadReason, DecodedEvent, HeldRecord, Record, Undecodable
from ordering.application.projection import project
from tests.mutants.patching import Sound, mutant

FOLD = "ordering.application.projection:Fold"
HELD = "ordering.application.dead_letters:HeldRecords"
PROJECTION = "tests/unit/application/test_projection.py"
LETTERS = "tests/unit/application/test_dead_letters.py"


@mutant(
    "poison-is-skipped",
    "H20",
    at=f"{FOLD}._hold",
    by=f"{PROJECTION}::test_poison_parks_its_own_key_and_no_other",
)
def _(_sound: Sound) -> Sound:
    """A record that is no event leaves no trace."""
    return lambda _self, _record, _key, _reason, _detail: None


@mutant(
    "held-order-is-overtaken",
    "H20",
    at=f"{FOLD}.add",
    by=f"{PROJECTION}::test_a_key_parked_in_an_earlier_batch_stays_parked",
)
def _(sound: Sound) -> Sound:
    """Later events of an order do not wait for the one that is held."""

    def add(self: Sound, record: Record, event: DecodedEvent | Undecodable) -> bool:
        row = self._rows.get(event.key)
        if row is not None and isinstance(event, DecodedEvent):
            self._rows[event.key] = attrs.evolve(row, held=0)
        return sound(self, record, event)  # type: ignore[no-any-return]

    return add


@mutant(
    "release-passes-what-blocks",
    "H20",
    at=f"{HELD}._fold_in_order",
    by=f"{LETTERS}::test_a_release_stops_at_what_is_still_no_event",
)
def _(_sound: Sound) -> Sound:
    """A release applies what is parked although the record before it is still no event."""

    async def fold_in_order(self: Sound, fold: Any, letters: Sequence[HeldRecord], drop: int) -> int:  # noqa: ANN401 -- Fold
        events = await self._decoder.decode([letter.record for letter in letters[drop:]])
        for letter, event in zip(letters[drop:], events, strict=True):
            if isinstance(event, DecodedEvent):
                fold.add(letter.record, event)
        return len(letters)

    return fold_in_order


class _Freeing:
    """A ProjectionStore that takes an order for free with every change of it."""

    def __init__(self, real: Sound) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Sound:
        return getattr(self._real, name)

    async def commit(self, changes: Changes) -> None:
        await self._real.commit(attrs.evolve(changes, rows=tuple(attrs.evolve(row, held=0) for row in changes.rows)))


@mutant(
    "released-order-is-overtaken",
    "H20",
    at=f"{HELD}._once",
)
def _(sound: Sound) -> Sound:
    """After a release that went half of the way, the order's later events do not wait for the other half."""

    async def once(self: Sound, *arguments: Sound, **wishes: Sound) -> Sound:
        other = copy.copy(self)
        other._store = _Freeing(self._store)
        return await sound(other, *arguments, **wishes)

    return once


@mutant(
    "refused-record-stops-the-partition",
    "H20",
    at="ordering.application.project_batches:BatchProjector.__call__",
)
def _(_sound: Sound) -> Sound:
    """What the read model's database cannot hold is tried again and again."""

    async def call(self: Sound, records: Sequence[Record], stored: Sound) -> None:
        events = await self._decoder.decode(records)
        keys = {event.key for event in events if event.key is not None}
        snapshot = await self._store.load(self._topic, keys)
        changes = project(self._topic, snapshot, records, events, self._runtime.now())
        await self._store.commit(changes)
        await stored(changes, keys)

    return call


@mutant(
    "search-leaves-refused-records",
    "H20",
    at="ordering.application.dead_letters:_OneOfRefused.__init__",
    by=f"{LETTERS}::test_nothing_stays_refused_that_the_store_never_refused",
)
def _(sound: Sound) -> Sound:
    """What is held while the refused record is looked for is called refused, and left so if that is interrupted."""

    def init(self: Sound, detail: str, places: Sound, _for_now: object) -> None:
        sound(self, detail, places, (DeadReason.REFUSED, detail))

    return init
