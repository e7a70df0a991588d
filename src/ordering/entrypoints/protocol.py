"""One HTTP connection with the bounds that uvicorn does not have.

Uvicorn keeps whatever headers a client sends (50 MB were seen) and waits for a stuck request for ever. Here a
request's head has a size limit; head, body and answer each have a time in which they must get on. A request that comes
in one piece, as nearly all do, costs no timer. The application hears of a request when all of it is here, so that
slow senders take no place among the requests in hand. Whoever is refused can read why: a connection whose request was
not read to its end is closed in two steps, because closing it with unread bytes resets it, and a reset overtakes the
answer.
"""

import asyncio
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ordering.entrypoints.bare_answers import LATE, LEAVING, LONG, NO_SPACE, UNREADABLE, BareAnswer
from ordering.entrypoints.bounds import NO_ROOM, Bounds, Shared
from ordering.entrypoints.http.admission import SURPLUS
from ordering.entrypoints.one_write import OneWrite
from ordering.entrypoints.upgrades import head_without_offer

_TUNNEL: Final = b"CONNECT"


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
        self._offered = False
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
            self._cut("no-room")
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
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._deaf:  # by now: the parser's calls decide it
            return  # type: ignore[unreachable]
        if self._in_head and self._head_bytes > self.bounds.head_bytes:
            self._refuse(LONG)
        elif self._complete and not (self._in_head and self._head_bytes):
            self._rest_is_here()
        else:
            self._await_rest(len(data))

    def pause_writing(self) -> None:
        """The client takes its answer too slowly; it has to take something of it now and then."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.bounds.send_seconds, self._cut, "stalled")

    def resume_writing(self) -> None:
        """The client took what there was."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # ------------------------------------------------------------------ the parser's calls

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._complete = True, False
        self._requests += 1
        if self._surplus:
            self.scope["extensions"] = {SURPLUS: {}}

    def on_headers_complete(self) -> None:
        """Start the request, unless its head came in one large piece that is over the limit. Raises what the parser
        raises for a target that is none."""
        over = self._head_bytes > self.bounds.head_bytes and self._head_size() > self.bounds.head_bytes
        self._head_bytes = 0
        if over:
            self._refuse(LONG)
            return
        if self.parser.should_upgrade() and self.parser.get_method() != _TUNNEL:
            self._offered = True
            return
        super().on_headers_complete()
        # To HEAD, uvicorn writes the head and nothing else.
        self.cycle.transport = OneWrite(self.transport, has_body=self.scope["method"] != "HEAD")  # type: ignore[assignment]
        self._in_head = False
        if self.leaving or self._surplus:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """More of the body."""
        if not self._deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole: now it is the application's."""
        if self._offered:
            return
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
        if self._half_closed:  # it has had its last word, and ends soon
            return
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete and self._held is None:
            return
        if not self._complete:
            self._end_with(LEAVING)
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

    # ------------------------------------------------------------------ parsing

    def _parse(self, data: bytes) -> None:
        """Feed the parser, which stops behind a request that offers another protocol."""
        rest: bytes | memoryview = data
        try:
            while rest and not self._deaf:
                try:
                    self.parser.feed_data(rest)
                    return
                except HttpParserUpgrade as stopped:
                    rest = memoryview(rest)[stopped.args[0] :]
                    self._go_on()
        except HttpParserError:  # an unknown method, a bad byte
            if not self._deaf:
                self._refuse(UNREADABLE)

    def _go_on(self) -> None:
        if self._deaf:  # it was refused
            return
        if not self._offered:  # a tunnel: what comes next is meant for somebody else
            self.cycle.keep_alive, self._deaf = False, True
            return
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self._offered = False
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.parser.feed_data(head_without_offer(method, self.url, version, self.headers))

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
            self._end_with(NO_SPACE)
        else:
            self.flow.resume_reading()

    def _start_unread(self) -> None:
        cycle: Any = self.cycle
        cycle.transport.to = _UnreadTransport(self)
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
            self._cut("sends-on")

    def _rest_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head:
            if self._head_bytes or not self._complete:
                self._refuse(LATE)
            else:
                self.transport.close()
        elif self.pipeline:  # reading is paused until the requests before this one are answered
            self._awaited = 0
            self._await_rest(0)
        else:
            self._refuse(LATE)

    def _refuse(self, answer: BareAnswer) -> None:
        """What came, or did not come, is no request: say so and close; the rest is not read."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or self._held is not None:
            if self._in_head or self._held is not None or answer is LONG:
                self._end_with(answer)
            else:
                self.close_unread()  # the body of a request that has been answered
        elif self._in_head or self.pipeline or answer is LONG:
            # The request before this one still waits for its answer, and its client would take this for it.
            cycle.keep_alive, self._deaf, self._complete = False, True, False
            cycle.transport.to = _UnreadTransport(self)
            self._rest_is_here()
        else:
            # The endpoint waits for the rest of this body: it hears that there is no more, and stores nothing.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
            else:
                self._end_with(answer)

    def _end_with(self, answer: BareAnswer) -> None:
        """Answer on the bare connection and close it."""
        self._let_go()
        self.shared.reports.refused(answer.status, answer.code)
        self.transport.write(answer.sent)
        self.close_unread()

    def _cut(self, reason: str) -> None:
        """Close it without another word."""
        self.shared.reports.cut(reason)
        self.transport.abort()


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
