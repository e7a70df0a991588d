"""Every port of the system, each as small as its caller needs and saying what it guarantees.

Adapters translate their driver's errors into ``application.failures`` at their border; a port never lets a driver's
exception through. All coroutines run on one event loop; adapters hide their threads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from ordering.application.generations import Figures, GenerationsFound, HeldPage, RowsPage
from ordering.application.messages import (
    Changes,
    DecodedEvent,
    HeldRecord,
    JournalEntry,
    KeptState,
    Lag,
    LogIdentity,
    NewEvent,
    OutboxRow,
    OutboxSummary,
    Outcome,
    OutgoingRecord,
    Place,
    Polled,
    PublishResult,
    Record,
    RecordedAnswer,
    Snapshot,
    Standing,
    StoredState,
    Undecodable,
    ViewRow,
    ViewStats,
    Write,
)

# ---------------------------------------------------------------------------------------------- surroundings


class Timer(Protocol):
    """A call that will happen later, unless cancelled."""

    def cancel(self) -> None: ...


class Runtime(Protocol):
    """Time and concurrency. Wall-clock time only labels things; waits and ages use ``monotonic``."""

    def now(self) -> int:
        """UTC microseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer: ...

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> "asyncio.Task[Any]": ...

    def new_id(self) -> str:
        """A new UUIDv7 (RFC 9562) in its text form."""


class Observer(Protocol):
    """Where the application reports to; it never logs itself. Implementations must be fast and must not raise."""

    def changed(self, what: str, **facts: object) -> None:
        """A state of the whole service changed (logged at INFO)."""

    def alarmed(self, what: str, **facts: object) -> None:
        """Something somebody should look at (logged at WARNING)."""

    def noted(self, what: str, **facts: object) -> None:
        """Something about a single order (logged at DEBUG)."""

    def counted(self, what: str, amount: int = 1, *, of: str | None = None) -> None:
        """A counter moved; ``of`` is one of the few kinds that it counts apart."""

    def measured(self, what: str, value: float) -> None:
        """A value was observed (seconds, sizes)."""


# ---------------------------------------------------------------------------------------------- write side


class OrderRepository(Protocol):
    """What the commands ask the store. Reads see every commit that was acknowledged before the call."""

    async def get(self, aggregate_id: str) -> StoredState | None:
        """The aggregate as stored. Raises StoreUnavailable."""

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        """The first answer to an idempotency key that is still kept. Raises StoreUnavailable."""


class BatchWriter(Protocol):
    """The store as the group commit needs it.

    ``write`` makes a batch durable in ONE transaction (fsync or database commit before it returns) and answers in
    the batch's order. Writes to one aggregate are applied in that order. A lost race is an outcome, not an error:
    its write leaves nothing, its neighbours are stored. An event id that is stored already answers Stored (the
    repetition of an ambiguous commit).

    Raises StoreUnavailable (nothing stored, the store as a whole cannot: full, busy, closed), WriteRejected (nothing
    stored, a row is at fault) or CommitAmbiguous (unknown; the adapter has dropped its connection, and the next call
    uses a fresh one on which it is safe to repeat the batch).

    What decides is asked in this order: is the event id stored already, has the key an answer, is the version right.
    """

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]: ...


class Outbox(Protocol):
    """The unpublished events: a set, never a cursor: a row committed late is still found. Raises StoreUnavailable."""

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        """The lowest unpublished event of each aggregate that is neither parked nor excluded, oldest first.

        One snapshot: that an event is the lowest in it is the evidence that its predecessors are in the log.
        """

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        """(aggregate id, version) of events known to be in the log. Idempotent."""

    async def park(self, aggregate_id: str, version: int, reason: str) -> None:
        """Stop publishing an aggregate's events until ``retry``, because the log refuses this one; survives a restart.
        It ends as well once that one is marked as published: another relay may have got another answer for it, and
        this may come to pass later than whoever asked knows.
        """

    async def retry(self, aggregate_id: str | None) -> int:
        """Unpark one aggregate, or all; how many were parked."""

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        """Unpublished events, oldest first, for people to look at."""

    async def summary(self) -> OutboxSummary: ...

    async def partitions(self, topic: str, found: int) -> int:
        """The topic's partition count as recorded at first use; ``found`` is recorded if there is none yet."""


class Journal(Protocol):
    """The stored history of one aggregate."""

    async def timeline(self, aggregate_id: str) -> Sequence[JournalEntry]:
        """Its kept events by ascending version. Raises StoreUnavailable."""


class StandingStore(Protocol):
    """The store as compared with the log. Raises StoreUnavailable."""

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        """How these aggregates stand, as of one moment; those that are not stored are left out."""

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        """Make events that lie in the log the store's own, all or nothing, durable; in this order.

        Each becomes its aggregate's state and a row of its journal, published. What the store had at this version and
        above, and whatever of the aggregate was not published or parked, is gone. Passed over is what the store
        knows by now, whatever it knew when it was looked at: an event is news above its aggregate's version, or where
        another one waits in its place.
        """


class RepublishableStore(Protocol):
    """The store as what a lost log is made from again. Raises StoreUnavailable."""

    async def states(self, after: str, limit: int) -> Sequence[KeptState]:
        """Aggregates by ascending id, from behind ``after``."""

    async def requeue(self, keys: Collection[str], lost: Sequence[NewEvent]) -> None:
        """Hold every kept event of these aggregates for unpublished, and ``lost``: newest events that are not kept.
        None of them stays parked: what the broker had taken before the event it refused is lost as well, and comes
        first. All or nothing, durable."""


class Housekeeping(Protocol):
    """Trimming, in small batches so that it never holds up a commit."""

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        """Delete at most ``limit`` answers and published journal rows older than these times (UTC microseconds);
        how many went."""


class RelayLease(Protocol):
    """Elects one relay per database, for efficiency only: two relays repeat events, they never reorder them."""

    async def renew(self, deliverable: str | None) -> bool:
        """Take or keep the lease and publish this holder's deliverability (None: yes, else the reason why not).
        False: somebody else holds it."""

    async def holders_view(self) -> str | None:
        """What the present holder says: None deliverable, else the reason."""

    async def release(self) -> None: ...

    async def nudge(self) -> None:
        """Tell the holder, in whatever process it is, that there may be something new to publish. Best effort, never
        raises: a nudge that is lost costs the time until the holder's next sweep."""

    async def follow(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` for every nudge of another process, until cancelled. Never raises: while it cannot listen it
        tries again, and wakes once when it can, for what it may have missed."""


class EventPublisher(Protocol):
    """The way into the log.

    Records of one key keep their order; one that was sent again may have moved behind another key's. ``publish``
    answers per record and in order: Acked means the log has it durably; Rejected never changes by retrying; Unsent may
    be in the log or not. Never raises for a record. Callers never have two versions of one key under way at once.
    """

    @property
    def outage(self) -> str | None:
        """Why nothing can be delivered now, as far as that is known without asking anybody (every broker hung up);
        None if records may well be delivered. What is under way may still arrive."""

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]: ...

    async def probe(self) -> None:
        """Return when the log could take a record now. Raises BrokerUnavailable with a reason, within a second."""

    async def partition_count(self, topic: str) -> int:
        """Raises BrokerUnavailable (also for a topic that does not exist)."""


class SchemaIds(Protocol):
    """Registry ids of released schemas."""

    async def id_of(self, schema: str) -> int:
        """Raises RegistryUnavailable."""


# ---------------------------------------------------------------------------------------------- read side


class EventSource(Protocol):
    """The way out of the log for one consumer group and one topic."""

    async def identity(self) -> LogIdentity:
        """Raises BrokerUnavailable."""

    async def poll(self, limit: int, wait: float) -> Polled:
        """At most ``limit`` records, or news of the assignment, or nothing after ``wait`` seconds.

        A newly assigned partition delivers nothing until ``seek``. Raises BrokerUnavailable, LogChanged (a position
        that the log no longer or not yet has).
        """

    async def seek(self, positions: Mapping[int, int]) -> None:
        """Go on from these next offsets (partition -> offset)."""

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Tell the broker too, best effort, so that lag tools see the truth. Never raises."""

    async def end_offsets(self) -> Mapping[int, int]:
        """Every partition's end (the next offset to be written). Raises BrokerUnavailable."""

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        """How far these positions are behind; absent partitions count from the beginning. Raises BrokerUnavailable."""


class WholeLog(EventSource, Protocol):
    """The log outside any group, all partitions assigned, as far back as it reaches."""

    async def begin_offsets(self) -> Mapping[int, int]:
        """The first offset each partition still holds (its end, if it holds nothing): 0 unless something was deleted.
        Raises BrokerUnavailable."""


class LogTail(Protocol):
    """The newest part of the log."""

    async def newest(self, each: int, partitions: Collection[int] | None = None) -> Sequence[Record]:
        """The newest ``each`` records of every partition, or of these, as of the call; each partition's by ascending
        offset. Raises BrokerUnavailable, LogChanged."""


class GroupLags(Protocol):
    """How far the consumer groups of a topic are behind its end, whether their members live or not."""

    async def lags(self) -> Mapping[str, Lag]:
        """By group. Raises BrokerUnavailable, LogChanged, StoreUnavailable."""


class EventDecoder(Protocol):
    """Records to events, guarding against anything bytes can hold."""

    async def decode(self, records: Sequence[Record]) -> Sequence[DecodedEvent | Undecodable]:
        """One answer per record. Raises RegistryUnavailable when a needed schema cannot be asked for now."""


class ProjectionStore(Protocol):
    """The read model as the consumer writes it. Raises StoreUnavailable."""

    async def identity(self, topic: str) -> LogIdentity | None:
        """The log this read model was filled from, None if not recorded yet."""

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        """Record it unless one is recorded; the recorded one. Repeating it is safe."""

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        """The live generation, all its positions for the topic, and the rows of these keys, as of one moment."""

    async def commit(self, changes: Changes) -> None:
        """All or nothing, durable. Raises StalePosition if a position or a row's revision is not as expected, or the
        live generation is another; WriteRejected for values the store cannot hold; CommitAmbiguous (unknown: what is
        stored shows in the positions)."""

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        """The key's held records in the log's order; of None those without a readable key."""

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        """Keys, ascending, whose first held record has this reason."""


class OrderViews(Protocol):
    """The read model as queries see it. Raises StoreUnavailable."""

    async def get(self, key: str) -> ViewRow | None: ...

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        """Keys by first appearance, those after a place."""

    async def positions(self, topic: str) -> Mapping[int, int]: ...

    async def stats(self) -> ViewStats: ...

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        """Call ``wake`` with the keys that other processes change (None: any may have changed), until cancelled. Never
        raises: while it cannot listen it tries again, and wakes with None when it can."""


class DeadLetters(Protocol):
    """The held records as people see them. Raises StoreUnavailable."""

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        """Held records, oldest first; records parked behind others included only for one ``key``."""


# ---------------------------------------------------------------------------------------------- generations

LastChanges = Callable[[Mapping[int, int]], Awaitable[Changes | None]]
"""Asked with the live positions, in the middle of a flip: what brings the new generation there, None if nothing."""


class Generations(Protocol):
    """The read model's generations: the live one, and beside it the one that a rebuild fills, which no query sees.

    One rebuild at a time: every call that changes something is made by the one that has claimed. Raises
    StoreUnavailable; changes also raise CommitAmbiguous, after which asking tells.
    """

    async def claim(self) -> str | None:
        """Become the only rebuild of this read model until ``release`` or the end of the process, however it ends.
        None: it is; else who is the one now, in words."""

    async def release(self) -> None: ...

    async def found(self) -> GenerationsFound: ...

    async def begin(self, topic: str, identity: LogIdentity) -> int:
        """Make a new, empty generation beside the live one, filled from this log; its number."""

    def store(self, generation: int) -> ProjectionStore:
        """One generation as a projection writes it. A live one, and one that was dropped, take no commit:
        StalePosition."""

    async def rows(self, generation: int, topic: str, after: str | None, limit: int) -> RowsPage:
        """Rows behind a key; None: from the first one on."""

    async def letters(self, generation: int, topic: str, after: tuple[int, int], limit: int) -> HeldPage:
        """Held records of a topic behind a partition and offset."""

    async def figures(self, generation: int, topic: str) -> Figures: ...

    async def discarded(self, generation: int, topic: str) -> Sequence[HeldRecord]:
        """What this generation holds although people have discarded it, in the log's order."""

    async def discards(self, topic: str, partition: int, first: int, last: int) -> Collection[int]:
        """The offsets between these two, both included, whose records people have discarded."""

    async def flip(self, topic: str, generation: int, floors: Mapping[int, int], last: LastChanges) -> None:
        """Make a generation the live one, if both stand at equal positions: in one transaction that no consumer's
        transaction can pass, ``last`` is asked and what it answers is stored before they are compared. Partitions whose
        live position is below their floor count as standing there.

        Raises StalePosition (also when ``last`` takes over a second, during which consumers wait), WriteRejected, and
        whatever ``last`` raises: then nothing has changed.
        """

    async def drop(self, generation: int, limit: int) -> int:
        """Remove at most ``limit`` rows and held records of a generation that is not live, in one short transaction;
        how many went, 0 when nothing is left. From the first call on it is a leftover."""
