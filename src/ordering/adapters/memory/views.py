"""The read model in memory: the same guards and the same answers as the durable ones, lost with the process."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence

from ordering.adapters.memory.generation import Generation, numbers
from ordering.adapters.memory.generations import MemoryGenerations, Model
from ordering.application.failures import StalePosition, StoreUnavailable
from ordering.application.messages import (
    Changes,
    DeadReason,
    HeldRecord,
    LogIdentity,
    Place,
    Snapshot,
    ViewRow,
    ViewStats,
)


class MemoryViews:
    """ProjectionStore, OrderViews and DeadLetters. ``unavailable`` (a reason) makes every call fail with it.

    A row keeps the ``first`` it came with; label counts at zero are left out of the statistics.
    """

    def __init__(self) -> None:
        self.unavailable: str | None = None
        self._model = Model()

    def generations(self) -> MemoryGenerations:
        """The generations, as one process that may rebuild sees them."""
        return MemoryGenerations(self._model)

    # ------------------------------------------------------------------ the consumer's side

    async def identity(self, topic: str) -> LogIdentity | None:
        return self._live.identities.get(topic)

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        return self._live.identities.setdefault(topic, identity)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        live = self._live
        return Snapshot(self._model.pointer, live.at(topic), live.known(keys))

    async def commit(self, changes: Changes) -> None:
        """Waits while the pointer is being moved."""
        await self._model.no_flip()
        live = self._live
        if changes.generation != self._model.pointer:
            raise StalePosition(f"generation {changes.generation} is not the live one")
        live.store(changes)
        self._model.remember(changes)

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return self._live.held_for(key)

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return self._live.held_keys(reason, limit, after)

    # ------------------------------------------------------------------ the queries' side

    async def get(self, key: str) -> ViewRow | None:
        return self._live.rows.get(key)

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        appearances = self._live.appearances
        start = 0 if after is None else bisect_right(appearances, numbers(after), key=lambda one: one[0])
        return [(Place(*place), key) for place, key in appearances[start : start + limit]]

    async def positions(self, topic: str) -> Mapping[int, int]:
        return self._live.at(topic)

    async def stats(self) -> ViewStats:
        return self._live.stats()

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        """There is no other process."""
        await asyncio.Event().wait()

    # ------------------------------------------------------------------ people's side

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        live = self._live
        if key is not None:
            return live.held_for(key)[:limit]
        own = [(letter.held_at, *place) for place, letter in live.held.items() if letter.reason != DeadReason.PARKED]
        return [live.held[topic, partition, offset] for _, topic, partition, offset in sorted(own)[:limit]]

    @property
    def _live(self) -> Generation:
        if self.unavailable is not None:
            raise StoreUnavailable(self.unavailable)
        return self._model.generations[self._model.pointer]
