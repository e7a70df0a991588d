"""How far consumer groups are behind, where their positions can be read (a read model's, ours or another process')."""

from collections.abc import Awaitable, Callable, Mapping

from ordering.application.messages import Lag
from ordering.application.ports import EventSource


class PositionLag:
    """GroupLags of the one group whose positions are known here. A group that has none yet is behind by the whole
    log: a reader that was never started is late, not fine."""

    def __init__(
        self, group: str, topic: str, positions: Callable[[str], Awaitable[Mapping[int, int]]], source: EventSource
    ) -> None:
        self._group, self._topic, self._positions, self._source = group, topic, positions, source

    async def lags(self) -> Mapping[str, Lag]:
        return {self._group: await self._source.lag(await self._positions(self._topic))}
