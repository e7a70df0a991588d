"""What the services promise to other programs, without running them: their HTTP documents and the released schemas."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ordering.adapters.avro import released
from ordering.entrypoints.container.memory import memory
from ordering.entrypoints.container.parts import EVENT_SOURCE
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings

__all__ = ["EVENT_SOURCE", "PublishedSchema", "openapi_documents", "published_schemas"]


@attrs.frozen
class PublishedSchema:
    """A released schema: the parsed file, and its subject and version there."""

    definition: Any
    subject: str
    version: int
    inherited: bool


def published_schemas() -> Sequence[PublishedSchema]:
    """Every released schema, in the index's order."""
    return [
        PublishedSchema(found.definition, found.entry.subject, found.entry.version, found.entry.inherited)
        for found in released.load()
    ]


def openapi_documents() -> Mapping[str, Mapping[str, Any]]:
    """The OpenAPI document of each service, whatever the settings are: they change nothing in it."""
    cart, order = memory(Settings(), ServiceObserver(None))
    return {"cart": cart.app().document, "order": order.app().document}
