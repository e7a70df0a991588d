"""Group commit: many concurrent commands share one durable transaction.

A request waits in a queue until the committer claims it. Until then it can be withdrawn (deadline, shutdown) by one
compare-and-set, and a withdrawn request provably stored nothing. Once claimed, only the store's own word decides:

    QUEUED -> CLAIMED -> Stored | Conflict | AnswerTaken | not stored | unknown
           -> WITHDRAWN (not stored)

All states move on one event loop, so an assignment is the compare-and-set. A caller that is cancelled (its client
hung up) changes nothing: its write goes on and its outcome is dropped.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Final

import attrs

from ordering.application.failures import (
    CommitAmbiguous,
    NotStored,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.messages import NewEvent, Outcome, Stored, Write
from ordering.application.ports import BatchWriter, Observer, Runtime

StoredEvents = Sequence[tuple[NewEvent, Stored]]

TOLD_AT_ONCE: Final = 64
"""Most outcomes that are handed out in one round of the event loop."""


@attrs.frozen
class CommitLimits:
    """Bounds of the queue. ``wait_seconds``: how long a command may take until its write is claimed, all its attempts
    together; ``resolve_seconds``: how long an ambiguous commit is asked about before its requests are answered with
    outcome-unknown."""

    batch_max: int = 256
    queue_max: int = 10_000
    wait_seconds: float = 10.0
    resolve_seconds: float = 10.0
    resolve_pause_seconds: float = 0.05
    trouble_seconds: float = 5.0


class _State(Enum):
    QUEUED = auto()
    CLAIMED = auto()
    WITHDRAWN = auto()


@attrs.define(eq=False)
class _Ticket:
    write: Write
    answer: "asyncio.Future[Outcome]"
    deadline: float
    since: float
    state: _State = _State.QUEUED

    def resolve(self, outcome: Outcome) -> None:
        if not self.answer.done():
            self.answer.set_result(outcome)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class GroupCommit:
    """The queue before the store, and the only caller of its ``write``."""

    def __init__(
        self,
        writer: BatchWriter,
        runtime: Runtime,
        observer: Observer,
        on_stored: Callable[[StoredEvents], None],
        limits: CommitLimits | None = None,
    ) -> None:
        self._writer, self._runtime, self._observer = writer, runtime, observer
        self._on_stored = on_stored
        self._limits = limits or CommitLimits()
        self._queue: deque[_Ticket] = deque()
        self._wake = asyncio.Event()
        self._expires_at = math.inf
        self._claimed_since: float | None = None
        self._untold: deque[tuple[_Ticket, Outcome]] = deque()
        self._telling = False
        self._stopping = False
        self._outage: str | None = None
        self._outage_at = 0.0

    @property
    def trouble(self) -> str | None:
        """Why the store took nothing the last time it was asked, if that was just now; without traffic nobody asks,
        so an old answer says nothing."""
        recent = self._runtime.monotonic() - self._outage_at < self._limits.trouble_seconds
        return self._outage if recent else None

    @property
    def waiting(self) -> int:
        """How many requests wait to be claimed."""
        return len(self._queue)

    def oldest_seconds(self) -> float:
        """How long the oldest request has been waiting for the store, claimed or not; 0 if none is."""
        since = self._claimed_since
        if since is None:
            if not self._queue:
                return 0.0
            since = self._queue[0].since
        return self._runtime.monotonic() - since

    def deadline(self) -> float:
        """When a command that begins now must have been claimed, for ``submit``: one deadline for all its attempts."""
        return self._runtime.monotonic() + self._limits.wait_seconds

    @property
    def stopping(self) -> bool:
        """Whether nothing new is taken, because the service ends."""
        return self._stopping

    async def submit(self, write: Write, deadline: float | None = None) -> Outcome:
        """Make one write durable and return its outcome.

        Raises a NotStored error if it provably left nothing (Overloaded if it was not claimed by its deadline), and
        OutcomeUnknown if nobody can tell.
        """
        if self._stopping:
            raise ShuttingDown
        if len(self._queue) >= self._limits.queue_max:
            raise Overloaded(f"{self._limits.queue_max} requests are waiting for the store")
        now = self._runtime.monotonic()
        if deadline is None:
            deadline = now + self._limits.wait_seconds
        elif deadline <= now:
            raise self._too_late()
        ticket = _Ticket(write, asyncio.get_running_loop().create_future(), deadline, now)
        self._queue.append(ticket)
        self._wake.set()
        if deadline < self._expires_at:
            self._expire_later(deadline - now, deadline)
        return await ticket.answer

    async def run(self) -> None:
        """Commit what is submitted, batch after batch, until ``stop``; then finish what is queued and return."""
        try:
            while True:
                while self._queue:
                    self._claimed_since = self._queue[0].since
                    await self._commit(self._claim())
                    self._claimed_since = None
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
        finally:
            self._close()

    def stop(self) -> None:
        """Take nothing new; ``run`` returns once everything submitted so far has its outcome."""
        self._stopping = True
        self._wake.set()

    # ------------------------------------------------------------------ the queue

    def _claim(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        while self._queue and len(batch) < self._limits.batch_max:
            ticket = self._queue.popleft()
            if ticket.state is _State.QUEUED:
                ticket.state = _State.CLAIMED
                batch.append(ticket)
        return batch

    def _expire_later(self, seconds: float, deadline: float) -> None:
        self._expires_at = deadline
        self._runtime.call_later(seconds, partial(self._expire, deadline))

    def _expire(self, deadline: float) -> None:
        # One timer serves all: nearly every deadline is later than those before it, and one that is not (a second
        # attempt of a command) sets a timer of its own. One that fires a little early is set again.
        now = self._runtime.monotonic()
        waiting: deque[_Ticket] = deque()
        for ticket in self._queue:
            if ticket.deadline <= now:
                ticket.state = _State.WITHDRAWN
                ticket.fail(self._too_late())
            else:
                waiting.append(ticket)
        self._queue = waiting
        if self._expires_at == deadline:
            self._expires_at = math.inf
            if waiting:
                earliest = min(ticket.deadline for ticket in waiting)
                self._expire_later(earliest - now, earliest)

    def _too_late(self) -> Overloaded:
        return Overloaded(f"not begun within {self._limits.wait_seconds:g} s")

    def _close(self) -> None:
        """Nobody commits any more: what is still queued stored nothing."""
        self._stopping, self._claimed_since = True, None
        while self._untold:
            self._tell()
        while self._queue:
            ticket = self._queue.popleft()
            ticket.state = _State.WITHDRAWN
            ticket.fail(ShuttingDown())

    # ------------------------------------------------------------------ one batch

    async def _commit(self, batch: list[_Ticket]) -> None:
        part: list[_Ticket] = []
        parts = [batch] if batch else []
        try:
            while parts:
                part = parts.pop()
                parts += await self._settle(part)
        except BaseException:
            # A fault of our own: what was claimed may be stored or not, and the service stops with the reason.
            for unsure in (part, *parts):
                self._fail(unsure, OutcomeUnknown())
            raise

    async def _settle(self, part: list[_Ticket]) -> list[list[_Ticket]]:
        """Give every request of a part its outcome, or return two halves to be tried apart, the first one last."""
        try:
            await self._write(part)
        except WriteRejected as error:
            # One bad row must not fail its neighbours: halve until it stands alone.
            if len(part) > 1:
                middle = len(part) // 2
                return [part[middle:], part[:middle]]
            self._observer.alarmed("write.rejected", aggregate=part[0].write.aggregate_id, error=str(error))
            self._fail(part, StoreUnavailable("it refused this change"))
        except NotStored as error:
            self._note_outage(str(error))
            self._fail(part, error)
        except CommitAmbiguous:
            await self._resolve(part)
        return []

    def _note_outage(self, reason: str) -> None:
        if self._outage is None:
            self._observer.alarmed("store.unavailable", reason=reason)
        self._outage, self._outage_at = reason, self._runtime.monotonic()

    async def _write(self, part: list[_Ticket]) -> None:
        began = self._runtime.monotonic()
        outcomes = await self._writer.write([ticket.write for ticket in part])
        if self._outage is not None:
            self._outage = None
            self._observer.changed("store.available")
        self._observer.measured("commit_seconds", self._runtime.monotonic() - began)
        self._observer.measured("commit_batch", len(part))
        stored: list[tuple[NewEvent, Stored]] = []
        for ticket, outcome in zip(part, outcomes, strict=True):
            self._untold.append((ticket, outcome))
            if isinstance(outcome, Stored) and ticket.write.event is not None:
                stored.append((ticket.write.event, outcome))
                self._observer.noted("event.stored", key=ticket.write.aggregate_id, version=ticket.write.event.version)
        if not self._telling:
            self._tell()
        if stored:
            self._on_stored(stored)

    def _tell(self) -> None:
        """Hand out some outcomes, and the others in the next rounds of the loop. Hundreds of answers in one round would
        make everybody wait who has just asked, above all those who are to be refused at once."""
        for _ in range(min(TOLD_AT_ONCE, len(self._untold))):
            ticket, outcome = self._untold.popleft()
            ticket.resolve(outcome)
        self._telling = bool(self._untold)
        if self._telling:
            self._runtime.call_later(0, self._tell)

    async def _resolve(self, part: list[_Ticket]) -> None:
        """Find out about an ambiguous commit by repeating the very same batch: a stored event id answers Stored."""
        give_up = self._runtime.monotonic() + self._limits.resolve_seconds
        self._observer.alarmed("commit.ambiguous", requests=len(part))
        while self._runtime.monotonic() < give_up:
            await self._runtime.sleep(self._limits.resolve_pause_seconds)
            try:
                await self._write(part)
            except (CommitAmbiguous, NotStored):
                continue  # that attempt stored nothing or cannot tell; the first one is still open
            except WriteRejected:
                break
            return
        self._observer.alarmed("commit.unknown", requests=len(part))
        self._fail(part, OutcomeUnknown())

    @staticmethod
    def _fail(part: list[_Ticket], error: Exception) -> None:
        for ticket in part:
            ticket.fail(error)
