"""CartService over HTTP: takes orders and changes their status."""

from collections.abc import Callable
from typing import Final

from ordering.application.change_status import ChangeStatus
from ordering.application.commands import Answer
from ordering.application.messages import RecordedAnswer
from ordering.application.place_order import PlaceOrder
from ordering.domain.errors import Code
from ordering.domain.inputs import read_change_status, read_place_order
from ordering.domain.order import Order
from ordering.domain.status import OrderStatus
from ordering.entrypoints.http.docs_pages import docs_routes, installed_files
from ordering.entrypoints.http.endpoints import service_routes
from ordering.entrypoints.http.headers import IF_MATCH, idempotency_key, if_match
from ordering.entrypoints.http.openapi import (
    IDEMPOTENCY_KEY_PARAMETER,
    IF_MATCH_PARAMETER,
    REQUEST_ID_PARAMETER,
    Documentation,
    document,
)
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.replies import Reply, etag
from ordering.entrypoints.http.requests import Call, Faults, once_of, read_body
from ordering.entrypoints.http.routing import Lifespan, OrderingApp, Route, build_app
from ordering.entrypoints.http.schemas import (
    CartInfo,
    CartOrder,
    GeneratedOrder,
    OrderCreated,
    OrderUpdated,
    StatusChange,
    created,
    updated,
)
from ordering.entrypoints.http.strict_json import decode

CREATE_PATH: Final = "/api/create-order"
UPDATE_PATH: Final = "/api/update-order"

_DESCRIPTION: Final = "Takes orders and changes their status. 201 and 200 mean durable; 503 means nothing was stored."
_ON_WRITES: Final = (
    Code.KEY_IN_FLIGHT,
    Code.KEY_REUSED,
    Code.PAYLOAD_TOO_LARGE,
    Code.BROKER_UNAVAILABLE,
    Code.STORE_UNAVAILABLE,
    Code.OVERLOADED,
    Code.SHUTTING_DOWN,
    Code.OUTCOME_UNKNOWN,
)


def create_cart_app(
    place_order: PlaceOrder,
    change_status: ChangeStatus,
    options: HttpOptions,
    around: Surroundings,
    lifespan: Lifespan | None = None,
) -> OrderingApp:
    """The Litestar app of the CartService."""

    limit, default_currency = options.body_bytes_max, options.default_currency

    async def create_order(call: Call) -> Reply:
        body = await read_body(call, limit)
        faults = Faults()
        key = faults.of(idempotency_key(call.headers.get("idempotency-key")), None)
        wanted = faults.with_those_of(lambda: read_place_order(decode(body), default_currency=default_currency))
        once = None if key is None else once_of(f"POST {CREATE_PATH}", key, body, 201, created)
        return _reply(call, await place_order(wanted, call.context(once)), 201, created)

    async def update_order(call: Call) -> Reply:
        body = await read_body(call, limit)
        faults = Faults()
        key = faults.of(idempotency_key(call.headers.get("idempotency-key")), None)
        versions = faults.of(if_match(call.headers.get("if-match")), None)
        wanted = faults.with_those_of(lambda: read_change_status(decode(body)))
        once = None if key is None else once_of(f"PUT {UPDATE_PATH}", key, body, 200, updated)
        return _reply(call, await change_status(wanted, call.context(once), if_match=versions), 200, updated)

    async def info() -> CartInfo:
        return CartInfo(options.service, options.version, "running", options.broker, options.registry)

    routes = [
        Route("POST", CREATE_PATH, create_order, "create_order", _CREATE, hot=True),
        Route("PUT", UPDATE_PATH, update_order, "update_order", _UPDATE, hot=True),
        *service_routes(options, around, info, CartInfo),
    ]
    described = document(options, _DESCRIPTION, routes)
    routes += docs_routes(described, options.service, installed_files())
    return build_app(routes, options, around, lifespan, described)


def _reply(call: Call, answer: Answer, status: int, render: Callable[[Order], bytes]) -> Reply:
    """The order, or the first answer to the same key as it was."""
    if isinstance(answer, RecordedAnswer):
        return Reply(answer.status, answer.body, call.request_id, extra=etag(answer.etag))
    return Reply(status, render(answer), call.request_id, extra=etag(answer.version))


def _next_step(status: OrderStatus) -> dict[str, object]:
    """The link from an answer to a further change of the same order, on condition that nobody else changed it."""
    return {
        "operationId": "update_order",
        "parameters": {IF_MATCH: "$response.header.ETag"},
        "requestBody": {"orderId": "$response.body#/data/orderId", "status": str(status)},
        "description": f"The order becomes {status}, unless somebody else changed it meanwhile.",
    }


_CREATE: Final = Documentation(
    "Create an order",
    "Either with real items, or with a number of items to generate. Durable when answered; the event follows.",
    "orders",
    OrderCreated,
    status=201,
    body=(CartOrder, GeneratedOrder),
    parameters=(IDEMPOTENCY_KEY_PARAMETER, REQUEST_ID_PARAMETER),
    problems=(Code.INVALID_INPUT, Code.DUPLICATE_ORDER, *_ON_WRITES),
    entity_tag=True,
    links={
        "confirm": _next_step(OrderStatus.CONFIRMED),
        "cancel": _next_step(OrderStatus.CANCELLED),
    },
)
_UPDATE: Final = Documentation(
    "Change an order's status",
    "pending -> confirmed or cancelled; confirmed -> shipped or cancelled; shipped -> delivered. The present status "
    "again is a success without an event.",
    "orders",
    OrderUpdated,
    body=(StatusChange,),
    parameters=(IF_MATCH_PARAMETER, IDEMPOTENCY_KEY_PARAMETER, REQUEST_ID_PARAMETER),
    problems=(
        Code.INVALID_INPUT,
        Code.ORDER_NOT_FOUND,
        Code.ILLEGAL_TRANSITION,
        Code.PRECONDITION_FAILED,
        Code.CONTENDED,
        *_ON_WRITES,
    ),
    entity_tag=True,
    links={
        "ship": _next_step(OrderStatus.SHIPPED),
        "deliver": _next_step(OrderStatus.DELIVERED),
    },
)
