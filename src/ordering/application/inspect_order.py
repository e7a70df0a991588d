"""Use case for operators: where is an order's data, and why is it stuck?"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import attrs

from ordering.application.failures import BrokerUnavailable, Failure, LogChanged, StoreUnavailable
from ordering.application.messages import HeldRecord, JournalEntry, Lineage, Record, StoredState, ViewRow
from ordering.application.partitioning import partition_of
from ordering.application.ports import DeadLetters, Journal, OrderRepository, OrderViews

Found = TypeVar("Found")


class LogSearch(Protocol):
    """Looking for one key in the log; may read a whole partition, so only for people."""

    async def find(self, partition: int, key: bytes, limit: int) -> Sequence[Record]:
        """The key's records in the log's order. Raises BrokerUnavailable."""

    async def partition_count(self) -> int:
        """The count that keys are placed by, however the log has grown. Raises BrokerUnavailable."""


@attrs.frozen
class OrderTrace:
    """Everything known of one order: the store's state and timeline, its records in the log, the view, what is held.

    ``unread`` names the parts that could not be asked (stored, journal, log, view, held), each with the reason.
    """

    stored: StoredState | None
    timeline: Sequence[JournalEntry]
    partition: int | None
    records: Sequence[Record]
    view: ViewRow | None
    held: Sequence[HeldRecord]
    unread: Mapping[str, str] = attrs.Factory(dict)

    @property
    def verdict(self) -> str:
        """One sentence: where the order stands, or what holds it up."""
        return self._holdup() or self._progress()

    def _holdup(self) -> str | None:
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
        return None

    def _progress(self) -> str:
        seen, stored = self.view.version if self.view else 0, self.stored.version if self.stored else 0
        missing = [
            f"{name} is not readable: {self.unread[part]}"
            for part, name in (("stored", "the order store"), ("view", "the read model"))
            if part in self.unread
        ]
        if missing:
            found = "not found in what is readable"
            if self.stored:
                found = f"stored at version {stored}" + ("" if "journal" in self.unread else " and published")
            elif self.view:
                found = f"version {seen} is in the read model"
            return "; ".join([found, *missing])
        if self.stored is None and self.view is None:
            return "unknown: not stored, not in the read model"
        if seen < stored:
            return f"published up to version {stored}, the read model is at version {seen}"
        if seen > stored and self.view and (self.stored or self.view.lineage is Lineage.OWN):
            versions = f"version {seen}, stored {stored or 'nothing'}"
            return f"the read model is ahead of the store ({versions}): was an older store restored?"
        return f"complete: version {seen} is in the read model"


class InspectOrder:
    """Collects an order's trace. Every part is opened and asked for itself, so that one that is missing or broken does
    not hide the others; ``refusals`` are what opening one may raise."""

    def __init__(
        self,
        repository: Callable[[], OrderRepository],
        journal: Callable[[], Journal],
        log: Callable[[], LogSearch],
        views: Callable[[], OrderViews],
        letters: Callable[[], DeadLetters],
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        self._repository, self._journal, self._log = repository, journal, log
        self._views, self._letters = views, letters
        self._expected: tuple[type[Exception], ...] = (Failure, LogChanged, *refusals)

    async def __call__(self, order_id: str) -> OrderTrace:
        """The trace, as far as it can be read."""
        unread: dict[str, str] = {}
        key = order_id.encode()

        async def read(part: str, asking: Callable[[], Awaitable[Found]], instead: Found) -> Found:
            try:
                return await asking()
            except self._expected as error:
                unread[part] = error.reason if isinstance(error, BrokerUnavailable | StoreUnavailable) else str(error)
                return instead

        async def place() -> int | None:
            return partition_of(key, await self._log().partition_count())

        async def records() -> Sequence[Record]:
            return () if partition is None else await self._log().find(partition, key, 1_000)

        async def state() -> StoredState | None:
            return await self._repository().get(order_id)

        async def timeline() -> Sequence[JournalEntry]:
            return await self._journal().timeline(order_id)

        async def row() -> ViewRow | None:
            return await self._views().get(order_id)

        async def letters() -> Sequence[HeldRecord]:
            return await self._letters().letters(1_000, key=order_id)

        partition = await read("log", place, None)
        return OrderTrace(
            stored=await read("stored", state, None),
            timeline=await read("journal", timeline, ()),
            partition=partition,
            records=await read("log", records, ()),
            view=await read("view", row, None),
            held=await read("held", letters, ()),
            unread=unread,
        )
