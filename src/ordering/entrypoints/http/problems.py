"""Refusals as RFC 9457 problem documents: one table from the domain's closed list of codes to status and title.

The seed's clients find their ``success``, ``message`` and ``errors`` in the same document.
"""

from typing import Final

from litestar.exceptions import HTTPException

from ordering.application.errors import Failure, PreconditionFailed, VersionNotReached
from ordering.domain.errors import Code, IllegalTransition, InvalidInput, OrderingError
from ordering.entrypoints.http.replies import Lines, Problem, Reply, etag
from ordering.entrypoints.http.requests import HOST_FAULT
from ordering.entrypoints.http.schemas import FaultBody, ProblemBody, encode

TYPE_PREFIX: Final = "urn:ordering:problem:"
RETRY_AFTER_SECONDS: Final = 1

_INVALID: Final = (400, "The request is not valid")

STATUS_AND_TITLE: Final[dict[Code, tuple[int, str]]] = {
    Code.REQUIRED: _INVALID,
    Code.INVALID_TYPE: _INVALID,
    Code.BLANK: _INVALID,
    Code.TOO_LONG: _INVALID,
    Code.INVALID_CHARACTERS: _INVALID,
    Code.OUT_OF_RANGE: _INVALID,
    Code.NOT_FINITE: _INVALID,
    Code.TOO_MANY_DECIMALS: _INVALID,
    Code.TOO_FEW_ITEMS: _INVALID,
    Code.TOO_MANY_ITEMS: _INVALID,
    Code.TOTAL_TOO_LARGE: _INVALID,
    Code.UNKNOWN_CURRENCY: _INVALID,
    Code.UNKNOWN_STATUS: _INVALID,
    Code.ITEMS_OR_NUM_ITEMS: _INVALID,
    Code.INVALID_JSON: _INVALID,
    Code.INVALID_UTF8: _INVALID,
    Code.DUPLICATE_KEY: _INVALID,
    Code.TOO_DEEP: _INVALID,
    Code.REPEATED_PARAMETER: _INVALID,
    Code.MALFORMED_HEADER: _INVALID,
    Code.INVALID_CURSOR: _INVALID,
    Code.INVALID_INPUT: _INVALID,
    Code.ORDER_NOT_FOUND: (404, "There is no such order"),
    Code.DUPLICATE_ORDER: (409, "The order exists already"),
    Code.ILLEGAL_TRANSITION: (409, "The order cannot take this step"),
    Code.PRECONDITION_FAILED: (412, "The order has another version"),
    Code.VERSION_NOT_REACHED: (409, "This version has not arrived yet"),
    Code.KEY_IN_FLIGHT: (409, "A request with this idempotency key is in flight"),
    Code.KEY_REUSED: (422, "The idempotency key belongs to another request"),
    Code.TOPIC_NOT_FOUND: (404, "There is no such topic"),
    Code.BROKER_UNAVAILABLE: (503, "Events cannot be delivered"),
    Code.STORE_UNAVAILABLE: (503, "The store is not available"),
    Code.READ_MODEL_BEHIND: (503, "The read model is behind"),
    Code.CONTENDED: (503, "The order is being changed by others"),
    Code.OVERLOADED: (503, "Too much work is waiting"),
    Code.SHUTTING_DOWN: (503, "The service is shutting down"),
    Code.OUTCOME_UNKNOWN: (500, "It is unknown whether this was stored"),
    Code.PAYLOAD_TOO_LARGE: (413, "The request body is too large"),
    Code.ROUTE_NOT_FOUND: (404, "There is nothing at this path"),
    Code.METHOD_NOT_ALLOWED: (405, "The method is not allowed here"),
    Code.MALFORMED_REQUEST: (400, "This is no HTTP request"),
    Code.REQUEST_TIMEOUT: (408, "The request did not arrive in time"),
    Code.HEAD_TOO_LARGE: (431, "The head of the request is too large"),
    Code.INTERNAL_ERROR: (500, "The service failed"),
}

_WORTH_RETRYING: Final = {
    Code.KEY_IN_FLIGHT,
    Code.VERSION_NOT_REACHED,
    *(code for code, (status, _) in STATUS_AND_TITLE.items() if status == 503),
}
_RETRY_AFTER: Final = ((b"retry-after", b"%d" % RETRY_AFTER_SECONDS),)

_OF_HTTP: Final = {
    404: (Code.ROUTE_NOT_FOUND, "Nothing is served at this path"),
    405: (Code.METHOD_NOT_ALLOWED, "This path does not take this method; the Allow header names those it takes"),
    413: (Code.PAYLOAD_TOO_LARGE, "The request body is too large"),
}
"""Refusals of the framework itself, by status."""


def refusal(error: OrderingError | Failure, request_id: str) -> Problem:
    """The answer to a request that the system refuses."""
    code = Code(error.code)
    body = _problem(code, str(error))
    extra: Lines = _RETRY_AFTER if code in _WORTH_RETRYING else ()
    match error:
        case InvalidInput():
            body.errors = [FaultBody(fault.field, fault.code, fault.message) for fault in error.faults]
        case IllegalTransition():
            body.current_status, body.allowed = error.current, list(error.allowed)
        case VersionNotReached():
            body.current_version = error.current
        case PreconditionFailed():
            body.current_version, extra = error.version, etag(error.version)
    return _reply(body, request_id, extra)


def framework_refusal(error: HTTPException, request_id: str) -> Reply:
    """The answer when the framework refused before an endpoint was reached: unknown path, other method, bad Host."""
    if error.status_code not in _OF_HTTP:
        return refusal(InvalidInput([HOST_FAULT]), request_id)
    allow = (error.headers or {}).get("allow")
    extra: Lines = ((b"allow", ", ".join(sorted(allow.split(", "))).encode("ascii")),) if allow else ()
    return _reply(_problem(*_OF_HTTP[error.status_code]), request_id, extra)


def unread(code: Code, message: str) -> Problem:
    """The answer to what never became a request. Nobody could read a request id of its own, so it has none."""
    return _reply(_problem(code, message), "")


def internal_error(request_id: str) -> Reply:
    """The answer to a failure of ours. It says nothing of its cause; the log has that under the request id."""
    message = f"The service failed to answer; quote the request id {request_id} to its operators"
    return _reply(_problem(Code.INTERNAL_ERROR, message), request_id)


def _problem(code: Code, message: str) -> ProblemBody:
    status, title = STATUS_AND_TITLE[code]
    return ProblemBody(TYPE_PREFIX + code, title, status, message, code, message)


def _reply(body: ProblemBody, request_id: str, extra: Lines = ()) -> Problem:
    return Problem(body.status, body.code, encode(body), request_id, extra)
