"""Trying again what may be asked twice, as long as nothing but time is missing."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ordering.application.failures import BrokerUnavailable, CommitAmbiguous, StalePosition, StoreUnavailable
from ordering.application.ports import Runtime

T = TypeVar("T")


class Patience:
    """Asks again after ``pause`` seconds, for ``seconds`` from the first failure of a call on."""

    def __init__(self, runtime: Runtime, seconds: float, pause: float) -> None:
        self._runtime, self._seconds, self._pause = runtime, seconds, pause

    async def __call__(self, act: Callable[[], Awaitable[T]]) -> T:
        """What ``act`` answers in the end; it has to find out by itself what an earlier try may have done.

        Raises what the last try raised: StoreUnavailable (also for a lost race), BrokerUnavailable, CommitAmbiguous.
        Everything else is raised at once.
        """
        deadline: float | None = None
        while True:
            try:
                return await act()
            except (StoreUnavailable, BrokerUnavailable, CommitAmbiguous, StalePosition) as error:
                now = self._runtime.monotonic()
                deadline = now + self._seconds if deadline is None else deadline
                if now >= deadline:
                    if isinstance(error, StalePosition):
                        raise StoreUnavailable(f"somebody else keeps changing it: {error}") from error
                    raise
            await self._runtime.sleep(self._pause)
