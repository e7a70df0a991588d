"""Trying again what may be asked twice, as long as nothing but time is missing."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ordering.application.failures import BrokerUnavailable, CommitAmbiguous, StalePosition, StoreUnavailable
from ordering.application.ports import Runtime

T = TypeVar("T")

Waits = Callable[[str, float], None]
"""Told of what is waited for: why, and for how many more seconds it is asked again."""

TOLD_SECONDS: Final = 2.0
"""What takes no longer need not be told to anybody."""


def nobody_waits(_reason: str, _seconds: float) -> None:
    """For callers at whose side nobody sits."""


class Patience:
    """Asks again after ``pause`` seconds, for ``seconds`` from the first failure of a call on.

    ``waits`` is told, once a call, when that takes longer than TOLD_SECONDS.
    """

    def __init__(self, runtime: Runtime, seconds: float, pause: float, waits: Waits = nobody_waits) -> None:
        self._runtime, self._seconds, self._pause, self._waits = runtime, seconds, pause, waits

    async def __call__(self, act: Callable[[], Awaitable[T]]) -> T:
        """What ``act`` answers in the end; it has to find out by itself what an earlier try may have done.

        Raises what the last try raised: StoreUnavailable (also for a lost race), BrokerUnavailable, CommitAmbiguous.
        Everything else is raised at once.
        """
        deadline: float | None = None
        told = False
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
                if not told and now >= deadline - self._seconds + TOLD_SECONDS:
                    told = True
                    self._waits(_reason(error), deadline - now)
            await self._runtime.sleep(self._pause)


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, StoreUnavailable | BrokerUnavailable) else str(error)
