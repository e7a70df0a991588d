"""The thread that owns a consumer: it keeps the membership alive and fetches ahead, whatever the application does.

A partition that was assigned stays paused until it is told its place. When the backlog is full the thread first simply
stops asking, which costs nothing; only if that lasts does it pause the partitions (the client then throws away what it
had fetched ahead) and goes on polling, so that a slow application is never put out of its group.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ordering.adapters.kafka.backlog import Backlog
from ordering.adapters.kafka.connection import Config, KafkaConnection
from ordering.adapters.kafka.errors import code_of, error_of, is_doubtful, is_fatal, is_out_of_range, reason_of

POLL_SECONDS: Final = 0.1
SETTLING_SECONDS: Final = 0.005
"""How long the thread listens while somebody waits for it to do something else."""
STALL_SECONDS: Final = 1.0
COMMIT_SECONDS: Final = 0.2
FETCH_MAX: Final = 1_000
PAUSE_SECONDS: Final = 0.05
"""Less than it takes to delete a topic and make it again, and the client to find that out."""


class Fetcher:
    """One consumer and its thread, from ``start`` to ``stop``.

    What it finds out is left in attributes for the event loop, which ``tell`` (called on the thread) wakes up.
    """

    def __init__(
        self, connection: KafkaConnection, config: Config, topic: str, backlog: Backlog, tell: Callable[[], None]
    ) -> None:
        """Raises Refused."""
        self._topic, self._backlog, self._tell = topic, backlog, tell
        self._incremental = "range" not in (strategy := str(config.get("partition.assignment.strategy", ""))) and (
            "roundrobin" not in strategy
        )
        self._diagnosis = connection.diagnosis()
        self._consumer = connection.open(
            Consumer, {**config, "error_cb": self._heard, "on_commit": self._told}, self._diagnosis
        )
        self._lock = threading.Lock()
        self._to_commit: dict[int, int] = {}
        self._to_assign: tuple[int, ...] = ()
        self._committed_at = 0.0
        self._stopping = threading.Event()
        self._stalled = False
        self.down: str | None = None
        """Why the consumer cannot reach a broker, as far as it knows; whoever has heard from one clears it."""
        self.denied: str | None = None
        """Why the consumer may not read; ends with the next assignment or record."""
        self.spent = False
        """Whether this consumer will never read again, and another one may."""
        self.doubtful = False
        """Whether the topic may be another one by now; whoever is going to ask clears it first."""
        self._fetched_at = 0.0
        self.out_of_range: dict[int, int] = {}
        """Partitions whose position (at most) the log does not have."""
        self._ended: set[int] = set()
        """Partitions the client has stopped fetching at such an error: it does not take a seek for them any more."""
        self._thread = threading.Thread(target=self._run, name="kafka-source", daemon=True)

    @property
    def outage(self) -> str | None:
        """``down``, or better if more is known."""
        return None if self.down is None else self._diagnosis.reason or self.down

    def recovered(self) -> None:
        """A broker has answered somebody."""
        self.down = None
        self._diagnosis.clear()

    def join_group(self) -> None:
        """Become a member of the group; the assignment comes by the backlog."""
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        self._thread.start()

    def read(self, partitions: Iterable[int]) -> None:
        """Take these partitions, too, without any group."""
        with self._lock:
            self._to_assign += tuple(partitions)
        if not self._thread.is_alive():
            self._thread.start()

    def commit(self, positions: Mapping[int, int]) -> None:
        """Tell the broker soon; later positions replace earlier ones."""
        with self._lock:
            self._to_commit.update(positions)

    def stop(self) -> None:
        """Ask the thread to leave the group and end."""
        self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end; False if it takes longer."""
        if self._thread.ident is None:
            self._consumer.close()
        else:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._assign_manually()
                settled = self._place()
                self._commit()
                self._stall()
                self._fetch(POLL_SECONDS if settled and not self._stalled else SETTLING_SECONDS)
        finally:
            self._commit(now=True)
            with contextlib.suppress(KafkaException, RuntimeError):
                self._consumer.close()

    def _fetch(self, seconds: float) -> None:
        try:
            first = self._consumer.poll(seconds)
            messages = [] if first is None else [first, *self._consumer.consume(FETCH_MAX, 0)]
        except KafkaException as failure:
            error = error_of(failure)
            if error is not None:
                self._failed(error, None)
            self._stopping.wait(POLL_SECONDS)
            return
        if not messages:
            return
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            else:
                self._failed(error, message)
        if good:
            self.denied = None
            clock = time.monotonic()
            # In a pause the topic may have been made anew.
            self._backlog.add(good, after_pause=clock - self._fetched_at > PAUSE_SECONDS)
            self._fetched_at = clock
        self._tell()

    def _stall(self) -> None:
        """Wait for room. Beyond a second, pause the partitions so that polling can go on without fetching."""
        if self._stalled:
            if not self._backlog.is_full:
                self._stalled = False
                self._resume(self._backlog.reached())
        elif self._backlog.is_full and not self._wait_for_room():
            self._stalled = True
            with contextlib.suppress(KafkaException):
                self._consumer.pause(self._places(self._backlog.assigned()))

    def _wait_for_room(self) -> bool:
        deadline = time.monotonic() + STALL_SECONDS
        while (left := deadline - time.monotonic()) > 0 and not self._stopping.is_set():
            if self._backlog.wait_for_room(min(left, POLL_SECONDS)):
                return True
        return False

    def _place(self) -> bool:
        """Send the consumer where the reader wants to go on; False while there is a partition without a place."""
        placed = []
        for partition, offset in self._backlog.targets().items():
            with contextlib.suppress(KafkaException):  # its fetching has not begun yet: again in a moment
                if partition in self._ended:
                    self._begin_again(partition, offset)
                else:
                    self._consumer.seek(TopicPartition(self._topic, partition, offset))
                self._backlog.placed(partition, offset)
                placed.append(partition)
        if placed and not self._stalled:
            self._resume(placed)  # together, so that one fetch asks for all of them
        return len(self._backlog.reached()) == len(self._backlog.assigned())

    def _begin_again(self, partition: int, offset: int) -> None:
        places = self._places([partition], offset)
        if self._incremental:
            self._consumer.incremental_unassign(places)
            self._consumer.incremental_assign(places)
        else:
            reached = {**self._backlog.reached(), partition: offset}
            mine = self._backlog.assigned()
            self._consumer.assign([TopicPartition(self._topic, one, reached.get(one, 0)) for one in mine])
            self._consumer.pause(self._places(one for one in mine if one not in reached))
        self._ended.discard(partition)

    def _resume(self, partitions: Iterable[int]) -> None:
        with contextlib.suppress(KafkaException):
            self._consumer.resume(self._places(partitions))

    def _assign_manually(self) -> None:
        with self._lock:
            partitions, self._to_assign = self._to_assign, ()
        if partitions:  # the ones of a topic that has grown come on top of those it had
            self._assigned(self._consumer, self._places(partitions))

    def _commit(self, *, now: bool = False) -> None:
        clock = time.monotonic()
        if not self._to_commit or (clock - self._committed_at < COMMIT_SECONDS and not now):
            return
        with self._lock:
            positions, self._to_commit = self._to_commit, {}
        self._committed_at = clock
        mine = set(self._backlog.assigned())
        places = [TopicPartition(self._topic, number, at) for number, at in positions.items() if number in mine]
        with contextlib.suppress(KafkaException):
            if places and self.down is None:
                self._consumer.commit(offsets=places, asynchronous=True)

    def _told(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """Within ``poll``: what the broker did not take is told again, unless there is something newer by then."""
        refused = [place for place in places if error is not None or place.error is not None]
        with self._lock:
            for place in refused:
                self._to_commit.setdefault(place.partition, place.offset)

    def _places(self, partitions: Iterable[int], offset: int = 0) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition in partitions]

    # ------------------------------------------------------------------ called within the consumer's poll

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        mine = [place.partition for place in partitions]
        # Any absolute offset does: nothing is fetched before the partition is told its place, and the position that
        # the broker keeps for its tools is not asked for.
        places = self._places(mine)
        if self._incremental:
            consumer.incremental_assign(places)
        else:
            consumer.assign(places)
        if places:
            consumer.pause(places)
        self._ended.difference_update(mine)
        self._backlog.assign(mine)
        self.denied = None
        self._tell()

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit(now=True)
        self._backlog.revoke(place.partition for place in partitions)
        if self._incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        self._tell()

    def _heard(self, error: KafkaError) -> None:
        self._diagnosis.heard(error)
        if error.fatal():
            self._denied(error)
            self._tell()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN or self._diagnosis.reason is not None:
            self.down = reason_of(error)
            self._tell()

    def _failed(self, error: KafkaError, message: Message | None) -> None:
        if is_out_of_range(error) and message is not None:
            partition = message.partition() or 0
            self._ended.add(partition)
            reached = self._backlog.reached().get(partition)
            # A partition just assigned may have been asked for from its beginning, before it was paused: that is no
            # position of ours, and the one that comes is checked by itself.
            if reached is not None:
                with self._lock:
                    self.out_of_range[partition] = reached
        elif is_doubtful(error) or is_out_of_range(error):
            self.doubtful = True
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.down = reason_of(error)
        elif not error.retriable() and error.code() != KafkaError._MAX_POLL_EXCEEDED:
            self._denied(error)
        self._tell()

    def _denied(self, error: KafkaError) -> None:
        self.denied = reason_of(error)
        # Whoever has taken our instance id shall keep it: two that take it from each other would never rest.
        if is_fatal(error) and code_of(error) != KafkaError.FENCED_INSTANCE_ID:
            self.spent = True
