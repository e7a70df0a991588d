"""Which schema an id stands for, and the id of a released schema, without a server."""

from collections.abc import Iterable
from typing import Protocol

from ordering.adapters.avro import released
from ordering.adapters.avro.released import Released
from ordering.application.errors import RegistryUnavailable


class SchemaRegistry(Protocol):
    """What the decoder asks; a client of a schema registry over the network has the same shape."""

    async def schema_of(self, schema_id: int) -> str | None:
        """The schema's JSON text, or None if the registry does not know the id.

        Raises RegistryUnavailable, or Unconvertible for what no event can be read with (no Avro, or only a part).
        """


class BuiltInRegistry:
    """The ids of ``schemas/index.json``: the same in every installation, for ever.

    Fulfils the port ``SchemaIds`` and the decoder's ``SchemaRegistry``.
    """

    def __init__(self, schemas: Iterable[Released] | None = None) -> None:
        known = tuple(released.load() if schemas is None else schemas)
        self._ids = {schema.entry.name: schema.entry.id for schema in known}
        self._texts = {schema.entry.id: schema.text for schema in known}

    async def id_of(self, schema: str) -> int:
        """The id of a released schema by its name (``order-events-value/v1``).

        Raises RegistryUnavailable for a name that was never released: no event can be published under it.
        """
        try:
            return self._ids[schema]
        except KeyError:
            raise RegistryUnavailable(f"no released schema is named '{schema}'") from None

    async def schema_of(self, schema_id: int) -> str | None:
        """The schema's JSON text, or None for an id that is not in the index."""
        return self._texts.get(schema_id)
