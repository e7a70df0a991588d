"""What both commands share: their context, their answer, and how an event becomes a journal row."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import attrs

from ordering.application.errors import KeyInFlight, KeyReused
from ordering.application.event_headers import event_headers
from ordering.application.messages import Encoded, NewEvent, RecordedAnswer, StoredState, Write
from ordering.application.ports import OrderRepository, Runtime
from ordering.domain.events import OrderEvent, Stamp
from ordering.domain.order import Order

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OrderCodec(Protocol):
    """Order events as Avro bodies of the current schema, without a registry id."""

    def encode(self, event: OrderEvent) -> Encoded: ...

    def decode(self, encoded: Encoded) -> OrderEvent:
        """The event. Raises ValueError for what it cannot read."""

    def order(self, encoded: Encoded) -> Order:
        """The order that an event carries. Raises ValueError for what it cannot read."""


@attrs.frozen
class Once:
    """An idempotency key with all that is needed to answer the same again.

    ``key`` is the scope (method and path) with the client's key; ``fingerprint`` the SHA-256 of the raw body;
    ``status`` and ``render`` give a success's answer, which is stored in the order's own transaction.
    """

    key: str
    fingerprint: bytes
    status: int
    render: Callable[[Order], bytes]


@attrs.frozen
class Context:
    """What travels with a command besides its input."""

    request_id: str
    traceparent: str | None = None
    tracestate: str | None = None
    once: Once | None = None


Answer = Order | RecordedAnswer
"""The order after the command, or the first answer to the same key, to be sent again as it is."""


class IdempotencyKeys:
    """Keys being worked on in this process, and the answers of those that were."""

    def __init__(self, repository: OrderRepository) -> None:
        self._repository = repository
        self._in_flight: set[str] = set()

    @contextmanager
    def held(self, once: Once | None) -> Iterator[None]:
        """Hold the key while its command runs. Raises KeyInFlight if it is held already."""
        if once is None:
            yield
            return
        if once.key in self._in_flight:
            raise KeyInFlight
        self._in_flight.add(once.key)
        try:
            yield
        finally:
            self._in_flight.discard(once.key)

    async def replay(self, once: Once | None) -> RecordedAnswer | None:
        """The key's first answer, if it has one. Raises KeyReused if that was to another body."""
        if once is None:
            return None
        answer = await self._repository.answer_to(once.key)
        return None if answer is None else same_body(once, answer)


def same_body(once: Once | None, answer: RecordedAnswer) -> RecordedAnswer:
    """The recorded answer, if it belongs to this very body. Raises KeyReused."""
    if once is None or once.fingerprint != answer.fingerprint:
        raise KeyReused
    return answer


class ChangeRecorder:
    """Turns decisions of the domain into writes."""

    def __init__(self, codec: OrderCodec, runtime: Runtime, topic: str, source: str) -> None:
        self._codec, self._runtime, self._topic, self._source = codec, runtime, topic, source

    def stamp(self) -> Stamp:
        """A new event id and the present time."""
        return Stamp(self._runtime.new_id(), _EPOCH + timedelta(microseconds=self._runtime.now()))

    def write(self, order: Order, event: OrderEvent, context: Context) -> Write:
        """The order's change: its event as a journal row, and the key's answer if there is a key."""
        at = (event.occurred_at - _EPOCH) // timedelta(microseconds=1)
        headers = event_headers(event, self._source, context.request_id, context.traceparent, context.tracestate)
        row = NewEvent(
            event.event_id,
            order.order_id,
            order.version,
            self._topic,
            order.order_id.encode(),
            headers,
            self._codec.encode(event),
            at,
        )
        return Write(order.order_id, order.version - 1, row, self._answer(order, context.once, at))

    def again(self, state: StoredState, request_id: str) -> NewEvent:
        """The newest event of an order as a journal row once more. Raises ValueError for a state it cannot read."""
        event = self._codec.decode(state.encoded)
        headers = event_headers(event, self._source, request_id, None, None)
        at = (event.occurred_at - _EPOCH) // timedelta(microseconds=1)
        key = state.aggregate_id
        return NewEvent(event.event_id, key, state.version, self._topic, key.encode(), headers, state.encoded, at)

    def unchanged(self, order: Order, once: Once) -> Write:
        """No change, only the key's answer."""
        return Write(order.order_id, order.version, None, self._answer(order, once, self._runtime.now()))

    @staticmethod
    def _answer(order: Order, once: Once | None, at: int) -> RecordedAnswer | None:
        if once is None:
            return None
        return RecordedAnswer(once.key, once.fingerprint, once.status, order.version, once.render(order), at)
