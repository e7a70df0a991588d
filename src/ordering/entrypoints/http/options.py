"""What the two HTTP apps are told about themselves and their surroundings."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs

from ordering.application.causes import Cause

BODY_BYTES_MAX: Final = 256 * 1024


@attrs.frozen
class HttpOptions:
    """Facts for people (shown by ``GET /``) and the limits of the HTTP side.

    ``cors_origins`` and ``allowed_hosts`` are closed and open by default: no cross-origin page may call us, and the
    Host header is not looked at because nothing is ever built from it.
    """

    service: str
    version: str
    broker: str
    registry: str
    topic: str
    group: str = ""
    default_currency: str = "USD"
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    body_bytes_max: int = BODY_BYTES_MAX


def _no_error(_request_id: str, _error: BaseException) -> None:
    """Forget an unexpected failure (for tests; the container passes a log)."""


def _no_answer(_method: str, _path: str, _status: int, _seconds: float | None, _code: str | None) -> None:
    """Count nothing."""


def _no_route(_method: str, _path: str, _status: int) -> None:
    """Expect nothing."""


@attrs.frozen
class Surroundings:
    """What the HTTP side reports to and asks besides its use cases; it never logs or measures by itself.

    ``causes`` names what keeps the service from being ready (nothing: it is ready). ``metrics`` is the Prometheus
    text. ``on_error`` hears of every 500 with its request id; ``on_answer`` of each answer: method as it came, path
    (a client's own words if it is none of our routes), status, seconds (None if nobody measured) and, of a refusal, the
    code of its problem document. ``on_route`` hears of each documented route before the first request: method, path,
    status of success.
    """

    causes: Callable[[], Awaitable[Sequence[Cause]]]
    metrics: Callable[[], Awaitable[bytes]]
    new_request_id: Callable[[], str]
    on_error: Callable[[str, BaseException], None] = _no_error
    on_answer: Callable[[str, str, int, float | None, str | None], None] = _no_answer
    on_route: Callable[[str, str, int], None] = _no_route
