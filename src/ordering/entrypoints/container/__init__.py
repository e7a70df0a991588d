"""The composition root: the only package that knows adapters, and ``parts`` in it the only file that knows
dependency-injector.

``parts`` builds a service's use cases on the ports it is given; ``embedded``, ``cluster`` and ``memory`` give it
adapters; ``services`` makes running services of that, ``tools`` what commands need. A process resolves only its own
part: `serve cart` opens the order store and writes the log, `serve order` opens the read model and reads the log.
Modules of the cluster mode are imported only in it: their drivers are extras.
"""

from typing import TYPE_CHECKING

from ordering.adapters.sqlite.errors import NewerSchema, OlderSchema
from ordering.application.failures import Refused
from ordering.entrypoints.container.administration import Migrations, ensure_topic
from ordering.entrypoints.container.backup import ELSEWHERE, Copied, Told, back_up
from ordering.entrypoints.container.contracts import EVENT_SOURCE, openapi_documents, published_schemas
from ordering.entrypoints.container.embedded import NothingYet, embedded_cart, embedded_order
from ordering.entrypoints.container.inspection import Inspection, StoreFacts, inspection, sqlite_build
from ordering.entrypoints.container.memory import memory
from ordering.entrypoints.container.parts import Cart, Order, OrderStore, ReadModel
from ordering.entrypoints.container.services import cart_service, order_service, service
from ordering.entrypoints.container.tools import Tools, check_schemas, schema_subjects

if TYPE_CHECKING:
    from ordering.adapters.kafka.topics import TopicState as TopicState

REFUSALS = (Refused,)
"""What an adapter raises, with one line for people, when a process must not start."""

__all__ = [
    "ELSEWHERE",
    "EVENT_SOURCE",
    "REFUSALS",
    "Cart",
    "Copied",
    "Inspection",
    "Migrations",
    "NewerSchema",
    "NothingYet",
    "OlderSchema",
    "Order",
    "OrderStore",
    "ReadModel",
    "StoreFacts",
    "Told",
    "Tools",
    "back_up",
    "cart_service",
    "check_schemas",
    "embedded_cart",
    "embedded_order",
    "ensure_topic",
    "inspection",
    "memory",
    "openapi_documents",
    "order_service",
    "published_schemas",
    "schema_subjects",
    "service",
    "sqlite_build",
]
