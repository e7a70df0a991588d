"""The consumer: records from the log into the read model, rows and positions in one transaction.

Positions come from our own database, else the beginning, never from the broker. A transaction that loses its
compare-and-set stored nothing: the consumer reads its position again and goes on from there. A log that is not the
one our positions belong to stops this topic with an alarm; nothing is ever reset silently.
"""

from collections.abc import Collection, Mapping, Sequence

import attrs

from ordering.application.causes import Cause, CauseCode
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    LogChanged,
    RegistryUnavailable,
    StalePosition,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.messages import Changes, Counter, DeadReason, LogIdentity, Record
from ordering.application.ports import EventDecoder, EventSource, Observer, ProjectionStore, Runtime
from ordering.application.project_batches import BatchProjector
from ordering.application.waiters import Waiters


def require_same_log(topic: str, known: LogIdentity, found: LogIdentity) -> None:
    """Raises LogChanged if ``found`` is not the log that the read model was filled from."""
    if known.cluster_id != found.cluster_id:
        raise LogChanged(f"the read model was filled from cluster {known.cluster_id}, this is {found.cluster_id}")
    if not is_same_log(known, found):
        raise LogChanged(f"topic {topic} was deleted and created again since the read model was filled")


def is_same_log(known: LogIdentity, found: LogIdentity) -> bool:
    """The same as a question."""
    is_same_topic = known.topic_id is None or found.topic_id is None or known.topic_id == found.topic_id
    return known.cluster_id == found.cluster_id and is_same_topic


@attrs.frozen
class ConsumerLimits:
    """Bounds of the consumer. ``retry_seconds``: how often orders held for an unknown schema are tried again."""

    batch_max: int = 500
    poll_seconds: float = 0.5
    pause_seconds: float = 0.5
    retry_seconds: float = 5.0
    retry_keys_max: int = 100


class EventConsumer:
    """Projects one topic for one consumer group."""

    def __init__(
        self,
        source: EventSource,
        decoder: EventDecoder,
        store: ProjectionStore,
        held: HeldRecords,
        waiters: Waiters,
        runtime: Runtime,
        observer: Observer,
        topic: str,
        limits: ConsumerLimits | None = None,
    ) -> None:
        self._source, self._store, self._held = source, store, held
        self._project = BatchProjector(decoder, store, runtime, topic)
        self._waiters, self._runtime, self._observer = waiters, runtime, observer
        self._topic, self._limits = topic, limits or ConsumerLimits()
        self._assigned: set[int] = set()
        self._next_retry = 0.0
        self._retried_up_to = ""
        self._stale = False
        self._known = False
        self._astray: set[int] = set()
        """Partitions of ours where the source may not stand at the stored position; nothing is polled until it does."""
        self.trouble: str | None = "the consumer has not reached the log yet"
        """Why this consumer makes no progress now, in words; None while it does."""
        self.halted = False
        """Whether it stopped for good until somebody acts (the log is not the one it knows)."""
        self._kind = CauseCode.STARTING

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions this consumer reads."""
        return frozenset(self._assigned)

    @property
    def cause(self) -> Cause | None:
        """The trouble, with its kind."""
        return None if self.trouble is None else Cause(self._kind, self.trouble)

    async def run(self) -> None:
        """Consume until cancelled, or until the log turns out to be another one (then ``halted``)."""
        while not self.halted:
            try:
                await self._step()
            except LogChanged as error:
                self.halted, self.trouble = True, str(error)
                self._observer.alarmed("consumer.halted", topic=self._topic, reason=str(error))
                self._kind = CauseCode.LOG_CHANGED
            except (BrokerUnavailable, StoreUnavailable, CommitAmbiguous, WriteRejected) as error:
                # Whatever was polled and not stored is read again from the stored position.
                self._astray |= self._assigned
                self._pause(_kind_of(error), getattr(error, "reason", str(error)))
                await self._runtime.sleep(self._limits.pause_seconds)

    # ------------------------------------------------------------------ one round

    async def _step(self) -> None:
        if not self._known:
            await self._identify()
        if self._astray:
            await self._rewind()
        polled = await self._source.poll(self._limits.batch_max, self._limits.poll_seconds)
        self._assigned.difference_update(polled.revoked)
        self._astray.difference_update(polled.revoked)
        if polled.assigned:
            self._assigned.update(polled.assigned)
            self._astray.update(polled.assigned)
        if polled.assigned or polled.revoked:
            self._observer.changed("consumer.assigned", topic=self._topic, partitions=sorted(self._assigned))
        if polled.records:
            await self._apply(polled.records)
        if self.trouble is not None and not self._stale:
            self.trouble = None
            self._observer.changed("consumer.consuming", topic=self._topic)
        if self._runtime.monotonic() >= self._next_retry:
            await self._retry_unknown_schemas()

    async def _identify(self) -> None:
        found = await self._source.identity()
        known = await self._store.identity(self._topic)
        if known is None:
            known = await self._store.record_identity(self._topic, found)  # somebody else may have been first
        require_same_log(self._topic, known, found)
        self._known = True

    async def _apply(self, records: Sequence[Record]) -> None:
        """Project a batch; if a transaction loses its race, nothing after it."""
        began = self._runtime.monotonic()
        try:
            await self._project(records, self._stored)
        except StalePosition:
            self._observer.counted("projection_stale")
            self._astray |= self._assigned
            if self._stale:  # twice in a row: somebody else is at work here, so give way instead of spinning
                self._pause(CauseCode.READ_MODEL_CONTENDED, "somebody else keeps changing this read model")
                await self._runtime.sleep(self._limits.pause_seconds)
            self._stale = True
        else:
            self._observer.measured("projection_seconds", self._runtime.monotonic() - began)
            self._observer.measured("projection_batch", len(records))

    async def _stored(self, changes: Changes, keys: Collection[str]) -> None:
        self._stale = False
        self._report(changes)
        self._waiters.notify(keys)
        await self._source.commit({partition: reached for partition, (_, reached) in changes.positions.items()})

    async def _rewind(self) -> None:
        """Go on from the stored positions; nothing is polled until that is done."""
        stored = (await self._store.load(self._topic, ())).positions
        await self._source.seek({partition: stored.get(partition, 0) for partition in self._astray})
        self._astray.clear()
        self._waiters.notify(None)  # what was committed may have come to pass unheard

    async def _retry_unknown_schemas(self) -> None:
        self._next_retry = self._runtime.monotonic() + self._limits.retry_seconds
        limit = self._limits.retry_keys_max
        keys = await self._store.held_keys(DeadReason.UNKNOWN_SCHEMA, limit, after=self._retried_up_to)
        # A page a round, from where the last one ended: keys that never resolve must not starve those behind them.
        self._retried_up_to = keys[-1] if len(keys) == limit else ""
        for key in keys:
            try:
                released = await self._held.release(key, counted=self._count)
            except RegistryUnavailable:
                return
            except StalePosition:
                continue  # others keep changing this key: the next round tries it again
            if released.released:
                self._waiters.notify((key,))

    # ------------------------------------------------------------------ telling

    def _pause(self, kind: CauseCode, reason: str) -> None:
        if self.trouble is None:
            self._observer.alarmed("consumer.paused", topic=self._topic, reason=reason)
        self._kind, self.trouble = kind, reason

    def _report(self, changes: Changes) -> None:
        self._count(changes.counters)
        for row in changes.rows:
            self._observer.noted("event.applied", key=row.key, version=row.version, held=row.held)
        for letter in changes.held:
            self._observer.counted("events_held", of=letter.reason)
            if letter.reason != DeadReason.PARKED:
                self._observer.alarmed(
                    "dead_letter",
                    key=letter.key,
                    partition=letter.record.partition,
                    offset=letter.record.offset,
                    reason=letter.reason,
                )

    def _count(self, counters: Mapping[str, int]) -> None:
        for name, amount in counters.items():
            self._observer.counted(f"events_{name}", amount)
        for alarm in (Counter.GAPS, Counter.LATE):
            if alarm in counters:
                self._observer.alarmed(f"projection.{alarm}", topic=self._topic, events=counters[alarm])


def _kind_of(error: Exception) -> CauseCode:
    """Who is in trouble."""
    match error:
        case RegistryUnavailable():
            return CauseCode.REGISTRY_UNAVAILABLE
        case BrokerUnavailable():
            return CauseCode.LOG_UNAVAILABLE
        case _:
            return CauseCode.STORE_UNAVAILABLE
