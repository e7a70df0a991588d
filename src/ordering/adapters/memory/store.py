"""The write side's store in this process's memory, with the semantics of the durable ones."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from ordering.application.errors import StoreUnavailable, WriteRejected
from ordering.application.messages import (
    AnswerTaken,
    Conflict,
    JournalEntry,
    KeptState,
    NewEvent,
    OutboxRow,
    OutboxSummary,
    Outcome,
    RecordedAnswer,
    Standing,
    Stored,
    StoredState,
    Write,
)

_Ref = tuple[str, int]
_NO_RELAY = "no relay is running"


class MemoryOrderStore:
    """OrderRepository, BatchWriter, Outbox, Journal, Housekeeping and RelayLease.

    Every method runs in one go on the event loop, so each is a transaction; a batch that fails half-way is undone.
    Dicts keep the order in which rows came, as a database's sequence does.
    """

    def __init__(self) -> None:
        self._states: dict[str, StoredState] = {}
        self._journal: dict[_Ref, NewEvent] = {}
        self._refs: dict[str, _Ref] = {}
        """Event id to journal row."""
        self._outbox: dict[_Ref, None] = {}
        self._parked: dict[str, tuple[int, str]] = {}
        """By aggregate: the version of the event that the log refused, and why."""
        self._answers: dict[str, RecordedAnswer] = {}
        self._partitions: dict[str, int] = {}
        self._deliverable: str | None = _NO_RELAY
        self._closed = False

    async def close(self) -> None:
        """Answer everything with StoreUnavailable from now on."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    # ------------------------------------------------------------------ commands

    async def get(self, aggregate_id: str) -> StoredState | None:
        self._check_open()
        return self._states.get(aggregate_id)

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        self._check_open()
        return self._answers.get(key)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        self._check_open()
        undo: list[Callable[[], object]] = []
        try:
            return [self._apply(write, undo) for write in batch]
        except BaseException:
            for step in reversed(undo):
                step()
            raise

    def _apply(self, write: Write, undo: list[Callable[[], object]]) -> Outcome:
        answer, event = write.answer, write.event
        if event is not None and self._refs.get(event.event_id) == (event.aggregate_id, event.version):
            return Stored(self._is_first_in_line(event))
        if answer is not None and answer.key in self._answers:
            recorded = self._answers[answer.key]
            return Stored(first_in_line=False) if event is None and recorded == answer else AnswerTaken(recorded)
        if event is not None:
            stored = self._states.get(event.aggregate_id)
            version = stored.version if stored else 0
            if version != write.expected_version:
                return Conflict(version)
            self._append(event, stored, undo)
        if answer is not None:
            _check_text(answer.key)
            self._answers[answer.key] = answer
            undo.append(lambda: self._answers.pop(answer.key))
        return Stored(event is not None and self._is_first_in_line(event))

    def _append(self, event: NewEvent, before: StoredState | None, undo: list[Callable[[], object]]) -> None:
        ref = (event.aggregate_id, event.version)
        _check_text(event.aggregate_id)
        if event.event_id in self._refs or ref in self._journal:
            raise WriteRejected("a row breaks a constraint")
        self._states[event.aggregate_id] = StoredState(*ref, event.event_id, event.encoded)
        self._journal[ref], self._refs[event.event_id], self._outbox[ref] = event, ref, None

        def remove() -> None:
            del self._journal[ref], self._refs[event.event_id], self._outbox[ref]
            if before is None:
                del self._states[event.aggregate_id]
            else:
                self._states[event.aggregate_id] = before

        undo.append(remove)

    def _is_first_in_line(self, event: NewEvent) -> bool:
        return not any((event.aggregate_id, version) in self._outbox for version in range(1, event.version))

    # ------------------------------------------------------------------ outbox

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        self._check_open()
        heads: list[OutboxRow] = []
        passed = {*exclude, *self._stopped()}
        for ref in self._outbox:
            if len(heads) == limit:
                break
            if ref[0] not in passed:
                passed.add(ref[0])
                heads.append(OutboxRow(self._journal[ref]))
        return heads

    async def mark_published(self, events: Sequence[_Ref]) -> None:
        self._check_open()
        for ref in events:
            self._outbox.pop(ref, None)

    async def park(self, aggregate_id: str, version: int, reason: str) -> None:
        self._check_open()
        if (aggregate_id, version) in self._outbox:
            self._parked[aggregate_id] = (version, reason)

    def _stopped(self) -> dict[str, str]:
        """The aggregates that are parked, and why: only as long as the refused event, or one before it, waits."""
        waiting = (ref for ref in self._outbox if ref[0] in self._parked) if self._parked else ()
        return {key: self._parked[key][1] for key, version in waiting if version <= self._parked[key][0]}

    async def retry(self, aggregate_id: str | None) -> int:
        self._check_open()
        stopped = self._stopped()
        chosen = stopped.keys() if aggregate_id is None else {aggregate_id} & stopped.keys()
        for key in chosen:
            del self._parked[key]
        return len(chosen)

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        self._check_open()
        stopped = self._stopped()
        rows = (OutboxRow(self._journal[ref], stopped.get(ref[0])) for ref in self._outbox)
        return [row for row in rows if row.parked is not None or not parked_only][:limit]

    async def summary(self) -> OutboxSummary:
        self._check_open()
        stopped = self._stopped()
        unparked = (self._journal[ref].occurred_at for ref in self._outbox if ref[0] not in stopped)
        return OutboxSummary(len(self._outbox), len(stopped), next(unparked, None))

    async def partitions(self, topic: str, found: int) -> int:
        self._check_open()
        return self._partitions.setdefault(topic, found)

    async def recorded_partitions(self, topic: str) -> int | None:
        """The count that the topic's keys are placed by; None before its first use."""
        self._check_open()
        return self._partitions.get(topic)

    # ------------------------------------------------------------------ journal and housekeeping

    async def timeline(self, aggregate_id: str) -> Sequence[JournalEntry]:
        self._check_open()
        stored = self._states.get(aggregate_id)
        refs = ((aggregate_id, version) for version in range(1, stored.version + 1)) if stored else ()
        return [self._entry(ref) for ref in refs if ref in self._journal]

    def _entry(self, ref: _Ref) -> JournalEntry:
        published = ref not in self._outbox
        return JournalEntry(self._journal[ref], published, None if published else self._stopped().get(ref[0]))

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        self._check_open()
        keys = [key for key, answer in self._answers.items() if answer.recorded_at < answers_before][:limit]
        for key in keys:
            del self._answers[key]
        old = (ref for ref, event in self._journal.items() if event.occurred_at < journal_before)
        refs = [ref for ref in old if ref not in self._outbox][: limit - len(keys)]
        for ref in refs:
            del self._refs[self._journal.pop(ref).event_id]
        return len(keys) + len(refs)

    # ------------------------------------------------------------------ compared with the log

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        self._check_open()
        return {
            key: Standing(state.version, state.event_id, self._waiting(key))
            for key in keys
            if (state := self._states.get(key)) is not None
        }

    def _waiting(self, key: str) -> dict[int, str]:
        return {ref[1]: self._journal[ref].event_id for ref in self._outbox if ref[0] == key}

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        self._check_open()
        for event in events:
            key, ref = event.aggregate_id, (event.aggregate_id, event.version)
            if self._knows(event):
                continue
            for known in [known for known in self._journal if known[0] == key and known[1] >= event.version]:
                del self._refs[self._journal.pop(known).event_id]
            self._states[key] = StoredState(*ref, event.event_id, event.encoded)
            self._journal[ref], self._refs[event.event_id] = event, ref
            for waiting in [waiting for waiting in self._outbox if waiting[0] == key]:
                del self._outbox[waiting]
            self._parked.pop(key, None)

    def _knows(self, event: NewEvent) -> bool:
        """Whether the store has come to the event's version, and waits with no other event as that."""
        stored, ref = self._states.get(event.aggregate_id), (event.aggregate_id, event.version)
        if stored is None or stored.version < event.version:
            return False
        return ref not in self._outbox or self._journal[ref].event_id == event.event_id

    # ------------------------------------------------------------------ a lost log made again

    async def states(self, after: str, limit: int) -> Sequence[KeptState]:
        self._check_open()
        keys = sorted(key for key in self._states if key > after)[:limit]
        return [self._kept(self._states[key]) for key in keys]

    def _kept(self, state: StoredState) -> KeptState:
        refs = [(state.aggregate_id, version) for version in range(1, state.version + 1)]
        return KeptState(state, sum(ref in self._journal for ref in refs), refs[-1] in self._journal)

    async def requeue(self, keys: Collection[str], lost: Sequence[NewEvent]) -> None:
        self._check_open()
        for event in lost:
            ref = (event.aggregate_id, event.version)
            self._journal.setdefault(ref, event)
            self._refs[event.event_id] = ref
        chosen = set(keys)
        # The order of the journal, as when they came: whatever waits is behind its aggregate's earlier events.
        self._outbox = dict.fromkeys(ref for ref in self._journal if ref in self._outbox or ref[0] in chosen)
        for key in chosen:
            self._parked.pop(key, None)

    # ------------------------------------------------------------------ lease

    async def renew(self, deliverable: str | None) -> bool:
        self._deliverable = deliverable
        return True

    async def holders_view(self) -> str | None:
        return self._deliverable

    async def release(self) -> None:
        self._deliverable = _NO_RELAY

    async def nudge(self) -> None:
        """Nobody to tell: this process holds the lease."""

    async def follow(self, wake: Callable[[], None]) -> None:
        await asyncio.Event().wait()


def _check_text(text: str) -> None:
    """No database holds a lone surrogate, so neither does this store."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WriteRejected("a row holds text that is not Unicode") from error
