"""The broker's side of the log: partitions with and without a leader, growth, loss, foreign records, and the group."""

import random
from collections.abc import Callable

import attrs

from ordering.adapters.memory.log import MemoryLog
from ordering.application.messages import Headers, Record
from tests.simulation.disk import Disk

_Ends = list[int]


class SimLog(MemoryLog):
    """One topic, with what may happen to it."""

    def __init__(self, topic: str, partitions: int, saw: Callable[[str], None], *, power_may_fail: bool) -> None:
        super().__init__(topic, partitions)
        self._waiting = InOrder()  # type: ignore[assignment]
        self._saw = saw
        self.down: str | None = None
        """Why no broker answers."""
        self.leaderless: set[int] = set()
        self._verdicts: dict[bytes, bool] = {}
        self.foreign: dict[tuple[int, int], str] = {}
        """Partition and offset of records that are not ours, and what is wrong with them."""
        self.was_trimmed = False
        """Whether it has lost a beginning, perhaps that of a topic which was deleted since."""
        self.made = 1
        """How often the topic was made."""
        self.withheld = False
        """Whether the replicas that readers ask lag behind: nobody is given anything new."""
        self.fetched: dict[int, int] = {}
        """By partition, the end of what any reader was given."""
        self.gone: dict[tuple[int, int], None] = {}
        """Places of records that were removed from the middle, all of them before any reader was given them."""
        self.had_gaps = False
        """Whether some were missing in a topic that was deleted since."""
        self.disk: Disk[_Ends] = Disk(self._saved, self._truncate, may_fail=power_may_fail)

    def trim(self, partition: int, before: int) -> None:
        """As the adapter's."""
        self.was_trimmed = self.was_trimmed or before > 0
        super().trim(partition, before)

    def insert(self, partition: int, key: bytes | None, value: bytes | None, headers: Headers, what: str) -> None:
        """A foreign producer's record, of which our publisher would refuse many."""
        records = self.partitions[partition]
        offset, at = len(records), records[-1].timestamp if records else 1_700_000_000_000
        self.disk.promised()
        records.append(Record(self.topic, partition, offset, at, key, value, headers))
        self.foreign[partition, offset] = what
        self.wake()

    def compact(self, chosen: Callable[[], bool]) -> int:
        """An operator's clean-up keeps what is newest of each order, and of the rest what ``chosen`` says no to; how
        many records went. What a reader has been given stays: who has it, and who not, is no fact of the log. Nor does
        anything go from a topic that was made anew: the positions of those who do not read it are another one's."""
        gone = len(self.gone)
        if self.made > 1:
            return 0
        self.disk.promised()  # only what is safe is cleaned up, and never the end of a partition
        for partition, records in enumerate(self.partitions):
            begin = max(self.fetched.get(partition, 0), self.begins.get(partition, 0))
            newest: dict[bytes | None, bytes] = {}
            known: set[bytes] = set()
            for record in records:
                if (name := _event_id(record)) and name not in known:
                    known.add(name)
                    newest[record.key] = name
            for record in records[begin:-1]:
                name = _event_id(record)
                if name and name != newest[record.key] and chosen():
                    self.gone[partition, record.offset] = None
        return len(self.gone) - gone

    def recreate(self, partitions: int) -> None:
        """Deleted and made again, empty, under its name."""
        self.made += 1
        self.identity = attrs.evolve(self.identity, topic_id=str(self.made))
        self.partitions = [[] for _ in range(partitions)]
        self.had_gaps = self.had_gaps or bool(self.gone)
        self.begins, self.foreign, self.fetched, self.gone = {}, {}, {}, {}
        self.disk.promised()
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._wake()

    def refuses(self, value: bytes, too_large: Callable[[], bool]) -> bool:
        """Whether this value is too large: that is found out once, and so for good."""
        if value not in self._verdicts:
            self._verdicts[value] = too_large()
        return self._verdicts[value]

    def raise_the_limit(self) -> None:
        """From now on nothing is too large."""
        self._verdicts = dict.fromkeys(self._verdicts, False)

    def can_take(self, partition: int) -> bool:
        """Whether somebody answers for this partition."""
        return self.down is None and partition not in self.leaderless

    def cut(self, rng: random.Random) -> tuple[int, int]:
        """Power cut."""
        return self.disk.cut(rng)

    def _saved(self) -> _Ends:
        return [len(records) for records in self.partitions]

    def _truncate(self, ends: _Ends) -> None:
        for records, end in zip(self.partitions, ends, strict=False):
            del records[end:]
        self.gone = {place: None for place in self.gone if place[1] < ends[place[0]]}


def _event_id(record: Record) -> bytes:
    """Empty: it is not one of ours."""
    return dict(record.headers).get("ce_id", b"")


class InOrder(dict[object, None]):
    """A set that is walked in the order of arrival: one of futures would be walked differently in every run."""

    def add(self, item: object) -> None:
        """As a set's."""
        self[item] = None

    def discard(self, item: object) -> None:
        """As a set's."""
        self.pop(item, None)
