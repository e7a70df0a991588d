"""How far the consumer groups of a topic are behind, by the positions they told the broker: a dead member's stay."""

from collections.abc import Callable, Mapping, Sequence

from ordering.adapters.kafka.committed import Committed
from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.inquiries import Inquiries
from ordering.adapters.kafka.peek import Peek
from ordering.application.messages import Lag


class KafkaGroupLag:
    """GroupLags from outside any group.

    Each of ``groups`` is told, also one in whose name nobody has ever read: it is behind by everything. ``now`` is UTC
    microseconds.
    """

    def __init__(self, connection: KafkaConnection, groups: Sequence[str], topic: str, now: Callable[[], int]) -> None:
        """Connects to nothing before the first question."""
        self._groups, self._now = groups, now
        self._inquiries = Inquiries(connection, topic)
        self._committed = Committed(connection, topic)
        self._peek = Peek(connection, topic)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._peek.close()
        await self._committed.close()
        await self._inquiries.close()

    async def lags(self) -> Mapping[str, Lag]:
        partitions = range((await self._inquiries.facts()).partitions)
        positions = {group: await self._committed.positions(group, partitions) for group in self._groups}
        # The end is asked for after the positions, so that no group is ahead of it.
        begins, ends = await self._inquiries.begins(partitions), await self._inquiries.ends(partitions)
        return {group: await self._lag(reached, begins, ends) for group, reached in positions.items()}

    async def _lag(self, reached: Mapping[int, int], begins: Mapping[int, int], ends: Mapping[int, int]) -> Lag:
        at = {number: max(reached.get(number, 0), begin) for number, begin in begins.items()}
        behind = {number: ends[number] - place for number, place in at.items() if ends[number] > place}
        times = await self._peek.timestamps({number: at[number] for number in behind})
        oldest = min(times.values(), default=None)
        age = 0.0 if oldest is None else max(0.0, self._now() / 1_000_000 - oldest / 1_000)
        return Lag(sum(behind.values()), age)
