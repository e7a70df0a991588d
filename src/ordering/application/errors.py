"""What the system can answer besides success, each with a code of the domain's closed list.

The classes tell an entrypoint everything it may say: nothing here carries a driver's text for clients.
"""

from ordering.domain.errors import Code, OrderingError


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


class NotStored(OrderingError):
    """This attempt provably stored nothing; repeating it later is safe. The only family that becomes a 503."""


class BrokerUnavailable(NotStored):
    """Events cannot be delivered, so new changes are refused (or the log cannot be asked)."""

    code = Code.BROKER_UNAVAILABLE

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Events cannot be delivered at the moment: {reason}")


class RegistryUnavailable(BrokerUnavailable):
    """The schema registry cannot be asked."""


class StoreUnavailable(NotStored):
    """The store took nothing of this attempt (busy, full, closed)."""

    code = Code.STORE_UNAVAILABLE

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The store cannot take changes at the moment: {reason}")


class Overloaded(NotStored):
    """More work is waiting than is allowed to wait; this request was not admitted or was withdrawn in time."""

    code = Code.OVERLOADED

    def __init__(self, reason: str) -> None:
        super().__init__(f"Too much work is waiting: {reason}")


class ShuttingDown(NotStored):
    """The service is stopping and takes nothing new."""

    code = Code.SHUTTING_DOWN

    def __init__(self) -> None:
        super().__init__("The service is shutting down")


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


class OutcomeUnknown(OrderingError):
    """Nobody can tell whether this attempt was stored. Never a 503; repeating the same request is safe."""

    code = Code.OUTCOME_UNKNOWN

    def __init__(self) -> None:
        super().__init__("It is unknown whether this request was stored; repeat it with the same orderId to find out")


# ------------------------------------------------------------------------- between ports and the machinery


class WriteRejected(Exception):
    """A batch was rolled back, definitely, because of something in it: the rest may succeed without it."""


class CommitAmbiguous(Exception):
    """The connection or the disk failed while committing: the batch is stored or not, and only asking again tells."""


class StalePosition(Exception):
    """A projection transaction lost its compare-and-set: somebody else moved a position or a row. Nothing stored."""


class LogChanged(Exception):
    """The log is not the one these positions belong to (other cluster, recreated topic, history lost)."""
