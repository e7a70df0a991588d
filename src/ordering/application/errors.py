"""What the system can answer besides success, each with a code of the domain's closed list.

The classes tell an entrypoint everything it may say: nothing here carries a driver's text for clients.
"""

from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    Failure,
    LogChanged,
    NotStored,
    OutcomeUnknown,
    Overloaded,
    RegistryUnavailable,
    ShuttingDown,
    StalePosition,
    StoreUnavailable,
    WriteRejected,
)
from ordering.domain.errors import Code, OrderingError

__all__ = [
    "BrokerUnavailable",
    "CommitAmbiguous",
    "Contended",
    "DuplicateOrder",
    "Failure",
    "KeyInFlight",
    "KeyReused",
    "LogChanged",
    "NotStored",
    "OrderNotFound",
    "OutcomeUnknown",
    "Overloaded",
    "PreconditionFailed",
    "ReadModelBehind",
    "RegistryUnavailable",
    "ShuttingDown",
    "StalePosition",
    "StoreUnavailable",
    "TopicNotFound",
    "VersionNotReached",
    "WriteRejected",
]


class OrderNotFound(OrderingError):
    """No order has this id."""

    code = Code.ORDER_NOT_FOUND

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"Order with ID '{order_id}' not found")


class DuplicateOrder(OrderingError):
    """An order with this id is stored already (whoever stored it: a repeated create may be the client's own)."""

    code = Code.DUPLICATE_ORDER

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"Order with ID '{order_id}' already exists")


class PreconditionFailed(OrderingError):
    """``If-Match`` names another version than the order has."""

    code = Code.PRECONDITION_FAILED

    def __init__(self, order_id: str, version: int) -> None:
        self.order_id, self.version = order_id, version
        super().__init__(f"Order '{order_id}' is at version {version}, which If-Match does not name")


class VersionNotReached(OrderingError):
    """The read model has not seen the asked version of an order yet."""

    code = Code.VERSION_NOT_REACHED

    def __init__(self, order_id: str, wanted: int, current: int) -> None:
        self.order_id, self.wanted, self.current = order_id, wanted, current
        super().__init__(f"Order '{order_id}' is at version {current} here, version {wanted} has not arrived")


class KeyInFlight(OrderingError):
    """A request with the same idempotency key is being worked on."""

    code = Code.KEY_IN_FLIGHT

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is in flight; repeat it when that one is answered")


class KeyReused(OrderingError):
    """The idempotency key was first used with another body."""

    code = Code.KEY_REUSED

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another request body")


class TopicNotFound(OrderingError):
    """This service does not project the asked topic."""

    code = Code.TOPIC_NOT_FOUND

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"Topic '{topic}' is not projected here")


class Contended(NotStored):
    """The order changed under this request each time it was decided."""

    code = Code.CONTENDED

    def __init__(self, order_id: str) -> None:
        super().__init__(f"Order '{order_id}' is being changed by others; try again")


class ReadModelBehind(NotStored):
    """The read model did not reach the log's end in time."""

    code = Code.READ_MODEL_BEHIND

    def __init__(self, topic: str) -> None:
        super().__init__(f"The read model has not reached the end of topic '{topic}' in time")
