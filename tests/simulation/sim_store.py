"""The write side's store as one node calls it: the memory adapter behind delays, faults, locks and lost answers.

A batch is one transaction that the real adapters run on a connection of their own. Its answer may be lost before or
after the commit, and the commit may come later still: then it keeps its locks, so whoever writes next waits for it.
What is one statement may come to pass after its caller was told that it has failed, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from ordering.application.failures import CommitAmbiguous, StoreUnavailable, WriteRejected
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
from tests.simulation.outside import Lease, Node

T = TypeVar("T")

LEASE_SECONDS: Final = 2.0
LOCK_SECONDS: Final = 2.0
"""How long a write waits for another one's locks."""
LATE_SECONDS: Final = (0.0, 1.0, 3.0)
"""How late at most what nobody waits for any more comes to pass."""
REFUSED: Final = "bad"
"""What ids begin with that no row may hold."""
NO_RELAY: Final = "no relay is running"


class SimStore:
    """OrderRepository, BatchWriter, Outbox, Journal, StandingStore, Housekeeping and RelayLease of one node."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside, self._real = node, node.outside, node.outside.store
        self._closed = False

    async def close(self) -> None:
        """Answer everything with StoreUnavailable from now on."""
        self._closed = True

    # ------------------------------------------------------------------ commands

    async def get(self, aggregate_id: str) -> StoredState | None:
        return await self._read("store.get", lambda: self._real.get(aggregate_id))

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        return await self._read("store.answer_to", lambda: self._real.answer_to(key))

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return await self._node.call("store.write", lambda: self._write(batch))

    async def _write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        outside, disk = self._outside, self._outside.store_disk
        await self._reach("store.busy")
        cuts = disk.power_cuts
        await self._lock()
        if disk.power_cuts != cuts:
            raise StoreUnavailable("the server has restarted")
        if any(one.aggregate_id.startswith(REFUSED) for one in batch):
            outside.saw("store.rejected")
            raise WriteRejected("a row breaks a constraint")
        if outside.strikes("store.ambiguous_not_stored"):
            raise CommitAmbiguous("the connection was lost at commit")
        if outside.strikes("store.ambiguous_late"):
            outside.store_landing = asyncio.get_running_loop().create_future()
            outside.runtime.spawn(self._land(batch, cuts), name="late commit")
            raise CommitAmbiguous("the connection was lost at commit")
        outcomes = await self._commit(batch)
        await outside.delay(outside.weather.store_slowest)
        if disk.power_cuts != cuts or outside.strikes("store.ambiguous_stored"):
            raise CommitAmbiguous("the connection was lost at commit")
        self.promise()
        return outcomes

    async def _commit(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        """The transaction, in one moment."""
        outside = self._outside
        known = dict.fromkeys(w.event.event_id for w in batch if w.event is not None and self._knows(w.event))
        outside.store_disk.writing(promised=True)
        outcomes = await self._real.write(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                outside.saw("store.conflict")
            elif isinstance(outcome, AnswerTaken):
                outside.saw("store.answer_taken")
            elif one.event is not None:
                self._note(one.event, outcome, repeated=one.event.event_id in known)
        return outcomes

    def _knows(self, event: NewEvent) -> bool:
        known = self._outside.history.get((event.aggregate_id, event.version))
        return known is not None and known.event_id == event.event_id

    def _note(self, event: NewEvent, outcome: Stored, *, repeated: bool) -> None:
        self._outside.history[event.aggregate_id, event.version] = event
        if repeated:
            self._outside.saw("store.repeated")
        if not outcome.first_in_line:
            self._outside.saw("store.not_first_in_line")

    async def _lock(self) -> None:
        """Wait for the locks of a commit that nobody waits for any more."""
        landing = self._outside.store_landing
        if landing is None:
            return
        self._outside.saw("store.waited_for_locks")
        await asyncio.wait([landing], timeout=LOCK_SECONDS)
        if self._outside.store_landing is not None:
            raise StoreUnavailable("a lock was not to be had in time")

    async def _land(self, batch: Sequence[Write], cuts: int) -> None:
        outside, landing = self._outside, self._outside.store_landing
        await outside.runtime.sleep(outside.rng.choice(LATE_SECONDS) * outside.rng.random())
        try:
            if outside.store_disk.power_cuts == cuts:
                await self._commit(batch)
                self.promise()
        finally:
            outside.store_landing = None
            if landing is not None:
                landing.set_result(None)

    def promise(self) -> None:
        """What was committed is on the disk; nobody is told before."""
        self._outside.store_disk.promised()

    # ------------------------------------------------------------------ outbox

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        return await self._read("store.heads", lambda: self._real.heads(limit, exclude))

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        await self._change(
            "store.mark",
            lambda: self._real.mark_published(events),
            "store.mark_failed",
            "store.mark_answer_lost",
            promised=False,
        )

    async def park(self, aggregate_id: str, version: int, reason: str) -> None:
        await self._change("store.park", lambda: self._real.park(aggregate_id, version, reason), counted="store.parked")

    async def retry(self, aggregate_id: str | None) -> int:
        return await self._change("store.retry", lambda: self._real.retry(aggregate_id), counted="store.unparked")

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        return await self._read("store.waiting", lambda: self._real.waiting(limit, parked_only=parked_only))

    async def summary(self) -> OutboxSummary:
        return await self._read("store.summary", self._real.summary)

    async def partitions(self, topic: str, found: int) -> int:
        return await self._change("store.partitions", lambda: self._real.partitions(topic, found))

    # ------------------------------------------------------------------ people and housekeeping

    async def timeline(self, aggregate_id: str) -> Sequence[JournalEntry]:
        return await self._read("store.timeline", lambda: self._real.timeline(aggregate_id))

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        return await self._read("store.standings", lambda: self._real.standings(keys))

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        await self._change("store.adopt", lambda: self._real.adopt(events))

    async def states(self, after: str, limit: int) -> Sequence[KeptState]:
        return await self._read("store.states", lambda: self._real.states(after, limit))

    async def requeue(self, keys: Collection[str], lost: Sequence[NewEvent]) -> None:
        await self._change("store.requeue", lambda: self._real.requeue(keys, lost))

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        return await self._change(
            "store.trim",
            lambda: self._real.trim(answers_before=answers_before, journal_before=journal_before, limit=limit),
            counted="store.trimmed",
            promised=False,
        )

    # ------------------------------------------------------------------ lease

    async def renew(self, deliverable: str | None) -> bool:
        """Half of the worlds let everybody lead all the time: two relays must only repeat, never reorder."""

        async def renew() -> bool:
            outside, lease, me = self._outside, self._outside.lease, self._node.number
            now = outside.runtime.monotonic()
            if lease.owner != me and lease.until > now and not outside.everybody_leads:
                outside.saw("lease.refused")
                return False
            if lease.owner not in (0, me):
                outside.saw("lease.taken_over")
            outside.lease = Lease(me, now + LEASE_SECONDS, deliverable)
            return True

        return await self._change("store.renew", renew, "store.lease_failed", promised=False)

    async def holders_view(self) -> str | None:
        async def view() -> str | None:
            lease = self._outside.lease
            return lease.trouble if lease.until > self._outside.runtime.monotonic() else NO_RELAY

        return await self._read("store.holders_view", view)

    async def release(self) -> None:
        async def release() -> None:
            if self._outside.lease.owner == self._node.number:
                self._outside.saw("lease.released")
                self._outside.lease = Lease()

        await self._change("store.release", release)

    async def nudge(self) -> None:
        outside = self._outside
        await self._node.visit("store.nudge")
        if outside.store_down or outside.strikes("store.nudge_lost"):
            return
        for number, wake in outside.followers.items():
            if number != self._node.number:
                outside.runtime.call_later(outside.rng.uniform(0, outside.weather.store_slowest), wake)

    async def follow(self, wake: Callable[[], None]) -> None:
        self._outside.followers[self._node.number] = wake
        try:
            await asyncio.Event().wait()
        finally:
            del self._outside.followers[self._node.number]

    # ------------------------------------------------------------------ every call

    async def _read(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        async def read() -> T:
            await self._reach("store.read_failed")
            answer = await act()
            self._outside.store_disk.seen()
            await self._outside.delay(self._outside.weather.store_slowest)
            return answer

        return await self._node.look(what, read)

    async def _change(
        self,
        what: str,
        act: Callable[[], Awaitable[T]],
        fails: str = "store.busy",
        lost: str = "",
        counted: str = "",
        *,
        promised: bool = True,
    ) -> T:
        outside, disk = self._outside, self._outside.store_disk

        async def done() -> T:
            disk.writing(promised=promised)
            answer = await act()
            if counted and answer != 0:
                outside.saw(counted)
            return answer

        async def change() -> T:
            await self._reach(fails)
            cuts = disk.power_cuts
            if outside.strikes("store.late"):
                outside.runtime.spawn(self._comes_late(done, cuts), name="late statement")
                raise StoreUnavailable("it does not answer in time")
            answer = await done()
            await outside.delay(outside.weather.store_slowest)
            if disk.power_cuts != cuts or (lost and outside.strikes(lost)):
                raise StoreUnavailable("the connection was lost")
            if promised:
                self.promise()
            return answer

        return await self._node.call(what, change)

    async def _comes_late(self, act: Callable[[], Awaitable[object]], cuts: int) -> None:
        """A statement whose connection was given up, in a server that goes on with it."""
        outside = self._outside
        await outside.runtime.sleep(outside.rng.choice(LATE_SECONDS) * outside.rng.random())
        if outside.store_disk.power_cuts == cuts:
            await act()

    async def _reach(self, fails: str) -> None:
        """The way to the store, and whether it can just now. Raises StoreUnavailable."""
        outside = self._outside
        await outside.delay(outside.weather.store_slowest, "store.slow")
        if not outside.store_stalled.is_set():
            await outside.store_stalled.wait()
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if outside.store_down or outside.strikes(fails):
            raise StoreUnavailable("it is busy")
        if outside.store_full and fails != "store.read_failed":
            raise StoreUnavailable("the disk is full")
