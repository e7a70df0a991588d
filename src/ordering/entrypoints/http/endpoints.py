"""What both services answer besides their business: who they are, how they are, their metrics."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ordering.application.causes import Cause, CauseCode
from ordering.entrypoints.http.openapi import Documentation
from ordering.entrypoints.http.options import HttpOptions, Surroundings
from ordering.entrypoints.http.replies import Reply
from ordering.entrypoints.http.requests import Call
from ordering.entrypoints.http.routing import Route
from ordering.entrypoints.http.schemas import Health, Liveness, Readiness, encode

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TAG = "service"


def service_routes(
    options: HttpOptions,
    around: Surroundings,
    info: Callable[[], Awaitable[msgspec.Struct]],
    info_model: type[msgspec.Struct],
    consumer_running: Callable[[], bool] | None = None,
) -> list[Route]:
    """``/``, ``/health``, ``/health/live``, ``/health/ready`` and ``/metrics``."""

    async def read_info(call: Call) -> Reply:
        return Reply(200, encode(await info()), call.request_id)

    async def read_health(call: Call) -> Reply:
        causes = await around.causes()
        health = Health("degraded" if causes else "healthy", options.service, *_told(causes))
        if consumer_running is not None:
            health.consumer_running = consumer_running()
        return Reply(200, encode(health), call.request_id)

    async def read_liveness(call: Call) -> Reply:
        return Reply(200, encode(Liveness("alive")), call.request_id)

    async def read_readiness(call: Call) -> Reply:
        causes = await around.causes()
        body = encode(Readiness("not-ready" if causes else "ready", *_told(causes)))
        return Reply(503 if causes else 200, body, call.request_id, extra=_RETRY_AFTER if causes else ())

    async def read_metrics(call: Call) -> Reply:
        return Reply(200, await around.metrics(), call.request_id, media_type=_METRICS_TYPE.encode("ascii"))

    return [
        Route("GET", "/", read_info, "info", Documentation("What answers here", "Names and places.", _TAG, info_model)),
        Route("GET", "/health", read_health, "health", _HEALTH),
        Route("GET", "/health/live", read_liveness, "health_live", _LIVE),
        Route("GET", "/health/ready", read_readiness, "health_ready", _READY),
        Route("GET", "/metrics", read_metrics, "metrics", _METRICS),
    ]


def _told(causes: Sequence[Cause]) -> tuple[list[str], list[CauseCode]]:
    """For people and for programs, in the same order."""
    return [cause.reason for cause in causes], [cause.code for cause in causes]


_RETRY_AFTER = ((b"retry-after", b"1"),)
_HEALTH = Documentation("Health for people", "200 as long as the process answers; causes tell the rest.", _TAG, Health)
_LIVE = Documentation("Liveness", "200 as long as the process answers: restart it if it does not.", _TAG, Liveness)
_READY = Documentation(
    "Readiness", "503 with every cause while requests should go elsewhere.", _TAG, Readiness, not_ready=Readiness
)
_METRICS = Documentation("Metrics", "Prometheus text format.", _TAG, _METRICS_TYPE.partition(";")[0])
