"""All that outlives a node, the weather around it, and what was seen of it: counted by name, and as one running hash.

A call's effect happens outside of its node, so a node can die before, during and after it: what was on its way is
done all the same or dies with it, and nobody hears of it.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import attrs

from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
from ordering.application.messages import NewEvent
from tests.simulation.broker import SimLog
from tests.simulation.disk import Disk, restore_store, restore_views, saved_store, saved_views
from tests.simulation.group import Group
from tests.simulation.weather import CALM, Weather
from tests.unit.application.runtime import VirtualRuntime

T = TypeVar("T")

TOPIC = "order-events"
DEVICES = ("store", "log", "views")
FOREIGN_ID = 777
"""What another producer registered: a copy of our newest schema, of which the registry hears late."""


@attrs.define
class Lease:
    """The row that elects one relay."""

    owner: int = 0
    until: float = -1.0
    trouble: str | None = None


class Outside:
    """The stores, the log, the weather, and the book that is kept of it."""

    def __init__(
        self, seed: int, weather: Weather | None = None, *, topic: str = TOPIC, partitions: int | None = None
    ) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.runtime = VirtualRuntime(seed)
        self.seen: Counter[str] = Counter()
        """How often what happened, by the names of ``weather.FAULTS`` and whatever else was counted."""
        self._hash = hashlib.blake2b(digest_size=16)
        rng = self.rng
        self.weather = Weather.drawn(rng) if weather is None else weather
        self.power_may_fail = "power.cut_at_server" in self.weather.rates or (
            bool(self.weather.rates) and rng.random() < 0.2
        )
        self.everybody_leads, self.hangs_up = rng.random() < 0.5, rng.random() < 0.5
        self.at_port: Callable[[Node, str], None] = _nothing
        """Told of every call of a node, just before it begins: the world may crash or pause the node here."""
        self._make_store()
        self._make_views()
        count = rng.choice((1, 3)) if partitions is None else partitions
        self.log = SimLog(topic, count, self.saw, power_may_fail=self.power_may_fail)
        self.group = Group(self.log, self.runtime, rng, self.saw)
        self.registry_down = False
        self.unknown_ids: set[int] = {FOREIGN_ID}
        """Ids that the registry does not know yet."""

    def _make_store(self) -> None:
        self.store = MemoryOrderStore()
        self.history: dict[tuple[str, int], NewEvent] = {}
        """Every event that is or was stored, by order and version, however it was trimmed."""
        self.store_disk: Disk[Any] = Disk(
            lambda: (saved_store(self.store), dict(self.history)), self._restore_store, may_fail=self.power_may_fail
        )
        self.store_down = self.store_full = False
        self.store_stalled = asyncio.Event()
        self.store_stalled.set()
        self.store_landing: asyncio.Future[None] | None = None
        """A commit nobody waits for any more and which still holds its locks."""
        self.lease = Lease()
        self.followers: dict[int, Callable[[], None]] = {}

    def _make_views(self) -> None:
        self.views = MemoryViews()
        self.floors: dict[int, dict[int, int]] = {}
        """By generation of the read model: where partitions began when it was filled, if not at 0."""
        self.discards: dict[int, set[tuple[int, int]]] = {}
        """By generation: the places of records that it held and people discarded. One that was filled from a log whose
        beginning was gone may have applied what others hold."""
        self.meant: set[tuple[int, int]] = set()
        """The places of all records that people have ever asked to discard."""
        self.views_disk: Disk[Any] = Disk(
            lambda: (
                saved_views(self.views),
                {number: dict(floors) for number, floors in self.floors.items()},
                {number: set(places) for number, places in self.discards.items()},
            ),
            self._restore_views,
            may_fail=self.power_may_fail,
        )
        self.views_down = False
        self._refused: dict[bytes, bool] = {}
        """By state whether the read model's database takes it into a row (a constraint of its operators): found out
        once, and so until they drop it."""
        self.views_landing: asyncio.Future[None] | None = None
        self.view_followers: dict[int, Callable[[Iterable[str] | None], None]] = {}

    # ------------------------------------------------------------------ the book

    def saw(self, what: str) -> None:
        """Something that coverage counts happened."""
        self.seen[what] += 1
        self.did(what)

    def did(self, what: str, *facts: object) -> None:
        """Something happened that a repetition of this seed has to repeat."""
        self._hash.update(f"{self.runtime.monotonic():.9f} {what} {facts}\n".encode())

    @property
    def trace(self) -> str:
        """The hash of everything that happened so far."""
        return self._hash.hexdigest()

    # ------------------------------------------------------------------ the weather

    def strikes(self, fault: str) -> bool:
        """Whether this fault strikes now; it is counted if so."""
        rate = self.weather.rates.get(fault)
        if rate is None or self.rng.random() >= rate:
            return False
        self.saw(fault)
        return True

    def happens(self, chance: float) -> bool:
        """Whether something of this likelihood comes true now."""
        return self.rng.random() < chance

    async def delay(self, slowest: float, fault: str = "") -> None:
        """Some time, often none at all; much longer if this fault strikes."""
        if fault and self.strikes(fault):
            await self.runtime.sleep(self.rng.uniform(0.05, 3))
        elif slowest and self.rng.random() < 0.5:
            await self.runtime.sleep(self.rng.uniform(0, slowest))

    @property
    def broker_down(self) -> str | None:
        """Why no broker answers."""
        return self.log.down

    @broker_down.setter
    def broker_down(self, reason: str | None) -> None:
        self.log.down = reason
        if reason is None:
            self.group.refresh()
            self.log.wake()

    def heal(self, kept: tuple[str, ...] = ()) -> None:
        """End all trouble but these faults of calls (names or what they begin with)."""
        self.weather = self.weather.only(kept) if kept else CALM
        self.log.leaderless.clear()
        self.log.withheld = False
        self.log.raise_the_limit()
        self.broker_down = None
        self.store_down = self.store_full = self.views_down = self.registry_down = False
        self.store_stalled.set()
        self.unknown_ids.clear()

    def drop_constraints(self) -> None:
        """What no row might hold may be held from now on."""
        self._refused.clear()

    def refuses(self, state: bytes) -> bool:
        """Whether no row of the read model may hold this."""
        if "views.refused" in self.weather.rates and state not in self._refused:
            self._refused[state] = self.strikes("views.refused")
        return self._refused.get(state, False)

    def power_cut(self, devices: Iterable[str] = DEVICES) -> None:
        """The power of these goes and comes back. A machine that runs nodes takes them along: crash those first."""
        self.saw("power.cut")
        waiting = len(self.store._outbox)
        for device in devices:
            disk: Disk[Any] = {"store": self.store_disk, "log": self.log.disk, "views": self.views_disk}[device]
            lost, kept = disk.cut(self.rng)
            self.did("power.cut", device, lost, kept)
            if lost:
                self.saw("power.lost_unsynced")
            if kept:
                self.saw("power.kept_unsynced")
        if len(self.store._outbox) > waiting:
            self.saw("store.marks_lost")
        self.log.wake()

    def _restore_store(self, saved: Any) -> None:  # noqa: ANN401 -- what saved_store gave, and the history
        restore_store(self.store, saved[0])
        self.history = saved[1]

    def _restore_views(self, saved: Any) -> None:  # noqa: ANN401 -- what saved_views gave, and the rest
        restore_views(self.views, saved[0])
        self.floors, self.discards = saved[1:]


class Node:
    """One process: its tasks, and whether it still lives."""

    def __init__(self, outside: Outside, number: int, now: Callable[[], int] | None = None) -> None:
        self.outside, self.number = outside, number
        self.runtime = VirtualRuntime(outside.rng.getrandbits(32), skew=outside.rng.randint(-(10**7), 10**7))
        self.now = now or self.runtime.now
        """Its wall clock."""
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.paused_until = 0.0
        self.cut_off = False
        """Whether no broker hears it, although everybody else is heard."""
        self.heard: Counter[str] = Counter()
        """What its commits to the read model have counted, of those that it knows to be stored."""
        self.at_death: list[Callable[[], object]] = []
        """What the outside does when it notices that this process is gone."""
        self._calls: dict[asyncio.Task[Any], None] = {}

    @property
    def alive(self) -> bool:
        """False after the crash."""
        return not self.died.done()

    def crash(self) -> None:
        """kill -9: all tasks and all memory are gone; what it had asked for happens all the same, or not."""
        if not self.alive:
            return
        self.died.set_result(None)
        for call in list(self._calls):
            if self.outside.happens(0.5):
                self.outside.saw("process.call_died_too")
                call.cancel()
        for task in list(self.runtime.tasks):
            task.cancel()
        for notice in self.at_death:
            notice()

    async def call(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """A call that changes something outside. The node may pause before and after it, or die meanwhile."""
        await self.visit(what)
        work = self.outside.runtime.spawn(_wrapped(act), name=what)
        self._calls[work] = None
        work.add_done_callback(self._calls.pop)
        answer, error = await asyncio.shield(work)
        await self._while_paused()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    async def look(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """A call that changes nothing outside, so that nobody can tell whether it outlives the node."""
        await self.visit(what)
        answer, error = await _wrapped(act)
        await self._while_paused()
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]

    async def visit(self, what: str) -> None:
        """Step up to a port."""
        self.outside.at_port(self, what)
        self.outside.did(what, self.number)
        await self._while_paused()

    async def _while_paused(self) -> None:
        if self.paused_until <= self.runtime.monotonic() and self.alive:
            return
        while self.alive and self.paused_until > self.runtime.monotonic():
            await self.runtime.sleep(self.paused_until - self.runtime.monotonic())
        if not self.alive:
            await asyncio.get_running_loop().create_future()


async def _wrapped(act: Callable[[], Awaitable[T]]) -> tuple[T | None, Exception | None]:
    try:
        return await act(), None
    except Exception as error:
        return None, error


def _nothing(_node: Node, _what: str) -> None:
    """Nobody interferes."""
