"""Broken builds that lose nothing and yet fail people: no answer, one of another state, a key or a reader for ever
stuck."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from ordering.application.consume_events import require_same_log
from ordering.application.errors import KeyInFlight
from ordering.application.messages import Write
from tests.mutants.patching import Sound, mutant

CONSUMER = "ordering.application.consume_events:EventConsumer"


@mutant("withdrawn-in-silence", "H2", at="ordering.application.group_commit:GroupCommit._expire")
def _(sound: Sound) -> Sound:
    """A request whose time is over is withdrawn, and nobody tells its client."""

    def expire(self: Sound, deadline: float) -> None:
        now = self._runtime.monotonic()
        self._queue = deque(ticket for ticket in self._queue if ticket.deadline > now)
        sound(self, deadline)

    return expire


@mutant("keys-are-never-let-go", at="ordering.application.commands:IdempotencyKeys.held")
def _(_sound: Sound) -> Sound:
    """A key whose request failed is in flight for ever."""

    @contextmanager
    def held(self: Sound, once: Sound) -> Iterator[None]:
        if once is None:
            yield
            return
        if once.key in self._in_flight:
            raise KeyInFlight
        self._in_flight.add(once.key)
        yield
        self._in_flight.discard(once.key)

    return held


@mutant("answers-with-the-state-before", at="ordering.application.change_status:ChangeStatus._decide")
def _(sound: Sound) -> Sound:
    """A change is stored, and its answer shows the order as it was."""

    def decide(self: Sound, order: Sound, wanted: Sound, context: Sound) -> tuple[Sound, Write | None]:
        changed, write = sound(self, order, wanted, context)
        return attrs.evolve(changed, status=order.status), write

    return decide


@mutant("any-trouble-halts", "H22", at=f"{CONSUMER}._pause")
def _(sound: Sound) -> Sound:
    """A reader whose store or broker is away for a moment stops until somebody starts it again."""

    def pause(self: Sound, kind: Sound, reason: str) -> None:
        sound(self, kind, reason)
        self.halted = True

    return pause


@mutant("identity-never-recorded", "H22", at=f"{CONSUMER}._identify")
def _(_sound: Sound) -> Sound:
    """Nobody writes down which log the read model was filled from, so another one is never recognised."""

    async def identify(self: Sound) -> None:
        found, known = await self._source.identity(), await self._store.identity(self._topic)
        if known is not None:
            require_same_log(self._topic, known, found)
        self._known = True

    return identify


@mutant("forgets-what-waits-for-a-schema", "H23", at=f"{CONSUMER}._retry_unknown_schemas")
def _(_sound: Sound) -> Sound:
    """An order whose schema the registry did not know waits until somebody releases it by hand."""

    async def retry(_self: Sound) -> None:
        return

    return retry
