"""The virtual event loop of a world: asyncio's own order of things, a look from outside after every step, and cheap."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, TypeVar

from tests.unit.application.runtime import Deadlock, VirtualLoop

T = TypeVar("T")


class _Call:
    """A Handle or TimerHandle as its users know it, without contexts and debugging: nobody here has any."""

    __slots__ = ("args", "at", "callback", "gone")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], at: float) -> None:
        self.callback, self.args, self.at, self.gone = callback, args, at, False

    def cancel(self) -> None:
        """It will not happen."""
        self.gone = True

    def cancelled(self) -> bool:
        """Whether it will not."""
        return self.gone

    def when(self) -> float:
        """The loop's time at which it was to happen."""
        return self.at


class SteppingLoop(VirtualLoop):
    """Runs what is ready, first in first out; when nothing is, the clock jumps to the next timer, and of those that are
    due together the one that was set first comes first.

    ``after_step`` is called after each round; what it raises is kept in ``broken`` and stops the loop. What a callback
    raises ends the run: nothing is only logged here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.after_step: Callable[[], None] = lambda: None
        self.broken: AssertionError | None = None
        self.unheard: list[str] = []
        self._timers: list[tuple[float, int, _Call]] = []
        self._set = 0

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task that nobody awaits has failed: the world itself is broken."""
        self.unheard.append(f"{context.get('message')}: {context.get('exception')!r}")

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401
        """As the base class's."""
        call = _Call(callback, args, self._virtual)
        self._ready.append(call)  # type: ignore[attr-defined]
        return call

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401
        """There are no other threads; an asynchronous generator that nobody finishes is closed by this."""
        return self.call_soon(callback, *args)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401
        """As the base class's."""
        call = _Call(callback, args, when)
        self._set += 1
        heappush(self._timers, (when, self._set, call))
        return call

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401
        """As the base class's."""
        return self.call_at(self._virtual + delay, callback, *args)

    def _run_once(self) -> None:
        timers, ready = self._timers, self._ready  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            while timers and timers[0][2].gone:
                heappop(timers)
            if not timers:
                raise Deadlock("every task waits for another one")
            self._virtual = max(self._virtual, timers[0][0])
        now = self._virtual
        while timers and timers[0][0] <= now:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            call = ready.popleft()
            if not call.gone:
                call.callback(*call.args)
        if self.broken is None:
            try:
                self.after_step()
            except AssertionError as error:
                self.broken = error
                self.stop()


def run_stepping(main: Callable[[SteppingLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a world on a loop of its own; whatever it leaves running is dropped. Raises what a step found, first."""
    loop = SteppingLoop()
    try:
        task = loop.create_task(main(loop))
        try:
            loop.run_until_complete(task)
        except RuntimeError:
            if loop.broken is None:
                raise
        if loop.broken is not None:
            raise loop.broken
        result = task.result()
    finally:
        loop.after_step = lambda: None
        _drop_all(loop)
        loop.close()
    if loop.unheard:
        raise RuntimeError(loop.unheard[0])
    return result


def _drop_all(loop: SteppingLoop) -> None:
    loop.broken = None
    while tasks := [task for task in asyncio.all_tasks(loop) if not task.done()]:  # some begin others as they end
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
