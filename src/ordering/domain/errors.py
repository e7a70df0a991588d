"""What can be wrong with an order or a command, with the closed list of codes clients may rely on."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import attrs

from ordering.domain.status import OrderStatus

FAULTS_IN_TEXT_MAX: Final = 10


class Code(StrEnum):
    """Every code an answer of the system can carry. Codes are permanent; a new rule adds a new one."""

    # faults of an input, each at a field
    REQUIRED = "required"
    INVALID_TYPE = "invalid-type"
    BLANK = "blank"
    TOO_LONG = "too-long"
    INVALID_CHARACTERS = "invalid-characters"
    OUT_OF_RANGE = "out-of-range"
    NOT_FINITE = "not-finite"
    TOO_MANY_DECIMALS = "too-many-decimals"
    TOO_FEW_ITEMS = "too-few-items"
    TOO_MANY_ITEMS = "too-many-items"
    TOTAL_TOO_LARGE = "total-too-large"
    UNKNOWN_CURRENCY = "unknown-currency"
    UNKNOWN_STATUS = "unknown-status"
    ITEMS_OR_NUM_ITEMS = "items-or-num-items"
    INVALID_JSON = "invalid-json"
    INVALID_UTF8 = "invalid-utf8"
    DUPLICATE_KEY = "duplicate-key"
    TOO_DEEP = "too-deep"
    REPEATED_PARAMETER = "repeated-parameter"
    MALFORMED_HEADER = "malformed-header"
    INVALID_CURSOR = "invalid-cursor"
    # answers about a whole request
    INVALID_INPUT = "invalid-input"
    ORDER_NOT_FOUND = "order-not-found"
    DUPLICATE_ORDER = "duplicate-order"
    ILLEGAL_TRANSITION = "illegal-transition"
    PRECONDITION_FAILED = "precondition-failed"
    VERSION_NOT_REACHED = "version-not-reached"
    KEY_IN_FLIGHT = "idempotency-key-in-flight"
    KEY_REUSED = "idempotency-key-reused"
    TOPIC_NOT_FOUND = "topic-not-found"
    BROKER_UNAVAILABLE = "broker-unavailable"
    STORE_UNAVAILABLE = "store-unavailable"
    READ_MODEL_BEHIND = "read-model-behind"
    CONTENDED = "contended"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting-down"
    OUTCOME_UNKNOWN = "outcome-unknown"
    PAYLOAD_TOO_LARGE = "payload-too-large"
    ROUTE_NOT_FOUND = "route-not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    MALFORMED_REQUEST = "malformed-request"
    REQUEST_TIMEOUT = "request-timeout"
    HEAD_TOO_LARGE = "head-too-large"
    INTERNAL_ERROR = "internal-error"


@attrs.frozen
class Fault:
    """One thing wrong with an input.

    ``field`` is a path into the input (``items[2].price``, ``body``, a query parameter's or a header's name);
    ``message`` names the rule in words a client's developer can act on.
    """

    field: str
    code: Code
    message: str


class OrderingError(Exception):
    """Base of everything the system refuses. ``code`` is for programs, ``str(error)`` for people."""

    code: Code = Code.INTERNAL_ERROR


class InvalidInput(OrderingError):
    """An input breaks rules; ``faults`` lists all of them, in the documented order of the fields.

    The text of the error names the first few and counts the rest: an input can have thousands.
    """

    code = Code.INVALID_INPUT

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        named = [f"{fault.field}: {fault.message}" for fault in self.faults[:FAULTS_IN_TEXT_MAX]]
        if len(self.faults) > FAULTS_IN_TEXT_MAX:
            named.append(f"and {len(self.faults) - FAULTS_IN_TEXT_MAX} more")
        super().__init__("; ".join(named))


class IllegalTransition(OrderingError):
    """The life cycle has no step from the present status to the asked one."""

    code = Code.ILLEGAL_TRANSITION

    def __init__(
        self, order_id: str, current: OrderStatus, target: OrderStatus, allowed: Sequence[OrderStatus]
    ) -> None:
        self.order_id, self.current, self.target, self.allowed = order_id, current, target, tuple(allowed)
        steps = ", ".join(self.allowed) or "none, the status is final"
        super().__init__(f"Order '{order_id}' is {current} and cannot become {target}; allowed: {steps}")
