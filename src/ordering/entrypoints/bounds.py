"""What the connections of a server are bounded by, and what they have in common."""

from collections.abc import Callable
from typing import Any, Final

import attrs

from ordering.entrypoints.http.options import BODY_BYTES_MAX
from ordering.entrypoints.http.replies import Reply

NO_ROOM: Final = 1.25
"""So many times the limit of connections are answered, with a refusal; those beyond are closed at once."""


@attrs.frozen
class Bounds:
    """What one client may make us keep, and for how long (seconds).

    ``head``: from its first byte, or from the connection, to the end of a request's head; ``body``: from there to the
    request's end; ``send``: how long a client may take nothing of an answer; ``idle``: between two requests;
    ``linger``: how long, and ``discard_bytes`` how much, is read of a refused request so that its client can read the
    answer. ``body_bytes``: a body that is longer is not waited for; ``held_bytes``: of all bodies on their way.
    """

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    send_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 2.0
    head_bytes: int = 64 * 1024
    body_bytes: int = BODY_BYTES_MAX
    held_bytes: int = 64 * 1024 * 1024
    discard_bytes: int = 4 * 1024 * 1024
    connections: int = 4_096


@attrs.frozen
class Reports:
    """Who hears of what no endpoint sees: ``refused`` of each answer that a connection gives itself, with its status
    and code; ``cut`` of each connection that is cut off without an answer, with the reason: ``no-room`` (far beyond
    the limit), ``stalled`` (its client takes nothing), ``sends-on`` (after it was refused)."""

    refused: Callable[[int, str], None] = lambda _status, _code: None
    cut: Callable[[str], None] = lambda _reason: None


@attrs.define
class Shared:
    """What all connections of a server have in common; ``held_bytes`` of bodies that are on their way now.

    ``admit`` takes a request in hand or answers it at once, by its ASGI scope.
    """

    bounds: Bounds
    admit: Callable[[Any], Reply | None] = lambda _scope: None
    reports: Reports = attrs.Factory(Reports)
    held_bytes: int = 0
