"""What was fetched and not asked for yet, between the thread that fetches and the event loop that takes."""

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs
from confluent_kafka import Message

RECORDS_MAX: Final = 2_000
BYTES_MAX: Final = 16 << 20


@attrs.define
class _Partition:
    """One partition of ours. ``next`` is the offset behind what was fetched, None until its place is known."""

    next: int | None = None
    target: int | None = None
    """Where the reader wants to go on; the consumer has not been told yet."""
    fetched: deque[Message] = attrs.Factory(deque)


@attrs.frozen
class Taken:
    """News of the assignment, or messages."""

    assigned: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()
    messages: Sequence[Message] = ()


class Backlog:
    """Bounded by records and bytes; a partition holds nothing before it was told its place, nor after it was revoked.
    What came after a pause is not given out before somebody has ``recognised`` the log it is of.

    Every method may be called by either thread.
    """

    def __init__(self, records_max: int = RECORDS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._records_max, self._bytes_max = records_max, bytes_max
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._records = self._bytes = 0
        self._strange = False
        self._turn = 0
        self._has_room = threading.Event()
        self._has_room.set()

    def assign(self, partitions: Iterable[int]) -> None:
        with self._lock:
            for partition in partitions:
                self._drop(self._partitions.get(partition))
                self._partitions[partition] = _Partition()
                self._gained.add(partition)

    def revoke(self, partitions: Iterable[int]) -> None:
        """Also forgets the gain of a partition that nobody has heard of yet."""
        with self._lock:
            for partition in partitions:
                if partition in self._partitions:
                    self._drop(self._partitions.pop(partition))
                    self._gained.discard(partition)
                    self._lost.add(partition)

    def seek(self, positions: Mapping[int, int]) -> None:
        """Drop what was fetched of these partitions; until ``placed`` nothing of theirs comes in."""
        with self._lock:
            for number, offset in positions.items():
                partition = self._partitions.get(number)
                if partition is not None:
                    self._drop(partition)
                    partition.next, partition.target = None, offset

    def targets(self) -> dict[int, int]:
        """Where the consumer has to be placed."""
        with self._lock:
            return {number: one.target for number, one in self._partitions.items() if one.target is not None}

    def placed(self, number: int, offset: int) -> None:
        """The consumer goes on from there: what comes in from now on is meant."""
        with self._lock:
            partition = self._partitions.get(number)
            if partition is not None and partition.target == offset:  # else it was sent elsewhere meanwhile
                partition.next, partition.target = offset, None

    def add(self, messages: Iterable[Message], *, after_pause: bool = False) -> None:
        with self._lock:
            self._strange |= after_pause
            for message in messages:
                partition = self._partitions.get(message.partition() or 0)
                offset = message.offset()
                if partition is None or partition.next is None or offset is None or offset < partition.next:
                    continue
                partition.fetched.append(message)
                partition.next = offset + 1
                self._records += 1
                self._bytes += len(message)
            if self._records >= self._records_max or self._bytes >= self._bytes_max:
                self._has_room.clear()

    @property
    def strange(self) -> bool:
        """Whether something is here that came after a pause, and may be of another log."""
        return self._strange

    def recognised(self) -> None:
        """The log has been, or is about to be, asked about: that holds for everything that is here by now."""
        with self._lock:
            self._strange = False

    def take(self, limit: int) -> Taken | None:
        """News before messages; None if there is neither, or nobody knows of what log the messages are. Partitions
        share the limit equally."""
        with self._lock:
            if self._gained or self._lost:
                taken = Taken(tuple(sorted(self._gained)), tuple(sorted(self._lost)))
                self._gained, self._lost = set(), set()
                return taken
            if self._strange or not self._records:
                return None
            messages: list[Message] = []
            for number, count in self._shares(limit).items():
                fetched = self._partitions[number].fetched
                messages += [fetched.popleft() for _ in range(count)]
                self._turn = number + 1
            self._count_out(messages)
            return Taken(messages=messages)

    def reached(self) -> dict[int, int]:
        """How far each partition was fetched, of those that know their place."""
        with self._lock:
            return {number: one.next for number, one in self._partitions.items() if one.next is not None}

    def assigned(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(self._partitions)

    @property
    def is_full(self) -> bool:
        return not self._has_room.is_set()

    def wait_for_room(self, seconds: float) -> bool:
        """Until it is half empty."""
        return self._has_room.wait(seconds)

    def _drop(self, partition: _Partition | None) -> None:
        if partition is not None:
            dropped, partition.fetched = partition.fetched, deque()
            self._count_out(dropped)

    def _count_out(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._records -= 1
            self._bytes -= len(message)
        if self._records <= self._records_max // 2 and self._bytes <= self._bytes_max // 2:
            self._has_room.set()

    def _shares(self, limit: int) -> dict[int, int]:
        """How many each partition gives; those from the turn on first, when there are more partitions than places."""
        waiting = {number: len(one.fetched) for number, one in self._partitions.items() if one.fetched}
        shares = dict.fromkeys(sorted(waiting, key=lambda number: (number < self._turn, number)), 0)
        hungry = list(shares)
        while hungry and limit > 0:
            each = max(1, limit // len(hungry))
            for number in hungry[:limit]:
                more = min(each, waiting[number] - shares[number])
                shares[number] += more
                limit -= more
            hungry = [number for number in hungry if shares[number] < waiting[number]]
        return {number: count for number, count in shares.items() if count}
