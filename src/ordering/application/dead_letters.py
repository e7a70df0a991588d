"""Use cases for held records: release them in order, or discard the one that blocks.

A record that the store refuses is held as refused, also if that shows only now: it was parked behind another one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import attrs

from ordering.application.failures import StalePosition, WriteRejected
from ordering.application.messages import Changes, DeadReason, HeldRecord, Undecodable, ViewRow
from ordering.application.ports import EventDecoder, ProjectionStore, Runtime
from ordering.application.projection import Fold

ATTEMPTS: Final = 5

Counted = Callable[[Mapping[str, int]], None]


def _nobody_listens(_counters: Mapping[str, int]) -> None:
    return


@attrs.frozen
class Released:
    """What a release or discard did (or, on a dry run, would do): records that went into the read model or were
    dropped, records still held, and why the first of those is. ``gaps`` are the version ranges (first, last) that it
    jumped over: nobody but its caller hears of them."""

    released: int
    discarded: int
    still_held: int
    reason: str | None
    gaps: tuple[tuple[int, int], ...] = ()

    def and_then(self, more: "Released") -> "Released":
        """Both together, the second after the first."""
        return Released(
            self.released + more.released,
            self.discarded + more.discarded,
            more.still_held,
            more.reason,
            self.gaps + more.gaps,
        )


@attrs.frozen
class _Part:
    """What one transaction did; ``is_held``: also that the record to hold is held for the reason given."""

    told: Released
    is_held: bool = False


class _OneOfRefused(WriteRejected):
    """The store refuses one of the records at these places. While it is looked for, others are held ``for_now`` (reason
    and detail): for what blocked before, so that whoever tries that again finishes a search that was interrupted."""

    def __init__(self, detail: str, places: Sequence[tuple[int, int]], for_now: tuple[str, str]) -> None:
        super().__init__(detail)
        self.places, self.for_now = places, for_now


class HeldRecords:
    """Folds a key's held records into the read model, in the log's order, in one transaction."""

    def __init__(self, store: ProjectionStore, decoder: EventDecoder, runtime: Runtime, topic: str) -> None:
        self._store, self._decoder, self._runtime, self._topic = store, decoder, runtime, topic

    async def release(self, key: str, *, dry_run: bool = False, counted: Counted = _nobody_listens) -> Released:
        """Try the key's held records again, in order, up to the first that is still no event. ``counted`` hears of each
        transaction how the read model counted it.

        Raises RegistryUnavailable, StoreUnavailable, and StalePosition if the consumer kept changing the key.
        """
        return await self._repeatedly(key, counted, drop=None, dry_run=dry_run)

    async def discard(self, key: str, place: tuple[int, int] | None = None, *, dry_run: bool = False) -> Released:
        """Drop the key's first held record for good (the one that blocks), then release what is parked behind it.

        ``place`` is the partition and offset of the record that is meant: if another one blocks the key by now, nothing
        is done. Whoever repeats a discard whose end is unknown has to name it, else the next one goes, too. Without it
        the one is meant that blocks now. Raises like ``release``.
        """
        if place is None:
            letters = await self._store.held(key)
            if not letters:
                return Released(0, 0, 0, None)
            place = letters[0].place
        return await self._repeatedly(key, _nobody_listens, drop=place, dry_run=dry_run)

    async def _repeatedly(self, key: str, counted: Counted, *, drop: tuple[int, int] | None, dry_run: bool) -> Released:
        try:
            return (await self._undisturbed(lambda: self._once(key, counted, drop=drop, dry_run=dry_run))).told
        except _OneOfRefused as error:
            return await self._apart(key, counted, drop, error)

    @staticmethod
    async def _undisturbed(once: Callable[[], Awaitable[_Part]]) -> _Part:
        for attempt in range(ATTEMPTS):
            try:
                return await once()
            except StalePosition:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    async def _apart(
        self, key: str, counted: Counted, drop: tuple[int, int] | None, refusal: _OneOfRefused
    ) -> Released:
        """The store refuses one of these records: those before it are released, and it is held for that reason.

        They are named by their places: somebody else may have settled them by now, and what is held then was not tried.
        """
        told, suspects = Released(0, 0, 0, None), refusal.places
        while True:
            half = len(suspects) // 2
            found = len(suspects) - half == 1
            why = (DeadReason.REFUSED, str(refusal)) if found else refusal.for_now
            try:
                part = await self._undisturbed(
                    lambda: self._once(key, counted, drop=drop, dry_run=False, hold=(suspects[half], why))  # noqa: B023
                )
            except WriteRejected:
                if not half:
                    raise
                suspects = suspects[:half]
                continue
            told = told.and_then(part.told)
            if found or not part.is_held:
                return told
            drop, suspects = None, suspects[half:]

    async def discard_keyless(self, partition: int, offset: int, *, dry_run: bool = False) -> Released:
        """Drop a held record that has no readable key, so blocks nothing, by its place in the log."""
        if not any(
            (letter.record.partition, letter.record.offset) == (partition, offset)
            for letter in await self._store.held(None)
        ):
            return Released(0, 0, 0, None)
        snapshot = await self._store.load(self._topic, ())
        if not dry_run:
            place = ((partition, offset),)
            await self._store.commit(Changes(self._topic, snapshot.generation, {}, released=place, discarded=place))
        return Released(0, 1, 0, None)

    async def _once(
        self,
        key: str,
        counted: Counted,
        *,
        drop: tuple[int, int] | None,
        dry_run: bool,
        hold: tuple[tuple[int, int], tuple[str, str]] | None = None,
    ) -> _Part:
        """In one transaction. The record at the place to ``hold`` is held for that reason and detail, if it comes to
        it; nothing is done if it is not held any more. Raises _OneOfRefused if the store refuses what was released."""
        snapshot = await self._store.load(self._topic, [key])
        letters = await self._store.held(key)
        if not letters or key not in snapshot.rows:
            return _Part(Released(0, 0, 0, None))
        places = [letter.place for letter in letters]
        is_gone = hold is not None and hold[0] not in places
        if is_gone or (drop is not None and places[0] != drop):  # somebody else was first, or this is asked once more
            return _Part(Released(0, 0, len(letters), letters[0].reason))
        first = 0 if drop is None else 1
        end = len(letters) if hold is None else places.index(hold[0])
        fold = Fold(snapshot, self._runtime.now())
        fold.unhold(key)
        done = await self._fold_in_order(fold, letters[:end], first)
        is_held = hold is not None and done == end
        if hold is not None and is_held:
            fold.add(letters[done].record, Undecodable(*hold[1], key))
        rest, leaving = letters[done:], places[:done]
        changes = fold.changes(self._topic, {}, leaving)
        rows = (attrs.evolve(changes.rows[0], held=len(rest)),)
        changes = attrs.evolve(changes, rows=rows, discarded=tuple(leaving[:first]))
        if rest and changes.held[0].reason != rest[0].reason:
            # It was parked behind another and now blocks for a reason of its own: it is held anew.
            changes = attrs.evolve(changes, released=(*leaving, rest[0].place))
        else:
            changes = attrs.evolve(changes, held=())
        reason = (changes.held or rest)[0].reason if rest else None
        if not dry_run and (changes.released or changes.held):
            try:
                await self._store.commit(changes)
            except WriteRejected as error:
                if not leaving[first:]:
                    raise
                for_now = (DeadReason.REFUSED, str(error)) if first else (letters[0].reason, letters[0].detail)
                raise _OneOfRefused(str(error), leaving[first:], for_now) from error
            counted(changes.counters)
        told = Released(done - first, first, len(rest), reason, _jumped(snapshot.rows[key], rows[0]))
        return _Part(told, is_held)

    async def _fold_in_order(self, fold: Fold, letters: Sequence[HeldRecord], first: int) -> int:
        """How many of the letters no longer need holding, those before the ``first`` included."""
        events = await self._decoder.decode([letter.record for letter in letters[first:]])
        for number, (letter, event) in enumerate(zip(letters[first:], events, strict=True)):
            if not fold.add(letter.record, event):
                return first + number
        return len(letters)


def _jumped(before: ViewRow, after: ViewRow) -> tuple[tuple[int, int], ...]:
    """The ranges that are missing now, and were not jumped over before: a gap opens above the version of its moment."""
    if before.lineage is not after.lineage:  # the versions before were counted by us, and mean nothing any more
        return after.missing
    return tuple((first, last) for first, last in after.missing if first > before.version)
