"""A Runtime without real time: an event loop whose clock jumps to the next timer as soon as nothing is left to do.

Nothing here sleeps or looks at a real clock, so a test of ten virtual minutes takes milliseconds and repeats exactly.
"""

import asyncio
import random
from asyncio import base_events
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ordering.application.ports import Timer

T = TypeVar("T")

MIDNIGHT = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z in microseconds: when every virtual clock starts."""


class Deadlock(AssertionError):
    """Everything waits, and no timer is left that could end it."""


class _NoSelector:
    """Stands where the loop looks for sockets: there are none, so waiting only moves the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("every task waits for another one")
        if timeout > 0:
            self._loop.advance()
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """asyncio's own loop, first in first out as always, on a virtual clock and without any I/O."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._selector = _NoSelector(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def advance(self) -> None:
        """Jump to the next timer."""
        self._virtual = max(self._virtual, self._scheduled[0].when())  # type: ignore[attr-defined]

    def _process_events(self, events: list[Any]) -> None:
        """There are no events of sockets."""

    def _write_to_self(self) -> None:
        """No other thread ever calls this loop."""


class VirtualRuntime:
    """The Runtime port on a VirtualLoop. ``skew`` moves the wall clock only; ids repeat for the same seed."""

    def __init__(self, seed: int = 0, skew: int = 0) -> None:
        self._random = random.Random(seed)
        self._skew = skew
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """What was spawned and still runs, in that order: a set of tasks would differ from run to run."""
        self._found: asyncio.AbstractEventLoop | None = None

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The first loop this is used on: to ask which one is running costs a system call."""
        if self._found is None:
            self._found = asyncio.get_running_loop()
        return self._found

    def now(self) -> int:
        return MIDNIGHT + self._skew + round(self._loop.time() * 1e6)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an operator may."""
        self._skew += round(seconds * 1e6)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = self._loop.create_future()
        timer = self._loop.call_later(seconds, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        return self._loop.call_later(seconds, call)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> "asyncio.Task[Any]":
        task = self._loop.create_task(work, name=name)
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
        return task

    def new_id(self) -> str:
        bits = (self.now() // 1000) << 80 | 7 << 76 | self._random.getrandbits(12) << 64
        digits = f"{bits | 2 << 62 | self._random.getrandbits(62):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class RecordingObserver:
    """The Observer port; tests read what was reported."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, dict[str, object]]] = []
        self.counts: Counter[str] = Counter()
        self.values: dict[str, list[float]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the reported changes, in order."""
        return [what for what, _ in self.changes]

    def changed(self, what: str, **facts: object) -> None:
        self.changes.append((what, facts))

    def alarmed(self, what: str, **facts: object) -> None:
        self.changes.append((what, facts))

    def noted(self, what: str, **facts: object) -> None:
        pass

    def counted(self, what: str, amount: int = 1, *, of: str | None = None) -> None:
        self.counts[what] += amount

    def measured(self, what: str, value: float) -> None:
        self.values.setdefault(what, []).append(value)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time, then drop whatever it left running."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def passing(seconds: float) -> None:
    """Let virtual time pass, everything due at its end included."""
    await asyncio.sleep(seconds)
    await settling()


async def settling() -> None:
    """Let everything that can go on without time passing go on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def outcome_of(work: Awaitable[Any]) -> Any:  # noqa: ANN401
    """The result, or the error as a value: for comparing outcomes in one list."""
    try:
        return await work
    except Exception as error:
        return error
