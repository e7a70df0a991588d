"""The read model as one node calls it: the memory adapter behind delays, faults, locks and lost answers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from ordering.adapters.memory.generations import MemoryGenerations
from ordering.application.failures import CommitAmbiguous, StalePosition, StoreUnavailable, WriteRejected
from ordering.application.generations import Figures, GenerationsFound, HeldPage, RowsPage
from ordering.application.messages import Changes, HeldRecord, LogIdentity, Place, Snapshot, ViewRow, ViewStats
from ordering.application.ports import LastChanges, ProjectionStore
from tests.simulation.outside import Node
from tests.simulation.sim_store import LOCK_SECONDS

T = TypeVar("T")

FLIP_SECONDS: Final = 1.0
"""How long consumers may have to wait."""


class _Faulty:
    """How a node's calls reach the read model."""

    def __init__(self, node: Node) -> None:
        self._node, self._outside = node, node.outside

    async def _read(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        async def read() -> T:
            await self._reach("views.read_failed")
            answer = await act()
            self._outside.views_disk.seen()
            await self._outside.delay(self._outside.weather.store_slowest)
            return answer

        return await self._node.look(what, read)

    async def _change(self, what: str, act: Callable[[], Awaitable[T]], *, late: bool = False) -> T:
        """With ``late`` the change may also happen after the caller has lost its connection."""
        return await self._node.call(what, lambda: self._commit(act, late=late))

    async def _commit(self, act: Callable[[], Awaitable[T]], *, late: bool = False, writes_itself: bool = False) -> T:
        """``writes_itself``: the act takes time, and tells the disk when it comes to write."""
        outside, disk = self._outside, self._outside.views_disk
        await self._reach("views.busy")
        cuts = disk.power_cuts
        await self._lock()
        await outside.views._model.no_flip()
        if disk.power_cuts != cuts:
            raise StoreUnavailable("the server has restarted")
        if outside.strikes("views.ambiguous_not_stored"):
            raise CommitAmbiguous("the connection was lost at commit")
        if late and outside.strikes("views.ambiguous_late"):
            outside.views_landing = asyncio.get_running_loop().create_future()
            outside.runtime.spawn(self._land(act, cuts), name="late commit")
            raise CommitAmbiguous("the connection was lost at commit")
        if not writes_itself:
            disk.writing(promised=True)
        answer = await act()
        await outside.delay(outside.weather.store_slowest)
        if disk.power_cuts != cuts or outside.strikes("views.ambiguous_stored"):
            raise CommitAmbiguous("the connection was lost at commit")
        self.promise()
        return answer

    async def _lock(self) -> None:
        """Wait for the locks of a commit that nobody waits for any more."""
        landing = self._outside.views_landing
        if landing is None:
            return
        self._outside.saw("views.waited_for_locks")
        await asyncio.wait([landing], timeout=LOCK_SECONDS)
        if self._outside.views_landing is not None:
            raise StoreUnavailable("a lock was not to be had in time")

    async def _land(self, act: Callable[[], Awaitable[object]], cuts: int) -> None:
        outside, landing = self._outside, self._outside.views_landing
        await outside.runtime.sleep(outside.rng.choice((0.0, 1.0, 3.0)) * outside.rng.random())
        try:
            if outside.views_disk.power_cuts == cuts:
                outside.views_disk.writing(promised=True)
                await act()
                self.promise()
        except StalePosition:
            outside.saw("views.lost_race")
        except WriteRejected:
            pass  # nobody hears of it
        finally:
            outside.views_landing = None
            if landing is not None:
                landing.set_result(None)

    def promise(self) -> None:
        """What was committed is on the disk; nobody is told before."""
        self._outside.views_disk.promised()

    def _require_taken(self, changes: Changes) -> None:
        """Raises WriteRejected. What is held back is bytes, which every database takes."""
        refuses = self._outside.refuses
        if any(row.encoded is not None and refuses(row.encoded.body) for row in changes.rows):
            self._outside.saw("views.rejected")
            raise WriteRejected("a row breaks a constraint")

    async def _reach(self, fails: str) -> None:
        """The way to the store, and whether it can just now. Raises StoreUnavailable."""
        outside = self._outside
        await outside.delay(outside.weather.store_slowest, "views.slow")
        if outside.views_down or outside.store_down or outside.strikes(fails):
            raise StoreUnavailable("it is busy")


class _Projection(_Faulty):
    """ProjectionStore on the live generation or on one that is being filled."""

    def __init__(self, node: Node, real: ProjectionStore) -> None:
        super().__init__(node)
        self._projection = real

    async def identity(self, topic: str) -> LogIdentity | None:
        return await self._read("views.identity", lambda: self._projection.identity(topic))

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        async def record() -> LogIdentity:
            await self._reach("views.busy")
            self._outside.views_disk.writing(promised=True)
            recorded = await self._projection.record_identity(topic, identity)
            self.promise()
            return recorded

        return await self._node.call("views.record_identity", record)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        return await self._read("views.load", lambda: self._projection.load(topic, keys))

    async def commit(self, changes: Changes) -> None:
        async def commit() -> None:
            if self._outside.strikes("views.stale"):
                raise StalePosition("somebody else was first")
            self._require_taken(changes)
            await self._projection.commit(changes)
            self._note_floors(changes)
            self._outside.discards.setdefault(changes.generation, set()).update(changes.discarded)
            self._heard(changes)

        try:
            await self._change("views.commit", commit, late=True)
        except StalePosition:
            self._outside.saw("views.lost_race")
            raise
        self._node.heard.update(changes.counters)

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return await self._read("views.held", lambda: self._projection.held(key))

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return await self._read("views.held_keys", lambda: self._projection.held_keys(reason, limit, after=after))

    def _note_floors(self, changes: Changes) -> None:
        """Positions that move from nothing past records of which nothing is kept: the log begins there."""
        if not (changes.counters or changes.held or changes.rows):
            floors = self._outside.floors.setdefault(changes.generation, {})
            floors.update({partition: reached for partition, (at, reached) in changes.positions.items() if at == 0})

    def _heard(self, changes: Changes) -> None:
        """Other processes hear of it, or, when that is lost, that they may have missed something."""
        outside = self._outside
        keys: list[str] | None = sorted(row.key for row in changes.rows)
        for number, wake in outside.view_followers.items():
            if number != self._node.number:
                seconds = outside.rng.uniform(0, outside.weather.store_slowest)
                if outside.strikes("views.news_lost"):
                    seconds, keys = 1.0, None
                outside.runtime.call_later(seconds, _call(wake, keys))


class SimViews(_Projection):
    """ProjectionStore, OrderViews and DeadLetters of one node, all nodes on one read model."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, node.outside.views)
        self._real = node.outside.views

    def generations(self) -> "SimGenerations":
        """As this node sees them, when it rebuilds."""
        return SimGenerations(self._node)

    async def get(self, key: str) -> ViewRow | None:
        return await self._read("views.get", lambda: self._real.get(key))

    async def ids(self, after: Place | None, limit: int) -> Sequence[tuple[Place, str]]:
        return await self._read("views.ids", lambda: self._real.ids(after, limit))

    async def positions(self, topic: str) -> Mapping[int, int]:
        return await self._read("views.positions", lambda: self._real.positions(topic))

    async def stats(self) -> ViewStats:
        return await self._read("views.stats", self._real.stats)

    async def letters(self, limit: int, *, key: str | None = None) -> Sequence[HeldRecord]:
        return await self._read("views.letters", lambda: self._real.letters(limit, key=key))

    async def follow(self, wake: Callable[[Collection[str] | None], None]) -> None:
        self._outside.view_followers[self._node.number] = wake  # type: ignore[assignment]
        try:
            await asyncio.Event().wait()
        finally:
            del self._outside.view_followers[self._node.number]

    async def close(self) -> None:
        """There is nothing to close."""


class SimGenerations(_Faulty):
    """Generations of one node that rebuilds. Its claim ends with the process."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._real = MemoryGenerations(node.outside.views._model)
        node.at_death.append(self._let_go)

    async def claim(self) -> str | None:
        return await self._read("generations.claim", self._real.claim)

    async def release(self) -> None:
        await self._read("generations.release", self._real.release)

    async def found(self) -> GenerationsFound:
        return await self._read("generations.found", self._real.found)

    async def begin(self, topic: str, identity: LogIdentity) -> int:
        async def begin() -> int:
            number = await self._real.begin(topic, identity)
            self._outside.discards.pop(number, None)
            self._outside.floors.pop(number, None)  # of one that had this number, and is gone
            return number

        return await self._change("generations.begin", begin)

    def store(self, generation: int) -> _Projection:
        return _Projection(self._node, self._real.store(generation))

    async def rows(self, generation: int, topic: str, after: str | None, limit: int) -> RowsPage:
        return await self._read("generations.rows", lambda: self._real.rows(generation, topic, after, limit))

    async def letters(self, generation: int, topic: str, after: tuple[int, int], limit: int) -> HeldPage:
        return await self._read("generations.letters", lambda: self._real.letters(generation, topic, after, limit))

    async def figures(self, generation: int, topic: str) -> Figures:
        return await self._read("generations.figures", lambda: self._real.figures(generation, topic))

    async def discarded(self, generation: int, topic: str) -> Sequence[HeldRecord]:
        return await self._read("generations.discarded", lambda: self._real.discarded(generation, topic))

    async def discards(self, topic: str, partition: int, first: int, last: int) -> Collection[int]:
        return await self._read("generations.discards", lambda: self._real.discards(topic, partition, first, last))

    async def flip(self, topic: str, generation: int, floors: Mapping[int, int], last: LastChanges) -> None:
        """``last`` is this node's own code, so all of it ends with the node, as the transaction does, or with the
        server."""
        disk = self._outside.views_disk
        cuts = disk.power_cuts

        async def bounded(live: Mapping[int, int]) -> Changes | None:
            try:
                async with asyncio.timeout(FLIP_SECONDS):
                    changes = await last(live)
            except TimeoutError:
                raise StalePosition("the last records did not come in time") from None
            if changes is not None:
                self._require_taken(changes)
            if disk.power_cuts != cuts:
                raise StoreUnavailable("the server has restarted")
            disk.writing(promised=True)
            return changes

        await self._node.visit("generations.flip")
        await self._commit(lambda: self._real.flip(topic, generation, floors, bounded), writes_itself=True)
        self._outside.saw("generations.flipped")

    async def drop(self, generation: int, limit: int) -> int:
        return await self._change("generations.drop", lambda: self._real.drop(generation, limit))

    def _let_go(self) -> None:
        if self._real._model.rebuilder is self._real:
            self._real._model.rebuilder = None


def _call(wake: Callable[[Iterable[str] | None], None], keys: Iterable[str] | None) -> Callable[[], None]:
    return lambda: wake(keys)
