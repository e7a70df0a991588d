"""Use case for operators: where is an order's data, and why is it stuck?"""

from collections.abc import Sequence
from typing import Protocol

import attrs

from ordering.application.messages import HeldRecord, JournalEntry, Record, StoredState, ViewRow
from ordering.application.partitioning import partition_of
from ordering.application.ports import DeadLetters, Journal, OrderRepository, OrderViews


class LogSearch(Protocol):
    """Looking for one key in the log; may read a whole partition, so only for people."""

    async def find(self, partition: int, key: bytes, limit: int) -> Sequence[Record]:
        """The key's records in the log's order. Raises BrokerUnavailable."""

    async def partition_count(self) -> int:
        """Raises BrokerUnavailable."""


@attrs.frozen
class OrderTrace:
    """Everything known of one order: the store's state and timeline, its records in the log, the view, what is held."""

    stored: StoredState | None
    timeline: Sequence[JournalEntry]
    partition: int
    records: Sequence[Record]
    view: ViewRow | None
    held: Sequence[HeldRecord]

    @property
    def verdict(self) -> str:
        """One sentence: where the order stands, or what holds it up."""
        if self.stored is None and self.view is None and not self.held:
            return "unknown: not stored, not in the read model"
        parked = next((entry.parked for entry in self.timeline if entry.parked), None)
        if parked is not None:
            return f"its events are parked in the outbox: {parked}"
        waiting = [entry.event.version for entry in self.timeline if not entry.published]
        if waiting:
            return f"version {waiting[0]} waits to be published"
        if self.held:
            letter = self.held[0]
            place = f"partition {letter.record.partition}, offset {letter.record.offset}"
            return f"the read model holds it back: {letter.reason} at {place}: {letter.detail}"
        seen, stored = self.view.version if self.view else 0, self.stored.version if self.stored else 0
        if seen < stored:
            return f"published up to version {stored}, the read model is at version {seen}"
        return f"complete: version {seen} is in the read model"


class InspectOrder:
    """Collects an order's trace; every part is asked, so that one missing part does not hide the others."""

    def __init__(
        self, repository: OrderRepository, journal: Journal, log: LogSearch, views: OrderViews, letters: DeadLetters
    ) -> None:
        self._repository, self._journal, self._log = repository, journal, log
        self._views, self._letters = views, letters

    async def __call__(self, order_id: str) -> OrderTrace:
        """Raises StoreUnavailable, BrokerUnavailable."""
        partition = partition_of(order_id.encode(), await self._log.partition_count())
        return OrderTrace(
            stored=await self._repository.get(order_id),
            timeline=await self._journal.timeline(order_id),
            partition=partition,
            records=await self._log.find(partition, order_id.encode(), 1_000),
            view=await self._views.get(order_id),
            held=await self._letters.letters(1_000, key=order_id),
        )
