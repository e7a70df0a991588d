"""Broken builds, one named defect each: the simulation has to notice every one of them."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from ordering.application.consume_events import EventConsumer
from ordering.application.failures import CommitAmbiguous, Overloaded, StalePosition, StoreUnavailable
from ordering.application.group_commit import GroupCommit, StoredEvents, _Ticket
from ordering.application.messages import DecodedEvent, NewEvent, Outcome, Record, Stored, ViewRow, Write
from ordering.application.projection import Fold
from ordering.application.relay_outbox import OutboxRelay
from tests.simulation.ports import SimStore
from tests.simulation.world import Build


class MarksBeforeAppend(OutboxRelay):
    """Marks events as published, then gives them to the producer."""

    async def _publish(self, batch: list[NewEvent]) -> None:
        with suppress(StoreUnavailable):
            await self._outbox.mark_published([(event.aggregate_id, event.version) for event in batch])
        await super()._publish(batch)


class NeverReloads(OutboxRelay):
    """Publishes only what its own process committed: no sweep."""

    async def _sweep(self) -> bool:
        return False


class IgnoresEvidence(OutboxRelay):
    """Gives every fresh event to the producer at once and leaves failures to a later try."""

    def offer(self, stored: StoredEvents) -> None:
        for event, _ in stored:
            self._take(event)

    def _acknowledged(self, event: NewEvent) -> None:
        self._busy.setdefault(event.aggregate_id, event.version)
        super()._acknowledged(event)


class TakesUnsentForSent(OutboxRelay):
    """Treats "nobody knows" as "it is in the log"."""

    def _unsent(self, event: NewEvent, reason: str) -> None:
        self._acknowledged(event)


class SweepsPastUnmarked(OutboxRelay):
    """Marks every version up to the acknowledged one, as a cursor would."""

    def _acknowledged(self, event: NewEvent) -> None:
        super()._acknowledged(event)
        self._to_mark += [(event.aggregate_id, version) for version in range(1, event.version + 2)]


class FirstInLineAlways(SimStore):
    """A store whose transaction claims that it saw no unpublished earlier event."""

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return [Stored(True) if isinstance(one, Stored) else one for one in await super().write(batch)]


class AnswersBeforeWrite(GroupCommit):
    """201 first, the disk later."""

    async def _write(self, part: list[_Ticket]) -> None:
        for ticket in part:
            ticket.resolve(Stored(True))
        await super()._write(part)


class RefusesAfterClaim(GroupCommit):
    """The deadline answers 503 although the store is already at work."""

    def _claim(self) -> list[_Ticket]:
        batch = super()._claim()
        for ticket in batch:
            left = max(0.0, ticket.deadline - self._runtime.monotonic())
            self._runtime.call_later(left, partial(ticket.fail, Overloaded("too slow")))
        return batch


class TakesAmbiguousForNotStored(GroupCommit):
    """A lost connection at commit is answered with 503."""

    async def _resolve(self, part: list[_Ticket]) -> None:
        self._fail(part, StoreUnavailable("connection lost"))


class TakesAmbiguousForStored(GroupCommit):
    """A lost connection at commit is answered with 201."""

    async def _resolve(self, part: list[_Ticket]) -> None:
        for ticket in part:
            ticket.resolve(Stored(True))


class LosesEventsOfResolvedCommits(GroupCommit):
    """After an ambiguous commit only a definite refusal of the repetition counts: it becomes a 503."""

    async def _resolve(self, part: list[_Ticket]) -> None:
        try:
            await self._write(part)
        except (StoreUnavailable, CommitAmbiguous):
            self._fail(part, StoreUnavailable("not stored"))


class ReadsOnAfterTrouble(EventConsumer):
    """Does not go back to the stored position after a failure."""

    async def _rewind(self) -> None:
        if self._source._positions.keys() >= self._assigned:  # type: ignore[attr-defined]
            self._astray.clear()
        else:
            await super()._rewind()


class DropsStaleBatches(EventConsumer):
    """Takes a lost compare-and-set for somebody else's success."""

    async def _apply(self, records: Sequence[Record]) -> None:
        await super()._apply(records)
        if self._astray and self._source._positions.keys() >= self._assigned:  # type: ignore[attr-defined]
            self._astray.clear()


class StoresWithoutCompareAndSet(EventConsumer):
    """Repeats a stale batch on whatever is stored now, without looking at the positions."""

    async def _apply(self, records: Sequence[Record]) -> None:
        commit = self._store.commit

        async def insist(changes: object) -> None:
            try:
                await commit(changes)  # type: ignore[arg-type]
            except StalePosition:
                live = self._store._real._live  # type: ignore[attr-defined]
                for row in changes.rows:  # type: ignore[attr-defined]
                    live.rows[row.key] = row
                for name, count in changes.counters.items():  # type: ignore[attr-defined]
                    live.counters[name] = live.counters.get(name, 0) + count

        self._store.commit = insist  # type: ignore[method-assign]
        try:
            await super()._apply(records)
        finally:
            self._store.commit = commit  # type: ignore[method-assign]


class FoldsDuplicates(Fold):
    """Applies whatever comes, without looking at versions."""

    def _own(self, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        self._apply(record, event, version, row, ())
        return True


class FoldsInAnyOrder(Fold):
    """Drops an event only if it is the very last one again."""

    def _own(self, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        if row is None or row.event_id != event.event_id:
            self._apply(record, event, version, row, ())
        return True


FOLDS = (FoldsDuplicates, FoldsInAnyOrder)
MUTANTS = {
    mutant.__name__: build
    for mutant, build in [
        *((relay, Build(relay=relay)) for relay in (
            MarksBeforeAppend, NeverReloads, IgnoresEvidence, TakesUnsentForSent, SweepsPastUnmarked,
        )),
        (FirstInLineAlways, Build(store=FirstInLineAlways)),
        *((commit, Build(commit=commit)) for commit in (
            AnswersBeforeWrite, RefusesAfterClaim, TakesAmbiguousForNotStored, TakesAmbiguousForStored,
            LosesEventsOfResolvedCommits,
        )),
        *((consumer, Build(consumer=consumer)) for consumer in (
            ReadsOnAfterTrouble, DropsStaleBatches, StoresWithoutCompareAndSet,
        )),
    ]
}  # fmt: skip
