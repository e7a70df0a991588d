"""Figures that somebody else keeps (a database, the log): asked for only when a page is, and never more than once at a
time, so that scraping more often or from more places costs no more.

A page never waits long for them. While an answer is on its way the last one is shown; when there was none, or the
question failed, the figures are NaN, because an old number that looks like a new one is worse than none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import nan
from typing import Final

import attrs

from ordering.application.failures import Failure, LogChanged
from ordering.entrypoints.metrics.table import Gauge

PATIENCE_SECONDS: Final = 1.0
"""How long a page waits for figures that are being asked for."""
GIVE_UP_SECONDS: Final = 10.0
STALE_SECONDS: Final = 30.0
"""How long the last answer is shown while the next one does not come."""

Readings = Mapping[Gauge, Mapping[tuple[str, ...], float]]
"""Gauge -> label values -> value."""


@attrs.define
class Sample:
    """Figures of one kind. ``shows`` names their gauges, with the labels under which they are NaN if unknown."""

    source: str
    take: Callable[[], Awaitable[Readings]]
    shows: Mapping[Gauge, tuple[tuple[str, ...], ...]]
    fresh_seconds: float = 1.0
    _last: Readings | None = None
    _taken_at: float = 0.0
    _began_at: float = 0.0
    _task: "asyncio.Task[None] | None" = None

    def refresh(self) -> "asyncio.Task[None] | None":
        """See to it that somebody asks, unless the last answer is still fresh; what can be waited for."""
        now = asyncio.get_running_loop().time()
        if self._task is not None and not self._task.done():
            return self._task
        if self._task is not None and now - self._began_at < self.fresh_seconds:
            return None
        self._began_at = now
        self._task = asyncio.get_running_loop().create_task(self._ask(), name=f"sample-{self.source}")
        return self._task

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                self._last = await self.take()
        except (Failure, LogChanged, TimeoutError):
            self._last = None
        except Exception:  # a fault of ours: whoever collects the task logs it
            self._last = None
            raise
        self._taken_at = asyncio.get_running_loop().time()

    @property
    def age(self) -> float | None:
        """Seconds since the figures were taken; None if there are none to show."""
        age = asyncio.get_running_loop().time() - self._taken_at
        return None if self._last is None or age > STALE_SECONDS else age

    def readings(self) -> Readings:
        """The figures, or NaN."""
        if self._last is None or self.age is None:
            return {gauge: dict.fromkeys(labels, nan) for gauge, labels in self.shows.items()}
        return self._last

    async def cancel(self) -> None:
        """Nobody will look any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def look(samples: list[Sample]) -> None:
    """Have all of them refreshed, as far as that takes no longer than a page may wait."""
    asked = [task for sample in samples if (task := sample.refresh()) is not None]
    if asked:
        await asyncio.wait(asked, timeout=PATIENCE_SECONDS)
