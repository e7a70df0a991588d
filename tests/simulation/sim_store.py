"""The write side's store as one node calls it: the memory adapter behind delays, faults and lost answers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from ordering.application.failures import CommitAmbiguous, StoreUnavailable, WriteRejected
from ordering.application.messages import (
    JournalEntry,
    NewEvent,
    OutboxRow,
    OutboxSummary,
    Outcome,
    RecordedAnswer,
    Standing,
    StoredState,
    Write,
)
from tests.simulation.outside import Node

T = TypeVar("T")


class SimStore:
    """OrderRepository, BatchWriter, Outbox and RelayLease of one node."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside, self._real = node, node.outside, node.outside.store

    async def _do(
        self, what: str, act: Callable[[], Awaitable[T]], fails: str = "store.busy", lost: str | None = None
    ) -> T:
        async def do() -> T:
            outside = self._outside
            await outside.delay(outside.weather.store_slowest)
            if (
                outside.store_down
                or outside.strikes("store.busy")
                or (fails != "store.busy" and outside.strikes(fails))
            ):
                raise StoreUnavailable("busy")
            answer = await act()
            await outside.delay(outside.weather.store_slowest)
            if lost is not None and outside.strikes(lost):
                raise StoreUnavailable("the answer was lost")
            return answer

        return await self._node.call(what, do)

    # ------------------------------------------------------------------ commands

    async def get(self, aggregate_id: str) -> StoredState | None:
        return await self._do("store.get", lambda: self._real.get(aggregate_id), "store.read_failed")

    async def answer_to(self, key: str) -> RecordedAnswer | None:
        return await self._do("store.answer_to", lambda: self._real.answer_to(key), "store.read_failed")

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        async def write() -> Sequence[Outcome]:
            if any(w.aggregate_id.startswith("bad") for w in batch):
                raise WriteRejected("a row breaks a constraint")
            if self._outside.strikes("store.ambiguous_not_stored"):
                raise CommitAmbiguous("the connection was lost")
            outcomes = await self._real.write(batch)
            if self._outside.strikes("store.ambiguous_stored"):
                raise CommitAmbiguous("the connection was lost")
            return outcomes

        return await self._do("store.write", write)

    # ------------------------------------------------------------------ outbox

    async def heads(self, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        return await self._do("store.heads", lambda: self._real.heads(limit, exclude), "store.read_failed")

    async def mark_published(self, events: Sequence[tuple[str, int]]) -> None:
        await self._do(
            "store.mark", lambda: self._real.mark_published(events), "store.mark_failed", "store.mark_answer_lost"
        )

    async def park(self, aggregate_id: str, reason: str) -> None:
        await self._do("store.park", lambda: self._real.park(aggregate_id, reason))

    async def retry(self, aggregate_id: str | None) -> int:
        return await self._do("store.retry", lambda: self._real.retry(aggregate_id))

    async def waiting(self, limit: int, *, parked_only: bool = False) -> Sequence[OutboxRow]:
        return await self._do("store.waiting", lambda: self._real.waiting(limit, parked_only=parked_only))

    async def summary(self) -> OutboxSummary:
        return await self._do("store.summary", self._real.summary, "store.read_failed")

    async def partitions(self, topic: str, found: int) -> int:
        return await self._do("store.partitions", lambda: self._real.partitions(topic, found))

    # ------------------------------------------------------------------ people and housekeeping

    async def timeline(self, aggregate_id: str) -> Sequence[JournalEntry]:
        return await self._do("store.timeline", lambda: self._real.timeline(aggregate_id), "store.read_failed")

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        return await self._do("store.standings", lambda: self._real.standings(keys), "store.read_failed")

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        await self._do("store.adopt", lambda: self._real.adopt(events))

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        return await self._do(
            "store.trim",
            lambda: self._real.trim(answers_before=answers_before, journal_before=journal_before, limit=limit),
        )

    # ------------------------------------------------------------------ lease

    async def renew(self, deliverable: str | None) -> bool:
        """Half of the worlds let everybody lead all the time: two relays must only repeat, never reorder."""

        async def renew() -> bool:
            outside, now = self._outside, self._outside.runtime.monotonic()
            if not outside.everybody_leads and outside.lease_owner != self._node.number and outside.lease_until > now:
                outside.saw("lease.refused")
                return False
            if outside.lease_owner not in (0, self._node.number):
                outside.saw("lease.taken_over")
            outside.lease_owner, outside.lease_until = self._node.number, now + 2
            await self._real.renew(deliverable)
            return True

        return await self._do("store.renew", renew, "store.lease_failed")

    async def holders_view(self) -> str | None:
        return await self._do("store.holders_view", self._real.holders_view, "store.lease_failed")

    async def release(self) -> None:
        """Nodes here only die."""

    async def nudge(self) -> None:
        """Lost: the holder's sweep must be enough."""

    async def follow(self, wake: Callable[[], None]) -> None:
        """Nothing is ever heard."""
        await asyncio.Event().wait()
