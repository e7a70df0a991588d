"""A log, a read model in memory that consumers fill, and rebuilds of it that can be slow, or killed at any call."""

import asyncio
import contextlib
import functools
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

import attrs

from ordering.adapters.memory.log import MemoryLog, MemorySource
from ordering.adapters.memory.views import MemoryViews
from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.failures import CommitAmbiguous, StalePosition, WriteRejected
from ordering.application.generations import Difference, Progress, RebuildReport
from ordering.application.messages import Changes, OutgoingRecord, Place, Polled, Record, ViewRow
from ordering.application.partitioning import partition_of
from ordering.application.rebuild import Rebuild, RebuildLimits, Wishes
from ordering.application.waiters import Waiters
from tests.unit.application.read_bench import TOPIC, TextDecoder
from tests.unit.application.runtime import RecordingObserver, VirtualRuntime

T = TypeVar("T")
SMALL = RebuildLimits(fill_batch=3, drop_batch=3, page=2)
"""So that a short history takes many batches and pages."""
HISTORY = ["a:1", "b:1", "a:2", "c:1", "b:2", "bad d", "d:1", "a:3", "c:3", "e:1", "e:1:other", "new f", "f:1"]


class Killed(BaseException):
    """The process is gone."""


class Fate:
    """What happens at the port calls of one process: each takes some time, and one of them is the last.

    ``last`` counts from 1; the call happens before the end if ``done``. ``dies_after``: it ends once this port's call
    has succeeded. ``refuses``: rows that the database does not take from it.
    """

    refuses: Callable[[ViewRow], bool] | None = None
    dies_after: str | None = None

    def __init__(self, last: int | None = None, *, done: bool = False, delays: random.Random | None = None) -> None:
        self.calls = 0
        self._last, self._done, self._delays = last, done, delays

    async def meets(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 -- whatever it answers
        self.calls += 1
        final = self.calls == self._last
        if final and not self._done:
            raise Killed
        await self._delay()
        answer = await act()
        if final or name == self.dies_after:
            raise Killed
        await self._delay()
        return answer

    def loses(self, changes: Changes, act: Callable[[], Awaitable[None]]) -> bool:
        """Whether the caller of this commit does not hear how it ends; ``act`` makes it happen."""
        return False

    async def _delay(self) -> None:
        if self._delays is not None and self._delays.random() < 0.5:
            await asyncio.sleep(self._delays.uniform(0, 0.02))


class Meanwhile(Fate):
    """Somebody does something just before one of the calls, counted from 1; ``happened`` if it came to that."""

    def __init__(self, before: int, act: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.before, self._act = before, act
        self.happened = False

    async def meets(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 -- whatever it answers
        if self.calls + 1 == self.before:
            self.happened = True
            await self._act()
        return await super().meets(name, act)


class LateDiscard(Fate):
    """The first discard's transaction loses its connection, and comes to pass just before a later call, counted from 1;
    ``happened`` if it came to that."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self._before, self._lost = before, False
        self._pending: Callable[[], Awaitable[None]] | None = None
        self.happened = False

    def loses(self, changes: Changes, act: Callable[[], Awaitable[None]]) -> bool:
        if self._lost or not changes.discarded:
            return False
        self._lost, self._pending = True, act
        return True

    async def meets(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 -- whatever it answers
        if self._pending is not None:
            self._before -= 1
            if not self._before:
                self.happened = True
                with contextlib.suppress(StalePosition):  # it was done once more before
                    await self._pending()
        return await super().meets(name, act)


class Fated:
    """A port, every call of which meets a fate; so do the ports that it hands out."""

    def __init__(self, real: object, fate: Fate) -> None:
        self._real, self._fate = real, fate

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- stands for any port
        real = getattr(self._real, name)
        if name == "store":
            return lambda generation: Fated(real(generation), self._fate)

        async def call(*values: Any, **named: object) -> object:  # noqa: ANN401 -- whatever the port is given
            if name == "commit" and self._fate.refuses and any(map(self._fate.refuses, values[0].rows)):
                raise WriteRejected("a constraint")
            if name == "commit" and self._fate.loses(values[0], lambda: real(*values)):
                raise CommitAmbiguous("the connection was lost at commit")
            return await self._fate.meets(name, lambda: real(*values, **named))

        return call


@attrs.frozen
class Shown:
    """A row as people see it: without the count of its transactions."""

    key: str
    version: int
    event_id: str
    label: str
    body: bytes | None
    events_applied: int
    held: int
    missing: tuple[tuple[int, int], ...]
    first: Place

    @classmethod
    def of(cls, row: ViewRow) -> "Shown":
        body = row.encoded.body if row.encoded else None
        return cls(
            row.key, row.version, row.event_id, row.label, body, row.events_applied, row.held, row.missing, row.first
        )


class CleanedUp(MemorySource):
    """A log that has lost some records in the middle of its partitions, as a compacted topic does."""

    def __init__(self, *values: Any, gone: Collection[tuple[int, int]]) -> None:  # noqa: ANN401 -- as its base has them
        super().__init__(*values)
        self._gone = gone

    async def poll(self, limit: int, seconds: float) -> Polled:
        polled = await super().poll(limit, seconds)
        left = [record for record in polled.records if (record.partition, record.offset) not in self._gone]
        return attrs.evolve(polled, records=left)


class RebuildBench:
    """``append`` writes the log, ``consume`` brings the live generation to its end, ``rebuild`` rebuilds."""

    def __init__(self, runtime: VirtualRuntime, partitions: int = 3) -> None:
        self.runtime, self.log = runtime, MemoryLog(TOPIC, partitions)
        self.views, self.decoder = MemoryViews(), TextDecoder()
        self.rebuilding_decoder = self.decoder
        """The consumers' own, unless the rebuild asks another registry."""
        self.held = HeldRecords(self.views, self.decoder, runtime, TOPIC)
        self.source = MemorySource(self.log, "rebuild", runtime.now)
        self.gone: set[tuple[int, int]] = set()
        """Places of records that the log had when they were consumed, and has no more."""
        self.differences: list[Difference] = []
        self.progress: list[Progress] = []
        self.waited: list[tuple[str, int]] = []
        """What a rebuild said it waits for, and for how many seconds more."""

    def append(self, *texts: str) -> None:
        """Records whose key is the text's first word after ``bad`` or ``new``, up to the colon."""
        for text in texts:
            key = text.removeprefix("bad ").removeprefix("new ").split(":")[0].encode()
            partition = partition_of(key, len(self.log.partitions))
            self.log.append(OutgoingRecord(TOPIC, partition, key, text.encode(), (), self.runtime.now() // 1000))

    def append_keyless(self, text: str) -> None:
        self.log.append(OutgoingRecord(TOPIC, 0, b"", text.encode(), (), self.runtime.now() // 1000))

    def consumer(self, fate: Fate | None = None, limits: ConsumerLimits | None = None) -> EventConsumer:
        """A consumer of one life."""
        store = self.views if fate is None else Fated(self.views, fate)
        return EventConsumer(
            MemorySource(self.log, "live", self.runtime.now), self.decoder, store,  # type: ignore[arg-type]
            HeldRecords(store, self.decoder, self.runtime, TOPIC),  # type: ignore[arg-type]
            Waiters(self.runtime), self.runtime, RecordingObserver(), TOPIC,
            limits or ConsumerLimits(poll_seconds=0.05),
        )  # fmt: skip

    async def consume(self) -> None:
        """Until the live generation is where the log ends."""
        consuming = self.runtime.spawn(self.consumer().run(), name="consumer")
        await self.reached_end()
        consuming.cancel()
        await asyncio.wait([consuming])

    async def read_history(self) -> None:
        """``HISTORY`` and a record without a key, written and read."""
        self.append(*HISTORY)
        self.append_keyless("bad")
        await self.consume()

    async def reached_end(self) -> None:
        ends = {partition: end for partition, end in self.log.ends().items() if end}
        while dict(await self.views.positions(TOPIC)) != ends:
            await self.runtime.sleep(0.01)

    async def rebuild(self, fate: Fate | None = None, limits: RebuildLimits = SMALL, **wishes: bool) -> RebuildReport:
        """One process's rebuild; when it is killed, its claim goes with it."""
        fate = fate or Fate()
        generations = self.views.generations()
        rebuild = Rebuild(
            Fated(CleanedUp(self.log, "rebuild", self.runtime.now, gone=self.gone), fate),  # type: ignore[arg-type]
            Fated(self.rebuilding_decoder, fate),  # type: ignore[arg-type]
            Fated(self.views, fate),  # type: ignore[arg-type]
            Fated(generations, fate),  # type: ignore[arg-type]
            self.runtime, TOPIC, told=self.progress.append, found=self.differences.append,
            waits=lambda reason, seconds: self.waited.append((reason, round(seconds))), limits=limits,
        )  # fmt: skip
        try:
            return await rebuild.run(Wishes(**wishes))
        finally:
            await generations.release()

    async def rows(self) -> list[Shown]:
        """The live generation's rows by key."""
        keys = [key for _, key in await self.views.ids(None, 10_000)]
        found = await self.views.load(TOPIC, keys)
        return [Shown.of(row) for _, row in sorted(found.rows.items())]

    async def letters(self) -> list[tuple[str | None, str, Record]]:
        """The live generation's held records; of those behind another one of their key the reason is left out, which
        is what was known when they were read."""
        found = [(one.key, one.reason, one.record) for one in await self.views.held(None)]
        for row in await self.rows():
            for number, one in enumerate(await self.views.held(row.key)):
                found.append((one.key, "" if number else one.reason, one.record))
        return found


async def live(bench: RebuildBench) -> int:
    """The number of the live generation."""
    return (await bench.views.load(TOPIC, ())).generation


async def before_each_call(
    history: Sequence[str], act: Callable[[RebuildBench], Awaitable[None]]
) -> AsyncIterator[tuple[RebuildBench, Meanwhile]]:
    """Bench after bench with this history read, for a rebuild of each with the fate that has ``act`` happen before the
    first call, the second, and so on; the last one had no such call any more."""
    for before in itertools.count(1):
        bench = RebuildBench(VirtualRuntime())
        bench.append(*history)
        await bench.consume()
        fate = Meanwhile(before, functools.partial(act, bench))
        yield bench, fate
        if not fate.happened:
            return
