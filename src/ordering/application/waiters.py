"""Those who wait for the read model to move: for one key, or for any progress at all."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ordering.application.failures import Overloaded, ShuttingDown
from ordering.application.ports import Runtime


class Waiting:
    """One waiter. It is armed from the start, so nothing can slip between its look and its wait."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._woken = asyncio.Event()
        self._ended = False

    def wake(self) -> None:
        """Something moved since the waiter looked last."""
        self._woken.set()

    def end(self) -> None:
        """Nothing is waited for any more."""
        self._ended = True
        self._woken.set()

    async def next(self, seconds: float) -> None:
        """Return when something moved since the last call, or after ``seconds``. Raises ShuttingDown."""
        timer = self._runtime.call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
        if self._ended:
            raise ShuttingDown
        self._woken.clear()


class Waiters:
    """Wakes waiting queries when the consumer has committed. A wake-up is a hint to look again, never an answer."""

    def __init__(self, runtime: Runtime, at_most: int = 1_000) -> None:
        self._runtime, self._at_most = runtime, at_most
        self._by_key: dict[str | None, dict[Waiting, None]] = {}
        """Who came first is woken first."""
        self._stopping = False
        self.count = 0
        """How many are waiting now."""

    @property
    def stopping(self) -> bool:
        """Whether nobody can wait any more, because the service ends."""
        return self._stopping

    @contextmanager
    def waiting(self, key: str | None) -> Iterator[Waiting]:
        """Wait for changes of one key, or (None) for any progress. Raises Overloaded when too many wait."""
        if self.count >= self._at_most:
            raise Overloaded(f"{self._at_most} requests are waiting for the read model")
        waiter = Waiting(self._runtime)
        if self._stopping:
            waiter.end()  # it may still look; only waiting is over
        group = self._by_key.setdefault(key, {})
        group[waiter] = None
        self.count += 1
        try:
            yield waiter
        finally:
            self.count -= 1
            group.pop(waiter, None)
            if not group:
                self._by_key.pop(key, None)

    def notify(self, keys: Iterable[str] | None) -> None:
        """These keys changed (None: any may have), and positions moved."""
        if not self.count:
            return
        for key in self._by_key if keys is None else (None, *keys):
            for waiter in self._by_key.get(key, ()):
                waiter.wake()

    def stop(self) -> None:
        """The service ends: whoever waits, now or later, gets ShuttingDown instead."""
        self._stopping = True
        for group in self._by_key.values():
            for waiter in group:
                waiter.end()
