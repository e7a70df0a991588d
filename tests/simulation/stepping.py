"""The virtual event loop of a world: asyncio's own order of things, a look from outside after every step, and cheap."""

import asyncio
from collections.abc import Callable, Coroutine
from heapq import heappop
from typing import Any, TypeVar

from tests.unit.application.runtime import Deadlock, VirtualLoop

T = TypeVar("T")


class SteppingLoop(VirtualLoop):
    """Runs what is ready, first in first out; when nothing is, the clock jumps to the next timer.

    ``after_step`` is called after each round; what it raises is kept in ``broken`` and stops the loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.after_step: Callable[[], None] = lambda: None
        self.broken: AssertionError | None = None

    def _run_once(self) -> None:
        """What the base class does, without a selector to ask: the half of a world's time that is left out here."""
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise Deadlock("every task waits for another one")
            self.advance()
        now = self.time()
        while scheduled and scheduled[0]._when <= now:
            timer = heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
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
        return task.result()
    finally:
        loop.after_step = lambda: None
        _drop_all(loop)
        loop.close()


def _drop_all(loop: SteppingLoop) -> None:
    loop.broken = None
    while tasks := [task for task in asyncio.all_tasks(loop) if not task.done()]:  # some begin others as they end
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
