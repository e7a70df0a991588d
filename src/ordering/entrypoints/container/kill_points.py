"""Kill points for crash tests: one port of a service is replaced by itself with an end in it.

Nothing of this is in the way of a service whose settings name no kill point: its ports are what they were. What lies
inside of an adapter's transaction is reached through what the adapter is given: it meets the end while it goes
through a batch. A transaction that is one statement for a server ends between the question and its answer.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final, NoReturn, Protocol

import attrs

from ordering.application.messages import Changes
from ordering.entrypoints.kill_points import KillAt, KillPoint
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings

ANSWERS_SECONDS: Final = 0.05
"""Until then the answers of a commit are with their clients: nothing tells when a socket has been written."""
TURNS: Final = 4
"""Turns of the event loop after which a statement has gone to its socket."""

Call = Callable[..., Awaitable[Any]]


class Port(Protocol):
    """A provider of the container."""

    def __call__(self) -> Any: ...  # noqa: ANN401 -- whatever port it provides

    def override(self, provider: Any, /) -> Any: ...  # noqa: ANN401 -- as dependency-injector has it


class _When(Enum):
    BEFORE = auto()
    ANSWERED = auto()
    """Before, but late enough for what was answered until then to have arrived."""
    INSIDE = auto()
    AFTER = auto()


@attrs.frozen
class _Place:
    """Where a point lies: when a port's method is called. Only calls with a result that ``counts`` reach it."""

    port: str
    method: str
    when: _When
    counts: Callable[[Any], bool] = lambda _result: True


_PLACES: Final[Mapping[KillPoint, _Place]] = {
    KillPoint.BEFORE_BEGIN: _Place("store", "write", _When.BEFORE),
    KillPoint.IN_TRANSACTION: _Place("store", "write", _When.INSIDE),
    KillPoint.COMMIT_ANSWER: _Place("store", "write", _When.AFTER),
    KillPoint.ANSWER_RELAY: _Place("publisher", "publish", _When.ANSWERED),
    KillPoint.RELOAD: _Place("store", "heads", _When.AFTER, bool),
    KillPoint.APPEND_ACK: _Place("publisher", "publish", _When.AFTER),
    KillPoint.ACK_MARK: _Place("store", "mark_published", _When.BEFORE),
    KillPoint.IN_MARKING: _Place("store", "mark_published", _When.INSIDE),
    KillPoint.LEASE: _Place("store", "renew", _When.AFTER, bool),
    KillPoint.IN_TRIMMING: _Place("store", "trim", _When.INSIDE),
    KillPoint.POLL_APPLY: _Place("source", "poll", _When.AFTER, lambda polled: bool(polled.records)),
    KillPoint.APPLY_COMMIT: _Place("views", "commit", _When.INSIDE),
    KillPoint.COMMIT_OFFSET: _Place("source", "commit", _When.BEFORE),
    KillPoint.OFFSET_POLL: _Place("source", "commit", _When.AFTER),
}


def arm(settings: Settings, observer: ServiceObserver, **ports: Port) -> None:
    """Put the kill point that the settings name around one of these ports, before anybody has taken it; without one,
    or with one of another service, nothing changes."""
    kill_at = settings.kill_at
    if kill_at is None or (place := _PLACES[kill_at.point]).port not in ports:
        return
    observer.alarmed("kill_point.armed", point=str(kill_at.point), nth=kill_at.nth)
    database = settings.cart_database if place.port == "store" else settings.order_database
    port, end = ports[place.port], _End(kill_at, observer)
    port.override(_Deadly(port(), place, end, in_a_file=database is None))


class _End:
    """Counts how often the point was reached."""

    def __init__(self, kill_at: KillAt, observer: ServiceObserver) -> None:
        self._kill_at, self._observer, self._left = kill_at, observer, kill_at.nth

    def is_due(self) -> bool:
        """Whether this is the time, or the time has passed."""
        self._left -= 1
        return self._left <= 0

    def come(self) -> NoReturn:
        """Say so, and be gone: no handler, no flush, no goodbye."""
        self._observer.alarmed("kill_point.reached", point=str(self._kill_at.point), nth=self._kill_at.nth)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("outlived SIGKILL")


class _Deadly:
    """A port that is another one in everything but one method."""

    def __init__(self, port: object, place: _Place, end: _End, *, in_a_file: bool) -> None:
        self._port, self._place, self._end, self._in_a_file = port, place, end, in_a_file

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- as the port has it
        attribute = getattr(self._port, name)
        return self._around(attribute) if name == self._place.method else attribute

    def _around(self, method: Call) -> Call:
        async def deadly(*given: Any, **named: Any) -> Any:  # noqa: ANN401 -- as the port has it
            when = self._place.when
            if when is _When.AFTER:
                result = await method(*given, **named)
                if self._place.counts(result) and self._end.is_due():
                    self._end.come()
                return result
            if not self._end.is_due():
                return await method(*given, **named)
            if when is _When.INSIDE:
                return await self._inside(method, given, named)
            if when is _When.ANSWERED:
                await asyncio.sleep(ANSWERS_SECONDS)
            return self._end.come()

        return deadly

    async def _inside(self, method: Call, given: Sequence[Any], named: Mapping[str, Any]) -> Any:  # noqa: ANN401
        if "limit" in named:
            return await method(*given, **{**named, "limit": _Limit(named["limit"], self._end)})
        if self._in_a_file:
            return await method(_mined(given[0], self._end), *given[1:], **named)
        under_way = asyncio.ensure_future(method(*given, **named))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if under_way.done() and under_way.exception() is not None:
            return await under_way  # there was no transaction
        return self._end.come()


def _mined(work: Any, end: _End) -> Any:  # noqa: ANN401 -- a batch of any port
    """The same work, which the writer's thread does not live to finish: it goes through it within its transaction."""
    if isinstance(work, Changes):
        return attrs.evolve(work, counters=_LastPart(work.counters, end))
    return _Batch(work, end)


class _Batch(Sequence[Any]):
    """The end comes when about half of it is done: a single part is done."""

    def __init__(self, parts: Sequence[Any], end: _End) -> None:
        self._parts, self._end = parts, end

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 -- as sequences have it
        return self._parts[place]

    def __iter__(self) -> Iterator[Any]:
        yield from self._parts[: (len(self._parts) + 1) // 2]
        self._end.come()


class _LastPart(dict[str, int]):
    """What a projection writes last of all."""

    def __init__(self, parts: Mapping[str, int], end: _End) -> None:
        super().__init__(parts)
        self._end = end

    def items(self) -> NoReturn:
        self._end.come()


class _Limit(int):
    """How much may be trimmed in all: asked for what is left of it, the first of two statements is done."""

    _end: _End

    def __new__(cls, limit: int, end: _End) -> "_Limit":
        made = super().__new__(cls, limit)
        made._end = end
        return made

    def __sub__(self, _trimmed: int, /) -> NoReturn:
        self._end.come()
