"""The schema registry as one node calls it."""

from ordering.application.failures import RegistryUnavailable
from tests.simulation.outside import Node


class SimSchemas:
    """SchemaIds of one node."""

    def __init__(self, node: Node, schema_id: int) -> None:
        self._outside, self._id = node.outside, schema_id

    async def id_of(self, schema: str) -> int:
        if self._outside.strikes("registry.no_id"):
            raise RegistryUnavailable("no registry")
        return self._id
