"""From endpoints to a Litestar app: one definition serves the documented route and the short way to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
from litestar import Litestar, Request
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from ordering.application.errors import Failure, OutcomeUnknown, ShuttingDown
from ordering.domain.errors import OrderingError
from ordering.entrypoints.http.cors import check_preflight, cors_config
from ordering.entrypoints.http.openapi import Documentation
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.problems import framework_refusal, internal_error, refusal
from ordering.entrypoints.http.replies import Reply
from ordering.entrypoints.http.requests import Call, check_host, known_headers

if TYPE_CHECKING:
    from litestar.config.cors import CORSConfig
    from litestar.types import Receive, Scope

Endpoint = Callable[[Call], Awaitable[Reply]]
Answering = Callable[["Scope", "Receive"], Awaitable[Reply]]
Border = Callable[["Scope", "Receive"], Reply | None]
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


@attrs.frozen
class Route:
    """A path with what answers there. A GET route answers HEAD as well. ``hot`` ones are also dispatched before
    Litestar's own machinery, which costs several times what the endpoint does."""

    method: str
    path: str
    endpoint: Endpoint
    name: str
    documentation: Documentation | None = None
    hot: bool = False


class OrderingApp(Litestar):
    """A Litestar app that takes the short way to its hot routes: same endpoint, same answers.

    What Litestar would answer itself (other paths and methods, preflights) first passes our own border.

    The ordinary way stays open to them (and is taken when anything asks for Litestar's machinery: a path written
    differently, a mounted app, CORS).
    """

    __slots__ = ("_border", "_short_ways", "document")

    _short_ways: "dict[tuple[str, str], Answering]"
    _border: Border
    document: Mapping[str, Any]
    """The OpenAPI document it serves."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 -- as Litestar's own
        if scope["type"] == "http":
            answering = self._short_ways.get((scope["method"], scope["path"]))
            if answering is not None and not scope.get("root_path"):
                reply = await answering(scope, receive)
                await reply(scope, receive, send)
                return
            refused = self._border(scope, receive)
            if refused is not None:
                await refused(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def build_app(
    routes: Sequence[Route],
    options: HttpOptions,
    around: Surroundings,
    lifespan: Lifespan | None,
    document: Mapping[str, Any],
) -> OrderingApp:
    """The app that serves these routes and answers everything else with a problem document; ``document`` is what the
    routes are documented by."""
    cors = cors_config(options.cors_origins)
    answering = {(route.method, route.path): _answering(route, options, around) for route in routes}
    hot = {(route.method, route.path) for route in routes if route.hot and not options.cors_origins}
    app = OrderingApp(
        [handler for route in routes for handler in _handlers(route, answering[route.method, route.path])],
        openapi_config=None,  # openapi.py lays the document out from the same routes
        exception_handlers={HTTPException: _refused(around), Exception: _failed(around)},
        lifespan=[lifespan] if lifespan is not None else [],
        cors_config=cors,
        request_max_body_size=options.body_bytes_max,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    app._short_ways = {way: answering[way] for way in hot}
    app._border = _border(options, cors, around)
    for route in routes:
        if route.documentation is not None:
            around.on_route(route.method, route.path, route.documentation.status)
    app.document = document
    return app


def _hosts(options: HttpOptions) -> frozenset[str]:
    return frozenset(host.lower() for host in options.allowed_hosts)


def _border(options: HttpOptions, cors: "CORSConfig | None", around: Surroundings) -> Border:
    """What holds for every request that does not take the short way, whatever would answer it."""
    hosts = _hosts(options)

    def refused(scope: "Scope", receive: "Receive") -> Reply | None:
        try:
            check_host(scope, known_headers(scope), hosts)
            if cors is not None and scope.get("method") == "OPTIONS":
                check_preflight(scope, cors)
        except OrderingError as error:
            return _counted(around, scope, refusal(error, Call(scope, receive, around.new_request_id).request_id))
        return None

    return refused


def _answering(route: Route, options: HttpOptions, around: Surroundings) -> Answering:
    """The endpoint with everything around it: host check, refusals as problems, failures as 500, measurement."""
    endpoint, method, path = route.endpoint, route.method, route.path
    hosts = _hosts(options)
    new_request_id, on_answer = around.new_request_id, around.on_answer

    async def answer(scope: "Scope", receive: "Receive") -> Reply:
        began = perf_counter()
        call = Call(scope, receive, new_request_id)
        try:
            check_host(scope, call.headers, hosts)
            reply = await endpoint(call)
        except (OrderingError, Failure) as error:
            reply = refusal(error, call.request_id)
        except asyncio.CancelledError:
            # The server stops and this took too long. A write that was taken goes on, so nobody can say how it ends.
            reply = refusal(ShuttingDown() if method == "GET" else OutcomeUnknown(), call.request_id)
        except Exception as error:  # the border: nothing unexpected may reach a client
            around.on_error(call.request_id, error)
            reply = internal_error(call.request_id)
        on_answer(method, path, reply.status_code, perf_counter() - began, reply.code)
        return reply

    return answer


def _handlers(route: Route, answering: Answering) -> list[HTTPRouteHandler]:
    async def handle(request: Request[Any, Any, Any]) -> Reply:
        return await answering(request.scope, request.receive)

    handlers = [HTTPRouteHandler(route.path, http_method=HttpMethod(route.method), name=route.name)(handle)]
    if route.method == "GET":
        handlers.append(HTTPRouteHandler(route.path, http_method=HttpMethod.HEAD, name=f"{route.name}_head")(handle))
    return handlers


def _refused(around: Surroundings) -> Callable[[Request[Any, Any, Any], HTTPException], Any]:
    def answer(request: Request[Any, Any, Any], error: HTTPException) -> Any:  # noqa: ANN401 -- a Reply
        call = Call(request.scope, request.receive, around.new_request_id)
        if error.status_code < 500:
            return _counted(around, call.scope, framework_refusal(error, call.request_id))
        around.on_error(call.request_id, error)
        return _counted(around, call.scope, internal_error(call.request_id))

    return answer


def _failed(around: Surroundings) -> Callable[[Request[Any, Any, Any], Exception], Any]:
    def answer(request: Request[Any, Any, Any], error: Exception) -> Any:  # noqa: ANN401 -- a Reply
        call = Call(request.scope, request.receive, around.new_request_id)
        around.on_error(call.request_id, error)
        return _counted(around, call.scope, internal_error(call.request_id))

    return answer


def _counted(around: Surroundings, scope: "Scope", reply: Reply) -> Reply:
    """Count an answer that no endpoint has given."""
    around.on_answer(str(scope.get("method", "")), scope["path"], reply.status_code, None, reply.code)
    return reply
