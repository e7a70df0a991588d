"""OrderService over HTTP: what the read model knows of orders."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from ordering.application.errors import Failure
from ordering.application.messages import Place
from ordering.application.queries import IdPage, OrderDetails, ReadStats, TopicIds
from ordering.domain.errors import Code, Fault, OrderingError
from ordering.domain.inputs import read_order_id, read_seconds, read_topic_name, read_whole_number
from ordering.domain.parameters import TOPIC_NAME_LENGTH_MAX
from ordering.entrypoints.http.cursors import CURSOR_LENGTH_MAX, cursor_of, place_of
from ordering.entrypoints.http.docs_pages import docs_routes, installed_files
from ordering.entrypoints.http.endpoints import service_routes
from ordering.entrypoints.http.openapi import REQUEST_ID_PARAMETER, Documentation, Parameter, document
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.replies import Reply, StreamedReply, etag
from ordering.entrypoints.http.requests import Call, read_query
from ordering.entrypoints.http.routing import Lifespan, OrderingApp, Route, build_app
from ordering.entrypoints.http.schemas import (
    ID_PATTERN,
    OrderDetailsFound,
    OrderInfo,
    Statistics,
    TopicOrderIds,
    details,
    encode,
)

MIN_VERSION_MAX: Final = 2**31 - 1
WAIT_SECONDS_MAX: Final = 30
PAGE_MAX: Final = 10_000
"""Most ids in one page of a topic's ids, and most ids in the statistics."""

_DESCRIPTION: Final = "Order details with shipping cost, order ids of a topic, statistics: from the events alone."
TOPIC_NAME_PATTERN: Final = r"^(?!\.{1,2}$)[A-Za-z0-9._-]+$"
_DETAILS_QUERY: Final = frozenset({"orderId", "minVersion", "wait"})
_IDS_QUERY: Final = frozenset({"topicName", "limit", "cursor"})
_STATS_QUERY: Final = frozenset({"ids"})
_TRUTH: Final = {"true": True, "false": False}


def create_order_app(
    order_details: OrderDetails,
    topic_ids: TopicIds,
    read_stats: ReadStats,
    options: HttpOptions,
    around: Surroundings,
    consumer_running: Callable[[], bool],
    lifespan: Lifespan | None = None,
) -> OrderingApp:
    """The Litestar app of the OrderService."""

    async def read_details(call: Call) -> Reply:
        query, faults = read_query(call, _DETAILS_QUERY)
        order_id = faults.of(read_order_id(query.get("orderId"), "orderId"), "")
        min_version, wait = 1, 0.0
        if "minVersion" in query:
            min_version = faults.of(read_whole_number(query["minVersion"], "minVersion", 1, MIN_VERSION_MAX), 1)
        if "wait" in query:
            wait = faults.of(read_seconds(query["wait"], "wait", 0, WAIT_SECONDS_MAX), 0.0)
        faults.check()
        found = await order_details(order_id, min_version=min_version, wait=wait)
        body = details(found.order, found.shipping_cost)
        return Reply(200, body, call.request_id, extra=etag(found.order.version))

    async def read_ids(call: Call) -> Reply:
        query, faults = read_query(call, _IDS_QUERY)
        topic = faults.of(read_topic_name(query.get("topicName"), "topicName"), "")
        limit: int | None = None
        after: Place | None = None
        if "limit" in query:
            limit = faults.of(read_whole_number(query["limit"], "limit", 1, PAGE_MAX), 1)
        if "cursor" in query:
            after = faults.of(place_of(query["cursor"], "cursor"), None)
        faults.check()
        pages = await topic_ids(topic, after=after, limit=limit)
        return StreamedReply(_streamed(topic, pages, limit), call.request_id, around.on_error)

    async def read_statistics(call: Call) -> Reply:
        query, faults = read_query(call, _STATS_QUERY)
        with_ids = faults.of(_truth(query.get("ids", "true"), "ids"), True)
        faults.check()
        stats = await read_stats(ids=PAGE_MAX if with_ids else 0)
        body = Statistics(
            success=True,
            total_orders=stats.total,
            order_ids=list(stats.order_ids) if with_ids else msgspec.UNSET,
            by_status=dict(stats.by_status),
            lag_events=stats.lag_events,
            lag_seconds=stats.lag_seconds,
            gaps=stats.gaps,
            late=stats.late,
            parked=stats.parked,
            dead_letters=stats.dead_letters,
            truncated=stats.truncated,
        )
        return Reply(200, encode(body), call.request_id)

    async def info() -> OrderInfo:
        try:
            processed: int | None = (await read_stats(ids=0)).total
        except (OrderingError, Failure):
            processed = None  # this page answers whatever is down; /health says what
        return OrderInfo(
            options.service,
            options.version,
            "running",
            options.broker,
            options.registry,
            "Consumer",
            options.topic,
            options.group,
            processed,
        )

    routes = [
        Route("GET", "/api/order-details", read_details, "order_details", _DETAILS, hot=True),
        Route("GET", "/api/getAllOrderIdsFromTopic", read_ids, "order_ids_from_topic", _IDS),
        Route("GET", "/api/stats", read_statistics, "stats", _STATS),
        *service_routes(options, around, info, OrderInfo, consumer_running),
    ]
    described = document(options, _DESCRIPTION, routes)
    routes += docs_routes(described, options.service, installed_files())
    return build_app(routes, options, around, lifespan, described)


def _truth(text: str, field: str) -> bool | Fault:
    if text in _TRUTH:
        return _TRUTH[text]
    return Fault(field, Code.INVALID_TYPE if text else Code.BLANK, "must be true or false")


async def _streamed(topic: str, pages: AsyncIterator[IdPage], limit: int | None) -> AsyncIterator[bytes]:
    """The answer page by page, so that a million ids need no memory; the count comes after them."""
    message = encode(f"Successfully retrieved order IDs from topic '{topic}'")
    yield b'{"success":true,"message":%b,"topicName":%b,"orderIds":[' % (message, encode(topic))
    count = 0
    last: Place | None = None
    async for page in pages:
        if page:
            ids = encode([order_id for _, order_id in page])[1:-1]
            yield b"," + ids if count else ids
            count += len(page)
            last = page[-1][0]
    following = b""
    if limit is not None and last is not None and count == limit:
        following = b',"nextCursor":' + encode(cursor_of(last))
    yield b'],"count":%d%b}' % (count, following)


def _query(name: str, schema: dict[str, object], description: str, *, required: bool = False) -> Parameter:
    return Parameter(name, "query", schema, description, required)


_DETAILS: Final = Documentation(
    "Details of an order",
    "The order as the events tell it, with its shipping cost.",
    "orders",
    OrderDetailsFound,
    parameters=(
        _query(
            "orderId",
            {"type": "string", "minLength": 1, "maxLength": 64, "pattern": ID_PATTERN, "examples": ["ORDER-001"]},
            "The id its client gave it.",
            required=True,
        ),
        _query(
            "minVersion",
            {"type": "integer", "minimum": 1, "maximum": MIN_VERSION_MAX, "default": 1, "examples": [1]},
            "The version (ETag) to have at least, such as the one a write answered.",
        ),
        _query(
            "wait",
            {"type": "number", "minimum": 0, "maximum": WAIT_SECONDS_MAX, "default": 0, "examples": [2.5]},
            "How many seconds to wait for it, in plain decimals.",
        ),
        REQUEST_ID_PARAMETER,
    ),
    problems=(
        Code.INVALID_INPUT,
        Code.ORDER_NOT_FOUND,
        Code.VERSION_NOT_REACHED,
        Code.STORE_UNAVAILABLE,
        Code.OVERLOADED,
        Code.SHUTTING_DOWN,
    ),
    entity_tag=True,
)
_IDS: Final = Documentation(
    "Order ids of a topic",
    "Distinct ids by first appearance, complete up to the topic's end at the time of the call; streamed.",
    "orders",
    TopicOrderIds,
    parameters=(
        _query(
            "topicName",
            {
                "type": "string",
                "minLength": 1,
                "maxLength": TOPIC_NAME_LENGTH_MAX,
                "pattern": TOPIC_NAME_PATTERN,
                "examples": ["order-events"],
            },
            "The topic of the events, as GET / tells it.",
            required=True,
        ),
        _query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "examples": [100]},
            "Answer one page of so many ids.",
        ),
        _query(
            "cursor",
            {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": CURSOR_LENGTH_MAX},
            "The nextCursor of the page before.",
        ),
        REQUEST_ID_PARAMETER,
    ),
    problems=(
        Code.INVALID_INPUT,
        Code.TOPIC_NOT_FOUND,
        Code.BROKER_UNAVAILABLE,
        Code.READ_MODEL_BEHIND,
        Code.STORE_UNAVAILABLE,
        Code.OVERLOADED,
        Code.SHUTTING_DOWN,
    ),
    links={
        "details": {
            "operationId": "order_details",
            "parameters": {"orderId": "$response.body#/orderIds/0"},
            "description": "An order of the answer.",
        },
        "nextPage": {
            "operationId": "order_ids_from_topic",
            "parameters": {
                "topicName": "$response.body#/topicName",
                "limit": "$request.query.limit",
                "cursor": "$response.body#/nextCursor",
            },
            "description": "The page after this one, if there is a nextCursor.",
        },
    },
)
_STATS: Final = Documentation(
    "Statistics",
    "The read model in figures: orders, lag, gaps, late events, parked orders, dead letters.",
    "orders",
    Statistics,
    parameters=(
        _query("ids", {"type": "boolean", "default": True, "examples": [False]}, "false leaves the order ids out."),
        REQUEST_ID_PARAMETER,
    ),
    problems=(Code.INVALID_INPUT, Code.BROKER_UNAVAILABLE, Code.STORE_UNAVAILABLE, Code.SHUTTING_DOWN),
)
