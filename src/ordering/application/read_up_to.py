"""Reading a log up to given positions, and not one record further: what comes beyond them waits here, within bounds."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from ordering.application.messages import Record
from ordering.application.ports import EventSource

SURPLUS_MAX: Final = 20_000
"""Records that may wait here, beyond what was asked for."""


class ReadUpTo:
    """Hands out the records of all partitions in each one's order, exactly up to the positions asked for."""

    def __init__(self, source: EventSource, surplus_max: int = SURPLUS_MAX) -> None:
        self._source, self._surplus_max = source, surplus_max
        self._next: dict[int, int] = {}
        self._ahead: dict[int, deque[Record]] = {}
        self._lost: set[int] = set()
        """Partitions that gave so much beyond what was asked for that it was let go: the source stands further on."""
        self._assigned: set[int] = set()

    @property
    def reached(self) -> Mapping[int, int]:
        """Each partition's next offset, as far as it was handed out."""
        return self._next

    async def go_on(self, positions: Mapping[int, int]) -> None:
        """Go on from these next offsets, the other partitions from 0. Raises BrokerUnavailable."""
        self._next, self._ahead, self._lost = dict(positions), {}, set()
        if self._assigned:
            await self._source.seek({partition: positions.get(partition, 0) for partition in self._assigned})

    def missing(self, targets: Mapping[int, int]) -> int:
        """How many offsets lie between what was handed out and these positions."""
        return sum(max(0, target - self._next.get(partition, 0)) for partition, target in targets.items())

    async def take(self, targets: Mapping[int, int], limit: int, wait: float) -> list[Record]:
        """The next records before these positions; none when they are reached, or nothing came within ``wait`` seconds.

        Raises BrokerUnavailable, LogChanged.
        """
        while self.missing(targets):
            if records := self._ready(targets, limit):
                return records
            await self._find_again(targets)
            polled = await self._source.poll(limit, wait)
            if polled.assigned:
                self._assigned.update(polled.assigned)
                await self._source.seek({partition: self._next.get(partition, 0) for partition in polled.assigned})
            elif not polled.records:
                return []
            for record in polled.records:
                self._keep(record, targets.get(record.partition, 0))
        return []

    def _ready(self, targets: Mapping[int, int], limit: int) -> list[Record]:
        records: list[Record] = []
        for partition, target in targets.items():
            ahead = self._ahead.get(partition, ())
            while len(records) < limit and ahead and ahead[0].offset < target:
                assert isinstance(ahead, deque)
                record = ahead.popleft()
                records.append(record)
                self._next[partition] = record.offset + 1
        return records

    def _keep(self, record: Record, target: int) -> None:
        partition = record.partition
        if partition in self._lost or record.offset < self._next.get(partition, 0):
            return
        ahead = self._ahead.setdefault(partition, deque())
        if record.offset >= target and sum(map(len, self._ahead.values())) >= self._surplus_max:
            self._lost.add(partition)
            return
        ahead.append(record)

    async def _find_again(self, targets: Mapping[int, int]) -> None:
        """Send the source back to what was let go, where that is asked for now."""
        back: dict[int, int] = {}
        for partition in self._lost:
            if self._next.get(partition, 0) < targets.get(partition, 0):
                back[partition] = self._next.get(partition, 0)
                self._ahead.pop(partition, None)
        self._lost.difference_update(back)
        if back:
            await self._source.seek(back)
