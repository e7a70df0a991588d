"""The way out of a topic: as a member of a consumer group, or as a reader of all partitions outside any group.

The event loop's half: it takes what the thread has fetched (``fetching``), and sees to it that the log is still the one
it began with. Kafka does not tell that a topic was deleted and made again, nor that it lost its end; so the topic's id
is asked for every few seconds, after every error that may mean it, and before records are handed out that came after a
pause (to delete a topic and make it again takes longer than that pause, so records that follow each other closely are
of one log). Every position is checked against the log's range when it is sought.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from ordering.adapters.kafka.backlog import Backlog
from ordering.adapters.kafka.connection import Config, GroupProtocol, KafkaConnection
from ordering.adapters.kafka.fetching import Fetcher
from ordering.adapters.kafka.inquiries import Inquiries, TopicFacts
from ordering.adapters.kafka.peek import Peek
from ordering.adapters.kafka.records import record_of
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import Lag, LogIdentity, Polled

VERIFY_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 3.0


class _Source:
    """What both kinds of reading share. All calls come from one event loop; ``now`` is UTC microseconds."""

    def __init__(self, connection: KafkaConnection, config: Config, topic: str, now: Callable[[], int]) -> None:
        self._connection, self._config, self._topic, self._now = connection, config, topic, now
        self._inquiries = Inquiries(connection, topic)
        self._peek = Peek(connection, topic)
        self._backlog = Backlog()
        self._fetcher: Fetcher | None = None
        self._identity: LogIdentity | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._unchecked: dict[int, int] = {}
        """Positions that were sought and not compared with the log's range yet."""
        self._doubts, self._dispelled = 1, 0
        """How often something gave reason to doubt that this is still the same log, and how many of those doubts an
        answer has dispelled that was asked for afterwards: until all are, nothing of it is handed out."""
        self._verify_at = 0.0
        self._verification: asyncio.Task[None] | None = None
        self._closed = False

    async def close(self) -> None:
        """Leave the group at once and let go of all connections; what was fetched is dropped."""
        if self._closed:
            return
        self._closed = True
        if self._verification is not None:
            self._verification.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._verification
        fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            fetcher.stop()
            # On a dead broker the thread may take longer; it is a daemon and ends by itself.
            await asyncio.to_thread(fetcher.join, CLOSE_SECONDS)
        await self._peek.close()
        await self._inquiries.close()

    # ------------------------------------------------------------------ the port

    async def identity(self) -> LogIdentity:
        """Raises BrokerUnavailable, LogChanged (it is not the log that this source began with)."""
        return (await self._verify()).identity

    async def poll(self, limit: int, wait: float) -> Polled:
        await asyncio.sleep(0)
        self._loop = asyncio.get_running_loop()
        deadline = self._loop.time() + wait
        while True:
            self._woken.clear()
            await self._look_after()
            taken = self._backlog.take(limit)
            if taken is not None:
                return Polled(
                    taken.assigned,
                    taken.revoked,
                    tuple([record_of(self._topic, message) for message in taken.messages]),
                )
            if self._backlog.strange:
                continue  # it came while the questions before were asked
            left = deadline - self._loop.time()
            if left <= 0:
                return Polled()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._woken.wait()

    async def seek(self, positions: Mapping[int, int]) -> None:
        """Also compares them with what the log holds, before the next poll hands anything out."""
        self._unchecked.update(positions)
        self._backlog.seek(positions)

    async def commit(self, positions: Mapping[int, int]) -> None:
        if self._fetcher is not None:
            self._fetcher.commit(positions)

    async def end_offsets(self) -> Mapping[int, int]:
        """Raises BrokerUnavailable, LogChanged."""
        return await self._inquiries.ends(range((await self._verify()).partitions))

    async def begin_offsets(self) -> Mapping[int, int]:
        """Raises BrokerUnavailable, LogChanged."""
        return await self._inquiries.begins(range((await self._verify()).partitions))

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        """Records that are trimmed do not count. Raises BrokerUnavailable, LogChanged."""
        partitions = range((await self._verify()).partitions)
        begins, ends = await self._inquiries.begins(partitions), await self._inquiries.ends(partitions)
        at = {number: max(positions.get(number, 0), begins[number]) for number in partitions}
        behind = {number: ends[number] - at[number] for number in partitions if ends[number] > at[number]}
        times = await self._peek.timestamps({number: at[number] for number in behind})
        oldest = min(times.values(), default=None)
        age = 0.0 if oldest is None else max(0.0, self._now() / 1_000_000 - oldest / 1_000)
        return Lag(sum(behind.values()), age)

    def fetched(self) -> Mapping[int, int]:
        """How far the partitions that were told their place have been fetched ahead of the polls."""
        return self._backlog.reached()

    # ------------------------------------------------------------------ is it still the same log?

    def _start(self) -> Fetcher:
        raise NotImplementedError

    def _described(self, fetcher: Fetcher, facts: TopicFacts) -> None:
        """The topic has been asked about while this fetcher reads it."""

    async def _look_after(self) -> None:
        """Raises BrokerUnavailable or LogChanged if there is no going on."""
        if self._closed:
            raise BrokerUnavailable("the source is closed")
        fetcher = self._fetcher
        if fetcher is None:
            await self._verify()
            fetcher = self._fetcher = self._start()
        if self._backlog.strange or fetcher.doubtful:
            # Cleared before the question: what comes after it needs another one.
            self._backlog.recognised()
            fetcher.doubtful = False
            self._doubts += 1
        if self._doubts > self._dispelled or fetcher.down is not None or fetcher.out_of_range:
            await self._verify()
        elif self._clock() >= self._verify_at:
            self._verify_at = self._clock() + VERIFY_SECONDS
            self._verification = asyncio.get_running_loop().create_task(self._verify_aside())
        if fetcher.out_of_range:
            await self._judge(fetcher)
        if self._unchecked:
            await self._check(self._unchecked)
            self._unchecked = {}
        if fetcher.denied is not None:
            if fetcher.spent:
                await self._give_up(fetcher)
            raise BrokerUnavailable(fetcher.denied)

    async def _give_up(self, fetcher: Fetcher) -> None:
        """The client does nothing any more after a fatal error: the next poll begins with another one."""
        self._fetcher = None
        fetcher.stop()
        await asyncio.to_thread(fetcher.join, CLOSE_SECONDS)
        self._backlog.revoke(self._backlog.assigned())

    async def _verify(self) -> TopicFacts:
        """Recognise the log. The first one seen is the one it has to stay."""
        fetcher, doubts = self._fetcher, self._doubts
        try:
            facts = await self._inquiries.facts()
        except BrokerUnavailable as error:
            if fetcher is not None and fetcher.outage is not None:
                raise BrokerUnavailable(fetcher.outage) from error
            raise
        self._recognise(facts.identity)
        self._dispelled = max(self._dispelled, doubts)
        self._verify_at = self._clock() + VERIFY_SECONDS
        if fetcher is not None:
            fetcher.recovered()
            self._described(fetcher, facts)
        return facts

    async def _verify_aside(self) -> None:
        """Without holding up a poll: whatever is wrong, the next one finds it out again."""
        try:
            await self._verify()
        except (BrokerUnavailable, LogChanged):
            self._doubts += 1
            self._woken.set()

    def _recognise(self, found: LogIdentity) -> None:
        known = self._identity
        if known is None:
            self._identity = found
            return
        if known.cluster_id != found.cluster_id:
            self._doubts += 1
            raise LogChanged(f"topic {self._topic} is on cluster {found.cluster_id} now, it was on {known.cluster_id}")
        if known.topic_id is not None and found.topic_id is not None and known.topic_id != found.topic_id:
            self._doubts += 1
            self._peek.forget()
            raise LogChanged(f"topic {self._topic} was deleted and created again")

    async def _check(self, positions: Mapping[int, int]) -> None:
        """Compare with what the log holds. An alarm stops the consumer for good, so it takes two answers that agree."""
        mine = set(self._backlog.assigned())
        sought = {number: at for number, at in positions.items() if number in mine}
        alarm = await self._out_of_range(sought)
        if alarm is not None and await self._out_of_range(sought) is not None:
            raise LogChanged(alarm)

    async def _out_of_range(self, positions: Mapping[int, int]) -> str | None:
        begins, ends = await self._inquiries.begins(positions), await self._inquiries.ends(positions)
        for number, at in positions.items():
            if at > ends[number]:
                return f"partition {number} of {self._topic} ends at {ends[number]}, before position {at}"
            if at < begins[number]:  # also for a new reader, which starts at 0: the history it needs is not there
                gone = f"the records from position {at} on are gone"
                return f"partition {number} of {self._topic} begins at {begins[number]}: {gone}"
        return None

    async def _judge(self, fetcher: Fetcher) -> None:
        """The broker refused a position. If it is in range after all, it is asked for once more."""
        refused = dict(fetcher.out_of_range)
        await self._check(refused)
        self._backlog.seek(refused)
        fetcher.out_of_range.clear()

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    # ------------------------------------------------------------------ from the thread

    def _tell(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._woken.set)


class KafkaSource(_Source):
    """EventSource as a member of a consumer group.

    ``protocol`` is who assigns partitions. With ``instance_id`` the member is static: a restart within its session
    keeps its partitions and moves nothing, but while it is away nobody reads them.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        group: str,
        topic: str,
        now: Callable[[], int],
        *,
        protocol: str = GroupProtocol.CLASSIC,
        instance_id: str | None = None,
    ) -> None:
        """Connects to nothing before the first question. Raises ValueError for an unknown protocol."""
        config = connection.member(group, GroupProtocol(protocol), instance_id)
        super().__init__(connection, config, topic, now)

    async def seek(self, positions: Mapping[int, int]) -> None:
        """The broker is told, too: it may know older ones, or none any more of a group that was away for long."""
        await super().seek(positions)
        await self.commit({number: at for number, at in positions.items() if at})

    def _start(self) -> Fetcher:
        fetcher = Fetcher(self._connection, self._config, self._topic, self._backlog, self._tell)
        fetcher.join_group()
        return fetcher


class KafkaReader(_Source):
    """EventSource outside any group: all partitions are its own, the ones that are added later too."""

    def __init__(self, connection: KafkaConnection, topic: str, now: Callable[[], int]) -> None:
        """Connects to nothing before the first question."""
        super().__init__(connection, connection.reader(), topic, now)
        self._partitions = 0

    def _start(self) -> Fetcher:
        self._doubts, self._partitions = self._doubts + 1, 0  # the question that follows tells the partitions
        return Fetcher(self._connection, self._config, self._topic, self._backlog, self._tell)

    def _described(self, fetcher: Fetcher, facts: TopicFacts) -> None:
        if facts.partitions > self._partitions:
            fetcher.read(range(self._partitions, facts.partitions))
            self._partitions = facts.partitions

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Nothing to tell: there is no group."""
