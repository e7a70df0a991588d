"""One HTTP connection with the bounds that uvicorn does not have.

Uvicorn keeps whatever headers a client sends (50 MB were seen) and waits for a stuck request for ever. Here a
request's head has a size limit; head, body and answer each have a time in which they must get on. A request that comes
in one piece, as nearly all do, costs no timer. The application hears of a request when all of it is here, so that
slow senders take no place among the requests in hand. Whoever is refused can read why: a connection whose request was
not read to its end is closed in two steps, because closing it with unread bytes resets it, and a reset overtakes the
answer.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ordering.application.failures import Overloaded, ShuttingDown
from ordering.entrypoints.http.admission import SURPLUS
from ordering.entrypoints.http.options import BODY_BYTES_MAX
from ordering.entrypoints.http.problems import refusal
from ordering.entrypoints.http.replies import Reply


def _answer(status: int, title: str, body: bytes, more: bytes = b"") -> bytes:
    fields = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    return b"HTTP/1.1 %d %s\r\n%s%s\r\n%s" % (status, title.encode("ascii"), fields, more, body)


def _problem(status: int, title: str, message: str) -> bytes:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": message}
    body = json.dumps({**problem, "message": message, "success": False, "errors": []})
    return _answer(status, title, body.encode("ascii"))


_REFUSALS: Final = {
    400: _problem(400, "Bad Request", "This is no HTTP request that could be read"),
    408: _problem(408, "Request Timeout", "The request did not arrive in time"),
    431: _problem(431, "Request Header Fields Too Large", "The request's head is too large"),
}
"""Whole answers to requests that no endpoint sees, by status."""

_UNAVAILABLE: Final = "Service Unavailable"
_RETRY: Final = b"retry-after: 1\r\n"
_LEAVING: Final = _answer(503, _UNAVAILABLE, refusal(ShuttingDown(), "").body, _RETRY)
_NO_SPACE: Final = _answer(503, _UNAVAILABLE, refusal(Overloaded("too many bodies are on their way"), "").body, _RETRY)

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


@attrs.define
class Shared:
    """What all connections of a server have in common; ``held_bytes`` of bodies that are on their way now.

    ``admit`` takes a request in hand or answers it at once, by its ASGI scope.
    """

    bounds: Bounds
    admit: Callable[[Any], Reply | None] = lambda _scope: None
    held_bytes: int = 0


class BoundedProtocol(HttpToolsProtocol):
    """One connection, bounded in what a client may make us keep."""

    shared = Shared(Bounds())
    """One for all connections of a server."""
    leaving = False
    """Whether the server stops: every answer is then the last one on its connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*arguments, **named)
        self.bounds = self.shared.bounds
        self._in_head = True
        self._head_bytes = 0
        self._complete = True
        self._requests = 0
        self._surplus = False
        self._deaf = False
        self._half_closed = False
        self._discarded = 0
        self._held: tuple[Any, Any] | None = None
        self._held_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited = 0
        self._stalled: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self.loop.create_future()
        """Done when the connection is."""

    # ------------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody who connects has to say something."""
        super().connection_made(transport)
        self._surplus = len(self.connections) > self.bounds.connections
        if len(self.connections) > self.bounds.connections * NO_ROOM:
            transport.abort()
        else:
            self._deadline = self.loop.call_later(self.bounds.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._rest_is_here()
        self._let_go()
        self._unset_keepalive_if_required()  # uvicorn forgets it where the client reset the connection
        self.resume_writing()
        super().connection_lost(exc)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then judge what is still missing."""
        if self._deaf:
            self._discard(len(data))
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._deaf:  # by now: the parser's calls decide it
            return  # type: ignore[unreachable]
        if self._in_head and self._head_bytes > self.bounds.head_bytes:
            self._refuse(431)
        elif self._complete and not (self._in_head and self._head_bytes):
            self._rest_is_here()
        else:
            self._await_rest(len(data))

    def pause_writing(self) -> None:
        """The client takes its answer too slowly; it has to take something of it now and then."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.bounds.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client took what there was."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # ------------------------------------------------------------------ the parser's calls

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed: an unknown method, a bad byte."""
        self._refuse(400)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._complete = True, False
        self._requests += 1
        if self._surplus:
            self.scope["extensions"] = {SURPLUS: {}}

    def on_headers_complete(self) -> None:
        """Start the request, unless its head came in one large piece that is over the limit."""
        over = self._head_bytes > self.bounds.head_bytes and self._head_size() > self.bounds.head_bytes
        self._in_head, self._head_bytes = False, 0
        if over:
            self._refuse(431)
            return
        super().on_headers_complete()
        if self.leaving or self._surplus:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """More of the body."""
        if not self._deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole: now it is the application's."""
        self._complete, self._in_head = True, True
        if not self._deaf:
            super().on_message_complete()
            self._start_held()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        """A request's turn has come; if it is not here yet, it begins when it is."""
        if not cycle.more_body:
            self._start(cycle, app)
        elif self._deaf:
            self.close_unread()  # the rest of it cannot be read any more
        else:
            self._held = cycle, app

    def on_response_complete(self) -> None:
        """The next request may begin, unless there is none any more."""
        if self._half_closed:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()

    # ------------------------------------------------------------------ the server's calls

    def shutdown(self) -> None:
        """The server stops: what is in hand, and what is on its way just now, is the last on this connection."""
        self.leaving = True
        cycle: Any = self.cycle
        if cycle is not None:
            cycle.keep_alive = False

    def close_idle(self) -> None:
        """Close it, unless a request of it is in hand. One that is still on its way is told to go elsewhere."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete and self._held is None:
            return
        if not self._complete:
            self._end_with(_LEAVING)
        elif not self._deaf:
            self.transport.close()

    def close_unread(self) -> None:
        """Close it behind an answer, in a way that the answer arrives although the request was not read to its end."""
        if self._half_closed or self.transport.is_closing():
            return
        self._deaf = self._half_closed = True
        self._rest_is_here()
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._deadline = self.loop.call_later(self.bounds.linger_seconds, self.transport.abort)

    # ------------------------------------------------------------------ bounds

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _await_rest(self, received: int) -> None:
        """A request is here in part: it has a deadline, and if it is answered already, a size."""
        awaited = 2 * self._requests + (not self._in_head)
        if self._deadline is None or awaited != self._awaited:
            self._rest_is_here()
            bounds, self._awaited = self.bounds, awaited
            seconds = bounds.head_seconds if self._in_head else bounds.body_seconds
            self._deadline = self.loop.call_later(seconds, self._too_slow)
            self._discarded = 0
            if not self._in_head and self._held is not None:
                self._invite_body()
        if not self._in_head and self._held is not None:
            self._hold_body()
        elif not self._in_head and self.cycle.response_complete:
            self._discard(received)

    def _invite_body(self) -> None:
        """Only the head of a request is here. The application refuses at once what says that it is too long."""
        cycle: Any = self.cycle
        if any(name == b"content-length" and int(value) > self.bounds.body_bytes for name, value in self.headers):
            cycle.keep_alive &= not self.expect_100_continue  # nobody knows whether the body will be sent then
            self._start_unread()
        elif self.expect_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hold_body(self) -> None:
        """Count what is kept of a body until it is complete; one that is too long is the application's to refuse."""
        size = len(self.cycle.body)
        self.shared.held_bytes += size - self._held_bytes
        self._held_bytes = size
        if size > self.bounds.body_bytes:
            self._start_unread()
        elif self.shared.held_bytes > self.bounds.held_bytes:
            self._end_with(_NO_SPACE)
        else:
            self.flow.resume_reading()

    def _start_unread(self) -> None:
        cycle: Any = self.cycle
        cycle.transport = _UnreadTransport(self)
        self._start_held()

    def _start_held(self) -> None:
        if self._held is not None:
            cycle, app = self._held
            self._let_go()
            self._start(cycle, app)

    def _start(self, cycle: Any, app: Any) -> None:  # noqa: ANN401
        refused = None if self.flow.write_paused else self.shared.admit(cycle.scope)
        if refused is None:
            super()._start_asgi_task(cycle, app)
            return
        answering = refused(cycle.scope, cycle.receive, cycle.send)
        try:
            answering.send(None)
        except StopIteration:  # nothing in it waits, so its first step is its last one
            cycle.on_response = _done
        else:  # unless the client takes nothing of the answers before
            answering.close()
            self.transport.abort()

    def _let_go(self) -> None:
        self.shared.held_bytes -= self._held_bytes
        self._held, self._held_bytes = None, 0

    def _discard(self, received: int) -> None:
        self._discarded += received
        if self._discarded > self.bounds.discard_bytes:
            self.transport.abort()

    def _rest_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head:
            if self._head_bytes or not self._complete:
                self._refuse(408)
            else:
                self.transport.close()
        elif self.pipeline:  # reading is paused until the requests before this one are answered
            self._awaited = 0
            self._await_rest(0)
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """What came, or did not come, is no request: say so and close; the rest is not read."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or self._held is not None:
            if self._in_head or self._held is not None or status == 431:
                self._end_with(_REFUSALS[status])
            else:
                self.close_unread()  # the body of a request that has been answered
        elif self._in_head or self.pipeline or status == 431:
            # The request before this one still waits for its answer, and its client would take this for it.
            cycle.keep_alive, self._deaf, self._complete = False, True, False
            cycle.transport = _UnreadTransport(self)
            self._rest_is_here()
        else:
            # The endpoint waits for the rest of this body: it hears that there is no more, and stores nothing.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
            else:
                self._end_with(_REFUSALS[status])

    def _end_with(self, answer: bytes) -> None:
        """Answer on the bare connection and close it."""
        self._let_go()
        self.transport.write(answer)
        self.close_unread()


def _done() -> None:
    """A cycle that is over holds its connection no longer."""


class _UnreadTransport:
    """What a request's answer is written to while not all of the request is here: closing it must not lose the
    answer."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        """Close it at once if the request is complete by now, else in two steps."""
        if self._protocol._complete:
            self._protocol.transport.close()
        else:
            self._protocol.close_unread()
