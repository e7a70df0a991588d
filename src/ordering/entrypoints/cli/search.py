"""Looking for one key in the log, through the same port that consumers read by."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ordering.application.messages import Record
from ordering.application.ports import EventSource

BATCH: Final = 1_000
WAIT_SECONDS: Final = 0.1


class SourceSearch:
    """The ``LogSearch`` port: reads a whole partition, so it is for people only.

    ``recorded`` turns the log's partition count into the one that keys are placed by, which a topic keeps for ever.
    """

    def __init__(self, source: EventSource, recorded: Callable[[int], Awaitable[int]]) -> None:
        self._source, self._recorded = source, recorded

    async def partition_count(self) -> int:
        return await self._recorded(len(await self._source.end_offsets()))

    async def find(self, partition: int, key: bytes, limit: int) -> Sequence[Record]:
        end = (await self._source.end_offsets()).get(partition, 0)
        found: list[Record] = []
        reached = 0
        while reached < end and len(found) < limit:
            polled = await self._source.poll(BATCH, WAIT_SECONDS)
            if polled.assigned:
                await self._source.seek({partition: 0})
            for record in polled.records:
                reached = record.offset + 1
                if record.key == key and len(found) < limit:
                    found.append(record)
        return found
