"""The outermost layer of a service: admits a request or refuses it at once, before anything of it is looked at.

Two measures decide: how many requests are in hand, and how long the oldest one has been waiting for the store. Both
bound how long an admitted request can take, so that everybody else hears within milliseconds to come back later. What
waits for the read model on purpose (``wait=``) is bounded by ``Waiters`` and takes nobody's place here; how the
service is (``/health...``, ``/metrics``) is always told.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from ordering.application.errors import Overloaded
from ordering.entrypoints.http.headers import acceptable_request_id
from ordering.entrypoints.http.problems import refusal
from ordering.entrypoints.http.replies import Reply
from ordering.entrypoints.http.requests import known_headers

Asgi = Callable[[Any, Any, Any], Any]

SURPLUS: Final = "ordering.surplus"
"""ASGI extension: the server says that the request came on a connection beyond its limit."""

_ADMITTED: Final = "ordering.admitted"
_ALWAYS: Final = frozenset({"/health", "/metrics"})
_ALWAYS_BELOW: Final = "/health/"


@attrs.frozen
class AdmissionLimits:
    """``in_hand``: most requests at once; ``store_seconds``: the age of the oldest request waiting for the store from
    which on nothing more is taken."""

    in_hand: int = 256
    store_seconds: float = 1.0


@attrs.frozen
class Load:
    """What the guard asks: how many of the requests in hand only wait for the read model, and the age in seconds of
    the oldest request waiting for the store (0: none)."""

    waiting: Callable[[], int] = lambda: 0
    store_age: Callable[[], float] = lambda: 0.0


class Admission:
    """An ASGI application around another one. ``on_refused`` is told of each refusal."""

    def __init__(
        self,
        app: Asgi,
        limits: AdmissionLimits,
        load: Load,
        new_request_id: Callable[[], str],
        on_refused: Callable[[], None],
    ) -> None:
        self._app, self._new_request_id, self._on_refused = app, new_request_id, on_refused
        self._waiting, self._store_age = load.waiting, load.store_age
        self._in_hand_max, self._store_seconds = limits.in_hand, limits.store_seconds
        self._too_many = _template(f"{limits.in_hand} requests are in hand already")
        self._too_old = _template(f"the store has kept a request waiting for {limits.store_seconds:g} s")
        self._surplus = _template("there are too many connections")
        self.in_hand = 0
        """How many requests are being worked on now, those that wait for the read model included."""

    def admit(self, scope: Any) -> Reply | None:  # noqa: ANN401 -- as ASGI has it
        """Take a request in hand, or answer it. A server asks as soon as a request is here: then a refusal needs no
        task and does not wait for those before it. ``__call__`` asks for requests that nobody has asked for."""
        # Every request pays for this line.
        if self.in_hand >= self._in_hand_max or self._store_age() >= self._store_seconds or "extensions" in scope:
            template = self._refused(scope)
            if template is not None:
                self._on_refused()
                return self._reply(template, scope)
        self.in_hand += 1
        scope[_ADMITTED] = True
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if _ADMITTED not in scope:
            if scope["type"] != "http":
                await self._app(scope, receive, send)
                return
            reply = self.admit(scope)
            if reply is not None:
                await reply(scope, receive, send)
                return
        try:
            await self._app(scope, receive, send)
        finally:
            self.in_hand -= 1

    def _refused(self, scope: Any) -> Reply | None:  # noqa: ANN401
        """Why there is no room for it, after all."""
        if _always(scope["path"]):
            return None
        if self.in_hand - self._waiting() >= self._in_hand_max:
            return self._too_many
        if self._store_age() >= self._store_seconds:
            return self._too_old
        return self._surplus if SURPLUS in scope.get("extensions", ()) else None

    def _reply(self, template: Reply, scope: Any) -> Reply:  # noqa: ANN401
        asked = acceptable_request_id(known_headers(scope).get("x-request-id"))
        return Reply(
            template.status_code,
            template.body,
            asked or self._new_request_id(),
            media_type=template.media_type,
            extra=template.extra,
        )


def _always(path: str) -> bool:
    return path in _ALWAYS or path.startswith(_ALWAYS_BELOW)


def _template(reason: str) -> Reply:
    """The refusal but for its request id."""
    return refusal(Overloaded(reason), "")
