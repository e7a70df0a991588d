"""Broken builds between the log and the read model: positions, versions, who waits."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ordering.application.failures import StalePosition
from ordering.application.messages import (
    Changes,
    DecodedEvent,
    Record,
    Undecodable,
    ViewRow,
)
from ordering.application.waiters import Waiters
from tests.mutants.patching import Sound, mutant

CONSUMER = "ordering.application.consume_events:EventConsumer"
FOLD = "ordering.application.projection:Fold"
GENERATION = "ordering.adapters.memory.generation:Generation"
CHANGES = "ordering.adapters.sqlite.changes"
UNIT = "tests/unit/application"
CONSUME = f"{UNIT}/test_consume_events.py"
PROJECTION = f"{UNIT}/test_projection.py"
CONTRACT = "tests/contract/read_model/test_projection_store.py"


# ---------------------------------------------------------------------------------------------- positions


@mutant("reads-on-after-trouble", "H16", at=f"{CONSUMER}._rewind")
def _(sound: Sound) -> Sound:
    """Does not go back to the stored position after a failure."""

    async def rewind(self: Sound) -> None:
        if self._source._positions.keys() >= self._assigned:
            self._astray.clear()
        else:
            await sound(self)

    return rewind


@mutant("stale-batches-are-dropped", "H17", at=f"{CONSUMER}._apply", slow=True)
def _(sound: Sound) -> Sound:
    """Takes a lost compare-and-set for somebody else's success."""

    async def apply(self: Sound, records: Sequence[Record]) -> None:
        await sound(self, records)
        if self._astray and self._source._positions.keys() >= self._assigned:
            self._astray.clear()

    return apply


@mutant(
    "positions-from-the-broker",
    "H16",
    at=f"{CONSUMER}._rewind",
    by=f"{CONSUME}::test_a_new_life_goes_on_from_the_stored_positions",
)
def _(_sound: Sound) -> Sound:
    """Goes on where the broker says that the group is."""

    async def rewind(self: Sound) -> None:
        log, group = self._source._log, self._source._group
        told: Mapping[int, int] = log.committed.get(group, {})
        await self._source.seek({partition: told.get(partition, 0) for partition in self._astray})
        self._astray.clear()

    return rewind


@mutant("positions-outside-the-transaction", "H16", at="tests.simulation.ports:SimViews.commit")
def _(sound: Sound) -> Sound:
    """The positions move by a transaction of their own, before the rows."""

    async def commit(self: Sound, changes: Changes) -> None:
        await sound(self, Changes(changes.topic, changes.generation, changes.positions))
        await sound(self, attrs.evolve(changes, positions={}))

    return commit


@mutant(
    "position-without-compare-and-set",
    "H17",
    at=f"{GENERATION}._require_expected",
    by=f"{CONTRACT}::test_a_stale_writers_batch_rolls_back_whole[memory-stale_position]",
)
def _(sound: Sound) -> Sound:
    """Whoever commits last says where a partition stands; rows are still compared."""

    def require(self: Sound, changes: Changes) -> None:
        sound(self, attrs.evolve(changes, positions={}))

    return require


@mutant(
    "row-without-compare-and-set",
    "H17",
    at=f"{GENERATION}._require_expected",
)
def _(sound: Sound) -> Sound:
    """Rows are overwritten whatever revision they have; positions are still compared."""

    def require(self: Sound, changes: Changes) -> None:
        sound(self, attrs.evolve(changes, rows=()))

    return require


@mutant("nothing-compared-and-set", "H17", at=f"{GENERATION}._require_expected", slow=True)
def _(_sound: Sound) -> Sound:
    """Whoever commits last wins, whatever others have stored meanwhile."""
    return lambda _self, _changes: None


@mutant(
    "sqlite-position-without-compare-and-set",
    "H17",
    at=f"{CHANGES}:_NEXT_POSITION",
    by=f"{CONTRACT}::test_a_stale_writers_batch_rolls_back_whole[sqlite-position_behind]",
)
def _(sound: Sound) -> Sound:
    """The file's positions are overwritten wherever they stand."""
    assert sound.endswith("AND next = ?")
    return sound.replace("AND next = ?", "AND next > -1 - ?")


@mutant("stale-batch-is-insisted-on", "H17", at=f"{CONSUMER}._apply", slow=True)
def _(sound: Sound) -> Sound:
    """Repeats a stale batch on whatever is stored now, without looking at the positions."""

    async def apply(self: Sound, records: Sequence[Record]) -> None:
        commit = self._store.commit

        async def insist(changes: Any) -> None:  # noqa: ANN401 -- Changes
            try:
                await commit(changes)
            except StalePosition:
                live = self._store._real._live
                for row in changes.rows:
                    live.rows[row.key] = row
                for name, count in changes.counters.items():
                    live.counters[name] = live.counters.get(name, 0) + count

        self._store.commit = insist
        try:
            await sound(self, records)
        finally:
            self._store.commit = commit

    return apply


@mutant(
    "another-log-is-taken",
    "H22",
    at="ordering.application.consume_events:require_same_log",
    by=f"{CONSUME}::test_another_log_halts_the_topic",
)
def _(_sound: Sound) -> Sound:
    """A recreated topic, or another cluster's, is read on from the old positions."""
    return lambda _topic, _known, _found: None


@mutant(
    "last-identity-counts",
    "H22",
    at="ordering.adapters.memory.views:MemoryViews.record_identity",
    by=f"{CONTRACT}::test_the_identity_of_the_log_is_recorded_per_topic[memory]",
)
def _(_sound: Sound) -> Sound:
    """Of two consumers that begin at the same time, the second one overwrites which log the first one reads."""

    async def record(self: Sound, topic: str, identity: Sound) -> Sound:
        self._live.identities[topic] = identity
        return identity

    return record


@mutant(
    "lost-history-is-skipped",
    "H22",
    at="ordering.adapters.memory.log:MemorySource._require_history",
)
def _(_sound: Sound) -> Sound:
    """A position that the log no longer has is moved to the next one that it has."""

    def require(self: Sound) -> None:
        for partition, at in self._positions.items():
            self._positions[partition] = min(
                max(at, self._log.begins.get(partition, 0)), len(self._log.partitions[partition])
            )

    return require


# ---------------------------------------------------------------------------------------------- versions


@mutant("duplicates-are-applied", "H19", "H29", at=f"{FOLD}._own")
def _(_sound: Sound) -> Sound:
    """Applies whatever comes, without looking at versions."""

    def own(self: Sound, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        self._apply(record, event, version, row, ())
        return True

    return own


@mutant("remembers-one-event-only", "H19", "H29", at=f"{FOLD}._own")
def _(_sound: Sound) -> Sound:
    """Drops an event only if it is the very last one again: a window of one."""

    def own(self: Sound, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        if row is None or row.event_id != event.event_id:
            self._apply(record, event, version, row, ())
        return True

    return own


@mutant("order-by-the-wall-clock", "H28", at=f"{FOLD}.add")
def _(sound: Sound) -> Sound:
    """Of two records of a key the one with the later time is the newer one."""

    def add(self: Sound, record: Record, event: DecodedEvent | Undecodable) -> bool:
        latest = self.__dict__.setdefault("latest", {})
        if isinstance(event, DecodedEvent):
            if record.timestamp < latest.get(event.key, 0):
                return True
            latest[event.key] = record.timestamp
        return sound(self, record, event)  # type: ignore[no-any-return]

    return add


@mutant(
    "gaps-are-dropped",
    "H19",
    at=f"{FOLD}._own",
)
def _(sound: Sound) -> Sound:
    """Waits for the missing version for ever."""

    def own(self: Sound, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        if version > (row.version if row else 0) + 1:
            return True
        return sound(self, record, event, version, row)  # type: ignore[no-any-return]

    return own


@mutant(
    "conflicts-are-duplicates",
    "H19",
    at=f"{FOLD}._own",
    by=f"{PROJECTION}::test_the_applied_version_under_another_id_is_a_conflict",
)
def _(sound: Sound) -> Sound:
    """Another event under an applied version goes unseen."""

    def own(self: Sound, record: Record, event: DecodedEvent, version: int, row: ViewRow | None) -> bool:
        if row is not None and version == row.version:
            event = attrs.evolve(event, event_id=row.event_id)
        return sound(self, record, event, version, row)  # type: ignore[no-any-return]

    return own


# ---------------------------------------------------------------------------------------------- who waits


@mutant("nobody-is-woken", at="ordering.application.waiters:Waiters.notify")
def _(_sound: Sound) -> Sound:
    """Who waits for a version finds it when the time is over."""
    return lambda _self, _keys: None


@mutant(
    "unheard-commit-wakes-nobody",
    at=f"{CONSUMER}._rewind",
    by=f"{CONSUME}::test_who_waits_looks_again_after_a_commit_that_came_to_pass_unheard",
)
def _(sound: Sound) -> Sound:
    """Who waits for what was stored without our knowing finds it when the time is over."""

    async def rewind(self: Sound) -> None:
        other = copy.copy(self)
        other._waiters = Waiters(self._runtime)
        await sound(other)

    return rewind
