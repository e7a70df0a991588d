"""Which pages of other origins may call us; none, unless their origins are listed."""

from typing import TYPE_CHECKING, Final

from litestar.config.cors import CORSConfig
from litestar.constants import DEFAULT_ALLOWED_CORS_HEADERS

from ordering.domain.errors import Code, Fault, InvalidInput

if TYPE_CHECKING:
    from litestar.types import Scope

_EXPOSED_HEADERS: Final = ["ETag", "Retry-After", "X-Request-Id"]
_METHODS: Final = ("GET", "POST", "PUT")
_HEADERS: Final = ("Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id", "traceparent", "tracestate")
_KNOWN: Final = {name.lower() for name in (*_HEADERS, *DEFAULT_ALLOWED_CORS_HEADERS)}


def cors_config(origins: tuple[str, ...]) -> CORSConfig | None:
    """Litestar's configuration for these origins; None if there are none."""
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=list(_METHODS),
        allow_headers=list(_HEADERS),
        expose_headers=_EXPOSED_HEADERS,
        allow_credentials=False,
    )


def check_preflight(scope: "Scope", config: CORSConfig) -> None:
    """Refuse what Litestar would refuse in plain text, naming each header at fault. Raises InvalidInput."""
    asked = {name: value.decode("latin-1") for name, value in reversed(list(scope["headers"]))}
    origin = asked.get(b"origin")
    if not origin:
        return
    method = asked.get(b"access-control-request-method") or _METHODS[0]
    names = {name.strip().lower() for name in asked.get(b"access-control-request-headers", "").split(",")} - {""}
    judged = {
        "Origin": config.is_origin_allowed(origin),
        "Access-Control-Request-Method": method in _METHODS,
        "Access-Control-Request-Headers": names <= _KNOWN,
    }
    faults = [
        Fault(field, Code.MALFORMED_HEADER, "is not allowed to pages of other origins")
        for field, allowed in judged.items()
        if not allowed
    ]
    if faults:
        raise InvalidInput(faults)
