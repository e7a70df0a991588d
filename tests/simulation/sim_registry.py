"""The schema registry as one node calls it, for writing (ids) and for reading (schemas)."""

from typing import Final

from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.application.failures import RegistryUnavailable
from tests.simulation.outside import FOREIGN_ID, Node, Outside

RELEASED: Final = BuiltInRegistry()


class SimRegistry:
    """SchemaIds and the decoder's SchemaRegistry of one node: nothing is remembered between calls."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside = node, node.outside

    async def id_of(self, schema: str) -> int:
        async def ask() -> int:
            await self._reach("registry.no_id")
            return await RELEASED.id_of(schema)

        return await self._node.look("registry.id_of", ask)

    async def schema_of(self, schema_id: int) -> str | None:
        async def ask() -> str | None:
            await self._reach("registry.no_schema")
            if schema_id in self._outside.unknown_ids:
                self._outside.saw("registry.unknown_id")
                return None
            return await RELEASED.schema_of(1 if schema_id == FOREIGN_ID else schema_id)

        return await self._node.look("registry.schema_of", ask)

    async def _reach(self, fails: str) -> None:
        outside: Outside = self._outside
        await outside.delay(min(outside.weather.slowest, 0.05), "registry.slow")
        if outside.registry_down or outside.strikes(fails):
            raise RegistryUnavailable("the registry does not answer")


class SimSchemas(SimRegistry):
    """SchemaIds of one node."""

    def __init__(self, node: Node, _schema_id: int) -> None:
        super().__init__(node)
