"""The read model as one node calls it."""

from collections.abc import Collection

from ordering.application.failures import CommitAmbiguous, StalePosition, StoreUnavailable
from ordering.application.messages import Changes, Snapshot, ViewRow
from tests.simulation.outside import Node


class SimViews:
    """ProjectionStore of one node; two nodes share the read model, as two owners of a partition would for a moment."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside, self._real = node, node.outside, node.outside.views
        self.identity, self.record_identity = self._real.identity, self._real.record_identity
        self.held, self.held_keys = self._real.held, self._real.held_keys

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        async def load() -> Snapshot:
            await self._trouble()
            return await self._real.load(topic, keys)

        return await self._node.call("views.load", load)

    async def commit(self, changes: Changes) -> None:
        async def commit() -> None:
            await self._trouble()
            if self._outside.strikes("views.stale"):
                raise StalePosition
            if self._outside.strikes("views.ambiguous_not_stored"):
                raise CommitAmbiguous("the disk failed")
            await self._real.commit(changes)
            if self._outside.strikes("views.ambiguous_stored"):
                raise CommitAmbiguous("the disk failed")

        await self._node.call("views.commit", commit)

    async def get(self, key: str) -> ViewRow | None:
        async def get() -> ViewRow | None:
            await self._trouble()
            return await self._real.get(key)

        return await self._node.call("views.get", get)

    async def _trouble(self) -> None:
        await self._outside.delay(self._outside.weather.store_slowest)
        if self._outside.store_down or self._outside.strikes("views.busy"):
            raise StoreUnavailable("busy")
